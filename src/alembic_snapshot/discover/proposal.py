"""The table that a project should have, a reason for each line, and the keys that are left out."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from alembic_snapshot.discover.choice import Choice
from alembic_snapshot.discover.env_py import OTHER_URL, EnvPy, env_paths, read_env_py, required
from alembic_snapshot.discover.flask import Application, find_applications
from alembic_snapshot.discover.layout import Layout, is_importable, pytest_settings
from alembic_snapshot.discover.lines import Line, Proposal, Shown
from alembic_snapshot.discover.makers import Made, Makers, find_makers, find_models
from alembic_snapshot.discover.readers import Origin
from alembic_snapshot.discover.sources import Source, Sources
from alembic_snapshot.discover.values import Values
from alembic_snapshot.errors import ConfigError
from alembic_snapshot.project import env_files, unsupported
from alembic_snapshot.project.alembic_settings import (
    AlembicSettings,
    database_url,
    read_settings,
)
from alembic_snapshot.project.places import TABLE
from alembic_snapshot.project.toml_file import TomlFile

_KINDS = unsupported.SUPPORTED
_SCHEME = re.compile(r"[a-z]+(\+\w+)?://")
_IMPORTED = re.compile(rb"^[ \t]*(?:from|import)[ \t]+(\w+)", re.MULTILINE)


def propose(layout: Layout, table: Mapping[str, Any]) -> Proposal:
    """The keys that a project's table lacks. ``table`` has those that are there, which stay.

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
        self.shown = Shown(self.root)
        self._name = self.shown.name
        self.result = Proposal(settings=pytest_settings(layout.root))
        self.alembic = self._alembic_settings()
        folders = (*self._table_path(), *self.alembic.prepend_sys_path)
        known = (*folders, *self.result.settings.pythonpath, self.root / "src", self.root)
        inside = [
            folder for folder in known if folder.is_dir() and folder.is_relative_to(self.root)
        ]
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
        choice = Choice(self.result, self.table, self.sources, self.shown)
        engine = choice.engine(makers, reached)
        factory = choice.sessionmaker(makers, engine)
        self.result.models = list(find_models(self.sources))
        self.result.is_async = env.is_async or bool(engine and engine.is_async)
        backend = self._backend(engine, makers, env)
        application = self._context(env)
        chosen = [maker for maker in (engine, factory) if maker]
        sources = [maker.source for maker in chosen if maker.reference]
        self._pythonpath(env, [*sources, *([application.source] if application else [])])
        self._environment(env, engine, backend, makers if application else None)
        if engine is None and "engine" not in self.table:
            self._engine_of_a_variable([*makers.flask, *makers.engines], backend)
        self._pytest(chosen)
        self._variables(chosen, makers, backend)
        self._extras(backend)
        several = self.alembic.effective.get(f"[{self.alembic.section}] databases")
        if several:
            what = f"env.py migrates several databases ({several}), and a snapshot is one"
            first = several.replace(",", " ").split()[0]
            how = (
                f"add to the ini file a section for each, such as [only_{first}] with "
                f"script_location and databases = {first}, and write section = "
                f'"only_{first}" below [{TABLE}], and so on below [{TABLE}.databases.NAME]'
            )
            self.result.notes.append(f"{what}: {how}")
        for path, error in self.sources.unread.items():
            self.result.notes.append(f"{self._name(path)} does not parse, {error}: not looked at")
        for other in self.layout.others:
            self.result.notes.append(f"{self._name(other.path)} is another configuration: not used")
        order = ("config", "section", "backend", "engine", "sessionmaker", "context", "pythonpath")
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
        return tuple(Path(os.path.abspath(self.root / str(folder))) for folder in given)

    def _backend(self, engine: Made | None, makers: Makers, env: EnvPy) -> str:
        given = self.table.get("backend")
        if given is not None:
            return str(given)
        url = database_url(self.alembic) or ""
        engines = [engine] if engine else [*makers.engines, *makers.flask]
        urls = [*(url for maker in engines for url in maker.url), *env.url]
        files = env_paths(self.root, env.reached)
        files += [self.root / f".env.{name}" for name in ("example", "sample", "dist")]
        kinds = _kinds(urls, files)
        where = (
            f"the URL in {self.shown.line(engines[0])}"
            if engines
            else "the URL that env.py is given"
        )
        if not engine and "://" in str(self.table.get("engine")):
            kinds = {str(self.table["engine"]).partition(":")[0].partition("+")[0]: ""}
        if not kinds and "://" in url and not url.startswith("driver:"):
            kinds, where = {url.partition(":")[0].partition("+")[0]: url}, "sqlalchemy.url"
        known = {_KINDS[kind] for kind in kinds if kind in _KINDS}
        if kinds and not known:
            other = unsupported.title(next(iter(kinds)))
            raise ConfigError(
                f"{where} is {other}'s, which is not supported: snapshots are of SQLite and "
                "PostgreSQL",
                hint=f'if the application runs on one of them too, write backend = "sqlite" or '
                f'"postgresql" below [{TABLE}] in pyproject.toml, and run init again',
            )
        if known == {"postgresql"}:
            self.result.add("backend", "postgresql", f"{where} is PostgreSQL's")
            return "postgresql"
        if len(known) > 1:
            why = "there are URLs of SQLite and of PostgreSQL: SQLite, unless you write postgresql"
            self.result.left_out.append(("backend", why))
        elif not kinds:
            why = "no URL could be read: SQLite, unless you write postgresql"
            self.result.left_out.append(("backend", why))
        return "sqlite"

    def _pythonpath(self, env: EnvPy, sources: Sequence[Source]) -> None:
        wanted: dict[Path, str] = {}
        for source in sources:
            folder = self.sources.folder_of(source.module)
            wanted.setdefault(folder or self.root, source.module.partition(".")[0])
        names = [module for module, _ in env.source.imports.values()] if env.source else []
        names += list(self._imported_by_revisions())
        for name in names:
            head = name.partition(".")[0]
            folder = self.sources.folder_of(head) if head else None
            if folder is not None:
                wanted.setdefault(folder, head)
        missing = {path: name for path, name in wanted.items() if path not in self.found_already}
        missing = {path: name for path, name in missing.items() if not self._is_script(path)}
        if not missing:
            return
        folders = ", ".join(f"{name} is in {self._name(path)}" for path, name in missing.items())
        if "pythonpath" in self.table:
            self.result.left_out.append(("pythonpath", f"it is there already, and {folders}"))
            return
        self.result.add("pythonpath", [self._name(path) for path in missing], folders)

    def _engine_of_a_variable(self, unnamed: Sequence[Made], backend: str) -> None:
        """Any URL, for an engine without a name whose URL is from a variable that leads it."""
        led = {
            name for line in self.result.lines if line.key == "environment" for name in line.value
        }
        origins = [origin for maker in unnamed for origin in maker.url]
        names = {one.name for one in origins if one.kind == "variable" and one.form == "url"}
        is_text = any(one.kind == "text" and one.form == "url" for one in origins)
        if len(names) != 1 or not names <= led or is_text:
            return
        url = "sqlite:///app.db" if backend == "sqlite" else f"{backend}://host/app"
        why = f"any URL: a function makes it of {names.pop()}, in {self.shown.line(unnamed[0])}"
        self.result.left_out = [one for one in self.result.left_out if one[0] != "engine"]
        self.result.add("engine", url, why)

    def _is_script(self, folder: Path) -> bool:
        return folder.is_relative_to(self.alembic.script_location)

    def _imported_by_revisions(self) -> Iterator[str]:
        for folder in self.alembic.version_locations:
            for path in sorted(folder.glob("*.py")):
                try:
                    yield from (module.decode() for module in _IMPORTED.findall(path.read_bytes()))
                except OSError:
                    continue

    def _environment(
        self, env: EnvPy, engine: Made | None, backend: str, application: Makers | None
    ) -> None:
        wanted = dict(env.environment)
        for one in (url for made in application.flask for url in made.url) if application else ():
            # The application that env.py is run in reads it.
            if one.kind == "variable" and one.form == "url":
                wanted.setdefault(one.name, ("{url}", one))
        if engine is not None:
            # A test's child process finds its clone by it. On a server an engine that is made at
            # import has its dialect from it, for good.
            for origin in engine.url:
                if origin.kind == "variable" and origin.form == "url":
                    is_async = engine.is_async if origin.is_async is None else origin.is_async
                    value = "{async_url}" if is_async else "{url}"
                    wanted.setdefault(origin.name, (value, origin))
        given = self.table.get("environment")
        wanted = {name: value for name, value in wanted.items() if name not in (given or {})}
        if wanted:
            url = [origin for value, origin in wanted.values() if "{" in value]
            other = [origin for value, origin in wanted.values() if "{" not in value]
            said = [f"the URL is read in {self.shown.all_at(url)}"] * bool(url)
            reasons = "; ".join([*said, *[f"needed in {self.shown.all_at(other)}"] * bool(other)])
            if given is None:
                values = {name: value for name, (value, _) in wanted.items()}
                self.result.add("environment", values, reasons)
            else:
                names = ", ".join(wanted)
                why = f"it is there already, without {names}: {reasons}"
                self.result.left_out.append(("environment", why))
        if env.x and "x" not in self.table:
            where = ", ".join(self.shown.at(origin) for origin in env.x.values())
            self.result.add("x", [f"{name}={{url}}" for name in env.x], f"{where} reads -x")
        if env.parts and backend == "sqlite":
            names = ", ".join(dict.fromkeys(origin.name for origin in env.parts))
            why = f"the URL is put together from {names}: env.py is redirected instead"
            self.result.left_out.append(("environment", why))

    def _context(self, env: EnvPy) -> Application | None:
        """The application that ``env.py`` asks for."""
        if env.flask is None or "context" in self.table:
            return None
        found = find_applications(self.sources, self.root)
        asks = f"{self._name(self.alembic.script_location / 'env.py')} line {env.flask} asks for "
        if len(found) == 1 and not found[0].why_not:
            where = f"{self._name(found[0].source.path)} line {found[0].line}"
            self.result.add("context", found[0].context, f"{asks}current_app; made in {where}")
            return found[0]
        places = ", ".join(
            f"{one.source.module}:{one.name} ({one.why_not or f'line {one.line}'})" for one in found
        )
        why = f"{len(found)} candidates: {places}" if len(found) > 1 else places
        why = why or "no application was found: write a function that makes it"
        self.result.left_out.append(
            ("context", f"{asks}Flask's current_app, a reference such as "
             f'"blog:create_app().app_context()", and {why}')
        )  # fmt: skip
        return None

    def _pytest(self, chosen: Sequence[Made]) -> None:
        sources = [maker.source for maker in chosen if maker.reference]
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
        folders = [Path(os.path.relpath(path, base)).as_posix() for path in missing]
        names = ", ".join(dict.fromkeys(missing.values()))
        own = [Path(os.path.relpath(path, base)).as_posix() for path in settings.pythonpath]
        self.result.pytest = Line("pythonpath", [*own, *folders], f"where tests find {names}")
        if settings.file is not None and settings.file != self.layout.toml:
            self.result.pytest_file = settings.file

    def _variables(self, chosen: Sequence[Made], makers: Makers, backend: str) -> None:
        sources = [maker.source for maker in chosen if maker.reference]
        sources += [model.source for model in self.result.models[:1]]
        reached = {
            source.path: source for start in sources for source in self.sources.reached_from(start)
        }
        needed = required(list(reached.values()), self.values, self.root)
        url = {
            origin.name: maker.is_async if origin.is_async is None else origin.is_async
            # An engine that no name leads to has to be made all the same.
            for maker in (*makers.engines, *chosen)
            for origin in maker.url
            if origin.form == "url"
        }
        is_async = any(maker.is_async for maker in chosen)
        for name, (value, _) in needed.items():
            # On PostgreSQL the plugin sets what is to hold the URL.
            if name not in url or backend == "sqlite":
                is_url = name in url or value in ("{url}", OTHER_URL)
                asks = url.get(name, is_async)
                self.result.variables[name] = _url(backend, is_async=asks) if is_url else value

    def _extras(self, backend: str) -> None:
        def lacks(*modules: str) -> bool:
            return any(find_spec(module) is None for module in modules)

        if backend == "sqlite" and self.result.is_async and lacks("aiosqlite", "greenlet"):
            self.result.extras["alembic-snapshot[async]"] = "an async engine needs aiosqlite"
        drivers = ("psycopg", *["asyncpg", "greenlet"] * self.result.is_async)
        if backend != "sqlite" and lacks(*drivers):
            self.result.extras["alembic-snapshot[postgres]"] = "PostgreSQL needs its drivers"
        if lacks("pytest"):
            self.result.extras["pytest"] = "tests run with it"


