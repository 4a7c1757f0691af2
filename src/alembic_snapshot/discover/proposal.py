"""What a project's table should say, a reason for each line, and what could not be found."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from alembic_snapshot.discover.env_py import EnvPy, read_env_py, required
from alembic_snapshot.discover.layout import (
    Layout,
    PytestSettings,
    is_importable,
    pytest_settings,
)
from alembic_snapshot.discover.makers import Made, Makers, Model, find_makers, find_models
from alembic_snapshot.discover.sources import Sources
from alembic_snapshot.discover.values import Origin, Values
from alembic_snapshot.errors import ConfigError
from alembic_snapshot.project.alembic_settings import (
    AlembicSettings,
    database_url,
    read_settings,
)
from alembic_snapshot.project.places import TABLE
from alembic_snapshot.project.toml_file import TomlFile

_KINDS = {"sqlite": "sqlite", "postgresql": "postgresql", "postgres": "postgresql"}
_SCHEME = re.compile(r"[a-z]+(\+\w+)?://")
_IMPORTED = re.compile(rb"^[ \t]*(?:from|import)[ \t]+(\w+)", re.MULTILINE)


@dataclass(frozen=True)
class Line:
    """One key of the table, its value, and why it is so."""

    key: str
    value: Any
    reason: str


@dataclass
class Proposal:
    """What to write, and what to say.

    ``variables`` are those that tests need before they can import the application, with values.
    ``pytest`` is what pytest's own ``pythonpath`` lacks, and ``pytest_file`` where it has to be
    said if that is not ``pyproject.toml``. ``left_out`` are keys with the reason why they are not
    there; ``extras`` what to install, with the reason.
    """

    lines: list[Line] = field(default_factory=list)
    left_out: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    pytest: Line | None = None
    pytest_file: Path | None = None
    extras: dict[str, str] = field(default_factory=dict)
    models: list[Model] = field(default_factory=list)
    variables: dict[str, str] = field(default_factory=dict)
    is_async: bool = False
    settings: PytestSettings = field(default_factory=lambda: PytestSettings(None))

    def add(self, key: str, value: Any, reason: str) -> None:
        """Propose a line."""
        self.lines.append(Line(key, value, reason))


def propose(layout: Layout, table: Mapping[str, Any]) -> Proposal:
    """What the table of a project lacks. ``table`` is what it has already, which stays.

    Raises:
        ConfigError: Alembic's settings make no sense, or the database is of another kind.
    """
    return _Proposing(layout, table).propose()


class _Proposing:
    """One project while it is looked at."""

    def __init__(self, layout: Layout, table: Mapping[str, Any]):
        self.layout = layout
        self.root = layout.root
        self.table = table
        self.result = Proposal(settings=pytest_settings(layout.root))
        self.alembic = self._alembic_settings()
        folders = (*self._table_path(), *self.alembic.prepend_sys_path)
        known = (*folders, *self.result.settings.pythonpath, self.root / "src", self.root)
        inside = [one for one in known if one.is_dir() and one.is_relative_to(self.root)]
        scripts = (self.alembic.script_location, *self.alembic.version_locations)
        self.sources = Sources(self.root, inside, scripts)
        self.values = Values(self.sources)
        self.found_already = {*folders, self.root}

    def propose(self) -> Proposal:
        """Every key in its turn."""
        env = read_env_py(
            self.alembic.script_location / "env.py", self.sources, self.values, self.root
        )
        makers = find_makers(self.sources, self.values)
        reached = {source.path for source in env.reached}
        engine = self._engine(makers, reached)
        factory = self._sessionmaker(makers, engine)
        self.result.models = list(find_models(self.sources))
        self.result.is_async = env.is_async or bool(engine and engine.is_async)
        backend = self._backend(engine, makers, env)
        self._pythonpath(env, [one for one in (engine, factory) if one])
        self._environment(env, engine, backend)
        self._flask(env)
        self._pytest([one for one in (engine, factory) if one])
        self._variables([one for one in (engine, factory) if one], backend)
        self._extras(backend)
        several = self.alembic.effective.get(f"[{self.alembic.section}] databases")
        if several:
            what = f"env.py migrates several databases ({several}), and a snapshot is one"
            how = f"a section with script_location, and a table [{TABLE}.databases.NAME], for each"
            self.result.notes.append(f"{what}: {how}")
        for path, error in self.sources.unread.items():
            self.result.notes.append(f"{self._name(path)} does not parse, {error}: not looked at")
        for other in self.layout.others:
            self.result.notes.append(f"{self._name(other.path)} is another configuration: not used")
        order = ("config", "section", "backend", "engine", "sessionmaker", "pythonpath")
        names = (*order, "environment", "x")
        self.result.lines.sort(key=lambda line: names.index(line.key))
        return self.result

    def _alembic_settings(self) -> AlembicSettings:
        chosen = self.layout.alembic
        is_default = chosen.is_toml or chosen.path == self.root / "alembic.ini"
        ini = None if chosen.is_toml else chosen.path
        if "config" in self.table:
            given = self.root / str(self.table["config"])
            ini = None if given.name == "pyproject.toml" else given
        elif not is_default:
            self.result.add("config", self._name(chosen.path), "where Alembic is configured")
        if not chosen.is_toml and not chosen.sections and ini == chosen.path:
            raise ConfigError(
                f"{self._name(chosen.path)} is Flask-Migrate's, and has no script_location",
                hint="write script_location = %(here)s below [alembic] in it, and run init again",
            )
        section = str(self.table.get("section", "alembic"))
        if "section" not in self.table and chosen.sections and section not in chosen.sections:
            if len(chosen.sections) > 1:
                names = ", ".join(chosen.sections)
                raise ConfigError(
                    f"{self._name(chosen.path)} has several sections with scripts: {names}",
                    hint=f'write section = "{chosen.sections[0]}" below [{TABLE}] in '
                    "pyproject.toml, and run init again",
                )
            section = chosen.sections[0]
            self.result.add("section", section, "the section that has script_location")
        toml = TomlFile.read(self.layout.toml)
        return read_settings(ini, toml, section, self._table_path(), self.root)

    def _table_path(self) -> tuple[Path, ...]:
        given = self.table.get("pythonpath", ())
        return tuple(Path(os.path.abspath(self.root / str(one))) for one in given)

    def _engine(self, makers: Makers, reached: set[Path]) -> Made | None:
        named = [one for one in makers.engines if one.reference]
        given = self.table.get("engine")
        if given is not None:
            return next((one for one in named if one.reference == given), None)
        # A function that gives what a name has, too, is no other engine.
        kept = [one.call for one in named if not one.is_call]
        objects = [one for one in named if not one.is_call or one.call not in kept]
        objects = list({one.reference: one for one in reversed(objects)}.values())[::-1]
        chosen, why = _one_of(objects, makers.factories, reached)
        if chosen is not None:
            self.result.add("engine", chosen.reference, f"made in {self._line(chosen)}{why}")
            return chosen
        if objects:
            places = ", ".join(f"{one.reference} ({self._line(one)})" for one in objects)
            self.result.left_out.append(("engine", f"{len(objects)} candidates: {places}"))
            return None
        return self._by_url(makers)

    def _by_url(self, makers: Makers) -> Made | None:
        """An engine that nothing names, by its URL."""
        unnamed = [*makers.flask, *makers.engines]
        urls: dict[str, Made] = {}
        for one in unnamed:
            for origin in one.url:
                if origin.kind == "text" and origin.form == "url" and "://" in origin.name:
                    is_flask = one in makers.flask
                    url = self._instance(origin.name, one) if is_flask else origin.name
                    urls.setdefault(url, one)
        if len(urls) == 1:
            ((url, made),) = urls.items()
            what = "Flask-SQLAlchemy's, of" if made in makers.flask else "made in a function, in"
            self.result.add("engine", url, f"every engine with this URL; {what} {self._line(made)}")
            return made
        if not unnamed:
            why = "no create_engine(), create_async_engine() or SQLAlchemy() was found"
        else:
            reasons = (
                f"{self._line(one)}: {one.why_not or 'its URL is not a text'}" for one in unnamed
            )
            why = f"no name leads to it ({'; '.join(reasons)})"
        self.result.left_out.append(("engine", why))
        return None

    def _instance(self, url: str, made: Made) -> str:
        """Flask-SQLAlchemy's relative files are in the application's instance folder."""
        before, mark, path = url.partition(":///")
        if before.partition("+")[0] != "sqlite" or not path or path.startswith(("/", ":", "file:")):
            return url
        folder = self.sources.folder_of(made.source.module) or self.root
        return f"{before}{mark}{self._name(folder / 'instance' / path)}"

    def _sessionmaker(self, makers: Makers, engine: Made | None) -> Made | None:
        if "sessionmaker" in self.table:
            given = self.table["sessionmaker"]
            return next((one for one in makers.factories if one.reference == given), None)
        if not makers.factories:
            if not makers.flask:
                why = "no sessionmaker() was found: db_session is one on the engine"
                self.result.left_out.append(("sessionmaker", why))
            return None
        wanted = engine.reference if engine else self.table.get("engine")
        fitting = [one for one in makers.factories if self._same(one.bound, wanted)]
        plain = [one for one in fitting if not self._is_scoped(one)] or fitting
        # A name that is given two, one after the other or in branches, is one name.
        plain = list({one.reference: one for one in plain}.values())
        if len(plain) == 1:
            (chosen,) = plain
            reason = f"made in {self._line(chosen)}, on {wanted}"
            self.result.add("sessionmaker", chosen.reference, reason)
            return chosen
        places = ", ".join(
            f"{one.reference} ({self._line(one)}, on {one.bound or 'no engine'})"
            for one in plain or makers.factories
        )
        what = "several candidates" if plain else "none is made on the engine"
        self.result.left_out.append(("sessionmaker", f"{what}: {places}"))
        return None

    def _same(self, bound: str | None, wanted: str | None) -> bool:
        """Whether a factory's engine is that one, through modules that pass it on."""
        for _ in range(5):
            if bound is None or bound == wanted:
                break
            module, _, name = bound.partition(":")
            source = self.sources.find(module)
            step = source.imports.get(name) if source else None
            bound = f"{step[0]}:{step[1]}" if step else None
        return bound is not None and bound == wanted

    def _is_scoped(self, made: Made) -> bool:
        name = (made.reference or "").partition(":")[2]
        calls = made.source.assigned.get(name, [])
        return any("scoped_session" in made.source.dotted(getattr(c, "func", c)) for c in calls)

    def _backend(self, engine: Made | None, makers: Makers, env: EnvPy) -> str:
        given = self.table.get("backend")
        if given is not None:
            return str(given)
        url = database_url(self.alembic) or ""
        made = [engine] if engine else makers.engines
        kinds = _kinds([*(url for one in made for url in one.url), *env.url], self.root)
        where = f"the URL in {self._line(made[0])}" if made else "the URL that env.py is given"
        if not engine and "://" in str(self.table.get("engine")):
            kinds = {str(self.table["engine"]).partition(":")[0].partition("+")[0]: ""}
        if not kinds and "://" in url and not url.startswith("driver:"):
            kinds, where = {url.partition(":")[0].partition("+")[0]: url}, "sqlalchemy.url"
        known = {_KINDS[kind] for kind in kinds if kind in _KINDS}
        if kinds and not known:
            raise ConfigError(
                f"{where} is {next(iter(kinds))}'s, and snapshots are of SQLite and PostgreSQL",
                hint=f'if the application runs on one of them too, write backend = "sqlite" or '
                f'"postgresql" below [{TABLE}] in pyproject.toml, and run init again',
            )
        if known == {"postgresql"}:
            self.result.add("backend", "postgresql", f"{where} is PostgreSQL's")
            return "postgresql"
        if not kinds:
            why = "no URL could be read: SQLite, unless you write postgresql"
            self.result.left_out.append(("backend", why))
        return "sqlite"

    def _pythonpath(self, env: EnvPy, made: Sequence[Made]) -> None:
        wanted: dict[Path, str] = {}
        for one in made:
            if one.reference:
                folder = self.sources.folder_of(one.source.module)
                wanted.setdefault(folder or self.root, one.source.module.partition(".")[0])
        names = [module for module, _ in env.source.imports.values()] if env.source else []
        names += list(self._imported_by_revisions())
        for name in names:
            head = name.partition(".")[0]
            folder = self.sources.folder_of(head) if head else None
            if folder is not None:
                wanted.setdefault(folder, head)
        missing = {one: name for one, name in wanted.items() if one not in self.found_already}
        missing = {one: name for one, name in missing.items() if not self._is_script(one)}
        if not missing:
            return
        folders = ", ".join(f"{name} is in {self._name(one)}" for one, name in missing.items())
        if "pythonpath" in self.table:
            self.result.left_out.append(("pythonpath", f"it is there already, and {folders}"))
            return
        self.result.add("pythonpath", [self._name(one) for one in missing], folders)

    def _is_script(self, folder: Path) -> bool:
        return folder.is_relative_to(self.alembic.script_location)

    def _imported_by_revisions(self) -> Iterator[str]:
        for folder in self.alembic.version_locations:
            for path in sorted(folder.glob("*.py")):
                try:
                    yield from (one.decode() for one in _IMPORTED.findall(path.read_bytes()))
                except OSError:
                    continue

    def _environment(self, env: EnvPy, engine: Made | None, backend: str) -> None:
        wanted = dict(env.environment)
        if backend != "sqlite" and engine is not None:
            # An engine that is made at import has its dialect for good.
            for one in engine.url:
                if one.kind == "variable" and one.form == "url":
                    is_async = engine.is_async if one.is_async is None else one.is_async
                    value = "{async_url}" if is_async else "{url}"
                    wanted.setdefault(one.name, (value, one))
        given = self.table.get("environment")
        wanted = {name: value for name, value in wanted.items() if name not in (given or {})}
        if wanted:
            url = [one for value, one in wanted.values() if "{" in value]
            other = [one for value, one in wanted.values() if "{" not in value]
            said = [f"the URL is read in {self._all_at(url)}"] * bool(url)
            reasons = "; ".join([*said, *[f"needed in {self._all_at(other)}"] * bool(other)])
            if given is None:
                values = {name: value for name, (value, _) in wanted.items()}
                self.result.add("environment", values, reasons)
            else:
                names = ", ".join(wanted)
                why = f"it is there already, without {names}: {reasons}"
                self.result.left_out.append(("environment", why))
        if env.x and "x" not in self.table:
            where = ", ".join(self._at(one) for one in env.x.values())
            self.result.add("x", [f"{name}={{url}}" for name in env.x], f"{where} reads -x")
        if env.parts and backend == "sqlite":
            names = ", ".join(dict.fromkeys(one.name for one in env.parts))
            why = f"the URL is put together from {names}: env.py is redirected instead"
            self.result.left_out.append(("environment", why))

    def _flask(self, env: EnvPy) -> None:
        if env.flask is not None and "migrate" not in self.table:
            why = (
                f"{self._name(self.alembic.script_location / 'env.py')} line {env.flask} asks for "
                "Flask's current_app: write a function of a URL that makes the application and "
                'upgrades inside its context, and name it: migrate = "module:function"'
            )
            self.result.left_out.append(("migrate", why))

    def _pytest(self, made: Sequence[Made]) -> None:
        sources = [one.source for one in made if one.reference]
        sources += [model.source for model in self.result.models[:1]]
        settings = self.result.settings
        missing: dict[Path, str] = {}
        for source in sources:
            folder = self.sources.folder_of(source.module) or self.root
            if not is_importable(source.module, folder, settings, self.root):
                missing.setdefault(folder, source.module.partition(".")[0])
        if not missing:
            return
        base = settings.file.parent if settings.file else self.root
        folders = [Path(os.path.relpath(one, base)).as_posix() for one in missing]
        names = ", ".join(dict.fromkeys(missing.values()))
        own = [Path(os.path.relpath(one, base)).as_posix() for one in settings.pythonpath]
        self.result.pytest = Line("pythonpath", [*own, *folders], f"where tests find {names}")
        if settings.file is not None and settings.file != self.layout.toml:
            self.result.pytest_file = settings.file

    def _variables(self, made: Sequence[Made], backend: str) -> None:
        sources = [one.source for one in made if one.reference]
        sources += [model.source for model in self.result.models[:1]]
        reached = {one.path: one for start in sources for one in self.sources.reached_from(start)}
        needed = required(list(reached.values()), self.values, self.root)
        url = {
            one.name: maker.is_async if one.is_async is None else one.is_async
            for maker in made
            for one in maker.url
            if one.form == "url"
        }
        for name, (value, _) in needed.items():
            if name not in url:
                self.result.variables[name] = value
            elif backend == "sqlite":
                # On PostgreSQL the plugin sets what is to hold the URL.
                driver = "sqlite+aiosqlite" if url[name] else "sqlite"
                self.result.variables[name] = f"{driver}:///test.db"

    def _extras(self, backend: str) -> None:
        def lacks(*modules: str) -> bool:
            return any(find_spec(module) is None for module in modules)

        if backend == "sqlite" and self.result.is_async and lacks("aiosqlite", "greenlet"):
            self.result.extras["alembic-snapshot[async]"] = "an async engine needs aiosqlite"
        drivers = ("psycopg", *["asyncpg", "greenlet"] * self.result.is_async)
        if backend != "sqlite" and lacks(*drivers):
            extra = "async,postgres" if self.result.is_async else "postgres"
            self.result.extras[f"alembic-snapshot[{extra}]"] = "PostgreSQL needs its drivers"
        if lacks("pytest"):
            self.result.extras["pytest"] = "tests run with it"

    def _line(self, made: Made) -> str:
        return f"{self._name(made.source.path)} line {made.line}"

    def _at(self, origin: Origin) -> str:
        return f"{self._name(origin.source.path)} line {origin.line}"

    def _all_at(self, origins: Sequence[Origin]) -> str:
        """Where several stand, each file once."""
        lines: dict[str, list[str]] = {}
        for one in origins:
            lines.setdefault(self._name(one.source.path), []).append(str(one.line))
        return ", ".join(f"{name} line {', '.join(found)}" for name, found in lines.items())

    def _name(self, path: Path) -> str:
        return Path(os.path.relpath(path, self.root)).as_posix()


