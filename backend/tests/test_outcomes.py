"""How outcomes change an agent, and that each counts exactly once."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from decimal import Decimal

import pytest
from core.agent_governance_service import AgentGovernanceService
from core.database import SessionLocal
from core.errors import ExecutionOfAnother, NotFound, OutcomeContradicted
from core.maturity import AgentStatus
from core.models import AgentExecution, AgentRegistry, ExecutionStatus
from ecommerce.models import Subscription, SubscriptionStatus
from ecommerce.subscriptions import SubscriptionService
from saas.models import UsageEvent
from sqlalchemy import select
from sqlalchemy.orm import Session

Outcomes = Callable[..., None]


@pytest.fixture
def outcomes(
    db_session: Session, governance: AgentGovernanceService, atom: AgentRegistry
) -> Outcomes:
    """Let `atom_main` start from a score, and record outcomes one after the other."""

    def record(start: str | None, *successes: bool, status: str = "student") -> None:
        atom.confidence_score = None if start is None else Decimal(start)
        atom.status = AgentStatus(status)
        db_session.commit()
        for success in successes:
            asyncio.run(governance.record_outcome(atom.id, success))
        db_session.commit()

    return record


def add_run(db: Session, agent: AgentRegistry, key: str, status: str, counts: bool = True) -> None:
    """Record a run that ended, and whose outcome nobody has counted."""
    about = {"workspace_id": agent.workspace_id, "agent_id": agent.id, "request": ""}
    db.add(AgentExecution(id=key, status=ExecutionStatus(status), counts=counts, **about))
    db.flush()


class TestScore:
    @pytest.mark.parametrize(
        ("start", "successes", "score"),
        [
            ("0.49", [True], "0.50"),
            ("0.50", [False], "0.48"),
            ("1.0", [False] * 5, "0.90"),
            ("0.0", [True], "0.01"),
            (None, [True], "0.51"),
            (None, [False], "0.48"),
            ("0.1", [True] * 20, "0.30"),
        ],
    )
    def test_a_success_adds_001_and_a_failure_costs_002_exactly(
        self, outcomes: Outcomes, atom: AgentRegistry, start: str, successes: list[bool], score: str
    ) -> None:
        outcomes(start, *successes)

        assert atom.confidence_score == Decimal(score)

    @pytest.mark.parametrize(
        ("start", "success", "score"), [("0.0", False, "0"), ("0.01", False, "0"), ("1", True, "1")]
    )
    def test_a_score_stays_between_0_and_1(
        self, outcomes: Outcomes, atom: AgentRegistry, start: str, success: bool, score: str
    ) -> None:
        outcomes(start, success)

        assert atom.confidence_score == Decimal(score)

    @pytest.mark.parametrize(
        ("start", "success", "status"),
        [
            ("0.49", True, "intern"),
            ("0.69", True, "supervised"),
            ("0.89", True, "autonomous"),
            ("0.91", False, "supervised"),
            ("0.71", False, "intern"),
            ("0.51", False, "student"),
            (None, True, "intern"),
            (None, False, "student"),
        ],
    )
    def test_the_status_follows_the_score_up_and_down(
        self, outcomes: Outcomes, atom: AgentRegistry, start: str, success: bool, status: str
    ) -> None:
        outcomes(start, success)

        assert atom.status == status

    @pytest.mark.parametrize("status", ["paused", "stopped", "deprecated", "deleted"])
    def test_an_agent_off_the_ladder_is_not_changed_by_an_outcome_which_is_metered(
        self, outcomes: Outcomes, atom: AgentRegistry, db_session: Session, status: str
    ) -> None:
        outcomes("0.89", True, False, status=status)

        assert (atom.status, atom.confidence_score) == (status, Decimal("0.89"))
        # They did run, and what ran is billed.
        assert len(db_session.scalars(select(UsageEvent)).all()) == 2

    def test_an_outcome_changes_no_other_agent(
        self, governance: AgentGovernanceService, outcomes: Outcomes, db_session: Session
    ) -> None:
        other = governance.register_or_update_agent("sam", "sales", "agents.sam", "Sam")

        outcomes("0.49", True)

        db_session.refresh(other)
        assert (other.status, other.confidence_score) == ("student", None)

    def test_an_unknown_agent_has_no_outcomes(self, governance: AgentGovernanceService) -> None:
        with pytest.raises(NotFound) as caught:
            asyncio.run(governance.record_outcome("nobody", True))

        assert (caught.value.kind, caught.value.key) == ("agent", "nobody")


class TestOnce:
    def test_a_run_counts_once_however_often_it_is_reported(
        self, governance: AgentGovernanceService, atom: AgentRegistry, db_session: Session
    ) -> None:
        counted = [
            asyncio.run(governance.record_outcome(atom.id, success, "run-1"))
            for success in (True, True, False)
        ]

        assert counted == [True, False, False]
        assert atom.confidence_score == Decimal("0.50")
        assert len(db_session.scalars(select(UsageEvent)).all()) == 1

    def test_without_an_id_each_call_is_a_run_of_its_own(
        self, governance: AgentGovernanceService, atom: AgentRegistry, db_session: Session
    ) -> None:
        for _ in range(2):
            asyncio.run(governance.record_outcome(atom.id, True))

        assert atom.confidence_score == Decimal("0.51")
        assert len(db_session.scalars(select(UsageEvent)).all()) == 2

    @pytest.mark.parametrize("counted", [True, False])
    def test_a_run_of_another_agent_is_not_counted(
        self,
        governance: AgentGovernanceService,
        atom: AgentRegistry,
        db_session: Session,
        counted: bool,
    ) -> None:
        other = governance.register_or_update_agent("sam", "sales", "agents.sam", "Sam")
        add_run(db_session, atom, "run-1", "success")
        if counted:
            asyncio.run(governance.record_outcome(atom.id, True, "run-1"))

        with pytest.raises(ExecutionOfAnother) as caught:
            asyncio.run(governance.record_outcome(other.id, True, "run-1"))

        assert (caught.value.execution_id, caught.value.agent_id) == ("run-1", other.id)
        assert other.confidence_score is None

    def test_one_run_that_is_counted_leaves_the_agents_others_to_be_counted(
        self, governance: AgentGovernanceService, atom: AgentRegistry, db_session: Session
    ) -> None:
        for run in ("run-1", "run-2"):
            add_run(db_session, atom, run, "success")

        counted = [
            asyncio.run(governance.record_outcome(atom.id, True, run)) for run in ("run-1", "run-2")
        ]

        assert counted == [True, True]
        assert atom.confidence_score == Decimal("0.51")

    @pytest.mark.parametrize("success", [True, False])
    @pytest.mark.parametrize("status", [each for each in ExecutionStatus if each != "interrupted"])
    def test_a_recorded_run_counts_as_what_it_was_whatever_is_said_of_it(
        self,
        governance: AgentGovernanceService,
        atom: AgentRegistry,
        db_session: Session,
        status: ExecutionStatus,
        success: bool,
    ) -> None:
        add_run(db_session, atom, "run-1", status)

        if status != "running" and success == (status == "success"):
            assert asyncio.run(governance.record_outcome(atom.id, success, "run-1"))
            assert atom.confidence_score == Decimal("0.50" if success else "0.47")
            assert asyncio.run(governance.record_outcome(atom.id, not success, "run-1")) is False
            return
        with pytest.raises(OutcomeContradicted, match=f"is {status}: it can't be counted"):
            asyncio.run(governance.record_outcome(atom.id, success, "run-1"))
        assert atom.confidence_score == Decimal("0.49")
        assert db_session.scalars(select(UsageEvent)).all() == []

    @pytest.mark.parametrize(("success", "status"), [(True, "success"), (False, "failed")])
    def test_a_run_that_happened_elsewhere_leaves_a_row_of_how_it_ended(
        self,
        governance: AgentGovernanceService,
        atom: AgentRegistry,
        db_session: Session,
        success: bool,
        status: str,
    ) -> None:
        asyncio.run(governance.record_outcome(atom.id, success, "elsewhere"))

        run = db_session.get_one(AgentExecution, "elsewhere")
        assert (run.status, run.agent, run.workspace_id) == (status, atom, "default")
        assert run.started_at == run.finished_at == run.outcome_recorded_at

    @pytest.mark.parametrize("success", [True, False])
    def test_a_run_that_does_not_count_is_counted_by_nobody(
        self,
        governance: AgentGovernanceService,
        atom: AgentRegistry,
        db_session: Session,
        success: bool,
    ) -> None:
        for status in ("rejected", "interrupted"):
            add_run(db_session, atom, status, status, counts=False)
            assert asyncio.run(governance.record_outcome(atom.id, success, status)) is False

        assert atom.confidence_score == Decimal("0.49")

    def test_the_score_and_the_usage_event_are_in_one_transaction(
        self, governance: AgentGovernanceService, atom: AgentRegistry, db_session: Session
    ) -> None:
        asyncio.run(governance.record_outcome(atom.id, True, "run-1"))
        db_session.rollback()

        assert atom.confidence_score == Decimal("0.49")
        assert db_session.scalars(select(UsageEvent)).all() == []
        assert asyncio.run(governance.record_outcome(atom.id, True, "run-1")) is True

    def test_a_workspace_without_an_active_plan_is_not_metered(
        self, governance: AgentGovernanceService, atom: AgentRegistry, db_session: Session
    ) -> None:
        plan = db_session.scalars(select(Subscription)).one()
        plan.status = SubscriptionStatus.CANCELED
        db_session.commit()

        asyncio.run(governance.record_outcome(atom.id, True))

        assert atom.confidence_score == Decimal("0.50")
        assert db_session.scalars(select(UsageEvent)).all() == []


class TestConcurrently:
    THREADS = 20

    def report(self, agent_id: str, execution_ids: Sequence[str | None]) -> list[bool]:
        """Report successes, each in a thread and a transaction of its own, all at once."""
        together = threading.Barrier(len(execution_ids))

        def record(execution_id: str | None) -> bool:
            together.wait(timeout=10)
            with SessionLocal.begin() as session:
                service = AgentGovernanceService(session)
                return asyncio.run(service.record_outcome(agent_id, True, execution_id))

        with ThreadPoolExecutor(len(execution_ids)) as threads:
            return list(threads.map(record, execution_ids))

    @pytest.mark.parametrize("name", ["run-{}", None], ids=["with ids", "without ids"])
    def test_twenty_outcomes_at_once_lose_none(
        self, atom: AgentRegistry, db_session: Session, name: str | None
    ) -> None:
        agent_id = atom.id
        db_session.rollback()

        counted = self.report(
            agent_id, [name and name.format(number) for number in range(self.THREADS)]
        )

        assert counted == [True] * self.THREADS
        assert atom.confidence_score == Decimal("0.69")
        assert len(db_session.scalars(select(UsageEvent)).all()) == self.THREADS

    def test_one_outcome_reported_twenty_times_at_once_counts_once(
        self, atom: AgentRegistry, db_session: Session
    ) -> None:
        agent_id = atom.id
        db_session.rollback()

        counted = self.report(agent_id, ["run-1"] * self.THREADS)

        assert sorted(counted) == [False] * (self.THREADS - 1) + [True]
        assert atom.confidence_score == Decimal("0.50")
        assert len(db_session.scalars(select(UsageEvent)).all()) == 1

    @pytest.mark.parametrize("replaced", [False, True], ids=["ended", "replaced"])
    def test_an_outcome_survives_the_end_of_the_plan_that_it_was_to_be_metered_on(
        self, atom: AgentRegistry, db_session: Session, replaced: bool
    ) -> None:
        agent_id = atom.id
        plan = db_session.scalars(select(Subscription)).one()
        subscriptions = SubscriptionService(db_session)
        db_session.commit()

        with ThreadPoolExecutor(1) as threads:
            subscriptions.cancel(plan.id, "ada")
            plans = [subscriptions.start(plan.tier).id] if replaced else []
            reporting = threads.submit(self.report, agent_id, ["run-1"])
            wait([reporting], timeout=0.2)
            waited = not reporting.done()
            db_session.commit()
            counted = reporting.result()

        assert waited
        assert counted == [True]
        assert atom.confidence_score == Decimal("0.50")
        assert db_session.scalars(select(UsageEvent.subscription_id)).all() == plans
