"""What a database has beside its rows and the schema that an archive carries.

Owners, privileges, settings and comments, and the kinds of objects that few databases have. What
was altered and altered back is the same, though PostgreSQL may have it in another order then.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

# The first number that objects have which PostgreSQL did not bring.
_FIRST = 16384
# A database that was kept, or that ``open`` made, has what we know of it in its comment.
_OUR_COMMENT = (
    "starts_with(o.datname, 'alembic_') AND NOT starts_with(o.datname, 'alembic_clone_') OR "
    "starts_with(coalesce(shobj_description(o.oid, 'pg_database'), ''), '{\"alembic_snapshot\":')"
)
_DEFAULT = "the default"
_LISTED = (
    "coalesce((SELECT string_agg(x::text, ', ' ORDER BY x::text COLLATE \"C\") "
    "FROM unnest({}) AS x), 'nobody')"
)


def _sorted(listed: str) -> str:
    """An array as text; what was taken away and added again stands last in it."""
    return f'array(SELECT x FROM unnest({listed}) AS x ORDER BY lower(x::text) COLLATE "C")::text'


def _own(catalog: str, space: str = "") -> str:
    """Whether an object is neither PostgreSQL's nor an extension's."""
    is_own = (
        f"o.oid >= {_FIRST} AND NOT EXISTS (SELECT 1 FROM pg_depend e WHERE e.objid = o.oid "
        f"AND e.classid = '{catalog}'::regclass AND e.deptype = 'e')"
    )
    return f"{is_own} AND o.{space}::regnamespace::text !~ '^pg_'" if space else is_own


def _named(catalog: str) -> str:
    return f"pg_describe_object('{catalog}'::regclass, o.oid, 0)"


def _privileges(acl: str, default: str) -> str:
    """Privileges as text; what was granted and taken again is the default, too."""
    listed = f"nullif({_LISTED.format(acl)}, {_LISTED.format(default)})"
    return f"CASE WHEN {acl} IS NULL THEN '{_DEFAULT}' ELSE coalesce({listed}, '{_DEFAULT}') END"


_OWN_SPACES = "o.nspname !~ '^pg_' AND o.nspname <> 'information_schema'"
_RELATIONS = f"o.relkind IN ('r', 'p', 'v', 'm', 'S', 'f') AND {_own('pg_class', 'relnamespace')}"
_NO_ARRAYS = (
    "NOT EXISTS (SELECT 1 FROM pg_type a WHERE a.typarray = o.oid) AND (o.typtype IN "
    "('b', 'd', 'e', 'r') OR EXISTS (SELECT 1 FROM pg_class c WHERE c.oid = o.typrelid "
    f"AND c.relkind = 'c')) AND {_own('pg_type', 'typnamespace')}"
)
# Catalogs with the letters that their columns begin with, and which of their objects count.
_OWNED = {
    "pg_class": ("rel", _RELATIONS),
    "pg_proc": ("pro", _own("pg_proc", "pronamespace")),
    "pg_type": ("typ", _NO_ARRAYS),
    "pg_namespace": ("nsp", _OWN_SPACES),
    "pg_language": ("lan", _own("pg_language")),
    "pg_foreign_data_wrapper": ("fdw", _own("pg_foreign_data_wrapper")),
    "pg_foreign_server": ("srv", _own("pg_foreign_server")),
    "pg_collation": ("coll", _own("pg_collation")),
    "pg_conversion": ("con", _own("pg_conversion")),
    "pg_operator": ("opr", _own("pg_operator")),
    "pg_opclass": ("opc", _own("pg_opclass")),
    "pg_opfamily": ("opf", _own("pg_opfamily")),
    "pg_ts_config": ("cfg", _own("pg_ts_config")),
    "pg_ts_dict": ("dict", _own("pg_ts_dict")),
    "pg_statistic_ext": ("stx", _own("pg_statistic_ext")),
    "pg_publication": ("pub", _own("pg_publication")),
    "pg_event_trigger": ("evt", _own("pg_event_trigger")),
}
# What acldefault() calls the kinds of objects that have privileges.
_KINDS = {
    "pg_class": "CASE o.relkind WHEN 'S' THEN 's' ELSE 'r' END::\"char\"",
    "pg_proc": "'f'",
    "pg_type": "'T'",
    "pg_namespace": "'n'",
    "pg_language": "'l'",
    "pg_foreign_data_wrapper": "'F'",
    "pg_foreign_server": "'S'",
}
_OF_TABLES = f"FROM pg_class o WHERE {_RELATIONS}"
_VALUES = (
    *(
        f"SELECT 'owner of ' || {_named(name)}, pg_get_userbyid(o.{letters}owner)::text "
        f"FROM {name} o WHERE {which}"
        for name, (letters, which) in _OWNED.items()
    ),
    *(
        f"SELECT 'privileges on ' || {_named(name)}, "
        + _privileges(f"o.{_OWNED[name][0]}acl", f"acldefault({kind}, o.{_OWNED[name][0]}owner)")
        + f" FROM {name} o WHERE {_OWNED[name][1]}"
        for name, kind in _KINDS.items()
    ),
    f"SELECT 'privileges on columns of ' || {_named('pg_class')}, coalesce((SELECT "
    f"string_agg(a.attname || ' ' || {_sorted('a.attacl')}, ', ' ORDER BY a.attname) "
    "FROM pg_attribute a "
    f"WHERE a.attrelid = o.oid AND a.attacl <> '{{}}'), '{_DEFAULT}') {_OF_TABLES}",
    "SELECT 'privileges on the database', "
    + _privileges("o.datacl", "acldefault('d', o.datdba)")
    + " FROM pg_database o WHERE o.datname = current_database()",
    "SELECT 'comment on the database', coalesce(quote_literal(shobj_description(o.oid, "
    "'pg_database')), 'none') FROM pg_database o WHERE o.datname = current_database() "
    f"AND NOT ({_OUR_COMMENT})",
    "SELECT 'settings of the database', coalesce(string_agg(concat_ws(' ', "
    "CASE WHEN s.setrole <> 0 THEN pg_get_userbyid(s.setrole) END, "
    f"{_sorted('s.setconfig')}), ', ' ORDER BY s.setrole), 'none') FROM pg_db_role_setting s "
    "JOIN pg_database d ON d.oid = s.setdatabase WHERE d.datname = current_database()",
    f"SELECT 'bounds of ' || {_named('pg_class')}, concat_ws(' ', s.seqmin, 'to', s.seqmax, "
    "'cache', s.seqcache) FROM pg_sequence s JOIN pg_class o ON o.oid = s.seqrelid "
    f"WHERE {_RELATIONS}",
    f"SELECT 'parents of ' || {_named('pg_class')}, coalesce((SELECT string_agg("
    "i.inhparent::regclass::text, ', ' ORDER BY i.inhseqno) FROM pg_inherits i "
    f"WHERE i.inhrelid = o.oid), 'none') {_OF_TABLES}",
    f"SELECT 'storage of ' || {_named('pg_class')}, concat_ws(' ', coalesce((SELECT a.amname "
    "FROM pg_am a WHERE a.oid = o.relam), 'none'), (SELECT 'in ' || t.spcname "
    "FROM pg_tablespace t WHERE t.oid = o.reltablespace), (SELECT 'of ' || f.srvname || "
    f"coalesce(' ' || md5({_sorted('g.ftoptions')}), '') FROM pg_foreign_table g "
    "JOIN pg_foreign_server f ON f.oid = g.ftserver WHERE g.ftrelid = o.oid), "
    "'of type ' || nullif(o.reloftype, 0)::regtype,"
    f" (SELECT 'toast ' || {_sorted('t.reloptions')} FROM pg_class t "
    "WHERE t.oid = o.reltoastrelid AND t.reloptions IS NOT NULL)) "
    f"{_OF_TABLES}",
    f"SELECT 'options of the columns of ' || {_named('pg_class')}, coalesce((SELECT string_agg("
    "concat_ws(' ', a.attname, CASE WHEN a.attoptions IS NOT NULL THEN "
    f"{_sorted('a.attoptions')} END, CASE WHEN a.attfdwoptions IS NOT NULL THEN "
    f"md5({_sorted('a.attfdwoptions')}) END), ', ' "
    "ORDER BY a.attname) FROM pg_attribute a WHERE a.attrelid = o.oid AND coalesce("
    f"a.attoptions, a.attfdwoptions) IS NOT NULL AND NOT a.attisdropped), 'none') {_OF_TABLES}",
    f"SELECT 'foreign keys of ' || {_named('pg_class')}, coalesce((SELECT string_agg("
    "DISTINCT k.conname || ' ' || t.tgenabled::text, ', ') FROM pg_trigger t JOIN pg_constraint k "
    "ON k.oid = t.tgconstraint WHERE t.tgrelid = o.oid AND t.tgisinternal "
    f"AND t.tgenabled <> 'O'), 'enabled') {_OF_TABLES}",
    f"SELECT 'rules of ' || {_named('pg_class')}, coalesce((SELECT string_agg(r.rulename || ' ' || "
    "r.ev_enabled::text, ', ' ORDER BY r.rulename) FROM pg_rewrite r WHERE r.ev_class = o.oid "
    f"AND r.ev_enabled <> 'O'), 'enabled') {_OF_TABLES}",
    f"SELECT {_named('pg_class')}, CASE WHEN i.indisvalid THEN 'valid' ELSE 'not valid' END "
    "FROM pg_index i JOIN pg_class o ON o.oid = i.indexrelid "
    f"WHERE {_own('pg_class', 'relnamespace')}",
    f"SELECT 'storage of ' || {_named('pg_class')}, concat_ws(' ', (SELECT 'in ' || t.spcname "
    "FROM pg_tablespace t WHERE t.oid = o.reltablespace), (SELECT 'statistics ' || string_agg("
    "concat_ws(' ', a.attname, to_jsonb(a) ->> 'attstattarget'), ', ' ORDER BY a.attnum) "
    "FROM pg_attribute a WHERE a.attrelid = o.oid AND "
    "coalesce(to_jsonb(a) ->> 'attstattarget', '-1') <> '-1')) FROM pg_class o "
    f"WHERE o.relkind IN ('i', 'I') AND {_own('pg_class', 'relnamespace')}",
    "SELECT 'kind of ' || o.oid::regclass, CASE o.relkind WHEN 'm' THEN 'materialized view' "
    f"ELSE 'view' END FROM pg_class o WHERE {_RELATIONS} AND o.relkind IN ('m', 'v')",
    f"SELECT 'range of ' || {_named('pg_type')}, concat_ws(' ', (SELECT opcname FROM pg_opclass c "
    "WHERE c.oid = r.rngsubopc), (SELECT 'collate ' || collname FROM pg_collation c "
    "WHERE c.oid = r.rngcollation), 'canonical ' || r.rngcanonical, 'diff ' || r.rngsubdiff) "
    "FROM pg_range r JOIN pg_type o ON o.oid = r.rngtypid "
    f"WHERE {_own('pg_type', 'typnamespace')}",
    f"SELECT 'collation of ' || {_named('pg_type')}, coalesce((SELECT collname FROM pg_collation c "
    "WHERE c.oid = o.typcollation), 'none') FROM pg_type o "
    f"WHERE o.typtype = 'd' AND {_own('pg_type', 'typnamespace')}",
    "SELECT 'schema of extension ' || extname, extnamespace::regnamespace::text FROM pg_extension",
)
_ORDERS = (
    f"SELECT {_named('pg_class')}, array_agg(a.attname::text ORDER BY a.attnum) FROM pg_class o "
    "JOIN pg_attribute a ON a.attrelid = o.oid AND a.attnum > 0 AND NOT a.attisdropped "
    f"WHERE {_RELATIONS} GROUP BY o.oid"
)


def _row(without: str) -> str:
    """A row of a catalog as text, without these columns: numbers of objects are each database's."""
    return f"(to_jsonb(o) - '{{{without.replace(' ', ',')}}}'::text[])::text"


