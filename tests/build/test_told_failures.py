"""What a builder's end is told as: its message, its details, and what may be tried next."""

from __future__ import annotations

import dataclasses

import pytest

from alembic_snapshot import GuardError, MigrationError
from alembic_snapshot.build.handovers import Handovers
from alembic_snapshot.build.process import AttemptFailed, BuilderProcess, Child
from alembic_snapshot.builder.protocol import Done, Step
from alembic_snapshot.errors import BuildError
from alembic_snapshot.key.observed import Observed
from alembic_snapshot.sqlite.database import DatabaseFile
from alembic_snapshot.sqlite.store import FileStore
from tests.failures import FACTS
from tests.failures import FAILED as NOTHING_KNOWN

FAILED = dataclasses.replace(NOTHING_KNOWN, traceback="Traceback\n")
REDIRECTED = (
    'what env.py connects to is redirected unless foreign = "refuse"; a revision or a seed should '
    "use the connection that it is given"
)
OTHER_KIND = (
    "the snapshot is a sqlite database: let env.py take its URL from the configuration or a "
    "variable (environment), or set backend to what it uses"
)
MIGRATE = (
    "migrate is given the URL of the database to make: hand it on, as in "
    'config.set_main_option("sqlalchemy.url", url.replace("%", "%%"))'
)


@pytest.fixture
def builder(project):
    """Makes the builder of a project of two revisions, as it is configured by then."""
    project.history(2)

    def make(**options):
        loaded = project.load()
        store = FileStore(loaded.store)
        return BuilderProcess(loaded, project.chain(), store, lambda _event: None, **options)

    return make


class TestAnError:
    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({}, "env.py failed: RuntimeError: it broke"),
            ({"where": "a.py line 3"}, "env.py failed at a.py line 3: RuntimeError: it broke"),
            (
                {"text": "a\n  b\nLINE 1: select\n        ^\n\nLINE x: c"},
                "env.py failed: RuntimeError: a b LINE x: c",
            ),
            ({"sql": "select\n  1"}, "env.py failed: RuntimeError: it broke [select 1]"),
            ({"sql": "x" * 300}, f"env.py failed: RuntimeError: it broke [{'x' * 200}]"),
            ({"type": "BuildError"}, "env.py failed: it broke"),
        ],
    )
    def test_says_whose_it_is_where_it_was_and_what_it_was_in_one_line(
        self, builder, changes, message
    ):
        error = builder()._error(dataclasses.replace(FAILED, **changes), "")

        assert type(error) is MigrationError
        assert error.message == message
        assert error.hint.startswith("env.py may need a variable")

    @pytest.mark.parametrize(
        ("sql", "output", "details"),
        [
            (None, "", "Traceback\n"),
            ("select\n 1", "", "Traceback\n\nSQL:\nselect\n 1\n"),
            (None, "printed", "Traceback\n\nOutput:\nprinted"),
            ("x", "printed", "Traceback\n\nSQL:\nx\n\nOutput:\nprinted"),
        ],
    )
    def test_has_all_lines_all_sql_and_all_output_in_its_details(
        self, builder, sql, output, details
    ):
        error = builder()._error(dataclasses.replace(FAILED, sql=sql), output)

        assert error.details == details

    def test_of_what_is_no_function_names_the_entry_to_correct(self, builder):
        failed = dataclasses.replace(
            FAILED, type="NotAFunction", who="seed shop:fill", text="it is a str"
        )
        error = builder()._error(failed, "")

        assert error.message == "seed shop:fill is no function: it is a str"
        assert error.hint == "correct seed shop:fill in [tool.alembic-snapshot]"

    @pytest.mark.parametrize("is_kept", [True, False])
    def test_of_a_revision_says_where_the_database_is_if_it_is_kept(self, builder, is_kept):
        process = builder(is_kept=is_kept)
        hint = process._error(dataclasses.replace(FAILED, current="0002"), "").hint

        kept = process.store.failed_database(process.chain.target.digest)
        assert hint == (
            f"the half-built database is kept at {kept}"
            if is_kept
            else "correct it, or what was in the database before it"
        )

    @pytest.mark.parametrize(
        ("refused", "hint"),
        [
            ("a tried to connect to b", REDIRECTED),
            ("a tried to connect to a PostgreSQL database while it ran", OTHER_KIND),
            ("a tried to connect to shop.db, a SQLite file while it ran", OTHER_KIND),
        ],
    )
    def test_of_what_was_refused_says_that(self, builder, refused, hint):
        facts = dataclasses.replace(FACTS, refused=[refused])

        error = builder()._error(dataclasses.replace(FAILED, facts=facts), "printed")

        assert type(error) is GuardError
        assert error.message == f"{refused}: only the snapshot may be opened"
        assert error.hint == hint
        assert error.details == "Traceback\n\nOutput:\nprinted"

    def test_of_several_that_were_refused_has_all_in_its_details(self, builder):
        facts = dataclasses.replace(FACTS, refused=["a", "b"])

        error = builder()._error(dataclasses.replace(FAILED, facts=facts), "")

        assert error.message == "a: only the snapshot may be opened"
        assert error.details == "Traceback\n\nAll that was refused:\n  a\n  b"

    def test_of_what_migrate_opened_says_how_to_hand_the_url_on(self, project, builder):
        project.write("shop.py", "def make(url): ...\n")
        project.configure('migrate = "shop:make"')
        facts = dataclasses.replace(FACTS, refused=["a"])

        assert builder()._error(dataclasses.replace(FAILED, facts=facts), "").hint == MIGRATE


