"""What may happen to a database on a server in a round of the campaign, and how often."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import psycopg
from sqlalchemy import make_url

from .server_others import Outsider

if TYPE_CHECKING:
    from .server_campaign import ServerCampaign

Connection = psycopg.Connection[Any]
Action = Callable[["ServerCampaign", Connection], None]


def one_of(name: str, *statements: str) -> Action:
    """Executes one of these statements."""

    def action(campaign: ServerCampaign, connection: Connection) -> None:
        statement = campaign.random.choice(statements)
        campaign.done[-1] += f" ({statement[:60]})"
        connection.execute(statement.replace("THIS", campaign.name))

    action.__name__ = name
    return action


def past_transactions(name: str, *statements: str) -> Action:
    """Executes one of these, which can't be in a transaction."""
    inner = one_of(name, *statements)

    def action(campaign: ServerCampaign, connection: Connection) -> None:
        connection.rollback()
        connection.autocommit = True
        try:
            inner(campaign, connection)
        finally:
            connection.autocommit = False

    action.__name__ = name
    return action


def inserts(campaign: ServerCampaign, connection: Connection) -> None:
    number = campaign.random.choice((1, 3, 40))
    names = [f"new {campaign.random.random()}" for _ in range(number)]
    cursor = connection.cursor()
    cursor.executemany("INSERT INTO plain (name) VALUES (%s)", [(name,) for name in names])
    cursor.executemany("INSERT INTO empty (plain, note) VALUES (1, %s)", [(n,) for n in names[:5]])
    cursor.execute("INSERT INTO computed (a) VALUES (7) RETURNING id")


