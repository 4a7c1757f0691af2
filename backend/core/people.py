"""Who may decide what."""

import unicodedata

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from core.database import current
from core.errors import NotAllowed, NotFound
from core.models import AgentRegistry, User, UserRole


def find_user(db: Session, workspace_id: str, user_id: str) -> User:
    """A person of the workspace, or a super admin of any.

    Raises:
        NotFound: nobody of that id is known to the workspace.
    """
    query = select(User).where(
        User.id == user_id,
        or_(User.workspace_id == workspace_id, User.role == UserRole.SUPER_ADMIN),
    )
    user = current(db, query).one_or_none()
    if user is None:
        raise NotFound("user", user_id)
    return user


def is_admin(user: User, workspace_id: str) -> bool:
    """Whether a person administers the workspace, or all of them."""
    if user.role == UserRole.SUPER_ADMIN:
        return True
    return user.role == UserRole.WORKSPACE_ADMIN and user.workspace_id == workspace_id


def is_trusted(user: User, agent: AgentRegistry) -> bool:
    """Whether a person's word about an agent counts: an admin's, or a specialist's in its field."""
    if is_admin(user, agent.workspace_id):
        return True
    specialty = _field(user.specialty or "")
    return (
        user.workspace_id == agent.workspace_id
        and specialty != ""
        and specialty == _field(agent.category)
    )


def _field(name: str) -> str:
    """A field however it is written: with capitals, and with accents of one sign or two."""
    return unicodedata.normalize("NFKC", name).strip().casefold()


def require_admin(db: Session, workspace_id: str, user_id: str, deed: str) -> None:
    """Raise `NotAllowed` unless the person administers the workspace."""
    if not is_admin(find_user(db, workspace_id, user_id), workspace_id):
        raise NotAllowed(user_id, deed)


def require_trusted(db: Session, agent: AgentRegistry, user_id: str, deed: str) -> None:
    """Raise `NotAllowed` unless the person's word about the agent counts."""
    if not is_trusted(find_user(db, agent.workspace_id, user_id), agent):
        raise NotAllowed(user_id, deed)