def _one_of(
    candidates: Sequence[Made], factories: Sequence[Made], reached: set[Path]
) -> tuple[Made | None, str]:
    """The one engine of several that is the application's, if that can be known, and why."""
    if len(candidates) == 1:
        return candidates[0], ""
    near = [one for one in candidates if one.source.path in reached]
    if len(near) == 1:
        return near[0], "; of several, the one that env.py imports"
    bound = {one.bound for one in factories}
    used = [one for one in candidates if one.reference in bound]
    urls = {_database(one) for one in candidates}
    if candidates and len(urls) == 1 and None not in urls:
        return (used or list(candidates))[0], "; others have the same URL"
    if len(used) == 1 and len(factories) == 1:
        return used[0], f"; of several, the one that {factories[0].reference} is on"
    return None, ""


def _database(made: Made) -> frozenset[tuple[str, str]] | None:
    """What an engine's URL is, whatever its driver; None if that can't be read."""
    if not made.url or any(one.kind == "unknown" for one in made.url):
        return None
    return frozenset((one.kind, re.sub(r"^(\w+)\+\w+:", r"\1:", one.name)) for one in made.url)


def _kinds(origins: Sequence[Origin], root: Path) -> dict[str, str]:
    """The kinds of databases that URLs name, each with a URL."""
    texts = [one.name for one in origins if one.kind == "text"]
    if not any("://" in text for text in texts):
        names = [one.name for one in origins if one.kind == "variable"]
        texts = [text for name in names for text in _values_of(name, root)]
    found = [text for text in texts if _SCHEME.match(text)]
    return {text.partition(":")[0].partition("+")[0]: text for text in found}


def _values_of(name: str, root: Path) -> Iterator[str]:
    """What a variable is, in this process or in files that are there to tell."""
    if name in os.environ:
        yield os.environ[name]
    for file in (".env", ".env.example", ".env.sample", ".env.dist"):
        try:
            text = (root / file).read_text(encoding="utf-8")
        except (OSError, ValueError):
            continue
        pattern = rf"^\s*(?:export\s+)?{re.escape(name)}\s*=\s*[\"']?([^\"'\s#]+)"
        yield from re.findall(pattern, text, re.MULTILINE)