updates = one_of(
    "updates",
    "UPDATE plain SET name = name || '!', amount = amount + 1 WHERE id % 7 = 1",
    "UPDATE plain SET id = id + 1000 WHERE id < 5",
    "UPDATE computed SET a = a + 1, tags = tags || 5 WHERE a % 3 = 0",
    "UPDATE large SET value = value || 'x' WHERE id = 3",
    "UPDATE large SET raw = NULL",
    "UPDATE parted SET at = at + 40 WHERE id % 2 = 0",
    "UPDATE secured SET owner = 'somebody'",
    "UPDATE parent SET name = 'changed'",
    'UPDATE "Other ""1"" one"."a table" SET "a column" = NULL',
    "UPDATE chicken SET egg = NULL",
    "UPDATE booked SET id = id + 1, at = int4range(lower(at) + 10, upper(at) + 10)",
    "MERGE INTO parent USING (VALUES (1), (9)) AS v (id) ON parent.id = v.id "
    "WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT VALUES (9, 'merged')",
)
deletes = one_of(
    "deletes",
    "DELETE FROM plain WHERE id % 3 = 0",
    "DELETE FROM plain",
    "DELETE FROM computed WHERE a < 10",
    "DELETE FROM large",
    "DELETE FROM parted",
    "DELETE FROM child",
    "DELETE FROM egg",
)
adds = one_of(
    "adds",
    "INSERT INTO large SELECT 100, string_agg(md5(i::text), '') FROM generate_series(1, 900) i",
    "INSERT INTO parted VALUES (900, '2019-12-24', 'new'), (901, '2030-01-01', 'new')",
    "INSERT INTO parent VALUES (7, 'new')",
    "INSERT INTO child VALUES (8, 'new', 'new')",
    "INSERT INTO log (what) VALUES ('by hand')",
    "INSERT INTO secured VALUES (9, 'me')",
    "INSERT INTO egg VALUES (5, 5); INSERT INTO chicken VALUES (5, 5)",
    "INSERT INTO empty (note) VALUES ('a'), ('b') ON CONFLICT (note) DO NOTHING",
    "INSERT INTO plain (id, name) VALUES (1, 'x') ON CONFLICT (id) DO UPDATE SET name = 'y'",
    "INSERT INTO volatile (what) VALUES ('new')",
    "DELETE FROM volatile WHERE id < 4; INSERT INTO checked VALUES (3, 3)",
    "INSERT INTO wide VALUES (9999, 'new')",
    "UPDATE wide SET filler = 'y' WHERE id = 5",
    "WITH moved AS (DELETE FROM plain WHERE id = 3 RETURNING id) "
    "INSERT INTO parent SELECT id FROM moved",
)
locks = one_of(
    "locks",
    "SELECT * FROM plain WHERE id < 9 FOR UPDATE",
    "SELECT * FROM large FOR KEY SHARE",
    "LOCK TABLE plain IN ACCESS EXCLUSIVE MODE",
    "SELECT pg_advisory_lock(5)",
    "SELECT pg_advisory_xact_lock(6)",
)
sequences = one_of(
    "sequences",
    "SELECT nextval('alone')",
    "SELECT nextval('alone') FROM generate_series(1, 70)",
    "SELECT nextval('never')",
    "SELECT setval('plain_id_seq', 5000)",
    "SELECT setval('alone', 3, false)",
    "SELECT nextval('log_id_seq'), currval('log_id_seq')",
)
reads = one_of(
    "reads",
    "SELECT count(*) FROM plain JOIN empty ON plain.id = empty.plain",
    "SELECT * FROM large",
    "SELECT random(), now()",
)
schema = one_of(
    "changes_the_schema",
    "ALTER TABLE plain ADD COLUMN extra int",
    "ALTER TABLE plain ALTER amount TYPE float",
    "ALTER TABLE computed RENAME a TO b",
    "ALTER TABLE computed RENAME TO calculated",
    "CREATE TABLE more (id int)",
    "CREATE TABLE more AS SELECT * FROM plain",
    "DROP TABLE empty",
    "CREATE INDEX more ON plain (amount)",
    "DROP INDEX plain_name",
    "DROP TRIGGER plain_log ON plain",
    "ALTER TABLE plain DISABLE TRIGGER ALL",
    "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "ALTER TYPE colour ADD VALUE 'blue'",
    "ALTER SEQUENCE alone INCREMENT 3",
    "ALTER SEQUENCE alone RESTART",
    "TRUNCATE plain CASCADE",
    "UPDATE checked SET n = 5",
    "UPDATE outdated SET id = id + 1",
    "UPDATE information_schema.sql_features SET comments = 'changed'",
    "TRUNCATE log RESTART IDENTITY",
    "ALTER TABLE large SET UNLOGGED",
    "ALTER TABLE parted DETACH PARTITION parted_old",
    "CREATE TABLE parted_new PARTITION OF parted FOR VALUES FROM ('2025-01-01') TO ('2026-01-01')",
    "COMMENT ON TABLE plain IS 'changed'",
    "CREATE SCHEMA more",
    "CREATE EXTENSION pg_walinspect",
    "CREATE STATISTICS s ON id, name FROM plain",
    "DROP POLICY mine ON secured",
    "CLUSTER plain USING plain_pkey",
    "REINDEX TABLE plain",
)
views = one_of(
    "refreshes",
    "REFRESH MATERIALIZED VIEW summed",
    "INSERT INTO plain (colour) VALUES ('red'); REFRESH MATERIALIZED VIEW CONCURRENTLY summed",
)
temporaries = one_of(
    "makes_temporary_tables",
    "CREATE TEMP TABLE plain (id int)",
    "CREATE TEMP TABLE t AS SELECT * FROM plain",
    "CREATE TEMP TABLE t (id int) ON COMMIT DROP",
    "CREATE TEMP SEQUENCE s",
)
rights = one_of(
    "grants",
    "GRANT SELECT ON plain TO public",
    "GRANT SELECT (name) ON plain TO pg_monitor",
    "REVOKE ALL ON FUNCTION noted() FROM public",
    "GRANT CREATE ON DATABASE THIS TO pg_monitor",
    "ALTER DATABASE THIS SET work_mem = '5MB'",
    "ALTER ROLE postgres IN DATABASE THIS SET work_mem = '6MB'",
    "COMMENT ON DATABASE THIS IS 'changed'",
    "ALTER DATABASE THIS CONNECTION LIMIT 50",
    "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO public",
    "CREATE SUBSCRIPTION THIS CONNECTION 'dbname=nowhere' PUBLICATION nothing "
    "WITH (connect = false, slot_name = NONE)",
)
settings = one_of(
    "sets",
    "SET work_mem = '7MB'",
    "SET search_path = pg_catalog",
    "SET shop.tenant = '5'",
    "SET ROLE pg_monitor",
    "SET SESSION AUTHORIZATION pg_monitor",
    "SET LOCAL work_mem = '8MB'",
    "SET session_replication_role = replica",
    "LISTEN something",
    "NOTIFY something, 'x'",
    "PREPARE mine AS SELECT 1",
    "DECLARE held CURSOR WITH HOLD FOR SELECT * FROM plain",
    "DISCARD PLANS",
    "DEALLOCATE ALL",
)
maintains = past_transactions(
    "maintains",
    "VACUUM plain",
    "VACUUM (FREEZE) plain",
    "VACUUM FULL large",
    "VACUUM",
    "ANALYZE plain",
    "ANALYZE",
    "CHECKPOINT",
    "REINDEX TABLE CONCURRENTLY plain",
    "CREATE INDEX CONCURRENTLY more ON plain (amount)",
    "DISCARD ALL",
)
objects = one_of(
    "makes_large_objects",
    "SELECT lo_from_bytea(0, 'x')",
    "SELECT lo_unlink(lo_create(0))",
    "SELECT pg_logical_emit_message(true, 'app', 'x')",
)


def copies(campaign: ServerCampaign, connection: Connection) -> None:
    table, rows = campaign.random.choice(
        (("plain (name)", [(f"copied {i}",) for i in range(200)]), ("parent", [(5, "copied")]))
    )
    with connection.cursor().copy(f"COPY {table} FROM STDIN") as copy:
        for row in rows:
            copy.write_row(row)


