"""Runs Atom's migrations on the database that the caller chose.

In this order: the connection in `config.attributes["connection"]`, the `sqlalchemy.url` of the
config, the application's `DATABASE_URL`. Nothing here overrides what the caller gave.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from logging.config import fileConfig

from alembic import context
from core.database import database_url
from core.mappers import load_all
from sqlalchemy import Connection, create_engine, pool

config = context.config
target_metadata = load_all()


def url() -> str:
    """The URL in the config, or the application's."""
    return config.get_main_option("sqlalchemy.url") or database_url()


def configure(**target: object) -> None:
    """Configure the context for a connection or, offline, for a URL."""
    context.configure(
        target_metadata=target_metadata,
        compare_type=True,
        compare_server_default=True,
        transaction_per_migration=True,
        **target,
    )


@contextmanager
def foreign_keys_off(connection: Connection) -> Iterator[None]:
    """Let a batch ALTER replace a table that others refer to.

    SQLite deletes a table's rows before it drops it, and with foreign keys on, that reaches the
    rows which refer to them ("Making Other Kinds Of Table Schema Changes", SQLite's ALTER TABLE).
    """
    if connection.dialect.name != "sqlite" or connection.in_transaction():
        yield
        return
    enforced = connection.exec_driver_sql("PRAGMA foreign_keys").scalar_one()
    connection.exec_driver_sql("PRAGMA foreign_keys=OFF")
    connection.rollback()
    try:
        yield
    finally:
        connection.rollback()
        connection.exec_driver_sql(f"PRAGMA foreign_keys={enforced}")
        connection.rollback()


def run(connection: Connection) -> None:
    """Run the migrations on an open connection."""
    with foreign_keys_off(connection):
        configure(connection=connection, render_as_batch=connection.dialect.name == "sqlite")
        with context.begin_transaction():
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
    """Write the migrations as SQL."""
    configure(url=url(), literal_binds=True, dialect_opts={"paramstyle": "named"})
    with context.begin_transaction():
        context.run_migrations()


if config.config_file_name is not None and config.attributes.get("connection") is None:
    # fileConfig() replaces the root logger's handlers: on the command line that is wanted, in the
    # process of a caller who brought a connection it is not.
    fileConfig(config.config_file_name, disable_existing_loggers=False)

if context.is_offline_mode():
    run_offline()
else:
    run_online()
