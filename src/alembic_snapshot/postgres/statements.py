"""A schema's SQL as ``pg_dump`` writes it, taken apart; which of it a file may carry."""

from __future__ import annotations

import re
from collections.abc import Iterator

_TOKEN = re.compile(
    r"""(?P<comment>--[^\n]*)
    |(?P<block>/\*)
    |(?P<meta>^\\[^\n]*$)
    |(?P<string>[eE]'(?:[^'\\]|\\.|'')*'|'(?:[^']|'')*')
    |(?P<name>"(?:[^"]|"")*")
    |(?P<dollar>\$(?:[^\W\d]\w*)?\$)
    |(?P<word>[^\W\d][\w$]*)
    |(?P<mark>[();])""",
    re.VERBOSE | re.MULTILINE | re.DOTALL,
)
_BLOCK = re.compile(r"/\*|\*/")
# A body of SQL's own has semicolons in it: CREATE FUNCTION … BEGIN ATOMIC … END.
_ROUTINE = re.compile(r"CREATE\s+(OR\s+REPLACE\s+)?(FUNCTION|PROCEDURE)\b", re.IGNORECASE)
_OBJECTS = (
    "AGGREGATE|CAST|COLLATION|CONVERSION|DOMAIN|EXTENSION|FUNCTION|INDEX|MATERIALIZED VIEW|"
    "OPERATOR|POLICY|PROCEDURE|PUBLICATION|RULE|SCHEMA|SEQUENCE|STATISTICS|TABLE|"
    "TEXT SEARCH CONFIGURATION|TEXT SEARCH DICTIONARY|TRIGGER|TYPE|VIEW"
)
_CARRIED = re.compile(
    rf"CREATE (OR REPLACE )?(CONSTRAINT |RECURSIVE |UNIQUE |UNLOGGED )?({_OBJECTS})\b"
    rf"|ALTER (DEFAULT PRIVILEGES|{_OBJECTS})\b"
    r"|COMMENT ON|GRANT|REVOKE"
)
_SESSION = re.compile(r"SET \w+ = |SELECT pg_catalog\.set_config\(")
_METHOD = re.compile(r'SET default_table_access_method = (?!"?heap"?$)')
_OWNER = re.compile(r'ALTER [^\']* OWNER TO ("(?:[^"]|"")*"|[\w$]+)')
# Written by the extension itself, when it is made.
_REPEATED = re.compile("COMMENT ON EXTENSION ")
_HEADING = 3


class NotCarried(Exception):
    """There is something in a schema that a file can't bring to another server; it says what."""


def split(text: str) -> Iterator[str]:
    """The statements of a script, without comments between them and ``psql``'s own commands.

    Raises:
        ValueError: it ends in the middle of one.
    """
    start: int | None = None
    parentheses = blocks = position = 0
    while match := _TOKEN.search(text, position):
        position, kind = match.end(), match.lastgroup
        if kind == "block":
            position = _end_of_block(text, position)
            continue
        if kind == "comment" or (kind == "meta" and start is None):
            continue
        if match[0] == ";" and not parentheses and not blocks:
            if start is not None:
                yield text[start : match.start()].strip()
            start = None
            continue
        start = match.start() if start is None else start
        if kind == "dollar":
            position = text.index(match[0], position) + len(match[0])
        elif match[0] in ("(", ")"):
            parentheses += 1 if match[0] == "(" else -1
        elif kind == "word" and not parentheses and _ROUTINE.match(text, start):
            blocks = _depth(match[0].upper(), blocks)
    if start is not None:
        raise ValueError("it ends in the middle of a statement")


def _depth(word: str, blocks: int) -> int:
    """How deep in blocks of SQL's own a word leads, as ``psql`` counts them."""
    if word == "BEGIN" or (word == "CASE" and blocks):
        return blocks + 1
    return blocks - 1 if word == "END" and blocks else blocks


def _end_of_block(text: str, position: int) -> int:
    depth = 1
    while depth:
        match = _BLOCK.search(text, position)
        if match is None:
            raise ValueError("it ends in the middle of a comment")
        depth, position = depth + (1 if match[0] == "/*" else -1), match.end()
    return position


def carried(text: str, owner: str) -> list[str]:
    """The statements that make a schema whose objects all belong to one role.

    What a session sets is left out, and whose the objects are: both are the restorer's affair.

    Raises:
        NotCarried: the schema has what a file can't bring.
        ValueError: it is no script.
    """
    statements = []
    for statement in split(text):
        if _METHOD.match(statement):
            raise NotCarried("a table with another access method than heap")
        if _SESSION.match(statement) or _REPEATED.match(statement):
            continue
        given = _OWNER.fullmatch(statement)
        if given is None:
            refuse(statement)
            statements.append(statement)
        elif given[1].strip('"').replace('""', '"') != owner:
            raise NotCarried(f"objects of the role {given[1]}")
    return statements


def refuse(statement: str) -> None:
    """Refuse a statement that is of no kind that a schema is made of.

    Raises:
        NotCarried: it names the kind.
    """
    if not _CARRIED.match(statement):
        raise NotCarried(f"a statement {' '.join(statement.split()[:_HEADING])}")
