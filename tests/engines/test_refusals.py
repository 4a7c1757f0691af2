"""The whole of each refusal: what was done, by which line, and what its author can do."""

from __future__ import annotations

import os
import tempfile
import warnings
from pathlib import Path

import pytest

from alembic_snapshot.database.identity import Place
from alembic_snapshot.engines.notices import (
    Ending,
    Notices,
    UnguardedDatabaseWarning,
    engine_line,
    unused,
)
from alembic_snapshot.errors import DatabaseNotRequested, EngineError
from alembic_snapshot.project.config import Project

ROOT = Path("/project")
DEFAULT, OTHER = (Project(root=ROOT, name=name) for name in ("default", "billing"))
FILE, MEMORY = Place("sqlite", "/project/real.db"), Place("sqlite", "")
TEST = "tests/test_a.py::test_it"
ASK = (
    "add a fixture such as db_session or db_clone to the test, or mark it with "
    "@pytest.mark.db_clone"
)
ASK_OTHER = 'have the test take db_clones, and use db_clones["billing"] in it'
SHARED = "; setUpClass, or a fixture for several tests, needs a clone_fixture()"
AT_IMPORT = "connect in a function that a test or a fixture calls, not at import"
FORKING = (
    "start the process, or the pool of processes, in a fixture that takes {}, and end it after its "
    "yield; one for several tests takes their clone_fixture()"
)
ENGINE = 'write engine = "sqlite:///real.db" in [tool.alembic-snapshot]'
ENGINE_OTHER = 'write engine = "sqlite:///real.db" in [tool.alembic-snapshot.databases.billing]'
PAST = "shop/db.py line 3 connects to 'real.db' (env.py opens it)"
IS_OURS = "if it is the application's database, "
ENDING = Ending("the fixture ada uses it when it ends", "have ada take db_clone")


class Lines:
    """Callsites of which each line is the same."""

    site = ("/project/shop/db.py", 3)

    def here(self):
        return self.site

    def text(self, site):
        return f"{Path(site[0]).relative_to(ROOT)} line {site[1]}"


@pytest.fixture
def notices():
    """Notices of a line of the project."""
    return Notices(Lines())


def refused(notices, monkeypatch, running, act):
    """What a call raises, as its kind, message and hint."""
    if running is None:
        monkeypatch.delenv("PYTEST_CURRENT_TEST", raising=False)
    else:
        monkeypatch.setenv("PYTEST_CURRENT_TEST", running)
    with pytest.raises((DatabaseNotRequested, EngineError)) as caught:
        act(notices)
    error = caught.value
    assert notices.refused == [error]
    return type(error), error.message, error.hint


NOT_REQUESTED = {
    "a call": (
        DEFAULT,
        f"{TEST} (call)",
        None,
        f"{{}}, but {TEST} did not ask for a database",
        ASK,
    ),
    "a set-up": (
        DEFAULT,
        f"{TEST} (setup)",
        None,
        f"{{}}, but {TEST} did not ask for a database",
        ASK + SHARED,
    ),
    "another's": (
        OTHER,
        f"{TEST} (call)",
        None,
        f"{{}}, but {TEST} did not ask for a database",
        ASK_OTHER,
    ),
    "no test": (
        DEFAULT,
        None,
        None,
        "{} while no test is running",
        f'{AT_IMPORT}; or set guard = "off" in [tool.alembic-snapshot]',
    ),
    "an ending": (DEFAULT, f"{TEST} (teardown)", ENDING, f"{ENDING.what}: {{}}", ENDING.hint),
    "an ending without a test": (DEFAULT, None, ENDING, f"{ENDING.what}: {{}}", ENDING.hint),
}


@pytest.mark.parametrize(
    ("project", "running", "ending", "message", "hint"), NOT_REQUESTED.values(), ids=NOT_REQUESTED
)
def test_a_database_that_nobody_asked_for(
    notices, monkeypatch, project, running, ending, message, hint
):
    notices.ending = lambda: ending

    found = refused(notices, monkeypatch, running, lambda it: it.not_requested(project, "shop:db"))

    what = "shop/db.py line 3 connects to shop:db"
    assert found == (DatabaseNotRequested, message.format(what), hint)


# By when a process was forked, as its environment has it, and as it is told.
FORKED = {
    f"{TEST} (call)": f"in {TEST}",
    f"{TEST} (setup)": f"in {TEST}",
    None: "while no test was running",
}


