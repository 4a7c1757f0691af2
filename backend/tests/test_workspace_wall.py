"""A workspace is a wall, for objects that are handed in as well as for ids."""

from collections.abc import Callable

import pytest
from core.agent_governance_service import AgentGovernanceService
from core.atom_meta_agent import AtomMetaAgent
from core.errors import ExecutionOfAnother, NotFound
from core.llm import ScriptedLLM
from core.models import AgentExecution, AgentRegistry, HITLAction, User, UserRole, Workspace
from sqlalchemy import select
from sqlalchemy.orm import Session

DONE = "Thought: I should finish.\nFinal Answer: Done."

File = Callable[[AgentGovernanceService, str, str], object]


@pytest.fixture
def acme(db_session: Session, workspace: Workspace) -> Workspace:
    """Another workspace, with an agent `theirs` and its run `their-run`."""
    acme = Workspace(id="acme", name="Acme")
    agent = AgentRegistry(
        id="theirs", workspace=acme, name="sam", category="c", module_path="m", class_name="C"
    )
    db_session.add(agent)
    db_session.flush()
    db_session.add(
        AgentExecution(id="their-run", workspace_id="acme", agent_id="theirs", request="")
    )
    db_session.commit()
    return acme


@pytest.mark.parametrize("role", ["member", "workspace_admin"])
@pytest.mark.asyncio
async def test_a_user_of_another_workspace_does_not_ask_here(
    acme: Workspace, db_session: Session, role: str
) -> None:
    user = User(workspace=acme, email="ada@acme.example", name="Ada", role=UserRole(role))
    db_session.add(user)
    db_session.commit()
    llm = ScriptedLLM([DONE])

    with pytest.raises(NotFound, match="user"):
        await AtomMetaAgent("default", user, llm=llm).execute("Do it", execution_id="r")

    assert llm.prompts == []
    assert db_session.get(AgentExecution, "r") is None


@pytest.mark.asyncio
async def test_a_super_admin_asks_everywhere(acme: Workspace, db_session: Session) -> None:
    user = User(workspace=acme, email="root@acme.example", name="R", role=UserRole.SUPER_ADMIN)
    db_session.add(user)
    db_session.commit()

    result = await AtomMetaAgent("default", user, llm=ScriptedLLM([DONE])).execute("Do it")

    assert result["status"] == "success"


@pytest.mark.asyncio
async def test_a_user_who_only_says_that_they_are_of_this_workspace_does_not_ask(
    workspace: Workspace, db_session: Session
) -> None:
    forged = User(id="nobody", workspace_id="default", email="x@example.com", name="X")

    with pytest.raises(NotFound, match="user 'nobody'"):
        await AtomMetaAgent("default", forged, llm=ScriptedLLM([DONE])).execute("Do it")


FILING: dict[str, File] = {
    "enforce_action": lambda s, agent, run: s.enforce_action(
        agent, "read", require_approval=True, execution_id=run
    ),
    "an action that needs no approval": lambda s, agent, run: s.enforce_action(
        agent, "read", execution_id=run
    ),
    "request_approval": lambda s, agent, run: s.request_approval(agent, "read", execution_id=run),
}


@pytest.mark.parametrize("call", FILING)
@pytest.mark.parametrize("run", ["their-run", "no-run"])
def test_a_run_of_another_workspace_does_not_ask_for_approval_here(
    governance: AgentGovernanceService,
    atom: AgentRegistry,
    acme: Workspace,
    db_session: Session,
    call: str,
    run: str,
) -> None:
    with pytest.raises(NotFound, match=f"execution '{run}'"):
        FILING[call](governance, atom.id, run)

    assert db_session.scalars(select(HITLAction)).all() == []


@pytest.mark.parametrize("call", FILING)
def test_a_run_asks_for_approval_of_what_its_own_agent_does(
    governance: AgentGovernanceService,
    atom: AgentRegistry,
    db_session: Session,
    call: str,
) -> None:
    sam = governance.register_or_update_agent("sam", "sales", "m", "C")
    db_session.add(AgentExecution(id="r", workspace_id="default", agent_id=sam.id, request=""))
    db_session.flush()

    with pytest.raises(ExecutionOfAnother):
        FILING[call](governance, atom.id, "r")

    FILING[call](governance, "sam", "r")


@pytest.mark.asyncio
async def test_the_outcome_of_a_run_of_another_workspace_is_not_counted(
    governance: AgentGovernanceService, atom: AgentRegistry, acme: Workspace
) -> None:
    with pytest.raises(NotFound, match="execution 'their-run'"):
        await governance.record_outcome(atom.id, True, "their-run")
    with pytest.raises(NotFound, match="agent 'theirs'"):
        await governance.record_outcome("theirs", True, "their-run")
    with pytest.raises(NotFound, match="agent 'sam'"):
        await governance.record_outcome("sam", True, "their-run")
