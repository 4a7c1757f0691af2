"""An agent's id or its name; an id wins. Which one `execute()` works as."""

import asyncio
import inspect
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from threading import Barrier
from typing import Any

import pytest
from core.agent_governance_service import AgentGovernanceService
from core.atom_meta_agent import AtomMetaAgent
from core.database import SessionLocal
from core.errors import AmbiguousName, NotFound
from core.llm import ScriptedLLM
from core.maturity import AgentStatus
from core.models import AgentExecution, AgentRegistry, HITLAction, User, Workspace
from core.registry import ensure_atom
from sqlalchemy import select
from sqlalchemy.orm import Session

DONE = "Thought: I should finish.\nFinal Answer: Done."

Make = Callable[..., AgentRegistry]


@pytest.fixture
def make(db_session: Session, workspace: Workspace) -> Make:
    """Make an agent of the workspace `default`."""

    def agent(key: str, name: str, **other: Any) -> AgentRegistry:
        about = {"category": "general", "module_path": "m", "class_name": "C", **other}
        made = AgentRegistry(id=key, name=name, **about)
        db_session.add(made)
        db_session.commit()
        return made

    return agent


CALLS: dict[str, Callable[[AgentGovernanceService, str, str], Any]] = {
    "can_perform_action": lambda s, agent, _: s.can_perform_action(agent, "read"),
    "enforce_action": lambda s, agent, _: s.enforce_action(agent, "read", require_approval=True),
    "request_approval": lambda s, agent, _: s.request_approval(agent, "read"),
    "record_outcome": lambda s, agent, _: asyncio.run(s.record_outcome(agent, True)),
    "submit_feedback": lambda s, agent, admin: s.submit_feedback(agent, admin, "5", "4"),
    "promote": lambda s, agent, admin: s.promote(agent, AgentStatus.INTERN, admin),
    "pause": lambda s, agent, _: s.pause(agent),
    "resume": lambda s, agent, _: (s.pause(agent), s.resume(agent)),
    "stop": lambda s, agent, _: s.stop(agent),
    "get_agent_capabilities": lambda s, agent, _: s.get_agent_capabilities(agent),
}


def test_every_call_of_the_service_that_takes_an_agent_is_tried() -> None:
    public = inspect.getmembers(AgentGovernanceService, inspect.isfunction)
    taking = {
        name
        for name, function in public
        if not name.startswith("_") and "agent_id" in inspect.signature(function).parameters
    }

    assert taking == set(CALLS)


@pytest.mark.parametrize("call", CALLS)
def test_an_agent_is_taken_by_its_id_and_by_its_name(
    governance: AgentGovernanceService, make: Make, admin: str, call: str
) -> None:
    by_id, by_name = make("id-1", "one"), make("id-2", "two")
    outcomes = [CALLS[call](governance, "id-1", admin), CALLS[call](governance, "two", admin)]

    states = [(each.status, each.confidence_score) for each in (by_id, by_name)]
    assert states[0] == states[1]
    if call == "can_perform_action":
        assert outcomes[0] == outcomes[1]
        assert outcomes[0]["allowed"]
    if call in ("enforce_action", "request_approval"):
        filed = governance.pending_approvals()
        assert {each.agent_id for each in filed} == {"id-1", "id-2"}


@pytest.mark.parametrize("call", CALLS)
def test_an_id_wins_over_a_name(
    governance: AgentGovernanceService, make: Make, admin: str, db_session: Session, call: str
) -> None:
    make("x", "first", status=AgentStatus.INTERN, confidence_score=Decimal("0.60"))
    other = make("y", "x", status=AgentStatus.STOPPED, confidence_score=Decimal("0.30"))

    CALLS[call](governance, "x", admin)

    db_session.refresh(other)
    assert (other.status, other.confidence_score) == ("stopped", Decimal("0.30"))
    assert {each.agent_id for each in db_session.scalars(select(HITLAction))} <= {"x"}


@pytest.mark.parametrize("call", CALLS)
def test_a_name_of_two_agents_names_none(
    governance: AgentGovernanceService, make: Make, admin: str, call: str
) -> None:
    make("id-1", "twin")
    make("id-2", "twin", class_name="D")

    if call in ("can_perform_action", "enforce_action"):
        refusal = CALLS[call](governance, "twin", admin)
        assert "use an id of id-1, id-2" in refusal["reason"]
        assert not refusal.get("allowed", refusal.get("proceed"))
    elif call == "request_approval":
        with pytest.raises(Exception, match="2 agents are called 'twin'"):
            CALLS[call](governance, "twin", admin)
    else:
        with pytest.raises(AmbiguousName) as caught:
            CALLS[call](governance, "twin", admin)
        assert caught.value.agent_ids == ["id-1", "id-2"]


