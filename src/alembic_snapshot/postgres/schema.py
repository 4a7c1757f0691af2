"""A PostgreSQL schema as facts that can be compared, read from the catalogs in one query.

The order of columns does not count: one that a downgrade puts back comes last. What an archive does
not carry (owners, privileges) is among the particulars.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

from alembic_snapshot.database.schema import Schema

# Objects that belong to an extension are the extension's affair.
_OWN = (
    "NOT EXISTS (SELECT 1 FROM pg_depend e WHERE e.objid = {oid} AND e.deptype = 'e')"
    " AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'"
)
_NAME = "CASE n.nspname WHEN 'public' THEN '' ELSE n.nspname || '.' END || "
_RELATION = (
    "CASE c.relkind WHEN 'r' THEN 'table ' WHEN 'p' THEN 'partitioned table ' "
    "WHEN 'S' THEN 'sequence ' WHEN 'f' THEN 'foreign table ' WHEN 'c' THEN 'type ' "
    f"ELSE 'view ' END || {_NAME} c.relname "
)
_TYPE = (
    "CASE t.typtype WHEN 'e' THEN 'enum ' WHEN 'r' THEN 'range ' ELSE 'domain ' END "
    f"|| {_NAME} t.typname "
)


def _of(kind: str, name: str) -> str:
    """What is of a table, by its own name and the table's."""
    return f"'{kind} ' || {name} || ' of ' || {_NAME} c.relname"


