"""What a ``CREATE TABLE`` says, constraint by constraint, however it is spelled.

Nothing of a statement is left out: what is neither the name of a column nor one of its constraints
is its type, or stands behind the table's columns.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

TOKENS = re.compile(
    r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|`(?:[^`]|``)*`|\[[^\]]*\]|--[^\n]*|/\*.*?\*/"""
    r"|\w+|[<>=!|]+|\S",
    re.DOTALL,
)
QUOTED = re.compile(r'["`\[](\w+)["`\]]')
# The words that constraints begin with, and what is inside one all the same.
_OF_TABLES = frozenset(("CONSTRAINT", "PRIMARY", "UNIQUE", "CHECK", "FOREIGN"))
_OF_COLUMNS = frozenset(("NOT", "NULL", "DEFAULT", "COLLATE", "REFERENCES", "GENERATED", "AS"))
_INNER = {
    ("NOT", "NULL"),
    ("DEFAULT", "NULL"),
    ("SET", "NULL"),
    ("SET", "DEFAULT"),
    ("ALWAYS", "AS"),
}
# What says the same as nothing.
_DEFAULTS = (
    ("ON", "CONFLICT", "ABORT"),
    ("ON", "DELETE", "NO", "ACTION"),
    ("ON", "UPDATE", "NO", "ACTION"),
    ("MATCH", "SIMPLE"),
    ("ASC",),
)
_VIRTUAL = re.compile(r"CREATE\s+VIRTUAL\b", re.IGNORECASE)
Tokens = Sequence[str]


class Constraint(NamedTuple):
    """A constraint of a table, or of its ``column``, with the word that it begins with."""

    column: str | None
    name: str
    kind: str
    words: Tokens


class Definition(NamedTuple):
    """The types of a table's columns, its constraints, and what stands behind them."""

    types: dict[str, str]
    constraints: list[Constraint]
    options: list[str]


def is_virtual(statement: str) -> bool:
    return _VIRTUAL.match(statement) is not None


def definition(statement: str) -> Definition:
    """What a statement says that creates a table with columns."""
    _, *columns, behind = _parts(statement)
    types: dict[str, str] = {}
    constraints: list[Constraint] = []
    for part in columns:
        column = None
        if part[0].upper() not in _OF_TABLES:
            column, part = _name(part[0]), part[1:]
            types[column] = _spelled(part[: next(_starts(part), len(part))])
        constraints += _constraints(column, part)
    options = " ".join(behind).upper().split(",")
    return Definition(types, constraints, sorted(one.strip() for one in options if one.strip()))


def told(table: str, one: Constraint) -> str | None:
    """A constraint as text; None of one that a column's reflection tells."""
    name = f" {one.name}" if one.name else ""
    columns, words = _split(one)
    if one.kind == "PRIMARY":
        return f"primary key{name} of {table}: {columns}{_lower(words)}"
    if one.kind == "UNIQUE":
        return f"unique{name} of {table} ({columns}){_lower(words)}"
    if one.kind in ("FOREIGN", "REFERENCES"):
        return f"foreign key{name} of {table} ({columns}) to {_reference(words)}"
    if one.kind == "CHECK":
        return f"check{name} of {table}: {_spelled(words)}"
    if is_generated(one):
        return None
    is_plain = one.kind != "GENERATED" and (one.kind != "NOT" or len(words) == 1)
    if is_plain and not name:
        return None
    kind = "not null" if one.kind == "NOT" else one.kind.lower()
    how = "" if is_plain else _lower(words if one.kind == "GENERATED" else words[1:])
    return f"column {table}.{one.column}: {kind}{name and f' named{name}'}{how}"


def is_generated(one: Constraint) -> bool:
    """Whether it says what a column is generated from; ``generated always`` alone is a type."""
    return one.kind in ("GENERATED", "AS") and "(" in one.words


def expression(one: Constraint) -> str:
    """The expression of a generated column."""
    start = one.words.index("(") + 1
    end = len(one.words) - list(reversed(one.words)).index(")") - 1
    return _spelled(one.words[start:end])


