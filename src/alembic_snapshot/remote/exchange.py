"""Records and contents in a store: looked for, verified, fetched and put there."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, Protocol

from alembic_snapshot.errors import StoreError
from alembic_snapshot.remote.packing import Damaged, pack, unpack
from alembic_snapshot.remote.record import (
    LIMIT,
    VARIANTS,
    NotVerified,
    Record,
    Unknown,
    content_path,
    contents_below,
    record_path,
    records_below,
    seal,
    signer_in,
    signer_of,
    signers_of,
    unseal,
)
from alembic_snapshot.remote.transport import Found, TooLarge
from alembic_snapshot.store.manifest import Manifest

AT_ONCE = 8
_GONE, _LARGER = "its content is gone", "its content is larger than its record says"
# What one put can carry everywhere.
_LARGEST = 4 * 1024**3


class Objects(Protocol):
    """What is needed of a :class:`~alembic_snapshot.remote.transport.Transport`."""

    def read(self, path: str, limit: int) -> Found | None: ...
    def stream(self, path: str, limit: int) -> Iterator[bytes] | None: ...
    def size(self, path: str) -> int | None: ...
    def create(self, path: str, content: bytes | Path) -> bool: ...
    def write(self, path: str, content: bytes | Path) -> None: ...
    def replace(self, path: str, content: bytes, version: str | None) -> bool: ...
    def delete(self, path: str) -> None: ...
    def list(self, prefix: str) -> list[str]: ...
    def sizes(self, prefix: str) -> dict[str, int]: ...


class Looked(NamedTuple):
    """The result of a look for records: those that verify, and why others do not."""

    records: list[Record]
    rejected: list[str]


class Signers(NamedTuple):
    """Who has signed records, by the names of these: their scopes, with one signer for each record.

    None is the signer of what is no record. ``unlisted`` has why a scope can't be listed.
    """

    found: list[tuple[str, str | None]]
    unlisted: dict[str, str]


class Exchange:
    """Records of one run. ``scope`` is its own; ``bad`` has contents that were not as recorded."""

    def __init__(
        self,
        objects: Objects,
        scope: str,
        keys: Mapping[str, Sequence[str]],
        signing_key: str | None = None,
    ):
        self.objects = objects
        self.scope = scope
        self.keys = keys
        self.signing_key = signing_key
        self.bad: set[str] = set()
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="remote")

    def look(self, digests: Sequence[str], scopes: Sequence[str]) -> Looked:
        """The records of these snapshots, in their order, then in that of the scopes."""
        places = [
            (scope, digest, signer)
            for digest in digests
            for scope in scopes
            for signer in signers_of(scope, self.keys)
        ]
        looked = Looked([], [])
        for one in self._pool.map(lambda place: self._variants(*place), places):
            looked.records.extend(one.records)
            looked.rejected.extend(one.rejected)
        return looked

    def signers(self, scopes: Sequence[str], digest: str = "") -> Signers:
        """Who has signed the records of these scopes, or those of one snapshot in them.

        Whoever may not list can do all else.
        """
        told = Signers([], {})
        for scope, paths in zip(
            scopes, self._pool.map(lambda scope: self._paths(scope, digest), scopes), strict=True
        ):
            if isinstance(paths, StoreError):
                told.unlisted[scope] = paths.message
            else:
                told.found.extend((scope, signer_in(path)) for path in paths)
        return told

    def fetch(self, record: Record, target: Path) -> str | None:
        """Write a record's content to a file; why it is not what the record says, if so."""
        manifest = record.manifest
        try:
            parts = self.objects.stream(content_path(record.scope, manifest.sha256), record.packed)
            if parts is None:
                raise Damaged(_GONE)
            unpack(parts, target, manifest.size, manifest.sha256)
        except TooLarge:
            why = _LARGER
        except Damaged as error:
            why = str(error)
        else:
            return None
        self.bad.add(manifest.sha256)
        target.unlink(missing_ok=True)
        return why

    def lacks(self, record: Record) -> str | None:
        """Why a record's content can't be fetched, as far as its size tells; None if it can."""
        path = content_path(record.scope, record.manifest.sha256)
        return self._lacks(record, self.objects.size(path))

    def publish(self, manifest: Manifest, file: Path, workspace: Path) -> bool:
        """Put a snapshot there, content first; whether there was none that is as good.

        Raises:
            NotVerified: it can't be put there; the text says why.
        """
        packed_file = workspace / f"{manifest.sha256}.zst"
        try:
            packed = pack(file, packed_file)
            if packed > _LARGEST:
                raise NotVerified("it is too large for one object")
            self._put_content(content_path(self.scope, manifest.sha256), packed_file, packed)
        finally:
            packed_file.unlink(missing_ok=True)
        signer = signer_of(self.signing_key)
        record = Record(self.scope, signer, time.time(), packed, manifest)
        return self._put_record(record, seal(record, self.signing_key))

    def listed(self, scopes: Sequence[str]) -> Looked:
        """Every record of these scopes that has its content, the latest first."""
        looked = Looked([], [])
        for scope in scopes:
            records = []
            for path in self.objects.list(records_below(scope)):
                _, _, rest = path.partition("/-/records/")
                digest, _, name = rest.partition("/")
                one = self._at(path, scope, digest, name.rpartition("-")[0])
                if isinstance(one, Record):
                    records.append(one)
                elif isinstance(one, str):
                    looked.rejected.append(one)
            # Contents are there before their records, so they are listed after these.
            sizes = self.objects.sizes(contents_below(scope)) if records else {}
            for record in records:
                why = self._lacks(record, sizes.get(content_path(scope, record.manifest.sha256)))
                if why is None:
                    looked.records.append(record)
                else:
                    looked.rejected.append(record.refused(why))
        looked.records.sort(key=lambda record: record.signed, reverse=True)
        return looked

    def _paths(self, scope: str, digest: str) -> list[str] | StoreError:
        try:
            return self.objects.list(records_below(scope, digest))
        except StoreError as error:
            return error

    def _variants(self, scope: str, digest: str, signer: str) -> Looked:
        """The records of one snapshot by one signer; each is looked for if there is one before."""
        looked = Looked([], [])
        for variant in range(VARIANTS):
            one = self._at(record_path(scope, digest, signer, variant), scope, digest, signer)
            if one is None:
                break
            if isinstance(one, Record):
                looked.records.append(one)
            elif isinstance(one, str):
                looked.rejected.append(one)
        return looked

    def _at(self, path: str, scope: str, digest: str, signer: str) -> Record | str | bool | None:
        """The record at a path; why it does not count; True if it is unknown, None if none is."""
        try:
            found = self.objects.read(path, LIMIT)
            return found and unseal(found.content, scope, digest, signer, self.keys)
        except TooLarge:
            why = "it is too large"
        except NotVerified as error:
            why = str(error)
        except Unknown:
            return True
        return f"the record {digest[:12]} in {scope}: {why}"

    def _lacks(self, record: Record, size: int | None) -> str | None:
        """Why a content of this size is not what its record says.

        A smaller one may be: another version of a library can have packed it anew. So it is tried.
        """
        if size is None:
            return _GONE
        if size > record.packed:
            return _LARGER
        if size == record.packed:
            return None
        with tempfile.TemporaryDirectory() as folder:
            return self.fetch(record, Path(folder) / "content")

    def _put_content(self, path: str, file: Path, size: int) -> None:
        sha256 = path.rpartition("/")[2].removesuffix(".zst")
        if sha256 in self.bad or (
            not self.objects.create(path, file) and self.objects.size(path) != size
        ):
            self.objects.write(path, file)

    def _put_record(self, record: Record, content: bytes) -> bool:
        """Put a record where there is none, or none that is believed, or of no use any more."""
        digest = record.manifest.digest
        oldest: tuple[float, str] | None = None
        for variant in range(VARIANTS):
            path = record_path(self.scope, digest, record.signer, variant)
            if self.objects.create(path, content):
                return True
            there = self._at(path, self.scope, digest, record.signer)
            if there is True:
                continue
            if not isinstance(there, Record) or there.manifest.sha256 in self.bad:
                self.objects.write(path, content)
                return True
            if _is_same(there.manifest, record.manifest):
                return False
            oldest = min(oldest or (there.signed, path), (there.signed, path))
        if oldest is None:
            raise NotVerified("its places have records of another version of the library")
        self.objects.write(oldest[1], content)
        return True

    def close(self) -> None:
        """Wait for nothing more."""
        with contextlib.suppress(RuntimeError):
            self._pool.shutdown(wait=False, cancel_futures=True)


def _is_same(there: Manifest, here: Manifest) -> bool:
    """Whether two snapshots of one digest were built by reading the same."""
    return there.is_like(here) and there.observed == here.observed
