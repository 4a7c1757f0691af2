"""Each operation that autogenerate would write is a line that says which thing differs in what."""

from __future__ import annotations

import contextlib
from types import SimpleNamespace

import pytest
import sqlalchemy as sa
from alembic.autogenerate import produce_migrations
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.operations import ops
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory

from alembic_snapshot.builder.drift import Comparison, _lines, command_line
from alembic_snapshot.checks import NO_METADATA


def drift(models, *statements, **options):
    """What differs from these models in a database in which these statements have run."""
    # Closed with the connection: each has a pool of its own.
    engine = sa.create_engine("sqlite://", poolclass=sa.pool.NullPool)
    with engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)
        context = MigrationContext.configure(connection, opts={"compare_type": True, **options})
        return sorted(_lines(produce_migrations(context, models).upgrade_ops))


def table(*columns, name="t", **options):
    metadata = sa.MetaData()
    sa.Table(name, metadata, sa.Column("id", sa.Integer, primary_key=True), *columns, **options)
    return metadata


HAS_T = "create table t (id integer not null primary key, a integer, b text)"
CASES = {
    "tables": (table(name="u"), [HAS_T], ["add table u", "remove table t"]),
    "columns": (
        table(sa.Column("a", sa.Integer), sa.Column("c", sa.Text)),
        [HAS_T],
        ["add column t.c", "remove column t.b"],
    ),
    "a type": (
        table(sa.Column("a", sa.String(7)), sa.Column("b", sa.Text)),
        [HAS_T],
        ["modify type t.a: INTEGER in the database, VARCHAR(7) in the models"],
    ),
    "whether there may be nothing": (
        table(sa.Column("a", sa.Integer, nullable=False), sa.Column("b", sa.Text)),
        [HAS_T],
        ["modify nullable t.a: True in the database, False in the models"],
    ),
    "a default": (
        table(
            sa.Column("a", sa.Integer, server_default=sa.text("abs(\n  1)")),
            sa.Column("b", sa.Text, server_default="x"),
        ),
        [HAS_T],
        [
            "modify default t.a: None in the database, abs( 1) in the models",
            "modify default t.b: None in the database, x in the models",
        ],
    ),
    "indexes": (
        table(sa.Column("a", sa.Integer, index=True), sa.Column("b", sa.Text)),
        [HAS_T, "create index i on t (b)"],
        ["add index ix_t_a on t", "remove index i on t"],
    ),
    "constraints without a name": (
        table(
            sa.Column("a", sa.Integer, sa.ForeignKey("t.id")), sa.Column("b", sa.Text),
            sa.UniqueConstraint("a", "b"),
        ),
        [HAS_T],
        ["add constraint a, b on t", "add fk a on t"],
    ),
    "constraints with a name": (
        table(
            sa.Column("a", sa.Integer, sa.ForeignKey("t.id", name="f")), sa.Column("b", sa.Text),
            sa.UniqueConstraint("a", "b", name="n"),
        ),
        [HAS_T],
        ["add constraint n on t", "add fk f on t"],
    ),
    "nothing": (table(sa.Column("a", sa.Integer), sa.Column("b", sa.Text)), [HAS_T], []),
}  # fmt: skip


@pytest.mark.parametrize(("models", "statements", "lines"), CASES.values(), ids=CASES)
def test_what_differs_is_told_in_words(models, statements, lines):
    assert drift(models, *statements, compare_server_default=True) == lines


def test_types_that_are_spelled_alike_are_told_as_python_has_them():
    models = table(sa.Column("a", sa.TIMESTAMP(timezone=True)), sa.Column("b", sa.Text))
    has = HAS_T.replace("a integer", "a timestamp")

    assert drift(
        models, has, compare_type=lambda _context, _kept, column, *_: column.name == "a"
    ) == ["modify type t.a: TIMESTAMP() in the database, TIMESTAMP(timezone=True) in the models"]


def test_what_is_in_a_schema_is_told_with_it():
    models = table(sa.Column("a", sa.Integer, index=True), schema="sales")

    assert drift(models, "attach ':memory:' as sales", include_schemas=True) == [
        "add index ix_sales_t_a on sales.t",
        "add table sales.t",
    ]
    has = "create table sales.t (id integer not null primary key)"
    lines = drift(models, "attach ':memory:' as sales", has, include_schemas=True)
    assert lines == ["add column sales.t.a", "add index ix_sales_t_a on sales.t"]


class Speechless:
    def __str__(self):
        raise ValueError("no")

    __repr__ = __str__


class ReprOnly(Speechless):
    def __repr__(self):
        return "<one\n  of mine>"


class Own(ops.MigrateOperation):
    """An operation of a project's own, which tells this as its difference."""

    def __init__(self, difference=None, **names):
        self.difference = difference
        vars(self).update(names)

    def to_diff_tuple(self):
        if self.difference is None:
            raise NotImplementedError
        return self.difference


