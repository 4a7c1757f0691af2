"""The places of a project's configuration and its store; light enough for every run of pytest."""

from __future__ import annotations

import os
from pathlib import Path

from alembic_snapshot.errors import ConfigError
from alembic_snapshot.project.toml_file import TomlFile

TABLE = "tool.alembic-snapshot"
BACKEND_VARIABLE = "ALEMBIC_SNAPSHOT_BACKEND"
STORE_VARIABLE = "ALEMBIC_SNAPSHOT_DIR"
STORE_FOLDER = ".alembic-snapshot"
REMOTE_VARIABLE = "ALEMBIC_SNAPSHOT_REMOTE"
REMOTE_WRITE_VARIABLE = "ALEMBIC_SNAPSHOT_REMOTE_WRITE"


def table_above(start: Path) -> TomlFile | None:
    """The nearest ``pyproject.toml`` in or above ``start`` that has the configuration table.

    Raises:
        ConfigError: the one in ``start`` itself can't be read, or is no file.
    """
    refuse_another_thing(start / "pyproject.toml")
    for folder in (start, *start.parents):
        try:
            toml = TomlFile.read(folder / "pyproject.toml")
        except ConfigError:
            # What lies above may be somebody else's.
            if folder == start:
                raise
            continue
        if toml is not None and b"alembic-snapshot" in toml.content and _has_table(toml):
            return toml
    return None


def store_folder(root: Path, given: Path | None = None) -> Path:
    """The store's folder: ``given``, or the environment's, or one in the project's root."""
    return Path(os.path.abspath(given or os.environ.get(STORE_VARIABLE) or root / STORE_FOLDER))


def refuse_another_thing(path: Path) -> None:
    """Refuse what is at a file's path and is no file.

    Raises:
        ConfigError: it names the path.
    """
    if is_another_thing(path):
        raise ConfigError(f"{path} is no file", hint="make it one, or take it away")


def is_another_thing(path: Path) -> bool:
    """Whether something is at a file's path that is no file: a folder, a pipe, a dead link."""
    return os.path.lexists(path) and not path.is_file()


def _has_table(toml: TomlFile) -> bool:
    try:
        return toml.table("alembic-snapshot") is not None
    except ConfigError:
        # Whoever reads the configuration says what is wrong with it.
        return True
