"""The URL of an application's engine before a test points it at a clone: it leads nowhere."""

from __future__ import annotations

import os
from collections.abc import Callable

from alembic_snapshot.project.config import Project

_NOWHERE = "alembic-snapshot-has-no-engine"
_URLS = {
    "{url}": f"postgresql+psycopg://localhost/{_NOWHERE}",
    "{async_url}": f"postgresql+asyncpg://localhost/{_NOWHERE}",
}


def stand_in(project: Project) -> Callable[[], None]:
    """Set the variables of ``environment`` that are to hold a URL. The result undoes that.

    An engine that is made at import has its dialect for good, so that it has to be PostgreSQL's
    from the beginning. One that names PostgreSQL already stays as it is: nothing ever connects.
    """
    before: dict[str, str | None] = {}
    for name, template in project.environment.items():
        url = _URLS.get(template)
        if url is not None and not os.environ.get(name, "").startswith("postgres"):
            before[name] = os.environ.get(name)
            os.environ[name] = url

    def restore() -> None:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value

    return restore
