"""The models say what the migrations made, in constraints and indexes too."""

import re
from typing import Any

from core.base import Base
from core.mappers import load_all
from sqlalchemy import Connection, Engine, create_engine, inspect, text
from sqlalchemy.pool import NullPool


def said(connection: Connection, schema: str | None = None) -> dict[str, Any]:
    """The checks, unique constraints and indexes of each table, as the database has them."""
    seen = inspect(connection)
    found: dict[str, Any] = {}
    for table in set(seen.get_table_names(schema)) - {"alembic_version"}:
        checks = seen.get_check_constraints(table, schema)
        found[table] = {
            "checks": {each["name"]: plain(each["sqltext"]) for each in checks},
            "unique": {
                each["name"]: each["column_names"]
                for each in seen.get_unique_constraints(table, schema)
            },
            "indexes": {
                each["name"]: (each["column_names"], bool(each["unique"]), where(each))
                for each in seen.get_indexes(table, schema)
            },
        }
    return found


def where(index: Any) -> list[str]:
    """The condition of a partial index."""
    options = index.get("dialect_options", {})
    return [plain(str(sql)) for option, sql in options.items() if option.endswith("_where")]


def plain(sql: str) -> str:
    return re.sub(r"\s+", " ", sql).strip()


def test_checks_and_indexes_are_those_of_the_migrated_database(db_engine: Engine) -> None:
    load_all()
    with db_engine.connect() as migrated:
        made_by_migrations = said(migrated)
        if migrated.dialect.name == "sqlite":
            with create_engine("sqlite://", poolclass=NullPool).connect() as empty:
                Base.metadata.create_all(empty)
                made_by_models = said(empty)
        else:
            migrated.execute(text("CREATE SCHEMA models"))
            there = migrated.execution_options(schema_translate_map={None: "models"})
            Base.metadata.create_all(there)
            made_by_models = said(there, "models")
            migrated.rollback()

    assert made_by_models == made_by_migrations
    assert sum(len(table["checks"]) for table in made_by_migrations.values()) > 20
