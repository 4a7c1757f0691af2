"""The places of a project's parts: Alembic's configuration, pytest's, the table to come."""

from __future__ import annotations

import configparser
import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib.machinery import PathFinder
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from alembic_snapshot.errors import ConfigError
from alembic_snapshot.project.places import straight
from alembic_snapshot.project.spelling import beginning
from alembic_snapshot.project.toml_file import TomlFile

_DEPTH = 4
# In the order in which pytest looks at them, beside one another.
_PYTEST_FILES = ("pytest.toml", ".pytest.toml", "pytest.ini", ".pytest.ini")
_PYTEST_SECTIONS = {"tox.ini": "pytest", "setup.cfg": "tool:pytest"}
_SKIPPED = frozenset({"node_modules", "site-packages", "__pycache__", "build", "dist", "tests"})


@dataclass(frozen=True)
class AlembicFile:
    """A configuration of Alembic. ``sections`` are those that have scripts, in a file's order."""

    path: Path
    sections: tuple[str, ...]

    @property
    def is_toml(self) -> bool:
        """Whether it is the table in ``pyproject.toml``."""
        return self.path.name == "pyproject.toml"


@dataclass(frozen=True)
class Layout:
    """A project's folder, the configuration of Alembic that counts, and the others."""

    root: Path
    alembic: AlembicFile
    others: tuple[AlembicFile, ...] = ()

    @property
    def toml(self) -> Path:
        """The file for the table."""
        return self.root / "pyproject.toml"


@dataclass(frozen=True)
class PytestSettings:
    """pytest's configuration. ``file`` is None if there is none; ``key`` is the table in it."""

    file: Path | None
    key: str = "tool.pytest.ini_options"
    pythonpath: tuple[Path, ...] = ()
    testpaths: tuple[str, ...] = ()
    import_mode: str = "prepend"
    values: dict[str, Any] = field(default_factory=dict)


def find_layout(start: Path, config: Path | None = None) -> Layout:
    """The project that a folder is in.

    Raises:
        ConfigError: Alembic is not configured, or in several places and none was chosen; or the
            project's pyproject.toml is no TOML.
    """
    if config is not None and not config.is_file():
        raise ConfigError(
            f"there is no file {config}",
            hint="give the path of the project's alembic.ini or pyproject.toml",
        )
    config = config and straight(config)
    anchor = config.parent if config else start.absolute()
    top = _top(anchor)
    toml = TomlFile.read(top / "pyproject.toml")
    if toml is not None:
        _ = toml.values  # What is wrong with it is said before anything else.
    files = list(_alembic_files(top))
    if config is not None:
        chosen = next((file for file in files if file.path == config), None)
        chosen = chosen or next(iter(_alembic_of(config)), None)
        if chosen is None:
            what = "[tool.alembic] table" if config.suffix == ".toml" else "script_location"
            raise ConfigError(f"{config} has no {what}", hint="give the path of an alembic.ini")
        others = tuple(file for file in files if file.path != chosen.path)
        return Layout(_root(top, chosen, others), chosen, others)
    own = [file for file in files if file.path.parent == anchor] or [
        file for file in files if file.path.parent == top
    ]
    candidates = own or files
    if not candidates:
        raise ConfigError(
            f"no configuration of Alembic in {top}: no alembic.ini, no [tool.alembic]",
            hint="make the migrations with `alembic init migrations`, or give --config PATH",
        )
    inis = [file for file in candidates if not file.is_toml]
    if len(inis) > 1 and not any(file.path.name == "alembic.ini" for file in own):
        names = ", ".join(os.path.relpath(file.path, start) for file in inis)
        raise ConfigError(
            f"several configurations of Alembic: {names}",
            hint=f"choose one: alembic-snapshot init --config {_quoted(inis[0].path, start)}",
        )
    chosen = next((file for file in inis if file.path.name == "alembic.ini"), candidates[0])
    others = tuple(file for file in files if file.path != chosen.path)
    return Layout(_root(top, chosen, others), chosen, others)


def pytest_settings(root: Path) -> PytestSettings:
    """The configuration of a pytest that is started in a folder: the nearest at or above it."""
    for folder in (root, *root.parents):
        for name in _PYTEST_FILES:
            if (folder / name).is_file():
                return _pytest_file(folder / name)
        toml = TomlFile.read(folder / "pyproject.toml")
        table = toml.table("pytest") if toml else None
        if toml and table is not None:
            is_own = "ini_options" not in table
            key = "tool.pytest" if is_own else "tool.pytest.ini_options"
            return _settings(toml.path, key, table if is_own else table["ini_options"])
        for name, section in _PYTEST_SECTIONS.items():
            values = _ini(folder / name).get(section)
            if values is not None:
                return _settings(folder / name, section, values)
        if (folder / ".git").exists():
            break
    return PytestSettings(None)


