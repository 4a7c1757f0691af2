"""What the log's records mean, and what is put back by them, on a real server."""

from __future__ import annotations

import contextlib
import select

import psycopg
import pytest
from psycopg import sql

from alembic_snapshot.errors import CloneError
from alembic_snapshot.postgres.database import ServerDatabase
from alembic_snapshot.postgres.pool import Pool
from alembic_snapshot.postgres.reset.changes import SCHEMA, Record, Relation, judge
from alembic_snapshot.postgres.reset.clones import LastingDatabases
from alembic_snapshot.postgres.reset.database import LastingDatabase
from alembic_snapshot.postgres.reset.log import Log
from alembic_snapshot.postgres.server import Server
from tests.server import as_role
from tests.waiting import until

OURS, OTHER, SPACE = 16500, 16600, 1663
RELATIONS = {
    (SPACE, 1): Relation("table", 101),
    (SPACE, 2): Relation("toast", 101),
    (SPACE, 3): Relation("index", 101),
    (SPACE, 4): Relation("sequence", 104),
}


def record(manager, kind, file=None, database=OURS, description=None, is_read=True):
    space = None if file is None else SPACE
    place = None if file is None else database
    return Record(manager, kind, is_read, space, place, file, description)


HARMLESS = [
    ("Transaction", "COMMIT"),
    ("Standby", "RUNNING_XACTS"),
    ("XLOG", "CHECKPOINT_ONLINE"),
    ("LogicalMessage", "MESSAGE"),
    ("Heap", "TRUNCATE"),
    ("Heap2", "NEW_CID"),
    ("Heap2", "REWRITE"),
    ("Database", "CREATE_FILE_COPY"),
    ("Heap", "INSERT", 9, OTHER),
    ("Rmgr of tomorrow", "ANY", 9, OTHER),
    ("Heap", "LOCK", 1),
    ("Heap2", "PRUNE_ON_ACCESS", 1),
    ("Heap2", "PRUNE", 9),
    ("XLOG", "FPI_FOR_HINT", 4),
    ("Btree", "INSERT_LEAF", 3),
    ("Rmgr of tomorrow", "ANY", 3),
    ("Storage", "CREATE", None, OURS, f"base/{OTHER}/5"),
    ("Storage", "TRUNCATE", None, OURS, f"pg_tblspc/1/PG_15_1/{OTHER}/5 to 0 blocks"),
    ("Storage", "CREATE", None, OURS, "global/5"),
    ("RelMap", "UPDATE", None, OURS, f"database {OTHER} tablespace 1663 size 512"),
]
FRESH = [
    ("Heap", "INSERT", 9),
    ("Heap", "INPLACE", 9),
    ("Heap", "LOCK", 9),
    ("Btree", "INSERT_LEAF", 9),
    ("Heap", "INPLACE", 1),
    ("Heap", "TRUNCATE", 1),
    ("Heap2", "NEW_CID", 1),
    ("Heap", "KIND OF TOMORROW", 1),
    ("Heap", "INSERT+OF TOMORROW", 1),
    ("XLOG", "FPI", 1),
    ("Generic", "Generic", 1),
    ("Heap", "INSERT", 4),
    ("Rmgr of tomorrow", "ANY"),
    ("Rmgr of tomorrow", "ANY", 1),
    ("Storage", "CREATE", None, OURS, f"base/{OURS}/5"),
    ("Storage", "TRUNCATE", None, OURS, f"pg_tblspc/1/PG_15_1/{OURS}/5 to 0 blocks"),
    ("Storage", "CREATE", None, OURS, "somewhere else"),
    ("Storage", "CREATE"),
    ("RelMap", "UPDATE", None, OURS, f"database {OURS} tablespace 1663 size 512"),
    ("RelMap", "UPDATE"),
    ("Heap", "INSERT", 1, OURS, None, False),
]
WRITING = {
    ("Heap", "INSERT", 1): {"inserted"},
    ("Heap", "INSERT+INIT", 1): {"inserted"},
    ("Heap2", "MULTI_INSERT", 1): {"inserted"},
    ("Heap", "HEAP_CONFIRM", 1): {"inserted"},
    ("Heap", "INSERT", 2): {"inserted"},
    ("Heap", "DELETE", 1): {"changed"},
    ("Heap", "DELETE", 2): {"changed"},
    ("Heap", "UPDATE+INIT", 1): {"changed"},
    ("Heap", "HOT_UPDATE", 1): {"changed"},
    ("Sequence", "LOG", 4): {"sequences"},
    ("Heap", "INSERT", 7, 0): {"shared"},
    ("Transaction", "PREPARE"): {"prepared"},
}


