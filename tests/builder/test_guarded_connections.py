"""G2, in one process: what the guard says of each connection, and where it lets each lead."""

from __future__ import annotations

import contextlib
import sqlite3
import sys
import types

import pytest
import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.pool import Pool

from alembic_snapshot.builder.guard import Guard
from alembic_snapshot.builder.redirected import RedirectedName, mark, place_of
from alembic_snapshot.database.identity import Place, file_place
from alembic_snapshot.errors import GuardError
from alembic_snapshot.project.callsite import Callsites

ONLY = "only the snapshot may be opened"


class Target:
    """What is built: a file, or a database of a server."""

    def __init__(self, name, server=None):
        self.target = types.SimpleNamespace(name=name)
        self.server = server

    def server_guard(self, refuse):
        if self.server is not None:
            self.server.refuse = refuse
        return self.server


class Server:
    """The part of a server's guard that is asked for each connection."""

    def __init__(self):
        self.log = []
        self.target = types.SimpleNamespace(
            rewrite_connect_args=lambda _dialect, _cargs, cparams: cparams.update(dbname="built")
        )

    def install(self):
        self.log.append("installed")

    def allows(self, cparams):
        return cparams["dbname"] == "built"

    def database_of(self, cparams):
        return cparams["dbname"]

    @contextlib.contextmanager
    def own_work(self):
        self.log.append("begin")
        yield
        self.log.append("end")


@pytest.fixture
def target(tmp_path):
    return str(tmp_path / "snapshot.db")


@pytest.fixture
def guarding(tmp_path, target, monkeypatch):
    """Has a guard watch this process until the test is over; what audits is called by hand."""
    guards, opened = [], []

    def install(*, redirect=True, server=None):
        monkeypatch.setattr(sys, "addaudithook", lambda hook: None)
        monkeypatch.setattr(sqlite3, "connect", sqlite3.connect)
        monkeypatch.setattr(sqlite3.dbapi2, "connect", sqlite3.dbapi2.connect)
        guard = Guard(Target(target, server), Callsites(tmp_path), redirect)
        guard.install()
        guards.append(guard)
        return guard

    def note(_connection, record):
        opened.append(record)

    event.listen(Pool, "connect", note)
    yield install
    event.remove(Pool, "connect", note)
    # A line of the project's leaves them open, and a newer Python warns of each.
    for record in opened:
        record.invalidate()
    for guard in guards:
        event.remove(sa.Engine, "do_connect", guard._on_do_connect)
        event.remove(Pool, "checkout", guard._on_checkout)
        event.remove(sa.Engine, "before_cursor_execute", guard._on_execute)


@pytest.fixture
def guard(guarding):
    return guarding()


@pytest.fixture
def env(tmp_path):
    """Runs a line of the project's, in line 1 of a file of it."""
    scope = {"sa": sa, "sqlite3": sqlite3}

    def run(line, **values):
        exec(compile(line, str(tmp_path / "env.py"), "exec"), scope | values)

    return run


def tried(what, why, who=""):
    return f"{who}env.py line 1 tried {what} while the snapshot was built: {why}"


def url(tmp_path, name):
    return f"sqlite:///{tmp_path / name}"


