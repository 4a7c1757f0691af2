"""Projects made at random: models that differ from their migrations, and histories of revisions.

Everything comes from a seed, so that one number is all that a failure has to tell.
"""

from __future__ import annotations

import random
import textwrap
from pathlib import Path

ENV = """
from alembic import context
from sqlalchemy import create_engine
{header}
config = context.config
engine = create_engine(config.get_main_option("sqlalchemy.url"){engine})
with engine.{way}() as connection:
    context.configure(connection=connection, target_metadata={metadata}{options})
    with context.begin_transaction():
        context.run_migrations()
"""
REVISION = """
import sqlalchemy as sa
from alembic import op
{header}
revision = {name!r}
down_revision = {down!r}


def upgrade():
{upgrade}


def downgrade():
{downgrade}
"""
ELSEWHERE = """
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from models import metadata

sa.Table({name!r}, metadata, sa.Column("id", sa.Integer, primary_key=True))


def seed(connection):
    connection.execute(sa.text("select 1"))


def upgrade(url):
    config = Config("alembic.ini")
    config.set_main_option("sqlalchemy.url", url)
    command.upgrade(config, "heads")
"""
_TYPES = ("sa.Integer()", "sa.Text()", "sa.String(20)", "sa.Numeric(8, 2)", "sa.Boolean()",
          "sa.Enum('a', 'b', name='kind')", "sa.DateTime()", "sa.JSON()")  # fmt: skip
_DEFAULTS = (None, "'1'", "sa.text('1')", "sa.func.now()", "sa.text(\"('a' || 'b')\")")
_CHANGES = ("table", "drop", "column", "another", "lose", "index", "unique", "default", "default")
_OPTIONS = (
    "compare_server_default=True",
    "compare_type=False",
    "render_as_batch=True",
    "include_object=lambda o, name, kind, reflected, other: name not in ('c2', 't3', 'ix_c1')",
    "include_name=lambda name, kind, parents: name not in ('t2', 'c3')",
    "process_revision_directives=without_indexes",
    "process_revision_directives=with_more",
    "process_revision_directives=with_nothing",
    "version_table='versions'",
)
_HOOKS = """
from alembic.operations import ops


def _kept(operations):
    for operation in list(operations.ops):
        if hasattr(operation, "ops"):
            _kept(operation)
        elif isinstance(operation, ops.CreateIndexOp | ops.DropIndexOp):
            operations.ops.remove(operation)


def without_indexes(context, revision, directives):
    _kept(directives[0].upgrade_ops)


def with_more(context, revision, directives):
    directives[0].upgrade_ops.ops.append(ops.ExecuteSQLOp("select 1"))


def with_nothing(context, revision, directives):
    directives[0].upgrade_ops.ops.clear()
"""