def judged(*parts):
    changes = judge([record(*parts)], OURS, RELATIONS)
    return changes.obstacle, {name for name, value in vars(changes).items() if value}


@pytest.mark.parametrize("parts", HARMLESS)
def test_a_record_that_leaves_nothing_is_known(parts):
    assert judged(*parts) == (None, set())


@pytest.mark.parametrize("parts", FRESH)
def test_a_record_that_is_not_known_is_a_reason_for_a_fresh_clone(parts):
    assert judged(*parts)[0]


@pytest.mark.parametrize("parts", WRITING)
def test_a_record_of_rows_and_values_says_whose_they_are(parts):
    assert judged(*parts) == (None, WRITING[parts])


def test_of_several_records_all_count():
    records = [record(*parts) for parts in WRITING]

    changes = judge(records, OURS, RELATIONS)

    assert (changes.tables, changes.changed, changes.sequences) == ({101}, {101}, {104})
    assert judge([*records, record("Heap", "INSERT", 9)], OURS, RELATIONS).obstacle == SCHEMA


class Bench:
    """A clone with what a test needs of it."""

    def __init__(self, server, *statements, known=None):
        self.server = server
        self.known = {} if known is None else known
        self.template = ServerDatabase(server, "alembic_bench")
        self.template.start(None)
        with server.connect(self.template.name) as connection:
            for statement in statements:
                connection.execute(statement)
        self.template.seal()
        self.pool = Pool(server)
        self.log = Log(server)
        database = self.pool.take(self.template.name)
        self.lasting = LastingDatabase(
            self.log, database, self.template.name, self.known, self.pool.drop
        )
        self.connection = psycopg.connect(
            server.address(database.name).replace("+psycopg", ""), autocommit=True
        )
        self.lasting.sessions.note(self.connection)
        self.state = self.lasting.sessions.state_of(self.connection, None)

    def put_back(self, *statements):
        """Execute something as a test, and put the database back; the reason if it is not."""
        self.lasting.sessions.begin()
        for statement in statements:
            self.connection.execute(statement)
        if not self.connection.closed:
            self.lasting.sessions.is_as_it_was(self.connection, self.state)
        return self.lasting.put_back()

    def ask(self, query):
        return self.connection.execute(query).fetchall()

    def close(self):
        self.connection.close()
        self.lasting.close()
        self.log.close()
        self.pool.close()
        self.template.remove()


@pytest.fixture
def bench(postgres):
    with contextlib.ExitStack() as stack:

        def made(*statements, **options):
            return stack.enter_context(contextlib.closing(Bench(postgres, *statements, **options)))

        yield made


TABLE = "CREATE TABLE t (id serial PRIMARY KEY, name text)"
ROWS = "INSERT INTO t (name) SELECT 'row ' || i FROM generate_series(1, {}) i"
REST = "SELECT ctid::text, * FROM t"


def test_rows_that_were_not_touched_stay_where_they_are(bench):
    found = bench(TABLE, ROWS.format(500))
    before = found.ask(REST)

    assert found.put_back("INSERT INTO t (name) VALUES ('a'), ('b')") is None

    assert found.ask(REST) == before
    assert found.lasting.resets == 1


def test_rows_that_were_changed_come_back_in_their_order(bench):
    found = bench(TABLE, ROWS.format(500))
    before = found.ask("SELECT * FROM t")

    assert found.put_back("UPDATE t SET name = 'x' WHERE id % 2 = 0") is None

    assert found.ask("SELECT * FROM t") == before


