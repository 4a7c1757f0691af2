"""Data migrations on data, as production has it: rows at the old revision, upgrade, rows after."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from alembic_snapshot import Clone

WAITING = """
    INSERT INTO hitl_actions
        (id, workspace_id, agent_id, action_type, params, reason, status, requested_at)
    VALUES ('h', 'w', 'a', 'send', '{}', 'asked', 'PENDING', '2026-01-01 00:00:00')
"""


def run(path: Path, statement: str) -> list[tuple[str]]:
    with closing(sqlite3.connect(path)) as connection, connection:
        return connection.execute(statement).fetchall()


@pytest.mark.db_clone(revision="0012")
def test_approval_statuses_become_lower_case(db_clone: Clone) -> None:
    run(db_clone.path, WAITING)

    db_clone.upgrade("0013")

    assert run(db_clone.path, "SELECT status FROM hitl_actions") == [("pending",)]
    assert run(db_clone.path, "SELECT version_num FROM alembic_version") == [("0013",)]
