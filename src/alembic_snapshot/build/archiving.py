"""A server's snapshots as files in the store's folder: written after a build, restored before one.

So a machine that has the folder, from a CI's cache, and a server with nothing on it does not build.
Where snapshots are files themselves, none of this does anything.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from alembic_snapshot.backend import backend_of
from alembic_snapshot.build.lookup import Status, unsuited
from alembic_snapshot.build.sharing import Fits
from alembic_snapshot.database.target import NotForHere
from alembic_snapshot.errors import SnapshotError
from alembic_snapshot.key.layers import State
from alembic_snapshot.key.observed import Present
from alembic_snapshot.project.config import Project
from alembic_snapshot.store.archives import Archived
from alembic_snapshot.store.manifest import Entry
from alembic_snapshot.store.states import expected_seconds, is_of, states_below

if TYPE_CHECKING:
    from alembic_snapshot.build.steps import Construction

CI_VARIABLE = "CI"
# Seconds beside what a build may take: a server may be busy.
_MORE = 15.0
_NO = ("", "0", "false", "no", "off")


class Archiving:
    """The archives of one project's snapshots; ``notes`` has what there is to say of them."""

    def __init__(self, project: Project):
        self._project = project
        self._backend = backend_of(project)
        self._store = self._backend.store()
        self.notes: list[str] = []

    @property
    def is_wanted(self) -> bool:
        """Whether snapshots are to be written as files, as the table says, or in a CI."""
        if self._store.archives is None or self._project.archive == "never":
            return False
        is_ci = os.environ.get(CI_VARIABLE, "").strip().lower() not in _NO
        return is_ci or self._project.archive == "always"

    def restore(self, construction: Construction) -> Entry | None:
        """The snapshot from an archive, or the deepest state below it; None if neither is there."""
        known = self._store.usable_archives()
        if not known:
            return None
        chain = construction.chain
        seconds = _MORE + expected_seconds(chain, [one.manifest for one in known])
        for state in [chain.target, *states_below(chain, construction.ancestors.depth)]:
            for archived in self._fitting(state, construction.present, known):
                entry = self._restored(archived, seconds)
                if entry is not None:
                    return entry
        return None

    def _fitting(
        self, state: State, present: Present, known: Sequence[Archived]
    ) -> Iterator[Archived]:
        fits = Fits(self._project, present)
        for archived in known:
            manifest = archived.manifest
            is_ours = manifest.digest == state.digest and is_of(manifest, state)
            if is_ours and fits(manifest) and unsuited(self._project, manifest) is None:
                yield archived

    def _restored(self, archived: Archived, seconds: float) -> Entry | None:
        assert self._store.archives is not None
        own = hashlib.sha256(f"restored by {os.getpid()}".encode()).hexdigest()
        try:
            if not archived.is_intact():
                raise NotForHere("it is damaged or was changed")
            self._store.prepare()
            with self._store.lock(own):
                workspace = self._store.workspace(own)
                try:
                    database, manifest = self._backend.from_file(
                        archived.file, archived.manifest, workspace, seconds
                    )
                    entry = self._store.publish(database, manifest)
                finally:
                    workspace.close()
        except (SnapshotError, NotForHere) as error:
            why = error.message if isinstance(error, SnapshotError) else str(error)
            self.notes.append(f"the archive {archived.name} is not used: {why}")
            return None
        self._store.archives.touch(archived.name)
        return entry

    def keep(self, entries: Sequence[Entry]) -> None:
        """Write those snapshots to files that are in none yet, where that is wanted."""
        if not self.is_wanted:
            return
        assert self._store.archives is not None
        for entry in entries:
            if self._store.archives.of(entry.name, entry.manifest):
                continue
            try:
                self._keep(entry)
            except (SnapshotError, OSError) as error:
                why = error.message if isinstance(error, SnapshotError) else str(error)
                self.notes.append(
                    f"the snapshot {entry.manifest.digest[:12]} has no archive: {why}"
                )

    def _keep(self, entry: Entry) -> None:
        assert self._store.archives is not None
        self._store.prepare()
        own = hashlib.sha256(f"archived {entry.name}".encode()).hexdigest()
        with self._store.lock(own), self._store.in_use(entry):
            # Another process may have done it meanwhile, or deleted the snapshot.
            is_done = self._store.archives.of(entry.name, entry.manifest) is not None
            if is_done or not entry.database.is_there():
                return
            workspace = self._store.workspace(own)
            try:
                file, manifest = self._backend.as_file(entry, workspace)
                self._store.archives.publish(entry.name, file, manifest)
            finally:
                workspace.close()


def archived(status: Status) -> Archived | None:
    """The archive that a build would restore the snapshot from, by its manifest alone."""
    fits = Fits(status.project, status.present)
    usable = (
        one
        for one in status.store.usable_archives()
        if one.manifest.digest == status.chain.target.digest
        and fits(one.manifest)
        and unsuited(status.project, one.manifest) is None
    )
    return next((one for one in usable if one.is_intact()), None)