def test_what_came_back_and_was_not_touched_since_stays(bench):
    found = bench(TABLE, ROWS.format(5))
    before = found.ask("SELECT * FROM t")

    assert found.put_back("DELETE FROM t") is None
    assert found.put_back("INSERT INTO t (name) VALUES ('a')") is None

    assert found.ask("SELECT * FROM t") == before


@pytest.mark.parametrize("change", ["UPDATE g SET name = 'x'", "DELETE FROM g WHERE n = 5"])
@pytest.mark.parametrize("is_other", [True, False])
def test_a_stored_value_that_would_be_computed_in_another_way_is_a_reason(bench, change, is_other):
    function = "CREATE OR REPLACE FUNCTION f(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT {}'"
    found = bench(
        function.format("$1 * 2"),
        'CREATE TABLE g (name text, n int, "it is" int GENERATED ALWAYS AS (f(n)) STORED)',
        "INSERT INTO g SELECT 'row', i FROM generate_series(1, 9) i",
        *([function.format("$1 * 3")] if is_other else []),
    )
    before = found.ask("SELECT * FROM g")

    reason = found.put_back(change)

    assert (reason or "").endswith("did not come back as they were") == is_other
    assert is_other or found.ask("SELECT * FROM g") == before


def test_what_is_known_of_a_snapshot_is_not_taken_for_one_that_was_made_again(bench, postgres):
    table = "CREATE UNLOGGED TABLE u AS SELECT '{}' AS name"
    old = bench(table.format("old"))
    old.template.remove()
    new = bench(table.format("new"), known=old.known)

    assert new.put_back("DELETE FROM u") is None

    assert new.ask("SELECT * FROM u") == [("new",)]
    assert len(new.known) == 2


def test_a_subscription_is_a_reason_for_a_fresh_clone(bench):
    found = bench(TABLE)

    reason = found.put_back(
        "CREATE SUBSCRIPTION s CONNECTION 'dbname=nowhere' PUBLICATION p "
        "WITH (connect = false, slot_name = NONE)"
    )

    assert "a subscription" in reason


def test_a_replication_slot_is_a_reason_for_a_fresh_clone(bench):
    found = bench(TABLE)
    try:
        reason = found.put_back("SELECT pg_create_logical_replication_slot('left', 'pgoutput')")
    except psycopg.errors.ObjectNotInPrerequisiteState:
        pytest.skip("the server has no logical replication")

    assert reason == "a replication slot is left"


def test_nothing_is_written_after_a_test_that_wrote_nothing(bench):
    found = bench(TABLE, ROWS.format(5))

    assert found.put_back("SELECT * FROM t") is None
    assert found.put_back("SELECT * FROM t FOR UPDATE") is None

    assert found.lasting.resets == 0


def test_a_sequence_is_as_it_was_although_its_next_values_had_been_logged_before(bench):
    found = bench(TABLE, "SELECT nextval('t_id_seq')")

    for _ in range(2):
        assert found.ask("SELECT nextval('t_id_seq')") == [(2,)]
        assert found.put_back() is None


def test_rows_of_a_table_with_too_many_can_be_added_and_not_changed(bench, monkeypatch):
    monkeypatch.setattr("alembic_snapshot.postgres.reset.pristine.MOST_BYTES", 8192)
    found = bench(TABLE, ROWS.format(5000))
    before = found.ask(REST)

    assert found.put_back("INSERT INTO t (name) VALUES ('a')") is None
    assert found.ask(REST) == before
    assert "has too many to keep them" in found.put_back("DELETE FROM t WHERE id = 5")


def test_what_has_grown_needs_a_fresh_clone(bench):
    found = bench(TABLE)

    assert found.put_back(ROWS.format(50_000)) == "tables have grown"


def test_a_clone_is_put_back_a_hundred_times(bench):
    found = bench(TABLE)

    for _ in range(100):
        assert found.put_back("INSERT INTO t (name) VALUES ('a')") is None
    assert "100 times" in found.put_back("INSERT INTO t (name) VALUES ('a')")


