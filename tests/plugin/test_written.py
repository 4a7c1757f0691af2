"""Who wrote it: each row of a failing test's report ends with the project's line that wrote it."""

from __future__ import annotations

import os
import re
import textwrap

import pytest

from ..oracles.written import Generator

IMPORTS = """
import sqlite3
import pytest
from sqlalchemy import insert, make_url, text
from {models}

def raw(clone, key):
    # Past every engine.
    url, values = make_url(clone.url), "({{}}, 'raw')".format(key)
    if url.get_backend_name() == "sqlite":
        connection = sqlite3.connect(clone.path)
    else:
        import psycopg
        connection = psycopg.connect(
            url.set(drivername="postgresql").render_as_string(hide_password=False)
        )
    connection.execute("INSERT INTO {table} (id, {column}) VALUES " + values)
    connection.commit()
    connection.close()


"""
CASES = int(os.environ.get("ORACLE_CASES", "0")) // 10 or 12


def report_of(output, test):
    """What a failing test's report says of its database."""
    section = output.partition(f" {test} _")[2].partition("\n____")[0]
    return section.partition("- database of the test -")[2]


def check(text, output, program):
    """Compare a report with who wrote each row."""
    lines = text.splitlines()
    report = report_of(output, f"test_{program.name}")
    rows = re.findall(r"^  [+~-] id='?(\d+)'?,? .*?← (.*)$", report, flags=re.MULTILINE)
    assert sorted(int(key) for key, _ in rows) == sorted(program.writers), report
    for key, told in rows:
        name = program.writers[int(key)]
        if name is None:
            assert told in (
                "not through an engine",
                "not known: its SQL gives other rows when it runs again",
            ), report
        else:
            heading = next(n for n, line in enumerate(lines, 1) if f"def {name}(" in line)
            assert told.endswith(f":{heading + 1} {name}"), report
            adder = program.adders.get(int(key))
            first = told.partition(", then ")[0]
            assert ("flushed by" in first) is (adder is not None), report
            if adder is not None:
                heading = next(n for n, line in enumerate(lines, 1) if f"def {adder}(" in line)
                assert f":{heading + 1} {adder}, flushed by " in first, report


def run_programs(sample, *, is_async):
    """Run generated programs in a project, and compare each report."""
    programs = [Generator(seed, is_async=is_async).program() for seed in range(CASES)]
    table, column = ("notes", "text") if is_async else ("customers", "name")
    models = "notes.models import Note" if is_async else "shop.models import Customer"
    text = IMPORTS.format(models=models, table=table, column=column)
    text += "\n\n".join(one.text(is_async=is_async) for one in programs)
    (sample.root / "test_programs.py").write_text(text)

    result = sample.run("-p", "no:randomly", "test_programs.py", "--tb=short", "-rN")

    result.assert_outcomes(failed=len(programs))
    for program in programs:
        check(text, str(result.stdout), program)


@pytest.mark.campaign
class TestGeneratedPrograms:
    """Each row ends with the line of the program that wrote it, or with why there is none."""

    def test_of_a_synchronous_application(self, shop):
        run_programs(shop, is_async=False)

    def test_of_an_async_one(self, new_sample):
        run_programs(new_sample("notes"), is_async=True)

    def test_on_a_server(self, on_server):
        run_programs(on_server("shop", "SHOP_URL"), is_async=False)

    @pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
    def test_on_a_server_and_async(self, on_server, driver, monkeypatch):
        if driver == "psycopg":
            monkeypatch.setenv("NOTES_URL", "postgresql+psycopg://localhost/notes")
        run_programs(on_server("notes", "NOTES_URL", "{async_url}"), is_async=True)


