"""The engine, the sessions and the base class of every mapped class.

Importing this module opens no connection. Code that needs a session of its own calls
`SessionLocal()` at the time of use.
"""

import os
from typing import Any
from uuid import uuid4

from sqlalchemy import Engine, MetaData, create_engine, event
from sqlalchemy.exc import ArgumentError
from sqlalchemy.orm import DeclarativeBase, Mapper, Session, sessionmaker

from core.errors import DatabaseURLUnusable
from core.mappers import load_all

DEFAULT_URL = "sqlite:///atom_dev.db"

NAMING_CONVENTION = {
    "pk": "pk_%(table_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
}


class Base(DeclarativeBase):
    """The base class of every mapped class in `core`, `saas` and `ecommerce`."""

    metadata = MetaData(naming_convention=NAMING_CONVENTION)


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
        load_all()
        super().__init__(*args, **kwargs)


@event.listens_for(Mapper, "before_configured")
def _load_every_mapper() -> None:
    """Complete the mappers for whoever uses a class without a session of ours."""
    load_all()


engine = make_engine(database_url())
SessionLocal = sessionmaker(engine, class_=AtomSession)
