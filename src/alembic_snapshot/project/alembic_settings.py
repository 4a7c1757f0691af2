"""Alembic's own settings, read without importing Alembic: where the scripts are, and what counts.

``alembic.ini`` and ``[tool.alembic]`` are read as Alembic 1.13 to 1.20 reads them, with one
difference: a relative path starts at the file that it stands in, or else at the project's root, not
at the working directory, so that a key does not depend on where a command was typed.
"""

from __future__ import annotations

import configparser
import dataclasses
import os
import re
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from alembic_snapshot.errors import ConfigError, files_are_readable
from alembic_snapshot.project import unsupported
from alembic_snapshot.project.toml_file import TomlFile

# Settings that can't change what a migration does: where the database is, how new files are made.
_WITHOUT_EFFECT = (
    "file_template",
    "hooks",
    "output_encoding",
    "post_write_hooks",
    "timezone",
    "truncate_slug_length",
)
# Those that may be inside of a package, each folder after a colon; the others are plain paths.
_OF_PACKAGES = ("script_location", "version_locations")
_URL = "sqlalchemy.url"
# The sections of logging.config: each kind, and in which of its options the others are named.
_LOGGING = ("loggers", "handlers", "formatters")
# What a path, and a list of them, looks like in TOML.
_EXAMPLES = {False: '"%(here)s/alembic"', True: '["%(here)s/alembic"]'}
_SEPARATORS = {"space": " ", "newline": "\n", "os": os.pathsep, ":": ":", ";": ";"}


@dataclass(frozen=True)
class AlembicSettings:
    """Alembic's configuration.

    ``effective`` are the settings that can change what a migration does, by ``[section] name``, as
    they are written (with ``%(here)s``); they are part of the base layer's digest. Every option of
    a section that is not Alembic's own or logging's is one, whatever it is called.
    ``is_flask_migrate`` says that the file leaves the scripts' place to Flask-Migrate.
    """

    ini: Path | None
    toml: Path | None
    section: str
    script_location: Path
    version_locations: tuple[Path, ...]
    recursive: bool
    prepend_sys_path: tuple[Path, ...]
    effective: Mapping[str, str]
    is_flask_migrate: bool = False


def read_settings(
    ini: Path | None,
    toml: TomlFile | None,
    section: str = "alembic",
    pythonpath: tuple[Path, ...] = (),
    root: Path | None = None,
) -> AlembicSettings:
    """The settings in ``ini`` and in the ``[tool.alembic]`` table of ``toml``; the first wins.

    ``pythonpath`` is where a ``package:folder`` is looked for before the installed packages.
    ``root`` is where relative paths start if there are no scripts beside the ini file: it was
    written for a command that is typed there.

    Raises:
        ConfigError: neither has a ``script_location``, both have one and they differ, or a file
            does not parse.
    """
    with files_are_readable():
        return _read_settings(ini, toml, section, pythonpath, root)


def _read_settings(
    ini: Path | None,
    toml: TomlFile | None,
    section: str,
    pythonpath: tuple[Path, ...],
    root: Path | None,
) -> AlembicSettings:
    sections = _read_ini(ini) if ini else {}
    if ini and section not in sections and section != "alembic":
        raise ConfigError(
            f"{ini} has no section [{section}]",
            hint=f"its sections are {', '.join(sorted(sections)) or 'none'}",
        )
    main = sections.get(section, {})
    table = (toml.table("alembic") if toml else None) or {}
    reader = _Reader(main, table, ini, toml.path if toml else None, pythonpath)
    location = reader.path("script_location")
    is_flask_migrate = location is None and ini is not None and (ini.parent / "env.py").is_file()
    if is_flask_migrate and ini:
        # Flask-Migrate's file lies among the scripts, and does not say where they are.
        location = ini.parent
    if location is None:
        files = [str(path) for path in (ini, toml and toml.path) if path]
        where = " and ".join(files) or "the project"
        hint = "set it in the [alembic] section of alembic.ini or in [tool.alembic]"
        if ini is None and toml is not None:
            where = f"there is no {toml.path.with_name('alembic.ini')}, and {where}"
            hint = (
                'write where it is in [tool.alembic-snapshot], as in config = "db/alembic.ini"; '
                "or set script_location in [tool.alembic]"
            )
        raise ConfigError(f"{where} has no script_location", hint=_other_section(sections) or hint)
    from_root = dataclasses.replace(reader, start=root)
    there = from_root.path("script_location") or location
    if not (location / "env.py").is_file() and (there / "env.py").is_file():
        reader, location = from_root, there
    reader.refuse_two_locations(location)
    if not (location / "env.py").is_file():
        raise ConfigError(
            f"the script location {location} has no env.py",
            hint=_made(location),
        )
    versions = reader.paths("version_locations", legacy="version_path_separator")
    return AlembicSettings(
        ini=ini,
        toml=toml.path if toml and table else None,
        section=section,
        script_location=location,
        version_locations=tuple(versions) or (location / "versions",),
        recursive=str(reader.value("recursive_version_locations")).lower() == "true",
        prepend_sys_path=tuple(reader.paths("prepend_sys_path")),
        effective=_effective(sections, table, section),
        is_flask_migrate=is_flask_migrate,
    )


