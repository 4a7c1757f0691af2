"""One test process's databases: its snapshots, the clone that is in use, what becomes of it."""

from __future__ import annotations

import hashlib
import re
import shlex
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from alembic_snapshot import sqlite
from alembic_snapshot.config import Project, load_project
from alembic_snapshot.errors import CheckError, ConfigError, SnapshotError
from alembic_snapshot.pointing import Pointer, when_imported
from alembic_snapshot.snapshot import Clone, Snapshot

if TYPE_CHECKING:
    from alembic_snapshot.child import Listener

_KEPT = 10
_NAME_LENGTH = 100


@dataclass
class Runtime:
    """What the plugin's hooks and fixtures share. Nothing is computed before a test asks.

    ``keep`` is whose clones stay: ``failed`` tests', ``all`` or ``none``. ``made`` counts clones,
    ``size`` their bytes, ``seconds`` the time spent on them.
    """

    project: Project | None = None
    pointer: Pointer | None = None
    keep: str = "failed"
    rebuild: bool = False
    made: int = 0
    size: int = 0
    seconds: float = 0.0
    _snapshots: dict[tuple[str | None, str | None], Snapshot | SnapshotError] = field(
        default_factory=dict
    )
    _failed: dict[Clone, str] = field(default_factory=dict)
    _kept: int = 0

    @classmethod
    def start(cls, root: Path, *, store: Path | None, keep: str, rebuild: bool) -> Runtime:
        """Read the configuration above ``root``; guard the engine, if it is configured to be."""
        try:
            project = load_project(root, store=store)
        except ConfigError as error:
            if "no configuration" not in error.message:
                raise
            return cls()
        pointer = Pointer(project)
        if project.configured and project.engine and project.guard == "on":
            when_imported("sqlalchemy", pointer.install)
        return cls(project, pointer, keep=keep, rebuild=rebuild)

    @property
    def configured(self) -> bool:
        """Whether there is a configuration table."""
        return self.project is not None and self.project.configured

    def snapshot(
        self,
        *,
        layer: str | None = None,
        revision: str | None = None,
        listener: Listener | None = None,
    ) -> Snapshot:
        """The snapshot, ensured once a process; a failure is raised again without trying again.

        Raises:
            CheckError: a check failed that the configuration makes an error.
        """
        key = (layer, revision)
        if key not in self._snapshots:
            try:
                self._snapshots[key] = self._ensure(layer, revision, listener)
            except SnapshotError as error:
                self._snapshots[key] = error
        found = self._snapshots[key]
        if isinstance(found, SnapshotError):
            raise found
        return found

    def begin(
        self,
        folder: Path,
        *,
        layer: str | None = None,
        revision: str | None = None,
        empty: bool = False,
        durable: bool = False,
    ) -> Clone:
        """A clone of its own for one test, in ``folder``; the engines are pointed at it."""
        project, pointer = self._parts()
        if empty:
            snapshot = Snapshot(project, None)
        else:
            snapshot = self.snapshot(layer=layer, revision=revision)
        where = folder / "databases"
        where.mkdir(exist_ok=True)
        self.made += 1
        clone = Clone(snapshot, where / f"{self.made}{sqlite.SUFFIX}")
        pointer.point(clone, durable=durable)
        return clone

    def end(self, clone: Clone) -> list[str]:
        """Take the engines off the clone, and delete it or keep it; what was left open."""
        started = time.perf_counter()
        _, pointer = self._parts()
        held = pointer.release()
        if clone.made:
            self.size += clone.path.stat().st_size
            if self.keep == "all" and clone not in self._failed:
                self._failed[clone] = clone.path.stem
            if clone in self._failed and self.keep != "none":
                clone.keep(self._kept_path(clone))
            else:
                clone.delete()
        self._failed.pop(clone, None)
        self.seconds += time.perf_counter() - started
        return [f"a connection to the test's database was still open: {line}" for line in held]

    def describe_failure(self, clone: Clone, test: str) -> str:
        """What a failed test's report says of its database, which is kept from now on."""
        if not clone.made:
            return "the test did not open its database"
        try:
            difference = str(clone.diff())
        except Exception as error:
            difference = f"the difference to the snapshot can't be shown: {error}"
        if self.keep == "none" or self._kept >= _KEPT:
            return f"difference to the snapshot:\n{difference}"
        self._failed.setdefault(clone, _file_name(test))
        path = self._kept_path(clone)
        return f"{path}\nopen it: sqlite3 {shlex.quote(str(path))}\n{difference}"

    def summary(self) -> str | None:
        """One line for the end of the run, if a test had a database."""
        found = self._snapshots.get((None, None))
        if not isinstance(found, Snapshot):
            return None
        state = f"built ({', '.join(found.why[:3])})" if found.built else "reused"
        return (
            f"alembic-snapshot: {found.digest[:12]} {state}; {self.made} clones, "
            f"{self.size / 1e6:.1f} MB, {self.seconds:.2f} s"
        )

    def _ensure(
        self, layer: str | None, revision: str | None, listener: Listener | None
    ) -> Snapshot:
        from alembic_snapshot.build import ensure

        project, _ = self._parts()
        snapshot = ensure(
            project, layer=layer, revision=revision, listener=listener, rebuild=self.rebuild
        )
        if revision is None:
            raise_for_checks(snapshot)
        return snapshot

    def _parts(self) -> tuple[Project, Pointer]:
        if self.project is None or self.pointer is None:
            raise ConfigError(
                "no configuration: neither [tool.alembic-snapshot] nor an alembic.ini was found",
                hint="add a [tool.alembic-snapshot] table to the project's pyproject.toml",
            )
        return self.project, self.pointer

    def _kept_path(self, clone: Clone) -> Path:
        return clone.path.with_name(self._failed[clone] + sqlite.SUFFIX)


def raise_for_checks(snapshot: Snapshot) -> None:
    """Raise for what the checks found, if ``drift = "error"``.

    Raises:
        CheckError: it lists what was found and says what to do.
    """
    checks = snapshot.manifest.checks
    if snapshot.project.drift != "error":
        return
    if checks.get("mappers"):
        raise CheckError(
            f"the models' mappers don't configure: {checks['mappers']}",
            hint="import every module with mapped classes where env.py gets its metadata",
        )
    if checks.get("drift_error"):
        raise CheckError(
            f"the models could not be compared with the schema: {checks['drift_error']}",
            hint="run `alembic check` to see it alone",
        )
    if checks.get("drift"):
        found = "\n  ".join(checks["drift"])
        raise CheckError(
            f"the models differ from the migrated schema:\n  {found}",
            hint="make the missing revision with `alembic revision --autogenerate`, "
            'or set drift = "warn"',
        )


def _file_name(test: str) -> str:
    """A test's id as a file name: at most 100 characters, no two tests' the same."""
    name = re.sub(r"[^\w.\-]+", "_", test.rpartition("/")[2])
    if len(name) <= _NAME_LENGTH:
        return name
    tail = hashlib.sha256(test.encode()).hexdigest()[:8]
    return f"{name[: _NAME_LENGTH - 9]}-{tail}"