def write(root: Path, env: dict[str, str], files: dict[str, str]) -> None:
    """Write a project with an ini file, an ``env.py`` and these files."""
    filled = {
        "header": "",
        "engine": "",
        "way": "connect",
        "options": "",
        "metadata": "None",
        **env,
    }
    files = {
        "alembic.ini": "[alembic]\nscript_location = %(here)s/migrations\n",
        "pyproject.toml": "[tool.alembic-snapshot]\n",
        "migrations/env.py": ENV.format(**filled),
        **files,
    }
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def drifting(root: Path, seed: int) -> None:
    """A project whose models are its one migration's tables with changes made at random."""
    chance = random.Random(seed)
    tables = {f"t{number}": _table(chance, number) for number in range(chance.randint(1, 4))}
    changed = {name: dict(parts) for name, parts in tables.items()}
    for _ in range(chance.randint(0, 5)):
        _change(chance, changed)
    options = "".join(f", {one}" for one in chance.sample(_OPTIONS, chance.randint(0, 3)))
    if options.count("process_revision_directives") > 1:
        options = ", process_revision_directives=with_more"
    several = "more" if chance.random() < 0.2 else ""
    env = {
        "header": f"from models import metadata{', more' if several else ''}\n{_HOOKS}",
        "metadata": "[metadata, more]" if several else "metadata",
        "options": options,
    }
    models = ["import sqlalchemy as sa", "metadata = sa.MetaData()", "more = sa.MetaData()"]
    for number, (name, parts) in enumerate(changed.items()):
        owner = "more" if several and number == 0 and "t0" not in str(list(changed.values())[1:]) \
            else "metadata"  # fmt: skip
        models.append(f"sa.Table({name!r}, {owner}, {', '.join(parts.values())})")
    made = ["import sqlalchemy as sa", "metadata = sa.MetaData()"]
    made += [f"sa.Table({n!r}, metadata, {', '.join(p.values())})" for n, p in tables.items()]
    revision = REVISION.format(
        header="\n".join(made),
        name="0001",
        down=None,
        upgrade="    for table in metadata.sorted_tables:\n        table.create(op.get_bind())",
        downgrade="    pass",
    )
    files = {"models.py": "\n".join(models) + "\n", "migrations/versions/0001.py": revision}
    how = chance.choice(("", "seeds", "migrate"))
    if how:
        # A model that env.py imports nowhere; its table may be one of the migrations', or none.
        name = chance.choice((*(tables.keys() - changed.keys()), "elsewhere"))
        files["elsewhere.py"] = ELSEWHERE.format(name=name)
        value = {"seeds": '["elsewhere:seed"]', "migrate": '"elsewhere:upgrade"'}[how]
        files["pyproject.toml"] = f"[tool.alembic-snapshot]\n{how} = {value}\n"
    write(root, env, files)


def _table(chance: random.Random, number: int) -> dict[str, str]:
    parts = {"id": "sa.Column('id', sa.Integer, primary_key=True)"}
    for index in range(chance.randint(1, 4)):
        parts[f"c{index}"] = _column(chance, f"c{index}")
    if number and chance.random() < 0.4:
        parts["fk"] = "sa.Column('up', sa.Integer, sa.ForeignKey('t0.id'))"
    if chance.random() < 0.4:
        parts["index"] = f"sa.Index('ix_{number}', 'c0')"
    if chance.random() < 0.3:
        parts["unique"] = f"sa.UniqueConstraint('c0', name='uq_{number}')"
    return parts


def _column(chance: random.Random, name: str) -> str:
    options = [f"'{name}'", chance.choice(_TYPES)]
    default = chance.choice(_DEFAULTS)
    options += [f"server_default={default}"] if default and chance.random() < 0.5 else []
    options += ["nullable=False"] if chance.random() < 0.3 else []
    options += ["comment='said'"] if chance.random() < 0.1 else []
    return f"sa.Column({', '.join(options)})"


def _change(chance: random.Random, tables: dict[str, dict[str, str]]) -> None:
    what = chance.choice(
        ("table", "drop", "column", "column", "another", "lose", "index", "unique")
    )
    name = chance.choice(list(tables))
    parts = tables[name]
    if what == "table":
        tables[f"n{len(tables)}"] = _table(chance, 0)
    elif what == "drop" and name != "t0":
        del tables[name]
    elif what == "column":
        parts["c0"] = _column(chance, "c0")
    elif what == "default":
        default = chance.choice(("'1'", "'2'", "sa.func.now()"))
        kind = next(kind for kind in _TYPES if kind in parts["c0"])
        parts["c0"] = f"sa.Column('c0', {kind}, server_default={default})"
    elif what == "another":
        parts[f"n{len(parts)}"] = _column(chance, f"n{len(parts)}")
    elif what == "lose":
        for key in set(parts) & {"c1", "c2", "c3", "fk", "index", "unique"}:
            if chance.random() < 0.5:
                del parts[key]
    elif what == "index":
        parts["index"] = f"sa.Index('ix_new_{name}', 'c0', unique={chance.random() < 0.5})"
    elif what == "unique":
        parts["unique"] = f"sa.UniqueConstraint('c0', name='uq_new_{name}')"


