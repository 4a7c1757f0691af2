"""Whoever imports what first, every mapper is complete when it is used.

Each case runs in a fresh interpreter: in this one, everything is imported already.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from core.base import Base
from sqlalchemy import CheckConstraint, Engine, inspect

from alembic_snapshot import Clone

BACKEND = Path(__file__).parents[1]

FIRST_IMPORTS = [
    "import saas.models",
    "import ecommerce.models",
    "import saas.models, ecommerce.models",
    "import ecommerce.models, saas.models",
    "import core.models",
    "import core.base",
    "import core.mappers",
    "import core.composition",
    "import core.database",
    "import saas.metering",
    "import core.atom_meta_agent",
]


def run(code: str, cwd: Path, **environment: str) -> str:
    """The standard output of a program in a fresh interpreter, with warnings as errors."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=cwd,
        env={**os.environ, **environment, "PYTHONPATH": str(BACKEND)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("first", FIRST_IMPORTS)
def test_a_session_has_every_mapper(first: str, tmp_path: Path, db_clone: Clone) -> None:
    code = f"""{first}
from core.database import SessionLocal
from sqlalchemy import select
with SessionLocal() as session:
    from saas.models import UsageEvent
    print(session.scalars(select(UsageEvent).join(UsageEvent.subscription)).all())
"""

    assert run(code, tmp_path, **db_clone.environ) == "[]"


@pytest.mark.parametrize("first", ["saas.models.UsageEvent", "ecommerce.models.Subscription"])
def test_an_object_needs_no_session_to_have_every_mapper(first: str, tmp_path: Path) -> None:
    module = first.rpartition(".")[0]

    assert run(f"import {module}; {first}(); print('made')", tmp_path) == "made"


@pytest.mark.parametrize("first", ["saas.models", "ecommerce.models"])
def test_a_query_without_a_session_of_ours_has_every_mapper(
    first: str, tmp_path: Path, db_clone: Clone
) -> None:
    code = f"""import {first}
from sqlalchemy import create_engine, select
from sqlalchemy.orm import Session
with Session(create_engine({db_clone.url!r})) as session:
    model = {first}.{"UsageEvent" if first == "saas.models" else "Subscription"}
    print(session.scalars(select(model)).all())
"""

    assert run(code, tmp_path) == "[]"


def test_importing_the_database_opens_nothing(tmp_path: Path) -> None:
    code = "import core.database, core.mappers; core.mappers.load_all(); print('loaded')"
    url = f"sqlite:///{tmp_path / 'never.db'}"

    assert run(code, tmp_path, DATABASE_URL=url) == "loaded"
    assert list(tmp_path.iterdir()) == []


def test_without_a_database_url_it_is_atom_dev(tmp_path: Path) -> None:
    code = "import core.database; print(core.database.engine.url)"

    assert run(code, tmp_path, DATABASE_URL="") == "sqlite:///atom_dev.db"
    assert list(tmp_path.iterdir()) == []


def test_models_have_the_checks_that_the_migrations_make(db_engine: Engine) -> None:
    """Alembic compares neither names nor texts of check constraints."""
    inspector = inspect(db_engine)
    made = {
        (table, check["name"])
        for table in Base.metadata.tables
        for check in inspector.get_check_constraints(table)
    }

    assert made == {
        (table.name, constraint.name)
        for table in Base.metadata.tables.values()
        for constraint in table.constraints
        if isinstance(constraint, CheckConstraint)
    }
