"""Of PostgreSQL's SQL a token carries expressions that only compute, and nothing that acts."""

from __future__ import annotations

import pytest

from alembic_snapshot.tokens.safe_sql import is_safe

SAFE = [
    "'x'::text",
    "nextval('public.t_id_seq'::regclass)",
    "now()",
    "pg_catalog.lower('X')",
    "CURRENT_TIMESTAMP",
    "'{}'::jsonb",
    "(0)::numeric",
    "character varying(20)",
    "numeric(10,2)",
    "timestamp(3) without time zone",
    "public.mood",
    "integer[]",
    "CHECK ((price >= (0)::double precision))",
    "CHECK (((kind)::text = ANY ((ARRAY['a'::character varying, 'b'::text])::text[])))",
    "PRIMARY KEY (a, b)",
    "FOREIGN KEY (customer) REFERENCES public.customers(id) ON UPDATE CASCADE ON DELETE SET NULL",
    'FOREIGN KEY (u) REFERENCES public."user"(id) DEFERRABLE INITIALLY DEFERRED',
    "CREATE UNIQUE INDEX i ON public.t USING btree (lower(name), id DESC) WHERE (id > 3)",
    "SELECT t.id,\n    count(*) AS n\n   FROM public.t\n  GROUP BY t.id",
    "'DELETE; COPY x TO PROGRAM ''sh'''::text",
    "interval '1 day'",
    "TIMESTAMP '2026-01-01'",
    "lower('a') || upper('b')",
    "FOREIGN KEY (a) REFERENCES t (id)",
    "FOREIGN KEY (a) REFERENCES db.public.t(id)",
    'FOREIGN KEY (a) REFERENCES "a schema"."a ""table"""(id)',
    'SELECT "ON DELETE CASCADE" FROM t',
    "'ON DELETE CASCADE'::text",
    "SELECT a, b FROM t",
    "WITH x AS (SELECT 1) SELECT a, b FROM x",
    "((tags)[1])",
    "1.5e-3 + 2",
    "array[1, 2]",
    "''",
    "",
]
ACTING = [
    "pg_read_file('/etc/passwd')",
    "lo_import('/etc/passwd')",
    "pg_catalog.pg_read_file('/etc/passwd')",
    "SELECT pg_read_binary_file('x')",
    "dblink('x', 'y')",
    "\"pg_read_file\"('x')",
    "\"REFERENCES\"('x')",
    "1); COPY t TO PROGRAM 'sh'; --",
    "0 -- comment",
    "0 /* comment */",
    "1; DROP TABLE t",
    "1, OWNER TO somebody",
    "CHECK (true), DISABLE ROW LEVEL SECURITY",
    "$$text$$",
    "E'\\x41'",
    "U&'\\0041'",
    "'a\\'",
    "SELECT 1 INTO x",
    "WITH x AS (DELETE FROM t RETURNING 1) SELECT 1 FROM x",
    "SELECT set_config('a', 'b', false)",
    "COPY t TO PROGRAM 'sh'",
    "query_to_xml('select 1', true, true, '')",
    "(pg_sleep(1))",
    "a.b.pg_sleep (1)",
    "evil.lower(name)",
    '"evil".lower(name)',
    "pg_catalog.evil.lower(name)",
    ".lower(name)",
    "((1)",
    "1)",
    "'open",
    "E'a'",
    "n 'a'",
    "a, b",
    "lower(a), b",
    "[1",
    "1]",
    "evil (1)",
    "evil(1) references",
    '"references" evil(1)',
    "x references y evil(1)",
    ".evil(1)",
    "evil.substr(a)",
    "pg_catalog.lower.lower(a)",
    '"lower"(a)',
    '"pg_catalog"."lower"(a)',
    "delete",
    "Delete",
    "ON DELETE EVERYTHING",
    "CREATE TABLE x (y)",
    "\\",
    "a -- b",
    "/* a",
]


@pytest.mark.parametrize("text", SAFE)
def test_what_only_computes_is_carried(text):
    assert is_safe(text)


@pytest.mark.parametrize("text", ACTING)
def test_what_may_act_is_not(text):
    assert not is_safe(text)