class TestEnvPy:
    def test_is_redirected_from_other_files_and_that_is_told(self, guard, env, tmp_path, target):
        other = str(tmp_path / "other.db")
        engine = sa.create_engine(url(tmp_path, "other.db"))

        env("engine.connect().close(); engine.dispose(); engine.connect().close()", engine=engine)
        env("sa.create_engine(snapshot).connect()", snapshot=f"sqlite:///{target}")
        env("sa.create_engine('sqlite://').connect()")

        line = f"env.py line 1 connects to {other!r}, which was redirected to the snapshot"
        assert guard.redirected == [line, line]
        assert guard.databases == [file_place(other)] * 2
        assert guard.refused == []
        assert not (tmp_path / "other.db").exists()

    def test_is_refused_all_of_it_where_nothing_is_redirected(self, guarding, env, tmp_path):
        guard = guarding(redirect=False)
        other = str(tmp_path / "other.db")

        with pytest.raises(GuardError) as told:
            env("sa.create_engine(other).connect()", other=f"sqlite:///{other}")

        assert told.value.message == tried(f"to connect to {other!r}", ONLY)
        assert [f"{line}: {ONLY}" for line in guard.refused] == [told.value.message]
        assert guard.redirected == guard.databases == []

    def test_is_refused_where_a_name_is_given_in_a_way_that_can_not_be_redirected(self, guard):
        record = types.SimpleNamespace(info={})
        dialect = types.SimpleNamespace(name="sqlite")

        with pytest.raises(GuardError, match=r"tried to connect to '/real\.db' while"):
            guard._on_do_connect(dialect, record, [], {"database": "/real.db"})

        mark(record, file_place("/real.db"))
        guard._on_do_connect(dialect, record, [], {"database": guard.target.target.name})
        assert place_of(record) is None
        guard._on_do_connect(dialect, record, [], {})

    @pytest.mark.parametrize(
        ("name", "what", "why"),
        [
            ("mysql", "MySQL", "MySQL is not supported, and the snapshot is a SQLite file"),
            ("own", "own", "own is not supported, and the snapshot is a SQLite file"),
            ("postgresql", "postgresql", "the snapshot is a SQLite file"),
        ],
    )
    def test_is_refused_another_kind_of_database(self, guard, name, what, why):
        dialect = types.SimpleNamespace(name=name)

        with pytest.raises(GuardError) as told:
            guard._on_do_connect(dialect, types.SimpleNamespace(info={}), [], {})

        assert told.value.message == (
            f"code outside the project tried to connect to a {what} database while the snapshot "
            f"was built: {why}"
        )

    def test_is_refused_what_it_opens_past_sqlalchemy(self, guard, tmp_path, target):
        for name in (target, ":memory:", "", b":memory:"):
            guard._on_audit("sqlite3.connect", (name,))
        guard._on_audit("sqlite3.connect/handle", ("/real.db",))

        with pytest.raises(GuardError, match=r"tried to connect to '/real\.db' while"):
            guard._on_audit("sqlite3.connect", (b"/real.db",))

    def test_may_attach_the_snapshot_and_what_has_no_file(self, guard, env, target):
        with contextlib.closing(sqlite3.connect(":memory:")) as connection:
            connection.execute("attach ':memory:' as memory")
            connection.execute("attach '' as temporary")
            connection.execute(f"attach '{target}' as snapshot")
            connection.execute("vacuum")
            assert guard.refused == []

            with pytest.raises(sqlite3.DatabaseError, match="not authorized"):
                connection.execute("attach '/real.db' as other")

            # A name that is bound is not told.
            with pytest.raises(sqlite3.DatabaseError, match="not authorized"):
                env("connection.execute('attach ? as o', [':memory:'])", connection=connection)

        said = "tried to attach {} while the snapshot was built"
        assert guard.refused == [
            f"code outside the project {said.format(repr('/real.db'))}",
            f"env.py line 1 {said.format('a database')}",
        ]


