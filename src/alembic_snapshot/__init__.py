"""Run a project's Alembic migrations once; give every test its own clone of the result."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if sys.platform == "win32":
    _what, _hint = "Windows is not supported yet", "use WSL, the Windows Subsystem for Linux"
    # The command's name, or -m while the package is imported for it: a line, as any other error.
    if "alembic-snapshot" in sys.argv[0] or (
        sys.argv[0] == "-m" and "alembic_snapshot" in sys.orig_argv
    ):
        sys.stderr.write(f"error: {_what}\nhint: {_hint}\n")
        raise SystemExit(2)
    raise RuntimeError(f"{_what}: {_hint}")

if TYPE_CHECKING:
    from alembic_snapshot.build.ensure import ensure
    from alembic_snapshot.build.snapshot import Snapshot
    from alembic_snapshot.database.clone import Clone
    from alembic_snapshot.database.diff import Diff
    from alembic_snapshot.errors import (
        BuildError,
        CheckError,
        CloneError,
        CommandError,
        ConfigError,
        DatabaseNotRequested,
        EngineError,
        GuardError,
        MigrationError,
        ScriptError,
        ServerError,
        SnapshotError,
        StoreError,
    )
    from alembic_snapshot.project.config import Project, load_project

__version__ = "0.1.0"

__all__ = [
    "BuildError",
    "CheckError",
    "Clone",
    "CloneError",
    "CommandError",
    "ConfigError",
    "DatabaseNotRequested",
    "Diff",
    "EngineError",
    "GuardError",
    "MigrationError",
    "Project",
    "ScriptError",
    "ServerError",
    "Snapshot",
    "SnapshotError",
    "StoreError",
    "ensure",
    "load_project",
]

_HOMES = {
    "Clone": "database.clone",
    "Diff": "database.diff",
    "Project": "project.config",
    "Snapshot": "build.snapshot",
    "ensure": "build.ensure",
    "load_project": "project.config",
}


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> Any:
    # Imported on first use: the pytest plugin must cost nothing where no test has a database.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES.get(name, 'errors')}"), name)