MANY = """
    from sqlalchemy import insert, text
    from shop.models import Customer

    def one(session, key):
        {insertion}

    def other(session, key):
        {insertion}

    def back(session):
        session.execute(text("UPDATE customers SET name = 'again' WHERE id = 10"))

    def test_of_rows_one_after_the_other(db_session):
        for key in [*range(500, 1400), 20, 10]:
            one(db_session, key)
        db_session.execute(text("SAVEPOINT a"))
        one(db_session, 2000)
        db_session.execute(text("ROLLBACK TO SAVEPOINT a"))
        back(db_session)
        db_session.commit()
        one(db_session, 15)
        db_session.rollback()
        other(db_session, 15)
        db_session.commit()
        assert False
"""
INSERTIONS = {
    "plain": "session.execute(insert(Customer).values(id=key, name=f'n{key}'))",
    "returning": "session.scalar("
    "insert(Customer).values(id=key, name=f'n{key}').returning(Customer.name))",
    "text": "session.execute(text(f\"INSERT INTO customers VALUES ({key}, 'n{key}')\"))",
    "without parameters": "session.connection().exec_driver_sql("
    "f\"INSERT INTO customers VALUES ({key}, 'n{key}')\", "
    "execution_options={'no_parameters': True})",
}


@pytest.mark.parametrize("how", INSERTIONS)
@pytest.mark.parametrize("where", ["file", "server"])
def test_rows_that_are_written_one_after_the_other_are_each_known(where, how, request):
    if where == "file":
        sample = request.getfixturevalue("shop")
    else:
        sample = request.getfixturevalue("on_server")("shop", "SHOP_URL")
    text = textwrap.dedent(MANY).format(insertion=INSERTIONS[how])

    result = sample.run("-p", "no:randomly", "-rN", "--tb=short", test_it=text)

    report = report_of(str(result.stdout), "test_of_rows_one_after_the_other")
    told = re.findall(r"^  [+] id='?(\d+)'?, .*? ← (.*)$", report, flags=re.MULTILINE)
    assert [key for key, _ in told] == ["10", "15", "20", "500", "501"], report
    assert [line for _, line in told] == [
        "test_it.py:5 one, then test_it.py:11 back",
        "test_it.py:8 other",
        *["test_it.py:5 one"] * 3,
    ], report


RULE = """
    from pytest_alembic_snapshot import checkpoint_fixture
    from shop import orders
    from shop.db import engine
    from sqlalchemy import text

    @checkpoint_fixture("module")
    def with_a_rule():
        with engine.begin() as connection:
            connection.execute(text("CREATE TABLE log (id int PRIMARY KEY, what text)"))
            connection.execute(
                text("CREATE RULE also AS ON INSERT TO customers "
                     "DO ALSO INSERT INTO log VALUES (9, 'x')")
            )

    def test_of_a_rule(with_a_rule):
        with engine.begin() as connection:
            connection.execute(text("INSERT INTO customers VALUES (70, 'Ada')"))
        assert False
"""


def test_what_a_rule_writes_is_told_as_that(on_server):
    sample = on_server("shop", "SHOP_URL")

    result = sample.run("-p", "no:randomly", "-rN", "--tb=short", test_it=RULE)

    report = report_of(str(result.stdout), "test_of_a_rule")
    assert re.findall(r"^  [+] (.*)$", report, flags=re.MULTILINE) == [
        "id=70, name='Ada' ← test_it.py:17 test_of_a_rule",
        "id=9, what='x' ← a rule, after test_it.py:17 test_of_a_rule",
    ], report


