"""No query of the services reads a table from end to end: shown by the database's own plans."""

import asyncio
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from core.agent_governance_service import AgentGovernanceService
from core.atom_meta_agent import AtomMetaAgent
from core.llm import ScriptedLLM
from core.maturity import AgentStatus
from core.models import AgentExecution, AgentRegistry, ExecutionStatus, User, UserRole, Workspace
from core.processes import this_process
from core.recovery import count_owed_outcomes, interrupt_dead_runs
from core.registry import find_agent
from ecommerce.customers import CustomerService
from ecommerce.models import Customer, Store, Subscription
from ecommerce.subscriptions import SubscriptionService
from saas.billing import amount_due
from saas.metering import UsageMeter
from saas.models import SaaSTier
from sqlalchemy import Connection, Engine, event, select, text
from sqlalchemy.orm import Session

NOW = datetime(2099, 1, 1, tzinfo=UTC)


class World:
    """Rows for the services to work on, and the services."""

    def __init__(self, db: Session, workspace: Workspace, atom: AgentRegistry) -> None:
        self.db = db
        self.admin = User(workspace=workspace, email="admin@example.com", name="Admin")
        self.admin.role = UserRole.WORKSPACE_ADMIN
        self.member = User(workspace=workspace, email="member@example.com", name="Member")
        atom.status = AgentStatus.SUPERVISED
        store = Store(workspace=workspace, name="Shop")
        self.customer = Customer(store=store, name="Ada", email="ada@example.com")
        db.add_all([self.admin, self.member, self.customer])
        db.commit()
        self.atom = atom
        self.plan = db.scalars(select(Subscription)).one()
        self.tier = db.scalars(select(SaaSTier)).one()
        self.governance = AgentGovernanceService(db)
        self.meter = UsageMeter(db)
        self.customers = CustomerService(db)
        self.subscriptions = SubscriptionService(db, clock=lambda: NOW)

    def request(self) -> str:
        return self.governance.request_approval(self.atom.id, "update_it")

    def outcomes(self) -> None:
        for run in ("once", "once", None):
            asyncio.run(self.governance.record_outcome(self.atom.id, True, run))

    def decide(self) -> None:
        self.governance.decide(self.request(), True, self.admin.id)

    def wait(self) -> None:
        action_id = self.request()
        asyncio.run(self.governance.wait_for_approval(action_id, clock=lambda: NOW))

    def review(self) -> None:
        feedback = self.governance.submit_feedback(self.atom.id, self.member.id, "5", "4")
        self.governance.review_feedback(feedback.id, True, self.admin.id)

    def pause_resume_stop(self) -> None:
        self.governance.pause(self.atom.id)
        self.governance.resume(self.atom.id)
        self.governance.stop(self.atom.id)

    def run(self) -> None:
        done = "Thought: So.\nFinal Answer: Done."
        look = "Thought: So.\nAction: list_overdue_subscriptions\nAction Input: {}"
        self.db.commit()
        asyncio.run(AtomMetaAgent(llm=ScriptedLLM([look, done])).execute("Look"))

    def recover(self) -> None:
        place = this_process().partition(" pid ")[0]
        dead = f"{place} pid 1 since another boot"
        run = AgentExecution(workspace_id="default", agent_id=self.atom.id, request="")
        run.process = dead
        self.db.add(run)
        self.db.commit()
        assert interrupt_dead_runs("default") == [run.id]

    def count_owed(self) -> None:
        about = {"workspace_id": "default", "agent_id": self.atom.id, "request": ""}
        self.db.add(AgentExecution(id="owed", status=ExecutionStatus.FAILED, **about))
        self.db.commit()
        assert asyncio.run(count_owed_outcomes("default")) == ["owed"]


DEEDS: dict[str, Callable[[World], Any]] = {
    "AgentGovernanceService.can_perform_action": lambda w: w.governance.can_perform_action(
        w.atom.id, "read"
    ),
    "AgentGovernanceService.enforce_action": lambda w: w.governance.enforce_action(
        w.atom.id, "update"
    ),
    "AgentGovernanceService.request_approval": World.request,
    "AgentGovernanceService.decide": World.decide,
    "AgentGovernanceService.get_approval_status": lambda w: w.governance.get_approval_status(
        w.request()
    ),
    "AgentGovernanceService.withdraw_request": lambda w: w.governance.withdraw_request(w.request()),
    "AgentGovernanceService.pending_approvals": lambda w: w.governance.pending_approvals(),
    "AgentGovernanceService.wait_for_approval": World.wait,
    "AgentGovernanceService.record_outcome": World.outcomes,
    "AgentGovernanceService.submit_feedback": lambda w: w.governance.submit_feedback(
        w.atom.id, w.admin.id, "5", "4"
    ),
    "AgentGovernanceService.pending_feedback": lambda w: w.governance.pending_feedback(),
    "AgentGovernanceService.review_feedback": World.review,
    "AgentGovernanceService.promote": lambda w: w.governance.promote(
        w.atom.id, AgentStatus.AUTONOMOUS, w.admin.id
    ),
    "AgentGovernanceService.pause": World.pause_resume_stop,
    "AgentGovernanceService.resume": World.pause_resume_stop,
    "AgentGovernanceService.stop": World.pause_resume_stop,
    "AgentGovernanceService.register_or_update_agent": (
        lambda w: w.governance.register_or_update_agent("sam", "sales", "m", "C")
    ),
    "AgentGovernanceService.list_agents": lambda w: [
        w.governance.list_agents(),
        w.governance.list_agents("general", AgentStatus.SUPERVISED),
    ],
    "AgentGovernanceService.get_agent_capabilities": (
        lambda w: w.governance.get_agent_capabilities(w.atom.id)
    ),
    "UsageMeter.record": lambda w: w.meter.record(w.plan.id, "api_call", Decimal(1), "key"),
    "UsageMeter.record_run": lambda w: w.meter.record_run("default", "run"),
    "UsageMeter.total": lambda w: w.meter.total(w.plan.id, "api_call", NOW - timedelta(1), NOW),
    "CustomerService.find": lambda w: w.customers.find("ada@example.com"),
    "CustomerService.require": lambda w: w.customers.require(w.customer.id),
    "CustomerService.get": lambda w: w.customers.get(w.customer.id),
    "CustomerService.set_phone": lambda w: w.customers.set_phone(w.customer.id, "1"),
    "CustomerService.delete": lambda w: w.customers.delete(w.customer.id),
    "SubscriptionService.start": lambda w: w.subscriptions.start(w.tier, w.customer),
    "SubscriptionService.find": lambda w: w.subscriptions.find(w.plan.id),
    "SubscriptionService.overdue": lambda w: w.subscriptions.overdue(),
    "SubscriptionService.cancel": lambda w: w.subscriptions.cancel(w.plan.id, "ada"),
    "SubscriptionService.renew": lambda w: w.subscriptions.renew(w.plan.id, "ada"),
    "amount_due": lambda w: amount_due(w.db, w.plan),
    "find_agent": lambda w: find_agent(w.db, "default", "atom_main"),
    "a run": World.run,
    "interrupt_dead_runs": World.recover,
    "count_owed_outcomes": World.count_owed,
}


