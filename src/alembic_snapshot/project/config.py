"""``[tool.alembic-snapshot]`` and Alembic's settings as one value, the same for every caller."""

from __future__ import annotations

import difflib
import enum
import functools
import json
import os
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from alembic_snapshot.errors import ConfigError, StoreError, files_are_readable
from alembic_snapshot.project import unsupported
from alembic_snapshot.project.alembic_settings import AlembicSettings, read_settings
from alembic_snapshot.project.places import (
    TABLE,
    is_same_file,
    refuse_another_thing,
    refuse_misspelt,
    store_folder,
    straight,
)
from alembic_snapshot.project.spelling import Spelling, beginning, is_ignored
from alembic_snapshot.project.table import check_placeholders, check_values
from alembic_snapshot.project.toml_file import TomlFile
from alembic_snapshot.project.variables import BACKEND_VARIABLE, refuse_unknown

DEFAULT = "default"
_NAME = "alembic-snapshot"
# What every database takes from the first one's table, if its own does not say otherwise.
_SHARED = (
    "pythonpath", "backend", "clones", "reset", "guard", "remote", "remote_keys", "remote_private",
    "max_size", "tokens",
)  # fmt: skip


class Counts(enum.Enum):
    """The part of a setting in the choice of the project's snapshot."""

    BASE = "its value is an input of the base layer"
    NAMED = "what it names is an input: seeds, files"
    HIT = "a stored snapshot is compared with it at each hit"
    NO = "it can't change what is in a snapshot"


def _says(counts: Counts, kind: str | None = None, choices: tuple[str, ...] = ()) -> dict[str, Any]:
    """The metadata of a field of :class:`Project`.

    ``kind`` is the type that the table must have for it; without one it is no key of the table.
    ``choices`` are its only values.
    """
    return {"counts": counts, "kind": kind, "choices": choices}


_BASE, _NAMED, _HIT, _NO = Counts.BASE, Counts.NAMED, Counts.HIT, Counts.NO


