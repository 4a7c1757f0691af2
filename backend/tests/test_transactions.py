"""A transaction is whole, on both databases: what is rolled back leaves nothing, savepoints too."""

import asyncio
from collections.abc import Callable

import pytest
from core.agent_governance_service import AgentGovernanceService
from core.database import SessionLocal, engine, make_engine
from core.models import AgentExecution, AgentFeedback, AgentRegistry, HITLAction, Workspace
from ecommerce.models import Subscription
from ecommerce.subscriptions import SubscriptionService
from saas.models import Invoice, UsageEvent
from sqlalchemy import func, literal, select, text, update
from sqlalchemy.orm import Session

Write = Callable[[Session, str, str], object]


def record_outcome(db: Session, admin: str, action: str) -> None:
    asyncio.run(AgentGovernanceService(db).record_outcome("atom_main", True, "run-1"))


def cancel(db: Session, admin: str, action: str) -> None:
    SubscriptionService(db).cancel(db.scalars(select(Subscription.id)).one(), "somebody")


def rename_by_a_common_table(db: Session, admin: str, action: str) -> None:
    names = select(literal("renamed").label("name")).cte("names")
    name = select(names.c.name).scalar_subquery()
    db.execute(update(Workspace).values(name=name).add_cte(names))


RENAME = text(
    "with names AS (SELECT 'renamed' AS name)\n"
    "UPDATE workspaces SET name = (SELECT name FROM names)"
)


WRITES: dict[str, Write] = {
    "feedback": lambda db, admin, _: AgentGovernanceService(db).submit_feedback(
        "atom_main", admin, "a", "b"
    ),
    "an outcome": record_outcome,
    "a decision": lambda db, admin, action: AgentGovernanceService(db).decide(action, True, admin),
    "a status": lambda db, *_: AgentGovernanceService(db).pause("atom_main"),
    "a canceled plan": cancel,
    "an object": lambda db, *_: db.add(Workspace(id="w", name="w")),
    "a common table": rename_by_a_common_table,
    "a text": lambda db, *_: db.execute(RENAME),
    "a text behind comments": lambda db, *_: db.execute(
        text(f"-- one; two\n/* WITH * */ /**/\n{RENAME}")
    ),
}


def everything() -> list[object]:
    """What is in the database, as nobody has seen it yet."""
    columns = [
        (AgentRegistry.confidence_score, AgentRegistry.status),
        (Subscription.status,),
        (HITLAction.status,),
        (Workspace.id, Workspace.name),
    ]
    with SessionLocal() as db:
        rows = [tuple(row) for each in columns for row in db.execute(select(*each))]
        counted = (AgentExecution, AgentFeedback, Invoice, UsageEvent)
        counts = [db.scalar(select(func.count()).select_from(model)) for model in counted]
    return [*rows, *counts]


@pytest.mark.parametrize(("query", "seconds"), [("", 30), ("?timeout=7", 7)])
def test_a_writer_waits_for_another_as_long_as_the_url_says(query: str, seconds: int) -> None:
    with make_engine(f"sqlite://{query}").connect() as connection:
        assert connection.scalar(text("PRAGMA busy_timeout")) == seconds * 1000


@pytest.fixture
def action(governance: AgentGovernanceService, atom: AgentRegistry, db_session: Session) -> str:
    """A request that waits for a decision."""
    filed = governance.enforce_action("atom_main", "read_file", require_approval=True)
    db_session.commit()
    return str(filed["action_id"])


class TestATransactionThatIsRolledBack:
    @pytest.mark.parametrize("write", WRITES)
    @pytest.mark.parametrize("in_savepoint", [True, False], ids=["in a savepoint", "plainly"])
    def test_leaves_nothing(self, admin: str, action: str, write: str, in_savepoint: bool) -> None:
        before = everything()

        with SessionLocal() as db:
            if in_savepoint:
                with db.begin_nested():
                    WRITES[write](db, admin, action)
            else:
                WRITES[write](db, admin, action)
                db.flush()
            db.rollback()
        rolled_back = everything()
        with SessionLocal.begin() as db, db.begin_nested():
            WRITES[write](db, admin, action)

        assert rolled_back == before
        assert everything() != before

    def test_keeps_what_a_savepoint_that_failed_left_alone(
        self, atom: AgentRegistry, admin: str
    ) -> None:
        with SessionLocal.begin() as db:
            failing = db.begin_nested()
            AgentGovernanceService(db).pause("atom_main")
            failing.rollback()
            db.add(Workspace(id="w", name="w"))

        with SessionLocal() as db:
            assert db.scalars(select(AgentRegistry.status)).one() == "student"
            assert db.get(Workspace, "w") is not None


def test_who_only_reads_keeps_nobody_from_writing(atom: AgentRegistry) -> None:
    with SessionLocal() as reader, SessionLocal() as writer:
        reader.scalars(select(select(AgentRegistry.id).cte().c.id)).one()
        writer.connection().exec_driver_sql(
            "PRAGMA busy_timeout = 0" if engine.dialect.name == "sqlite" else "SELECT 1"
        )

        AgentGovernanceService(writer).pause("atom_main")
        writer.commit()

        assert reader.scalars(select(AgentRegistry.status)).one() == "paused"


def test_a_connection_without_transactions_writes_at_once(workspace: Workspace) -> None:
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(RENAME)

        assert ("default", "renamed") in everything()
