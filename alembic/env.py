"""Runs Atom's migrations on the database that the caller chose, each revision whole or not at all.

In this order: the connection in `config.attributes["connection"]`, the `sqlalchemy.url` of the
config, the application's `DATABASE_URL`. Nothing here overrides what the caller gave.

A revision is one transaction on either database. A connection that is handed over in a transaction
gets all revisions in that one, which is the caller's to commit.
"""

import logging
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from io import StringIO
from logging.config import fileConfig
from typing import Any

from alembic import context
from alembic.util import CommandError
from core.database import database_url
from core.mappers import load_all
from sqlalchemy import Connection, create_engine, event, pool, text
from sqlalchemy.exc import DBAPIError

# Any number that is nobody else's: PostgreSQL keeps advisory locks for each database.
MIGRATIONS = 7_417_060_022
POLL_SECONDS = 0.1
# How Alembic begins each revision in a script.
RUNNING = "-- Running "

config = context.config
target_metadata = load_all()
log = logging.getLogger("alembic.env")


def asked(name: str, default: str) -> str:
    """What the command line said with `-x name=value`."""
    return str(context.get_x_argument(as_dictionary=True).get(name, default))


def url() -> str:
    """The URL in the config, or the application's."""
    return config.get_main_option("sqlalchemy.url") or database_url()


def configure(**target: Any) -> None:
    """Configure the context for a connection or, offline, for a URL."""
    context.configure(
        target_metadata=target_metadata,
        compare_type=True,
        compare_server_default=True,
        transactional_ddl=True,
        transaction_per_migration=True,
        **target,
    )


def begin(connection: Connection) -> None:
    """Begin SQLite's transaction where SQLAlchemy begins its own.

    The driver would not: it begins before INSERT, UPDATE and DELETE only, and what stands before
    them in a revision, such as CREATE TABLE, is there for good ("Transactions with SQLite and the
    sqlite3 driver", SQLAlchemy's documentation). An autocommit block puts the driver's own way
    back, so it is switched off each time.
    """
    if connection.get_execution_options().get("isolation_level") == "AUTOCOMMIT":
        return
    driver: Any = connection.connection.dbapi_connection
    driver.isolation_level = None
    if not driver.in_transaction:
        # A transaction that began by reading can't wait for a writer to end.
        connection.exec_driver_sql("BEGIN IMMEDIATE")


@contextmanager
def whole_revisions(connection: Connection) -> Iterator[None]:
    """Let a transaction on SQLite hold everything that is done in it; afterwards as before."""
    if connection.in_transaction():
        join_transaction(connection.connection.dbapi_connection)
        yield
        return

    def begun(which: Connection) -> None:
        if which is connection:
            begin(connection)

    before = connection.connection.dbapi_connection.isolation_level  # type: ignore[union-attr]
    # Of the engine: after its own listeners, which may begin by themselves.
    event.listen(connection.engine, "begin", begun)
    try:
        with resting_foreign_keys(connection):
            yield
    finally:
        event.remove(connection.engine, "begin", begun)
        if is_usable(connection):
            connection.connection.dbapi_connection.isolation_level = before  # type: ignore[union-attr]


def join_transaction(driver: Any) -> None:
    """Make the caller's transaction one of the driver's; its foreign keys have to rest already.

    In a transaction they can't be switched off, and SQLite does not say so.
    """
    if driver.execute("PRAGMA foreign_keys").fetchone()[0]:
        raise CommandError(
            "the connection is in a transaction, in which SQLite can't let foreign keys rest: "
            "commit it, then migrate"
        )
    if not driver.in_transaction:
        driver.execute("BEGIN IMMEDIATE")


@contextmanager
def resting_foreign_keys(connection: Connection) -> Iterator[None]:
    """Let a batch ALTER replace a table that others refer to.

    SQLite deletes a table's rows before it drops it, and with foreign keys on, that reaches the
    rows which refer to them ("Making Other Kinds Of Table Schema Changes", SQLite's ALTER TABLE).
    """
    driver: Any = connection.connection.dbapi_connection
    (enforced,) = driver.execute("PRAGMA foreign_keys").fetchone()
    driver.execute("PRAGMA foreign_keys=OFF")
    try:
        # A driver with autocommit=False is always in a transaction.
        if driver.execute("PRAGMA foreign_keys").fetchone()[0]:
            raise CommandError("SQLite's foreign keys can't rest: connect without autocommit=False")
        yield
    finally:
        if is_usable(connection):
            connection.connection.dbapi_connection.execute(  # type: ignore[union-attr]
                f"PRAGMA foreign_keys={enforced}"
            )


def is_usable(connection: Connection) -> bool:
    """Whether a connection is still there, and without a transaction of the migrations."""
    if connection.closed or connection.invalidated:
        return False
    connection.rollback()
    return True


def orphans(connection: Connection) -> Counter[tuple[str, str]]:
    """How many rows of a SQLite table refer to rows of another that are not there."""
    found = connection.connection.cursor()
    found.execute('SELECT "table", parent FROM pragma_foreign_key_check')
    return Counter(found.fetchall())