@dataclass(frozen=True)
class Project:
    """A project with Alembic migrations, and how it wants its snapshot.

    The names of the fields are the keys of ``[tool.alembic-snapshot]``; paths are absolute.
    ``root`` is the folder of the configuration: every relative path in it starts there, and it is
    the builder's working directory, and ``toml`` the ``pyproject.toml`` in it. ``configured`` is
    false when there is no table at all. Each field says whether it counts in the key.
    """

    root: Path = field(metadata=_says(_NO))
    toml: TomlFile | None = field(default=None, repr=False, compare=False, metadata=_says(_NO))
    configured: bool = field(default=False, metadata=_says(_NO))
    # The project's other databases.
    others: tuple[Project, ...] = field(
        default_factory=tuple, repr=False, compare=False, metadata=_says(_NO)
    )
    name: str = field(default=DEFAULT, metadata=_says(_NO))
    # What Alembic's settings say counts, wherever their file lies.
    config: Path | None = field(default=None, metadata=_says(_NO, "text"))
    section: str = field(default="alembic", metadata=_says(_BASE, "text"))
    store: Path = field(default=Path(), metadata=_says(_NO))
    backend: str = field(default="sqlite", metadata=_says(_BASE, "text", ("sqlite", "postgresql")))
    engine: str | None = field(default=None, metadata=_says(_NO, "text"))
    sessionmaker: str | None = field(default=None, metadata=_says(_NO, "text"))
    pythonpath: tuple[Path, ...] = field(default=(), metadata=_says(_BASE, "texts"))
    clones: str = field(default="fresh", metadata=_says(_NO, "text", ("fresh", "reset")))
    reset: str | None = field(default=None, metadata=_says(_NO, "text", ("rewrite", "rewind")))
    migrate: str | None = field(default=None, metadata=_says(_BASE, "text"))
    # What env.py needs around it, as an application's context.
    context: str | None = field(default=None, metadata=_says(_BASE, "text"))
    seeds: tuple[str, ...] = field(default=(), metadata=_says(_NAMED, "texts"))
    layers: Mapping[str, tuple[str, ...]] = field(
        default_factory=dict, metadata=_says(_NAMED, "mapping of lists")
    )
    inputs: tuple[str, ...] = field(default=(), metadata=_says(_NAMED, "texts"))
    ignore_inputs: tuple[str, ...] = field(default=(), metadata=_says(_BASE, "texts"))
    environment: Mapping[str, str] = field(default_factory=dict, metadata=_says(_BASE, "mapping"))
    inherit_environment: tuple[str, ...] | None = field(
        default=None, metadata=_says(_BASE, "texts")
    )
    ignore_environment: tuple[str, ...] = field(default=(), metadata=_says(_BASE, "texts"))
    private_home: bool = field(default=False, metadata=_says(_BASE, "flag"))
    x: tuple[str, ...] = field(default=(), metadata=_says(_BASE, "texts"))
    drift: str = field(default="warn", metadata=_says(_NO, "text", ("warn", "error", "ignore")))
    heads: str = field(default="one", metadata=_says(_HIT, "text", ("one", "many")))
    foreign: str = field(default="redirect", metadata=_says(_HIT, "text", ("redirect", "refuse")))
    guard: str = field(default="on", metadata=_says(_NO, "text", ("on", "off")))
    # A store that many machines share, whose keys sign for which scopes, what stays here.
    remote: str | None = field(default=None, metadata=_says(_NO, "text"))
    remote_keys: Mapping[str, tuple[str, ...]] = field(
        default_factory=dict, metadata=_says(_NO, "mapping of one or more")
    )
    remote_private: tuple[str, ...] = field(default=(), metadata=_says(_NO, "texts"))
    no_remote: bool = field(default=False, metadata=_says(_NO))
    tokens: str = field(default="on", metadata=_says(_NO, "text", ("on", "off")))
    # When a server's snapshots are files in the store's folder, too.
    archive: str = field(default="ci", metadata=_says(_NO, "text", ("ci", "always", "never")))
    max_size: str = field(default="5 GB", metadata=_says(_NO, "text"))

    @functools.cached_property
    def alembic(self) -> AlembicSettings:
        """Alembic's settings.

        Raises:
            ConfigError: there are none, two, or they don't make sense.
        """
        return read_settings(self.config, self.toml, self.section, self.pythonpath, self.root)

    @property
    def title(self) -> str:
        """What begins a line about it, where that may be about another database."""
        return f"{self.name}: " if self.others else ""

    @property
    def search_path(self) -> tuple[Path, ...]:
        """The folders of the project's own modules, in order; never the caller's ``sys.path``."""
        folders = [*self.pythonpath, *self.alembic.prepend_sys_path, self.root]
        return tuple(dict.fromkeys(folders))

    def relative(self, path: Path | str) -> str:
        """``path`` as digests and messages spell it: relative to the root, with slashes.

        Scripts inside an installed package are spelled relative to their own folder, so that
        nothing depends on where the package is installed.
        """
        return self.spelling.name(str(path))

    @functools.cached_property
    def spelling(self) -> Spelling:
        """The spelling of paths in digests and manifests."""
        scripts = (self.alembic.script_location, *self.alembic.version_locations)
        elsewhere = [str(folder) for folder in scripts if not folder.is_relative_to(self.root)]
        return Spelling(str(self.root), tuple(dict.fromkeys(elsewhere)))

    def ignores(self, name: str) -> bool:
        """Whether ``ignore_inputs`` has a file or a folder's entry with this spelling."""
        return is_ignored(name, self.ignore_inputs)

    def base_inputs(self) -> dict[str, str]:
        """The settings that are inputs of the base layer, as JSON; defaults are left out.

        Lists whose order has no meaning are sorted. No two configurations have the same.
        """
        inputs: dict[str, str] = {}
        for setting in fields(self):
            value = getattr(self, setting.name)
            if setting.metadata["counts"] is not Counts.BASE or value == _default(setting):
                continue
            if isinstance(value, Mapping):
                inputs |= {
                    f"<{setting.name} {key}>": json.dumps(item) for key, item in value.items()
                }
                continue
            if setting.name == "pythonpath":
                value = [self.relative(folder) for folder in value]
            elif setting.name.endswith("_environment") or setting.name == "ignore_inputs":
                value = sorted(value)
            inputs[f"<{setting.name}>"] = json.dumps(value)
        return inputs


def _default(setting: Field[Any]) -> Any:
    factory = setting.default_factory
    return setting.default if factory is MISSING else factory()


def load_project(
    start: Path | str | None = None,
    *,
    config: Path | str | None = None,
    database: str = DEFAULT,
    store: Path | str | None = None,
) -> Project:
    """The project that ``start`` (the working directory if None) is in.

    The nearest ``pyproject.toml`` with a ``[tool.alembic-snapshot]`` table is its configuration;
    without one, the nearest ``alembic.ini`` or ``[tool.alembic]`` is enough. ``config`` names an
    ``alembic.ini`` or ``pyproject.toml`` itself. ``store`` wins over the environment variable
    ``ALEMBIC_SNAPSHOT_DIR``, which wins over ``.alembic-snapshot`` beside the configuration;
    ``ALEMBIC_SNAPSHOT_BACKEND`` wins over ``backend``.

    Raises:
        ConfigError: there is no configuration, or it is wrong.
    """
    projects = load_projects(start, config=config, store=store)
    if database not in projects:
        raise ConfigError(
            f"no database {database!r} in [{TABLE}.databases] of "
            f"{projects[DEFAULT].root / 'pyproject.toml'}",
            hint=f"the configured ones are {', '.join(projects)}",
        )
    named = [name for name, one in projects.items() if _is_of(one, config)]
    if named and database not in named:
        raise ConfigError(
            f"{config} is the configuration of the database {named[0]}, not of {database}",
            hint=f"give --database {named[0]}",
        )
    return projects[database]