def test_a_quiet_trigger_or_rule_is_no_obstacle_and_another_is(bench):
    function = """
        CREATE FUNCTION loud() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION 'loud'; END $$
    """
    trigger = "CREATE TRIGGER loud BEFORE DELETE ON {0} FOR EACH ROW EXECUTE FUNCTION loud()"
    found = bench(
        TABLE,
        "CREATE TABLE always (id int)",
        function,
        trigger.format("t"),
        trigger.format("always"),
        "ALTER TABLE always ENABLE ALWAYS TRIGGER loud",
        "CREATE RULE kept AS ON DELETE TO t DO INSTEAD NOTHING",
    )

    assert found.put_back("INSERT INTO t (name) VALUES ('a')") is None
    assert found.ask("SELECT count(*) FROM t") == [(0,)]
    assert "can't be kept quiet" in found.put_back("INSERT INTO always VALUES (1)")


def test_an_unlogged_table_is_always_put_back(bench):
    found = bench("CREATE UNLOGGED TABLE u (id serial, name text)", "INSERT INTO u VALUES (5, 'x')")

    for change in ("INSERT INTO u (name) VALUES ('a')", "UPDATE u SET name = 'y'", "DELETE FROM u"):
        assert found.put_back(change) is None
        assert found.ask("SELECT * FROM u") == [(5, "x")]


def test_a_login_trigger_is_an_obstacle(bench, postgres):
    if postgres.facts.version < 17_00_00:
        pytest.skip("PostgreSQL has login triggers from 17 on")
    found = bench(
        TABLE,
        "CREATE FUNCTION hello() RETURNS event_trigger LANGUAGE plpgsql AS "
        "$$ BEGIN INSERT INTO t (name) VALUES ('hello'); END $$",
        "CREATE EVENT TRIGGER hello ON login EXECUTE FUNCTION hello()",
    )

    assert "called by every connection" in found.put_back("SELECT 1")


UNKNOWN = [
    ("dblink", "SELECT dblink_get_connections()"),
    ("isn", "SELECT isn_weak(true)"),
    ("pg_walinspect", "SELECT 1"),
]
KEPT = (
    "SELECT setseed(0.5)",
    'SELECT "setseed"(0.5)',
    "SET seed TO 0.5",
    "SELECT set_config('shop.tenant', '5', false)",
    "SET shop.tenant = '5'",
    sql.SQL("SET {} = '5'").format(sql.Identifier("shop", "tenant")),
    b"SET shop.tenant = '5'",
    "DO $$ BEGIN EXECUTE 'SELECT set' || 'seed(0.5)'; END $$",
    "SELECT 1; DO $$ BEGIN PERFORM 1; END $$",
    "SELECT pg_create_physical_replication_slot('of_a_test', false, true)",
    "LOAD 'plpgsql'",
    "set/* c */shop.tenant = '5'",
    "SET SESSION -- c\n shop.tenant = '5'",
    "/* a /* b */ */set local/**/shop/* c */./* c */tenant='5'",
    "SELECT '--'; SET shop.tenant = '5'",
    "-- c\n/* c */DO $$ BEGIN PERFORM 1; END $$",
    "SET--c\nseed TO 0.5",
)
_F = (
    "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql "
    "AS $$ BEGIN PERFORM setseed(1); RETURN NEW; END $$"
)
INDIRECT = {
    "a view": (["CREATE VIEW v AS SELECT setseed(0.5)::text"], "TABLE v"),
    "a default": (
        ["CREATE TABLE d (n int, s text DEFAULT set_config('a.b', 'x', false))"],
        "INSERT INTO d VALUES (1)",
    ),
    "a rule": (
        ["CREATE RULE r AS ON INSERT TO t DO ALSO SELECT setseed(0.5)"],
        "INSERT INTO t (name) VALUES ('x')",
    ),
    "a policy": (
        [
            "ALTER TABLE t ENABLE ROW LEVEL SECURITY",
            "CREATE POLICY p ON t USING (set_config('a.b', 'x', false) = 'x')",
        ],
        "TABLE t",
    ),
    "a constraint": (
        ["CREATE TABLE c (n int CHECK (set_config('a.b', 'x', false) = 'x'))"],
        "INSERT INTO c VALUES (1)",
    ),
    "a condition": (
        [
            "CREATE TRIGGER s BEFORE UPDATE ON t FOR EACH ROW WHEN (set_config('a.b', NEW.name, "
            "false) = 'x') EXECUTE FUNCTION suppress_redundant_updates_trigger()"
        ],
        "UPDATE t SET name = 'x'",
    ),
    "a trigger": (
        [
            _F,
            "CREATE TRIGGER s BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION f()",
        ],
        "UPDATE t SET name = 'x'",
    ),
    "a domain": (
        ["CREATE DOMAIN o AS text CHECK (set_config('a.b', VALUE, false) = VALUE)"],
        "SELECT 'x'::o",
    ),
    "a function's body": (
        ["CREATE FUNCTION f() RETURNS text BEGIN ATOMIC; SELECT setseed(0.5)::text; END"],
        "SELECT f()",
    ),
    "a function's name": (
        ["CREATE FUNCTION f(double precision) RETURNS void LANGUAGE internal AS 'setseed'"],
        "SELECT f(0.5)",
    ),
    "a function in C": (
        ["CREATE FUNCTION f() RETURNS trigger LANGUAGE c AS '$libdir/refint', 'check_primary_key'"],
        "SELECT 1",
    ),
}
PLAIN = (
    "SELECT count(*) FROM t WHERE name IN (SELECT lower(name) FROM t)",
    "INSERT INTO t (name, c) VALUES ('x', 'A')",
    "UPDATE t SET name = upper(name) WHERE c = 'a'",
    "TABLE v",
    "SELECT nextval('t_id_seq'), now(), gen_random_uuid(), random(), pg_advisory_lock(7)",
    "SELECT pg_sleep(0), pg_notify('x', 'y'), lo_create(0)",
    "LISTEN x",
    "BEGIN; DECLARE c CURSOR WITH HOLD FOR TABLE t; COMMIT",
)