def history(root: Path, seed: int) -> None:
    """A project with a line of revisions, of which some don't undo what they do."""
    chance = random.Random(seed)
    env = {"way": chance.choice(("connect", "connect", "begin"))}
    if chance.random() < 0.3:
        env["options"] = ", transaction_per_migration=True"
    if chance.random() < 0.3:
        env["options"] = env.get("options", "") + ", render_as_batch=True"
    if chance.random() < 0.4:
        env["header"] = "from sqlalchemy import event, Engine"
        pragma = chance.choice(("foreign_keys=on", "journal_mode=wal"))
        env["header"] += (
            "\n\n@event.listens_for(Engine, 'connect')\ndef connected(connection, record):\n"
            f"    connection.execute('pragma {pragma}')\n"
        )
    files = {}
    down = None
    for number in range(1, chance.randint(3, 6)):
        name = f"{number:04}"
        header, upgrade, good, bad = _revision(chance, number)
        text = good if chance.random() < 0.6 else chance.choice(bad)
        files[f"migrations/versions/{name}.py"] = REVISION.format(
            header=header,
            name=name,
            down=down,
            upgrade=textwrap.indent(upgrade, "    "),
            downgrade=textwrap.indent(text, "    "),
        )
        down = name
    write(root, env, files)


def _revision(chance: random.Random, number: int) -> tuple[str, str, str, list[str]]:
    """A revision's header, its upgrade, a downgrade that undoes it, and some that don't."""
    table = f"t{number}"
    made = (
        f"op.create_table('{table}', sa.Column('id', sa.Integer, primary_key=True), "
        "sa.Column('x', sa.Text), sa.Column('y', sa.Integer))"
    )
    gone = f"op.drop_table('{table}')"
    failing = ["raise NotImplementedError", "raise SystemExit('never')", f"{gone}\n1 / 0"]
    if number == 1:
        return "", made, gone, ["pass", *failing]
    kinds = {
        "table": ("", made, gone, ["pass", f"{gone}\nop.drop_table('t1')", *failing]),
        "column": (
            "",
            f"op.add_column('t1', sa.Column('n{number}', sa.Text))",
            f"with op.batch_alter_table('t1') as batch:\n    batch.drop_column('n{number}')",
            ["pass", "raise NotImplementedError"],
        ),
        "index": (
            "",
            f"op.create_index('ix{number}', 't1', ['x'])",
            f"op.drop_index('ix{number}', 't1')",
            ["pass", "op.drop_index('nowhere', 't1')"],
        ),
        "batch": (
            "",
            "with op.batch_alter_table('t1') as batch:\n"
            "    batch.alter_column('y', type_=sa.BigInteger(), existing_type=sa.Integer())",
            "with op.batch_alter_table('t1') as batch:\n"
            "    batch.alter_column('y', type_=sa.Integer(), existing_type=sa.BigInteger())",
            ["pass", "with op.batch_alter_table('t1') as batch:\n    batch.drop_column('y')"],
        ),
        "enum": (
            f"kind{number} = sa.Enum('a', 'b', name='kind{number}', create_constraint=True)",
            f"op.create_table('{table}', sa.Column('k', kind{number}))",
            gone,
            ["pass", *failing],
        ),
        "metadata": (
            "metadata = sa.MetaData()",
            f"sa.Table('{table}', metadata, sa.Column('x', sa.Text)).create(op.get_bind())",
            gone,
            ["pass", f"sa.Table('{table}', metadata).drop(op.get_bind())\n1 / 0"],
        ),
        "rows": (
            "",
            f"op.execute(\"insert into t1 (id, x) values ({number}, 'a')\")",
            f"op.execute('delete from t1 where id = {number}')",
            ["pass", "op.execute('delete from nowhere')"],
        ),
        "temporary": (
            "",
            f"op.execute('create temp table scratch{number} (x)')\n{made}",
            f"op.execute('create temp table scratch{number} (x)')\n{gone}",
            [f"op.execute('drop table temp.scratch{number}')\n{gone}"],
        ),
        "view": (
            "",
            f"op.execute('create view v{number} as select x from t1')",
            f"op.execute('drop view v{number}')",
            ["pass", f"op.execute('drop view v{number}')\n"
             f"op.execute('create view v{number} as select y from t1')"],
        ),
    }  # fmt: skip
    return kinds[chance.choice(list(kinds))]
