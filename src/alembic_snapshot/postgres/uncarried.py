"""What a database on a server has that no token carries, so that a difference in it is told.

The system's tables are asked, each one that there is: what a later version adds counts, too. Two
copies of one snapshot have the same numbers for the same objects. What a token makes anew has other
numbers, and is compared by its name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from alembic_snapshot.postgres.catalog import Table, sums

if TYPE_CHECKING:
    import psycopg

# What is compared in other ways: by a token's objects, by the schema's facts, by names below. And
# the planner's statistics, which stay behind.
_IN_OTHER_WAYS = (
    "pg_attrdef",
    "pg_attribute",
    "pg_class",
    "pg_constraint",
    "pg_depend",
    "pg_enum",
    "pg_index",
    "pg_inherits",
    "pg_largeobject",
    "pg_namespace",
    "pg_partitioned_table",
    "pg_rewrite",
    "pg_sequence",
    "pg_statistic",
    "pg_statistic_ext_data",
    "pg_trigger",
    "pg_type",
    "pg_user_mapping",
)
_WORDS = {
    "pg_am": "access methods",
    "pg_cast": "casts",
    "pg_collation": "collations",
    "pg_conversion": "conversions",
    "pg_default_acl": "default privileges",
    "pg_description": "comments",
    "pg_event_trigger": "event triggers",
    "pg_extension": "extensions",
    "pg_foreign_server": "foreign servers",
    "pg_language": "languages",
    "pg_largeobject_metadata": "large objects",
    "pg_operator": "operators",
    "pg_policy": "policies",
    "pg_proc": "functions",
    "pg_publication": "publications",
    "pg_publication_namespace": "publications",
    "pg_publication_rel": "publications",
    "pg_seclabel": "security labels",
    "pg_statistic_ext": "extended statistics",
    "pg_ts_config": "text search configurations",
    "pg_ts_dict": "text search dictionaries",
}
_RELATIONS = (
    "pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname !~ '^pg_(toast|temp)'"
)
_TYPES = (
    "pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace AND n.nspname !~ '^pg_(toast|temp)'"
)
_SCHEMAS = "pg_namespace WHERE nspname !~ '^pg_(toast|temp)'"
_DATABASE = "pg_database WHERE datname = current_database()"
_BY_NAME = {
    "types of its own differ": (
        "SELECT t.oid::regtype::text, t.typtype::text, t.typinput::text, t.typlen::text, "
        f"t.typdefault FROM {_TYPES} WHERE t.typtype IN ('b', 'p') AND t.typcategory <> 'A'"
    ),
    "privileges were granted or revoked": (
        f"SELECT 'relation', c.oid::regclass::text, '', c.relacl::text FROM {_RELATIONS} "
        "UNION ALL SELECT 'column', c.oid::regclass::text, a.attname::text, a.attacl::text "
        f"FROM {_RELATIONS} JOIN pg_attribute a ON a.attrelid = c.oid AND a.attacl IS NOT NULL "
        f"UNION ALL SELECT 'type', t.oid::regtype::text, '', t.typacl::text FROM {_TYPES} "
        "UNION ALL SELECT 'routine', oid::text, '', proacl::text FROM pg_proc "
        f"UNION ALL SELECT 'schema', nspname::text, '', nspacl::text FROM {_SCHEMAS} "
        f"UNION ALL SELECT 'database', '', '', datacl::text FROM {_DATABASE}"
    ),
    "owners differ": (
        "SELECT 'relation', c.oid::regclass::text, pg_get_userbyid(c.relowner)::text "
        f"FROM {_RELATIONS} UNION ALL "
        f"SELECT 'type', t.oid::regtype::text, pg_get_userbyid(t.typowner)::text FROM {_TYPES} "
        "UNION ALL SELECT 'routine', oid::text, pg_get_userbyid(proowner)::text "
        "FROM pg_proc UNION ALL "
        f"SELECT 'schema', nspname::text, pg_get_userbyid(nspowner)::text FROM {_SCHEMAS} "
        f"UNION ALL SELECT 'database', '', pg_get_userbyid(datdba)::text FROM {_DATABASE}"
    ),
    "settings of the database differ": (
        "SELECT r.rolname::text, s.setconfig::text FROM pg_db_role_setting s "
        "JOIN pg_database d ON d.oid = s.setdatabase LEFT JOIN pg_roles r ON r.oid = s.setrole "
        f"WHERE d.datname = current_database() UNION ALL SELECT '', datconnlimit::text "
        f"FROM {_DATABASE}"
    ),
    "the comment of the database differs": (
        f"SELECT shobj_description(oid, 'pg_database') FROM {_DATABASE}"
    ),
    "subscriptions differ": (
        "SELECT s.subname::text, s.subenabled::text, s.subpublications::text "
        "FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid "
        "WHERE d.datname = current_database()"
    ),
    "user mappings differ": "SELECT srvname::text, usename::text, umoptions::text "
    "FROM pg_user_mappings",
    "inheritance or what a table is partitioned by differs": (
        "SELECT c.oid::regclass::text, i.inhparent::regclass::text, i.inhseqno::text "
        f"FROM {_RELATIONS} JOIN pg_inherits i ON i.inhrelid = c.oid UNION ALL "
        f"SELECT c.oid::regclass::text, pg_get_partkeydef(c.oid), '' FROM {_RELATIONS} "
        "WHERE c.relkind = 'p'"
    ),
    "what a table is stored or declared as differs": (
        "SELECT c.oid::regclass::text, m.amname::text, c.reloftype::regtype::text "
        f"FROM {_RELATIONS} LEFT JOIN pg_am m ON m.oid = c.relam"
    ),
    "options of foreign columns differ": (
        "SELECT c.oid::regclass::text, a.attname::text, a.attfdwoptions::text "
        f"FROM {_RELATIONS} JOIN pg_attribute a ON a.attrelid = c.oid "
        "WHERE a.attfdwoptions IS NOT NULL"
    ),
    "triggers or rules were switched on or off": (
        "SELECT c.oid::regclass::text, coalesce(k.conname, t.tgname)::text, t.tgtype::text, "
        f"t.tgenabled::text FROM {_RELATIONS} JOIN pg_trigger t ON t.tgrelid = c.oid "
        "LEFT JOIN pg_constraint k ON k.oid = t.tgconstraint WHERE t.tgenabled <> 'O' "
        "UNION ALL SELECT c.oid::regclass::text, r.rulename::text, '', r.ev_enabled::text "
        f"FROM {_RELATIONS} JOIN pg_rewrite r ON r.ev_class = c.oid WHERE r.ev_enabled <> 'O'"
    ),
}
_CATALOGS = (
    "SELECT relname::text FROM pg_class WHERE relnamespace = 'pg_catalog'::regnamespace "
    "AND relkind = 'r' AND NOT relisshared AND relname <> ALL(%s) ORDER BY 1"
)
_VIEWS = f"SELECT c.oid::regclass::text, c.relispopulated FROM {_RELATIONS} WHERE c.relkind = 'm'"


def uncarried(connection: psycopg.Connection[Any]) -> dict[str, Any]:
    """What no token carries: a value that changes with it, by the reason in words."""
    from psycopg import sql

    found: dict[str, Any] = {}
    for reason, query in _BY_NAME.items():
        ordered = sql.SQL("SELECT * FROM ({}) AS found ORDER BY found::text").format(sql.SQL(query))
        found[reason] = connection.execute(ordered).fetchall()
    for name, is_populated in connection.execute(_VIEWS).fetchall():
        table = {name: Table(name, (), 0)} if is_populated else {}
        found[f"the materialized view {name} was refreshed"] = sums(connection, table)
    for (name,) in connection.execute(_CATALOGS, (list(_IN_OTHER_WAYS),)).fetchall():
        words = _WORDS.get(name, f"rows of the system's table {name}")
        found.setdefault(f"{words} differ", []).append(_rows(connection, name))
    found["it has large objects"] = _large_objects(connection)
    return found


def _rows(connection: psycopg.Connection[Any], catalog: str) -> Any:
    """How many rows a table of the system's has, and a checksum of them in any order."""
    from psycopg import sql

    query = sql.SQL(
        "SELECT count(*), sum(hashtextextended(found::text, 0)::numeric)::text FROM {} AS found"
    )
    return connection.execute(query.format(sql.Identifier("pg_catalog", catalog))).fetchone()


def _large_objects(connection: psycopg.Connection[Any]) -> Any:
    query = "SELECT count(*), has_table_privilege('pg_largeobject', 'SELECT')"
    row = connection.execute(f"{query} FROM pg_largeobject_metadata").fetchone()
    assert row is not None
    if not row[0]:
        return None
    if not row[1]:
        # What is in them nobody else may read: so they count as changed.
        return object()
    query = "SELECT md5(string_agg(md5(data), '' ORDER BY loid, pageno)) FROM pg_largeobject"
    return row[0], connection.execute(query).fetchone()
