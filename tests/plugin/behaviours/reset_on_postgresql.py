"""What one test leaves behind on a server that is put back, and what the next one finds."""

import contextlib
import os
import threading
import warnings

import psycopg
import pytest
from shop import orders
from shop.db import SessionLocal, engine
from sqlalchemy import text

QUERIES = {
    "rows": "SELECT * FROM customers",
    "orders": "SELECT * FROM orders",
    "sequences": "SELECT last_value, is_called FROM customers_id_seq",
    "relations": "SELECT relname, relkind, relpersistence, relrowsecurity, relacl::text, "
    "reloptions FROM pg_class WHERE oid >= 16384 OR relpersistence = 't' ORDER BY oid",
    "columns": "SELECT attrelid::regclass::text, attname, attnotnull, attisdropped FROM "
    "pg_attribute WHERE attrelid >= 16384 ORDER BY 1, attnum",
    "functions": "SELECT proname, prosrc FROM pg_proc WHERE oid >= 16384 ORDER BY oid",
    "types": "SELECT typname, typtype FROM pg_type WHERE oid >= 16384 ORDER BY oid",
    "schemas": "SELECT nspname, nspacl::text FROM pg_namespace WHERE nspname !~ '^pg_t' ORDER BY 1",
    "large objects": "SELECT count(*) FROM pg_largeobject_metadata",
    "prepared transactions": "SELECT gid FROM pg_prepared_xacts "
    "WHERE database = current_database()",
    "settings": "SELECT name, setting FROM pg_settings WHERE source IN ('session', 'database')",
    "the database's settings": "SELECT setconfig FROM pg_db_role_setting "
    "JOIN pg_database d ON d.oid = setdatabase WHERE datname = current_database()",
    "the database": "SELECT datacl::text, datallowconn, datconnlimit FROM pg_database "
    "WHERE datname = current_database()",
    "its comment": "SELECT shobj_description(oid, 'pg_database') FROM pg_database "
    "WHERE datname = current_database()",
    "comments": "SELECT objoid::regclass::text, description FROM pg_description "
    "WHERE objoid >= 16384 ORDER BY 1",
    "who": "SELECT current_user, session_user",
    "statements": "SELECT name FROM pg_prepared_statements WHERE from_sql",
    "cursors": "SELECT name FROM pg_cursors",
    "channels": "SELECT * FROM pg_listening_channels()",
    "locks": "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database = "
    "(SELECT oid FROM pg_database WHERE datname = current_database())",
    "a setting of one's own": "SELECT current_setting('shop.tenant', true)",
    "large values": "SELECT sum(length(name)) FROM customers",
    "statistics": "SELECT tablename, attname FROM pg_stats WHERE schemaname = 'public' ORDER BY 1",
    "extensions": "SELECT extname FROM pg_extension ORDER BY 1",
}
# What is asked of the driver, and not of the server.
QUERIES |= dict.fromkeys(("the driver", "handlers", "random numbers"))
OF_A_SESSION = ("settings", "who", "statements", "cursors", "channels", "locks")
OF_A_SESSION += ("a setting of one's own", "the driver", "handlers", "random numbers")
left = []
seeded = set()


def facts(session, names=QUERIES):
    found = {
        name: [tuple(row) for row in session.execute(text(QUERIES[name]))]
        for name in names
        if QUERIES[name]
    }
    driver = session.connection().connection.driver_connection
    found["the driver"] = [driver.autocommit, driver.row_factory, driver.prepare_threshold]
    # The first two after a seed are the same on a version of PostgreSQL, and asked for here.
    found["random numbers"] = [session.scalar(text("SELECT random()")) in seeded]
    found["handlers"] = [len(driver._notice_handlers), len(driver._notify_handlers)]
    return found


def driver(session):
    return session.connection().connection.driver_connection