def _is_of(project: Project, config: Path | str | None) -> bool:
    """Whether a file that the caller names is a database's own configuration."""
    return bool(config and project.config and is_same_file(Path(config), project.config))


def load_projects(
    start: Path | str | None = None,
    *,
    config: Path | str | None = None,
    store: Path | str | None = None,
    toml: TomlFile | None = None,
) -> dict[str, Project]:
    """One project for each of its databases by the database's name, the first one's first.

    The arguments are those of :func:`load_project`; ``toml`` is the file with the table, if
    somebody has found it already.

    Raises:
        ConfigError: there is no configuration, or it is wrong.
        StoreError: there can be no store where it is to be.
    """
    start, config, store = (_path(one) for one in (start, config, store))
    refuse_unknown()
    with files_are_readable():
        if toml is not None:
            return _load(toml.path.parent, toml, toml.table(_NAME), config, store)
        return _load(*_find(here() if start is None else straight(start), config), config, store)


def _path(given: Path | str | None) -> Path | None:
    if given == "":
        raise ConfigError("a path is empty", hint="is it a variable that is not set?")
    return None if given is None else Path(given)


def _load(
    root: Path,
    toml: TomlFile | None,
    table: dict[str, Any] | None,
    config: Path | None,
    store: Path | None,
) -> dict[str, Project]:
    tables = _tables(table or {})
    for name, keys in tables.items():
        # A mistake in another database's table is a mistake, whichever is asked for.
        check_values(keys, _title(name), _KEYS, ("databases",) if name == DEFAULT else ())
    _refuse_same_engines(tables)
    own: dict[str, str] = {}
    if os.environ.get(BACKEND_VARIABLE):
        own["backend"] = os.environ[BACKEND_VARIABLE]
        _refuse_backend(own["backend"])
    if config and config.name != "pyproject.toml" and not _is_named(table, root, config):
        own["config"] = str(straight(config))
    shared = {key: tables[DEFAULT][key] for key in _SHARED if key in tables[DEFAULT]}
    folder = store_folder(root, store)
    refuse_no_store(root, folder)
    projects = {
        name: Project(
            root=root,
            toml=toml,
            configured=table is not None,
            name=name,
            store=folder,
            **_checked({**shared, **values, **own}, root, _title(name)),
        )
        for name, values in tables.items()
    }
    return {
        name: replace(
            project, others=tuple(one for other, one in projects.items() if other != name)
        )
        for name, project in projects.items()
    }


def here() -> Path:
    """The working directory.

    Raises:
        ConfigError: it was deleted.
    """
    try:
        return Path.cwd()
    except FileNotFoundError:
        raise ConfigError(
            "the working directory is gone", hint="change to the project's folder"
        ) from None


def refuse_no_store(root: Path, folder: Path) -> None:
    """Refuse a place where no store can be: no folder, below a file, or around the project itself.

    Git and backups are told to leave a store out, and would leave out the project in ``root``.

    Raises:
        StoreError: it says what is there.
    """
    if beginning(os.path.realpath(root)).startswith(beginning(os.path.realpath(folder))):
        raise StoreError(
            f"{folder} can't be the store: the project is in it",
            hint="give a folder for the store alone, with ALEMBIC_SNAPSHOT_DIR, --store or "
            "--snapshot-dir",
        )
    there = next(one for one in (folder, *folder.parents) if os.path.lexists(one))
    if not there.is_dir():
        raise StoreError(
            f"can't write to the store {folder}: {there} is no folder",
            hint="choose another with ALEMBIC_SNAPSHOT_DIR, or move that away",
        )


def _find(start: Path, config: Path | None) -> tuple[Path, TomlFile | None, dict[str, Any] | None]:
    """The root, the ``pyproject.toml`` in it, and the table in that."""
    if config:
        if not config.is_file():
            raise ConfigError(
                f"there is no file {config}",
                hint="give the path of the project's alembic.ini or pyproject.toml",
            )
        start = straight(config).parent
    folders = (start, *start.parents)
    for folder in folders[:1] if config else folders:
        for name in ("pyproject.toml", "alembic.ini"):
            refuse_another_thing(folder / name)
        if any((folder / name).is_file() for name in ("pyproject.toml", "alembic.ini")):
            break
    files: dict[Path, TomlFile | None] = {}
    for folder in folders:
        toml = files[folder] = TomlFile.read(folder / "pyproject.toml")
        table = toml.table(_NAME) if toml else None
        if table is not None and _is_about(table, folder, config):
            return folder, toml, table
        if toml is not None and table is None:
            refuse_misspelt(toml)
    for folder, toml in files.items():
        if config or _has_alembic(folder, toml):
            return folder, toml, None
    raise ConfigError(
        f"no configuration: neither [{TABLE}] in a pyproject.toml nor an alembic.ini in {start} "
        "or a folder above it",
        hint="run from the project's folder, or give --config PATH",
    )


