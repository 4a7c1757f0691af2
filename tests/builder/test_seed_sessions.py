"""A seed gets the class of session that it is annotated with."""

from __future__ import annotations

import pytest

SEEDS = {
    "SQLAlchemy's": ("from sqlalchemy.orm import Session", "Session", "sqlalchemy.orm.session"),
    "SQLModel's": ("from sqlmodel import Session", "Session", "sqlmodel.orm.session"),
    "by its module": ("import sqlmodel", "sqlmodel.Session", "sqlmodel.orm.session"),
    "of its own": ("from sqlalchemy import orm\nclass Own(orm.Session): ...", "Own", "seed"),
    "for type checkers":
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from sqlmodel import Session",
         "Session", "sqlmodel.orm.session"),
    "for type checkers, by its module":
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import sqlmodel",
         "sqlmodel.Session", "sqlmodel.orm.session"),
    "for type checkers, from nowhere":
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from nowhere import Session",
         "Session", "sqlalchemy.orm.session"),
    "another": ("from sqlalchemy import Connection", "Connection", "sqlalchemy.engine.base"),
}  # fmt: skip


@pytest.mark.parametrize("kind", SEEDS)
def test_a_seed_gets_what_it_says(project, rows, kind):
    header, annotation, module = SEEDS[kind]
    if module.startswith("sqlmodel"):
        pytest.importorskip("sqlmodel")
    project.revision("0001", upgrade='op.execute("CREATE TABLE kinds (module TEXT)")')
    project.write(
        "seed.py",
        "from __future__ import annotations\nimport sqlalchemy as sa\n" + header + "\n"
        f"def tell(given: {annotation}):\n"
        "    given.execute(sa.text('INSERT INTO kinds VALUES (:m)'),"
        " {'m': type(given).__module__})\n",
    )
    project.configure('seeds = ["seed:tell"]')

    assert rows(project.ensure().path, "SELECT module FROM kinds") == [(module,)]
