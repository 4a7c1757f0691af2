"""A request that expired while somebody decided is expired, whatever the caller does next."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from core.agent_governance_service import AgentGovernanceService
from core.database import SessionLocal, engine
from core.errors import ApprovalExpired
from core.models import AgentRegistry, HITLAction, Workspace
from sqlalchemy import event, select
from sqlalchemy.orm import Session, scoped_session

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
LATER = NOON + 2 * HOUR


@pytest.fixture
def request_id(db_session: Session, atom: AgentRegistry) -> str:
    """A request of noon that is due at one."""
    service = AgentGovernanceService(db_session, clock=lambda: NOON)
    key = service.request_approval(atom.id, "read_it", time_to_decide=HOUR)
    db_session.commit()
    return key


def decide(session: Session, request_id: str, admin: str) -> None:
    AgentGovernanceService(session, clock=lambda: LATER).decide(request_id, True, admin)


def let_the_error_roll_back(request_id: str, admin: str) -> None:
    with suppress(ApprovalExpired), SessionLocal.begin() as session:
        decide(session, request_id, admin)


def catch_and_commit(request_id: str, admin: str) -> None:
    with SessionLocal.begin() as session:
        with pytest.raises(ApprovalExpired):
            decide(session, request_id, admin)
        session.add(Workspace(id="after", name="After"))


def catch_and_close(request_id: str, admin: str) -> None:
    with SessionLocal() as session, pytest.raises(ApprovalExpired):
        decide(session, request_id, admin)


def roll_a_savepoint_back(request_id: str, admin: str) -> None:
    with SessionLocal.begin() as session:
        with suppress(ApprovalExpired), session.begin_nested():
            decide(session, request_id, admin)
        session.add(Workspace(id="after", name="After"))


def roll_back_after_a_write_of_its_own(request_id: str, admin: str) -> None:
    with suppress(ApprovalExpired), SessionLocal.begin() as session:
        session.add(Workspace(id="before", name="Before"))
        session.flush()
        decide(session, request_id, admin)


def go_on_in_the_same_session(request_id: str, admin: str) -> None:
    with SessionLocal() as session:
        with pytest.raises(ApprovalExpired):
            decide(session, request_id, admin)
        session.rollback()
        session.add(Workspace(id="next", name="Next"))
        session.commit()


def use_a_connection_of_its_own(request_id: str, admin: str) -> None:
    with engine.begin() as connection, suppress(ApprovalExpired), Session(connection) as session:
        decide(session, request_id, admin)


def ask_a_registry(factory: Any, request_id: str, admin: str) -> None:
    registry: Any = scoped_session(factory)
    with pytest.raises(ApprovalExpired):
        AgentGovernanceService(registry, clock=lambda: LATER).decide(request_id, True, admin)
    registry.rollback()
    registry.remove()


@pytest.mark.parametrize(
    "deal",
    [
        let_the_error_roll_back,
        catch_and_commit,
        catch_and_close,
        roll_a_savepoint_back,
        roll_back_after_a_write_of_its_own,
        go_on_in_the_same_session,
        use_a_connection_of_its_own,
        partial(ask_a_registry, SessionLocal),
        partial(ask_a_registry, lambda: SessionLocal()),
        partial(ask_a_registry, lambda: Session(engine)),
    ],
)
def test_it_is_expired_whatever_the_callers_transaction_does(
    request_id: str, admin: str, db_session: Session, deal: Callable[[str, str], None]
) -> None:
    deal(request_id, admin)

    row = db_session.get_one(HITLAction, request_id, populate_existing=True)
    assert (row.status, row.reviewer_id, row.reviewed_at) == ("expired", None, None)
    others = set(db_session.scalars(select(Workspace.id))) - {"default"}
    assert others <= {"after", "next"}


def test_it_is_written_again_by_the_session_that_was_told_and_once(
    db_session: Session, atom: AgentRegistry, admin: str
) -> None:
    asked = AgentGovernanceService(db_session, clock=lambda: NOON)
    keys = [asked.request_approval(atom.id, "read_it", time_to_decide=HOUR) for _ in range(3)]
    db_session.commit()
    registry: Any = scoped_session(SessionLocal)
    written: list[str] = []

    def note(*execution: Any) -> None:
        if execution[2].startswith("UPDATE hitl_actions"):
            written.append(execution[2])

    for key in keys:
        with pytest.raises(ApprovalExpired):
            AgentGovernanceService(registry, clock=lambda: LATER).decide(key, True, admin)
    event.listen(engine, "before_cursor_execute", note)
    try:
        with SessionLocal() as other:
            other.rollback()
            other.connection()
        before = len(written)
        for _ in range(2):
            registry.rollback()
            registry.connection()
        registry.remove()
    finally:
        event.remove(engine, "before_cursor_execute", note)

    assert (before, len(written)) == (0, len(keys))


def test_a_clock_that_goes_back_does_not_revive_it(
    request_id: str, admin: str, db_session: Session
) -> None:
    let_the_error_roll_back(request_id, admin)

    service = AgentGovernanceService(db_session, clock=lambda: NOON)
    with pytest.raises(ApprovalExpired):
        service.decide(request_id, True, admin)


@pytest.mark.parametrize("deal", ["roll back", "commit"])
def test_a_deadline_that_passes_while_the_row_is_waited_for_is_one(
    request_id: str, admin: str, db_session: Session, deal: str
) -> None:
    def ticking() -> Iterator[datetime]:
        yield NOON
        while True:
            yield LATER

    clock = ticking()
    with suppress(ApprovalExpired), SessionLocal.begin() as session:
        service = AgentGovernanceService(session, clock=lambda: next(clock))
        if deal == "roll back":
            service.decide(request_id, True, admin)
        else:
            with pytest.raises(ApprovalExpired):
                service.decide(request_id, True, admin)

    row = db_session.get_one(HITLAction, request_id, populate_existing=True)
    assert (row.status, row.reviewer_id, row.reviewed_at) == ("expired", None, None)


def test_a_decision_that_was_made_in_between_stays_one(
    request_id: str, admin: str, db_session: Session
) -> None:
    """By somebody whose clock is behind, after the rollback and before it is written again."""

    def decide_elsewhere(*_: Any) -> None:
        with SessionLocal.begin() as other:
            AgentGovernanceService(other, clock=lambda: NOON).decide(request_id, True, admin)

    with SessionLocal() as session:
        event.listen(session, "after_transaction_end", decide_elsewhere, once=True)
        with pytest.raises(ApprovalExpired):
            decide(session, request_id, admin)
        session.rollback()

    row = db_session.get_one(HITLAction, request_id, populate_existing=True)
    assert (row.status, row.reviewer_id) == ("approved", admin)


def test_a_decision_in_time_stays_one(request_id: str, admin: str, db_session: Session) -> None:
    service = AgentGovernanceService(db_session, clock=lambda: NOON)
    view = service.decide(request_id, True, admin)
    db_session.commit()

    with suppress(ApprovalExpired), SessionLocal.begin() as session:
        AgentGovernanceService(session, clock=lambda: LATER).get_approval_status(request_id)

    assert view["status"] == "approved"
    assert db_session.get_one(HITLAction, request_id, populate_existing=True).status == "approved"


def test_what_cannot_be_written_again_is_logged_and_hides_nothing(
    request_id: str, admin: str, db_session: Session, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(ApprovalExpired), SessionLocal.begin() as session:  # noqa: PT012
        try:
            decide(session, request_id, admin)
        finally:
            session.connection().exec_driver_sql("ALTER TABLE hitl_actions RENAME TO gone")
            session.commit()
    assert "was not written again" in caplog.text
