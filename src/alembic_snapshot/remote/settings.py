"""What a project and its environment say of the shared store. It fails closed."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from alembic_snapshot.errors import ConfigError
from alembic_snapshot.project.config import Project
from alembic_snapshot.project.places import TABLE
from alembic_snapshot.project.remote import (
    MAIN,
    SECRET,
    check_scope,
    check_url,
    keys_for,
    raw_of,
    without_secrets,
)
from alembic_snapshot.project.variables import (
    KEY_VARIABLE,
    REMOTE_VARIABLE,
    REMOTE_WRITE_VARIABLE,
    SCOPE_VARIABLE,
)
from alembic_snapshot.remote.signature import UNSIGNED
from alembic_snapshot.store.manifest import Manifest

_YES, _NO = ("1", "true", "yes", "on"), ("", "0", "false", "no", "off")
# As obstore reads a provider's variables; any other value is an error there.
_TRUE, _FALSE = (*_YES, "y"), ("0", "false", "no", "off", "n")
# Where a provider's own variables may have the server instead.
_ENDPOINTS = {
    "s3": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"),
    "az": ("AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"),
}
# With the flag obstore asks the emulator, whatever the endpoints say; it has a default here.
_EMULATOR_FLAG, _EMULATOR = "AZURE_STORAGE_USE_EMULATOR", "AZURITE_BLOB_STORAGE_URL"
_PLAIN = {"s3": "AWS_ALLOW_HTTP", "az": "AZURE_ALLOW_HTTP"}
_FAMILIES = {"s3a": "s3", "azure": "az", "adl": "az", "abfs": "az", "abfss": "az"}


@dataclass(frozen=True)
class RemoteSettings:
    """The shared store of one run.

    ``scope`` is the run's own, to which alone it writes, if ``write`` says so. ``keys`` are the
    public keys by patterns of scopes; without any, records are unsigned. ``private`` names layers
    that stay on this machine.
    """

    url: str
    scope: str = MAIN
    write: bool = False
    keys: Mapping[str, Sequence[str]] = field(default_factory=dict)
    signing_key: str | None = field(default=None, repr=False)
    private: Sequence[str] = ()

    @property
    def scopes(self) -> tuple[str, ...]:
        """The scopes that the run reads, its own first."""
        return tuple(dict.fromkeys((self.scope, MAIN)))

    @property
    def name(self) -> str:
        """The URL without a password, for messages."""
        return without_secrets(self.url)

    def believes(self, scope: str, signer: str) -> bool:
        """Whether a record of that scope and signer counts in this run."""
        return believes(scope, signer, self.keys, self.scopes)

    def to_job(self) -> dict[str, Any]:
        """The JSON that the process which talks to the store gets."""
        return {
            "url": self.url,
            "scope": self.scope,
            "keys": {pattern: list(keys) for pattern, keys in self.keys.items()},
            "signing_key": self.signing_key,
        }


def settings_of(project: Project, *, write: bool | None = None) -> RemoteSettings | None:
    """The shared store that a project has; None if it has none, or is to do without.

    ``write`` wins over the variable.

    Raises:
        ConfigError: something is missing without which nothing could be believed, or is wrong.
    """
    if project.no_remote:
        return None
    url = os.environ.get(REMOTE_VARIABLE)
    if url is not None and not url.strip():
        raise ConfigError(
            f"{REMOTE_VARIABLE} is empty",
            hint="leave it unset, or build with --no-remote; is it a secret that did not arrive?",
        )
    url = url or project.remote
    is_writer = _is_yes(REMOTE_WRITE_VARIABLE) if write is None else write
    if url is None:
        if is_writer:
            raise ConfigError(
                f"{REMOTE_WRITE_VARIABLE} is set, and there is no shared store to write to",
                hint=f"set remote in [{TABLE}] or {REMOTE_VARIABLE}; is it a secret that did not "
                "arrive?",
            )
        return None
    keys = project.remote_keys
    url = _checked_url(url, project.root)
    if not keys and not _is_near(url):
        raise ConfigError(
            f"others can reach {without_secrets(url)}, and there are no remote_keys: "
            "whoever writes to it would decide what your tests run on",
            hint=f"`alembic-snapshot remote-key --scope {MAIN}` makes a pair of keys, and prints "
            "where each of them goes; --no-remote builds without the shared store",
        )
    return RemoteSettings(
        url=url,
        scope=_scope(),
        write=is_writer,
        keys=keys,
        signing_key=_signing_key() if is_writer and keys else None,
        private=project.remote_private,
    )


def mistrust(project: Project, manifest: Manifest) -> str | None:
    """Why a snapshot that stands on what came from a shared store does not count, if so."""
    if not manifest.origins:
        return None
    if project.no_remote:
        return "it came from the shared store, which --no-remote does without"
    keys = project.remote_keys
    if not keys and settings_of(project, write=False) is None:
        return "it came from a shared store, and none is configured any more"
    scopes = tuple(dict.fromkeys((_scope(), MAIN)))
    for origin in manifest.origins:
        scope, signer = origin["scope"], origin["signer"]
        if scope not in scopes:
            return f"it came from the scope {scope} of the shared store, not from {scopes[0]}"
        if not believes(scope, signer, keys, scopes):
            who = "unsigned" if signer == UNSIGNED else f"signed by {signer}"
            return f"it came from the shared store {who}, which remote_keys has not for {scope}"
    return None


def believes(
    scope: str, signer: str, keys: Mapping[str, Sequence[str]], scopes: Sequence[str]
) -> bool:
    """Whether a record of that scope and signer counts where these keys and scopes do."""
    allowed = keys_for(scope, keys) if keys else (UNSIGNED,)
    return scope in scopes and signer in allowed


def is_on_loopback(url: str) -> bool:
    """Whether a store's server is on this machine."""
    parts = urlsplit(url)
    family = _FAMILIES.get(parts.scheme, parts.scheme)
    if family in ("http", "https"):
        return _is_local(parts.hostname)
    said = [os.environ[name] for name in _ENDPOINTS.get(family, ()) if os.environ.get(name)]
    if family == "az":
        flag = os.environ.get(_EMULATOR_FLAG, "no").lower()
        if flag in _TRUE:
            said.append(os.environ.get(_EMULATOR, "http://localhost"))
        elif flag not in _FALSE:
            return False
    return bool(said) and all(_is_local(urlsplit(endpoint).hostname) for endpoint in said)