MADE = """
    from shop.db import engine
    from sqlalchemy import text

    def run(*statements):
        with engine.begin() as connection:
            for statement in statements:
                connection.execute(text(statement))

    def add(key):
        run(f"INSERT INTO customers VALUES ({key}, 'n{key}')")

    def test_of_a_tenant(db_clone):
        add(70)
        run("CREATE SCHEMA t9", "CREATE TABLE t9.notes (id int PRIMARY KEY)")
        run("INSERT INTO t9.notes VALUES (71)")
        add(72)
        assert False

    def test_of_a_function(db_clone):
        run("CREATE OR REPLACE FUNCTION f() RETURNS text LANGUAGE sql AS 'SELECT ''f''::text'")
        run("INSERT INTO customers VALUES (70, f())")
        add(71)
        assert False

    def test_of_tables_of_other_kinds(db_clone):
        run("CREATE TEMP TABLE one AS SELECT 70 AS id", "CREATE UNLOGGED TABLE two (id int)",
            "INSERT INTO two SELECT id + 1 FROM one", "SELECT 72 AS id INTO three",
            "CREATE MATERIALIZED VIEW four AS SELECT 73 AS id", "REFRESH MATERIALIZED VIEW four",
            *(f"INSERT INTO customers SELECT id, '{name}' FROM {name}"
              for name in ("one", "two", "three", "four")))
        add(74)
        assert False

    def test_of_a_view(db_clone):
        run("CREATE VIEW v AS SELECT id, name FROM customers", "INSERT INTO v VALUES (70, 'Ada')")
        assert False

    def test_of_a_block(db_clone):
        add(70)
        run("-- c\\nDO $$ BEGIN INSERT INTO customers VALUES (71, 'Ada'); END $$")
        run("LOCK TABLE customers")
        add(72)
        assert False

    def test_of_an_extension(db_clone):
        add(70)
        run("CREATE EXTENSION citext", "CREATE TABLE texts (id int PRIMARY KEY, body citext)")
        run("CREATE TABLE other (id int PRIMARY KEY)", "INSERT INTO texts VALUES (71, 'x')")
        assert False

    def test_that_needs_an_extension(db_clone):
        add(70)
        run("CREATE EXTENSION citext", "INSERT INTO customers VALUES (71, 'x'::citext)")
        assert False

    def test_past_the_engines(db_clone):
        run("LOCK TABLE customers", "SET work_mem = '9MB'", "CREATE VIEW v AS SELECT 1")
        connection = engine.raw_connection()
        connection.cursor().execute("INSERT INTO customers VALUES (70, 'Ada')")
        connection.commit()
        connection.close()
        assert False
"""
RUN = "test_it.py:7 run"
WHOSE = {
    "test_of_a_tenant": {70: RUN, 72: RUN},
    "test_of_a_function": {70: RUN, 71: RUN},
    "test_of_tables_of_other_kinds": dict.fromkeys(range(70, 75), RUN),
    "test_of_a_view": {70: RUN},
    "test_of_a_block": {70: RUN, 71: "not known: its DO … is not run again", 72: RUN},
    "test_of_an_extension": {70: RUN},
    "test_that_needs_an_extension": dict.fromkeys(
        (70, 71), "not known: its CREATE EXTENSION … is not run again"
    ),
    "test_past_the_engines": {70: "not through an engine"},
}


def test_what_a_test_makes_on_a_server_hides_no_line(on_server):
    sample = on_server("shop", "SHOP_URL")

    result = sample.run("-p", "no:randomly", "-rN", "--tb=short", test_it=MADE)

    for test, told in WHOSE.items():
        report = report_of(str(result.stdout), test)
        rows = re.findall(r"^  [+] id='?(7\d)'?.*? ← (.*)$", report, flags=re.MULTILINE)
        assert {int(key): line for key, line in rows} == told, report


TENANTS = """
    from pytest_alembic_snapshot import checkpoint_fixture
    from shop.db import engine
    from sqlalchemy import event, text

    PATH = []

    @event.listens_for(engine, "checkout")
    def lead(connection, record, proxy):
        cursor = connection.cursor()
        cursor.execute("SET search_path TO " + (PATH[-1] if PATH else "public"))
        connection.commit()

    @checkpoint_fixture("module")
    def tenant():
        with engine.begin() as connection:
            connection.execute(text("CREATE SCHEMA t1"))
            for name in ("public", "t1"):
                connection.execute(
                    text(f"CREATE TABLE {name}.things (id serial PRIMARY KEY, name text)")
                )

    ADD = text("INSERT INTO things (name) VALUES ('x')")

    def for_all():
        with engine.begin() as connection:
            connection.execute(ADD)

    def by_a_listener():
        PATH.append("t1")
        with engine.begin() as connection:
            connection.execute(ADD)
        PATH.clear()

    def by_a_cursor():
        with engine.begin() as connection:
            connection.connection.cursor().execute("SET search_path TO t1")
            connection.execute(ADD)

    def by_the_engine():
        with engine.begin() as connection:
            connection.execute(text("SET LOCAL search_path TO t1"))
            connection.execute(ADD)

    def test_alone(tenant):
        WAY()
        assert False

    def test_before_others(tenant):
        WAY()
        for_all()
        assert False

    def test_after_others(tenant):
        for_all()
        WAY()
        assert False
"""
_OTHER = "not known: its SQL gives other rows when it runs again"


