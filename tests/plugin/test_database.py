"""One database of a run, lent to a test and taken back, with engines that nobody connects to."""

from __future__ import annotations

import contextlib
import sqlite3
import types

import pytest

from alembic_snapshot.build.snapshot import Checkpoint
from alembic_snapshot.database.identity import Place
from alembic_snapshot.database.recording import EXECUTE, Recording, Step
from alembic_snapshot.engines.notices import Notices
from alembic_snapshot.engines.untouched import Untouched
from alembic_snapshot.errors import CloneError, ConfigError, EngineError, SnapshotError
from alembic_snapshot.plugin.current import CurrentTest, OpenConnectionWarning
from alembic_snapshot.plugin.database import Database
from alembic_snapshot.plugin.kept import Kept
from alembic_snapshot.plugin.marker import CloneOptions, Shared
from alembic_snapshot.plugin.summary import Tally
from alembic_snapshot.project.callsite import Callsites
from alembic_snapshot.project.config import Project

EMPTY = CloneOptions(empty=True)


class Redirect:
    """Where the engines lead, without engines."""

    def __init__(self, is_there):
        configured = types.SimpleNamespace(is_there=is_there, verify=lambda: None, files=set)
        self.engines = types.SimpleNamespace(name="shop:db", configured=configured)
        self.recording, self.known = Recording(), types.SimpleNamespace(files=set)
        self.strays, self.held, self.lost = {}, [], []
        self.is_guarding, self.is_in_use = True, False
        self.pointed, self.lines, self.open = [], [], []

    def point(self, clone, *, durable=False):
        self.pointed.append((clone, durable))

    def release(self):
        held, self.held = self.held, []
        return held

    def busy(self):
        return []

    def uncommitted(self):
        return self.lines

    def unflushed(self):
        return self.lines

    def transactions(self):
        return self.open


class Events:
    """SQLAlchemy's events, of which none comes."""

    def __init__(self, root, is_there):
        self.callsites = Callsites(root)
        self.notices = Notices(self.callsites)
        self.one = Redirect(is_there)
        self.did = []
        self.untouched = Untouched(0.0)
        self.temporary = root / "temporary"

    def redirect(self, _project, _built):
        return self.one

    @property
    def held(self):
        return self

    def close_unconnected(self, _redirect):
        self.did.append("close idle")


@pytest.fixture
def made(tmp_path):
    """Makes a database of a project, and the folder of its clones."""
    databases = []

    def make(name="default", *, is_there=True, tally=None, **keys):
        events = Events(tmp_path, is_there)
        project = Project(root=tmp_path, name=name, tokens="off", **keys)
        tally = tally or Tally()
        made = Database(
            project,
            events,
            tally,
            folder=lambda: tmp_path,
            rebuild=None,
            all_clones=lambda: [one.clone for one in databases if one.clone],
        )
        made.events, made.tally = events, tally
        databases.append(made)
        return made

    return make


def refused(call, *arguments, **named):
    with pytest.raises(SnapshotError) as caught:
        call(*arguments, **named)
    return type(caught.value), caught.value.message, caught.value.hint


def write(clone, name="notes"):
    with contextlib.closing(sqlite3.connect(clone.path)) as connection, connection:
        connection.execute(f"CREATE TABLE {name} (id INTEGER)")


OWNERS = {
    "its own": ({}, "the test's own"),
    "a shared one": ({"shared": Shared("ada", "module")}, "that of ada for several tests"),
    "one that is made": ({"making": "bob"}, "that of the checkpoint bob, which is being made"),
}