def child(**fields):
    """A builder that has come to an end, or not."""
    one = Child(lambda _event: None, {})
    for name, value in fields.items():
        setattr(one, name, value)
    return one


class TestAnAttempt:
    @pytest.mark.parametrize(
        ("ended", "ran", "asks", "lacks", "wants", "speaks"),
        [
            (None, False, False, (), False, True),
            (child(done=Done(FACTS)), False, False, (), False, True),
            (
                child(done=Done(dataclasses.replace(FACTS, planned=1, asks_command_line=True))),
                True, True, (), False, True,
            ),
            (child(failed=FAILED), False, False, (), False, False),
            (
                child(failed=dataclasses.replace(
                    FAILED, current="a", wants_async=True, speaks_async=True,
                    facts=dataclasses.replace(FACTS, async_lacks=("x",)),
                )),
                True, False, ("x",), True, True,
            ),
        ],
    )  # fmt: skip
    def test_that_failed_knows_how_far_it_got_and_what_it_asked_for(
        self, ended, ran, asks, lacks, wants, speaks
    ):
        failed = AttemptFailed(BuildError("why", hint="so"), final=False, child=ended)

        assert str(failed) == "why"
        assert (failed.ran, failed.asks_command_line) == (ran, asks)
        assert (tuple(failed.async_lacks), failed.wants_async) == (lacks, wants)
        assert failed.speaks_async is speaks


class TestTheOrders:
    def test_are_what_the_project_says(self, project, builder):
        project.write("shop.py", "def make(url): ...\n")
        project.configure(
            """
            environment = { B = "{url}", A = "{path}" }
            x = ["one", "db={url}"]
            ignore_inputs = ["*.txt"]
            foreign = "refuse"
            pythonpath = ["lib"]
            """
        )
        (project.root / "lib").mkdir()
        process = builder()
        database = DatabaseFile(project.root / "a.db")
        step = Step("nothing")

        job = process.job(
            database, [step], "engine", check=True, applied=["0001"], asked=["<b>", "<a>"]
        )

        assert job.target == {"kind": "sqlite", "name": str(database.path)}
        assert job.variables == {"B": database.url(), "A": str(database.path)}
        assert job.x == ["one", f"db={database.url()}"]
        assert job.versions == [str(project.versions)]
        assert job.scripts == str(project.root / "migrations")
        assert job.ini == str(project.root / "alembic.ini")
        assert job.toml in (None, str(project.root / "pyproject.toml"))
        assert job.ignored_files == ["*.txt"]
        assert job.settled == ["migrations/versions/0001_made.py"]
        assert job.asked == ["<a>", "<b>"]
        assert (job.handover, job.foreign, job.check) == ("engine", "refuse", True)
        assert job.steps == [step]
        assert job.inputs == sorted(job.inputs)
        assert str(project.root / "lib") in job.search_path

    def test_settle_no_file_that_a_later_revision_or_the_models_need(self, project, builder):
        project.write("common.py", "x = 1\n")
        project.revision("0001", header="import common")
        project.revision("0002", "0001", header="import common")

        job = builder().job(
            DatabaseFile(project.root / "a.db"), [], "url", check=False, applied=["0001"]
        )

        assert job.settled == ["migrations/versions/0001_made.py"]

    def test_are_to_look_for_versions_where_nothing_says_that_they_are(self, project, builder):
        project.write("shop.py", "def make(url): ...\n")
        project.configure('migrate = "shop:make"')

        job = builder().job(DatabaseFile(project.root / "a.db"), [], "url", check=False)

        assert (job.versions, job.settled, job.migrate) == ([], [], "shop:make")


def test_what_was_read_before_stays_beside_what_is_read_now(builder, monkeypatch):
    monkeypatch.setenv("SHOP_OLD", "o")
    monkeypatch.setenv("SHOP_NEW", "n")
    process = builder()
    nothing = {"files": {}, "folders": {}, "stats": {}, "environment": []}
    before = process.read({**nothing, "files": {"a": "1"}, "environment": ["SHOP_OLD"]}, "salt")

    now = process.read(
        {**nothing, "files": {"b": "2"}, "folders": {"c": "3"}, "environment": ["SHOP_NEW"]},
        "salt",
        before,
    )

    assert now.files == {"a": "1", "b": "2"}
    assert now.folders == {"c": "3"}
    assert now.environment.keys() == {"SHOP_OLD", "SHOP_NEW"}
    assert now.environment["SHOP_OLD"] == before.environment["SHOP_OLD"]
    assert process.read(nothing, "salt") == Observed()