def extension(found, name):
    if not found.ask(f"SELECT 1 FROM pg_available_extensions WHERE name = '{name}'"):
        pytest.skip(f"the server has no {name}")
    return f"CREATE EXTENSION {name}"


SETTINGS = (
    "SET work_mem = '7MB'",
    "SET search_path = nowhere",
    "UPDATE pg_settings SET setting = 'America/Lima' WHERE name = 'TimeZone'",
    "UPDATE settings_of_mine SET setting = '3' WHERE name = 'extra_float_digits'",
    "INSERT INTO pg_temp.nothing SELECT 1 FROM nothing; SET LOCAL work_mem = '8MB'",
    "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
)
ALL = "SELECT name, setting, source FROM pg_settings WHERE source <> 'override' ORDER BY name"
HAVING_SETTINGS = ("CREATE TABLE nothing ()", "CREATE VIEW settings_of_mine AS TABLE pg_settings")


@pytest.mark.parametrize("statement", SETTINGS)
@pytest.mark.parametrize("own", [None, "SET work_mem = '5MB'; SET search_path = \"A b\", public"])
def test_a_setting_is_put_back_whatever_changed_it(bench, statement, own):
    found = bench(*HAVING_SETTINGS)
    found.connection.execute("CREATE TEMPORARY TABLE nothing (n int)")
    if own:
        found.connection.execute(own)
        found.state = found.lasting.sessions.state_of(found.connection, None)
    before = found.ask(ALL)

    found.connection.execute(statement)

    assert found.lasting.sessions.is_as_it_was(found.connection, found.state)
    assert found.ask(ALL) == before


def test_a_connection_is_closed_in_which_a_message_waits(bench):
    found = bench(TABLE)

    found.connection.execute("LISTEN here")
    with found.server.connect(found.lasting.database.name) as other:
        other.execute("NOTIFY here, 'of the first test'")
        until(lambda: _has_something_to_read(found.connection), "the message is there")

    assert not found.lasting.sessions.is_as_it_was(found.connection, found.state)


def _has_something_to_read(connection):
    return bool(select.select([connection.fileno()], [], [], 0)[0])


def test_what_a_known_extension_set_is_put_back(bench):
    found = bench()
    found = bench(extension(found, "pg_trgm"))

    found.connection.execute("SELECT set_limit(0.9)")

    assert found.lasting.sessions.is_as_it_was(found.connection, found.state)
    assert found.ask("SELECT show_limit()::text") == [("0.3",)]


