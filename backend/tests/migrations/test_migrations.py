"""The migrations: each up, down and up again, and what becomes of the rows."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from sqlalchemy import Connection, Engine, create_engine

from .conftest import (
    AT,
    REVISIONS,
    ROOT,
    Migrated,
    config,
    insert,
    scripts,
)


def add_agent(connection: Connection) -> None:
    """A workspace and an agent, as at the revisions before 0011."""
    insert(connection, "workspaces", id="w", name="W", created_at=AT)
    insert(
        connection,
        "agent_registry",
        id="a",
        workspace_id="w",
        name="atom",
        category="general",
        module_path="m",
        class_name="C",
        status="student",
        version="1",
        configuration="{}",
        created_at=AT,
        updated_at=AT,
    )


def add_approval(connection: Connection, key: str, status: str) -> None:
    insert(
        connection,
        "hitl_actions",
        id=key,
        workspace_id="w",
        agent_id="a",
        action_type="update_it",
        params="{}",
        reason="",
        status=status,
        requested_at=AT,
    )


class TestSchema:
    def test_every_revision_goes_up_down_and_up_again(self, database: Migrated) -> None:
        before = database.shape()
        for revision in REVISIONS:
            database.upgrade(revision)
            after = database.shape()
            database.downgrade("-1")
            assert database.shape() == before, revision
            database.upgrade(revision)
            assert database.shape() == after, revision
            before = after

        database.downgrade("base")
        assert database.shape() == {}

    def test_there_is_no_difference_to_the_models(self, database: Migrated) -> None:
        database.upgrade()

        database.run(command.check)

    def test_the_history_is_a_line_of_at_least_a_dozen(self) -> None:
        assert [f"{number:04}" for number in range(1, len(REVISIONS) + 1)] == REVISIONS
        assert len(REVISIONS) >= 12
        assert len(scripts().get_bases()) == len(scripts().get_heads()) == 1


Rows = dict[str, list[dict[str, Any]]]


def in_common(rows: Rows, with_: Rows) -> Rows:
    """The rows as far as other rows have their tables and columns; letters are in lower case."""
    common: Rows = {}
    for table, others in with_.items():
        columns = set(others[0]) if others else set()
        common[table] = [
            {name: str(value).lower() for name, value in row.items() if name in columns}
            for row in rows.get(table, [])
        ]
    return {table: sorted(each, key=str) for table, each in common.items()}


class TestRowsOfEveryTable:
    """Rows that the constraints of their revision allow are there after every other one."""

    def test_they_stay_when_each_revision_goes_up_down_and_up_again(
        self, database: Migrated
    ) -> None:
        for number, revision in enumerate(REVISIONS):
            below = database.rows()
            below.pop("alembic_version", None)
            database.upgrade(revision)
            above = database.rows()
            assert in_common(above, below) == in_common(below, below), revision
            database.downgrade("-1")
            assert in_common(database.rows(), below) == in_common(below, below), revision
            database.upgrade(revision)
            assert in_common(database.rows(), below) == in_common(below, below), revision
            assert database.rows().keys() == above.keys()
            database.fill(f"row-{number}")

        assert all(len(rows) > 0 for rows in database.rows().values())

    def test_they_stay_all_the_way_down(self, database: Migrated) -> None:
        for number, revision in enumerate(REVISIONS):
            database.upgrade(revision)
            database.fill(f"row-{number}")

        for revision in REVISIONS[-2::-1]:
            above = database.rows()
            database.downgrade(revision)
            below = database.rows()
            for table in below.keys() - {"alembic_version"}:
                gone = {row["id"] for row in above[table]} - {row["id"] for row in below[table]}
                assert gone == GONE_BELOW.get((revision, table), set()), revision

        database.upgrade()


# What a revision can't keep on its way down, by where it leads and the table.
GONE_BELOW: dict[tuple[str, str], set[str]] = {}


class TestRows:
    def test_approval_statuses_become_lower_case_and_upper_case_again(
        self, database: Migrated
    ) -> None:
        database.upgrade("0004")
        with database.engine.begin() as connection:
            add_agent(connection)
            for key, status in (("1", "PENDING"), ("2", "APPROVED")):
                add_approval(connection, key, status)

        database.upgrade()
        lower = database.column("hitl_actions", "status")
        database.downgrade("0012")

        assert lower == ["pending", "approved"]
        assert database.column("hitl_actions", "status") == ["PENDING", "APPROVED"]

    def test_a_request_without_a_deadline_is_due_at_once(self, database: Migrated) -> None:
        database.upgrade("0010")
        with database.engine.begin() as connection:
            add_agent(connection)
            add_approval(connection, "1", "PENDING")

        database.upgrade()

        assert database.column("hitl_actions", "expires_at") == database.column(
            "hitl_actions", "requested_at"
        )

    def test_a_workspace_changed_last_when_it_was_made(self, database: Migrated) -> None:
        database.upgrade("0010")
        with database.engine.begin() as connection:
            add_agent(connection)

        database.upgrade()

        assert database.column("workspaces", "updated_at") == database.column(
            "workspaces", "created_at"
        )

    def test_usage_events_without_a_key_take_their_id_and_give_it_back(
        self, database: Migrated
    ) -> None:
        database.upgrade("0010")
        with database.engine.begin() as connection:
            add_agent(connection)
            add_usage(connection, {"1": None, "2": "given"})

        database.upgrade()
        with_keys = database.column("saas_usage_events", "idempotency_key")
        database.downgrade("0016")

        assert with_keys == ["1", "given"]
        assert database.column("saas_usage_events", "idempotency_key") == [None, "given"]

    def test_rows_survive_when_the_table_they_refer_to_is_replaced(
        self, database: Migrated
    ) -> None:
        database.upgrade("0010")
        with database.engine.begin() as connection:
            add_agent(connection)
            add_approval(connection, "1", "PENDING")

        database.upgrade()
        database.downgrade("0010")

        assert database.column("agent_registry", "id") == ["a"]
        assert database.column("hitl_actions", "agent_id") == ["a"]

    def test_an_outcome_of_a_run_that_had_ended_is_not_counted_again(
        self, database: Migrated
    ) -> None:
        database.upgrade("0010")
        with database.engine.begin() as connection:
            add_agent(connection)
            runs = (("1", "failed", AT), ("2", "running", None), ("3", "success", None))
            for key, status, finished_at in runs:
                insert(
                    connection,
                    "agent_executions",
                    id=key,
                    workspace_id="w",
                    agent_id="a",
                    request="",
                    trigger_mode="manual",
                    status=status,
                    started_at=AT,
                    finished_at=finished_at,
                )

        database.upgrade()

        recorded = database.column("agent_executions", "outcome_recorded_at")
        first, second, _ = database.column("agent_executions", "finished_at")
        assert recorded == [first, second, *database.column("agent_executions", "started_at")[2:]]


def add_usage(connection: Connection, keys: dict[str, str | None]) -> None:
    """A subscription with usage events of these ids and idempotency keys."""
    insert(
        connection,
        "saas_tiers",
        id="t",
        name="T",
        base_price=1,
        billed_event_type="api_call",
        included_units=0,
        overage_rates="[]",
        created_at=AT,
    )
    insert(
        connection,
        "ecommerce_subscriptions",
        id="s",
        workspace_id="w",
        tier_id="t",
        status="active",
        current_period_start=AT,
        current_period_end="2026-02-01 00:00:00.000000",
        created_at=AT,
    )
    for key, idempotency_key in keys.items():
        insert(
            connection,
            "saas_usage_events",
            id=key,
            workspace_id="w",
            subscription_id="s",
            event_type="api_call",
            quantity=1,
            occurred_at=AT,
            idempotency_key=idempotency_key,
            details="{}",
        )


class TestTarget:
    """Which database `env.py` migrates: it never overrides what it was given."""

    @pytest.fixture
    def urls(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
        urls = {name: f"sqlite:///{tmp_path / name}.db" for name in ("given", "config", "env")}
        monkeypatch.setenv("DATABASE_URL", urls["env"])
        return urls

    def made(self, tmp_path: Path) -> list[str]:
        return sorted(path.stem for path in tmp_path.iterdir())

    def test_the_connection_that_the_caller_gave(
        self, urls: dict[str, str], tmp_path: Path
    ) -> None:
        settings = config(**{"sqlalchemy.url": urls["config"]})
        engine = create_engine(urls["given"])
        with engine.connect() as connection:
            settings.attributes["connection"] = connection
            command.upgrade(settings, "0001")
        engine.dispose()

        assert self.made(tmp_path) == ["given"]

    def test_or_else_the_url_of_the_config(self, urls: dict[str, str], tmp_path: Path) -> None:
        command.upgrade(config(**{"sqlalchemy.url": urls["config"]}), "0001")

        assert self.made(tmp_path) == ["config"]

    def test_or_else_the_applications_own(self, urls: dict[str, str], tmp_path: Path) -> None:
        command.upgrade(config(), "0001")

        assert self.made(tmp_path) == ["env"]

    def test_the_callers_foreign_keys_are_on_again_afterwards(self, sqlite: Engine) -> None:
        settings = config()
        with sqlite.connect() as connection:
            settings.attributes["connection"] = connection
            command.upgrade(settings, "head")

            assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar_one() == 1


def test_the_command_line_needs_no_more_than_the_repository(tmp_path: Path) -> None:
    code = """
import logging, alembic.config
logger = logging.getLogger("application")
alembic.config.main(["upgrade", "head"])
print("disabled" if logger.disabled else "enabled")
"""
    url = f"sqlite:///{tmp_path / 'fresh.db'}"

    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=ROOT,
        env={**os.environ, "DATABASE_URL": url},
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout == "enabled\n"
    assert f"-> {REVISIONS[-1]}" in done.stderr
