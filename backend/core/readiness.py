"""Whether a database is one that the application can work on."""

from pathlib import Path

from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine
from sqlalchemy.exc import DatabaseError

from core.errors import AtomError

REPOSITORY = Path(__file__).parents[2]
SETTINGS = REPOSITORY / "alembic.ini"
MIGRATIONS = REPOSITORY / "alembic"


class DatabaseNotReady(AtomError):
    """A database that is missing, empty, or not at the revision that the application needs."""

    def __init__(self, url: str, problem: str, hint: str) -> None:
        super().__init__(f"the database {url} {problem}")
        self.url = url
        self.problem = problem
        self.hint = hint


def require_ready(engine: Engine) -> None:
    """Raise `DatabaseNotReady` unless the engine's database is at the newest revision.

    A missing SQLite file stays missing.
    """
    url = engine.url.render_as_string(hide_password=True)
    hint = f"with DATABASE_URL set to it, run: alembic -c {SETTINGS} upgrade head"
    file = engine.url.database if engine.dialect.name == "sqlite" else None
    if file and file != ":memory:" and not Path(file).exists():
        raise DatabaseNotReady(url, "does not exist", hint)
    try:
        with engine.connect() as connection:
            current = set(MigrationContext.configure(connection).get_current_heads())
    except DatabaseError as error:
        # A driver's message may be several lines.
        problem = f"cannot be opened: {' '.join(str(error.orig).split())}"
        raise DatabaseNotReady(url, problem, "give another one with --database") from error
    needed = set(ScriptDirectory(str(MIGRATIONS)).get_heads())
    if current != needed:
        raise DatabaseNotReady(url, _difference(current, needed), hint)


def _difference(current: set[str], needed: set[str]) -> str:
    if not current:
        return "was never migrated"
    return f"is at {', '.join(sorted(current))}, and {', '.join(sorted(needed))} is needed"