class TestARevision:
    @pytest.fixture
    def other(self, guard, tmp_path):
        """An engine of another database, which was opened while env.py ran."""
        engine = sa.create_engine(url(tmp_path, "other.db"))
        with engine.connect() as connection:
            connection.execute(sa.text("create table if not exists t (x)"))
            connection.commit()
        return engine

    def refused(self, guard, action, message):
        with guard.script("revision a"), pytest.raises(GuardError) as told:
            action()
        assert told.value.message == message

    def test_is_refused_what_env_py_was_redirected_from(self, guard, other, env, tmp_path):
        who, what = "revision a, ", "'other.db'"
        held = sa.create_engine(other.url).connect()

        self.refused(
            guard, lambda: env("other.connect()", other=other),
            tried(f"to connect to {what}", ONLY, who),
        )  # fmt: skip
        self.refused(
            guard, lambda: env("held.execute(sa.text('select 1'))", held=held),
            tried(f"to use a connection to {what} that was open", "only the snapshot may be used",
                  who),
        )  # fmt: skip
        full = repr(str(tmp_path / "other.db"))
        self.refused(
            guard, lambda: env("sa.create_engine(url).connect()", url=other.url),
            tried(f"to connect to {full}", ONLY, who),
        )  # fmt: skip
        assert len(guard.redirected) == 2

    def test_may_end_what_is_open_and_nothing_else(self, guard, other):
        driver = other.raw_connection().driver_connection
        driver.isolation_level = None
        driver.execute("begin")
        driver.execute("savepoint s")
        driver.execute("select * from t")

        with guard.script("revision a"):
            driver.execute("release s")
            driver.execute("rollback")
            # It was prepared before the revision ran.
            with pytest.raises(sqlite3.DatabaseError, match="not authorized"):
                driver.execute("select * from t")
        (line,) = guard.refused
        assert line == (
            "revision a, code outside the project tried to use a connection to 'other.db' that "
            "was open while the snapshot was built"
        )
        driver.execute("select * from t")

    def test_may_ask_again_for_what_env_py_migrates_where_it_reopens(self, guard, other, tmp_path):
        with other.connect() as connection:
            assert guard.migrates(connection)
        told = [*guard.redirected]

        with guard.script("revision a", reopens=True):
            with other.connect() as connection:
                connection.execute(sa.text("select * from t"))
            sa.create_engine(other.url).connect().close()
            with pytest.raises(GuardError):
                sa.create_engine(url(tmp_path, "third.db")).connect()
        with guard.script("seed"), pytest.raises(GuardError):
            other.connect()
        assert guard.redirected == told
        assert len(guard.databases) == len(told)

    def test_is_told_from_the_one_that_it_runs_in(self, guard, other):
        with guard.script("outer", reopens=True):
            with contextlib.suppress(ZeroDivisionError), guard.script("inner"):
                assert guard.running == "inner"
                raise ZeroDivisionError
            assert guard.running == "outer"
            assert guard._reopens
        assert guard.running is None
        assert not guard._reopens

    def test_is_not_refused_the_snapshot(self, guard, target):
        engine = sa.create_engine(f"sqlite:///{target}")
        held = engine.connect()

        with guard.script("revision a"):
            held.execute(sa.text("create table t (x)"))
            engine.connect().execute(sa.text("select 1"))

        assert guard.refused == guard.redirected == []


class TestWhatIsMigrated:
    def test_is_one_database(self, guard, tmp_path, target):
        engines = [sa.create_engine(url(tmp_path, name)) for name in ("b.db", "a.db")]
        connections = [engine.connect() for engine in engines]
        assert guard.migrates(connections[0])
        assert guard.migrates(connections[0])

        with pytest.raises(GuardError) as told:
            guard.migrates(connections[1])

        message = "it migrates several databases, {}, and a snapshot is one"
        assert told.value.message == message.format("'a.db' and 'b.db'")
        assert told.value.hint == (
            "let the others be in memory, sqlite://, or leave them out: with a section of "
            "Alembic's configuration, a variable in environment, or another context"
        )
        with pytest.raises(GuardError) as told:
            guard.migrates(sa.create_engine(f"sqlite:///{target}").connect())
        assert told.value.message == message.format("the snapshot's and 'a.db' and 'b.db'")

    def test_is_not_what_is_in_memory(self, guard, tmp_path):
        memory = sa.create_engine("sqlite://").connect()

        assert guard.migrates(sa.create_engine(url(tmp_path, "a.db")).connect())
        assert not guard.migrates(memory)

    def test_may_be_told_by_what_is_no_connection(self, guard):
        assert guard.migrates(None)
        assert guard.migrates(types.SimpleNamespace(info={}))

    def test_on_a_server_is_asked_nothing_that_sqlite_alone_can_answer(self, guard):
        dialect = types.SimpleNamespace(name="postgresql")

        with contextlib.closing(sqlite3.connect(":memory:")) as memory:
            found = types.SimpleNamespace(info={}, dialect=dialect, connection=memory)
            assert guard.migrates(found)


