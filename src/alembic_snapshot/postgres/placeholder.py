"""The URL of an application's engine before a test points it at a clone: it leads nowhere."""

from __future__ import annotations

import os
import re

from alembic_snapshot.errors import ConfigError
from alembic_snapshot.project.placeholders import NOWHERE

# The drivers that this package's extra has.
_DRIVER = re.compile(r"postgresql\+(psycopg|asyncpg)(?:_async)?:")


def nowhere(database: str) -> dict[str, str]:
    """What leads nowhere, for each of a project's databases another: engines differ by it."""
    name = f"{NOWHERE}-{database}"
    return {
        "url": f"postgresql+psycopg://localhost/{name}",
        "async_url": f"postgresql+asyncpg://localhost/{name}",
        "path": name,
        "database": name,
        "host": "localhost",
        "port": "5432",
        "user": "nobody",
        "password": "none",
    }


def require_driver(variable: str) -> None:
    """Refuse a variable with a URL for a driver that is not installed, and that the extra has.

    Raises:
        ConfigError: it names the driver, and what to install.
    """
    from importlib.util import find_spec

    named = _DRIVER.match(os.environ.get(variable, ""))
    if named and find_spec(named[1]) is None:
        raise ConfigError(
            f"PostgreSQL needs {named[1]}, which is not installed: {variable} is a URL for it",
            hint='pip install "alembic-snapshot[postgres]"',
        )