def _is_about(table: dict[str, Any], folder: Path, config: Path | None) -> bool:
    """Whether a table belongs to the configuration that the caller names, if there is one."""
    if config is None or folder == straight(config).parent:
        return True
    return _is_named(table, folder, config)


def _is_named(table: dict[str, Any] | None, folder: Path, config: Path) -> bool:
    """Whether a table has a file as the configuration of one of its databases."""
    others = (table or {}).get("databases", {})
    others = others.values() if isinstance(others, dict) else ()
    tables = [table or {}, *(one for one in others if isinstance(one, dict))]
    names = (str(one.get("config", "alembic.ini")) for one in tables)
    return any(is_same_file(folder / name, config) for name in names)


def _has_alembic(folder: Path, toml: TomlFile | None) -> bool:
    if (folder / "alembic.ini").is_file():
        return True
    return toml is not None and toml.table("alembic") is not None


def _tables(table: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Each database's own keys: the table's, and those of ``databases.NAME``."""
    own = dict(table)
    others = own.pop("databases", {})
    if not isinstance(others, dict) or not all(
        isinstance(values, dict) for values in others.values()
    ):
        raise ConfigError(
            f"databases in [{TABLE}] must be a table of tables, not {others!r}",
            hint=f"write [{TABLE}.databases.NAME] and below it the keys of that database",
        )
    for name in {DEFAULT, ""} & others.keys():
        raise ConfigError(
            f"a database in [{TABLE}.databases] can't be called {name!r}",
            hint=f"{DEFAULT} is the one of [{TABLE}] itself: give the other a name of its own",
        )
    return {DEFAULT: own, **others}


def _refuse_backend(name: str) -> None:
    choices = _KEYS["backend"]["choices"]
    near = difflib.get_close_matches(name.lower(), choices, 1)
    if name not in choices and not unsupported.known_title(name):
        raise ConfigError(
            f"the variable {BACKEND_VARIABLE} must be one of {', '.join(choices)}, not {name!r}",
            hint=f"unset it, or set it to {' or '.join(near or choices)}",
        )


def _refuse_same_engines(tables: Mapping[str, Mapping[str, Any]]) -> None:
    """See that no two databases name the same engine: only one of them would be tested on."""
    owners: dict[tuple[str, str], str] = {}
    for name, keys in tables.items():
        for key in ("engine", "sessionmaker"):
            if key in keys:
                other = owners.setdefault((key, keys[key]), name)
                if other != name:
                    raise ConfigError(
                        f"[{_title(other)}] and [{_title(name)}] have the same {key}, "
                        f"{keys[key]!r}",
                        hint=f"write the {key} of the application's other database in one of them",
                    )


def _title(database: str) -> str:
    """The table of a database, as messages call it."""
    return TABLE if database == DEFAULT else f"{TABLE}.databases.{database}"


def _checked(values: dict[str, Any], root: Path, title: str) -> dict[str, Any]:
    """The table's values, those of the environment too, with their paths made absolute."""
    check_values(values, title, _KEYS)
    check_placeholders(values, title)
    checked = {key: _frozen(value) for key, value in values.items()}
    folders = (os.path.abspath(root / folder) for folder in checked.get("pythonpath", ()))
    checked["pythonpath"] = tuple(map(Path, folders))
    for folder in checked["pythonpath"]:
        if not folder.is_dir():
            what = "no folder" if folder.exists() else "not there"
            raise ConfigError(
                f"pythonpath in [{title}] has {folder}, which is {what}",
                hint=f"write it as it is seen from {root}, or take it out",
            )
    checked["config"] = _ini(checked.get("config"), root, title)
    if "remote_keys" in checked:
        keys = checked["remote_keys"].items()
        checked["remote_keys"] = {
            scope: (one,) if isinstance(one, str) else one for scope, one in keys
        }
    return checked


def _ini(config: str | None, root: Path, title: str) -> Path | None:
    if config is None:
        default = root / "alembic.ini"
        return default if default.is_file() else None
    path = root / config
    if not path.is_file():
        raise ConfigError(
            f"there is no file {path}", hint=f"correct config in [{title}], or make the file"
        )
    return None if path.name == "pyproject.toml" else path


def _frozen(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(value)
    if isinstance(value, dict):
        return {key: _frozen(item) for key, item in value.items()}
    return value


_KEYS = {one.name: one.metadata for one in fields(Project) if one.metadata["kind"]}
