"""Data migrations on data, as production has it: rows at the old revision, upgrade, rows after."""

import pytest
from sqlalchemy import text

from alembic_snapshot import Clone

# What the row of 0012 refers to is there: PostgreSQL never switches its foreign keys off.
WAITING = (
    "INSERT INTO workspaces (id, name, created_at, updated_at) "
    "VALUES ('w', 'W', '2026-01-01 00:00:00', '2026-01-01 00:00:00')",
    "INSERT INTO agent_registry (id, workspace_id, name, category, module_path, class_name, "
    "status, version, configuration, created_at, updated_at) VALUES ('a', 'w', 'atom', 'general', "
    "'m', 'C', 'student', '1', '{}', '2026-01-01 00:00:00', '2026-01-01 00:00:00')",
    "INSERT INTO hitl_actions "
    "(id, workspace_id, agent_id, action_type, params, reason, status, requested_at) "
    "VALUES ('h', 'w', 'a', 'send', '{}', 'asked', 'PENDING', '2026-01-01 00:00:00')",
)


@pytest.mark.db_clone(revision="0012")
def test_approval_statuses_become_lower_case(db_clone: Clone) -> None:
    engine = db_clone.engine()
    with engine.begin() as connection:
        for statement in WAITING:
            connection.execute(text(statement))

    db_clone.upgrade("0013")

    with engine.connect() as connection:
        assert connection.scalar(text("SELECT status FROM hitl_actions")) == "pending"
        assert connection.scalar(text("SELECT version_num FROM alembic_version")) == "0013"