def may_be_plain(url: str) -> bool:
    """Whether a store may be asked without TLS: on this machine, or if its variable says so."""
    scheme = urlsplit(url).scheme
    variable = _PLAIN.get(_FAMILIES.get(scheme, scheme), "")
    return is_on_loopback(url) or os.environ.get(variable, "").lower() in _TRUE


def _checked_url(url: str, root: Path) -> str:
    """A URL, or the one of a folder, which may be relative to the project's root.

    Raises:
        ConfigError: there is no store for it, or it is a mere word and no folder.
    """
    check_url(url, "remote")
    if "://" in url:
        if urlsplit(url).scheme == "http" and not is_on_loopback(url):
            raise ConfigError(
                f"remote {without_secrets(url)} is on another machine, and plain http:// works on "
                "this machine only",
                hint="write https://HOST/PREFIX",
            )
        return url
    folder = root / os.path.expanduser(url)
    is_meant = url.startswith(("~/", "./", "../", "/"))
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"remote {url} is no folder", hint="write the path of a folder, or a URL")
    if not is_meant and not folder.exists():
        raise ConfigError(
            f"remote {url} is neither a URL nor a folder in {root}",
            hint="make the folder, or write a URL as s3://BUCKET/PREFIX",
        )
    return folder.absolute().as_uri()


def _is_near(url: str) -> bool:
    """Whether nobody else than who may write this machine's files can write to a store."""
    return urlsplit(url).scheme in ("file", "memory") or is_on_loopback(url)


def _is_local(host: str | None) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False


def _scope() -> str:
    return check_scope(os.environ.get(SCOPE_VARIABLE, MAIN), SCOPE_VARIABLE)


def _signing_key() -> str:
    key = os.environ.get(KEY_VARIABLE)
    hint = f"`alembic-snapshot remote-key --scope {_scope()}` makes a pair; is it a secret that "
    hint += f"did not arrive? Without {REMOTE_WRITE_VARIABLE} the store is only read"
    if not key or not key.strip():
        what = "empty" if key is not None else "not set"
        raise ConfigError(f"{KEY_VARIABLE} is {what}, and records have to be signed", hint=hint)
    try:
        raw_of(key.strip(), SECRET)
    except ValueError as error:
        raise ConfigError(f"{KEY_VARIABLE} is no signing key: {error}", hint=hint) from None
    return key.strip()


def _is_yes(variable: str) -> bool:
    value = os.environ.get(variable, "").strip().lower()
    if value not in (*_YES, *_NO):
        raise ConfigError(f"{variable} is {value!r}", hint="set it to 1, or leave it unset")
    return value in _YES