def _parts(statement: str) -> list[list[str]]:
    """The tokens of a statement between its outer parentheses and commas."""
    parts: list[list[str]] = [[]]
    depth, is_behind = 0, False
    for token in TOKENS.findall(statement):
        if token.startswith(("--", "/*")):
            continue
        depth += (token == "(") - (token == ")")
        is_outer = (token == "(" and depth == 1) or (token == ")" and depth == 0)
        if not is_behind and (is_outer or (token == "," and depth == 1)):
            parts.append([])
            is_behind = token == ")"
        else:
            parts[-1].append(token)
    return parts


def _starts(part: Tokens) -> Iterator[int]:
    """Where the constraints of a column or a table begin."""
    depth, before, current = 0, "", ""
    for index, token in enumerate(part):
        word = token.upper()
        depth += (token == "(") - (token == ")")
        following = part[index + 1].upper() if part[index + 1 :] else ""
        is_inner = (
            (before, word) in _INNER
            or (word, following) == ("NOT", "DEFERRABLE")
            or (current, word) == ("FOREIGN", "REFERENCES")
            or before == "CONSTRAINT"
        )
        if depth == 0 and word in _OF_TABLES | _OF_COLUMNS and not is_inner:
            yield index
            current = word
        before = word


def _constraints(column: str | None, part: Tokens) -> Iterator[Constraint]:
    name = ""
    for start, end in itertools.pairwise([*_starts(part), len(part)]):
        kind, words = part[start].upper(), part[start + 1 : end]
        if kind == "CONSTRAINT":
            name = _name(words[0])
        else:
            yield Constraint(column, name, kind, _without_defaults(words))
            name = ""


def _without_defaults(words: Tokens) -> list[str]:
    left: list[str] = []
    index = 0
    while index < len(words):
        for default in _DEFAULTS:
            end = index + len(default)
            if tuple(word.upper() for word in words[index:end]) == default:
                index = end
                break
        else:
            left.append(words[index])
            index += 1
    return left


def _split(one: Constraint) -> tuple[str, Tokens]:
    """The columns that a constraint is on, and the other words of it."""
    words = list(one.words)
    if one.kind in ("PRIMARY", "FOREIGN"):
        words = words[1:]
    if one.column is None and words[:1] == ["("] and one.kind != "CHECK":
        end = words.index(")")
        listed, words = words[1:end], words[end + 1 :]
    else:
        listed = [one.column or ""]
    # These may stand within the parentheses, or behind the column.
    for inner, outer, word in ((words, listed, "DESC"), (listed, words, "AUTOINCREMENT")):
        if one.kind == "PRIMARY" and any(token.upper() == word for token in inner):
            inner[:] = [token for token in inner if token.upper() != word]
            outer.append(word)
    if one.kind == "FOREIGN":
        words = words[1:]
    listed = [token.lower() if token.upper() in ("COLLATE", "DESC") else token for token in listed]
    return _spelled(listed), words


def _reference(words: Tokens) -> str:
    """The table that is referred to, its columns, and the rest in an order of its own."""
    chunks: list[list[str]] = [[]]
    before = ""
    for token in words:
        word = token.upper()
        if word in ("ON", "MATCH", "NOT") or (word == "DEFERRABLE" and before != "NOT"):
            chunks.append([])
        chunks[-1].append(token)
        before = word
    return _spelled(chunks[0]) + "".join(sorted(_lower(chunk) for chunk in chunks[1:]))


def _spelled(tokens: Tokens) -> str:
    """An expression or a list of names with the quotes and the spaces that it needs."""
    text, before = "", "("
    for token in tokens:
        is_close = token in ("(", ")", ",", ".") or before in ("(", ".")
        match = QUOTED.fullmatch(token)
        text += ("" if is_close else " ") + (match[1] if match else token)
        before = token
    return text


def _lower(words: Tokens) -> str:
    return "".join(f" {word.lower()}" for word in words)


def _name(token: str) -> str:
    quote = token[0]
    if quote not in "\"'`[":
        return token
    inner = token[1:-1]
    return inner if quote == "[" else inner.replace(quote * 2, quote)
