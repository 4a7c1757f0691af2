"""The agents of a workspace."""

from collections.abc import Sequence
from typing import Any, NamedTuple, TypedDict

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.database import current, new_id
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


ATOM_PROFILE = Profile(
    category="general", description="Works on requests with tools, and delegates to other agents."
)


def get_agent(db: Session, workspace_id: str, agent_id: str) -> AgentRegistry | None:
    """The agent of that id, if the workspace has it."""
    query = select(AgentRegistry).where(
        AgentRegistry.id == agent_id, AgentRegistry.workspace_id == workspace_id
    )
    return current(db, query).one_or_none()


def find_by_id(db: Session, workspace_id: str, agent_id: str) -> AgentRegistry:
    """The agent that a row refers to, by its id and never by a name.

    Raises:
        NotFound: the workspace has no such agent.
    """
    agent = get_agent(db, workspace_id, agent_id)
    if agent is None:
        raise NotFound("agent", agent_id)
    return agent


def find_agent(db: Session, workspace_id: str, key: str) -> AgentRegistry:
    """The agent with this id, or else the one with this name: what people and models give.

    Raises:
        NotFound: the workspace has no such agent.
        AmbiguousName: it has several of that name, and none of that id.
    """
    agent = get_agent(db, workspace_id, key)
    if agent is not None:
        return agent
    named = _named(db, workspace_id, key)
    if not named:
        raise NotFound("agent", key)
    if len(named) > 1:
        raise AmbiguousName(key, [each.id for each in named])
    return named[0]


def ensure_atom(db: Session, workspace_id: str) -> AgentRegistry:
    """The agent `atom_main`: by id, or else by name, or else new.

    A new one has the id `atom_main` where no workspace has it yet. Of several with that name, the
    one of Atom's own class is meant.

    Raises:
        NotFound: there is no such workspace.
        AmbiguousName: several have the name, and none of them is of Atom's class.
    """
    _require_workspace(db, workspace_id)
    for free in (ATOM_MAIN.name, new_id()):
        found = get_agent(db, workspace_id, ATOM_MAIN.name) or _atom_by_name(db, workspace_id)
        if found is not None:
            return found
        row = {"id": free, "workspace_id": workspace_id, **ATOM_MAIN._asdict(), **ATOM_PROFILE}
        insert_once(db, AgentRegistry, row, [])
    return find_agent(db, workspace_id, ATOM_MAIN.name)


def _atom_by_name(db: Session, workspace_id: str) -> AgentRegistry | None:
    named = _named(db, workspace_id, ATOM_MAIN.name)
    own = [
        each
        for each in named
        if (each.module_path, each.class_name) == (ATOM_MAIN.module_path, ATOM_MAIN.class_name)
    ]
    if len(named) > 1 and not own:
        raise AmbiguousName(ATOM_MAIN.name, [each.id for each in named])
    return next(iter(own or named), None)


def _named(db: Session, workspace_id: str, name: str) -> Sequence[AgentRegistry]:
    """The agents of a name, without deleted ones unless there are no others."""
    query = select(AgentRegistry).where(
        AgentRegistry.workspace_id == workspace_id, AgentRegistry.name == name
    )
    named = current(db, query.order_by(AgentRegistry.id)).all()
    return [each for each in named if each.status != AgentStatus.DELETED] or named


def _require_workspace(db: Session, workspace_id: str) -> None:
    if current(db, select(Workspace).where(Workspace.id == workspace_id)).first() is None:
        raise NotFound("workspace", workspace_id)


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
    return list(current(db, query.order_by(AgentRegistry.name, AgentRegistry.id)))


def register_agent(
    db: Session, workspace_id: str, identity: Identity, profile: Profile
) -> AgentRegistry:
    """The agent with this identity, new as a student if need be, with this profile.

    Raises:
        NotFound: there is no such workspace.
    """
    _require_workspace(db, workspace_id)
    key = {"workspace_id": workspace_id, **identity._asdict()}
    columns = [getattr(AgentRegistry, column) for column in key]
    new = insert_once(db, AgentRegistry, {**key, **profile}, columns)
    agent = current(db, select(AgentRegistry).filter_by(**key)).one()
    if not new:
        for field, value in profile.items():
            setattr(agent, field, value)
        db.flush()
    return agent
