"""The snapshot of a project: found in the store, or built by one process while others wait."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from alembic_snapshot.backend import backend_of
from alembic_snapshot.build.archiving import Archiving
from alembic_snapshot.build.lookup import Status, find, look_up
from alembic_snapshot.build.sharing import Sharing, built
from alembic_snapshot.build.snapshot import Snapshot
from alembic_snapshot.build.waiting import silent, telling_of_a_wait
from alembic_snapshot.checks import NO_METADATA, number, size
from alembic_snapshot.errors import SnapshotError, StoreError
from alembic_snapshot.key.inputs import Files
from alembic_snapshot.key.layers import Chain, read_chain
from alembic_snapshot.project.config import Project
from alembic_snapshot.project.sizes import bytes_of
from alembic_snapshot.store.manifest import Entry
from alembic_snapshot.store.store import run_id

if TYPE_CHECKING:
    from alembic_snapshot.build.process import Listener
    from alembic_snapshot.build.steps import Construction
    from alembic_snapshot.database.diff import Diff


def ensure(
    project: Project,
    *,
    layer: str | None = None,
    revision: str | None = None,
    listener: Listener | None = None,
    rebuild: bool = False,
) -> Snapshot:
    """The project's snapshot, built if the store does not have it.

    One process builds while others wait for it. ``layer`` puts a named layer on top; ``revision``
    stops there. ``listener`` is told of each step. ``rebuild`` builds from nothing although the
    store has it.

    Raises:
        ConfigError, ScriptError: the project's configuration or its history is wrong.
        BuildError: the migrations failed; the half-built database is kept.
        StoreError: the store can't be written.
    """
    listener = listener or silent
    sharing, archiving = Sharing(project), Archiving(project)
    with sharing.open(listener), _telling(archiving, listener):
        status = look_up(project, layer=layer, revision=revision)
        entry = status.entry
        notes: tuple[str, ...] = ()
        if entry and not rebuild and _is_checked(entry, status):
            status.store.touch(entry)
            snapshot, is_due = Snapshot(project, entry), sharing.is_due(entry)
        else:
            snapshot, is_due = (
                _under_lock(status, layer, revision, listener, rebuild, sharing, archiving),
                True,
            )
            notes = tuple(_trimmed(status))
        if archiving.is_wanted:
            archiving.keep(built(status.store, status.chain.target.digest))
        if is_due:
            # Who waits for the lock can go on meanwhile.
            sharing.send(status.chain)
    notes = (*archiving.notes, *snapshot.notes, *notes)
    return dataclasses.replace(snapshot, shared=sharing.report, notes=notes)


@contextlib.contextmanager
def _telling(archiving: Archiving, listener: Listener) -> Iterator[None]:
    """Have a build that fails say why an archive was of no use."""
    try:
        yield
    except SnapshotError:
        listener({"event": "warnings", "lines": archiving.notes})
        raise


def _trimmed(status: Status) -> Iterator[str]:
    """Delete what is too much for the store; what is to be said of that."""
    limit = status.project.max_size
    try:
        deleted, left = status.store.trim(bytes_of(limit))
    except StoreError as error:
        # What was to be built is there.
        yield f"the store may have more than {limit} (max_size): {error.message}"
        return
    if deleted:
        freed = sum(entry.manifest.size for entry in deleted)
        yield (
            f"deleted {number(len(deleted), 'snapshot')}, {size(freed)}, which nobody had asked "
            f"for longest: the store is to have at most {limit} (max_size)"
        )
    if left > bytes_of(limit):
        yield (
            f"the store has {size(left)}, more than {limit} (max_size): all of it is in use, or "
            "was just now"
        )


def _where_nothing_is_written(
    status: Status, rebuild: bool, why: StoreError, construction: Construction
) -> Snapshot:
    """The snapshot of a store that can only be read, checked again in a temporary folder.

    Raises:
        StoreError: it has to be built.
    """
    reasons = status.reasons
    if status.entry is not None and not rebuild:
        checked = construction.check_again(status.entry, elsewhere=True)
        if checked:
            told = f"its comparison with the models is made again by each run: {why.message}"
            return Snapshot(status.project, checked, notes=(told,))
        reasons = tuple(construction.differences)
    if reasons:
        why = StoreError(f"{why.message}, and a build is needed: {reasons[0]}", hint=why.hint)
    raise why


def _under_lock(
    status: Status,
    layer: str | None,
    revision: str | None,
    listener: Listener,
    rebuild: bool,
    sharing: Sharing,
    archiving: Archiving,
) -> Snapshot:
    """The snapshot, from another process, from another machine, or built now."""
    project, store, digest = status.project, status.store, status.chain.target.digest
    closed = store.closed()
    status.files.save()
    failure = store.failure(digest)
    if failure and failure[2]:
        raise failure[1]
    from alembic_snapshot.build.steps import Construction

    def chain_now() -> Chain:
        files = Files(project.root, project.search_path, store.parse_cache)
        versions = backend_of(project).versions()
        return read_chain(project, files, versions, layer=layer, revision=revision)

    construction = Construction(project, status.chain, store, status.present, listener, chain_now)
    if closed is not None:
        return _where_nothing_is_written(status, rebuild, closed, construction)
    with telling_of_a_wait(store.lock(digest), listener):
        entry = find(store, status.chain, status.present, project).entry
        failed_meanwhile = store.failure(digest)
        if failed_meanwhile and (not failure or failed_meanwhile[0] != failure[0]):
            raise failed_meanwhile[1]
        is_restored = False
        if not (entry or rebuild):
            archiving.restore(construction)
            entry = find(store, status.chain, status.present, project).entry
            is_restored = entry is not None
        if not (entry or rebuild):
            sharing.receive(construction)
            entry = find(store, status.chain, status.present, project).entry
        if entry and not rebuild:
            if _is_checked(entry, status):
                return Snapshot(project, entry, restored=is_restored)
            checked = construction.check_again(entry)
            if checked:
                return Snapshot(project, checked, restored=is_restored)
            gone = "the snapshot was deleted meanwhile"
            status = dataclasses.replace(status, reasons=tuple(construction.differences) or (gone,))
            rebuild = True
        passed_over = None if rebuild else construction.ancestors.passed_over()
        if passed_over:
            status = dataclasses.replace(status, reasons=(*status.reasons, passed_over))
        listener({"event": "build", "reasons": status.reasons})
        construction.from_scratch = rebuild
        new_entry = construction.run()
        return Snapshot(project, new_entry, built=True, why=status.reasons)


def rebuild_and_compare(
    project: Project,
    *,
    layer: str | None = None,
    revision: str | None = None,
    listener: Listener | None = None,
) -> tuple[Snapshot, Diff | None]:
    """The snapshot built from nothing, and how the one built step by step differed from it.

    What was built from nothing replaces the other; None if the store had none.

    Raises:
        SnapshotError: as :func:`ensure` does.
    """
    status = look_up(project, layer=layer, revision=revision)
    if status.entry is None:
        rebuilt = ensure(project, layer=layer, revision=revision, listener=listener, rebuild=True)
        return rebuilt, None
    own = hashlib.sha256(f"compared by {os.getpid()}".encode()).hexdigest()
    with status.store.lock(own):
        workspace = status.store.workspace(own)
        try:
            workspace.database.start(status.entry.database)
            rebuilt = ensure(
                project, layer=layer, revision=revision, listener=listener, rebuild=True
            )
            assert rebuilt.entry
            return rebuilt, rebuilt.entry.database.diff(workspace.database)
        finally:
            workspace.close()


def _is_checked(entry: Entry, status: Status) -> bool:
    """Whether what depends on ``env.py``'s modules was checked with the modules as they are.

    A state on the way to another snapshot was built with them, but not compared. What could not be
    checked is tried again, once a run, unless there is nowhere to write what is found.
    """
    checks = entry.manifest.checks
    if checks.get("models") != status.chain.models_digest:
        return False
    if dataclasses.replace(status, entry=entry).changed_for_env():
        return False
    if "drift" not in checks:
        # With a database below the heads the models are not to be compared.
        return status.chain.is_below
    missing = checks.get("drift_error") or checks.get("unchecked")
    if missing == NO_METADATA:
        return True  # That is what env.py says, and not something that failed.
    is_tried = checks.get("tried_by") is not None and checks["tried_by"] == run_id()
    return not missing or is_tried or not os.access(status.store.root, os.W_OK)