def _url(backend: str, *, is_async: bool) -> str:
    """A URL with which the application can be imported."""
    if backend == "sqlite":
        return f"{'sqlite+aiosqlite' if is_async else 'sqlite'}:///test.db"
    return f"{'postgresql+asyncpg' if is_async else 'postgresql+psycopg'}://localhost/test"


def _kinds(origins: Sequence[Origin], files: Sequence[Path]) -> dict[str, str]:
    """The kinds of databases that URLs name, each with a URL; or those of their types."""
    texts = [origin.name for origin in origins if origin.kind == "text"]
    if not any("://" in text for text in texts):
        names = [origin.name for origin in origins if origin.kind == "variable"]
        texts = [text for name in names for text in _values_of(name, files)]
    urls = [text for text in texts if _SCHEME.match(text)]
    found = {text.partition(":")[0].partition("+")[0]: text for text in urls}
    # pydantic's PostgresDsn takes no other URL.
    is_typed = any("Postgres" in origin.type for origin in origins)
    return found or ({"postgresql": ""} if is_typed else {})


def _values_of(name: str, files: Sequence[Path]) -> Iterator[str]:
    """The values of a variable, in this process and in the project's files."""
    if name in os.environ:
        yield os.environ[name]
    for path in files:
        value = env_files.assigned(path, os.environ).get(name)
        if value:
            yield value
