"""G6: a revision that takes its schema from the models is told, whichever way it goes."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from alembic_snapshot.backend import backend_of
from alembic_snapshot.builder import lineage
from alembic_snapshot.checks import findings

MODELS = """
import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

class Base(DeclarativeBase):
    pass

class Dated:
    made: Mapped[int] = mapped_column(sa.Integer)

def model(name):
    columns = {"id": mapped_column(sa.Integer, primary_key=True), "n": mapped_column(sa.Integer)}
    if name.startswith("part"):
        columns["n"] = mapped_column(sa.Integer, index=True)
    bases = (Dated, Base) if name == "mixed" else (Base,)
    return type(name.title(), bases, {"__tablename__": name, **columns})

"""
HEADER = """
from sqlalchemy.orm import DeclarativeBase, Session, mapped_column
from sqlalchemy.schema import AddConstraint, CreateColumn, CreateTable
from models import Base, Dated

def frozen(name, *columns, metadata=None):
    return sa.Table(name, metadata if metadata is not None else sa.MetaData(),
                    sa.Column("id", sa.Integer, primary_key=True), sa.Column("n", sa.Integer),
                    *columns)
"""
T = "Base.metadata.tables['{name}']"
# By the table's name: how a revision makes it of the models.
LIVE = {
    "create_all": "Base.metadata.create_all(op.get_bind(), [{t}])",
    "created": "{t}.create(op.get_bind())",
    "checked": "{t}.create(op.get_bind(), checkfirst=True)",
    "executed": "op.execute(CreateTable({t}))",
    "compiled": "op.execute(str(CreateTable({t}).compile(dialect=op.get_bind().dialect)))",
    "mocked": """
        said = []
        Base.metadata.create_all(sa.create_mock_engine("sqlite://", lambda s, *a: said.append(s)),
                                 [{t}], checkfirst=False)
        for one in said: op.execute(one)
    """,
    "copied": "op.create_table('copied', *[c._copy() for c in {t}.columns])",
    "given": "op.create_table('given', *{t}.columns)",
    "moved": "{t}.to_metadata(sa.MetaData()).create(op.get_bind())",
    "recreated": """
        frozen("recreated").create(op.get_bind())
        with op.batch_alter_table("recreated", copy_from={t}, recreate="always"): pass
    """,
    "produced": """
        from alembic.autogenerate import produce_migrations
        from alembic.migration import MigrationContext
        own = MigrationContext.configure(op.get_bind(), opts={{
            "include_name": lambda n, kind, p: kind != "table" or n == "produced",
            "include_object": lambda o, n, kind, r, c: kind != "table" or n == "produced"}})
        for one in produce_migrations(own, Base.metadata).upgrade_ops.ops: op.invoke(one)
    """,
    "part_column": """
        op.create_table("part_column", sa.Column("id", sa.Integer, primary_key=True))
        op.add_column("part_column", {t}.c.n)
    """,
    "part_copied": """
        op.create_table("part_copied", sa.Column("id", sa.Integer, primary_key=True))
        op.add_column("part_copied", {t}.c.n._copy())
    """,
    "part_text": """
        op.create_table("part_text", sa.Column("id", sa.Integer, primary_key=True))
        spelled = CreateColumn({t}.c.n).compile(dialect=op.get_bind().dialect)
        op.execute(f"ALTER TABLE part_text ADD COLUMN {{spelled}}")
        op.create_index("ix_part_text_n", "part_text", ["n"])
    """,
    "part_index": """
        frozen("part_index").create(op.get_bind())
        for one in {t}.indexes: one.create(op.get_bind())
    """,
    "mixed": """
        class Own(DeclarativeBase): pass
        class Mixed(Dated, Own):
            __tablename__ = "mixed"
            id = mapped_column(sa.Integer, primary_key=True)
            n = mapped_column(sa.Integer)
        Mixed.__table__.create(op.get_bind())
    """,
}
# By the table's name: how a revision makes a table by itself, and may use the models beside.
HONEST = {
    "operation": "op.create_table('operation', sa.Column('id', sa.Integer, primary_key=True), "
        "sa.Column('n', sa.Integer))",
    "own_table": "frozen('own_table').create(op.get_bind())",
    "own_class": """
        class Own(DeclarativeBase): pass
        class OwnClass(Own):
            __tablename__ = "own_class"
            id = mapped_column(sa.Integer, primary_key=True)
            n = mapped_column(sa.Integer)
        OwnClass.__table__.create(op.get_bind())
    """,
    "own_copies": """
        one = frozen("own_copies")
        op.create_table("own_copies", *[c._copy() for c in one.columns])
    """,
    "filled": """
        frozen("filled").create(op.get_bind())
        op.bulk_insert({t}, [{{"n": 1}}, {{"n": 2}}])
        op.execute({t}.update().values(n=sa.select(sa.func.max({t}.c.n)).scalar_subquery()))
        with Session(op.get_bind()) as session:
            for model in Base.__subclasses__():
                if model.__tablename__ == "filled":
                    session.add(model(n=3))
                    assert session.scalar(sa.select(sa.func.count()).select_from(model)) == 2
            session.commit()
        op.execute({t}.delete().where({t}.c.n > 2))
    """,
    "batched": """
        op.create_table("batched", sa.Column("id", sa.Integer, primary_key=True),
                        sa.Column("m", sa.Integer))
        with op.batch_alter_table("batched", recreate="always") as batch:
            batch.alter_column("m", new_column_name="n")
            batch.add_column(sa.Column("gone", sa.Integer))
        with op.batch_alter_table("batched") as batch:
            batch.drop_column("gone")
    """,
    "refers": """
        frozen("refers").create(op.get_bind())
        op.create_table("short", sa.Column("id", sa.ForeignKey({t}.c.id)))
        op.drop_table("short")
    """,
    "dropped": """
        frozen("dropped").create(op.get_bind())
        {t}.drop(op.get_bind())
        frozen("dropped").create(op.get_bind())
    """,
    "there": """
        frozen("there").create(op.get_bind())
        {t}.create(op.get_bind(), checkfirst=True)
    """,
}  # fmt: skip
MADE = {**HONEST, **LIVE}


@pytest.fixture(params=["the models' own", "a copy of it"])
def app(request, project):
    """A project with a model for each way, and a revision that makes its table in this way."""
    names = "".join(f"model({name!r})\n" for name in MADE)
    project.write("models.py", f"{MODELS}\n{names}")
    target = "target_metadata = Base.metadata"
    if request.param == "a copy of it":
        target = (
            "from sqlalchemy import MetaData\ntarget_metadata = MetaData()\n"
            "for table in Base.metadata.tables.values(): table.to_metadata(target_metadata)"
        )
    env = project.root / "migrations/env.py"
    text = env.read_text().replace("target_metadata = None", target)
    env.write_text(f"from models import Base\n{text}")
    before = None
    for name, way in MADE.items():
        body = way.format(t=T.format(name=name), name=name)
        project.revision(name, before, upgrade=body, header=HEADER)
        before = name
    return project


def found(snapshot):
    checks = snapshot.manifest.checks
    assert (checks["drift"], checks["drift_error"]) == ([], None)
    return findings(checks, drift="error", heads="one", spell=lambda *words: " ".join(words))


EXPECTED = [
    "revision create_all calls create_all: the models' drift can't show",
    "revision mocked calls create_all: the models' drift can't show",
    *(
        f"revision {name} takes its schema from the models: their drift can't show"
        for name in LIVE
        if name not in ("create_all", "mocked")
    ),
]


def test_each_way_is_told_and_honest_revisions_are_not(app):
    snapshot = app.ensure()

    assert found(snapshot) == EXPECTED

    for entry in backend_of(app.load()).store().entries():
        told = entry.manifest.checks["create_all"] + entry.manifest.checks["from_models"]
        assert set(told) <= entry.manifest.revisions.keys() & LIVE.keys()

    # What is built on a stored state has what was told of that.
    app.revision("last", "mixed", upgrade="op.execute('select 1')")
    assert found(app.ensure()) == EXPECTED

    done = app.command("check", "--no-stairway")
    assert (done.returncode, done.stdout.count("from the models")) == (1, len(LIVE) - 2)


def test_a_statement_without_a_table_makes_nothing_of_the_models():
    made_of = sa.MetaData()
    sa.Table("t", made_of, sa.Column("id", sa.Integer))

    for statement in (
        sa.schema.CreateSchema("s"),
        sa.schema.CreateSequence(sa.Sequence("q")),
        sa.schema.AddConstraint(sa.CheckConstraint("a > 0")),
        sa.DDL("create table t (id integer)"),
        sa.schema.DropTable(made_of.tables["t"]),
    ):
        assert not lineage.makes_of(statement, [made_of])
    assert lineage.makes_of(sa.schema.CreateTable(made_of.tables["t"]), [made_of])
    assert not lineage.makes_of(sa.schema.CreateTable(made_of.tables["t"]), [sa.MetaData()])


MODULES = {
    "models": """
        import sqlalchemy as sa

        models = sa.MetaData()
        own = sa.MetaData()
        for metadata in (models, own):
            sa.Table("extra", metadata, sa.Column("id", sa.Integer, primary_key=True))
    """,
    "stamped": """
        import sqlalchemy as sa
        from alembic import command
        from alembic.config import Config
        import models

        def create(url, metadata=models.models):
            metadata.create_all(sa.create_engine(url))
            config = Config("alembic.ini")
            config.set_main_option("sqlalchemy.url", url.replace("%", "%%"))
            command.stamp(config, "head")

        def create_own(url):
            create(url, models.own)

        def upgrade(url):
            config = Config("alembic.ini")
            config.set_main_option("sqlalchemy.url", url.replace("%", "%%"))
            command.upgrade(config, "head")
    """,
    "made": """
        import models, sqlalchemy as sa
        models.models.create_all(sa.create_engine("sqlite:///shop.db"))
    """,
}
TAKES = "takes its schema from the models: their drift can't show"
BEFORE, AFTER = "with engine.connect() as connection:\n", "context.run_migrations()\n"
BESIDE = {
    "env.py before": (
        BEFORE,
        "    models.models.create_all(connection); connection.commit()",
        "env.py",
    ),
    "env.py afterwards": (
        AFTER,
        "    models.models.tables['extra'].create(connection, True); connection.commit()",
        "env.py",
    ),
    "what env.py imports": ("config = context.config\n", "import made", "env.py"),
    "env.py, of its own": (
        BEFORE,
        "    models.own.create_all(connection); connection.commit()",
        None,
    ),
    "env.py, of what is there": (
        AFTER,
        "    models.own.create_all(connection); models.models.create_all(connection)\n"
        "    connection.commit()",
        None,
    ),
    "migrate": ("", "stamped:create", "migrate stamped:create"),
    "migrate, of its own": ("", "stamped:create_own", None),
}


@pytest.mark.parametrize("way", BESIDE)
def test_what_makes_the_models_tables_beside_the_revisions_is_told(project, way):
    before, line, who = BESIDE[way]
    for name, text in MODULES.items():
        project.write(f"{name}.py", text)
    env = project.root / "migrations/env.py"
    text = env.read_text().replace("target_metadata = None", "target_metadata = models.models")
    if before:
        assert before in text
        text = text.replace(before, f"{before}{line}\n")
    else:
        project.configure(f'migrate = "{line}"')
    env.write_text(f"import models\n{text}")
    project.revision("0001")
    snapshot = project.ensure()
    project.revision("0002", "0001")

    for built in (snapshot, project.ensure()):
        made = built.manifest.checks["from_models"]
        assert made == ([who] if who else [])
        lines = findings(built.manifest.checks, drift="warn", heads="one", spell=" ".join)
        assert [line for line in lines if TAKES in line] == [f"{who} {TAKES}"] * len(made)
        assert findings(built.manifest.checks, drift="ignore", heads="one", spell=" ".join) == []


def test_a_revision_that_takes_its_schema_from_the_models_is_told_where_migrate_runs_it(project):
    project.write("models.py", MODULES["models"])
    project.write("stamped.py", MODULES["stamped"])
    project.configure('migrate = "stamped:upgrade"')
    env = project.root / "migrations/env.py"
    text = env.read_text().replace("target_metadata = None", "target_metadata = models.models")
    env.write_text(f"import models\n{text}")
    project.revision(
        "0001",
        header="import models",
        upgrade="models.models.tables['extra'].create(op.get_bind())",
    )

    assert project.ensure().manifest.checks["from_models"] == ["0001"]
