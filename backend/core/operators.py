"""Who sits at the terminal, and in which workspace."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from core import composition, database
from core.errors import AtomError, NotAllowed, NotFound, require_text
from core.inserts import insert_once
from core.models import User, UserRole, Workspace
from core.people import is_admin


class UserElsewhere(AtomError):
    """The person is one of another workspace."""

    hint = "give another --user, or the --workspace that is theirs"

    def __init__(self, email: str, workspace_id: str) -> None:
        super().__init__(f"user {email!r} is not one of workspace {workspace_id!r}")


def initialise(workspace_id: str, email: str, demo: bool) -> None:
    """Make the workspace, and the user as its admin, where they are not there; fill it if asked.

    Raises:
        Blank: the workspace or the user is empty.
        UserElsewhere: the user is of another workspace, and no super admin.
        NotAllowed: the user is there, and no admin: nobody is made one by asking for it.
    """
    require_text(workspace=workspace_id, user=email)
    with database.SessionLocal.begin() as db:
        # Somebody else may do the same just now: who comes second waits here, and finds it done.
        insert_once(db, Workspace, {"id": workspace_id, "name": workspace_id}, [Workspace.id])
        user = _user(db, workspace_id, email) or _new_admin(db, workspace_id, email)
        if demo:
            composition.fill_demo(db, user.workspace, user)
        if not is_admin(user, workspace_id):
            raise NotAllowed(email, f"administer workspace {workspace_id!r}")


def _new_admin(db: Session, workspace_id: str, email: str) -> User:
    row = {"email": email, "name": email, "role": UserRole.WORKSPACE_ADMIN}
    insert_once(db, User, {**row, "workspace_id": workspace_id}, [User.email])
    user = _user(db, workspace_id, email)
    if user is None:
        raise NotFound("user", email)
    return user


def require_workspace(workspace_id: str) -> None:
    """Raise `NotFound` unless there is such a workspace."""
    with database.SessionLocal() as db:
        if db.get(Workspace, workspace_id) is None:
            raise NotFound("workspace", workspace_id)


def find_user(workspace_id: str, email: str) -> User:
    """The person with an e-mail address.

    Raises:
        NotFound: there is nobody with it.
        UserElsewhere: they are of another workspace, and no super admin.
    """
    with database.SessionLocal() as db:
        user = _user(db, workspace_id, email)
        if user is None:
            raise NotFound("user", email)
        return user


def _user(db: Session, workspace_id: str, email: str) -> User | None:
    user = db.scalar(select(User).where(User.email == email))
    if user and user.workspace_id != workspace_id and not is_admin(user, workspace_id):
        raise UserElsewhere(email, workspace_id)
    return user