class TestLending:
    def test_a_clone_is_begun_and_joined(self, made):
        database = made(environment={"SHOP_URL": "{url}"})
        other = made("other", environment={"OTHER_URL": "{url}"})
        options = CloneOptions(empty=True, durable=True)

        assert other.begin(EMPTY) is True
        assert database.begin(options) is True
        clone = database.clone
        assert database.begin(options) is False
        assert database.begin(CloneOptions()) is False

        assert database.clone is clone
        assert database.redirect.pointed == [(clone, True)]
        assert database.tally.seconds == 0
        clone.make()
        assert (database.tally.clones, database.tally.seconds > 0) == (1, True)
        assert (clone.users, clone.recording, clone.processes, clone.durable) == (
            database.redirect, database.redirect.recording, database.children, True
        )  # fmt: skip
        assert database.children.variables() == {"OTHER_URL": other.clone.url}
        assert not database.is_shared

    @pytest.mark.parametrize(("clones", "resets"), [("fresh", None), ("reset", 0)])
    def test_resets_are_counted_from_the_first_where_there_are_some(self, made, clones, resets):
        assert made(clones=clones).tally.resets == resets

    @pytest.mark.parametrize("is_there", [True, False])
    def test_one_without_an_engine_is_noted(self, made, is_there):
        tally = Tally()
        made(is_there=is_there, tally=tally).begin(EMPTY)
        made("other", tally=tally).begin(EMPTY)

        assert tally.fixtures_only is not is_there

    @pytest.mark.parametrize(("owner", "words"), OWNERS.values(), ids=OWNERS)
    def test_another_one_is_refused_with_the_names_of_both(self, made, owner, words):
        database = made()
        database.begin(EMPTY, **owner)
        is_shared = "shared" in owner
        assert database.is_shared is is_shared

        found = [
            refused(database.begin, EMPTY, shared=Shared("eve", "class")),
            refused(database.begin, EMPTY, making="eve"),
            refused(database.begin, CloneOptions(layer="x")),
        ]

        for (kind, message, hint), asked in zip(found, ("clone", "checkpoint"), strict=False):
            assert (kind, message) == (
                CloneError,
                f"the {asked} eve can't begin while a clone is in use already, {words}",
            )
            assert hint == (
                f"move the test out of the scope of that clone, or do not ask for the {asked} eve"
                if is_shared
                else f"ask for the {asked} eve before the test's own clone, in an argument"
            )
        assert found[2] == (
            CloneError,
            f"a clone is in use already, {words}, and a different one was asked for",
            "remove the marker's arguments, or move the test out of its scope"
            if is_shared
            else "ask for the clone for several tests, or the checkpoint, before the test's own",
        )

    def test_a_checkpoint_is_what_the_clone_has_to_begin_from(self, made):
        database = made()
        database.begin(EMPTY, making="ada")
        write(database.clone)
        made_one = database.freeze("ada", "a.py line 3")
        base = made_one.checkpoint
        stranger = Checkpoint(database.project, base.entry, name="eve", place="a.py line 9")

        assert database.begin(CloneOptions(), base=base) is True
        assert database.begin(CloneOptions(), base=base) is False
        assert refused(database.begin, CloneOptions(), base=stranger) == (
            CloneError,
            "a clone is in use already, the test's own, which does not begin from the checkpoint "
            "eve (a.py line 9)",
            "move the test out of the scope of that clone, or do not ask for the checkpoint",
        )
        assert refused(database.begin, CloneOptions(layer="x"), base=base) == (
            ConfigError,
            "a clone can't begin from the checkpoint ada (a.py line 3) and have layer=… at once",
            "give that to the checkpoint_fixture that stands on no other, or do not ask for the "
            "checkpoint",
        )

    def test_a_clone_becomes_a_checkpoint(self, made):
        tally = Tally()
        database = made(tally=tally)
        assert database.freeze("ada", "a.py line 3") is None
        database.begin(EMPTY, making="ada")
        clone = database.clone
        database.redirect.held = [("a.py", 3)]

        frozen = database.freeze("ada", "a.py line 3")

        assert database.clone is None
        assert (frozen.clone, frozen.held) == (clone, [("a.py", 3)])
        one = frozen.checkpoint
        assert (one.name, one.place, one.parent.entry) == ("ada", "a.py line 3", None)
        assert (one.entry.database.path, one.entry.name) == (clone.place, str(clone.place))
        assert one.entry.manifest.heads == ()
        assert (tally.checkpoints, tally.clones) == (1, 1)
        assert database.events.did == ["close idle"]

    @pytest.mark.parametrize("has_clone", [True, False])
    @pytest.mark.parametrize("is_guarding", [True, False])
    def test_the_sessions_of_a_test_without_a_clone_are_emptied(self, made, is_guarding, has_clone):
        database = made()
        database.redirect.is_guarding = is_guarding
        if has_clone:
            database.begin(EMPTY)

        database.empty_sessions()

        assert ("close idle" in database.events.did) is (is_guarding and not has_clone)

    def test_what_is_unfinished_is_said(self, made):
        database = made()
        database.redirect.lines = ["a", "b"]
        assert database.unfinished() == ["a", "b"]
        database.begin(EMPTY)
        assert database.unfinished() == ["a", "b"]
        write(database.clone)
        assert database.unfinished() == ["a", "b"]
        with contextlib.closing(sqlite3.connect(database.clone.path)) as connection:
            connection.execute("INSERT INTO notes VALUES (1)")
            assert database.unfinished() == ["a", "b", "a transaction is open"]
            database.redirect.open = ["c", "d"]
            assert database.unfinished() == ["a", "b", "c", "d"]

    def test_a_clone_that_was_not_used_is_told_once(self, made, tmp_path):
        database = made()
        place, site = Place("sqlite", str(tmp_path / "real.db")), (str(tmp_path / "a.py"), 3)
        assert database.strayed("test_it") is None

        for shared, who in (
            (None, "test_it"),
            (Shared("ada", "module"), "the tests that share a clone"),
        ):
            database.begin(EMPTY, shared=shared)
            database.redirect.strays[place] = site
            database.redirect.is_in_use = True
            assert database.strayed("test_it") is None
            database.redirect.is_in_use = False
            assert (database.strayed("test_it", shared=False) is None) is bool(shared)
            database.redirect.strays[place] = site
            error = database.strayed("test_it")
            assert error.message == (
                f"{who} asked for a database and did not use it: a.py line 3 opened 'real.db'"
            )
            assert database.strayed("test_it") is None
            database.end()

        database.redirect.strays[place] = site
        database.redirect.is_guarding = False
        with pytest.warns(UserWarning, match="did not use it") as caught:
            assert database.strayed("test_it") is None
        assert [(one.filename, one.lineno) for one in caught] == [site]