def refuse_orphans(connection: Connection) -> Any:
    """What to do with each revision: refuse it if it made orphans while foreign keys rested."""
    before = orphans(connection)

    def refuse(ctx: Any, step: Any, **_: Any) -> None:
        for table, parent in orphans(ctx.connection) - before:
            raise CommandError(
                f"revision {', '.join(step.up_revision_ids)} leaves rows in {table} "
                f"that refer to rows of {parent} which are not there"
            )

    return refuse


@contextmanager
def alone(connection: Connection) -> Iterator[None]:
    """Migrate a PostgreSQL database while nobody else does, and wait for no table for long.

    A statement that waits for a table's lock keeps everybody who comes after it waiting, too.
    """
    if connection.in_transaction():
        wait_for_others(connection, "pg_try_advisory_xact_lock")
        before = limit_waiting(connection, asked("lock_timeout", "10s"), is_local=True)
        yield
        limit_waiting(connection, before, is_local=True)
        return
    before = connection.scalar(text("SHOW lock_timeout"))
    try:
        wait_for_others(connection, "pg_try_advisory_lock")
        limit_waiting(connection, asked("lock_timeout", "10s"))
        connection.commit()
        yield
    finally:
        # The lock is the session's: a pool would keep it with the connection.
        if is_usable(connection):
            connection.execute(text(f"SELECT pg_advisory_unlock({MIGRATIONS})"))
            limit_waiting(connection, before)
            connection.commit()


def limit_waiting(connection: Connection, limit: str, *, is_local: bool = False) -> str:
    """Wait no longer for a lock, in this transaction or from now on; how long it was before."""
    before = connection.scalar(text("SHOW lock_timeout"))
    values = {"limit": limit, "is_local": is_local}
    connection.execute(text("SELECT set_config('lock_timeout', :limit, :is_local)"), values)
    return str(before)


def wait_for_others(connection: Connection, function: str) -> None:
    """Take the lock of the migrations, as soon as nobody has it."""
    seconds = float(asked("wait", "600"))
    deadline, has_told = time.monotonic() + seconds, False
    # Asked again and again: a statement that waits has a snapshot, and CREATE INDEX CONCURRENTLY
    # of the others would wait for that to end.
    while not connection.scalar(text(f"SELECT {function}({MIGRATIONS})")):
        if function == "pg_try_advisory_lock":
            connection.rollback()
        if time.monotonic() >= deadline:
            raise CommandError(
                f"another process migrates this database, and did not end in {seconds:g} s: "
                "try again later, or wait longer with -x wait=SECONDS"
            )
        if not has_told:
            log.info("another process migrates this database: waiting for it")
            has_told = True
        time.sleep(POLL_SECONDS)


@contextmanager
def locks_told() -> Iterator[None]:
    """Say in one line that somebody else had a lock; the driver's error is the cause."""
    try:
        yield
    except DBAPIError as error:
        is_locked = str(error.orig) == "database is locked"
        if is_locked or getattr(error.orig, "sqlstate", None) == "55P03":
            raise CommandError(
                "somebody else has a lock that the migrations need: "
                "the revision was taken back, try again"
            ) from error
        raise


def only_looks() -> bool:
    """Whether this is `alembic current`, which may look at a database while it is migrated."""
    return bool(context.get_context().opts.get("dont_mutate"))


def run(connection: Connection) -> None:
    """Run the migrations on an open connection."""
    options: dict[str, Any] = {}
    settled: Any = alone(connection)
    if connection.dialect.name == "sqlite":
        options = {"render_as_batch": True, "on_version_apply": refuse_orphans(connection)}
        settled = whole_revisions(connection)
    configure(connection=connection, **options)
    with locks_told(), nullcontext() if only_looks() else settled, context.begin_transaction():
        context.run_migrations()


def run_online() -> None:
    """Run the migrations on the caller's connection, or on one of our own."""
    given = config.attributes.get("connection")
    if given is not None:
        run(given)
        return
    engine = create_engine(url(), poolclass=pool.NullPool)
    with engine.connect() as connection:
        run(connection)


def run_offline() -> None:
    """Write the migrations as SQL: all of what was asked for, or nothing and an error."""
    written = StringIO()
    configure(
        url=url(), literal_binds=True, dialect_opts={"paramstyle": "named"}, output_buffer=written
    )
    if context.get_context().dialect.name == "postgresql":
        context.execute(f"SELECT pg_advisory_lock({MIGRATIONS})")
        context.execute(f"SET lock_timeout = '{asked('lock_timeout', '10s')}'")
    try:
        with context.begin_transaction():
            context.run_migrations()
    except Exception as error:
        done = [line for line in written.getvalue().splitlines() if line.startswith(RUNNING)]
        what = done[-1].removeprefix(RUNNING) if done else "this"
        raise CommandError(
            f"{what} needs a database, and can't be written as SQL: run it without --sql "
            f"({' '.join(str(error).split()).partition('. ')[0]})"
        ) from error
    (config.output_buffer or sys.stdout).write(written.getvalue())


if config.config_file_name is not None and config.attributes.get("connection") is None:
    # fileConfig() replaces the root logger's handlers: on the command line that is wanted, in the
    # process of a caller who brought a connection it is not.
    fileConfig(config.config_file_name, disable_existing_loggers=False)

if context.is_offline_mode():
    run_offline()
else:
    run_online()