@pytest.mark.parametrize(
    ("operation", "lines"),
    [
        (Own(), ["Own"]),
        (
            Own(
                index_name="i", constraint_name="c", column_name="o", source_table="s",
                table_name="t", schema="x",
            ),
            ["Own t s o c i"],
        ),
        (Own(table_name=7, column_name="o"), ["Own o"]),
        (Own([("add_a", "b"), [("add_c", "d", None)]]), ["add a b", "add c d None"]),
        (Own(("add_thing",), table_name="t"), ["add thing t"]),
        (Own(("add_thing", "")), ["add thing"]),
        (Own(("add_column", "x"), table_name="t"), ["add column t"]),
        (Own(("add_thing", ReprOnly())), ["add thing <one of mine>"]),
        (Own(("add_thing", Speechless())), ["add thing a Speechless that can't be shown"]),
        (Own(("add_thing", SimpleNamespace(name="n"))), ["add thing n"]),
        (Own(("add_thing", SimpleNamespace(name="n", schema="s"))), ["add thing s.n"]),
        (ops.ModifyTableOps("t", [ops.DropColumnOp("t", "c")]), ["remove column t.c"]),
    ],
)  # fmt: skip
def test_an_operation_of_any_kind_is_a_line_at_least(operation, lines):
    assert list(_lines(ops.UpgradeOps([operation]))) == lines


@pytest.mark.parametrize("ini", ["other.ini", None])
def test_env_py_is_handed_the_command_line_of_alembic_check(ini):
    given = command_line(ini, "shop", ["a=1", "b"])

    assert given.cmd[0].__name__ == "check"
    assert (given.name, given.x) == ("shop", ["a=1", "b"])
    assert given.config == ([ini] if isinstance(given.config, list) and ini else given.config)
    assert (ini is None) or "other.ini" in str(given.config)


@pytest.fixture
def comparison(project):
    """Makes a comparison for a way to hand over, with its configuration."""

    def make(handover="url"):
        config = Config(str(project.root / "alembic.ini"))
        config.__dict__["_cmd_opts"] = None
        script = ScriptDirectory.from_config(config)
        job = SimpleNamespace(handover=handover, ini="shop.ini", section="alembic", x=["a=1"])
        return Comparison(config, script, job), config

    return make


@contextlib.contextmanager
def context_of(config, metadata):
    """A context as ``env.py`` configures it, on an empty database."""
    environment = EnvironmentContext(config, ScriptDirectory.from_config(config))
    # Closed with the connection, as above.
    with sa.create_engine("sqlite://", poolclass=sa.pool.NullPool).connect() as connection:
        environment.configure(connection=connection, target_metadata=metadata)
        yield environment.get_context()


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (ValueError("it\n  broke"), "ValueError: it broke"),
        (ValueError(), "ValueError:"),
        (SystemExit(3), "SystemExit: 3"),
        (sa.exc.OperationalError("select 1", {}, ValueError("locked")), "OperationalError: locked"),
    ],
)
def test_an_env_py_that_fails_has_compared_nothing_and_says_why(comparison, failure, reason):
    def run_env(_compare, _options):
        raise failure

    one, _ = comparison()

    assert one.run(run_env) == ([], reason)
    assert not one.is_begun


@pytest.mark.parametrize(
    ("swallows", "metadata", "found"),
    [
        (False, None, ([], NO_METADATA)),
        (True, None, ([], NO_METADATA)),
        (False, table(name="u"), (["add table u"], None)),
        (False, sa.MetaData(), ([], None)),
    ],
)
def test_what_env_py_gives_is_what_is_compared(comparison, swallows, metadata, found):
    def run_env(compare, _options):
        try:
            with context_of(config, metadata) as context:
                assert compare((), context) == []
        except Exception:
            if not swallows:
                raise

    one, config = comparison()

    assert one.run(run_env) == found
    assert one.is_begun


def test_an_env_py_that_runs_nothing_has_compared_nothing(comparison):
    one, _ = comparison()

    assert one.run(lambda _compare, _options: None) == ([], "env.py ran no migrations")


@pytest.mark.parametrize(("handover", "is_given"), [("url", True), ("api", False)])
def test_env_py_has_a_command_line_while_it_compares_unless_it_is_to_have_none(
    comparison, handover, is_given
):
    seen = []
    one, config = comparison(handover)

    def run_env(_compare, options):
        seen.append(config.cmd_opts)
        assert options.keys() == {"as_sql", "template_args", "revision_context"}
        assert options["as_sql"] is False
        assert options["template_args"] is options["revision_context"].template_args

    one.run(run_env)

    (given,) = seen
    assert (given is not None) is is_given
    if is_given:
        told = given()
        assert (told.name, told.x) == ("alembic", ["a=1"])
        assert "shop.ini" in str(told.config)
    assert config.cmd_opts is None