# What defines the objects of a catalog.
_DEFINED = {
    "pg_collation": _row("oid collnamespace collowner collversion"),
    "pg_cast": "concat_ws(' ', castcontext, castmethod, castfunc::regprocedure)",
    "pg_operator": "concat_ws(' ', oprkind, oprcanmerge, oprcanhash, oprcode, oprrest, oprjoin, "
    "oprcom::regoperator, oprnegate::regoperator)",
    "pg_opclass": "concat_ws(' ', opcdefault, opcintype::regtype, opckeytype::regtype, "
    "pg_describe_object('pg_opfamily'::regclass, opcfamily, 0))",
    "pg_opfamily": "(SELECT string_agg(d, ' ' ORDER BY d COLLATE \"C\") FROM (SELECT "
    "pg_describe_object('pg_amop'::regclass, a.oid, 0) FROM pg_amop a WHERE amopfamily = o.oid "
    "UNION ALL SELECT pg_describe_object('pg_amproc'::regclass, a.oid, 0) FROM pg_amproc a "
    "WHERE amprocfamily = o.oid) AS members (d))",
    "pg_ts_config": "concat_ws(' ', (SELECT prsname FROM pg_ts_parser p WHERE p.oid = cfgparser), "
    "(SELECT string_agg(concat_ws(' ', maptokentype, mapdict::regdictionary), ', ' ORDER BY "
    "maptokentype, mapseqno) FROM pg_ts_config_map WHERE mapcfg = o.oid))",
    "pg_ts_dict": "concat_ws(' ', (SELECT tmplname FROM pg_ts_template t "
    "WHERE t.oid = dicttemplate), dictinitoption)",
    "pg_ts_parser": _row("oid prsnamespace"),
    "pg_ts_template": _row("oid tmplnamespace"),
    "pg_statistic_ext": "concat_ws(' ', pg_get_statisticsobjdef(o.oid), "
    "to_jsonb(o) ->> 'stxstattarget')",
    "pg_conversion": _row("oid connamespace conowner"),
    "pg_language": "concat_ws(' ', lanpltrusted, lanplcallfoid::regproc, laninline::regproc, "
    "lanvalidator::regproc)",
    "pg_foreign_data_wrapper": "concat_ws(' ', fdwhandler::regproc, fdwvalidator::regproc, "
    f"{_sorted('fdwoptions')})",
    "pg_foreign_server": "concat_ws(' ', (SELECT fdwname FROM pg_foreign_data_wrapper w "
    f"WHERE w.oid = srvfdw), srvtype, srvversion, {_sorted('srvoptions')})",
    "pg_publication": f"{_row('oid pubowner')} || coalesce((SELECT string_agg(to_jsonb(t)::text, "
    "' ' ORDER BY schemaname, tablename) FROM pg_publication_tables t "
    "WHERE t.pubname = o.pubname), '')",
    "pg_event_trigger": "concat_ws(' ', evtevent, evtfoid::regprocedure, evtenabled, "
    f"{_sorted('evttags')})",
    "pg_transform": "concat_ws(' ', trffromsql::regprocedure, trftosql::regprocedure)",
    "pg_am": "concat_ws(' ', amhandler, amtype)",
    "pg_default_acl": _sorted("defaclacl"),
}
_FACTS = (
    *(
        f"SELECT {_named(name)}, {text} FROM {name} o WHERE {_own(name)}"
        for name, text in _DEFINED.items()
    ),
    "SELECT pg_describe_object('pg_type'::regclass, o.oid, 0), concat_ws(' ', typlen, typcategory, "
    "typispreferred, typdelim, typalign, typstorage, typinput, typoutput, typreceive, typsend, "
    "typmodin, typmodout, typanalyze) FROM pg_type o WHERE o.typtype IN ('b', 'p') "
    "AND NOT EXISTS (SELECT 1 FROM pg_type a WHERE a.typarray = o.oid) "
    f"AND {_own('pg_type', 'typnamespace')}",
    "SELECT pg_describe_object('pg_proc'::regclass, a.aggfnoid, 0), concat_ws(' ', "
    "(to_jsonb(a) - '{aggfnoid,aggtranstype,aggmtranstype,aggsortop}'::text[])::text, "
    "aggtranstype::regtype, aggmtranstype::regtype, aggsortop::regoperator) FROM pg_aggregate a "
    f"JOIN pg_proc o ON o.oid = a.aggfnoid WHERE {_own('pg_proc', 'pronamespace')}",
    # Those of tables and of most columns are told with them.
    "SELECT 'comment on ' || pg_describe_object(o.classoid, o.objoid, o.objsubid), o.description "
    f"FROM pg_description o WHERE (o.objoid >= {_FIRST} OR o.classoid = 'pg_namespace'::regclass) "
    "AND NOT EXISTS (SELECT 1 FROM pg_depend e WHERE e.objid = o.objoid "
    "AND e.classid = o.classoid AND e.deptype = 'e') AND NOT EXISTS (SELECT 1 FROM pg_class c "
    "WHERE c.oid = o.objoid AND o.classoid = 'pg_class'::regclass AND (c.relkind IN "
    "('r', 'p', 'f', 'c') OR c.relkind IN ('S', 'v', 'm') AND o.objsubid = 0))",
    "SELECT 'security label of ' || pg_describe_object(o.classoid, o.objoid, o.objsubid), "
    "o.provider || ' ' || o.label FROM pg_seclabel o",
    "SELECT 'comments on what is PostgreSQL''s own', string_agg(concat_ws(' ', o.classoid, "
    "o.objoid, o.objsubid, o.description), ' ' ORDER BY o.classoid, o.objoid, o.objsubid) "
    f"FROM pg_description o WHERE o.objoid < {_FIRST} AND o.classoid <> 'pg_namespace'::regclass",
    "SELECT 'privileges on what is PostgreSQL''s own', string_agg(concat_ws(' ', o.kind, o.oid, "
    "o.acl), ' ' ORDER BY o.kind, o.oid) FROM ("
    + " UNION ALL ".join(
        f"SELECT '{name}', o.oid, "
        + _privileges(f"o.{_OWNED[name][0]}acl", f"acldefault({kind}, o.{_OWNED[name][0]}owner)")
        + f" FROM {name} o WHERE o.oid < {_FIRST} AND o.{_OWNED[name][0]}acl IS NOT NULL"
        + (f" AND NOT ({_OWN_SPACES})" if name == "pg_namespace" else "")
        for name, kind in _KINDS.items()
    )
    + f") AS o (kind, oid, acl) WHERE o.acl <> '{_DEFAULT}'",
    *(
        f"SELECT {_named(name)}, '' FROM {name} o WHERE {_own(name)} AND o.{family} < {_FIRST}"
        for name, family in (("pg_amop", "amopfamily"), ("pg_amproc", "amprocfamily"))
    ),
    "SELECT 'user mapping of ' || o.usename || ' on ' || o.srvname, "
    f"{_sorted('o.umoptions')} FROM pg_user_mappings o",
    "SELECT 'subscription ' || o.subname, concat_ws(' ', o.subenabled, o.subslotname, "
    f"{_sorted('o.subpublications')}) FROM pg_subscription o JOIN pg_database d "
    "ON d.oid = o.subdbid WHERE d.datname = current_database()",
)


def values(cursor: Any) -> dict[str, str]:
    """What objects have that both sides can have in another way, by what it is called.

    An object that one side lacks is told elsewhere.
    """
    return dict(_rows(cursor, _together(_VALUES)))


def orders(cursor: Any) -> dict[str, list[str]]:
    """The columns of each table in their order."""
    return dict(_rows(cursor, _together((_ORDERS,))))


def facts(cursor: Any) -> frozenset[str]:
    """The objects of further kinds, with a hash of what defines each."""
    query = _together(
        f"SELECT n, md5(coalesce(d, '')) FROM ({part}) AS p (n, d)" for part in _FACTS
    )
    return frozenset(f"{name}: {hashed}" for name, hashed in _rows(cursor, query))


def _rows(cursor: Any, query: str) -> Any:
    cursor.execute(query)
    return cursor.fetchall()


def _together(parts: Iterable[str]) -> str:
    return " UNION ALL ".join(parts)
