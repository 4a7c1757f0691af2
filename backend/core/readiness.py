"""Whether a database is one that the application can work on."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Engine, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError

from core.errors import AtomError, DatabaseURLUnusable

REPOSITORY = Path(__file__).parents[2]
SETTINGS = REPOSITORY / "alembic.ini"
MIGRATIONS = REPOSITORY / "alembic"


class DatabaseNotReady(AtomError):
    """A database that is missing, empty, in use, or not at the revision that is needed."""

    def __init__(self, engine: Engine, problem: str, hint: str) -> None:
        self.url = engine.url.render_as_string(hide_password=True)
        super().__init__(f"the database {self.url} {problem}")
        self.problem = problem
        self.hint = hint


class DatabaseElsewhere(AtomError):
    """Another database was named than the one that the process works on already."""

    hint = "set DATABASE_URL before core.database is imported, or run python -m core"

    def __init__(self, engine: Engine) -> None:
        self.url = engine.url.render_as_string(hide_password=True)
        super().__init__(f"--database names another one than {self.url}, which is in use here")


def require_named(engine: Engine, url: str) -> None:
    """Raise `DatabaseElsewhere` unless the engine is one for this URL."""
    try:
        named = make_url(url)
    except (ArgumentError, ValueError) as error:
        raise DatabaseURLUnusable(str(error)) from error
    if named != engine.url:
        raise DatabaseElsewhere(engine)


def require_ready(engine: Engine) -> None:
    """Raise `DatabaseNotReady` unless the engine's database is at the newest revision.

    A missing SQLite file stays missing.
    """
    hint = f"with DATABASE_URL set to it, run: alembic -c {SETTINGS} upgrade head"
    file = _file(engine.url) if engine.dialect.name == "sqlite" else None
    if file is not None and not file.exists():
        raise DatabaseNotReady(engine, "does not exist", hint)
    try:
        with engine.connect() as connection:
            current = set(MigrationContext.configure(connection).get_current_heads())
    except DBAPIError as error:
        raise not_usable(engine, error) from error
    needed = set(ScriptDirectory(str(MIGRATIONS)).get_heads())
    if current != needed:
        raise DatabaseNotReady(engine, _difference(current, needed), hint)


def _file(url: URL) -> Path | None:
    """The file of a SQLite URL, which may have a URI of SQLite's in it; None is in memory."""
    database = url.database or ":memory:"
    if database.startswith("file:"):
        if url.query.get("mode") == "memory":
            return None
        database = unquote(urlsplit(database).path)
    return None if database in ("", ":memory:") else Path(database)


def not_usable(engine: Engine, error: DBAPIError) -> DatabaseNotReady:
    """What to raise for a driver's error, whose message may be several lines."""
    problem = f"cannot be used: {' '.join(str(error.orig).split())}"
    return DatabaseNotReady(engine, problem, "try again, or give another one with --database")


def _difference(current: set[str], needed: set[str]) -> str:
    if not current:
        return "was never migrated"
    return f"is at {', '.join(sorted(current))}, and {', '.join(sorted(needed))} is needed"
