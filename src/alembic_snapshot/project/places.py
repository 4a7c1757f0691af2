"""Where a project's configuration and its store are; light enough for every run of pytest."""

from __future__ import annotations

import os
from pathlib import Path

TABLE = "tool.alembic-snapshot"
BACKEND_VARIABLE = "ALEMBIC_SNAPSHOT_BACKEND"
STORE_VARIABLE = "ALEMBIC_SNAPSHOT_DIR"
STORE_FOLDER = ".alembic-snapshot"


def table_above(start: Path) -> Path | None:
    """The nearest ``pyproject.toml`` in or above ``start`` that has the configuration table."""
    for folder in (start, *start.parents):
        toml = folder / "pyproject.toml"
        try:
            content = toml.read_bytes()
        except OSError:
            continue
        if b"alembic-snapshot" in content and _has_table(content):
            return toml
    return None


def store_folder(root: Path, given: Path | None = None) -> Path:
    """The store: as ``given``, or as the environment says, or in the project's root."""
    return Path(os.path.abspath(given or os.environ.get(STORE_VARIABLE) or root / STORE_FOLDER))


def is_another_thing(path: Path) -> bool:
    """Whether something is at a file's path that is no file: a folder, a pipe, a dead link."""
    return os.path.lexists(path) and not path.is_file()


def _has_table(content: bytes) -> bool:
    import tomllib

    try:
        tool = tomllib.loads(content.decode()).get("tool", {})
    except ValueError:
        # Whoever reads the configuration says what is wrong with it.
        return True
    return isinstance(tool.get("alembic-snapshot"), dict)
