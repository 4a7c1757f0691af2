"""Which statements count as ``env.py``'s own: those that write while it runs, and no others."""

from __future__ import annotations

import contextlib

import pytest
import sqlalchemy as sa

from alembic_snapshot.builder.env_sql import EnvSql
from alembic_snapshot.store.manifest import ENV_SQL


@pytest.fixture
def heard():
    """The memory of a builder, which hears of all engines as long as the test runs."""
    made = EnvSql(is_continued=False)
    made.listen()
    yield made
    sa.event.remove(sa.Engine, "before_cursor_execute", made._on_statement)
    sa.event.remove(sa.Engine, "after_cursor_execute", made._on_done)


@pytest.fixture
def run():
    """Runs a statement on an engine."""
    engine = sa.create_engine("sqlite://")
    with contextlib.closing(engine.connect()) as connection:
        connection.execute(sa.text("create table t (i)"))
        yield lambda sql, **values: connection.execute(sa.text(sql), values)
    engine.dispose()


def lines(heard):
    return heard.handed_over()[ENV_SQL].splitlines()


def test_without_a_run_of_env_py_nothing_is_said(heard, run):
    run("insert into t values (1)")
    with heard.heard(is_upgrade=False):
        run("insert into t values (2)")

    assert heard.handed_over() == {}


def test_a_run_that_writes_nothing_is_told_from_none(heard, run):
    with heard.heard(is_upgrade=True):
        run("select * from t")

    assert heard.handed_over() == {ENV_SQL: ""}


def test_what_is_not_env_pys_does_not_count(heard, run):
    run("insert into t values (1)")
    with heard.heard(is_upgrade=True):
        run("insert into t values (2)")
        with heard.unheard():
            run("insert into t values (3)")
        run("insert into t values (4)")
    run("insert into t values (5)")

    assert [line.split(" values ")[1][:3] for line in lines(heard)] == ["(2)", "(4)"]


def test_an_error_ends_it_as_the_end_does(heard, run):
    for during in (heard.heard(is_upgrade=True), heard.unheard()):
        with contextlib.suppress(ZeroDivisionError), during:
            raise ZeroDivisionError

    run("insert into t values (1)")

    assert lines(heard) == []


def test_all_runs_count_each_statement_once_in_the_order_of_the_first(heard, run):
    for number in (1, 2):
        with heard.heard(is_upgrade=True):
            run("insert into t values (0)")
            run(f"insert into t values ({number})")

    assert [line.split(" values ")[1][:3] for line in lines(heard)] == ["(0)", "(1)", "(2)"]


def test_values_count(heard, run):
    for value in (1, 2):
        with heard.heard(is_upgrade=True):
            run("insert into t values (:value)", value=value)

    first, second = lines(heard)
    assert first != second
    assert "2" in second
