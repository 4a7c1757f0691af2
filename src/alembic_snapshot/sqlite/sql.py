"""Names and files as SQLite's SQL has them."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

# The names by which a statement has the number of a row, unless a column is called so.
ROW_NUMBERS = ("rowid", "_rowid_", "oid")


def quoted(name: str) -> str:
    """A name as an identifier."""
    return '"' + name.replace('"', '""') + '"'


def readable(path: Path) -> str:
    """The URI that opens a database read-only."""
    return f"file:{quote(str(path))}?mode=ro"
