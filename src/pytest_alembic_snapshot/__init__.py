"""The pytest plugin: a database for each test, without changing the application.

Light to import: no SQLAlchemy, no Alembic, and no build until a test asks for a database.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

import pytest

if sys.platform == "win32":
    raise pytest.UsageError(
        "alembic-snapshot: Windows is not supported yet: use WSL, the Windows Subsystem for Linux, "
        "or leave the plugin out with -p no:alembic-snapshot"
    )

from alembic_snapshot.engines.notices import UnguardedDatabaseWarning
from alembic_snapshot.errors import ConfigError, EngineError, SnapshotError, printable
from alembic_snapshot.plugin.async_fixtures import async_fixtures
from alembic_snapshot.plugin.checkpoints import checkpoint_fixture
from alembic_snapshot.plugin.current import OpenConnectionWarning
from alembic_snapshot.plugin.declared import lend_to_marked
from alembic_snapshot.plugin.fixtures import (
    Clones,
    _db_begun,
    _db_run,
    async_db_engine,
    clone_fixture,
    db_clone,
    db_clones,
    db_engine,
    db_session,
    db_snapshot,
    failing,
)
from alembic_snapshot.plugin.marker import CloneOptions
from alembic_snapshot.plugin.outside import attempt
from alembic_snapshot.plugin.reports import name, send
from alembic_snapshot.plugin.session import has_plugin, session_of

__all__ = [
    "Clones",
    "OpenConnectionWarning",
    "UnguardedDatabaseWarning",
    "_db_begun",
    "_db_run",
    "async_db_engine",
    "checkpoint_fixture",
    "clone_fixture",
    "db_clone",
    "db_clones",
    "db_engine",
    "db_session",
    "db_snapshot",
]

_MARKER = (
    "db_clone(layer=None, revision=None, empty=False, readonly=False, durable=False): give the "
    "test its own clone of the migrated database"
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options, in a group of their own."""
    group = parser.getgroup("alembic-snapshot", "databases made by Alembic migrations")
    group.addoption(
        "--snapshot-rebuild",
        action="store_true",
        help="build the snapshot from nothing, although the store has it",
    )
    group.addoption(
        "--snapshot-keep",
        choices=("failed", "all", "none"),
        default="failed",
        help="whose clones stay after the run (default: failed tests', ten at most)",
    )
    group.addoption(
        "--snapshot-clones",
        choices=("fresh", "reset"),
        help="a new database for each test, or one per worker, restored after each test "
        "(default: as configured)",
    )
    group.addoption(
        "--snapshot-reset",
        choices=("rewrite", "rewind"),
        help="how a file is restored, instead of the way that fits (default: as configured)",
    )
    group.addoption(
        "--snapshot-tokens",
        choices=("on", "off"),
        help="whether reports of failed tests have a token that opens their database elsewhere; it "
        "has the test's rows (default: as configured)",
    )
    group.addoption(
        "--snapshot-sql",
        action="store_true",
        help="show the SQL of failed tests, with its values (as -vv does)",
    )
    group.addoption(
        "--snapshot-check",
        action="store_true",
        help="add the checks of the migrations to the tests: one head, sound data, drift, mappers, "
        "every revision up, down and up again",
    )
    group.addoption(
        "--snapshot-allow-unchecked",
        action="store_true",
        help="with --snapshot-check: skip what can't be checked, instead of failing it",
    )
    parser.addini(
        "snapshot_allow_unchecked",
        "with --snapshot-check: skip what can't be checked, instead of failing it",
        type="bool",
        default=False,
    )
    group.addoption(
        "--snapshot-no-remote",
        action="store_true",
        help="neither ask the shared store nor use what came from it",
    )
    group.addoption("--snapshot-dir", type=_path, metavar="DIR", help="where snapshots are kept")
    group.addoption(
        "--snapshot-config",
        type=_path,
        metavar="FILE",
        help="the pyproject.toml with the table (default: the nearest that has one)",
    )
    parser.addini(
        "snapshot_config",
        "the pyproject.toml with the table, from the folder of pytest's own configuration "
        "(default: the nearest that has one)",
    )