class TestTheBuildersOwnWork:
    def test_is_let_through_while_it_lasts(self, guard, tmp_path, target):
        own, other = str(tmp_path / "own.db"), str(tmp_path / "other.db")

        with contextlib.suppress(ZeroDivisionError), guard.own_work(own, target):
            guard._on_audit("sqlite3.connect", (own,))
            with pytest.raises(GuardError):
                guard._on_audit("sqlite3.connect", (other,))
            raise ZeroDivisionError

        guard._on_audit("sqlite3.connect", (target,))
        with pytest.raises(GuardError):
            guard._on_audit("sqlite3.connect", (own,))

    def test_may_be_within_its_own(self, guard, tmp_path):
        own = str(tmp_path / "own.db")

        with guard.own_work(own):
            with guard.own_work(own):
                guard._on_audit("sqlite3.connect", (own,))
            guard._on_audit("sqlite3.connect", (own,))

    def test_on_a_server_is_the_servers(self, guarding):
        guard = guarding(server=Server())

        with guard.own_work("anything"):
            guard._server.log.append("works")

        assert guard._server.log == ["installed", "begin", "works", "end"]


class TestOnAServer:
    @pytest.fixture
    def server(self, guarding):
        return guarding(server=Server())

    def connect(self, guard, name="postgresql", cargs=(), **cparams):
        record = types.SimpleNamespace(info={})
        cargs = list(cargs)
        guard._on_do_connect(types.SimpleNamespace(name=name), record, cargs, cparams)
        return place_of(record), cparams

    def test_env_py_is_redirected_from_other_databases(self, server):
        asked = {"host": "db", "port": "5433"}

        assert self.connect(server, dbname="built", **asked)[0] is None
        place, cparams = self.connect(server, dbname="real", **asked)

        assert place == Place("postgresql", "real", "db", 5433)
        assert server.databases == [place]
        assert cparams["dbname"] == "built"
        assert server.redirected == [
            "code outside the project connects to 'real', which was redirected to the snapshot"
        ]

    def test_a_revision_is_refused_them(self, server):
        with server.script("revision a"), pytest.raises(GuardError) as told:
            self.connect(server, dbname="real", host="db")

        assert told.value.message == (
            "revision a, code outside the project tried to connect to 'real' while the snapshot "
            f"was built: {ONLY}"
        )

    def test_a_file_is_another_kind_of_database(self, server, target):
        for name in ("/real.db", target):
            with pytest.raises(GuardError) as told:
                self.connect(server, "sqlite", [name])
            assert told.value.message.endswith(
                f"tried to connect to {name!r}, a SQLite file while the snapshot was built: the "
                "snapshot is on PostgreSQL"
            )
        assert self.connect(server, "sqlite", [":memory:"]) == (None, {})


class TestARedirectedName:
    def test_is_opened_whatever_arguments_are_given(self, guard, target, tmp_path):
        name = RedirectedName(target, file_place(tmp_path / "other.db"))

        class Own(sqlite3.Connection):
            pass

        given = () if sys.version_info >= (3, 12) else (5.0, 0, None, True, Own, 100)
        named = {"factory": Own} if not given else {}
        with contextlib.closing(sqlite3.connect(name, *given, **named)) as connection:
            assert type(connection) is Own
            connection.execute("create table t (x)")
            connection.execute("select * from t")

            with guard.script("revision a"), pytest.raises(sqlite3.DatabaseError):
                connection.execute("select * from t")
            with guard.script("revision a"), pytest.raises(sqlite3.DatabaseError):
                connection.execute("attach ':memory:' as o")
            with pytest.raises(sqlite3.DatabaseError, match="not authorized"):
                connection.execute("attach '/real.db' as o")

    def test_may_be_opened_without_a_name(self, guard):
        opened = contextlib.closing(sqlite3.connect(database=":memory:"))

        with opened as own, pytest.raises(sqlite3.DatabaseError, match="not authorized"):
            own.execute("attach '/real.db' as o")

    @pytest.mark.parametrize("options", [{}, {"factory": type("Own", (sqlite3.Connection,), {})}])
    def test_in_memory_may_be_given_a_database_as_bytes(self, guard, tmp_path, options):
        with contextlib.closing(sqlite3.connect(":memory:")) as made:
            made.execute("create table t (v)")
            content = made.serialize()

        with contextlib.closing(sqlite3.connect(":memory:", **options)) as connection:
            assert isinstance(connection, options.get("factory", sqlite3.Connection))
            connection.deserialize(content)

            assert connection.execute("select * from t").fetchall() == []
            with pytest.raises(sqlite3.DatabaseError, match="not authorized"):
                connection.execute(f"attach '{tmp_path / 'x'}' as other")
        assert not (tmp_path / "x").exists()
