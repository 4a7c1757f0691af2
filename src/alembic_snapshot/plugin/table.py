"""Which file with a table a run of pytest is about."""

from __future__ import annotations

import contextlib
import glob
import os
import shlex
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from alembic_snapshot.errors import ConfigError
from alembic_snapshot.project.places import has_table, is_same_file, refuse_misspelt, table_above
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
    """Sees whose tests a run has: those of the table that it is about, or of another one, too."""

    def __init__(self, config: pytest.Config, toml: TomlFile | None):
        self._config = config
        self._toml = toml
        self._is_named = bool(
            config.known_args_namespace.snapshot_config or config.getini("snapshot_config")
        )
        self._nearest: dict[Path, Path | None] = {}
        self._beside: list[Path] = []

    def check(self, test: str, folder: Path) -> None:
        """See that the table nearest to a test's folder is the run's, unless that was named.

        Raises:
            ConfigError: it is another project's, whose databases nobody guards.
        """
        if folder not in self._nearest:
            self._nearest[folder] = None if self._is_named else self._other(folder)
        other = self._nearest[folder]
        if other is not None:
            about = "no table" if self._toml is None else f"that in {self._toml.path}"
            raise ConfigError(
                f"{test} is below {other}, which has a [tool.alembic-snapshot] table, and this run "
                f"of pytest is about {about}",
                hint=f"start pytest in {other.parent}, or name one table for the run, with "
                f"`{self._command(other)}` or snapshot_config in pytest's own configuration",
            )

    def see(self, tests: Iterable[Path]) -> None:
        """Note the tables above these tests that the run is not about, if its own was named."""
        self._beside = []
        if not self._is_named:
            return
        folders = {folder for test in set(tests) for folder in test.parents}
        own = Path(os.path.realpath(self._toml.path)) if self._toml else None
        for folder in sorted(folders):
            # What can't be read may be somebody else's.
            with contextlib.suppress(ConfigError):
                other = TomlFile.read(folder / "pyproject.toml")
                is_own = own is not None and own.is_relative_to(os.path.realpath(folder))
                if other is not None and not is_own and has_table(other):
                    self._beside.append(other.path)

    def lines(self) -> Iterator[str]:
        """What there is to say of them at the end of the run."""
        for toml in self._beside:
            yield (
                f"alembic-snapshot: warning: {self._relative(toml)} has a table, and this run is "
                "not about it: what its tests open is not guarded; they are with "
                f"`{self._command(toml)}`"
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

    def _command(self, toml: Path) -> str:
        """The command for the tests of a table, whatever table pytest would find by itself."""
        file = self._relative(toml)
        folder = os.path.dirname(file) or "."
        return f"pytest {shlex.quote(f'--snapshot-config={file}')} {shlex.quote(folder)}"

    def _relative(self, file: Path) -> str:
        return os.path.relpath(file, self._config.invocation_params.dir)


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
