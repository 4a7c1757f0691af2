"""The engine, the sessions and the base class of every mapped class.

Importing this module opens no connection. Code that needs a session of its own calls
`SessionLocal()` at the time of use.
"""

import os
import re
from typing import Any, TypeVar
from uuid import uuid4

from sqlalchemy import Connection, Engine, ScalarResult, Select, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.orm import Session, sessionmaker

from core.base import Base
from core.composition import import_models
from core.documents import to_json
from core.errors import DatabaseURLUnusable

__all__ = [
    "Base",
    "SessionLocal",
    "current",
    "database_url",
    "engine",
    "flushed",
    "make_engine",
    "new_id",
]

T = TypeVar("T")

DEFAULT_URL = "sqlite:///atom_dev.db"

_BEGINS_NOTHING = re.compile(
    r"(?:\s|--[^\n]*\n|/\*(?:[^*]|\*(?!/))*\*/)*"
    r"(?:SAVEPOINT\b|WITH\b.*\b(?:INSERT\s+INTO|REPLACE\s+INTO|UPDATE|DELETE\s+FROM)\b)",
    re.DOTALL | re.IGNORECASE,
)


def new_id() -> str:
    """A fresh primary key: a random UUID as text."""
    return str(uuid4())


def database_url() -> str:
    """The database that the environment names in `DATABASE_URL`, or `DEFAULT_URL`."""
    return os.environ.get("DATABASE_URL") or DEFAULT_URL


def enforce_foreign_keys(dbapi_connection: Any, _record: object) -> None:
    """Switch foreign keys on for a new SQLite connection; SQLite's default is off."""
    cursor = dbapi_connection.cursor()
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


def begin_writing(connection: Connection, _cursor: object, statement: str, *_: object) -> None:
    """Begin SQLite's transaction before what writes and does not make the driver begin.

    The driver begins before INSERT, UPDATE and DELETE as a statement's first word. A savepoint that
    comes first would be the transaction, and its release the commit ("Transactions with SQLite and
    the sqlite3 driver", SQLAlchemy's documentation). What only reads begins nothing: a transaction
    that has read can't wait for a writer to end.
    """
    driver: Any = connection.connection.dbapi_connection
    has_begun = driver.in_transaction or driver.isolation_level is None
    if not has_begun and _BEGINS_NOTHING.match(statement):
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def make_engine(url: str) -> Engine:
    """An engine with Atom's settings.

    On SQLite foreign keys hold, writers wait in line, and a transaction holds its savepoints.

    Raises:
        DatabaseURLUnusable: the URL is none, or its driver is async or not installed.
    """
    is_sqlite = url.startswith("sqlite")
    try:
        # How long to wait for another writer, unless the URL says it.
        waits = is_sqlite and "timeout" not in make_url(url).query
        connecting = {"timeout": 30} if waits else {}
        made = create_engine(url, connect_args=connecting, json_serializer=to_json)
    except (ArgumentError, ImportError, ValueError) as error:
        raise DatabaseURLUnusable(str(error)) from error
    if made.dialect.is_async:
        raise DatabaseURLUnusable(f"{made.dialect.driver} is an async driver")
    if is_sqlite:
        event.listen(made, "connect", enforce_foreign_keys)
        event.listen(made, "before_cursor_execute", begin_writing)
    return made


class AtomSession(Session):
    """A session that cannot exist before every mapped class does."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        import_models()
        super().__init__(*args, **kwargs)


def flushed(db: Session) -> Session:
    """The session, which has sent its own changes: what it asks or does next knows of them.

    A caller's session may do so by itself, or not (`autoflush=False`).
    """
    db.flush()
    return db


def current(db: Session, query: Select[T]) -> ScalarResult[T]:
    """The objects that a query finds, as the database has them now.

    A session answers with what it saw before, even where its own query found something else. What
    is decided by an object would be decided by that. The session's own changes are flushed first.
    """
    return flushed(db).scalars(query.execution_options(populate_existing=True))


engine = make_engine(database_url())
SessionLocal = sessionmaker(engine, class_=AtomSession)
