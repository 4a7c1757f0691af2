"""What the SQL of a test is, as far as its text tells."""

from __future__ import annotations

import re

TARGET = re.compile(
    r"\s*(?:INSERT(?:\s+OR\s+\w+)?\s+INTO|REPLACE\s+INTO|MERGE\s+INTO|UPDATE(?:\s+OR\s+\w+)?"
    r"(?:\s+ONLY)?|DELETE\s+FROM(?:\s+ONLY)?|TRUNCATE(?:\s+TABLE)?)\s+"
    r"((?:\"[^\"]+\"|[\w$]+)(?:\.(?:\"[^\"]+\"|[\w$]+))?)",
    re.IGNORECASE,
)
# An insertion that writes new rows alone, and calls nothing that could write others.
NEW = re.compile(
    r"\s*INSERT\s+INTO\s+\S+\s*(?:\([^()]*\)\s*)?VALUES\s*\([^()]*\)\s*(?:RETURNING\s[^()]*)?;?\s*$",
    re.IGNORECASE,
)
NAMED = re.compile(r"%\(\w+\)s")
SAVEPOINT = re.compile(r"\s*SAVEPOINT\s+(\S+)", re.IGNORECASE)
BACK = re.compile(r"\s*ROLLBACK\s+TO\s+(?:SAVEPOINT\s+)?(\S+)", re.IGNORECASE)
# Nothing is read after it, which would lock what the statements themselves have not locked.
BEGIN = re.compile(r"\s*(?:BEGIN|START\s+TRANSACTION)\b", re.IGNORECASE)
SCHEMA = re.compile(r"\s*(?:CREATE|ALTER|DROP)\b", re.IGNORECASE)
END = re.compile(r"\s*(COMMIT|END|ROLLBACK)\s*;?\s*$", re.IGNORECASE)
OF_THE_MOMENT = re.compile(
    r"current_(?:timestamp|date|time)|\b(?:now|random|randomblob|gen_random_uuid|clock_timestamp|"
    r"datetime|date|time|strftime|julianday|unixepoch|uuid\w*)\s*\(",
    re.IGNORECASE,
)


def plain(name: str) -> str:
    """A table's name without quotes and without the schema that is meant anyway, in lower case."""
    bare = name.replace('"', "").replace("`", "").lower()
    return bare.removeprefix("public.").removeprefix("main.")
