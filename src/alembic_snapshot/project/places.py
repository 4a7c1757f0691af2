"""The places of a project's configuration and its store; light enough for every run of pytest."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from alembic_snapshot.errors import ConfigError
from alembic_snapshot.project.spelling import beginning
from alembic_snapshot.project.toml_file import TomlFile
from alembic_snapshot.project.variables import STORE_VARIABLE

TABLE = "tool.alembic-snapshot"
STORE_FOLDER = ".alembic-snapshot"
# What a store has in its folder. Whatever else is there is the project's, or somebody else's.
STORE_ENTRIES = (
    "archives", "building", "failed", "locks", "opened", "snapshots", "stairways",
    ".gitignore", "CACHEDIR.TAG", "facts.json", "remote-off.json", "sent.json",
)  # fmt: skip
_NAME = "alembic-snapshot"
# A header or a key that may be the table's; without one, nothing is parsed.
_HEADER = re.compile(
    rb"^\s*\[[^\]\n]*(alembic|snapshot)"
    rb"|(^|[{,])[\w \t.\"'-]*(alembic|snapshot)[\w \t.\"'-]*=",
    re.I | re.M,
)
_ALIKE = 0.85


def table_above(start: Path) -> TomlFile | None:
    """The nearest ``pyproject.toml`` in or above ``start`` that has the configuration table.

    Raises:
        ConfigError: the one in ``start`` itself can't be read, or is no file; or one on the way has
            the table under another name.
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
        if toml is not None and has_table(toml):
            return toml
        if toml is not None:
            refuse_misspelt(toml)
    return None


def refuse_misspelt(toml: TomlFile) -> None:
    """Refuse a file that has not the configuration table, and one whose name is nearly that.

    Raises:
        ConfigError: it names both.
    """
    if not _HEADER.search(toml.content):
        return
    try:
        found = next(_misspelt(toml.values), None)
    except ConfigError:
        # Whoever reads the configuration says what is wrong with it.
        return
    if found is not None:
        raise ConfigError(
            f"{toml.path} has [{found}], and no [{TABLE}]",
            hint=f"write [{TABLE}] instead of [{found}]",
        )


def _misspelt(values: dict[str, Any]) -> Iterator[str]:
    """The tables of a file whose names are nearly that of the configuration table."""
    for before, tables in (("tool.", values.get("tool")), ("", values)):
        for name, table in tables.items() if isinstance(tables, dict) else ():
            is_right = before and name == _NAME
            if isinstance(table, dict) and not is_right and _is_alike(name):
                yield f"{before}{name}"
            if name == "alembic" and isinstance(table, dict):
                # [tool.alembic-snapshot] with a dot.
                inner = [one for one, value in table.items() if isinstance(value, dict)]
                yield from (f"{before}{name}.{one}" for one in inner if one == "snapshot")


def _is_alike(name: str) -> bool:
    plain = re.sub(r"[-_. ]+", "-", name.lower())
    if _NAME in plain or _NAME.replace("-", "") in plain:
        return True
    return difflib.SequenceMatcher(None, plain, _NAME).ratio() >= _ALIKE


def store_folder(root: Path, given: Path | None = None) -> Path:
    """The store's folder: ``given``, or the environment's, or one in the project's root.

    A relative path of the environment starts at the root. It is the same store in each folder.
    """
    named = os.path.expanduser(os.environ.get(STORE_VARIABLE) or STORE_FOLDER)
    return Path(os.path.abspath(given or root / named))


def is_in_store(path: str, store: str) -> bool:
    """Whether a path is one of a store's own files, or below one of its own folders."""
    within = path.removeprefix(beginning(store))
    name = within.partition(os.sep)[0]
    # One that is being written has a dot before its name, and a number after it.
    written = name[1:].rpartition(".")[0] if name.startswith(".") else name
    return within != path and (name in STORE_ENTRIES or written in STORE_ENTRIES)


def straight(path: Path) -> Path:
    """A path that is absolute and has no ``..``, and leads to the same place."""
    path = path.absolute()
    if ".." not in path.parts:
        return path
    if path.name == "..":
        return Path(os.path.realpath(path))
    return Path(os.path.realpath(path.parent), path.name)


def is_same_file(one: Path, other: Path) -> bool:
    """Whether two paths lead to one file, however they are spelled."""
    try:
        return one.samefile(other)
    except OSError:
        return False


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


def has_table(toml: TomlFile) -> bool:
    """Whether a file has the configuration table, as far as it can be read."""
    if _NAME.encode() not in toml.content:
        return False
    try:
        return toml.table("alembic-snapshot") is not None
    except ConfigError:
        # Whoever reads the configuration says what is wrong with it.
        return True
