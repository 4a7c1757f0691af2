"""Which file with a table a run of pytest is about."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from alembic_snapshot.errors import ConfigError
from alembic_snapshot.project.places import is_same_file, refuse_misspelt, table_above
from alembic_snapshot.project.toml_file import TomlFile


def table_of(config: pytest.Config) -> TomlFile | None:
    """The file with the table: the one that is named, or else the nearest.

    Raises:
        ConfigError: the one that is named is not there, or has no table.
    """
    start = config.invocation_params.dir
    named: Path | None = config.known_args_namespace.snapshot_config
    if named is None and config.getini("snapshot_config"):
        named = Path(config.getini("snapshot_config"))
        start = _own_folder(config)
    if named is None:
        return next(filter(None, map(table_above, dict.fromkeys(_starts(config)))), None)
    toml = TomlFile.read(start / named)
    if toml is not None and toml.table("alembic-snapshot") is None:
        refuse_misspelt(toml)
    if toml is None or toml.table("alembic-snapshot") is None:
        what = "there is no file" if toml is None else "there is no [tool.alembic-snapshot] in"
        raise ConfigError(
            f"{what} {start / named}",
            hint="give --snapshot-config, or the option snapshot_config of pytest's own "
            "configuration, the path of the pyproject.toml that has the table",
        )
    return toml


class Tables:
    """Sees that the tests of a run are of the project whose table the run is about."""

    def __init__(self, config: pytest.Config, toml: TomlFile | None):
        self._toml = toml
        self._is_named = bool(
            config.known_args_namespace.snapshot_config or config.getini("snapshot_config")
        )
        self._others: dict[Path, Path | None] = {}

    def check(self, test: str, folder: Path) -> None:
        """See that the table nearest to a test's folder is the run's, unless that was named.

        Raises:
            ConfigError: it is another project's, whose databases nobody guards.
        """
        if folder not in self._others:
            self._others[folder] = None if self._is_named else self._other(folder)
        other = self._others[folder]
        if other is not None:
            about = "no table" if self._toml is None else f"that in {self._toml.path}"
            raise ConfigError(
                f"{test} is below {other}, which has a [tool.alembic-snapshot] table, and this run "
                f"of pytest is about {about}",
                hint=f"start pytest in {other.parent}, or name one table for the run with "
                f"--snapshot-config={other}, or snapshot_config in pytest's own configuration",
            )

    def _other(self, folder: Path) -> Path | None:
        try:
            found = table_above(folder)
        except ConfigError:
            # What lies beside tests may be no project at all.
            return None
        if found is None or (self._toml and is_same_file(found.path, self._toml.path)):
            return None
        return found.path


def _starts(config: pytest.Config) -> Iterator[Path]:
    """Where the project may be, what pytest knows best first.

    ``--rootdir`` may be a folder far above the file that pytest is configured by, and that file far
    above the tests.
    """
    own = _own_folder(config)
    is_below = own.is_relative_to(config.rootpath)
    yield from (own, config.rootpath) if is_below else (config.rootpath, own)
    yield config.invocation_params.dir
    tests = _tests(config)
    if tests:
        yield Path(os.path.commonpath(tests))


def _own_folder(config: pytest.Config) -> Path:
    """The folder of pytest's own configuration."""
    return config.rootpath if config.inipath is None else config.inipath.parent


def _tests(config: pytest.Config) -> list[str]:
    """The folders of the tests that the command line, or pytest's own configuration, names."""
    start = config.invocation_params.dir
    named = [one.partition("::")[0] for one in config.known_args_namespace.file_or_dir]
    if not named and start == config.rootpath:
        named = [
            path
            for pattern in config.getini("testpaths")
            for path in glob.iglob(pattern, root_dir=start, recursive=True)
        ]
    paths = [start / one for one in named]
    return [str(one if one.is_dir() else one.parent) for one in paths if one.exists()]
