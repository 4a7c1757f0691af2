"""What waits: for a human between two looks, and for whoever ends what is being used."""

import asyncio
from datetime import datetime, timedelta
from typing import Any

import pytest
from core.agent_governance_service import AgentGovernanceService
from core.clock import utc_now
from core.database import SessionLocal, new_id
from core.executions import Run, begin
from core.gate import Gate
from core.listener import Listener
from core.maturity import AgentStatus
from core.models import AgentRegistry, AgentTriggerMode, HITLAction, Workspace
from core.react import Act
from ecommerce.models import Subscription
from ecommerce.subscriptions import SubscriptionService
from saas.metering import UsageMeter
from saas.models import SaaSTier
from sqlalchemy import Engine, event, select
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Session

LOOKS = 3


@pytest.fixture
def naps(monkeypatch: pytest.MonkeyPatch, admin: str) -> list[float]:
    """How long the event loop was asked to sleep; after a few times, the request is approved."""
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        with SessionLocal.begin() as others:
            # Nobody can see, or decide, what is not committed.
            (waiting,) = others.scalars(select(HITLAction)).all()
            if len(slept) == LOOKS:
                AgentGovernanceService(others).decide(waiting.id, True, admin)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    return slept


@pytest.mark.asyncio
async def test_a_request_is_committed_and_looked_at_as_often_as_was_said(
    db_session: Session, atom: AgentRegistry, naps: list[float]
) -> None:
    atom.status = AgentStatus.SUPERVISED
    db_session.commit()
    desk = AgentGovernanceService(db_session)
    action_id = desk.request_approval(atom.id, "update_it")

    looks: list[int] = []

    def clock() -> datetime:
        looks.append(len(naps))
        assert len(looks) <= LOOKS + 1, "it looks without a pause"
        return utc_now()

    view = await desk.wait_for_approval(action_id, poll_interval=0.25, clock=clock)

    assert view["status"] == "approved"
    assert naps == [0.25] * LOOKS
    assert looks == list(range(LOOKS + 1))
    assert not db_session.in_transaction()


@pytest.mark.asyncio
async def test_a_run_that_waits_looks_as_often_as_was_said(
    db_session: Session, atom: AgentRegistry, naps: list[float]
) -> None:
    atom.status = AgentStatus.SUPERVISED
    db_session.commit()
    run = Run.of(atom, new_id(), "Update it", trigger_mode=AgentTriggerMode.MANUAL)
    begin(run)
    gate = Gate(Listener(None), time_to_decide=timedelta(hours=1), poll_interval=0.25)

    assert await gate.refusal(run, Act("", "update_it", {})) is None

    assert naps == [0.25] * LOOKS


def test_what_is_counted_holds_the_plan_on_a_server(
    db_session: Session, atom: AgentRegistry
) -> None:
    plan = db_session.scalars(select(Subscription)).one()
    executed: list[str] = []

    def note(_connection: Any, statement: Any, *_rest: Any) -> None:
        selected = getattr(statement, "select", None)
        if getattr(statement, "is_insert", False) and selected is not None:
            dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
            executed.append(str(selected.compile(dialect=dialect)))

    engine = db_session.get_bind()
    assert isinstance(engine, Engine)
    event.listen(engine, "before_execute", note)
    try:
        UsageMeter(db_session).record(plan.id, "api_call", 1, "key-1")
    finally:
        event.remove(engine, "before_execute", note)

    (source,) = executed
    assert source.endswith("FOR SHARE")


@pytest.mark.parametrize("goes_on", [True, False])
def test_a_run_is_counted_on_the_plan_that_there_is_when_it_is_written(
    db_session: Session, workspace: Workspace, goes_on: bool
) -> None:
    plan = db_session.scalars(select(Subscription)).one()
    plan_id, tier_id = plan.id, plan.tier_id
    db_session.commit()
    others: list[str] = []

    def end_it(_connection: Any, statement: Any, *_rest: Any) -> None:
        """Between the look for a plan and the event on it, somebody else ends it."""
        if others or not getattr(statement, "is_insert", False):
            return
        others.append(plan_id)
        with SessionLocal.begin() as other:
            service = SubscriptionService(other, workspace.id)
            service.cancel(plan_id, "ada")
            if goes_on:
                tier = other.get_one(SaaSTier, tier_id)
                others.append(service.start(tier).id)

    engine = db_session.get_bind()
    assert isinstance(engine, Engine)
    event.listen(engine, "before_execute", end_it)
    try:
        counted = UsageMeter(db_session).record_run(workspace.id, "run-1")
    finally:
        event.remove(engine, "before_execute", end_it)

    assert (counted and counted.subscription_id) == (others[1] if goes_on else None)