@pytest.mark.parametrize("way", ["by_a_listener", "by_a_cursor", "by_the_engine"])
def test_a_name_that_means_another_table_by_the_search_path_misleads_nobody(on_server, way):
    sample = on_server("shop", "SHOP_URL")
    is_recorded = way == "by_the_engine"

    result = sample.run(
        "-p", "no:randomly", "-rN", "--tb=short", test_it=TENANTS.replace("WAY", way)
    )

    for test in ("test_alone", "test_before_others", "test_after_others"):
        report = report_of(str(result.stdout), test)
        told = dict(re.findall(r"^(\S*things): .*\n  [+] id=1, .* ← (.*)$", report, re.MULTILINE))
        right = {"t1.things": way} | ({} if test == "test_alone" else {"things": "for_all"})
        assert told.keys() == right.keys(), report
        for name, line in told.items():
            assert line.startswith("test_it.py:") if is_recorded else line == _OTHER, report
            assert not is_recorded or line.endswith(f" {right[name]}"), report


APPLICATION = """
    import contextlib
    import sqlite3
    import threading
    from functools import partial
    import pytest
    from pytest_alembic_snapshot import checkpoint_fixture, clone_fixture
    from shop import orders
    from shop.db import SessionLocal, engine
    from shop.models import Customer, Order
    from sqlalchemy import event, insert, text
    from sqlalchemy.orm import Session

    def flushed(session):
        session.flush()

    def run(statement):
        with engine.begin() as connection:
            connection.execute(text(statement))

    def rerun(statement):
        run(statement)

    @pytest.fixture
    def ada(db_clone):
        orders.add_customer("Ada")

    def test_of_fixtures_and_the_application(ada, db_session):
        orders.order("Ada", "tea")
        db_session.add(Order(customer_id=2, item="milk"))
        db_session.query(Order).all()
        db_session.commit()
        assert False

    def test_of_unflushed_objects(db_session):
        db_session.add(Customer(name="Bob"))
        flushed(db_session)
        db_session.add(Customer(name="Eve"))
        db_session.commit()
        assert False

    def test_of_many_objects_at_once(db_session):
        db_session.add_all(Customer(name=f"customer {number}") for number in range(3))
        db_session.commit()
        db_session.execute(insert(Customer), [{"name": "Ada"}, {"name": "Bob"}])
        db_session.commit()
        assert False

    def test_of_what_came_to_nothing(db_session):
        db_session.add(Customer(name="Ada"))
        db_session.flush()
        db_session.rollback()
        with contextlib.suppress(Exception):
            orders.add_customer("the house")
        with engine.connect() as connection:
            connection.execute(text("INSERT INTO customers (name) VALUES ('never')"))
        rerun("INSERT INTO customers (id, name) VALUES (7, 'seven')")
        assert False

    def test_of_several_lines(db_clone):
        orders.add_customer("Ada")
        rerun("UPDATE customers SET name = 'Eve' WHERE name = 'Ada'")
        assert False

    def test_of_a_key_that_comes_again(db_clone):
        orders.add_customer("Ada")
        run("DELETE FROM customers WHERE id = 2")
        run("INSERT INTO customers (id, name) VALUES (2, 'Bob')")
        assert False

    def test_of_triggers_and_cascades(db_clone):
        run("DROP TABLE orders")
        run("CREATE TABLE orders (id INTEGER PRIMARY KEY, customer_id INTEGER REFERENCES "
            "customers (id) ON DELETE CASCADE, item VARCHAR(200))")
        orders.add_customer("Ada")
        orders.order("Ada", "tea")
        db_clone.checkpoint("x")
        assert False

    @checkpoint_fixture("module")
    def with_a_cascade():
        run("DROP TABLE orders")
        run("CREATE TABLE orders (id INTEGER PRIMARY KEY, customer_id INTEGER REFERENCES "
            "customers (id) ON DELETE CASCADE, item VARCHAR(200))")
        run("CREATE TABLE log (id INTEGER PRIMARY KEY, what VARCHAR(20))")
        orders.add_customer("Ada")
        orders.order("Ada", "tea")

    def test_of_a_cascade(with_a_cascade):
        run("DELETE FROM customers WHERE id = 2")
        assert False

    @checkpoint_fixture("module")
    def with_a_trigger(with_a_cascade):
        run("CREATE TRIGGER logging AFTER INSERT ON customers BEGIN "
            "INSERT INTO log (what) VALUES (NEW.name); END")

    def test_of_a_trigger(with_a_trigger):
        orders.add_customer("Bob")
        assert False

    @checkpoint_fixture("module")
    def with_more_rows():
        run("CREATE TABLE nodes (id INTEGER PRIMARY KEY, parent INTEGER REFERENCES nodes (id) "
            "ON DELETE CASCADE)")
        run("INSERT INTO nodes VALUES (1, NULL), (2, 1), (3, 2)")
        run("CREATE TABLE visits (id INTEGER PRIMARY KEY, later INTEGER)")
        run("INSERT INTO visits VALUES (1, 0)")
        run("CREATE TRIGGER counting AFTER INSERT ON visits BEGIN "
            "UPDATE visits SET later = later + 1 WHERE id < NEW.id; END")
        run("CREATE TABLE names (id INTEGER PRIMARY KEY, name VARCHAR(20) UNIQUE)")
        run("INSERT INTO names VALUES (1, 'Ada')")

    def test_of_a_cascade_within_a_table(with_more_rows):
        run("DELETE FROM nodes WHERE id = 2")
        assert False

    def test_of_a_trigger_within_a_table(with_more_rows):
        run("INSERT INTO visits VALUES (2, 0)")
        assert False

    def test_of_a_row_in_the_place_of_another(with_more_rows):
        run("INSERT OR REPLACE INTO names VALUES (2, 'Ada')")
        assert False

    def test_of_a_trigger_or_a_cascade(with_a_cascade, db_clone):
        run("CREATE TRIGGER following AFTER DELETE ON customers BEGIN "
            "DELETE FROM orders WHERE customer_id = OLD.id; END")
        run("DELETE FROM customers WHERE id = 2")
        assert False

    def test_of_another_driver(db_clone):
        orders.add_customer("Ada")
        connection = sqlite3.connect(db_clone.path)
        connection.execute("INSERT INTO customers (id, name) VALUES (50, 'raw')")
        connection.commit()
        connection.close()
        assert False

    def test_of_another_driver_in_between(db_clone):
        connection = sqlite3.connect(db_clone.path)
        connection.execute("INSERT INTO customers (name) VALUES ('raw')")
        connection.commit()
        connection.close()
        orders.add_customer("Ada")
        assert False

    def past_engines(db_clone, statement):
        with contextlib.closing(sqlite3.connect(db_clone.path)) as connection, connection:
            connection.execute(statement)

    @checkpoint_fixture("module")
    def with_ada():
        orders.add_customer("Ada")

    def test_of_a_row_that_another_driver_deletes(with_ada, db_clone):
        run("UPDATE customers SET name = 'Eve' WHERE id = 2")
        run("UPDATE customers SET name = 'Ada' WHERE id = 2")
        past_engines(db_clone, "DELETE FROM customers WHERE id = 2")
        assert False

    def test_of_a_row_that_another_driver_brings_back(with_ada, db_clone):
        run("DELETE FROM customers WHERE id = 2")
        past_engines(db_clone, "INSERT INTO customers (id, name) VALUES (2, 'Eve')")
        assert False

    def test_of_a_raw_cursor(db_clone):
        connection = engine.raw_connection()
        connection.cursor().execute("INSERT INTO customers (name) VALUES ('raw')")
        connection.commit()
        connection.close()
        assert False

    def test_of_an_engine_of_its_own(db_clone):
        with Session(db_clone.engine()) as session:
            session.add(Customer(name="Ada"))
            session.commit()
        assert False

    def test_of_a_thread(db_clone):
        thread = threading.Thread(target=orders.add_customer, args=("Ada",))
        thread.start()
        thread.join()
        session = SessionLocal()
        session.add(Customer(name="Bob"))
        insertion = insert(Customer).values(name="Eve")
        for work in (session.commit, partial(session.execute, insertion), session.commit):
            thread = threading.Thread(target=work)
            thread.start()
            thread.join()
        session.close()
        assert False

    def test_of_a_restored_database(db_clone):
        orders.add_customer("Ada")
        db_clone.checkpoint("before")
        orders.add_customer("Bob")
        db_clone.restore("before")
        orders.add_customer("Eve")
        assert False

    def test_of_what_was_before_its_checkpoint(with_a_trigger, db_clone):
        db_clone.restore("with_a_cascade")
        orders.add_customer("Bob")
        assert False

    def test_of_functions_of_its_own(db_clone):
        with engine.begin() as connection:
            driver = connection.connection.driver_connection
            driver.create_function("shouted", 1, str.upper)
            connection.execute(text("INSERT INTO customers (name) VALUES (shouted('ada'))"))
        assert False

    def test_of_values_of_the_moment(db_clone):
        run("INSERT INTO customers (name) VALUES ('x' || random())")
        assert False

    def test_of_statements_with_comments(db_clone):
        run("-- the first\\nINSERT INTO customers (id, name) VALUES (7, 'Ada')")
        run("/* c */ UPDATE customers SET name = 'Bob' WHERE id = 7")
        run("INSERT INTO customers (id, name) VALUES (8, 'Ada')")
        run("-- c\\n/* c */ DELETE FROM customers WHERE id = 8")
        run("INSERT /* c */ INTO customers (id, name) VALUES (8, 'Eve') /* c */")
        with engine.connect() as connection:
            rows = "WITH x AS (SELECT 9 AS id) INSERT INTO customers SELECT id, 'Dan' FROM x"
            connection.execute(text(rows))
        def commented(_connection, _cursor, statement, parameters, _context, _many):
            return f"/* route=/users */ {statement} /* app=shop */", parameters
        event.listen(engine, "before_cursor_execute", commented, retval=True)
        try:
            orders.add_customer("Ada")
        finally:
            event.remove(engine, "before_cursor_execute", commented)
        assert False

    def test_of_a_migration(db_clone):
        run("DELETE FROM orders")
        run("UPDATE customers SET name = name")
        db_clone.upgrade()
        orders.add_customer("Ada")
        assert False
    """
