"""An env.py that migrates several databases in one run, of which a snapshot is one."""

from __future__ import annotations

import pytest

from alembic_snapshot.build.stairway import run_stairway
from alembic_snapshot.errors import BuildError
from alembic_snapshot.key.inputs import text_digest

ENV = """
    import os
    import sqlalchemy as sa
    from alembic import context

    orders, users = sa.MetaData(), sa.MetaData()
    sa.Table("orders", orders, sa.Column("id", sa.Integer, primary_key=True))
    sa.Table("users", users, sa.Column("id", sa.Integer, primary_key=True))
    DATABASES = {
        "orders": (os.environ.get("ORDERS", "sqlite:///orders.db"), orders),
        "users": (os.environ.get("USERS", "sqlite:///users.db"), users),
    }
    connections = {n: sa.create_engine(url).connect() for n, (url, _) in DATABASES.items()}
    for name, (_, metadata) in DATABASES.items():
        context.configure(
            connection=connections[name],
            target_metadata=metadata,
            upgrade_token=f"{name}_upgrades",
            downgrade_token=f"{name}_downgrades",
        )
        context.run_migrations(engine_name=name)
    for connection in connections.values():
        connection.commit()
        connection.close()
"""
REVISION = """
import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade(engine_name):
    globals()[f"upgrade_{engine_name}"]()


def downgrade(engine_name):
    globals()[f"downgrade_{engine_name}"]()


def upgrade_orders():
    op.create_table("orders", sa.Column("id", sa.Integer, primary_key=True))


def downgrade_orders():
    op.drop_table("orders")


def upgrade_users():
    op.create_table("users", sa.Column("id", sa.Integer, primary_key=True))


def downgrade_users():
    op.drop_table("users")
"""


@pytest.fixture
def several(project):
    project.write("migrations/env.py", ENV)
    project.write("migrations/versions/0001_first.py", REVISION)
    return project


def test_it_is_told_which_they_are_and_what_to_do(several):
    with pytest.raises(BuildError) as caught:
        several.ensure()

    assert "env.py failed at migrations/env.py line 14: it migrates several databases, " in (
        caught.value.message
    )
    assert "'orders.db' and 'users.db', and a snapshot is one" in caught.value.message
    assert "let the others be in memory, sqlite://" in caught.value.hint
    assert not list(several.root.glob("*.db"))


def test_one_of_them_may_be_the_target_itself(several):
    several.configure('environment = { ORDERS = "{url}" }')

    with pytest.raises(BuildError, match=r"the snapshot's and 'users\.db', and a snapshot is one"):
        several.ensure()


@pytest.mark.parametrize(("ours", "other"), [("orders", "users"), ("users", "orders")])
def test_those_in_memory_are_left_alone(several, tables, ours, other):
    values = f'{ours.upper()} = "{{url}}", {other.upper()} = "sqlite://"'
    several.configure(f"environment = {{ {values} }}")

    snapshot, ran = several.build()
    stairway = run_stairway(several.load(), snapshot=snapshot)

    assert ran == ["0001"]
    assert tables(snapshot.path) == ["alembic_version", ours]
    assert snapshot.manifest.options["upgrade_token"] == text_digest(f"'{ours}_upgrades'")
    assert snapshot.manifest.checks["drift"] == []
    assert snapshot.manifest.checks["drift_error"] is None
    assert (stairway.tried, list(stairway.findings)) == (1, [])
    assert several.chain().opaque == ()


def test_drift_is_that_of_the_snapshots_own_models(several):
    several.configure('environment = { ORDERS = "{url}", USERS = "sqlite://" }')
    more = 'sa.Table("more", orders, sa.Column("id", sa.Integer))\n    DATABASES = {'
    several.write("migrations/env.py", ENV.replace("DATABASES = {", more))

    assert several.ensure().manifest.checks["drift"] == ["add table more"]
