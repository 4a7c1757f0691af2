"""A project's shared store, as a build uses it; nothing of it is imported where there is none."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from alembic_snapshot.backend import backend_of
from alembic_snapshot.errors import SnapshotError
from alembic_snapshot.key.layers import Chain
from alembic_snapshot.key.observed import Present
from alembic_snapshot.project.config import Project
from alembic_snapshot.project.owner import identity
from alembic_snapshot.project.variables import REMOTE_VARIABLE, REMOTE_WRITE_VARIABLE
from alembic_snapshot.store.manifest import Entry, Manifest
from alembic_snapshot.store.store import Store

if TYPE_CHECKING:
    from alembic_snapshot.build.process import Listener
    from alembic_snapshot.build.steps import Construction
    from alembic_snapshot.remote.settings import RemoteSettings
    from alembic_snapshot.remote.shared import Report, SharedStore


class Sharing:
    """The shared store of one project; without one it does nothing.

    Raises:
        ConfigError: what is said of it is wrong, or nothing could be believed.
    """

    def __init__(self, project: Project):
        self._project = project
        self._backend = backend_of(project)
        self._store = self._backend.store()
        self._settings = remote_settings(project)
        self._shared: SharedStore | None = None
        self._report: Report | None = None
        if self._settings is not None:
            from alembic_snapshot.remote.shared import Report

            self._report = Report(self._settings.name)

    @property
    def report(self) -> Report | None:
        """What it did so far; None if there is none."""
        return self._shared.report if self._shared is not None else self._report

    def __bool__(self) -> bool:
        return self._settings is not None

    @contextlib.contextmanager
    def open(self, listener: Listener) -> Iterator[None]:
        """Talk to it, and end that; a build that fails says what there was to say of it."""
        if not self:
            yield
            return
        from alembic_snapshot.remote.shared import opened

        with opened(self._settings, self._project, self._backend, self._store) as self._shared:
            assert self._shared is not None
            try:
                if not self._store.root.exists():
                    # As on a new machine: it will be a miss, and the key takes a while.
                    self._shared.start()
                yield
            except SnapshotError:
                assert self.report is not None
                listener({"event": "warnings", "lines": self.report.warnings})
                raise

    def receive(self, construction: Construction) -> None:
        """Bring what the store has into the machine's own: the snapshot, or a state below it."""
        if self._shared is None:
            return
        ours = identity(self._project)
        local = [e.manifest for e in self._store.entries() if e.manifest.project == ours]
        self._shared.receive(
            construction.chain, self.fits(construction.present), local, construction.ancestors.depth
        )

    def send(self, chain: Chain) -> None:
        """Put there what a build made, or has made before."""
        if self._shared is None or self._settings is None or not self._settings.write:
            return
        self._shared.send(built(self._store, chain.target.digest), chain)

    def is_due(self, entry: Entry) -> bool:
        """Whether a snapshot that is here has yet to be put there."""
        if self._shared is None or self._settings is None or not self._settings.write:
            return False
        return not (entry.manifest.received or self._shared.is_sent(entry))

    def fits(self, present: Present) -> Fits:
        """Whether snapshots were built as the project's files and settings are now."""
        return Fits(self._project, present)


class Fits:
    """Tells of a snapshot from elsewhere whether it was built as the project is now."""

    def __init__(self, project: Project, present: Present):
        self._project, self._present = project, present

    def __call__(self, manifest: Manifest) -> bool:
        changes = self._present.changes(manifest.observed, manifest.digest)
        is_foreign = bool(manifest.databases) and self._project.foreign != "redirect"
        return not is_foreign and not list(changes)


def built(store: Store, digest: str) -> list[Entry]:
    """What one build published, the snapshot itself, whoever published it, last."""
    entries = [e for e in store.entries() if digest in (e.manifest.family, e.manifest.digest)]
    return sorted(entries, key=lambda entry: entry.manifest.digest == digest)


def remote_settings(project: Project) -> RemoteSettings | None:
    """The shared store that a project has, if it has one.

    Raises:
        ConfigError: as :func:`alembic_snapshot.remote.settings.settings_of`.
    """
    variables = (REMOTE_VARIABLE, REMOTE_WRITE_VARIABLE)
    if project.remote is None and not any(name in os.environ for name in variables):
        return None
    from alembic_snapshot.remote.settings import settings_of

    return settings_of(project)