def _made(location: Path) -> str:
    """What to do about a script location without an env.py."""
    if location.is_dir() and any(location.iterdir()):
        return "correct script_location, or add the env.py that is missing there"
    command = shlex.join(["alembic", "init", str(location)])
    return f"correct script_location, or make it with `{command}`"


def _other_section(sections: Mapping[str, Mapping[str, str]]) -> str | None:
    """Which sections of Alembic's there are under other names, as several databases have them."""
    others = [name for name, options in sections.items() if "script_location" in options]
    if not others:
        return None
    return f'set section = "{others[0]}" in [tool.alembic-snapshot]' + (
        f"; {', '.join(others)} have one" if others[1:] else ""
    )


def deeper(settings: AlembicSettings) -> Path | None:
    """A folder with Python files below a version location, where Alembic does not look."""
    if settings.recursive:
        return None
    places = (path for location in settings.version_locations for path in location.glob("*/*.py"))
    return next((path.parent for path in places if path.parent.name != "__pycache__"), None)


def look_deeper(settings: AlembicSettings) -> str | None:
    """The hint for scripts that lie deeper than Alembic looks, if any do."""
    folder = deeper(settings)
    if folder is None:
        return None
    return f"there are Python files in {folder}: set recursive_version_locations = true"


def starts_alike(
    settings: AlembicSettings, pythonpath: tuple[Path, ...], folder: Path
) -> tuple[bool, tuple[Path, ...]]:
    """Whether Alembic, started in a folder, has these scripts; and what it would import from."""
    reader = dataclasses.replace(_reader(settings), pythonpath=pythonpath, start=folder)
    location = reader.path("script_location") or settings.script_location
    versions = reader.paths("version_locations", legacy="version_path_separator")
    wanted = (settings.script_location, settings.version_locations)
    found = (location, tuple(versions) or (location / "versions",))
    return found == wanted, tuple(reader.paths("prepend_sys_path"))


def database_url(settings: AlembicSettings) -> str | None:
    """The ``sqlalchemy.url`` of the section, or of the table; None if there is none to read."""
    try:
        value = _reader(settings).value("sqlalchemy.url")
    except ConfigError:
        # It may refer to options that only env.py sets.
        return None
    return value if isinstance(value, str) else None


def unsupported_url(settings: AlembicSettings) -> str | None:
    """The title of the database that ``sqlalchemy.url`` is for, if that is not supported."""
    url = database_url(settings)
    # Alembic's template has driver://user:pass@localhost/dbname.
    is_one = url is not None and "://" in url and not url.startswith("driver:")
    return unsupported.title(url) if url is not None and is_one else None


def _reader(settings: AlembicSettings) -> _Reader:
    main = _read_ini(settings.ini).get(settings.section, {}) if settings.ini else {}
    toml = TomlFile.read(settings.toml) if settings.toml else None
    table = (toml.table("alembic") if toml else None) or {}
    return _Reader(main, table, settings.ini, settings.toml)