@pytest.mark.parametrize(("name", "call"), UNKNOWN)
def test_a_connection_is_closed_where_an_extension_may_keep_something(bench, name, call):
    found = bench()
    found = bench(extension(found, name))

    found.connection.execute(call)

    assert not found.lasting.sessions.is_as_it_was(found.connection, found.state)


@pytest.mark.parametrize("statement", KEPT)
def test_a_connection_is_closed_in_which_something_is_kept_that_nobody_sees(bench, statement):
    found = bench(TABLE)

    # What is refused, as the server is set up, counts as well.
    with contextlib.suppress(psycopg.errors.ObjectNotInPrerequisiteState):
        found.connection.execute(statement)

    assert not found.lasting.sessions.is_as_it_was(found.connection, found.state)


@pytest.mark.parametrize("statement", KEPT[::4])
def test_what_the_application_kept_in_it_at_first_is_not_taken_for_nothing(bench, statement):
    found = bench(TABLE)

    # What is refused, as the server is set up, counts as well.
    with contextlib.suppress(psycopg.errors.ObjectNotInPrerequisiteState):
        found.connection.execute(statement)

    assert found.lasting.sessions.state_of(found.connection, None) is None


@pytest.mark.parametrize("how", INDIRECT)
def test_a_connection_is_closed_where_the_schema_keeps_something(bench, how):
    made, used = INDIRECT[how]
    found = bench(TABLE, ROWS.format(3), *made)

    found.connection.execute(used)

    assert not found.lasting.sessions.is_as_it_was(found.connection, found.state)


@pytest.mark.parametrize("statement", PLAIN)
def test_a_connection_stays_in_which_nothing_is_kept(bench, statement):
    found = bench(
        TABLE,
        "CREATE EXTENSION citext",
        "ALTER TABLE t ADD c citext, ADD u uuid DEFAULT gen_random_uuid(), ADD k int DEFAULT 7, "
        "ADD w timestamptz DEFAULT clock_timestamp()",
        "CREATE VIEW v AS SELECT random(), * FROM t",
    )

    found.connection.execute(statement)

    assert found.lasting.sessions.is_as_it_was(found.connection, found.state)


@pytest.mark.parametrize("way", ["sql", "plpgsql"])
def test_a_setting_that_a_function_leaves_is_noticed(bench, way):
    body = "SELECT set_config('work_mem', '7MB', false)"
    if way == "plpgsql":
        body = "BEGIN SET work_mem = '7MB'; RETURN ''; END"
    found = bench(f"CREATE FUNCTION f() RETURNS text LANGUAGE {way} AS $${body}$$")

    found.connection.execute("SELECT f()")

    assert not found.lasting.sessions.is_as_it_was(found.connection, found.state)
    # It is not closed, and may go on.
    assert "somebody else" in found.lasting.put_back()


def test_the_log_is_read_to_its_end_or_not_at_all(postgres):
    class Forgetful(Log):
        def _rows(self, statements):
            return super()._rows(statements)[:-2]

    with contextlib.closing(Forgetful(postgres)) as log, pytest.raises(CloneError, match="its end"):
        log.read(log.position(), 0)


def test_a_record_whose_blocks_are_not_understood_is_given(postgres):
    class Tomorrow(Log):
        def _rows(self, statements):
            return [("Heap", "INSERT", "block 5 of 1663/1/1", None), *super()._rows(statements)]

    with contextlib.closing(Tomorrow(postgres)) as log:
        found = log.read(log.position(), OURS)

    assert judge(found, OURS, RELATIONS).obstacle


def test_a_role_that_is_no_superuser_is_told(postgres):
    with postgres.connect() as connection:
        connection.execute("DROP ROLE IF EXISTS reader")
        connection.execute("CREATE ROLE reader LOGIN")

    with pytest.raises(CloneError, match="no superuser"):
        Log(Server(as_role(postgres, "reader")))


def test_there_is_no_obstacle_on_a_private_server(postgres):
    clones = LastingDatabases(None)

    assert clones.obstacle() is None
    clones.close()
