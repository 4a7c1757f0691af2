"""The engine, the sessions and the base class of every mapped class.

Importing this module opens no connection. Code that needs a session of its own calls
`SessionLocal()` at the time of use.
"""

import os
from typing import Any
from uuid import uuid4

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.exc import ArgumentError
from sqlalchemy.orm import Session, sessionmaker

from core.base import Base
from core.composition import import_models
from core.errors import DatabaseURLUnusable

__all__ = ["Base", "SessionLocal", "database_url", "engine", "make_engine", "new_id"]

DEFAULT_URL = "sqlite:///atom_dev.db"


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


def make_engine(url: str) -> Engine:
    """An engine with Atom's settings: on SQLite, foreign keys hold and writers wait in line.

    Raises:
        DatabaseURLUnusable: the URL is none, or its driver is async or not installed.
    """
    is_sqlite = url.startswith("sqlite")
    try:
        made = create_engine(url, connect_args={"timeout": 30} if is_sqlite else {})
    except (ArgumentError, ImportError, ValueError) as error:
        raise DatabaseURLUnusable(str(error)) from error
    if made.dialect.is_async:
        raise DatabaseURLUnusable(f"{made.dialect.driver} is an async driver")
    if is_sqlite:
        event.listen(made, "connect", enforce_foreign_keys)
    return made


class AtomSession(Session):
    """A session that cannot exist before every mapped class does."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        import_models()
        super().__init__(*args, **kwargs)


engine = make_engine(database_url())
SessionLocal = sessionmaker(engine, class_=AtomSession)