def _read_ini(path: Path) -> dict[str, dict[str, str]]:
    parser = configparser.RawConfigParser()
    try:
        parser.read_string(path.read_text(encoding="utf-8-sig"), str(path))
    except OSError as error:
        raise ConfigError(
            f"can't read {path}: {error.strerror}",
            hint="give the path of the project's alembic.ini, or run from the project's folder",
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8: {error}", hint="save it as UTF-8") from error
    except configparser.Error as error:
        first = str(error).splitlines()[0]
        raise ConfigError(f"{path} does not parse: {first}", hint="correct the file") from error
    return {name: dict(parser.items(name)) for name in parser.sections()}


def _effective(
    sections: Mapping[str, dict[str, str]], table: Mapping[str, Any], own: str
) -> dict[str, str]:
    effective: dict[str, str] = {}
    logging = _logging_sections(sections)
    for section, options in sections.items():
        is_alembics = section == own or "script_location" in options
        for name, value in options.items():
            has_effect = not (is_alembics and name in _WITHOUT_EFFECT) and name != _URL
            if section not in logging and has_effect:
                # No two pairs of a section and a name are spelled alike.
                title = section.replace("\\", "\\\\").replace("]", "\\]")
                effective[f"[{title}] {name}"] = value
    effective |= {
        f"tool.alembic.{name}": repr(value)
        for name, value in table.items()
        if name not in _WITHOUT_EFFECT and name != _URL
    }
    return dict(sorted(effective.items()))


def _logging_sections(sections: Mapping[str, dict[str, str]]) -> set[str]:
    """The sections of ``logging.config.fileConfig``, and that of hooks for new files."""
    logging_sections = {"post_write_hooks", *_LOGGING}
    for kind in _LOGGING:
        keys = sections.get(kind, {}).get("keys", "")
        logging_sections |= {f"{kind[:-1]}_{key.strip()}" for key in ("root", *keys.split(","))}
    return logging_sections


@dataclass(frozen=True)
class _Reader:
    """One option at a time: the ini file first, then the table."""

    main: Mapping[str, str]
    table: Mapping[str, Any]
    ini: Path | None
    toml: Path | None
    pythonpath: tuple[Path, ...] = ()
    start: Path | None = None

    def value(self, name: str) -> Any:
        """The option with ``%(here)s`` and the options of its own section put in."""
        if name in self.main and self.ini:
            return self._expand(self.main[name], self.ini.parent, self.main)
        if name in self.table and self.toml:
            value = self.table[name]
            if isinstance(value, list):
                return [self._expand(str(item), self.toml.parent, {}) for item in value]
            return self._expand(str(value), self.toml.parent, {})
        return None

    def path(self, name: str) -> Path | None:
        self._refuse_other_than_text(name)
        value = self.value(name)
        return self._resolve(name, value) if value else None

    def paths(self, name: str, legacy: str | None = None) -> list[Path]:
        self._refuse_other_than_text(name, may_be_list=True)
        value = self.value(name)
        if isinstance(value, str):
            value = self._split(name, value, legacy)
        return [self._resolve(name, item) for item in value or ()]

    def _refuse_other_than_text(self, name: str, *, may_be_list: bool = False) -> None:
        """Refuse what TOML can hold and Alembic can't take for a path."""
        value = self.table.get(name, "")
        items = value if may_be_list and isinstance(value, list) else [value]
        if name not in self.main and not all(isinstance(item, str) for item in items):
            wanted = "a list of strings" if may_be_list else "a string"
            raise ConfigError(
                f"{name} in [tool.alembic] of {self.toml} must be {wanted}, not {value!r}",
                hint=f"write {name} = {_EXAMPLES[may_be_list]} there, with the path of yours",
            )

    def refuse_two_locations(self, location: Path) -> None:
        other = _Reader({}, self.table, None, self.toml).path("script_location")
        if other and other != location:
            raise ConfigError(
                f"two configurations of Alembic: {self.ini} has the script location {location}, "
                f"[tool.alembic] in {self.toml} has {other}",
                hint="take script_location out of one of them, or write "
                'config = "pyproject.toml" in [tool.alembic-snapshot] to use the second',
            )

    def _split(self, name: str, value: str, legacy: str | None) -> list[str]:
        chosen = self.value("path_separator") or (self.value(legacy) if legacy else None)
        if chosen is None:
            return [item for item in re.split(r"[,\s]+" if legacy else r"[\s,:]+", value) if item]
        if chosen not in _SEPARATORS:
            raise ConfigError(
                f"{chosen!r} is not a path_separator (option {name} in {self.ini})",
                hint=f"use one of {', '.join(_SEPARATORS)}",
            )
        return [item.strip() for item in value.split(_SEPARATORS[chosen]) if item.strip()]

    def _resolve(self, name: str, value: str) -> Path:
        if "\0" in value:
            raise ConfigError(
                f"{name} is {value!r}: no path has a null character",
                hint=f"correct {name} in {self.ini if name in self.main else self.toml}",
            )
        here = self.ini.parent if name in self.main and self.ini else None
        here = here or (self.toml.parent if self.toml else Path.cwd())
        package, *inside = value.split(":")
        if inside and name in _OF_PACKAGES and not os.path.isabs(value):
            folders = [*self.pythonpath, *self.paths("prepend_sys_path"), here]
            return _package_folder(package, folders).joinpath(*inside)
        return Path(os.path.abspath((self.start or here) / value))

    def _expand(
        self, value: str, here: Path, options: Mapping[str, str], above: tuple[str, ...] = ()
    ) -> str:
        def put_in(match: re.Match[str]) -> str:
            name = match[1]
            if name is None:
                return "%"
            if name == "here":
                return here.as_posix()
            if name not in options:
                raise ConfigError(
                    f"%({name})s in {value!r} is an undefined interpolation",
                    hint="define it in its section",
                )
            if name in above:
                raise ConfigError(
                    f"{name} in {self.ini} refers to itself: {options[name]!r}",
                    hint=f"give {name} a value that does not lead back to %({name})s",
                )
            return self._expand(options[name], here, options, (*above, name))

        return re.sub(r"%%|%\((\w+)\)s", put_in, value)


def _package_folder(package: str, folders: list[Path]) -> Path:
    """The folder of an importable package, found without importing it."""
    search: list[str] | None = [*map(str, folders), *sys.path]
    for part in package.split("."):
        spec = PathFinder.find_spec(part, search)
        if spec is None or spec.submodule_search_locations is None:
            raise ConfigError(
                f"no package {package!r} to find Alembic's scripts in",
                hint="install it, or add its folder to pythonpath in [tool.alembic-snapshot]",
            )
        search = list(spec.submodule_search_locations)
    assert search
    return Path(os.path.abspath(search[0]))