def test_a_deleted_agent_leaves_its_name_to_the_others(
    governance: AgentGovernanceService, make: Make
) -> None:
    make("id-1", "sam", status=AgentStatus.DELETED)
    alone = governance.get_agent_capabilities("sam")["agent_id"]
    make("id-2", "sam", class_name="D")

    assert (alone, governance.get_agent_capabilities("sam")["agent_id"]) == ("id-1", "id-2")


def test_feedback_is_about_the_agent_of_that_id_and_never_of_that_name(
    governance: AgentGovernanceService, make: Make, admin: str, db_session: Session
) -> None:
    acme = Workspace(id="acme", name="Acme")
    member = User(workspace=acme, email="member@acme.example", name="Member")
    theirs = AgentRegistry(
        id="x", workspace=acme, name="x", category="c", module_path="m", class_name="C"
    )
    db_session.add_all([member, theirs])
    db_session.commit()
    filed = AgentGovernanceService(db_session, "acme").submit_feedback("x", member.id, "5", "4")
    ours = make("y", "x", confidence_score=Decimal("0.30"))

    with pytest.raises(NotFound, match=r"^feedback '"):
        governance.review_feedback(filed.id, True, admin)

    assert ours.confidence_score == Decimal("0.30")


async def worked_as(db_session: Session, workspace_id: str = "default") -> AgentRegistry:
    result = await AtomMetaAgent(workspace_id, llm=ScriptedLLM([DONE])).execute("Do it")
    return db_session.get_one(AgentExecution, result["execution_id"]).agent


class TestAtom:
    @pytest.mark.asyncio
    async def test_the_id_atom_main_wins(self, make: Make, db_session: Session) -> None:
        make("id-1", "atom_main")
        make("atom_main", "Atom")

        assert (await worked_as(db_session)).id == "atom_main"

    @pytest.mark.asyncio
    async def test_or_else_the_name(self, make: Make, db_session: Session) -> None:
        make("id-1", "atom_main")

        assert (await worked_as(db_session)).id == "id-1"

    @pytest.mark.asyncio
    async def test_of_several_of_that_name_it_is_atoms_own_class(
        self, make: Make, db_session: Session
    ) -> None:
        make("id-1", "atom_main")
        make("id-2", "atom_main", module_path="core.atom_meta_agent", class_name="AtomMetaAgent")

        assert (await worked_as(db_session)).id == "id-2"

    @pytest.mark.asyncio
    async def test_of_several_strangers_of_that_name_it_is_none(
        self, make: Make, db_session: Session
    ) -> None:
        make("id-1", "atom_main")
        make("id-2", "atom_main", class_name="D")

        with pytest.raises(AmbiguousName):
            await worked_as(db_session)

    @pytest.mark.asyncio
    async def test_a_new_one_has_that_id_where_it_is_free(
        self, workspace: Workspace, db_session: Session
    ) -> None:
        db_session.add(Workspace(id="acme", name="Acme"))
        db_session.commit()

        first, second = await worked_as(db_session), await worked_as(db_session, "acme")

        assert (first.id, first.workspace_id, first.name) == ("atom_main", "default", "atom_main")
        assert (second.workspace_id, second.name) == ("acme", "atom_main")
        assert second.id != "atom_main"
        assert await worked_as(db_session, "acme") is second

    def test_the_first_runs_of_all_at_once_register_one(
        self, workspace: Workspace, db_session: Session
    ) -> None:
        barrier = Barrier(4)

        def register() -> str:
            with SessionLocal() as session:
                barrier.wait()
                key = ensure_atom(session, "default").id
                session.commit()
                return key

        with ThreadPoolExecutor(4) as pool:
            keys = [each.result() for each in [pool.submit(register) for _ in range(4)]]

        assert set(keys) == {"atom_main"}
        assert len(db_session.scalars(select(AgentRegistry)).all()) == 1


def test_an_agent_without_a_workspace_is_one_of_default(db_session: Session) -> None:
    for name in ("one", "two"):
        db_session.add(AgentRegistry(name=name, category="c", module_path="m", class_name="C"))
    db_session.commit()

    agents = db_session.scalars(select(AgentRegistry)).all()
    assert [each.workspace_id for each in agents] == ["default", "default"]
    assert [each.name for each in db_session.scalars(select(Workspace))] == ["default"]


def test_a_workspace_default_that_is_there_stays_as_it_is(
    workspace: Workspace, db_session: Session, make: Make
) -> None:
    make("x", "one")

    db_session.refresh(workspace)
    assert workspace.name == "Default"


def test_an_agents_row_says_when_it_was_changed_last(
    governance: AgentGovernanceService, atom: AgentRegistry, db_session: Session
) -> None:
    before = atom.updated_at

    governance.pause(atom.id)

    db_session.refresh(atom)
    assert atom.updated_at > before
