"""Every yes or no of the service is `True` or `False`: of a text Python makes a yes."""

import asyncio
import inspect
from typing import Any

import pytest
from core.agent_governance_service import AgentGovernanceService
from core.errors import NotYesOrNo
from core.metering import Meter
from core.models import AgentRegistry, ExecutionStatus, HITLAction
from sqlalchemy import select
from sqlalchemy.orm import Session

# Of every method of the service, what of its parameters is a yes or no.
ASKED = [
    (name, parameter.name)
    for name, method in inspect.getmembers(AgentGovernanceService, inspect.isfunction)
    for parameter in inspect.signature(method).parameters.values()
    if parameter.annotation is bool and not name.startswith("_")
]


def call(service: AgentGovernanceService, name: str, **given: Any) -> object:
    """A method's answer; what it needs besides is the name of what it needs."""
    method = getattr(service, name)
    needed = {
        each.name: each.name
        for each in inspect.signature(method).parameters.values()
        if each.default is each.empty
    }
    answer = method(**{**needed, **given})
    return asyncio.run(answer) if inspect.iscoroutine(answer) else answer


@pytest.mark.parametrize("given", ["false", "reject", "", 0, 1, None, ExecutionStatus.FAILED])
@pytest.mark.parametrize(("name", "parameter"), ASKED)
def test_nothing_else_is_taken_for_one(
    governance: AgentGovernanceService, name: str, parameter: str, given: object
) -> None:
    with pytest.raises(NotYesOrNo, match=f"^{parameter} is True or False"):
        call(governance, name, **{parameter: given})


def test_they_are_all_there_are() -> None:
    assert sorted(ASKED) == [
        ("can_perform_action", "require_approval"),
        ("decide", "approved"),
        ("enforce_action", "require_approval"),
        ("record_outcome", "success"),
        ("review_feedback", "accepted"),
    ]


def test_a_failure_told_as_a_word_is_no_success(
    atom: AgentRegistry, governance: AgentGovernanceService, db_session: Session
) -> None:
    before = atom.confidence_score

    with pytest.raises(NotYesOrNo):
        call(governance, "record_outcome", agent_id="atom_main", success=ExecutionStatus.FAILED)

    assert db_session.scalar(select(AgentRegistry.confidence_score)) == before


def test_a_rejection_told_as_a_word_approves_nothing(
    atom: AgentRegistry, governance: AgentGovernanceService, admin: str, db_session: Session
) -> None:
    key = governance.request_approval("atom_main", "read_file")

    with pytest.raises(NotYesOrNo):
        governance.decide(key, "reject", admin)  # type: ignore[arg-type]

    assert db_session.scalar(select(HITLAction.status)) == "pending"


class Runs(list[str]):
    """A meter that is empty, and so false, before the first run."""

    def record_run(self, _workspace_id: str, run_id: str) -> None:
        self.append(run_id)


def test_a_meter_that_is_empty_is_the_one_that_counts(
    atom: AgentRegistry, db_session: Session
) -> None:
    runs = Runs()
    meter: Meter = runs

    service = AgentGovernanceService(db_session, meter=meter)
    call(service, "record_outcome", agent_id="atom_main", success=True, execution_id="r")

    assert runs == ["r"]