@pytest.fixture
def world(db_session: Session, workspace: Workspace, atom: AgentRegistry) -> World:
    return World(db_session, workspace, atom)


@pytest.fixture
def statements(world: World, db_engine: Engine) -> Iterator[list[tuple[str, Any]]]:
    """What is sent to the database from here on, with its parameters."""
    sent: list[tuple[str, Any]] = []

    def note(connection: Any, cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if statement.startswith(("SELECT", "UPDATE", "DELETE", "INSERT")):
            sent.append((statement, parameters))

    event.listen(db_engine, "before_cursor_execute", note)
    yield sent
    event.remove(db_engine, "before_cursor_execute", note)


def full_scans(session: Session, statement: str, parameters: Any) -> list[str]:
    """The parts of a statement's plan that read a whole table, or a whole index."""
    connection = session.connection()
    if connection.dialect.name == "sqlite":
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
        details = [row.detail for row in plan]
        return [line for line in details if line.startswith("SCAN") and "CONSTANT ROW" not in line]
    # A table of a few rows is read from end to end however many indexes it has. With that
    # forbidden, PostgreSQL does it only if there is no other way.
    connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
    explained = connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {statement}", parameters)
    return list(unindexed_nodes(connection, explained.scalar_one()[0]["Plan"]))


def unindexed_nodes(connection: Connection, node: dict[str, Any]) -> Iterator[str]:
    """The nodes of a PostgreSQL plan that read a table or an index without a place to begin.

    An index may also be read from end to end: for its order, for a condition on its second column,
    or to pass over its NULLs. So a condition on its first column is asked for that compares.
    """
    kind, index = node["Node Type"], node.get("Index Name")
    if kind == "Seq Scan":
        yield f"{kind} on {node['Relation Name']}"
    elif index is not None:
        query = text("SELECT pg_get_indexdef(CAST(:name AS regclass), 1, true)")
        first = re.escape(connection.execute(query, {"name": index}).scalar_one())
        # The index's own columns are the ones that are not qualified.
        if not re.search(
            rf"(?<![\w.'\"]){first}(?!\w)(?! IS NOT NULL)", node.get("Index Cond", "")
        ):
            yield f"{kind} using {index}"
    for child in node.get("Plans", ()):
        yield from unindexed_nodes(connection, child)


@pytest.mark.parametrize("deed", DEEDS)
def test_no_query_is_unindexed(
    world: World, statements: list[tuple[str, Any]], db_session: Session, deed: str
) -> None:
    DEEDS[deed](world)
    sent = list(statements)

    assert sent
    for statement, parameters in sent:
        assert full_scans(db_session, statement, parameters) == [], statement


@pytest.mark.parametrize(
    "service", [AgentGovernanceService, UsageMeter, CustomerService, SubscriptionService]
)
def test_every_method_of_a_service_is_among_them(service: type) -> None:
    methods = {
        f"{service.__name__}.{name}"
        for name, value in vars(service).items()
        if callable(value) and not name.startswith("_")
    }

    assert methods <= DEEDS.keys()


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM agent_registry WHERE version = '1'",
        "SELECT id FROM agent_registry ORDER BY workspace_id, name",
        "SELECT workspace_id, category FROM agent_registry WHERE category = 'general'",
        "SELECT id FROM ecommerce_subscriptions WHERE customer_id IS NOT NULL AND tier_id <> ''",
    ],
    ids=["a table", "an index for its order", "an index by its second column", "all but NULLs"],
)
def test_a_full_scan_would_be_seen(world: World, db_session: Session, statement: str) -> None:
    scans = full_scans(db_session, statement, ())

    assert len(scans) == 1
    assert re.search("agent_registry|ecommerce_subscriptions", scans[0])
