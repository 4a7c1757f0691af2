"""Which SQL of PostgreSQL's a token may carry: expressions that only compute.

A default, a check, an index and a view are text in PostgreSQL's catalogs, and so they are in a
token. A function that reads files or runs programs must not get in with them. So only known
functions may be called, and what can't be taken apart into known words is refused.
"""

from __future__ import annotations

import re

_WORD = re.compile(
    r"(?P<space>\s+)"
    r"|(?P<text>'(?:[^'\\]|'')*')"
    r'|(?P<quoted>"(?:[^"\\]|"")+")'
    r"|(?P<name>[A-Za-z_][A-Za-z_0-9]*)"
    r"|(?P<number>\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)"
    r"|(?P<sign>::|[-+*/<>=~!@%^&|#?:]+|[(),.\[\]])"
)


def _set(text: str) -> frozenset[str]:
    return frozenset(text.split())


_FUNCTIONS = _set(
    "abs age array_agg array_length avg bool_and bool_or btrim cardinality ceil char_length "
    "clock_timestamp coalesce concat count date_part date_trunc extract floor gen_random_uuid "
    "greatest initcap jsonb_array_length jsonb_build_array jsonb_build_object jsonb_typeof "
    "json_build_object least left length lower lpad ltrim max md5 min mod nextval now nullif "
    "octet_length position replace reverse right round row_number rpad rtrim setweight sign "
    "split_part statement_timestamp string_agg strpos substr substring sum timezone to_char "
    "to_date to_tsvector transaction_timestamp trim trunc upper uuid_generate_v4"
)
# Words that parentheses follow, and that call nothing.
_STRUCTURE = _set(
    "all and any array as bit btree by case cast char character check distinct else exists filter "
    "foreign from gin gist brin hash having in include interval is join key like not numeric "
    "decimal on or over partition precision primary row select similar some then time timestamp "
    "to union unique using values varchar varying when where with between decimal double"
)
_NEVER = _set(
    "alter analyze begin call cluster commit copy create delete do drop execute explain grant "
    "import insert into listen load lock merge notify prepare program reassign refresh reindex "
    "reset revoke rollback security set truncate update vacuum"
)
_DOT = ("sign", ".")
# What makes these words harmless: ON DELETE SET NULL.
_ACTIONS = re.compile(
    r"\bON (?:DELETE|UPDATE) (?:CASCADE|RESTRICT|NO ACTION|SET NULL|SET DEFAULT)\b"
    r"|\bCREATE (?:UNIQUE )?INDEX\b"
)


def is_safe(text: str) -> bool:
    """Whether SQL only computes, as far as its words tell; it is one part of a statement."""
    if "--" in text or "/*" in text:
        return False
    found = _words(_without_actions(text))
    if found is None:
        return False
    depth = 0
    for at, (kind, word) in enumerate(found):
        depth += (word in "([") - (word in ")]") if kind == "sign" else 0
        if depth < 0 or (word == "," and depth == 0 and not _is_view(found)):
            return False
        if kind == "name" and word.lower() in _NEVER:
            return False
        follower = found[at + 1] if found[at + 1 :] else ("", "")
        if follower == ("sign", "(") and not _may_have_parentheses(found, at):
            return False
        # A letter before a quote begins text of another kind.
        if kind == "name" and follower[0] == "text" and word.lower() not in _STRUCTURE:
            return False
    return depth == 0


def _without_actions(text: str) -> str:
    """The text without the harmless clauses, outside of its quotes."""
    parts = re.split(r"""('(?:[^']|'')*'|"(?:[^"]|"")*")""", text)
    return "".join(
        part if index % 2 else _ACTIONS.sub(" ", part) for index, part in enumerate(parts)
    )


def _words(text: str) -> list[tuple[str, str]] | None:
    found, at = [], 0
    while at < len(text):
        match = _WORD.match(text, at)
        if match is None:
            return None
        at = match.end()
        if match.lastgroup != "space":
            found.append((str(match.lastgroup), match[0]))
    return found


def _is_view(words: list[tuple[str, str]]) -> bool:
    return bool(words) and words[0][1].lower() in ("select", "with")


def _may_have_parentheses(words: list[tuple[str, str]], at: int) -> bool:
    """Whether what is before a parenthesis is none that is called, or may be called."""
    kind, word = words[at]
    if kind in ("sign", "number", "text"):
        return word != "."
    before = words[:at]
    if kind == "name" and word.lower() in _STRUCTURE | _FUNCTIONS:
        # A function of that name in another schema is somebody else's.
        return before[-1:] != [_DOT] or [name for _, name in before[-2:-1]] == ["pg_catalog"]
    # REFERENCES table (column)
    while before[-1:] == [_DOT]:
        del before[-2:]
    return bool(before) and before[-1][1].lower() == "references"