# The table that a fact is of, what the fact is about, and the fact.
_PARTS = (
    # tables, views, sequences, composite types
    f"SELECT c.relname, {_RELATION}, "
    f"CASE c.relpersistence WHEN 'u' THEN 'unlogged ' ELSE '' END || {_RELATION} "
    "|| CASE WHEN c.relrowsecurity THEN ' with row security' ELSE '' END "
    "|| CASE WHEN c.relforcerowsecurity THEN ' forced' ELSE '' END "
    "|| coalesce(' with ' || c.reloptions::text, '') "
    "|| coalesce(' ' || (SELECT format_type(s.seqtypid, NULL) || ' from ' || s.seqstart "
    "|| ' by ' || s.seqincrement || CASE WHEN s.seqcycle THEN ' cycle' ELSE '' END "
    "FROM pg_sequence s WHERE s.seqrelid = c.oid), '') "
    "|| coalesce((SELECT ' owned by ' || d.refobjid::regclass || '.' || o.attname FROM pg_depend d "
    "JOIN pg_attribute o ON o.attrelid = d.refobjid AND o.attnum = d.refobjsubid "
    "WHERE c.relkind = 'S' AND d.objid = c.oid AND d.classid = 'pg_class'::regclass "
    "AND d.refclassid = 'pg_class'::regclass AND d.deptype = 'a'), '') "
    "|| coalesce(' partition ' || pg_get_expr(c.relpartbound, c.oid), '') "
    "|| CASE WHEN c.relreplident IN ('f', 'i') THEN ' replica identity ' || c.relreplident::text "
    "ELSE '' END "
    "|| coalesce(' comment ' || quote_literal(obj_description(c.oid, 'pg_class')), '') "
    "|| CASE WHEN c.relkind IN ('v', 'm') THEN ': ' || pg_get_viewdef(c.oid) ELSE '' END "
    "FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
    f"WHERE c.relkind IN ('r', 'p', 'S', 'f', 'v', 'm', 'c') AND {_OWN.format(oid='c.oid')}",
    # columns
    f"SELECT c.relname, 'column ' || {_NAME} c.relname || '.' || a.attname, "
    f"'column ' || {_NAME} c.relname || '.' || a.attname || ' ' "
    "|| format_type(a.atttypid, a.atttypmod) "
    "|| coalesce((SELECT ' collate ' || o.collname FROM pg_collation o JOIN pg_type t "
    "ON t.oid = a.atttypid WHERE o.oid = a.attcollation AND o.oid <> t.typcollation), '') "
    "|| CASE WHEN a.attnotnull THEN ' not null' ELSE '' END "
    "|| CASE a.attidentity WHEN '' THEN '' ELSE ' identity ' || a.attidentity::text END "
    "|| CASE a.attgenerated WHEN '' THEN ' default ' ELSE ' generated ' END "
    "|| coalesce(pg_get_expr(d.adbin, d.adrelid), 'none') "
    "|| CASE WHEN a.attstorage <> y.typstorage THEN ' storage ' || a.attstorage::text ELSE '' END "
    # Which of these there are depends on the version.
    "|| coalesce(' compression ' || nullif(to_jsonb(a) ->> 'attcompression', ''), '') "
    "|| coalesce(' statistics ' || nullif(to_jsonb(a) ->> 'attstattarget', '-1'), '') "
    "|| coalesce(' comment ' || quote_literal(col_description(c.oid, a.attnum)), '') "
    "FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid "
    "JOIN pg_type y ON y.oid = a.atttypid JOIN pg_namespace n ON n.oid = c.relnamespace "
    "LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum "
    "WHERE (c.relkind IN ('r', 'p', 'f', 'c') OR c.relkind = 'v' AND d.oid IS NOT NULL) "
    f"AND a.attnum > 0 AND NOT a.attisdropped "
    f"AND {_OWN.format(oid='c.oid')}",
    # constraints
    f"SELECT c.relname, {_of('constraint', 'k.conname')}, {_of('constraint', 'k.conname')} || ': ' "
    "|| pg_get_constraintdef(k.oid) FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid "
    f"JOIN pg_namespace n ON n.oid = c.relnamespace WHERE k.contype <> 'n' "
    f"AND {_OWN.format(oid='c.oid')}",
    "SELECT NULL, NULL, "
    f"'constraint ' || k.conname || ' of ' || {_NAME} t.typname || ': ' "
    "|| pg_get_constraintdef(k.oid) FROM pg_constraint k JOIN pg_type t ON t.oid = k.contypid "
    f"JOIN pg_namespace n ON n.oid = t.typnamespace WHERE k.contype <> 'n' "
    f"AND {_OWN.format(oid='t.oid')}",
    # indexes, those of constraints too: they say the same
    f"SELECT c.relname, {_of('index', 'i.relname')}, {_of('index', 'i.relname')} || ': ' "
    "|| pg_get_indexdef(i.oid) || CASE WHEN x.indisclustered THEN ' clustered' ELSE '' END "
    "|| CASE WHEN x.indisreplident THEN ' replica identity' ELSE '' END "
    "FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid "
    "JOIN pg_class c ON c.oid = x.indrelid JOIN pg_namespace n ON n.oid = c.relnamespace "
    f"WHERE {_OWN.format(oid='c.oid')}",
    # triggers, rules, policies
    f"SELECT c.relname, {_of('trigger', 't.tgname')}, {_of('trigger', 't.tgname')} || ': ' "
    "|| pg_get_triggerdef(t.oid) || CASE t.tgenabled WHEN 'O' THEN '' ELSE ' (' "
    "|| t.tgenabled::text || ')' END FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid "
    f"JOIN pg_namespace n ON n.oid = c.relnamespace WHERE NOT t.tgisinternal "
    f"AND {_OWN.format(oid='c.oid')}",
    f"SELECT c.relname, {_of('rule', 'r.rulename')}, {_of('rule', 'r.rulename')} || ': ' "
    "|| pg_get_ruledef(r.oid) FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class "
    "JOIN pg_namespace n ON n.oid = c.relnamespace WHERE r.rulename <> '_RETURN' "
    f"AND {_OWN.format(oid='c.oid')}",
    f"SELECT c.relname, {_of('policy', 'p.polname')}, {_of('policy', 'p.polname')} || ': ' "
    "|| p.polcmd::text || CASE WHEN p.polpermissive THEN '' ELSE ' restrictive' END "
    "|| ' to ' || array(SELECT coalesce(rolname, 'public') FROM unnest(p.polroles) u "
    "LEFT JOIN pg_roles o ON o.oid = u ORDER BY 1)::text "
    "|| coalesce(' using ' || pg_get_expr(p.polqual, p.polrelid), '') "
    "|| coalesce(' check ' || pg_get_expr(p.polwithcheck, p.polrelid), '') "
    "FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid "
    f"JOIN pg_namespace n ON n.oid = c.relnamespace WHERE {_OWN.format(oid='c.oid')}",
    # types: enumerations with their labels, ranges, domains
    f"SELECT NULL, {_TYPE}, {_TYPE} || coalesce("
    "(SELECT ' (' || string_agg(e.enumlabel, ', ' ORDER BY e.enumsortorder) || ')' "
    "FROM pg_enum e WHERE e.enumtypid = t.oid), "
    "(SELECT ' of ' || format_type(g.rngsubtype, NULL) FROM pg_range g WHERE g.rngtypid = t.oid), "
    "' ' || format_type(t.typbasetype, t.typtypmod)) "
    "|| CASE WHEN t.typnotnull THEN ' not null' ELSE '' END "
    "|| coalesce(' default ' || t.typdefault, '') "
    "FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace "
    f"WHERE t.typtype IN ('e', 'r', 'd') AND {_OWN.format(oid='t.oid')}",
    # functions; an aggregate has no definition that could be asked for
    f"SELECT NULL, NULL, 'function ' || {_NAME} p.proname || '(' "
    "|| pg_get_function_identity_arguments(p.oid) || '): ' "
    "|| md5(CASE p.prokind WHEN 'a' THEN p.prosrc ELSE pg_get_functiondef(p.oid) END) "
    "FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace "
    f"WHERE {_OWN.format(oid='p.oid')}",
    # schemas and extensions
    "SELECT NULL, NULL, 'schema ' || n.nspname FROM pg_namespace n WHERE n.nspname !~ '^pg_' "
    "AND n.nspname <> 'information_schema'",
    "SELECT NULL, 'extension ' || extname, 'extension ' || extname || ' ' || extversion "
    "FROM pg_extension",
)
_QUERY = " UNION ALL ".join(_PARTS)
# What "status IN ('a', 'b')" is for a varchar. The server writes it so, and reads what it wrote
# with a cast of each element, which says the same.
_TEXT = r"E?'(?:[^']|'')*'::character varying"
_CAST_AS_ONE = re.compile(rf"\(ARRAY\[({_TEXT}(?:, {_TEXT})*)\]\)::text\[\]")


def read_schema(cursor: Any, ignored: Collection[str] = ()) -> Schema:
    """The schema that a DBAPI cursor's connection sees, without the tables ``ignored``."""
    cursor.execute(_QUERY)
    subjects = {
        _as_read_again(_one_line(fact)): _one_line(subject or "")
        for table, subject, fact in cursor.fetchall()
        if table not in ignored
    }
    return Schema(frozenset(subjects), subjects=subjects)


def _as_read_again(fact: str) -> str:
    """A fact as it is of what was made by the server's own words for it."""
    return _CAST_AS_ONE.sub(
        lambda found: f"ARRAY[{re.sub(_TEXT, lambda one: f'({one[0]})::text', found[1])}]", fact
    )


def _one_line(text: str) -> str:
    return " ".join(text.split())
