"""``doctor``: the needs of the tests, examined one by one, with a hint where something lacks."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import re
import sqlite3
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alembic_snapshot.backend import backend_of
from alembic_snapshot.checks import counted, number, size, unchecked
from alembic_snapshot.cli.finding import Finding, bad, doubtful, good, has_bad
from alembic_snapshot.cli.importable import importing, line_for
from alembic_snapshot.cli.inside_pytest import ask
from alembic_snapshot.cli.records import findings_of, not_supported, told_of
from alembic_snapshot.errors import SnapshotError, StoreError
from alembic_snapshot.key.libraries import OLDEST, numbers
from alembic_snapshot.project import unsupported
from alembic_snapshot.project.alembic_settings import unsupported_url
from alembic_snapshot.project.commands import alembic_command, own_command
from alembic_snapshot.project.config import DEFAULT, Project, load_projects
from alembic_snapshot.project.owner import is_owned, owner
from alembic_snapshot.project.places import TABLE
from alembic_snapshot.project.table import ENVIRONMENT_EXAMPLE, has_place

if TYPE_CHECKING:
    from alembic_snapshot.build.lookup import Status

_PACKAGE = "alembic-snapshot"
# Whoever runs no tests does without pytest: it is no requirement of the package.
OLDEST_FOR_TESTS = {
    "SQLAlchemy": OLDEST["SQLAlchemy"],
    "alembic": OLDEST["Alembic"],
    "pytest": "8.2",
}
_EXTENSION = re.compile(r"CREATE\s+EXTENSION\s+(?:IF\s+NOT\s+EXISTS\s+)?[\\\"']*([\w-]+)", re.I)
_ASYNC_PYTEST = "pytest-asyncio"


def examine(config: Path | None, store: Path | None, timeout: float) -> list[Finding]:
    """The findings on everything, in an order in which later ones depend on earlier ones."""
    all_findings = list(versions())
    try:
        projects = load_projects(config=config, store=store)
    except SnapshotError as error:
        what = "store" if isinstance(error, StoreError) else "table"
        return [*all_findings, _error(what, error), _rest("without a configuration")]
    project = projects[DEFAULT]
    if not project.configured:
        where = project.root / "pyproject.toml"
        why = f"{where} has no [{TABLE}]" if where.exists() else f"there is no {where}"
        return [
            *all_findings,
            bad("table", why, f"{own_command(project, 'init')} proposes one and writes it"),
            _rest("without a table"),
        ]
    all_findings.append(good("table", f"[{TABLE}] in {project.root / 'pyproject.toml'}"))
    inside = None if has_bad(all_findings) else list(_inside_pytest(projects, timeout))
    for name, database_project in projects.items():
        lines = list(_database(database_project))
        all_findings += lines if len(projects) == 1 else [_named(name, line) for line in lines]
    if inside is None:
        all_findings.append(_rest("with these versions"))
    return [*all_findings, *(inside or ())]


def versions() -> Iterator[Finding]:
    """Python, SQLite and the packages that tests need, with the oldest that will do."""
    yield good("Python", platform.python_version())
    yield good("SQLite", sqlite3.sqlite_version)
    for name in OLDEST_FOR_TESTS:
        wanted = OLDEST_FOR_TESTS[name]
        install = f'pip install "{name}>={wanted}"'
        try:
            version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            yield bad(name, "it is not installed", install)
            continue
        if numbers(version) < numbers(wanted):
            why = f"{version} is not supported: {wanted} is the oldest that is"
            yield bad(name, why, install)
        else:
            yield good(name, version)


def _database(project: Project) -> Iterator[Finding]:
    """The findings on one database of the project, without its engine."""
    try:
        alembic = project.alembic
    except SnapshotError as error:
        yield _error("Alembic", error)
        yield _rest("without Alembic's settings")
        return
    file = alembic.ini or alembic.toml or project.root
    yield good("Alembic", f"{_name(file)}, scripts in {_name(alembic.script_location)}")
    other = unsupported_url(alembic)
    if other is not None:
        yield doubtful("sqlalchemy.url", not_supported(other, project), unsupported.HINT)
    yield from _looked(lambda: _drivers(project), "drivers")
    yield from _looked(lambda: _server(project), "server")
    yield from _looked(lambda: _store(project), "store")
    yield from _looked(lambda: _shared(project), "shared store")
    yield from _looked(lambda: _snapshot(project), "scripts")


def _drivers(project: Project) -> Iterator[Finding]:
    """The findings on the drivers that an async env.py needs."""
    from importlib.util import find_spec

    backend = backend_of(project)
    # Only names are looked for: letters of another encoding do no harm.
    text = (project.alembic.script_location / "env.py").read_text("utf-8", "replace")
    if "create_async_engine" in text or "async_engine_from_config" in text:
        missing = [name for name in backend.async_drivers if find_spec(name) is None]
        if missing:
            install = f'pip install "{_PACKAGE}[{backend.async_extras}]"'
            yield bad("drivers", f"env.py is async, and {' and '.join(missing)} lack", install)
        else:
            yield good("drivers", f"env.py is async: {' and '.join(backend.async_drivers)}")


def _server(project: Project) -> Iterator[Finding]:
    server = backend_of(project).server()
    if server is None:
        return
    from alembic_snapshot.postgres.extensions import way_out

    version = server.facts.version
    kind = "a private server" if server.is_private else str(server)
    yield good("server", f"PostgreSQL {version // 10_000} on {kind}, may create databases")
    if server.is_private:
        yield good("clones", server.facts.copying)
    if not server.has_port:
        yield doubtful(
            "asyncpg",
            "its own connect(url) can't reach the private server: 127.0.0.1 can't be listened on",
            "give it the host, port, user and database one by one; SQLAlchemy's engines need not",
        )
    scripts = project.alembic.version_locations
    texts = (
        path.read_text("utf-8", "replace") for folder in scripts for path in folder.glob("*.py")
    )
    wanted = {name for text in texts for name in _EXTENSION.findall(text)}
    with server.connect() as connection:
        rows = connection.execute("SELECT name FROM pg_available_extensions").fetchall()
    missing = sorted(wanted - {row[0] for row in rows})
    if missing:
        yield bad(
            "extensions",
            f"the server has no {', '.join(missing)}, which revisions create",
            way_out(missing, server),
        )
    elif wanted:
        yield good("extensions", ", ".join(sorted(wanted)))


def _store(project: Project) -> Iterator[Finding]:
    store = backend_of(project).store()
    there = next(folder for folder in (store.root, *store.root.parents) if folder.exists())
    error = None if os.path.isdir(there) else OSError(None, "Not a directory")
    if error is None:
        try:
            with tempfile.TemporaryFile(dir=there):
                pass
        except OSError as refused:
            error = refused
    if error is not None:
        yield _error("store", store.unwritable(error))
        return
    entries = store.entries() if store.root.exists() else []
    whose = owner(project)
    own = [entry for entry in entries if is_owned(entry.manifest.project, whose)]
    used = size(sum(entry.manifest.size for entry in own))
    others = len(entries) - len(own)
    more = f", and {others} of other projects" if others else ""
    yield good("store", f"{store.root}, {number(len(own), 'snapshot')}, {used}{more}")


def _shared(project: Project) -> Iterator[Finding]:
    """The findings on the store that many machines share, which is asked for something."""
    from alembic_snapshot.build.sharing import remote_settings

    settings = remote_settings(project)
    if settings is None:
        return
    from alembic_snapshot.remote.asked import AskedStore

    backend = backend_of(project)
    with contextlib.closing(AskedStore(settings, project, backend, backend.store())) as shared:
        if not shared.is_reached():
            hint = "are its address and the credentials right? Builds go on without it"
            said = shared.report.warnings[-1].removeprefix("shared store ")
            yield doubtful("shared store", said, hint)
            return
        if settings.write and not shared.is_writable():
            hint = (
                f"may the credentials write and delete below v1/{settings.scope}/-/? "
                "Builds go on, and put nothing there"
            )
            said = shared.report.warnings[-1].removeprefix("shared store ")
            why = f"the scope {settings.scope} can't be written: {said}"
            yield doubtful("shared store", why, hint)
            return
        mistrusted = shared.mistrusted()
    command = own_command(project, "list", "--remote")
    hint = f"`{command}` says it of each; are remote_keys those of who writes?"
    for line in mistrusted:
        yield doubtful("shared store", line.removeprefix("shared store "), hint)
    if mistrusted:
        return
    does = "written" if settings.write else "read"
    kind = "signed" if settings.keys else "unsigned, for this machine alone"
    yield good("shared store", f"{settings.name} is {does} in the scope {settings.scope}, {kind}")


def _elsewhere(status: Status) -> tuple[str | None, list[str]]:
    """Where a build would have the snapshot from, as ``status`` says it; None if it would run.

    And what there is to say of the shared store.
    """
    from alembic_snapshot.build.archiving import archived
    from alembic_snapshot.build.sharing import remote_settings
    from alembic_snapshot.cli.remote import hit_line, peek

    archive = archived(status)
    if archive is not None:
        return f"archived {archive.file}", []
    if remote_settings(status.project) is None:
        return None, []
    there, report = peek(status)
    # That it failed has a line of its own.
    warnings = [line for line in report.warnings if line not in report.failed]
    return None if there is None else hit_line(there, report), warnings


def _snapshot(project: Project) -> Iterator[Finding]:
    """The scripts, and whether the store has the snapshot that they make."""
    from alembic_snapshot.build.lookup import look_up

    status = look_up(project)
    yield from _scripts(status, project)
    if status.entry is None:
        had, warnings = _elsewhere(status)
        if had is not None:
            seen = "; ".join([f"{had}: the next build takes it from there", *warnings])
            yield (doubtful if warnings else good)("snapshot", seen)
            return
        failure = status.store.failure(status.chain.target.digest)
        if failure is not None:
            error, again = failure[1], f"{own_command(project, 'build')} tries it again"
            seen = f"not built, its last build failed: {error.message.splitlines()[0]}"
            yield bad("snapshot", seen, f"{error.hint}; {again}" if error.hint else again)
            return
        why = "; ".join([*status.reasons, *warnings])
        hint = f"{own_command(project, 'build')} builds it; so does the first test that needs it"
        yield doubtful("snapshot", f"not built: {why}", hint)
        return
    manifest = status.entry.manifest
    yield good("snapshot", f"{number(manifest.tables, 'table')}, {size(manifest.size)}")
    for warning in manifest.warnings:
        yield doubtful("env.py", warning, _warned(warning, project))
    checks = manifest.checks
    if "drift" not in checks:
        hint = f"{own_command(project, 'build')} compares them"
        yield doubtful("models", "not compared with it yet", hint)
        return
    said = told_of(manifest, project)
    if not said:
        yield good("models", "as the migrated schema")
        return
    finding_lines = findings_of(manifest, project)
    missing = unchecked(checks, drift=project.drift)
    # With drift = "error" it fails the tests that need a database.
    make = bad if project.drift == "error" else doubtful
    hint = f"{own_command(project, 'status')} lists them"
    yield make("models", counted(len(finding_lines), len(missing)), hint)


def _scripts(status: Status, project: Project) -> Iterator[Finding]:
    heads = status.chain.heads
    count = len(status.chain.revisions)
    files = (path for folder in project.alembic.version_locations for path in folder.rglob("*.py"))
    if status.entry is None and not any(files):
        hint = f"make the first: {alembic_command(project, 'revision', '--autogenerate')}"
        yield bad("scripts", "there is no revision", hint)
    elif status.chain.opaque:
        yield doubtful("scripts", f"one layer: {status.chain.opaque[0]}")
    elif len(heads) > 1 and project.heads == "one":
        command = alembic_command(project, "merge", "heads")
        hint = f'join them: {command}; or set heads = "many" in [{TABLE}]'
        yield doubtful("scripts", f"{len(heads)} heads: {', '.join(heads)}", hint)
    else:
        what = number(count, "revision")
        yield good("scripts", f"{what}, at {', '.join(heads)}")


def _warned(warning: str, project: Project) -> str | None:
    if "redirect" not in warning:
        return None
    names = [name for name, value in project.environment.items() if has_place(value)]
    other = (
        f"write environment = {ENVIRONMENT_EXAMPLE} below [{TABLE}], with the variable that it "
        "reads"
    )
    if names:
        other = f"correct environment in [{TABLE}]: its URL is not from {', '.join(names)}"
    elif "host" in backend_of(project).nowhere():
        other += ', or with one for each part of the URL, as in DB_HOST = "{host}"'
    return f'let env.py prefer config.attributes["connection"], or {other}'


def _inside_pytest(projects: Mapping[str, Project], timeout: float) -> Iterator[Finding]:
    """The findings of a run of pytest: the plugin, the table, the application, its engines."""
    project = projects[DEFAULT]
    answer = ask(project, timeout)
    report = answer.report
    if report is None:
        # A conftest.py that imports the application ends pytest before it can look.
        hints = (line_for(module, project) for module in answer.missing)
        yield bad("pytest", answer.seen, next(filter(None, hints), answer.hint))
        yield _rest("without pytest", "engine, sessionmaker")
        return
    if not report["plugin"]:
        yield bad(
            "pytest",
            "it does not load the plugin",
            "remove -p no:alembic-snapshot from addopts, and unset PYTEST_DISABLE_PLUGIN_AUTOLOAD",
        )
        return
    if report["toml"] is None or Path(report["toml"]).parent != project.root:
        other = report["toml"] or "none"
        yield bad(
            "pytest",
            f"it finds another table than this one: {other}",
            f"run pytest in {project.root}, with its settings there",
        )
        return
    if "error" in report:
        yield bad("pytest", report["error"]["message"], report["error"]["hint"])
        return
    databases: dict[str, Any] = report["databases"]
    missing = list(
        dict.fromkeys(module for d in databases.values() for module in d["unimportable"])
    )
    if missing:
        yield bad("pytest", f"it can't import {', '.join(missing)}", importing(missing, project))
    else:
        yield good("pytest", "it loads the plugin, and can import the application")
    for name, database in databases.items():
        lines = list(_engine(database, projects[name], has_asyncio=report["asyncio"]))
        yield from lines if len(databases) == 1 else (_named(name, line) for line in lines)


def _engine(database: dict[str, Any], project: Project, *, has_asyncio: bool) -> Iterator[Finding]:
    error = database.get("error")
    if error is not None and not database["unimportable"]:
        yield bad(error["step"], error["message"], error["hint"])
    elif error is not None:
        yield bad(error["step"], error["message"], "as for pytest, above")
    engine = database.get("engine")
    if engine is None:
        if error is None:
            yield doubtful(
                "engine",
                "none is configured: only the fixtures are on clones, and not the application",
                f"{own_command(project, 'init')} looks for it; or name it below [{TABLE}]",
            )
        return
    yield from _described(engine)
    if project.sessionmaker:
        yield good("sessionmaker", f"{project.sessionmaker}, on that engine")
    else:
        yield good("sessionmaker", "none: db_session is one on the engine")
    if engine["is_async"] and not has_asyncio:
        install = f"pip install {_ASYNC_PYTEST}"
        yield doubtful("async tests", "pytest has no plugin for them", install)


def _described(engine: dict[str, Any]) -> Iterator[Finding]:
    what = f"{engine['name']}, {engine['dialect']}+{engine['driver']}"
    place = engine["place"] or "a database that is not known"
    if engine["is_known"] and engine["is_read_only"]:
        yield doubtful(
            "engine",
            f"{what}, to {place}, with mode=ro: tests can read their clones through it, and not "
            "write to them",
            "give the application a URL without mode=ro when it is tested, if it writes",
        )
        return
    if engine["is_known"]:
        where = "env.py takes what it is given" if engine["known"] is None else "as env.py's"
        yield good("engine", f"{what}, to {place}, {where}")
        return
    other, line, why = engine["known"]
    yield doubtful(
        "engine",
        f"{what}, to {place}, and not to {other} ({why})",
        f"if the application's database is the latter, {line}",
    )


def _looked(look: Callable[[], Iterable[Finding]], about: str) -> list[Finding]:
    """The findings of one look; an error becomes a finding."""
    own_findings: list[Finding] = []
    try:
        own_findings.extend(look())
    except SnapshotError as error:
        own_findings.append(_error(about, error))
    except OSError as error:
        own_findings.append(bad(about, f"can't read {error.filename}: {error.strerror}"))
    except Exception as error:
        # What nobody foresaw is a line, too, and no end of the other looks.
        own_findings.append(bad(about, f"not looked at: {type(error).__name__}: {error}"))
    return own_findings


def _error(about: str, error: SnapshotError) -> Finding:
    return bad(about, error.message, error.hint)


def _rest(why: str, what: str = "the rest") -> Finding:
    return doubtful(what, f"not looked at {why}")


def _named(name: str, finding: Finding) -> Finding:
    return Finding(f"{name}: {finding.about}", finding.state, finding.seen, finding.hint)


def _name(path: Path) -> str:
    with contextlib.suppress(ValueError):
        return os.path.relpath(path)
    return str(path)
