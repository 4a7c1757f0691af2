"""What a test wrote, judged by the records of the write-ahead log.

What is not known to leave nothing but rows and sequences' values behind is a reason for a fresh
database: a record of a kind that nobody has thought of is one of these.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

# Records that name no block of a relation, and change none: what became of transactions, what
# concerns the server, another database as a whole, or who listens to messages.
_PLACELESS = {
    "CLOG",
    "CommitTs",
    "Database",
    "LogicalMessage",
    "MultiXact",
    "ReplicationOrigin",
    "Standby",
    "Tablespace",
    "Transaction",
    "XLOG",
}
# What a server writes for logical decoding, of catalogs and of what is truncated: beside each there
# is a record of the change itself, which names its place.
_FOR_DECODING = {("Heap", "TRUNCATE"), ("Heap2", "NEW_CID"), ("Heap2", "REWRITE")}
# Room is made, or it is noted what became of a row: whoever only reads may write these.
_TIDYING = {
    ("Heap2", "FREEZE_PAGE"),
    ("Heap2", "PRUNE"),
    ("Heap2", "PRUNE_ON_ACCESS"),
    ("Heap2", "PRUNE_VACUUM_CLEANUP"),
    ("Heap2", "PRUNE_VACUUM_SCAN"),
    ("Heap2", "VACUUM"),
    ("Heap2", "VISIBLE"),
    ("XLOG", "FPI_FOR_HINT"),
}
# A row is locked, as a foreign key does to the row that it refers to.
_LOCKING = {("Heap", "LOCK"), ("Heap2", "LOCK_UPDATED")}
_INSERTING = {("Heap", "HEAP_CONFIRM"), ("Heap", "INSERT"), ("Heap2", "MULTI_INSERT")}
_CHANGING = {("Heap", "DELETE"), ("Heap", "HOT_UPDATE"), ("Heap", "UPDATE")}
_ON_A_NEW_PAGE = "+INIT"
_DATABASE_OF_FILE = re.compile(r"(?:base|pg_tblspc/\d+/[^/]+)/(\d+)/\d+")
_SHARED_FILE = re.compile(r"global/\d+")
_DATABASE_OF_MAP = re.compile(r"database (\d+) ")
SCHEMA = "the schema, or another of the system's tables, changed"

# Tablespace and number of a relation's file.
File = tuple[int, int]


@dataclass(frozen=True)
class Relation:
    """What a file holds: ``table``, ``toast``, ``sequence`` or ``index``, and whose it is.

    ``owner`` is the table's or the sequence's identifier.
    """

    kind: str
    owner: int


class Record(NamedTuple):
    """What some records of the log have in common; a file's parts are None if they name no block.

    ``is_read`` says whether the places of all their blocks were understood.
    """

    manager: str
    kind: str
    is_read: bool
    tablespace: int | None
    database: int | None
    file: int | None
    description: str | None


@dataclass
class Changes:
    """Which tables and sequences were written to.

    Of those in ``inserted`` no row was changed that had been there. ``shared`` says that tables of
    all databases were, ``prepared`` that some transaction was prepared. ``obstacle`` is what can't
    be put back.
    """

    inserted: set[int] = field(default_factory=set)
    changed: set[int] = field(default_factory=set)
    sequences: set[int] = field(default_factory=set)
    shared: bool = False
    prepared: bool = False
    obstacle: str | None = None

    @property
    def tables(self) -> set[int]:
        """All tables that may have other rows than before."""
        return self.inserted | self.changed


def judge(records: Iterable[Record], database: int, relations: dict[File, Relation]) -> Changes:
    """What the records say was written in one database, of which the relations are known."""
    changes = Changes()
    for record in records:
        reason = _judge(changes, record, database, relations)
        if reason:
            changes.obstacle = reason
            break
    return changes


def _judge(
    changes: Changes, record: Record, database: int, relations: dict[File, Relation]
) -> str | None:
    if not record.is_read:
        return f"the log has a record that is not understood ({_name(record)})"
    if record.tablespace is None or record.file is None:
        changes.prepared |= (record.manager, record.kind) == ("Transaction", "PREPARE")
        return _judge_placeless(record, database)
    if record.database == 0:
        changes.shared = True
        return None
    if record.database != database:
        return None
    relation = relations.get((record.tablespace, record.file))
    what = (record.manager, record.kind.removesuffix(_ON_A_NEW_PAGE))
    if what in _TIDYING or (relation is not None and relation.kind == "index"):
        return None
    if relation is None:
        return SCHEMA
    if relation.kind == "sequence":
        changes.sequences.add(relation.owner)
        return None if record.manager == "Sequence" else _unknown(record)
    if what in _LOCKING:
        return None
    if what in _INSERTING:
        changes.inserted.add(relation.owner)
        return None
    if what in _CHANGING:
        changes.changed.add(relation.owner)
        return None
    return _unknown(record)


def _judge_placeless(record: Record, database: int) -> str | None:
    if record.manager in _PLACELESS or (record.manager, record.kind) in _FOR_DECODING:
        return None
    description = record.description or ""
    if record.manager == "Storage":
        found = _DATABASE_OF_FILE.match(description)
        if found is None and not _SHARED_FILE.match(description):
            return _unknown(record)
        return SCHEMA if found and int(found[1]) == database else None
    if record.manager == "RelMap":
        found = _DATABASE_OF_MAP.match(description)
        if found is None:
            return _unknown(record)
        return SCHEMA if int(found[1]) == database else None
    return _unknown(record)


def _unknown(record: Record) -> str:
    return f"something other than rows and sequences was written ({_name(record)})"


def _name(record: Record) -> str:
    return f"{record.manager} {record.kind}"