def _path(text: str) -> Path:
    """A path of the command line; nothing, as an unset variable leaves, would be a folder."""
    if not text:
        raise argparse.ArgumentTypeError("it is empty: is it a variable that is not set?")
    return Path(text)


def _refuse_apart(config: pytest.Config) -> None:
    """Refuse a path that pytest takes for one of tests, because no ``=`` ties it to its option.

    As soon as it exists, pytest looks for its own configuration there, and not where the tests are.
    """
    given = [
        *shlex.split(os.environ.get("PYTEST_ADDOPTS", "")),
        *map(str, config.invocation_params.args),
    ]
    for option in ("--snapshot-dir", "--snapshot-config"):
        if option in given[:-1]:
            path = given[given.index(option) + 1]
            raise pytest.UsageError(
                f"{option} and its path are two arguments, and pytest would look for its own "
                f"configuration there\nhint: write {option}={shlex.quote(path)}"
            )


@pytest.hookimpl(wrapper=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> Generator[None, None, None]:
    """Listen before a conftest.py can import the application."""
    _refuse_apart(early_config)
    plugin = session_of(early_config)
    try:
        plugin.start()
        yield
    except Exception:
        # A conftest.py that imports it is told what is wrong with the configuration.
        if plugin.error is None:
            raise
    if plugin.error is not None:
        raise pytest.UsageError(str(plugin.error))


def _see_that_it_is_heard(config: pytest.Config, when: str) -> None:
    """Fail a test in which SQLAlchemy was imported and nobody told us."""
    plugin = session_of(config)
    with failing(plugin):
        if plugin.look():
            raise EngineError(
                f"SQLAlchemy was imported {when} in a way that nothing hears of: until now its "
                "engines were not guarded",
                hint="import it in the conftest.py, as a module of its own name",
            )


def _see_that_it_is_as_marked(item: pytest.Item) -> None:
    """Fail a test that was marked when that had no effect any more; other items have no clones."""
    if hasattr(item, "fixturenames") and item.get_closest_marker("db_clone"):
        plugin = session_of(item.config)
        with failing(plugin):
            plugin.database("default").see_marked(CloneOptions.of_test(item), item.nodeid)


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker, the async fixture and who reads the reports."""
    config.addinivalue_line("markers", _MARKER)
    plugin = session_of(config)
    plugin.options = config.option
    plugin.start()
    manager = config.pluginmanager
    decorate: Any = pytest.fixture
    if has_plugin(config, "pytest_asyncio.plugin"):
        import pytest_asyncio

        decorate = pytest_asyncio.fixture
    manager.register(async_fixtures(decorate), "alembic-snapshot-async")
    manager.register(plugin.reports, "alembic-snapshot-reports")


def pytest_unconfigure(config: pytest.Config) -> None:
    """Leave the process as it was; say what pytest has not had said at the end."""
    plugin = session_of(config)
    try:
        if not (plugin.is_told or plugin.is_worker):
            _warn_without_pytest(plugin.summary())
    finally:
        plugin.close()


def _warn_without_pytest(lines: list[str]) -> None:
    """Write warnings to standard error: an exit, an error of pytest or an option left them out."""
    from alembic_snapshot.lossy import Lossy

    for line in filter(_is_warning, lines):
        print(printable(line), file=Lossy(sys.__stderr__ or sys.stderr))


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Where the configuration and the store are; nothing is computed."""
    plugin = session_of(config)
    if plugin.toml is None:
        return []
    return [f"alembic-snapshot: {plugin.toml.path}, store {plugin.store}"]


def pytest_sessionstart(session: pytest.Session) -> None:
    """Refuse a wrong configuration before pytest-xdist starts workers, whose errors it hides."""
    plugin = session_of(session.config)
    is_inert = plugin.toml is None and plugin.error is None
    if is_inert or plugin.is_worker or plugin.runs_tests:
        return
    try:
        _ = plugin.projects
    except ConfigError as error:
        raise pytest.UsageError(str(error)) from None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(session: pytest.Session, items: list[pytest.Item]) -> None:
    """Add the checks of the migrations, if they were asked for."""
    if not session.config.option.snapshot_check:
        return
    from alembic_snapshot.plugin.items import check_items

    try:
        items.extend(check_items(session))
    except ConfigError as error:
        raise pytest.UsageError(str(error)) from None


def pytest_collection_finish(session: pytest.Session) -> None:
    """Build before the first test, if a collected test needs it; each worker finds out later."""
    lend_to_marked(session.items)
    plugin = session_of(session.config)
    plugin.tables.see(item.path for item in session.items)
    try:
        plugin.look()
    except ConfigError as error:
        raise pytest.UsageError(str(error)) from None
    options = session.config.option
    is_over = session.testsfailed and not options.continue_on_collection_errors
    is_plan = options.collectonly or getattr(options, "setupplan", False)
    if plugin.toml is None or is_plan or is_over or not (plugin.runs_tests or plugin.is_worker):
        return
    plugin.collected(session.items)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Note whose fixtures come next."""
    plugin = session_of(item.config)
    plugin.item = item
    plugin.failures.forget()
    with failing(plugin):
        plugin.tables.check(item.nodeid, item.path.parent)
    _see_that_it_is_heard(item.config, "before the test")
    if plugin.is_active:
        with failing(plugin):
            plugin.test.begin(item.nodeid, item.listchain(), plugin.reports.failed)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    """Fail a test whose application opened another database, or went on when it was refused one."""
    _see_that_it_is_heard(item.config, "by a fixture")
    _see_that_it_is_as_marked(item)
    yield
    _see_that_it_is_heard(item.config, "by the test")
    plugin = session_of(item.config)
    if plugin.is_active:
        with failing(plugin):
            plugin.test.after_call(item.nodeid)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, None, None]:
    """Fail what went on when it was refused a database while a test was taken down."""
    plugin = session_of(item.config)
    # pytest takes nothing down that it does not come to.
    interruption = attempt(plugin.test.before_teardown) if plugin.is_active else None
    try:
        yield
    except BaseException:
        # It is told already, and its report is going to shorten the traceback of what was refused.
        if plugin.is_active:
            plugin.test.let_go_of_refused()
        raise
    if interruption is not None:
        pytest.fail(f"the teardown was {interruption}", pytrace=False)
    if plugin.is_active:
        with failing(plugin):
            plugin.test.after_teardown(item.nodeid)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Say, in a failed test's report, where its database is; when it is over, delete or keep it."""
    plugin, is_own, refused, test = session_of(item.config), True, [], item.nodeid

    def look() -> None:
        nonlocal is_own, refused
        outcome = call.excinfo.value if call.excinfo is not None else None
        # Tracebacks tell who caught it, until they are shortened.
        refused = plugin.test.refused_behind(outcome, item)
        if call.excinfo is not None:
            from alembic_snapshot.plugin.endings import is_of_several_tests
            from alembic_snapshot.plugin.traces import shorten

            is_own = not is_of_several_tests(call.excinfo.value)
            shorten(call.excinfo, item.config)

    def tell() -> None:
        if report.skipped:
            plugin.test.see_hidden(test, refused)
        elif call.excinfo is not None:
            # Whoever runs it again, or forgives it, decides what is reported in the end.
            plugin.test.see_failed(test, refused)
        if report.failed:
            for text in plugin.test.describe(test, is_own=is_own):
                report.sections.append(("database of the test", printable(text)))
            item.user_properties.extend(plugin.test.properties)
            report.user_properties.extend(plugin.test.properties)
            if item.config.option.snapshot_sql or item.config.get_verbosity() > 1:
                for text in plugin.test.sql():
                    report.sections.append(("SQL of the test", printable(text)))

    def settle() -> None:
        try:
            plugin.test.settle(test)
        except SnapshotError as error:
            fail_report(report, plugin.told_once(error))

    def note(interruption: str | None) -> None:
        if interruption is not None:
            fail_report(report, f"the report of {test} was {interruption}")

    early = attempt(look) if plugin.is_active else None
    report = yield
    if call.excinfo is not None:
        report.longrepr = plugin.failures.again(call.excinfo.value, test) or report.longrepr
    if plugin.is_active:
        # An outcome that is none of the test's own is no success either: a time limit, for one.
        note(early)
        note(attempt(tell))
        if call.when == "teardown":
            note(attempt(settle))
            if plugin.is_fork:
                send(report, plugin.test.take())
        if report.failed:
            name(report, test)
    return report


@pytest.hookimpl(tryfirst=True)
def pytest_exception_interact(
    node: pytest.Item | pytest.Collector, call: pytest.CallInfo[Any], report: pytest.CollectReport
) -> None:
    """Show the project's lines alone, too, where an import or a collection was refused."""
    plugin = session_of(node.config)
    if call.excinfo is None or not isinstance(node, pytest.Collector):
        return
    if plugin.is_active or plugin.error is not None:
        from alembic_snapshot.plugin.traces import shorten

        shorten(call.excinfo, node.config)
        shown = node.repr_failure(call.excinfo)
        # Of an import that failed pytest has a text only, which the report has already.
        if not isinstance(shown, str):
            report.longrepr = shown


def fail_report(report: pytest.TestReport, text: str) -> None:
    """Make a report one of a failure, beside what it says already."""
    if report.failed:
        report.sections.append(("database of the test", text))
    else:
        report.outcome, report.longrepr = "failed", text


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """A worker sends its numbers; the one process that all runs have deletes what is old."""
    config = session.config
    plugin = session_of(config)
    if plugin.is_active:
        # Where a run ended early, the last fixtures have been torn down just now.
        try:
            plugin.test.settle(getattr(plugin, "item", session).nodeid)
        except SnapshotError as error:
            plugin.tally.warnings.append(error.message)
        plugin.test.give_back(plugin.reports.failed)
    if plugin.is_worker:
        output = getattr(config, "workeroutput", None)
        if output is not None:
            own = plugin.test.count().to_record() if plugin.is_active else {}
            output["alembic_snapshot"] = own
        # After its report, pytest-xdist gives a worker only a few seconds.
        plugin.close()
        return
    cache = getattr(config, "cache", None)
    total = plugin.total()
    if cache is None or total is None or not total.clones:
        return
    from alembic_snapshot.plugin import kept

    now = total.kept
    before = cache.get("alembic-snapshot/kept", [])
    if now != before:
        kept.delete(set(before) - set(now))
        cache.set("alembic-snapshot/kept", now)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Which snapshot, built or reused and why, how many clones; what the build warned of."""
    is_short = config.get_verbosity() < -1
    plugin = session_of(config)
    for line in plugin.summary():
        if is_short and not _is_warning(line):
            continue
        terminalreporter.write_line(printable(line), yellow=_is_warning(line))
    plugin.is_told = True


def _is_warning(line: str) -> bool:
    return line.startswith("alembic-snapshot: warning: ")


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell pytest-xdist's workers when the run began."""
    node.workerinput["alembic_snapshot_started"] = session_of(node.config).started


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_node_collection_finished(node: Any, ids: Sequence[str]) -> None:
    """Note whose tests pytest-xdist's workers have."""
    files = {one.partition("::")[0] for one in ids}
    session_of(node.config).tables.see(node.config.rootpath / file for file in files)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodeready(node: Any) -> None:
    """Expect what one of pytest-xdist's workers is going to tell, if it could begin at all."""
    plugin = session_of(node.config)
    if plugin.toml is not None:
        plugin.reports.await_worker(node.gateway.id)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """Take what one of pytest-xdist's workers sent."""
    # One that was interrupted goes down twice.
    record = getattr(node, "workeroutput", {}).pop("alembic_snapshot", None)
    if record is not None:
        session_of(node.config).reports.hear(node.gateway.id, record)