def savepoints(campaign: ServerCampaign, connection: Connection) -> None:
    connection.execute("SAVEPOINT one")
    updates(campaign, connection)
    connection.execute("SAVEPOINT two")
    deletes(campaign, connection)
    connection.execute(
        campaign.random.choice(("ROLLBACK TO one", "ROLLBACK TO two", "RELEASE one"))
    )
    adds(campaign, connection)


def rolls_back(campaign: ServerCampaign, connection: Connection) -> None:
    inserts(campaign, connection)
    campaign.random.choice((updates, deletes, schema, temporaries))(campaign, connection)
    connection.rollback()


def two_phases(campaign: ServerCampaign, connection: Connection) -> None:
    connection.rollback()
    xid = connection.xid(1, f"campaign-{campaign.seed}", "x")
    connection.tpc_begin(xid)
    connection.execute("INSERT INTO parent VALUES (9, 'in two phases')")
    connection.tpc_prepare()
    end = campaign.random.random()
    if end < 0.4:
        connection.tpc_commit()
    elif end < 0.8:
        connection.tpc_rollback()
    else:
        connection.close()


def fills_and_empties(_campaign: ServerCampaign, connection: Connection) -> None:
    connection.execute(
        "INSERT INTO log (what) SELECT repeat('x', 100) FROM generate_series(1, 900)"
    )
    connection.execute("DELETE FROM log WHERE id % 2 = 0")


def writes_in_threads(campaign: ServerCampaign, _connection: Connection) -> None:
    def work(connection: Connection) -> None:
        with contextlib.suppress(psycopg.Error):
            for number in range(5):
                connection.execute("INSERT INTO log (what) VALUES (%s)", (f"thread {number}",))
                connection.commit()

    threads = [threading.Thread(target=work, args=(each,)) for each in campaign.connections]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def writes_asynchronously(campaign: ServerCampaign, _connection: Connection) -> None:
    import asyncpg

    async def work() -> None:
        # It has a host of its own for a URL that has one, and a folder in its query.
        parts = make_url(campaign.url)
        found = await asyncpg.connect(
            host=parts.query.get("host", parts.host),
            port=parts.query.get("port", parts.port),
            user=parts.username,
            password=parts.password,
            database=parts.database,
        )
        campaign.lasting.sessions.note(found)
        try:
            await found.execute("SET lock_timeout = 50")
            await found.execute("INSERT INTO parent VALUES (3, 'async')")
            await found.execute("UPDATE computed SET a = 5 WHERE a = 4")
        except asyncpg.PostgresError:
            pass
        finally:
            found.terminate() if campaign.random.random() < 0.3 else await found.close()

    asyncio.run(work())


def leaves_a_connection(campaign: ServerCampaign, _connection: Connection) -> None:
    left = campaign.connect_aside()
    campaign.others.append(left)
    if campaign.random.random() < 0.5:
        campaign.lasting.sessions.note(left)
    left.execute("INSERT INTO parent VALUES (4, 'left')")
    if campaign.random.random() < 0.5:
        left.commit()
    if campaign.random.random() < 0.6:
        left.close()


def an_outsider_works(campaign: ServerCampaign, _connection: Connection) -> None:
    outsider = Outsider(campaign.url)
    outsider.ask("SET lock_timeout = 50")
    for statement in ("INSERT INTO parent VALUES (6, 'outside')", "UPDATE plain SET amount = 2"):
        outsider.ask(statement)
    if campaign.random.random() < 0.8:
        outsider.close()
    else:
        campaign.others.append(outsider)


def kills_sessions(campaign: ServerCampaign, connection: Connection) -> None:
    inserts(campaign, connection)
    connection.commit()
    whom = campaign.random.choice(("= pg_backend_pid()", "<> pg_backend_pid()", "IS NOT NULL"))
    connection.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        f"WHERE datname = current_database() AND pid {whom}"
    )


def leaves_a_cursor(_campaign: ServerCampaign, connection: Connection) -> None:
    connection.execute("DECLARE open CURSOR FOR SELECT * FROM plain; FETCH 2 FROM open")


def the_neighbour_works(campaign: ServerCampaign, _connection: Connection) -> None:
    campaign.neighbour.work()


# How often each happens, relative to the others; what costs a fresh clone is rare.
ACTIONS: dict[Action, float] = {
    inserts: 25,
    updates: 25,
    deletes: 15,
    adds: 25,
    locks: 4,
    sequences: 8,
    reads: 8,
    copies: 4,
    savepoints: 6,
    rolls_back: 6,
    fills_and_empties: 1,
    writes_in_threads: 3,
    writes_asynchronously: 2,
    the_neighbour_works: 2,
    settings: 4,
    schema: 4,
    views: 1,
    temporaries: 2,
    rights: 2,
    maintains: 2,
    objects: 1,
    two_phases: 1.5,
    leaves_a_connection: 2,
    an_outsider_works: 0.4,
    kills_sessions: 1.5,
    leaves_a_cursor: 1,
}
