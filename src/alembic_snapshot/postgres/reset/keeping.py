"""Which functions may keep something in a session that can neither be asked for nor be put back.

A function that does is declared ``VOLATILE``: so the server's own that are not are let be, and of
those that are a few, whose effects are rows, or end with the transaction, or can be discarded. Of
an extension's functions in C nobody can tell, but for those whose source was read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import psycopg

# What initdb made has lower identifiers, whatever schema it is in.
FIRST_NORMAL = 16384
# Volatile, and nothing of it stays in the session but what is discarded.
_HARMLESS = (
    "clock_timestamp|currval|gen_random_uuid|lastval|lo_\\w+|loread|lowrite|nextval|"
    "pg_(try_)?advisory_\\w+|pg_current_wal_\\w+|pg_is_in_recovery|pg_notify|pg_sleep\\w*|pg_\\w+_size|"
    "pg_partition_\\w+|random|random_normal|setval|suppress_redundant_updates_trigger|timeofday|"
    "tsvector_update_trigger\\w*|txid_status|uuidv[47]|unique_key_recheck|RI_FKey_\\w+"
)
# Their functions keep nothing in a session but settings, and what is the same for everybody.
_KNOWN = (
    "btree_gin",
    "btree_gist",
    "citext",
    "cube",
    "dict_int",
    "dict_xsyn",
    "earthdistance",
    "fuzzystrmatch",
    "hstore",
    "intarray",
    "ltree",
    "moddatetime",
    "pg_trgm",
    "pgcrypto",
    "seg",
    "tablefunc",
    "unaccent",
    "uuid-ossp",
    "vector",
)
_KEEPING = (
    "SELECT oid::bigint, lower(proname) FROM pg_proc p "
    f"WHERE oid < {FIRST_NORMAL} AND provolatile = 'v' AND proname !~ %s "
    "AND 'internal'::regtype <> ALL(proargtypes)"
)
_UNKNOWN = (
    "SELECT EXISTS (SELECT FROM pg_proc p JOIN pg_language l ON l.oid = prolang "
    f"WHERE p.oid >= {FIRST_NORMAL} AND (lanname NOT IN ('sql', 'plpgsql') "
    "OR coalesce(pg_get_function_sqlbody(p.oid), prosrc) ~* %s) "
    "AND NOT EXISTS (SELECT FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid "
    "WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e' "
    "AND d.refclassid = 'pg_extension'::regclass AND e.extname = ANY(%s)))"
)
_SETTING = r"\mexecute\M|(^|;|\m(begin|then|else|loop))\s*(set|load)\M|\m({})\M\"?\s*\("
# Every place in which the system's tables keep an expression; the first column says whose it is.
_EXPRESSIONS = (
    "SELECT a.attrelid::regclass::text, a.attname::text, i.attname::text FROM pg_attribute a "
    "JOIN pg_class c ON c.oid = a.attrelid AND c.relkind = 'r' "
    "AND c.relnamespace = 'pg_catalog'::regnamespace "
    "JOIN pg_attribute i ON i.attrelid = a.attrelid AND i.attnum = 1 "
    "WHERE a.atttypid = 'pg_node_tree'::regtype"
)


def what_may_keep(connection: psycopg.Connection[Any]) -> tuple[frozenset[str], bool]:
    """The names of the server's functions that may, and whether a database's own objects may."""
    rows = connection.execute(_KEEPING, (f"^({_HARMLESS})$",)).fetchall()
    numbers, names = {oid for oid, _ in rows}, frozenset(name for _, name in rows)
    setting = _SETTING.format("|".join(sorted(names)))
    row = connection.execute(_UNKNOWN, (setting, list(_KNOWN))).fetchone()
    is_unknown = row is None or bool(row[0])
    return names, is_unknown or not numbers.isdisjoint(_called_in_expressions(connection))


def _called_in_expressions(connection: psycopg.Connection[Any]) -> set[int]:
    """The functions that views, rules, defaults, policies and such of a database's own call."""
    parts = [
        f"SELECT {column}::text AS tree FROM {catalog} WHERE {whose} >= {FIRST_NORMAL}"
        for catalog, column, whose in connection.execute(_EXPRESSIONS).fetchall()
    ]
    rows = connection.execute(
        f"SELECT DISTINCT called[1]::bigint FROM ({' UNION ALL '.join(parts)}) AS expressions, "
        r"regexp_matches(tree, ':(?:op)?funcid (\d+)', 'g') AS called"
    )
    return {number for (number,) in rows}
