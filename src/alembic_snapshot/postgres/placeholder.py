"""The URL of an application's engine before a test points it at a clone: it leads nowhere."""

from __future__ import annotations

import os
import re
from collections.abc import Callable

from alembic_snapshot.database.target import with_places
from alembic_snapshot.errors import ConfigError
from alembic_snapshot.project.config import Project
from alembic_snapshot.project.table import PLACEHOLDER

_NOWHERE = "alembic-snapshot-has-no-engine"
_URLS = ("url", "async_url")
# The drivers that this package's extra has.
_DRIVER = re.compile(r"postgresql\+(psycopg|asyncpg)(?:_async)?:")


def stand_in(project: Project) -> Callable[[], None]:
    """Set the variables of ``environment`` that are to hold a URL or a part. The result undoes it.

    An engine that is made at import has its dialect for good, so that it has to be PostgreSQL's
    from the beginning. One that names PostgreSQL already stays as it is, and so does a part that
    is set: nothing ever connects.

    Raises:
        ConfigError: a driver of the extra lacks. The application's engine could not be made.
    """
    before: dict[str, str | None] = {}
    places = _places(project.name)
    for name, template in project.environment.items():
        names = {found[2] for found in PLACEHOLDER.finditer(template)} & places.keys()
        now = os.environ.get(name)
        has_one = now is not None if names.isdisjoint(_URLS) else _is_postgresql(now, template)
        if names and not has_one:
            before[name] = now
            os.environ[name] = with_places(template, places)

    def restore() -> None:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value

    try:
        for name in ("DATABASE_URL", *project.environment):
            _require_driver(name)
    except ConfigError:
        restore()
        raise
    return restore


def _places(database: str) -> dict[str, str]:
    """What leads nowhere, for each of a project's databases another: engines differ by it."""
    nowhere = f"{_NOWHERE}-{database}"
    return {
        "url": f"postgresql+psycopg://localhost/{nowhere}",
        "async_url": f"postgresql+asyncpg://localhost/{nowhere}",
        "path": nowhere,
        "database": nowhere,
        "host": "localhost",
        "port": "5432",
        "user": "nobody",
        "password": "none",
    }


def _require_driver(variable: str) -> None:
    """Refuse a variable with a URL for a driver that is not installed, and that the extra has."""
    from importlib.util import find_spec

    named = _DRIVER.match(os.environ.get(variable, ""))
    if named and find_spec(named[1]) is None:
        raise ConfigError(
            f"PostgreSQL needs {named[1]}, which is not installed: {variable} is a URL for it",
            hint='pip install "alembic-snapshot[postgres]"',
        )


def _is_postgresql(value: str | None, template: str) -> bool:
    """Whether a variable has a URL of PostgreSQL already, where its template has one."""
    start = re.escape(template.partition("{")[0])
    return re.match(f"{start}postgres", value or "") is not None