@pytest.fixture
def current(made, tmp_path):
    """Makes a test with databases of these names."""

    def make(*names, whose="failed"):
        tally = Tally()
        databases = {name: made(name, tally=tally) for name in names or ("default",)}
        first = next(iter(databases.values()))
        kept = Kept(whose, lambda: tmp_path)
        one = CurrentTest(databases, first.events.notices, tally, kept, first.events.untouched)
        one.databases, one.tally, one.notices = (
            list(databases.values()),
            tally,
            first.events.notices,
        )
        return one

    return make


class TestTheNext:
    @pytest.mark.parametrize(
        ("owner", "nodes", "is_over"),
        [
            ({}, ["session", "test_b"], True),
            ({"shared": Shared("ada", "module")}, ["session", "another module", "test_b"], True),
            ({"shared": Shared("ada", "module")}, ["session", "module", "test_b"], False),
            ({"making": "bob"}, ["session", "test_b"], True),
        ],
    )
    def test_does_not_join_what_one_before_it_left(self, current, owner, nodes, is_over):
        one = current()
        [database] = one.databases
        one.begin("test_a", nodes, ())
        database.begin(EMPTY, **owner)
        clone = database.clone
        write(clone)

        one.begin("test_b", nodes, ())

        assert database.clone is (None if is_over else clone)
        assert clone.path.exists() is not is_over

    @pytest.mark.parametrize("error", [UserWarning, KeyboardInterrupt, SystemExit])
    def test_has_its_own_although_the_end_of_one_was_interrupted(self, current, error):
        one = current()
        [database] = one.databases
        database.begin(EMPTY)
        write(database.clone)
        path = database.clone.path

        def strayed(*_, **__):
            raise error

        database.strayed = strayed
        with pytest.raises(error):
            one.take_back(database, "test_it")
        assert database.clone is None
        one.settle("test_it")

        assert not path.exists()


