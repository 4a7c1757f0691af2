"""A project in which every row says what was read, and the databases that builds make of it.

A world is described, not edited: its probes, the word that each source has now, and what else lies
about. Writing it down makes the files and the variables so. Whatever has changed, a build on the
store that has seen all of it must give what a build on an empty store gives.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import string
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from alembic_snapshot import SnapshotError, ensure, load_project
from alembic_snapshot.build.lookup import look_up

from .stale_readers import LATER, Reader, assembled
from .stale_sources import Source

_MODELS = """
import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase

class Base(DeclarativeBase):
    pass

class Shop(Base):
    __tablename__ = "shop"
    id = sa.Column(sa.Integer, primary_key=True)
"""
_INI = """
[alembic]
script_location = %(here)s/migrations
[loggers]
keys = root
[handlers]
keys =
[formatters]
keys =
[logger_root]
level = WARNING
handlers =
"""
# What a project has beside what counts; some of it is named where a seed could open it.
SURROUNDINGS = {
    "README.md": "# A project\n",
    "app/__init__.py": "",
    "app/models.py": _MODELS,
    "app/unused.py": "X = 1\n",
    "dev.db": "not a database\n",
    "app.log": "started\n",
    "notes.txt": "nobody reads them\n",
}
_NAMED_BY_SEEDS = 'DATABASE, LOG, PAGE = "dev.db", "app.log", "README.md"'
NAMINGS = ("literal", "computed", "from __file__", "absolute")


@dataclass(frozen=True)
class Probe:
    """One value: where it comes from, who reads it, how its file is named.

    ``place`` is the folder that its files are in, ``file`` the name of the file. ``later`` is who
    names it literally too.
    """

    number: int
    source: Source
    reader: Reader
    naming: str = "computed"
    place: str = "p"
    file: str = "data.txt"
    later: str | None = None

    def __str__(self) -> str:
        parts = [f"p{self.number}: {self.source.name} by {self.reader.name}"]
        if self.source.files or self.source.links:
            parts.append(f"{self.naming} {self._folder}/{self.file}")
        if self.later and self.source.named:
            parts.append(f"named by {self.later}")
        return ", ".join(parts)

    @property
    def is_told_by_env_py(self) -> bool:
        """Whether only running ``env.py`` again can tell that it says something else."""
        is_import = self.source.name.startswith("module") or self.source.name.endswith("pkgutil")
        return self.reader.is_imported_by_env_py or (
            is_import and self.reader.file.endswith("env.py")
        )

    @property
    def _folder(self) -> str:
        return f"{self.place}{self.number}"

    def fill(self, text: str, word: str | None = None) -> str:
        """A template with everything of this probe put in."""
        return string.Template(text).substitute(
            n=self.number,
            value=word,
            variable=f"OWN_{self.number}",
            raw=f"{self._folder}/{self.file}",
            file=self.file,
            place=self._folder,
            path=self._expression(f"{self._folder}/{self.file}"),
            folder=self._expression(self._folder),
        )

    def slots(self, word: str | None) -> Iterator[tuple[str, str]]:
        """What stands where in the project's Python files."""
        code = textwrap.dedent(self.source.code).strip()
        body = textwrap.indent(self.fill(code, word), " " * 8)
        function = (
            f"def probe_{self.number}():\n    try:\n{body}\n"
            "    except Exception:\n        value = 'absent'\n    return value\n"
        )
        for slot, text in self.reader.slots.items():
            yield self.fill(slot), self.fill(text, word).replace("{code}", function)
        if self.later and self.source.named:
            yield LATER[self.later], self.fill(self.source.named)

    def _expression(self, path: str) -> str:
        """Python for a path that is given relative to the root."""
        if self.naming == "literal":
            return repr(path)
        parts = ", ".join(map(repr, path.split("/")))
        if self.naming == "from __file__":
            up = os.path.relpath(
                path,
                os.path.dirname(string.Template(self.reader.file).substitute(n=self.number)) or ".",
            )
            parts = ", ".join(map(repr, up.split("/")))
            return f"os.path.join(os.path.dirname(os.path.abspath(__file__)), {parts})"
        if self.naming == "absolute":
            return f"os.path.join(os.getcwd(), {parts})"
        return f"os.path.join({parts})" if "/" in path else f"{path[::-1]!r}[::-1]"


@dataclass(frozen=True)
class Outcome:
    """What a build gave: a database's schema and rows, or an error; what ran for it.

    ``was_hit`` says that reading alone found it in the store before.
    """

    schema: Sequence[Any] = ()
    rows: Mapping[str, Any] = field(default_factory=dict)
    error: str = ""
    ran: tuple[str, ...] = ()
    was_hit: bool = False

    @property
    def content(self) -> tuple[Any, ...]:
        """All that two databases have in common if they are equal."""
        return self.schema, self.rows

    @property
    def facts(self) -> Mapping[str, str]:
        """The rows that probes and revisions made."""
        return dict(self.rows.get("facts", ()))


