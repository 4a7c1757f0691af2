"""A PostgreSQL schema as facts that can be compared, read from the catalogs in one query.

The order of columns does not count: one that a downgrade puts back comes last.
"""

from __future__ import annotations

from typing import Any

from alembic_snapshot.builder.schema import Schema

# Objects that belong to an extension are the extension's affair.
_OWN = (
    "NOT EXISTS (SELECT 1 FROM pg_depend e WHERE e.objid = {oid} AND e.deptype = 'e')"
    " AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'"
)
_NAME = "CASE n.nspname WHEN 'public' THEN '' ELSE n.nspname || '.' END || "
_PARTS = (
    # tables, views, sequences
    "SELECT c.relname, CASE c.relkind WHEN 'r' THEN 'table ' WHEN 'p' THEN 'partitioned table ' "
    "WHEN 'S' THEN 'sequence ' WHEN 'f' THEN 'foreign table ' ELSE 'view ' END "
    f"|| {_NAME} c.relname || CASE WHEN c.relkind IN ('v', 'm') "
    "THEN ': ' || pg_get_viewdef(c.oid) ELSE '' END "
    "FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
    f"WHERE c.relkind IN ('r', 'p', 'S', 'f', 'v', 'm') AND {_OWN.format(oid='c.oid')}",
    # columns
    f"SELECT c.relname, 'column ' || {_NAME} c.relname || '.' || a.attname || ' ' "
    "|| format_type(a.atttypid, a.atttypmod) "
    "|| CASE WHEN a.attnotnull THEN ' not null' ELSE '' END "
    "|| CASE a.attidentity WHEN '' THEN '' ELSE ' identity ' || a.attidentity::text END "
    "|| CASE a.attgenerated WHEN '' THEN ' default ' ELSE ' generated ' END "
    "|| coalesce(pg_get_expr(d.adbin, d.adrelid), 'none') "
    "FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid "
    "JOIN pg_namespace n ON n.oid = c.relnamespace "
    "LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum "
    f"WHERE c.relkind IN ('r', 'p', 'f') AND a.attnum > 0 AND NOT a.attisdropped "
    f"AND {_OWN.format(oid='c.oid')}",
    # constraints
    f"SELECT c.relname, 'constraint ' || k.conname || ' of ' || {_NAME} c.relname || ': ' "
    "|| pg_get_constraintdef(k.oid) FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid "
    f"JOIN pg_namespace n ON n.oid = c.relnamespace WHERE k.contype <> 'n' "
    f"AND {_OWN.format(oid='c.oid')}",
    # indexes, those of constraints too: they say the same
    f"SELECT c.relname, 'index ' || i.relname || ' of ' || {_NAME} c.relname || ': ' "
    "|| pg_get_indexdef(i.oid) FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid "
    "JOIN pg_class c ON c.oid = x.indrelid JOIN pg_namespace n ON n.oid = c.relnamespace "
    f"WHERE {_OWN.format(oid='c.oid')}",
    # triggers
    f"SELECT c.relname, 'trigger ' || t.tgname || ' of ' || {_NAME} c.relname || ': ' "
    "|| pg_get_triggerdef(t.oid) FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid "
    f"JOIN pg_namespace n ON n.oid = c.relnamespace WHERE NOT t.tgisinternal "
    f"AND {_OWN.format(oid='c.oid')}",
    # types: enumerations with their labels, domains
    f"SELECT '', CASE t.typtype WHEN 'e' THEN 'enum ' ELSE 'domain ' END || {_NAME} t.typname "
    "|| coalesce((SELECT ' (' || string_agg(e.enumlabel, ', ' ORDER BY e.enumsortorder) || ')' "
    "FROM pg_enum e WHERE e.enumtypid = t.oid), ' ' || format_type(t.typbasetype, t.typtypmod)) "
    "FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace "
    f"WHERE t.typtype IN ('e', 'd') AND {_OWN.format(oid='t.oid')}",
    # functions
    f"SELECT '', 'function ' || {_NAME} p.proname || '(' "
    "|| pg_get_function_identity_arguments(p.oid) || '): ' || md5(p.prosrc) "
    "FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace "
    f"WHERE {_OWN.format(oid='p.oid')}",
    # schemas and extensions
    "SELECT '', 'schema ' || n.nspname FROM pg_namespace n WHERE n.nspname !~ '^pg_' "
    "AND n.nspname <> 'information_schema'",
    "SELECT '', 'extension ' || extname || ' ' || extversion FROM pg_extension",
)
_QUERY = " UNION ALL ".join(_PARTS)


def read_schema(cursor: Any, ignored: str) -> Schema:
    """The schema that a DBAPI cursor's connection sees; the table ``ignored`` is left out."""
    cursor.execute(_QUERY)
    facts = (" ".join(fact.split()) for table, fact in cursor.fetchall() if table != ignored)
    return Schema({}, frozenset(facts))