def is_importable(module: str, folder: Path, pytest: PytestSettings, root: Path) -> bool:
    """Whether tests of the project can import a module that is in a folder of it."""
    if folder in pytest.pythonpath:
        return True
    if pytest.import_mode == "prepend" and folder == root:
        # pytest puts the folder of a conftest.py, and the one above a test's package, in front.
        names = ("conftest.py", "tests/__init__.py", "test/__init__.py")
        if any((root / name).is_file() for name in names) and not (root / "__init__.py").is_file():
            return True
    return is_installed(module, folder)


def is_installed(module: str, folder: Path) -> bool:
    """Whether an interpreter that is started elsewhere finds the module in that folder."""
    name = module.partition(".")[0]
    before = sys.path[:]
    sys.path[:] = [entry for entry in before[1:] if entry and entry != os.getcwd()]
    try:
        spec = PathFinder.find_spec(name) or find_spec(name)
    except (ImportError, ValueError):
        return False
    finally:
        sys.path[:] = before
    if spec is None:
        return False
    places = [*(spec.submodule_search_locations or ()), spec.origin or ""]
    start = beginning(os.path.realpath(folder))
    return any(os.path.realpath(place).startswith(start) for place in places)


def _top(anchor: Path) -> Path:
    """The project's outermost folder: the nearest with a pyproject.toml, or with an alembic.ini."""
    with_ini: Path | None = None
    for folder in (anchor, *anchor.parents):
        if (folder / "pyproject.toml").is_file():
            return folder
        if with_ini is None and (folder / "alembic.ini").is_file():
            with_ini = folder
        if (folder / ".git").exists():
            break
    return with_ini or anchor


def _root(top: Path, chosen: AlembicFile, others: Sequence[AlembicFile]) -> Path:
    """The folder whose pyproject.toml gets the table. Each of several projects has its own."""
    is_one_of_many = any(not other.is_toml for other in others)
    folder = chosen.path.parent
    # An ini file among the scripts is Flask-Migrate's: its project is above.
    folder = folder.parent if (folder / "env.py").is_file() and folder != top else folder
    return folder if is_one_of_many else top


def _alembic_files(top: Path) -> Iterator[AlembicFile]:
    for folder in _folders(top, _DEPTH):
        for path in sorted((*folder.glob("*.ini"), folder / "pyproject.toml")):
            if path.is_file() and path.name not in ("tox.ini", "pytest.ini"):
                yield from _alembic_of(path)


def _alembic_of(path: Path) -> Iterator[AlembicFile]:
    if path.name == "pyproject.toml":
        try:
            toml = TomlFile.read(path)
            table = toml.table("alembic") if toml else None
        except ConfigError:
            # Whoever reads it says what is wrong with it.
            return
        if table and "script_location" in table:
            yield AlembicFile(path, ())
        return
    sections = _ini(path)
    with_scripts = tuple(name for name, values in sections.items() if "script_location" in values)
    is_flask = "alembic" in sections and (path.parent / "env.py").is_file()
    if with_scripts or is_flask:
        yield AlembicFile(path, with_scripts)


def _folders(folder: Path, depth: int) -> Iterator[Path]:
    yield folder
    if depth:
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError:
            return
        for entry in entries:
            is_own = not entry.name.startswith(".") and entry.name not in _SKIPPED
            is_own = is_own and not os.path.exists(os.path.join(entry.path, "pyvenv.cfg"))
            if is_own and entry.is_dir(follow_symlinks=False):
                yield from _folders(Path(entry.path), depth - 1)


def _pytest_file(path: Path) -> PytestSettings:
    if path.suffix == ".toml":
        toml = TomlFile.read(path)
        table = toml.values.get("pytest", {}) if toml else {}
        return _settings(path, "pytest", table if isinstance(table, dict) else {})
    return _settings(path, "pytest", _ini(path).get("pytest", {}))


def _settings(path: Path, key: str, values: dict[str, Any]) -> PytestSettings:
    def listed(name: str) -> list[str]:
        value = values.get(name, [])
        return value.split() if isinstance(value, str) else [str(item) for item in value]

    options = listed("addopts")
    mode = "importlib" if any("importlib" in option for option in options) else "prepend"
    folders = tuple(Path(os.path.abspath(path.parent / folder)) for folder in listed("pythonpath"))
    return PytestSettings(path, key, folders, tuple(listed("testpaths")), mode, dict(values))


def _ini(path: Path) -> dict[str, dict[str, str]]:
    """The sections of an ini file; none if it is none."""
    parser = configparser.RawConfigParser()
    try:
        parser.read_string(path.read_text(encoding="utf-8-sig"), str(path))
    except (OSError, ValueError, configparser.Error):
        return {}
    return {name: dict(parser.items(name)) for name in parser.sections()}


def _quoted(path: Path, start: Path) -> str:
    return shlex.quote(os.path.relpath(path, start))