@pytest.mark.parametrize("project", [DEFAULT, OTHER], ids=["the first", "another"])
@pytest.mark.parametrize(
    ("running", "when"), FORKED.items(), ids=["in a call", "in a set-up", "outside of tests"]
)
def test_one_that_a_forked_process_had_or_never_had(notices, monkeypatch, running, when, project):
    def had(it):
        it.left_behind(project, "shop:db")

    def had_not(it):
        it.refused.clear()
        it.left_out(project, "shop:db")

    other = 'db_clones and uses db_clones["billing"]'
    hint = FORKING.format("db_clone" if project is DEFAULT else other)
    assert refused(notices, monkeypatch, running, had) == (
        DatabaseNotRequested,
        f"shop/db.py line 3 uses shop:db in a process that was forked {when}, and whose clone was "
        "taken back",
        hint,
    )
    assert refused(notices, monkeypatch, running, had_not) == (
        DatabaseNotRequested,
        f"shop/db.py line 3 connects to shop:db in a process that was forked {when}, when there "
        "was no clone",
        hint,
    )


OF_THE_MIGRATIONS = {
    "a test that asked": (
        DEFAULT, f"{TEST} (call)", None, True,
        EngineError, f"{PAST}, and not to the test's clone", f"{IS_OURS}{ENGINE}",
    ),
    "an ending of one that asked": (
        DEFAULT, f"{TEST} (teardown)", ENDING, True,
        EngineError, f"{PAST}, and not to the test's clone", f"{IS_OURS}{ENGINE}",
    ),
    "an ending": (
        DEFAULT, f"{TEST} (teardown)", ENDING, False,
        DatabaseNotRequested, f"{ENDING.what}: {PAST}", f"{ENDING.hint}; {IS_OURS}{ENGINE}",
    ),
    "no test": (
        DEFAULT, None, None, False,
        DatabaseNotRequested, f"{PAST} while no test is running", f"{IS_OURS}{ENGINE}",
    ),
    "a set-up": (
        DEFAULT, f"{TEST} (setup)", None, False,
        DatabaseNotRequested, f"{PAST}, but {TEST} did not ask for a database",
        f"{ASK}{SHARED}; {IS_OURS}{ENGINE}",
    ),
    "another's": (
        OTHER, f"{TEST} (call)", None, False,
        DatabaseNotRequested, f"{PAST}, but {TEST} did not ask for a database",
        f"{ASK_OTHER}; {IS_OURS}{ENGINE_OTHER}",
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    ("project", "running", "ending", "is_asked", "kind", "message", "hint"),
    OF_THE_MIGRATIONS.values(),
    ids=OF_THE_MIGRATIONS,
)
def test_a_database_that_the_migrations_are_for(
    notices, monkeypatch, project, running, ending, is_asked, kind, message, hint
):
    notices.ending = lambda: ending

    def act(it):
        it.of_the_migrations(project, FILE, "env.py opens it", is_asked=is_asked)

    assert refused(notices, monkeypatch, running, act) == (kind, message, hint)


ATTACHED = "attach a file below tmp_path, or one in memory, when the application is tested"
OTHERS = {
    "that may be the application's": (
        lambda it: it.unknown(DEFAULT, FILE, EngineError("no", hint="ask")),
        "connects to 'real.db', and whether it is the application's database can't be known: no",
        "ask",
    ),
    "that is attached": (
        lambda it: it.attached(DEFAULT, FILE), "attaches 'real.db' to the test's clone", ATTACHED
    ),
    "that is attached to another": (
        lambda it: it.attached(DEFAULT, FILE, "'a.db'"), "attaches 'real.db' to 'a.db'", ATTACHED
    ),
    "that has no name": (
        lambda it: it.attached(DEFAULT, None),
        "attaches a database whose name can't be told to the test's clone", ATTACHED,
    ),
    "that is hidden": (
        lambda it: it.hidden(DEFAULT, "shop:db", FILE),
        "connects to 'real.db', the database of shop:db, under another name",
        "use the URL of the configured engine, or name its host, port and database as it does; a "
        "listener should leave these arguments alone",
    ),
    "of a creator": (
        lambda it: it.has_creator(DEFAULT, "shop:db"),
        "connects to shop:db through a creator, which can't be pointed at a clone",
        "give create_engine() a URL and connect_args instead of a creator",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("act", "message", "hint"), OTHERS.values(), ids=OTHERS)
def test_a_database(notices, monkeypatch, act, message, hint):
    found = refused(notices, monkeypatch, f"{TEST} (call)", act)

    assert found == (EngineError, f"shop/db.py line 3 {message}", hint)


def test_where_nothing_is_guarded_it_is_warned_once_for_each_in_a_test(notices, monkeypatch):
    monkeypatch.delenv("PYTEST_CURRENT_TEST", raising=False)
    project = Project(root=ROOT, guard="off")

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for name in ("shop:db", "shop:db", "shop:other"):
            notices.not_requested(project, name)
        notices.left_out(project, "shop:forked")
        notices.callsites.here = lambda: None
        notices.callsites.text = lambda _site: "code outside the project"
        notices.not_requested(project, "shop:db")
        for test in ("a.py::test_1", "a.py::test_2"):
            for phase in ("setup", "call"):
                monkeypatch.setenv("PYTEST_CURRENT_TEST", f"{test} ({phase})")
                notices.attached(project, None)

    told = [str(one.message) for one in caught]
    what = "connects to {} while no test is running; " + AT_IMPORT
    assert told == [
        f"shop/db.py line 3 {what.format('shop:db')}",
        f"shop/db.py line 3 {what.format('shop:other')}",
        "shop/db.py line 3 connects to shop:forked in a process that was forked while no test was "
        f"running, when there was no clone; {FORKING.format('db_clone')}",
        f"code outside the project {what.format('shop:db')}",
        *[
            "code outside the project attaches a database whose name can't be told to the test's "
            "clone; attach a file below tmp_path, or one in memory, when the application is tested"
        ]
        * 2,
    ]
    assert {one.category for one in caught} == {UnguardedDatabaseWarning}
    assert [(one.filename, one.lineno) for one in caught[:3]] == [Lines.site] * 3
    assert Path(caught[3].filename).name == "notices.py"
    assert (notices.unguarded, notices.unguarded_tests) == (6, 2)
    assert (notices.refused, notices.outside) == ([], [])


def test_the_line_of_configuration_is_the_variable_where_one_says_the_database(monkeypatch):
    assert engine_line(DEFAULT, FILE) == ENGINE

    monkeypatch.setenv("SHOP_URL", "sqlite:////project/real.db")

    assert engine_line(OTHER, FILE) == (
        'write engine = "module:name" in [tool.alembic-snapshot.databases.billing], with the name '
        "of the engine, or where a function makes it a URL, as in 'sqlite:///app.db': its database "
        "is from the variable SHOP_URL"
    )


TEMPORARY = {
    "pytest's": ("/elsewhere/pytest-1/x.db", Path("/elsewhere/pytest-1")),
    "one in the project": ("/project/.tmp/x.db", Path("/project/.tmp")),
    "the system's": (f"{os.path.realpath(tempfile.gettempdir())}/tmp1/x.db", None),
    "the system's beside pytest's": (
        f"{os.path.realpath(tempfile.gettempdir())}/tmp1/x.db", Path("/elsewhere/pytest-1")
    ),
}  # fmt: skip


@pytest.mark.parametrize(("path", "temporary"), TEMPORARY.values(), ids=TEMPORARY)
def test_no_hint_names_a_file_of_this_run_only(monkeypatch, path, temporary):
    place = Place("sqlite", path)
    line = (
        'write engine = "module:name" in [tool.alembic-snapshot], with the name of the engine: the '
        "database is in a temporary folder, and has no lasting name"
    )
    own = Notices(Lines(), lambda: temporary)
    error = unused(DEFAULT, "the engine", TEST, "shop/db.py line 3", place, temporary)
    _, _, hint = refused(
        own, monkeypatch, None, lambda it: it.of_the_migrations(DEFAULT, place, "x", is_asked=True)
    )

    assert engine_line(DEFAULT, place, temporary) == line
    assert error.hint == (
        f"{IS_OURS}{line}; if not, let the test use the application's engine, or ask for no "
        "database"
    )
    assert hint == f"{IS_OURS}{line}"


def test_a_hint_names_a_file_beside_a_project_that_is_in_a_temporary_folder():
    folder = os.path.realpath(tempfile.gettempdir())
    project = Project(root=Path(folder, "project"))
    place = Place("sqlite", f"{folder}/beside.db")

    assert engine_line(project, place, Path(folder, "pytest-1")) == (
        f'write engine = "{place.url(project.root)}" in [tool.alembic-snapshot]'
    )


@pytest.mark.parametrize("engine", [None, "shop:db"])
@pytest.mark.parametrize(
    ("place", "opened", "hint"),
    [
        (FILE, "'real.db'", f"{IS_OURS}{ENGINE}"),
        (
            MEMORY,
            "a database in memory",
            'name its engine in engine, or where a function makes it write engine = "sqlite://" in '
            "[tool.alembic-snapshot]",
        ),
    ],
)
def test_a_clone_that_was_not_used(engine, place, opened, hint):
    project = Project(root=ROOT, engine=engine)

    error = unused(project, "the engine", TEST, "shop/db.py line 3", place)

    assert error.message == (
        f"{TEST} asked for a database and did not use it: shop/db.py line 3 opened {opened}"
    )
    assert error.hint == ("engine names the engine; " if engine else "") + hint