@dataclass
class World:
    """A project on the disk with its variables, and two kinds of store: an old one, empty ones."""

    folder: Path
    probes: Sequence[Probe]
    words: dict[int, str | None]
    keys: dict[str, str] = field(default_factory=dict)
    extra: dict[str, str] = field(default_factory=dict)
    variables: dict[str, str | None] = field(default_factory=dict)
    on_top: int = 0
    line_ends: str = "\n"
    _written: dict[str, Any] = field(default_factory=dict)
    _known: dict[Any, Outcome] = field(default_factory=dict)

    @property
    def root(self) -> Path:
        return self.folder / "project"

    def files(self) -> dict[str, Any]:
        """All files by their path below the root: bytes, or the target of a link in a tuple."""
        slots: dict[str, list[str]] = {"seeds.py top": [_NAMED_BY_SEEDS]}
        found: dict[str, Any] = {}
        ini, toml, keys = _INI, "", ""
        for probe in self.probes:
            source, word = probe.source, self.words[probe.number]
            for slot, text in probe.slots(word):
                slots.setdefault(slot, []).append(text)
            if word is None:
                continue
            for path, text in source.files.items():
                found[probe.fill(path, word)] = source.packed(probe.fill(text, word))
            for path, target in source.links.items():
                found[probe.fill(path, word)] = (probe.fill(target, word),)
            ini += probe.fill(source.ini, word)
            toml += probe.fill(source.toml, word)
            keys += probe.fill(source.keys, word)
        texts = {**SURROUNDINGS, **assembled(slots, self.on_top), **self.extra}
        texts["alembic.ini"] = ini + self.extra.get("alembic.ini", "")
        own = {"seeds": '["seeds:fill"]', "layers": '{ demo = ["demo:fill"] }', **self.keys}
        if any(probe.reader.migrate for probe in self.probes):
            own["migrate"] = '"setup_db:create"'
        lines = "".join(f"{key} = {value}\n" for key, value in own.items())
        table = f"[tool.alembic-snapshot]\n{lines}{keys}"
        texts["pyproject.toml"] = table + toml + self.extra.get("pyproject.toml", "")
        ends = {path: self.line_ends for path in texts if path.endswith((".py", ".ini"))}
        return found | {
            path: text.replace("\n", ends.get(path, "\n")).encode() for path, text in texts.items()
        }

    def write(self, *, keeps_times: bool = False) -> None:
        """Make the disk so; with ``keeps_times`` a file that changes keeps its time."""
        wanted = self.files()
        for name in self._written.keys() - wanted.keys():
            _remove(self.root / name, self.root)
        for name, content in wanted.items():
            if self._written.get(name) != content:
                _put(self.root / name, content, keeps_times)
        self._written = wanted

    def touch(self) -> None:
        """Give every file another time."""
        for name, content in self._written.items():
            if not isinstance(content, tuple):
                os.utime(self.root / name, (1e9, 1e9))

    def build(self, layer: str | None = None, store: str = "old") -> Outcome:
        """Build on a store, as the world is now."""
        ran: list[str] = []

        def listen(event: Mapping[str, Any]) -> None:
            if event["event"] in ("revision", "seed", "build"):
                ran.append(str(event.get(event["event"], "")))

        with self._environment():
            try:
                was_hit = self._look_up(layer, store)
                project = load_project(self.root, store=self.folder / store)
                snapshot = ensure(project, layer=layer, listener=listen)
                content = _content(snapshot.path)
            except SnapshotError as error:
                return Outcome(error=f"{type(error).__name__}: {error}", ran=tuple(ran))
        return Outcome(*content, ran=tuple(ran), was_hit=was_hit)

    def build_anew(self, layer: str | None = None) -> Outcome:
        """Build on an empty store; the same world is built once."""
        state = (tuple(sorted(self.files().items())), tuple(sorted(self._set().items())), layer)
        if state not in self._known:
            self._known[state] = self.build(layer, "empty")
            shutil.rmtree(self.folder / "empty")
        return self._known[state]

    def forget(self) -> None:
        """Empty the old store."""
        shutil.rmtree(self.folder / "old")

    def is_hit(self, layer: str | None = None) -> bool:
        """Whether reading alone says that the old store has it."""
        with self._environment():
            return self._look_up(layer, "old")

    def expected(self, layer: str | None = None) -> dict[str, str]:
        """The rows of the probes as their sources say."""
        return {
            f"p{probe.number}": probe.source.shows(self.words[probe.number])
            for probe in self.probes
            if probe.reader.layer in (None, layer)
        }

    def _look_up(self, layer: str | None, store: str) -> bool:
        project = load_project(self.root, store=self.folder / store)
        return look_up(project, layer=layer).entry is not None

    def _set(self) -> dict[str, str | None]:
        own = {
            f"OWN_{probe.number}": self.words[probe.number]
            for probe in self.probes
            if probe.source.variable
        }
        return own | self.variables

    @contextlib.contextmanager
    def _environment(self) -> Iterator[None]:
        before = dict(os.environ)
        for name, value in self._set().items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        try:
            yield
        finally:
            for name in os.environ.keys() - before.keys():
                del os.environ[name]
            os.environ.update(before)


def _put(path: Path, content: Any, keeps_times: bool) -> None:
    times = os.lstat(path) if keeps_times and path.exists() else None
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, tuple):
        path.unlink(missing_ok=True)
        path.symlink_to(content[0])
        return
    path.write_bytes(content)
    if times:
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def _remove(path: Path, root: Path) -> None:
    """Remove a file, and the folders that are empty without it."""
    path.unlink()
    for folder in path.parents:
        if folder == root or not folder.is_dir() or set(os.listdir(folder)) - {"__pycache__"}:
            return
        shutil.rmtree(folder)


def _content(path: Path) -> tuple[Any, ...]:
    """A database's schema and rows, in an order of their own."""
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        schema = sorted(
            connection.execute("select type, name, tbl_name, sql from sqlite_master"), key=str
        )
        rows = {
            name: sorted(connection.execute(f'select * from "{name}"'), key=str)
            for kind, name, _, _ in schema
            if kind == "table"
        }
    return schema, rows
