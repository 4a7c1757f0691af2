"""What the SQL of a test is, as far as its text tells."""

from __future__ import annotations

import re

# What a comment may stand in, and is none there, before the two ways to write one.
_COMMENTS = re.compile(
    r"""((?<!\w)[eE]'(?:[^'\\]|\\.|'')*'|'(?:[^']|'')*'|"(?:[^"]|"")*"|`(?:[^`]|``)*`
    |(\$(?:[^\W\d]\w*)?\$).*?\2)|--[^\n]*|/\*""",
    re.VERBOSE | re.DOTALL,
)
_BLOCK = re.compile(r"/\*|\*/")
# What may stand before a statement's first word beside comments.
_BEFORE = " \t\r\n\f\v\ufeff;("
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
MAKING = re.compile(r"\s*CREATE\b", re.IGNORECASE)
END = re.compile(r"\s*(COMMIT|END|ROLLBACK)\s*;?\s*$", re.IGNORECASE)
OF_THE_MOMENT = re.compile(
    r"current_(?:timestamp|date|time)|\b(?:now|random|randomblob|gen_random_uuid|clock_timestamp|"
    r"datetime|date|time|strftime|julianday|unixepoch|uuid\w*)\s*\(",
    re.IGNORECASE,
)
_INTO = re.compile(r"\bINTO\b", re.IGNORECASE)
_WRITING = re.compile(
    r"(?:INSERT|UPDATE|DELETE|REPLACE|MERGE|TRUNCATE|CALL|DO|REFRESH|COMMENT|GRANT|REVOKE|"
    r"WITH\b.*\b(?:INSERT|UPDATE|DELETE|MERGE)|SELECT\b.*\bINTO|COPY\b.*\bFROM|"
    # A temporary one is the connection's.
    r"(?:CREATE|ALTER|DROP)(?!\s+(?:(?:GLOBAL|LOCAL)\s+)?TEMP(?:ORARY)?\b))\b",
    re.IGNORECASE | re.DOTALL,
)
# What changes neither rows nor what they are in, of a connection's own tables aside.
_BESIDE = re.compile(
    r"(?:CREATE\s+(?:(?:GLOBAL|LOCAL)\s+)?TEMP(?:ORARY)?|"
    r"VALUES|TABLE|SHOW|SET|RESET|BEGIN|START|COMMIT|END|ABORT|ROLLBACK|"
    r"SAVEPOINT|RELEASE|LOCK|LISTEN|UNLISTEN|NOTIFY|DECLARE|FETCH|MOVE|CLOSE|PREPARE|DEALLOCATE|"
    r"DISCARD|ANALYZE|VACUUM|REINDEX|CLUSTER|CHECKPOINT|COMMENT|GRANT|REVOKE|ATTACH|DETACH|LOAD)\b",
    re.IGNORECASE,
)
# A function that a SELECT calls may write. These do not.
_HARMLESS = re.compile(
    r"\b(?:count|sum|min|max|avg|coalesce|lower|upper|length|exists|in|values|cast|and|or|not|any|"
    r"as|over|from|where|on|array_agg|string_agg|nullif|abs|round|version|current_schema)\s*\(",
    re.IGNORECASE,
)
# What a SELECT does to keep others away, or from a number: nothing of it is work.
_LOCKING = re.compile(r"\bFOR\s+(?:NO\s+|KEY\s+)*(?:UPDATE|SHARE)\b|\w*(?:next|set)val\b", re.I)


def without_comments(statement: str, *, nests: bool = True) -> str:
    """A statement with a blank in place of each comment; what is quoted stays as it is.

    PostgreSQL's comments may have others in them, SQLite's end at the first end: ``nests`` is
    whether both are right, the first if it has an end.
    """
    if "--" not in statement and "/*" not in statement:
        return statement
    kept, start, position = [], 0, 0
    while match := _COMMENTS.search(statement, position):
        position = match.end()
        if match[1] is None:
            if match[0] == "/*":
                position = _end_of_block(statement, position, nests=nests)
            kept += [statement[start : match.start()], " "]
            start = position
    return "".join([*kept, statement[start:]])


def _end_of_block(text: str, start: int, *, nests: bool) -> int:
    position, depth = start, 1
    while nests and (match := _BLOCK.search(text, position)):
        depth, position = depth + (1 if match[0] == "/*" else -1), match.end()
        if not depth:
            return position
    first = text.find("*/", start)
    return len(text) if first < 0 else first + 2


def beginning(statement: str, *, nests: bool = True) -> str:
    """A statement from its first word on, without comments: what tells its kind."""
    return without_comments(statement, nests=nests).lstrip(_BEFORE)


def is_reading(statement: str) -> bool:
    """Whether a statement is one that only reads, unless a function in it does more."""
    words = beginning(statement)
    kind = words[:6].upper()
    # That a SELECT makes a table is rare: a plain search is enough for most of them.
    makes = kind == "SELECT" and "INTO" in words.upper() and _INTO.search(_unquoted(words))
    return kind in ("SELECT", "EXPLAI", "PRAGMA") and not makes


def is_writing(statement: str) -> bool:
    """Whether a statement is one that changes rows, or the schema, as its text says."""
    words = beginning(statement)
    found = _WRITING.match(words)
    # It may have found a word that is in quotes.
    return found is not None and _WRITING.match(_unquoted(words)) is not None


def _unquoted(words: str) -> str:
    return _COMMENTS.sub("''", words)


def is_beside(statement: str) -> bool:
    """Whether a statement changes no rows and nothing that they are in, as its text says."""
    return is_reading(statement) or _BESIDE.match(beginning(statement)) is not None


def calls(statement: str) -> bool:
    """Whether functions are called in a statement that may do more than read."""
    return re.search(r"\w\s*\(", _HARMLESS.sub("", without_comments(statement))) is not None


def locks(statement: str) -> bool:
    """Whether a SELECT is one that a database notes as work, and that changes nothing."""
    return _LOCKING.search(without_comments(statement)) is not None


def heading(statement: str) -> str:
    """The words by which a statement is told."""
    words = beginning(statement).split(None, 2)
    shown = 2 if words and SCHEMA.match(words[0]) else 1
    return " ".join(words[:shown] + ["…"] * (len(words) > shown))


def plain(name: str) -> str:
    """A table's name without quotes and without the schema that is meant anyway, in lower case."""
    bare = name.replace('"', "").replace("`", "").lower()
    return bare.removeprefix("public.").removeprefix("main.")
