"""The migrations: each up, down and up again, and what becomes of the rows."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, event, inspect, text

if TYPE_CHECKING:
    from alembic_snapshot.postgres.pool import Pool

ROOT = Path(__file__).parents[2]

Migrate = Callable[..., None]


def config(**options: str) -> Config:
    """Alembic's settings, without the logging of `alembic.ini`."""
    made = Config()
    made.set_main_option("script_location", str(ROOT / "alembic"))
    for key, value in options.items():
        made.set_main_option(key, value)
    return made


REVISIONS = [script.revision for script in ScriptDirectory.from_config(config()).walk_revisions()][
    ::-1
]


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[Engine]:
    """An empty SQLite database on which foreign keys are enforced, as the application does."""
    engine = create_engine(f"sqlite:///{tmp_path / 'migrated.db'}")
    event.listen(engine, "connect", lambda raw, _: raw.execute("PRAGMA foreign_keys=ON"))
    yield engine
    engine.dispose()


@pytest.fixture(scope="module")
def databases() -> Iterator["Pool"]:
    """Databases on the server that `SNAPSHOT_POSTGRES_URL` names, or else on a private one."""
    pytest.importorskip("psycopg")
    from alembic_snapshot.postgres.pool import Pool
    from alembic_snapshot.postgres.server import server_in_use

    pool = Pool(server_in_use())
    yield pool
    pool.close()


@pytest.fixture
def postgresql(databases: "Pool") -> Iterator[Engine]:
    """An empty PostgreSQL database, dropped afterwards, by the next run if this one is killed."""
    database = databases.take(None)
    engine = create_engine(database.url())
    yield engine
    engine.dispose()
    databases.drop(database.name)


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest) -> Engine:
    """An empty database of each kind."""
    made: Engine = request.getfixturevalue(request.param)
    return made


@pytest.fixture
def migrate(engine: Engine) -> Migrate:
    """Upgrade or downgrade the database to a revision."""

    def run(deed: Callable[..., object], *revision: str) -> None:
        settings = config()
        with engine.connect() as connection:
            settings.attributes["connection"] = connection
            deed(settings, *revision)
            connection.commit()

    return run


def shape(engine: Engine) -> dict[str, Any]:
    """Everything about a schema that a migration could get wrong."""
    inspector = inspect(engine)
    # Of all tables at once: on a server each question is a round trip.
    primary_keys, foreign_keys = (
        inspector.get_multi_pk_constraint(),
        inspector.get_multi_foreign_keys(),
    )
    unique, checks = (
        inspector.get_multi_unique_constraints(),
        inspector.get_multi_check_constraints(),
    )
    indexes = inspector.get_multi_indexes()
    return {
        table: {
            "columns": [
                (column["name"], str(column["type"]), column["nullable"], column["default"])
                for column in sorted(columns, key=lambda each: each["name"])
            ],
            "primary key": primary_keys[schema, table]["name"],
            "foreign keys": sorted(
                (key["name"], key["constrained_columns"], key["referred_table"])
                for key in foreign_keys[schema, table]
            ),
            "unique": sorted((key["name"], key["column_names"]) for key in unique[schema, table]),
            "checks": sorted((check["name"], check["sqltext"]) for check in checks[schema, table]),
            "indexes": sorted(
                (index["name"], index["column_names"], index["unique"])
                for index in indexes[schema, table]
            ),
        }
        for (schema, table), columns in inspector.get_multi_columns().items()
        if table != "alembic_version"
    }


def insert(connection: Connection, table: str, **values: Any) -> None:
    columns, places = ", ".join(values), ", ".join(f":{column}" for column in values)
    connection.execute(text(f"INSERT INTO {table} ({columns}) VALUES ({places})"), values)


def column(engine: Engine, table: str, name: str) -> list[Any]:
    with engine.connect() as connection:
        return list(connection.scalars(text(f"SELECT {name} FROM {table} ORDER BY id")))


