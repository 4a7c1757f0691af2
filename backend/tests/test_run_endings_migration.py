"""What becomes of runs and requests when 0023 comes and goes, on rows as production has them."""

from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import text

from alembic_snapshot import Clone

AT = "2026-01-01 00:00:00"
ROWS = (
    f"INSERT INTO workspaces (id, name, created_at, updated_at) VALUES ('w', 'W', '{AT}', '{AT}')",
    "INSERT INTO agent_registry (id, workspace_id, name, category, module_path, class_name, "
    "status, version, configuration, created_at, updated_at) VALUES ('a', 'w', 'atom', 'general', "
    f"'m', 'C', 'student', '1', '{{}}', '{AT}', '{AT}')",
)
RUN = (
    "INSERT INTO agent_executions (id, workspace_id, agent_id, request, trigger_mode, status, "
    "started_at, finished_at, outcome_recorded_at, counts) VALUES "
    f"(:id, 'w', 'a', '', 'manual', :status, '{AT}', :finished, :recorded, :counts)"
)
RUNS: list[dict[str, Any]] = [
    {"id": "1", "status": "success", "finished": AT, "recorded": AT, "counts": True},
    {"id": "2", "status": "interrupted", "finished": AT, "recorded": None, "counts": False},
    {"id": "3", "status": "rejected", "finished": AT, "recorded": None, "counts": False},
    {"id": "4", "status": "failed", "finished": AT, "recorded": None, "counts": True},
    {"id": "6", "status": "interrupted", "finished": None, "recorded": None, "counts": False},
    {"id": "5", "status": "running", "finished": None, "recorded": None, "counts": True},
]


@pytest.mark.db_clone(revision="0023")
def test_runs_that_did_not_count_are_marked_as_counted_where_nobody_could_tell(
    db_clone: Clone,
) -> None:
    engine = db_clone.engine()
    with engine.begin() as connection:
        for statement in ROWS:
            connection.execute(text(statement))
        connection.execute(text(RUN), RUNS)
    settings = Config()
    settings.set_main_option("script_location", str(Path(__file__).parents[2] / "alembic"))

    with engine.connect() as connection:
        settings.attributes["connection"] = connection
        command.downgrade(settings, "-1")
        connection.commit()
    select = "SELECT id, status, outcome_recorded_at IS NOT NULL FROM agent_executions ORDER BY id"
    with engine.connect() as connection:
        before = [tuple(row) for row in connection.execute(text(select))]
    db_clone.upgrade("0023")

    assert before == [
        ("1", "success", True),
        ("2", "failed", True),
        ("3", "rejected", True),
        ("4", "failed", False),
        ("5", "running", False),
        ("6", "failed", True),
    ]
    with engine.connect() as connection:
        counts = connection.scalars(text("SELECT counts FROM agent_executions ORDER BY id")).all()
        process = connection.scalars(text("SELECT DISTINCT process FROM agent_executions")).all()
    assert [bool(each) for each in counts] == [True] * 6
    assert process == [None]
