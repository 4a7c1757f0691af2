"""The signed record of one snapshot in a shared store, and where it and its content are.

A record is JSON: ``{"format", "signer", "signature", "body"}``. The body is JSON as text, since its
bytes are what is signed. Nothing of a record is looked at before its signature.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alembic_snapshot.checks import told
from alembic_snapshot.database.identity import Place
from alembic_snapshot.key.layers import FORMAT as KEY_FORMAT
from alembic_snapshot.project.remote import fingerprint, keys_for
from alembic_snapshot.remote.signature import UNSIGNED, is_signed, public_of, sign
from alembic_snapshot.store.manifest import Manifest

# Raised when the meaning of a record changes. Its path has it, too, so that both can be there.
FORMAT = 1
LIMIT = 32 * 1024 * 1024
# As many states that differ in what a run read (a variable, a file) are kept under one digest.
VARIANTS = 4
_HASH = re.compile(r"[0-9a-f]{64}")
_NAME = re.compile(rf"([0-9a-f]{{16}}|{UNSIGNED})-[0-9]+\.json")
_LONG = 1e11
_HANDOVERS = (None, "url", "connection", "engine", "async", "api")
_TEXTS = ("digest", "family", "project", "sha256", "version_table")
_LISTS_OF_TEXTS = ("heads", "seeds", "warnings")
_OF_TEXTS = ("revisions", "options")


class NotVerified(Exception):
    """A record is not what it has to be; the text says why."""


class Unknown(Exception):
    """A record is of another version of the library, and none of this one's business."""


@dataclass(frozen=True)
class Record:
    """One snapshot in a shared store. ``packed`` is the size of its content there, in bytes."""

    scope: str
    signer: str
    signed: float
    packed: int
    manifest: Manifest

    def to_values(self) -> dict[str, Any]:
        """The record as values that JSON has."""
        return {**vars(self), "manifest": self.manifest.to_json()}

    def refused(self, why: str) -> str:
        """What is said of it where its snapshot can't be used."""
        return f"the snapshot {self.manifest.digest[:12]} in {self.scope}: {why}"

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> Record:
        """The record that :meth:`to_values` gave."""
        return cls(**{**values, "manifest": Manifest.from_json(values["manifest"])})


def record_path(scope: str, digest: str, signer: str, variant: int) -> str:
    """Where a record is. Each signer has a place of its own, which no other can take."""
    return f"v{FORMAT}/{scope}/-/records/{digest}/{signer}-{variant}.json"


def records_below(scope: str, digest: str = "") -> str:
    """Where the records of a scope are, or those of one snapshot in it."""
    return f"v{FORMAT}/{scope}/-/records/" + (f"{digest}/" if digest else "")


def signer_in(path: str) -> str | None:
    """Who has the place at which a record is; None if it is no record's place."""
    name = _NAME.fullmatch(path.rpartition("/")[2])
    return name and name[1]


def content_path(scope: str, sha256: str) -> str:
    """Where the packed content with this hash is."""
    return f"{contents_below(scope)}{sha256}.zst"


def contents_below(scope: str) -> str:
    """Where the packed contents of a scope are."""
    return f"v{FORMAT}/{scope}/-/content/"


def lease_path(scope: str, digest: str) -> str:
    """Where the lease of whoever builds this snapshot is."""
    return f"v{FORMAT}/{scope}/-/leases/{digest}.json"


def signers_of(scope: str, keys: Mapping[str, Sequence[str]]) -> list[str]:
    """Whose records count in a scope."""
    return list(keys_for(scope, keys)) if keys else [UNSIGNED]


def doubt(scope: str, signer: str | None, keys: Mapping[str, Sequence[str]]) -> str | None:
    """Why no record of a signer counts in a scope; None if one may count."""
    if signer is None:
        return "it is no record"
    if signer in signers_of(scope, keys):
        return None
    if not keys:
        return "it is signed, and there are no remote_keys to verify it with"
    if signer == UNSIGNED:
        return "it is unsigned"
    return f"remote_keys has no key of its signer {signer} for {scope}"


def seal(record: Record, signing_key: str | None) -> bytes:
    """A record's bytes, signed if there is a key."""
    body = json.dumps(
        {
            "format": FORMAT,
            "scope": record.scope,
            "signed": record.signed,
            "packed": record.packed,
            # Project, key, heads, layers, the content's hash and size.
            "manifest": record.manifest.to_json(),
        },
        sort_keys=True,
    )
    signature = sign(signing_key, body.encode()) if signing_key else ""
    envelope = {"format": FORMAT, "signer": record.signer, "signature": signature, "body": body}
    return json.dumps(envelope).encode()


