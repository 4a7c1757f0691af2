"""The agents of a workspace."""

from typing import Any, NamedTuple, TypedDict

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.errors import AmbiguousName, NotFound
from core.inserts import insert_once
from core.maturity import AgentStatus
from core.models import AgentRegistry, Workspace


class Identity(NamedTuple):
    """What makes an agent the same one: a workspace has one agent for each."""

    module_path: str
    class_name: str
    name: str


ATOM_MAIN = Identity("core.atom_meta_agent", "AtomMetaAgent", "atom_main")


class Profile(TypedDict, total=False):
    """What an agent says about itself, and may change."""

    category: str
    description: str | None
    version: str
    configuration: dict[str, Any]


def get_agent(db: Session, workspace_id: str, agent_id: str) -> AgentRegistry | None:
    """The agent of that id, if the workspace has it."""
    return db.scalar(
        select(AgentRegistry).where(
            AgentRegistry.id == agent_id, AgentRegistry.workspace_id == workspace_id
        )
    )


def find_agent(db: Session, workspace_id: str, agent_id: str) -> AgentRegistry:
    """The agent of that id.

    Raises:
        NotFound: the workspace has no such agent.
    """
    agent = get_agent(db, workspace_id, agent_id)
    if agent is None:
        raise NotFound("agent", agent_id)
    return agent


def find_by_name_or_id(db: Session, workspace_id: str, key: str) -> AgentRegistry:
    """The agent with this id, or else the one with this name.

    Raises:
        NotFound: the workspace has no such agent.
        AmbiguousName: it has several.
    """
    agent = get_agent(db, workspace_id, key)
    if agent is not None:
        return agent
    named = db.scalars(
        select(AgentRegistry)
        .where(AgentRegistry.workspace_id == workspace_id, AgentRegistry.name == key)
        .order_by(AgentRegistry.id)
    ).all()
    if not named:
        raise NotFound("agent", key)
    if len(named) > 1:
        raise AmbiguousName(key, [each.id for each in named])
    return named[0]


def list_agents(
    db: Session,
    workspace_id: str,
    category: str | None = None,
    status: AgentStatus | None = None,
) -> list[AgentRegistry]:
    """The agents of a workspace by name; deleted ones only when asked for."""
    query = select(AgentRegistry).where(AgentRegistry.workspace_id == workspace_id)
    if category is not None:
        query = query.where(AgentRegistry.category == category)
    if status is None:
        query = query.where(AgentRegistry.status != AgentStatus.DELETED)
    else:
        query = query.where(AgentRegistry.status == status)
    return list(db.scalars(query.order_by(AgentRegistry.name, AgentRegistry.id)))


def register_agent(
    db: Session, workspace_id: str, identity: Identity, profile: Profile
) -> AgentRegistry:
    """The agent with this identity, new as a student if need be, with this profile.

    Raises:
        NotFound: there is no such workspace.
    """
    agent, new = ensure_agent(db, workspace_id, identity, profile)
    if not new:
        for field, value in profile.items():
            setattr(agent, field, value)
        db.flush()
    return agent


def ensure_agent(
    db: Session, workspace_id: str, identity: Identity, profile: Profile
) -> tuple[AgentRegistry, bool]:
    """The agent with this identity, and whether it is new; one that is there is not touched.

    Raises:
        NotFound: there is no such workspace.
    """
    if db.get(Workspace, workspace_id) is None:
        raise NotFound("workspace", workspace_id)
    key = {"workspace_id": workspace_id, **identity._asdict()}
    columns = [getattr(AgentRegistry, column) for column in key]
    new = insert_once(db, AgentRegistry, {**key, **profile}, columns)
    return db.scalars(select(AgentRegistry).filter_by(**key)).one(), new
