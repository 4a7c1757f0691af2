"""What a table may say of a shared store: its address, and public keys by their scopes."""

from __future__ import annotations

import base64
import binascii
import fnmatch
import hashlib
import re
import shlex
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from alembic_snapshot.errors import ConfigError
from alembic_snapshot.masking import keep_secret, masked

MAIN = "main"
PUBLIC, SECRET = "ed25519:", "ed25519-signing:"
_RAW_LENGTH = 32
_SCOPE = re.compile(r"(?!.*\.\.)(?!main/)[\w][\w.@+-]*(/[\w][\w.@+-]*)*", re.ASCII)
_SCOPE_LENGTH = 200
_SCHEMES = (
    "file", "memory", "s3", "s3a", "gs", "az", "azure", "adl", "abfs", "abfss", "http", "https",
)  # fmt: skip
_KINDS = (
    "write s3://BUCKET/PREFIX, gs://BUCKET/PREFIX, az://CONTAINER/PREFIX, "
    "https://HOST/PREFIX (http:// on this machine only), file:///FOLDER or the path of a folder"
)
# One slash too few, or none; a folder with a colon in its name is written with ./ before it.
_NEARLY_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):/*(.*)")


def check_url(url: str, what: str) -> None:
    """See that an address is a folder's path, or a URL of a kind that there are stores for.

    Raises:
        ConfigError: it is none.
    """
    keep_secret(url)
    shown = without_secrets(url)
    if "://" not in url:
        nearly = _NEARLY_URL.fullmatch(shown)
        if nearly:
            meant = f"did you mean {nearly[1].lower()}://{nearly[2]}?"
            hint = meant if nearly[1].lower() in _SCHEMES else _KINDS
            raise ConfigError(f"{what} {shown} is neither a URL nor a folder's path", hint=hint)
        return
    parts = urlsplit(url)
    if parts.scheme not in _SCHEMES:
        raise ConfigError(
            f"{what} {shown} begins with {parts.scheme}://, for which there is no store",
            hint=_KINDS,
        )
    if parts.scheme == "file" and parts.netloc:
        raise ConfigError(
            f"{what} {shown} names a host",
            hint=f"a folder's URL has three slashes: file:///{parts.netloc}{parts.path}",
        )
    if parts.scheme not in ("file", "memory") and not parts.netloc:
        raise ConfigError(
            f"{what} {shown} names no bucket", hint=f"write {parts.scheme}://BUCKET/PREFIX"
        )


def without_secrets(url: str) -> str:
    """A URL without a user, a password and a query, for messages."""
    return masked(re.sub(r"//[^/?#]*@", "//", url).partition("?")[0])


def raw_of(key: str, kind: str) -> bytes:
    """The bytes of a key that is spelled as ``kind`` begins.

    Raises:
        ValueError: it is no such key.
    """
    if not key.startswith(kind):
        raise ValueError(f"it does not begin with {kind}")
    try:
        raw = base64.b64decode(key.removeprefix(kind), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(f"what comes after {kind} is not base64") from None
    if len(raw) != _RAW_LENGTH:
        raise ValueError(f"it has {len(raw)} bytes instead of {_RAW_LENGTH}")
    return raw


def fingerprint(public_key: str) -> str:
    """A short name for a public key, which can be part of a path."""
    return hashlib.sha256(raw_of(public_key, PUBLIC)).hexdigest()[:16]


def keys_for(scope: str, keys: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """The public keys that may sign for a scope, by their fingerprints.

    A pattern with a ``*`` in it is never for ``main``.
    """
    patterns = [
        pattern
        for pattern in keys
        if pattern == scope or (scope != MAIN and fnmatch.fnmatchcase(scope, pattern))
    ]
    return {fingerprint(key): key for pattern in patterns for key in keys[pattern]}


def check_scope(scope: str, what: str) -> str:
    """A scope that is one.

    Raises:
        ConfigError: it is empty, climbs, or has characters that not every store takes.
    """
    if len(scope) <= _SCOPE_LENGTH and _SCOPE.fullmatch(scope):
        return scope
    if not scope:
        raise ConfigError(f"{what} is empty", hint="set it, as main or pr/123, or leave it unset")
    hint = "write names of letters, digits and ._@+- with slashes between them: main, pr/123"
    if not all(part.strip() for part in scope.split("/")):
        hint += "; is a variable empty that it is made of?"
    raise ConfigError(f"{what} {scope!r} is no scope", hint=hint)


def check_keys(keys: Mapping[str, str | Sequence[str]], what: str) -> None:
    """See that a table has public keys by scope, one or a list of them for each.

    Raises:
        ConfigError: it names the one that is wrong.
    """
    for pattern, values in keys.items():
        check_scope(pattern.replace("*", "x"), f"a scope in {what}")
        command = f"alembic-snapshot remote-key --scope {shlex.quote(pattern)}"
        for value in (values,) if isinstance(values, str) else values:
            if value.startswith(SECRET):
                raise ConfigError(
                    f"{what} has a signing key for {pattern}, which must stay secret",
                    hint=f"put its public key there; make a new pair with `{command}`, for this "
                    "one was shown",
                )
            try:
                raw_of(value, PUBLIC)
            except ValueError as error:
                raise ConfigError(
                    f"{what} has {value!r} for {pattern}, which is no public key: {error}",
                    hint=f"`{command}` makes a pair",
                ) from None