def signer_of(signing_key: str | None) -> str:
    """The fingerprint of whoever has a signing key."""
    return fingerprint(public_of(signing_key)) if signing_key else UNSIGNED


def unseal(
    content: bytes, scope: str, digest: str, signer: str, keys: Mapping[str, Sequence[str]]
) -> Record:
    """The record in bytes that were found in a place, if its signer may sign for the scope.

    Raises:
        NotVerified: it is damaged, unsigned, signed by another, or another snapshot's.
        Unknown: it is of another version of the library.
    """
    envelope = _object(content)
    if isinstance(envelope.get("format"), int) and envelope["format"] > FORMAT:
        raise Unknown
    body = envelope.get("body")
    if not isinstance(body, str) or envelope.get("signer") != signer:
        raise NotVerified("it is no record")
    _verify(envelope, body.encode(), scope, signer, keys)
    said = _object(body.encode())
    if said.get("scope") != scope:
        raise NotVerified(f"it was signed for the scope {said.get('scope')!r}")
    return _record(said, scope, digest, signer)


def _verify(
    envelope: Mapping[str, Any],
    body: bytes,
    scope: str,
    signer: str,
    keys: Mapping[str, Sequence[str]],
) -> None:
    why = doubt(scope, signer, keys)
    if why is not None:
        raise NotVerified(why)
    if not keys:
        return
    public, signature = keys_for(scope, keys)[signer], envelope.get("signature")
    if not isinstance(signature, str) or not is_signed(public, signature, body):
        raise NotVerified("its signature is wrong")


def _record(said: Mapping[str, Any], scope: str, digest: str, signer: str) -> Record:
    try:
        manifest = Manifest.from_json(said["manifest"])
        signed, packed = float(said["signed"]), said["packed"]
    except TypeError:
        # Newer libraries may have fields that this one does not know.
        raise Unknown from None
    except (ValueError, KeyError, AttributeError) as error:
        raise NotVerified(f"its manifest can't be read: {error}") from None
    if manifest.format != KEY_FORMAT:
        raise Unknown
    _check_manifest(manifest)
    if manifest.digest != digest:
        raise NotVerified("it is another snapshot's")
    if not isinstance(packed, int) or packed < 0 or not _is_time(signed):
        raise NotVerified("its size or its time is none")
    return Record(scope, signer, signed, packed, manifest)


def _check_manifest(manifest: Manifest) -> None:
    """See that a manifest from elsewhere has values of the right kinds, and leads nowhere else."""
    is_right = (
        all(isinstance(getattr(manifest, name), str) for name in _TEXTS)
        and all(_HASH.fullmatch(getattr(manifest, name)) for name in ("digest", "family", "sha256"))
        and all(_are_texts(getattr(manifest, name)) for name in _LISTS_OF_TEXTS)
        and all(_maps_texts(getattr(manifest, name)) for name in _OF_TEXTS)
        and "base" in manifest.layers
        and all(_maps_texts(inputs) for inputs in manifest.layers.values())
        and isinstance(manifest.size, int)
        and manifest.size >= 0
        and isinstance(manifest.tables, int)
        and _is_time(manifest.created)
        and isinstance(manifest.checks, dict)
        and all(_is_time(value) for value in manifest.timings.values())
        and all(isinstance(one, dict) for one in manifest.databases)
        and manifest.handover in _HANDOVERS
    )
    if not is_right:
        raise NotVerified("its manifest has values that none has")
    if not all(_maps_texts(part) for part in _read_parts(manifest)):
        raise NotVerified("its manifest has values that none has")
    try:
        # What shows them, and what points engines, has to be able to read them.
        told(manifest.checks, drift="warn", heads="one", spell=lambda *words: " ".join(words))
        for record in manifest.databases:
            Place.from_record(record, Path("/"))
    except Exception:
        raise NotVerified("its manifest has values that none has") from None


def _read_parts(manifest: Manifest) -> list[object]:
    return [*vars(manifest.observed).values(), *vars(manifest.through_env).values()]


def _object(content: bytes) -> dict[str, Any]:
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        raise NotVerified("it is no JSON") from None
    if not isinstance(value, dict):
        raise NotVerified("it is no record")
    return value


def _is_time(value: object) -> bool:
    """Whether it is a number of seconds, as no infinite one is."""
    return isinstance(value, int | float) and 0 <= value < _LONG


def _are_texts(values: object) -> bool:
    return isinstance(values, list | tuple) and all(isinstance(value, str) for value in values)


def _maps_texts(values: object) -> bool:
    return isinstance(values, dict) and _are_texts(list(values.values()))
