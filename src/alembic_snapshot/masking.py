"""Secrets that no message shows: passwords in the URLs that we were given, or made ourselves."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, quote_plus, unquote, unquote_plus

MASK = "***"
# Where a URL may come from before anybody has read it.
URL_VARIABLES = ("SNAPSHOT_POSTGRES_URL", "ALEMBIC_SNAPSHOT_REMOTE")
# Variables that are a secret themselves.
SECRET_VARIABLES = ("PGPASSWORD", "ALEMBIC_SNAPSHOT_REMOTE_SIGNING_KEY")
# Shorter ones are parts of other words; of letters alone, they are words, a project's name too.
_SHORTEST, _SHORTEST_OF_LETTERS = 4, 12
# Passwords that are words of messages, too. They are masked only where a URL has its password.
_WORDS = (
    "admin", "alembic", "database", "default", "localhost", "main", "pass", "password", "postgres",
    "postgresql", "public", "root", "secret", "server", "snapshot", "test", "tests", "user",
)  # fmt: skip
# RFC 3986 ends the password at the last @ before a slash, SQLAlchemy at the first @ of all.
_USERS = (
    re.compile(r"://([^:/?#@]*):([^/?#]*)@"),
    re.compile(r"://([^:/@]*):([^@]*)@"),
)
_QUERY = re.compile(
    r"[?&](?:password|sslpassword|sig|token|x-amz-signature|x-amz-security-token)=([^&#]+)", re.I
)
# By what matches them, how long they are: the longest comes first.
_known: dict[str, int] = {}
_read: set[str] = set()
_pattern: re.Pattern[str] | None = None


def keep_secret(url: str) -> None:
    """Have the passwords of a URL masked from now on, in every spelling of them."""
    if url not in _read:
        _read.add(url)
        for user, password in _secrets(url):
            _keep(user, password)


def masked(text: str) -> str:
    """A text with ``***`` instead of each password that is known."""
    for variable in URL_VARIABLES:
        keep_secret(os.environ.get(variable, ""))
    for variable in SECRET_VARIABLES:
        value = os.environ.get(variable, "").strip()
        if value not in _read:
            _read.add(value)
            _keep("", value)
    return _pattern.sub(MASK, text) if _pattern is not None else text


def masked_values(value: Any, *shown: str) -> Any:
    """A value of JSON with its texts masked, but for those of the keys ``shown``."""
    if isinstance(value, str):
        return masked(value)
    if isinstance(value, Mapping):
        return {
            name: item if name in shown else masked_values(item, *shown)
            for name, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [masked_values(item, *shown) for item in value]
    return value


def _keep(user: str, password: str) -> None:
    global _pattern
    _known.update(_spellings(user, password))
    longest_first = sorted(_known, key=lambda one: _known[one], reverse=True)
    _pattern = re.compile("|".join(longest_first)) if _known else None


def _secrets(url: str) -> Iterator[tuple[str, str]]:
    """Each user and password of a URL, as they stand in it."""
    for pattern in _USERS:
        for found in pattern.finditer(url):
            yield found[1], found[2]
    for value in _QUERY.findall(url):
        yield "", value


def _spellings(user: str, password: str) -> Iterator[tuple[str, int]]:
    """What matches a password as a URL, a driver, ``repr()`` or a configuration file has it.

    Each is with the length of what it matches.
    """
    plain = {password, unquote(password), unquote_plus(password)}
    coded = {code(one) for one in plain for code in (quote, quote_plus, _quoted_all)}
    spelled = {*plain, *coded}
    spelled |= {one.replace("%", "%%") for one in spelled}
    spelled |= {repr(one)[1:-1] for one in spelled}
    shortest = _SHORTEST_OF_LETTERS if password.isalpha() else _SHORTEST
    is_word = len(unquote(password)) < shortest or password.lower() in (*_WORDS, user.lower())
    for one in filter(None, spelled):
        yield f"(?<=:){re.escape(one)}(?=@)" if is_word else re.escape(one), len(one)


def _quoted_all(text: str) -> str:
    return quote(text, safe="")