# The ends of the lines of rows in each test's report, in their order.
TOLD = {
    "test_of_fixtures_and_the_application": [
        "shop/orders.py:12 add_customer",
        "shop/orders.py:29 order",
        "test_it.py:{db_session.query(Order).all()} test_of_fixtures_and_the_application",
    ],
    "test_of_unflushed_objects": [
        "test_it.py:{Customer(name='Bob')} test_of_unflushed_objects, "
        "flushed by test_it.py:{session.flush()} flushed",
        "test_it.py:{db_session.add(Customer(name='Eve'))+1} test_of_unflushed_objects",
    ],
    "test_of_many_objects_at_once": [
        "test_it.py:{for number in range(3))+1} test_of_many_objects_at_once",
        "test_it.py:{for number in range(3))+1} test_of_many_objects_at_once",
        "test_it.py:{for number in range(3))+1} test_of_many_objects_at_once",
        "test_it.py:{for number in range(3))+2} test_of_many_objects_at_once",
        "test_it.py:{for number in range(3))+2} test_of_many_objects_at_once",
    ],
    "test_of_what_came_to_nothing": ["test_it.py:{connection.execute(text(statement))} run"],
    "test_of_several_lines": [
        "shop/orders.py:12 add_customer, then test_it.py:{connection.execute(text(statement))} run"
    ],
    "test_of_a_key_that_comes_again": ["test_it.py:{connection.execute(text(statement))} run"],
    "test_of_a_cascade": [
        "test_it.py:{connection.execute(text(statement))} run",
        "a cascade, after test_it.py:{connection.execute(text(statement))} run",
    ],
    "test_of_a_trigger": [
        "shop/orders.py:12 add_customer",
        "a trigger, after shop/orders.py:12 add_customer",
    ],
    "test_of_a_cascade_within_a_table": [
        "perhaps a cascade, after test_it.py:{connection.execute(text(statement))} run"
    ]
    * 2,
    "test_of_a_trigger_within_a_table": [
        "perhaps a trigger, after test_it.py:{connection.execute(text(statement))} run"
    ]
    * 2,
    "test_of_a_row_in_the_place_of_another": [
        "test_it.py:{connection.execute(text(statement))} run"
    ]
    * 2,
    "test_of_a_trigger_or_a_cascade": [
        "test_it.py:{connection.execute(text(statement))} run",
        "a trigger or a cascade, after test_it.py:{connection.execute(text(statement))} run",
    ],
    "test_of_another_driver": ["shop/orders.py:12 add_customer", "not through an engine"],
    "test_of_another_driver_in_between": [
        "not known: its SQL gives other rows when it runs again",
        "not known: its SQL gives other rows when it runs again",
    ],
    "test_of_a_row_that_another_driver_deletes": [
        "not known: its SQL gives other rows when it runs again"
    ],
    "test_of_a_row_that_another_driver_brings_back": [
        "not known: its SQL gives other rows when it runs again"
    ],
    "test_of_a_raw_cursor": ["not through an engine"],
    "test_of_an_engine_of_its_own": [
        "test_it.py:{with Session(db_clone.engine()) as session:+2} test_of_an_engine_of_its_own"
    ],
    "test_of_a_thread": [
        "shop/orders.py:12 add_customer",
        "test_it.py:{insertion = insert(Customer)+-1} test_of_a_thread, "
        "flushed by code outside the project",
        "code outside the project",
    ],
    "test_of_a_restored_database": [
        "shop/orders.py:12 add_customer",
        "shop/orders.py:12 add_customer",
    ],
    "test_of_what_was_before_its_checkpoint": [
        "not known: the database was put back to what was before its checkpoint"
    ],
    "test_of_functions_of_its_own": [
        "not known: its SQL can't be run again: no such function: shouted"
    ],
    "test_of_values_of_the_moment": ["test_it.py:{connection.execute(text(statement))} run"],
    "test_of_statements_with_comments": [
        "test_it.py:{connection.execute(text(statement))} run",
        "test_it.py:{connection.execute(text(statement))} run",
        "test_it.py:{connection.execute(text(rows))} test_of_statements_with_comments",
        "shop/orders.py:12 add_customer",
    ],
    "test_of_a_migration": ["shop/orders.py:12 add_customer"],
}


def test_each_way_to_write_is_told_as_what_it_is(shop):
    result = shop.run("-p", "no:randomly", "-rN", "--tb=short", test_it=APPLICATION)

    text = (shop.root / "test_it.py").read_text().replace('"', "'").splitlines()

    def numbered(match):
        wanted, _, more = match[1].partition("+")
        return str(next(n for n, line in enumerate(text, 1) if wanted in line) + int(more or 0))

    for test, lines in TOLD.items():
        report = report_of(str(result.stdout), test)
        told = re.findall(r"^  [+~-] .*? ← (.*)$", report, flags=re.MULTILINE)
        assert told == [re.sub(r"\{(.*?)\}", numbered, line) for line in lines], test
