"""Whose a snapshot is, where several projects share a server or a store."""

from __future__ import annotations

import hashlib
import os
import re
from typing import Any

from alembic_snapshot.errors import ConfigError
from alembic_snapshot.project.config import Project

# Whether snapshots are files in the store's folder, and not on a server that others may have.
_IS_IN_THE_STORE = {"sqlite": True, "postgresql": False}
# No declared name is spelled so.
_UNNAMED = "_unnamed"


def owner(project: Project) -> str:
    """The project's name, the same for each of its databases, without spaces.

    It is the one that its ``pyproject.toml`` declares, so that every checkout has the same. A
    project that declares none is known by its folder, where others may be beside it: on a server,
    or in a store elsewhere. What is in its own folder is its own, wherever that is.
    """
    name = _declared(project)
    if name:
        return re.sub(r"[\s_.-]+", "-", name).lower()
    if _IS_IN_THE_STORE[project.backend] and project.store.is_relative_to(project.root):
        return _UNNAMED
    path = hashlib.sha256(os.fsencode(os.path.realpath(project.root))).hexdigest()[:8]
    return re.sub(r"\s+", "-", f"{project.root.name}-{path}")


def identity(project: Project) -> str:
    """The name in the store's manifests of one of a project's databases."""
    return f"{owner(project)} {project.name} {project.relative(project.alembic.script_location)}"


def is_owned(identity_of: str, owner_of: str) -> bool:
    """Whether an identity is of one of that owner's databases."""
    return identity_of.startswith(f"{owner_of} ")


def _declared(project: Project) -> str | None:
    values: dict[str, Any] = {}
    try:
        values = project.toml.values if project.toml else {}
    except ConfigError:
        # Whoever needs the file says what is wrong with it.
        return None
    tool = values.get("tool")
    poetry = tool.get("poetry") if isinstance(tool, dict) else None
    for table in (values.get("project"), poetry):
        name = table.get("name") if isinstance(table, dict) else None
        if isinstance(name, str) and name.strip():
            return name.strip()
    return None