AT = "2026-01-01 00:00:00.000000"


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
    def test_every_revision_goes_up_down_and_up_again(
        self, engine: Engine, migrate: Migrate
    ) -> None:
        before = shape(engine)
        for revision in REVISIONS:
            migrate(command.upgrade, revision)
            after = shape(engine)
            migrate(command.downgrade, "-1")
            assert shape(engine) == before, revision
            migrate(command.upgrade, revision)
            assert shape(engine) == after, revision
            before = after

        migrate(command.downgrade, "base")
        assert shape(engine) == {}

    def test_there_is_no_difference_to_the_models(self, engine: Engine, migrate: Migrate) -> None:
        migrate(command.upgrade, "head")

        migrate(command.check)

    def test_the_history_is_a_line_of_at_least_a_dozen(self) -> None:
        scripts = ScriptDirectory.from_config(config())

        assert [f"{number:04}" for number in range(1, len(REVISIONS) + 1)] == REVISIONS
        assert len(REVISIONS) >= 12
        assert len(scripts.get_bases()) == len(scripts.get_heads()) == 1


class TestRows:
    def test_approval_statuses_become_lower_case_and_upper_case_again(
        self, engine: Engine, migrate: Migrate
    ) -> None:
        migrate(command.upgrade, "0004")
        with engine.begin() as connection:
            add_agent(connection)
            for key, status in (("1", "PENDING"), ("2", "APPROVED")):
                add_approval(connection, key, status)

        migrate(command.upgrade, "head")
        lower = column(engine, "hitl_actions", "status")
        migrate(command.downgrade, "0012")

        assert lower == ["pending", "approved"]
        assert column(engine, "hitl_actions", "status") == ["PENDING", "APPROVED"]

    def test_a_request_without_a_deadline_is_due_at_once(
        self, engine: Engine, migrate: Migrate
    ) -> None:
        migrate(command.upgrade, "0010")
        with engine.begin() as connection:
            add_agent(connection)
            add_approval(connection, "1", "PENDING")

        migrate(command.upgrade, "head")

        assert column(engine, "hitl_actions", "expires_at") == column(
            engine, "hitl_actions", "requested_at"
        )

    def test_a_workspace_changed_last_when_it_was_made(
        self, engine: Engine, migrate: Migrate
    ) -> None:
        migrate(command.upgrade, "0010")
        with engine.begin() as connection:
            add_agent(connection)

        migrate(command.upgrade, "head")

        assert column(engine, "workspaces", "updated_at") == column(
            engine, "workspaces", "created_at"
        )

    def test_usage_events_without_a_key_take_their_id_and_give_it_back(
        self, engine: Engine, migrate: Migrate
    ) -> None:
        migrate(command.upgrade, "0010")
        with engine.begin() as connection:
            add_agent(connection)
            add_usage(connection, {"1": None, "2": "given"})

        migrate(command.upgrade, "head")
        with_keys = column(engine, "saas_usage_events", "idempotency_key")
        migrate(command.downgrade, "0016")

        assert with_keys == ["1", "given"]
        assert column(engine, "saas_usage_events", "idempotency_key") == [None, "given"]

    def test_rows_survive_when_the_table_they_refer_to_is_replaced(
        self, engine: Engine, migrate: Migrate
    ) -> None:
        migrate(command.upgrade, "0010")
        with engine.begin() as connection:
            add_agent(connection)
            add_approval(connection, "1", "PENDING")

        migrate(command.upgrade, "head")
        migrate(command.downgrade, "0010")

        assert column(engine, "agent_registry", "id") == ["a"]
        assert column(engine, "hitl_actions", "agent_id") == ["a"]

    def test_an_outcome_of_a_run_that_had_ended_is_not_counted_again(
        self, engine: Engine, migrate: Migrate
    ) -> None:
        migrate(command.upgrade, "0010")
        with engine.begin() as connection:
            add_agent(connection)
            for key, finished_at in (("1", AT), ("2", None)):
                insert(
                    connection,
                    "agent_executions",
                    id=key,
                    workspace_id="w",
                    agent_id="a",
                    request="",
                    trigger_mode="manual",
                    status="failed" if finished_at else "running",
                    started_at=AT,
                    finished_at=finished_at,
                )

        migrate(command.upgrade, "head")

        recorded = column(engine, "agent_executions", "outcome_recorded_at")
        assert recorded == column(engine, "agent_executions", "finished_at")


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
