"""A failing test's database as one line of text: its snapshot's digest, and the difference to it.

The line is ``asnap1_`` and base64 for URLs, without padding: a hash of what follows, then JSON that
was compressed. The hash tells a line that was cut or altered. It does not tell who wrote it.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import sys
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from alembic_snapshot.errors import CommandError
from alembic_snapshot.tokens.changeset import (
    Changeset,
    Fingerprint,
    NotCarried,
    a_dict,
    a_text,
)

FORMAT = "1"
SUFFIX = ".token"
# Characters above which a token is no line of a report, but a file.
LINE_LIMIT = 16_384
# Bytes of JSON, and characters of a token. More is neither written nor read.
_UNPACKED_LIMIT = 16 * 1024 * 1024
_LIMIT = 2 * _UNPACKED_LIMIT
_CHECK = 12
_LONGEST_PATH, _SHOWN = 1000, 40
_BEGINNING, _LONGEST_TEST = 19, 200
_TOKEN = re.compile(r"asnap(\d{1,9})_([A-Za-z0-9_-]*)")
_WHOLE = "copy all of it, from asnap to its end, or give the file"
_FIELDS = ("backend", "database", "test", "key", "after", "before")


@dataclass(frozen=True)
class Token:
    """A failing test's database: which snapshot, and what the test made of it.

    ``layer``, ``revision`` and ``is_empty`` are what the test asked for, ``key`` is the snapshot's
    digest, "" of none. ``parts`` has a short hash of each of its layers and base settings.
    ``before`` is the hash of the snapshot, ``after`` that of the test's database.
    """

    backend: str
    database: str
    test: str
    key: str
    changes: Changeset
    before: str
    after: Fingerprint
    layer: str | None = None
    revision: str | None = None
    is_empty: bool = False
    parts: Mapping[str, str] = field(default_factory=dict)

    def to_line(self) -> str:
        """The line.

        Raises:
            NotCarried: the difference is too large for any token.
        """
        record = {
            **{name: getattr(self, name) for name in ("backend", "database", "test", "key")},
            "before": self.before,
            "after": self.after.whole,
            "tables": dict(self.after.tables),
            "changes": self.changes.to_record(),
            "parts": dict(self.parts),
            "wants": [self.layer, self.revision, self.is_empty],
        }
        text = json.dumps(record, ensure_ascii=False, separators=(",", ":"))
        content = text.encode("utf-8", "surrogatepass")
        if len(content) > _UNPACKED_LIMIT:
            size = len(content) // 1_000_000
            raise NotCarried(f"the difference has {size} MB, and a token at most 16")
        packed = zlib.compress(content, 9)
        line = base64.urlsafe_b64encode(_check(packed) + packed).decode().rstrip("=")
        return f"asnap{FORMAT}_{line}"

    @property
    def identity(self) -> str:
        """Twelve characters that tell it from other tokens."""
        return hashlib.sha256(self.to_line().encode()).hexdigest()[:12]


def read_argument(argument: str) -> Token:
    """The token that somebody gave: the line itself, or a file with it; ``-`` is standard input.

    A file may be the log of a run or JUnit's, if there is one token in it.

    Raises:
        CommandError: it is cut, altered, of another format, or nothing of ours.
    """
    if argument == "-":
        return _in_text(sys.stdin.read(_LIMIT + 1), "standard input")
    if _TOKEN.search(argument):
        return _in_text(argument, "the token")
    path = Path(argument)
    hint = f"a token begins with asnap{FORMAT}_: {_WHOLE}"
    if len(argument) > _LONGEST_PATH or ("/" not in argument and not os.path.lexists(path)):
        shown = argument if len(argument) <= _SHOWN else f"{argument[:_SHOWN]}…"
        raise CommandError(f"{shown!r} is neither a token nor a file", hint=hint)
    try:
        if not path.is_file():
            what = "is a folder" if path.is_dir() else "is no regular file"
            there = f"{argument} {what}" if path.exists() else f"there is no file {argument}"
            raise CommandError(there, hint=hint)
        with open(path, "rb") as file:
            content = file.read(_LIMIT + 1)
    except OSError as error:
        raise CommandError(
            f"can't read {argument[:200]}: {error.strerror}",
            hint="give the token, or a file with it",
        ) from error
    return _in_text(content.decode("latin-1"), str(path))


def _in_text(text: str, what: str) -> Token:
    """The one token in a text: by itself, if also in several lines, or among others."""
    # A terminal or a letter may have broken the line.
    alone = "".join(text.split())
    if _TOKEN.match(alone):
        return from_line(alone, what)
    among = {match[0] for match in _TOKEN.finditer(text)}
    if len(among) > 1:
        raise CommandError(
            f"{what} has {len(among)} tokens: {', '.join(sorted(map(_whose, among)))}",
            hint="give one: the line of the test's report, or the value of its property",
        )
    return from_line(among.pop() if among else "", what)


def _whose(line: str) -> str:
    """The test that a token is of, and how the token begins: it came from elsewhere."""
    begin = f"{line[:_BEGINNING]}…"
    try:
        test = " ".join(from_line(line).test.split())
    except CommandError:
        return f"{begin} is cut or altered"
    return f"{begin} of {test if len(test) <= _LONGEST_TEST else f'{test[:_LONGEST_TEST]}…'}"


def from_line(text: str, what: str = "the token") -> Token:
    """The token in a line; ``what`` is what messages call it.

    Raises:
        CommandError: it is cut, altered, of another format, or nothing of ours.
    """
    line = text.strip()
    found = _TOKEN.match(line)
    if found is None:
        raise CommandError(f"{what} is no token", hint=f"one begins with asnap{FORMAT}_: {_WHOLE}")
    if found[1] != FORMAT:
        raise CommandError(
            f"{what} has format {found[1]}, and this version reads format {FORMAT}",
            hint="is it whole? If so, use the version of alembic-snapshot that wrote it",
        )
    if found.end() != len(line):
        raise CommandError(
            f"{what} has a character that no token has: {line[found.end()]!r}", hint=_WHOLE
        )
    if len(line) > _LIMIT:
        raise CommandError(f"{what} is larger than any token", hint="where is it from?")
    packed = _decoded(found[2], what)
    try:
        return _from_content(_unpacked(packed))
    except (ValueError, RecursionError, zlib.error) as error:
        raise CommandError(
            f"{what} is none that alembic-snapshot wrote: {error}",
            hint="where is it from? Nothing was done with it",
        ) from error


def _decoded(text: str, what: str) -> bytes:
    damaged = CommandError(f"{what} was cut or altered", hint=_WHOLE)
    try:
        content = base64.urlsafe_b64decode(text + "==")
    except ValueError:
        raise damaged from None
    # The last character has bits that count for nothing.
    if base64.urlsafe_b64encode(content).decode().rstrip("=") != text:
        raise damaged
    packed = content[_CHECK:]
    if content[:_CHECK] != _check(packed):
        raise damaged
    return packed


def _unpacked(packed: bytes) -> bytes:
    unpacking = zlib.decompressobj()
    content = unpacking.decompress(packed, _UNPACKED_LIMIT)
    if not unpacking.eof or unpacking.unused_data:
        raise ValueError("it does not end where it should")
    return content


def _from_content(content: bytes) -> Token:
    record = a_dict(json.loads(content.decode("utf-8", "surrogatepass")))
    if record.keys() != {*_FIELDS, "tables", "changes", "parts", "wants"}:
        raise ValueError("it has other parts")
    texts = {name: a_text(record[name]) for name in _FIELDS}
    wants = record["wants"]
    if not isinstance(wants, list) or len(wants) != 3 or not isinstance(wants[2], bool):
        raise ValueError("it asks for no snapshot")
    layer, revision = (None if one is None else a_text(one) for one in wants[:2])
    tables = {a_text(n): a_text(one) for n, one in a_dict(record["tables"]).items()}
    return Token(
        backend=texts["backend"],
        database=texts["database"],
        test=texts["test"],
        key=texts["key"],
        changes=Changeset.from_record(record["changes"]),
        before=texts["before"],
        after=Fingerprint(texts["after"], tables),
        layer=layer,
        revision=revision,
        is_empty=wants[2],
        parts={a_text(n): a_text(one) for n, one in a_dict(record["parts"]).items()},
    )


def _check(packed: bytes) -> bytes:
    return hashlib.sha256(FORMAT.encode() + packed).digest()[:_CHECK]