def attempt(message="{way}", *, final=False, asks=False, lacks=(), **failure):
    """Makes the failure of a way."""

    def made(way):
        facts = dataclasses.replace(FACTS, asks_command_line=asks, async_lacks=lacks)
        ended = child(failed=dataclasses.replace(FAILED, facts=facts, **failure))
        error = BuildError(message.format(way=way), hint="so", details=f"details of {way}")
        return AttemptFailed(error, final=final, child=ended)

    return made


ASYNC = {"speaks_async": True, "asks": True}
WAYS = {
    "each fails in its own way": (None, attempt(**ASYNC), "url connection engine async api"),
    "nothing asks for a command line": (
        None, attempt(speaks_async=True), "url connection engine async"
    ),
    "it has nothing to do with async": (None, attempt(asks=True), "url connection engine api"),
    "no async driver is there": (
        None, attempt(**ASYNC, lacks=("aiosqlite",)), "url connection engine api"
    ),
    "it wants an async driver": (
        None, attempt(**ASYNC, wants_async=True), "url async connection engine api"
    ),
    "it says the same again": (None, attempt("same", **ASYNC), "url connection async api"),
    "it says the same of another object": (
        None,
        lambda way: attempt(f"<A at 0x{len(way)}>", **ASYNC)(way),
        "url connection async api",
    ),
    "it is final": (None, attempt(final=True, **ASYNC), "url"),
    "one has worked before": (
        "engine", attempt(**ASYNC), "engine url connection async api"
    ),
    "async has worked before": (
        "async", attempt(**ASYNC, lacks=("aiosqlite",)), "async url connection engine api"
    ),
}  # fmt: skip


class TestTheWaysToHandOver:
    @pytest.mark.parametrize(("first", "failure", "ways"), WAYS.values(), ids=WAYS)
    def test_are_tried_as_long_as_they_may_help(self, first, failure, ways):
        handovers, tried = Handovers(first), []
        for way in handovers:
            tried.append(way)
            handovers.failed(way, failure(way))

        assert tried == ways.split()

    def test_are_all_in_the_error_whose_own_words_are_the_first_one_s(self):
        handovers = Handovers(None)
        for way in handovers:
            handovers.failed(way, attempt()(way))

        error = handovers.error()

        assert error.message == "url"
        assert error.details == (
            "details of url\nWhat was tried:\n  offered as url: url\n"
            "  offered as connection: connection\n  offered as engine: engine"
        )

    def test_are_not_listed_if_there_was_one(self):
        handovers = Handovers(None)
        handovers.failed("url", attempt(final=True)("url"))

        assert handovers.error().details == "details of url"

    def test_of_which_the_first_wanted_nothing_have_that_one_s_error_beside_the_other(self):
        handovers = Handovers(None)
        handovers.failed("url", attempt(speaks_async=True)("url"))
        handovers.failed("async", attempt(speaks_async=True)("async"))

        error = handovers.error()

        assert error.message == "url"
        assert error.details == (
            "details of url\nWhat was tried:\n  offered as url: url\n  offered as async: async"
        )

    def test_are_told_with_the_async_one_where_only_that_finds_that_its_driver_is_missing(self):
        handovers = Handovers(None)
        for way in handovers:
            lacks = ("aiosqlite",) if way == "async" else ()
            handovers.failed(way, attempt(speaks_async=True, lacks=lacks)(way))

        assert handovers.error().details.endswith("offered as async: async")

    def test_whose_error_has_no_details_are_listed_all_the_same(self):
        handovers = Handovers(None)
        for way in ("url", "connection"):
            failure = attempt()(way)
            failure.error.details = None
            handovers.failed(way, failure)

        assert handovers.error().details.startswith("\nWhat was tried:\n  offered as url: url\n")

    def test_of_which_one_got_to_the_migrations_have_its_error(self):
        handovers = Handovers(None)
        handovers.failed("url", attempt(wants_async=True)("url"))
        handovers.failed("connection", attempt(current="0001")("connection"))
        handovers.failed("engine", attempt(current="0001")("engine"))

        assert handovers.error().message == "connection"

    def test_of_which_the_first_wanted_an_async_driver_have_that_one_s_error(self):
        handovers = Handovers(None)
        handovers.failed("url", attempt(wants_async=True, speaks_async=True)("url"))
        assert handovers.error().message == "url"
        handovers.failed("async", attempt(speaks_async=True)("async"))

        assert handovers.error().message == "async"

    def test_say_what_is_missing_where_the_known_one_lost_its_driver(self):
        handovers = Handovers("async")
        for way in handovers:
            handovers.failed(way, attempt(lacks=("aiosqlite",))(way))

        assert handovers.error().message == "url"