def aside(*statements):
    """Execute something past transactions."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for statement in statements:
            connection.execute(text(statement))


def dbapi(session, *statements):
    for statement in statements:
        driver(session).execute(statement)
    driver(session).commit()


def place(session):
    info = driver(session).info
    return {"host": info.host, "port": info.port, "dbname": info.dbname, "user": info.user}


def a_committed_statement(statement):
    return lambda session: (session.execute(text(statement)), session.commit())


def past(*statements):
    return lambda _session: aside(*statements)


def raw(*statements):
    return lambda session: dbapi(session, *statements)


def leaves_a_session(_session):
    left.append(SessionLocal())
    left[-1].execute(text("INSERT INTO customers (name) VALUES ('left')"))


def leaves_a_connection(_session):
    left.append(engine.connect())
    left[-1].execute(text("INSERT INTO customers (name) VALUES ('left')"))
    left[-1].commit()


def leaves_a_connection_of_its_own(session):
    left.append(psycopg.connect(**place(session)))
    left[-1].execute("INSERT INTO customers (name) VALUES ('left')")


def leaves_one_that_commits(session):
    leaves_a_connection_of_its_own(session)
    left[-1].commit()
    left[-1].autocommit = True


def detaches(session):
    left.append(engine.connect())
    left[-1].detach()
    left[-1].execute(text("INSERT INTO customers (name) VALUES ('left')"))
    left[-1].commit()


def changes_the_driver(session):
    driver(session).row_factory = psycopg.rows.dict_row
    driver(session).prepare_threshold = None
    driver(session).add_notice_handler(print)


def rolls_back(session):
    session.execute(text("INSERT INTO customers (name) VALUES ('a')"))
    session.execute(text("SELECT nextval('customers_id_seq') FROM generate_series(1, 50)"))
    session.rollback()


def is_killed(session):
    session.execute(text("INSERT INTO customers (name) VALUES ('a')"))
    with pytest.raises(Exception, match="terminating connection"):
        session.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
    session.close()


def kills_every_session_of_the_server(session):
    # But for those that hold the locks by which clones have an owner.
    aside(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity a WHERE pid <> pg_backend_pid() "
        "AND NOT EXISTS (SELECT FROM pg_locks l WHERE l.pid = a.pid AND locktype = 'advisory')"
    )


def forks(_session):
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)


def leaves_a_thread_at_work(_session):
    connected, goes_on = threading.Event(), threading.Event()

    def work():
        with contextlib.suppress(Exception), engine.connect() as connection:
            connection.execute(text("INSERT INTO customers (name) VALUES ('of the thread')"))
            connected.set()
            goes_on.wait()
            connection.commit()

    thread = threading.Thread(target=work)
    thread.start()
    connected.wait()
    left.append((thread, goes_on))


def kills_all(session):
    session.execute(text("INSERT INTO customers (name) VALUES ('a')"))
    session.commit()
    session.execute(
        text(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    )


def prepares(session):
    session.execute(text("INSERT INTO customers (name) VALUES ('a')"))
    left.append(place(session))
    session.execute(text("PREPARE TRANSACTION 'left'"))


def sets_the_seed(session):
    dbapi(session, "SELECT setseed(0.5)")
    seeded.update(session.scalars(text("SELECT random() FROM generate_series(1, 9)")))
    dbapi(session, "SELECT setseed(0.5)")


def inserts(session):
    orders.add_customer("Ada")
    orders.order("Ada", "tea")
    orders.order("the house", "tea")


INSERT = "INSERT INTO customers (name) VALUES ('Ada')"
LEAVING = {
    "nothing": lambda session: None,
    "rows": inserts,
    "an update": a_committed_statement("UPDATE customers SET name = name || '!'"),
    "a delete": a_committed_statement("DELETE FROM customers"),
    "a rollback": rolls_back,
    "a sequence's value": a_committed_statement("SELECT nextval('customers_id_seq')"),
    "another value": a_committed_statement("SELECT setval('customers_id_seq', 900, false)"),
    "a sequence": a_committed_statement("ALTER SEQUENCE customers_id_seq INCREMENT 5"),
    "a truncation": a_committed_statement("TRUNCATE customers RESTART IDENTITY CASCADE"),
    "a column": a_committed_statement("ALTER TABLE customers ADD COLUMN more int DEFAULT 1"),
    "a table": a_committed_statement("CREATE TABLE more (id int)"),
    "a dropped table": a_committed_statement("DROP TABLE orders"),
    "a temporary table": raw("CREATE TEMP TABLE customers (id int)"),
    "an unlogged table": a_committed_statement("ALTER TABLE orders SET UNLOGGED"),
    "a view": a_committed_statement("CREATE MATERIALIZED VIEW v AS SELECT * FROM customers"),
    "a function": a_committed_statement(
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'"
    ),
    "an enumeration": a_committed_statement("CREATE TYPE colour AS ENUM ('red')"),
    "a schema": a_committed_statement("CREATE SCHEMA other"),
    "an extension": a_committed_statement("CREATE EXTENSION pg_walinspect"),
    "a comment": a_committed_statement("COMMENT ON TABLE orders IS 'left'"),
    "a grant": a_committed_statement("GRANT SELECT ON customers TO public"),
    "row security": a_committed_statement("ALTER TABLE customers ENABLE ROW LEVEL SECURITY"),
    "a large object": a_committed_statement("SELECT lo_from_bytea(0, 'x')"),
    "a vacuum": past("VACUUM customers"),
    "a full vacuum": past(INSERT, "VACUUM FULL"),
    "an analysis": past(INSERT, "ANALYZE"),
    "an index": past("REINDEX TABLE customers"),
    "the database's setting": lambda session: past(
        f"ALTER DATABASE {driver(session).info.dbname} SET work_mem = '5MB'"
    )(session),
    "its privileges": lambda session: past(
        f"GRANT TEMP ON DATABASE {driver(session).info.dbname} TO pg_monitor"
    )(session),
    "its comment": lambda session: past(
        f"COMMENT ON DATABASE {driver(session).info.dbname} IS 'left'"
    )(session),
    "a setting": raw("SET work_mem = '7MB'"),
    "a setting of one's own": raw("SET shop.tenant = 'left'"),
    "one in a function": raw("SELECT set_config('work_mem', '7MB', false)"),
    "one in a transaction": raw("SET LOCAL work_mem = '7MB'"),
    "one after another statement": raw("SELECT 1; SET work_mem = '7MB'"),
    "one that is composed": lambda session: dbapi(session, psycopg.sql.SQL("SET work_mem = '7MB'")),
    "one in bytes": lambda session: dbapi(session, b"SET work_mem = '7MB'"),
    "one on a cursor": lambda session: driver(session).cursor().execute("SET work_mem = '7MB'"),
    "one through SQLAlchemy": a_committed_statement("SET work_mem = '7MB'"),
    "random numbers": sets_the_seed,
    "one of one's own in a transaction": raw("SELECT set_config('shop.tenant', 'left', true)"),
    "one of one's own that was taken back": raw("SET shop.tenant = 'left'", "RESET ALL"),
    "a role": raw("SET ROLE pg_monitor"),
    "a user": raw("SET SESSION AUTHORIZATION pg_monitor"),
    "a prepared statement": raw("PREPARE mine AS SELECT 1"),
    "a cursor": raw("DECLARE c CURSOR WITH HOLD FOR SELECT * FROM customers"),
    "a channel": raw("LISTEN orders"),
    "an advisory lock": raw("SELECT pg_advisory_lock(7)"),
    "an open transaction": lambda session: session.execute(text(INSERT)),
    "the driver's attributes": changes_the_driver,
    "a session": leaves_a_session,
    "a connection": leaves_a_connection,
    "a connection of one's own": leaves_a_connection_of_its_own,
    "one that commits": leaves_one_that_commits,
    "a detached connection": detaches,
    "a killed session": is_killed,
    "a fork": forks,
    "a thread at work": leaves_a_thread_at_work,
    "all killed": kills_all,
    "the server's killed": kills_every_session_of_the_server,
    "a prepared transaction": prepares,
    "a finished one": past("BEGIN", INSERT, "PREPARE TRANSACTION 'x'", "COMMIT PREPARED 'x'"),
    "many rows": a_committed_statement(
        "INSERT INTO customers (name) SELECT 'n' || i FROM generate_series(1, 30000) i"
    ),
}
before = []


PART = int(os.environ["PART"])
STEPS = [
    ("nothing", "before"),
    *((what, when) for what in sorted(LEAVING)[PART::2] for when in ("now", "after")),
]


@pytest.mark.parametrize(("what", "when"), STEPS)
def test_it(db_session, what, when):
    if when == "before":
        before.append(facts(db_session))
    elif when == "now":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            LEAVING[what](db_session)
    else:
        try_again()
        # Connections are taken in turn: all that were kept are looked at.
        with contextlib.ExitStack() as several:
            sessions = [db_session, *(several.enter_context(SessionLocal()) for _ in range(3))]
            for session in sessions:
                names = QUERIES if session is db_session else OF_A_SESSION
                assert facts(session, names) == {name: before[0][name] for name in names}


def try_again():
    """What a test left goes on with its work."""
    while left:
        thing = left.pop()
        if isinstance(thing, psycopg.Connection) and thing.autocommit:
            # Its database may be about to be dropped.
            with contextlib.suppress(psycopg.Error):
                thing.execute(INSERT)
        elif isinstance(thing, tuple):
            thread, goes_on = thing
            goes_on.set()
            thread.join()
        elif isinstance(thing, dict):
            # Its database may be about to be dropped, and it with that.
            with (
                contextlib.suppress(psycopg.Error),
                psycopg.connect(**thing, autocommit=True) as connection,
            ):
                connection.execute("COMMIT PREPARED 'left'")