class TestTheEnd:
    def test_a_clone_is_taken_back_and_deleted(self, current):
        one = current()
        [database] = one.databases
        one.take_back(database, "test_it")
        database.begin(EMPTY)
        path = database.clone.path

        one.take_back(database, "test_it")
        assert path.exists()
        one.settle("test_it")

        assert not path.exists()
        assert one.tally.seconds > 0
        assert one.count().kept == []

    @pytest.mark.parametrize("has_failed", [False, True])
    def test_what_it_left_open_is_warned_of_unless_it_failed(self, current, tmp_path, has_failed):
        one = current()
        [database] = one.databases
        database.begin(EMPTY)
        sites = [(str(tmp_path / "a.py"), 3), None]
        database.redirect.held = sites.copy()
        place = Place("sqlite", str(tmp_path / "real.db"))
        database.redirect.strays[place] = sites[0]
        if has_failed:
            one.describe("test_it")
            one.take_back(database, "test_it")
            return

        with pytest.warns(OpenConnectionWarning) as caught, pytest.raises(EngineError):
            one.take_back(database, "test_it")

        words = "a connection to the test's database was still open: {} took it"
        assert [str(warning.message) for warning in caught] == [
            words.format("a.py line 3"), words.format("code outside the project")
        ]  # fmt: skip
        assert (caught[0].filename, caught[0].lineno) == sites[0]

    def test_its_report_has_each_database_in_use_or_ended(self, current):
        one = current("default", "billing")
        first, second = one.databases
        for database in one.databases:
            database.begin(EMPTY, shared=Shared("ada", "module") if database is second else None)
        write(first.clone)
        first.redirect.lines = ["not flushed: x"]

        in_use = one.describe("test_it")
        kept = one.kept.paths[first.clone]
        one.take_back(first, "test_it")
        one.take_back(second, "test_it")
        ended = one.describe("test_it")
        others = one.describe("test_it", is_own=False)

        found = f"{kept}\nopen it: sqlite3 {kept}\ncompared with the snapshot:\n"
        assert in_use == [
            f"database default: not flushed: x\n{found}table notes: not in the snapshot",
            "database billing: the test did not open its database",
        ]
        assert ended == [in_use[0].replace("not flushed: x\n", ""), in_use[1]]
        assert others == [in_use[1]]
        one.settle("test_it")
        assert kept.exists()
        assert one.describe("test_it") == []
        assert one.count().kept == [str(kept)]

    def test_where_there_is_one_database_it_is_not_named(self, current, tmp_path):
        one = current()
        [database] = one.databases
        database.begin(EMPTY)
        place = Place("sqlite", str(tmp_path / "real.db"))
        database.redirect.strays[place] = (str(tmp_path / "a.py"), 3)

        assert one.describe("test_it") == [
            "test_it asked for a database and did not use it: a.py line 3 opened 'real.db'\nhint: "
            'if it is the application\'s database, write engine = "sqlite:///real.db" in '
            "[tool.alembic-snapshot]",
            "the test did not open its database",
        ]
        with pytest.raises(EngineError, match="did not use it"):
            one.after_call("test_it")

    def test_its_sql_is_that_of_each_clone_on_which_some_was_run(self, current):
        one = current("default", "billing")
        first, second = one.databases
        assert one.sql() == []
        for database in one.databases:
            database.begin(EMPTY)
        assert one.sql() == []
        second.redirect.recording.add(Step(1, EXECUTE, "SELECT 2"))
        assert one.sql() == ["SELECT 2"]
        first.redirect.recording.add(Step(1, EXECUTE, "SELECT 1"))
        one.take_back(second, "test_it")
        assert one.sql() == ["SELECT 1", "SELECT 2"]

    @pytest.mark.parametrize("whose", ["all", "none"])
    def test_all_are_kept_if_that_was_said(self, current, whose):
        one = current(whose=whose)
        [database] = one.databases
        database.begin(EMPTY)
        path = database.clone.path
        one.take_back(database, "test_it")

        one.settle("test_it")

        assert not path.exists()
        assert len(one.count().kept) == (whose == "all")

    def test_what_was_put_aside_is_described_and_deleted(self, current):
        one = current()
        [database] = one.databases
        one.put_aside(database)
        database.begin(EMPTY, making="ada")
        path = database.clone.path

        one.put_aside(database)
        assert len(one.describe("test_it", is_own=False)) == 1
        one.kept.paths.clear()
        one.settle("test_it")

        assert (database.clone, path.exists()) == (None, False)

    def test_states_are_deleted_and_one_that_can_not_be_keeps_no_other(self, current):
        class State:
            def __init__(self, error=None):
                self.error, self.is_gone = error, False

            def delete(self):
                self.is_gone = True
                if self.error:
                    raise self.error

        one = current()
        states = [State(), State(CloneError("first", hint="x")), State()]
        for state in states:
            one.delete_later(state)

        assert refused(one.settle, "test_it")[1] == "first"
        assert all(state.is_gone for state in states)
        one.settle("test_it")
        more = [State(), State(CloneError("again", hint="x"))]
        for state in more:
            one.delete_later(state)
        one.close()
        assert all(state.is_gone for state in more)

    def test_at_the_end_of_the_run_everything_is_let_go(self, current):
        one = current("default", "billing")
        for database in one.databases:
            database.begin(EMPTY)
            write(database.clone)
        paths = [database.clone.path for database in one.databases]
        one.take_back(one.databases[0], "test_it")
        one.take_back(one.databases[1], "test_it")

        one.close()

        assert not any(path.exists() for path in paths)

    def test_what_was_refused_and_caught_is_told(self, current):
        one = current()

        def refuse(message):
            with contextlib.suppress(Exception), one.notices.noting():
                raise EngineError(message, hint="ask")

        refuse("a")
        found = refused(one.after_call, "test_it")
        assert found == (
            EngineError,
            "test_it passed, although something caught this: a",
            "ask; a test that expects it says so: pytest.raises(EngineError)",
        )
        one.after_call("test_it")
        refuse("b")
        assert refused(one.after_teardown, "test_it")[1].endswith("caught this: b")
        refuse("c")
        one.before_teardown()
        one.after_teardown("test_it")

    def test_what_was_refused_outside_of_a_test_is_kept_for_the_end(self, current):
        one = current()
        for number in range(5):
            with contextlib.suppress(Exception), one.notices.noting():
                raise EngineError(str(number), hint="ask")
            one.begin("test_it", ["a node"], ())
        one.notices.outside.append(EngineError("outside", hint="ask"))
        one.notices.let_through.update([("a.py::test_x", "x"), ("", "y")])

        tally = one.count()

        assert (tally.refused, tally.refused_more) == (["0", "1", "2"], 3)
        assert (tally.unguarded, tally.unguarded_tests) == (2, 1)
        assert one.notices.outside == []

    def test_after_its_clone_was_taken_back_something_goes_on(self, current):
        one = current()
        [database] = one.databases
        assert one.notices.ending() is None
        database.begin(EMPTY, shared=Shared("ada", "module"))
        one.take_back(database, "test_it")
        assert one.notices.ending() is None
        database.begin(EMPTY)
        one.take_back(database, "test_it")

        assert one.notices.ending() == (
            "a hook, a finalizer or a thread uses the database after the test's clone was taken "
            "back",
            "do it in a fixture that takes db_clone, after its yield",
        )
        one.settle("test_it")
        assert one.notices.ending() is None
