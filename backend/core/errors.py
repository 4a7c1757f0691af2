"""What can go wrong in Atom: one base, and errors that carry their facts."""

import asyncio
from collections.abc import Callable
from datetime import datetime


class AtomError(Exception):
    """The base of every error that Atom raises on purpose."""


def said(error: BaseException, say: Callable[[BaseException], str] = str) -> str:
    """What an error of a tool, a model's client or a callback says, even if it can't say it."""
    try:
        return say(error)
    except Exception as unable:
        return f"{type(error).__name__}, which can't be shown: {type(unable).__name__}"


class DatabaseURLUnusable(AtomError):
    """`DATABASE_URL` is no URL, or one for a driver that is not installed here, or async."""

    hint = "set DATABASE_URL or --database, for example sqlite:///atom_dev.db"

    def __init__(self, reason: str) -> None:
        super().__init__(f"the database's URL can't be used: {reason}")
        self.reason = reason


class NotFound(AtomError):
    """Something was asked for by its id and is not there, or not in this workspace."""

    def __init__(self, kind: str, key: str) -> None:
        super().__init__(f"{kind} {key!r} does not exist")
        self.kind = kind
        self.key = key


class Blank(AtomError):
    """An id, a key, a name or a request was needed, and nothing was given."""

    def __init__(self, what: str) -> None:
        super().__init__(f"{what} is empty")
        self.what = what


def require_text(**given: str | None) -> None:
    """Raise `Blank` for what is empty: all who forget it would have the same one."""
    for name, text in given.items():
        if not (text or "").strip():
            raise Blank(name)


class NotYesOrNo(AtomError):
    """A decision was needed, and what was given is neither `True` nor `False`."""

    def __init__(self, what: str, given: object) -> None:
        super().__init__(f"{what} is True or False, and not {given!r:.100}")
        self.what = what
        self.given = given


def require_bool(**given: object) -> None:
    """Raise `NotYesOrNo` for what is no `bool`: of a text, `"false"` too, Python makes a yes."""
    for name, value in given.items():
        if not isinstance(value, bool):
            raise NotYesOrNo(name, value)


class NotShowable(AtomError):
    """Something was given for the model to read, and can't be written as JSON."""

    def __init__(self, what: str, cause: Exception) -> None:
        super().__init__(f"the {what} can't be shown to a model: {said(cause)}")
        self.what = what


class NotAllowed(AtomError):
    """A person asked for something that is not theirs to decide."""

    def __init__(self, user_id: str, deed: str) -> None:
        super().__init__(f"user {user_id!r} may not {deed}")
        self.user_id = user_id
        self.deed = deed


class AgentOffLadder(AtomError):
    """An agent's status does not permit the change that was asked for."""

    def __init__(self, agent_id: str, status: str, deed: str) -> None:
        super().__init__(f"agent {agent_id!r} is {status}: cannot {deed}")
        self.agent_id = agent_id
        self.status = status
        self.deed = deed


class NotOnLadder(AtomError):
    """A rung of the ladder was needed, to be promoted to or to be compared, and this is none."""

    def __init__(self, status: str) -> None:
        super().__init__(f"{status} is not a rung of the ladder")
        self.status = status


class ActionNotApprovable(AtomError):
    """Approval was asked for an action that is refused; a click cannot change that."""

    def __init__(
        self, agent_id: str, action_type: str, reason: str, action_id: str | None = None
    ) -> None:
        super().__init__(f"agent {agent_id!r} may not perform {action_type!r}: {reason}")
        rejecting = f"decide {action_id} reject"
        self.hint = f"python -m core {'agents' if action_id is None else rejecting}"
        self.agent_id = agent_id
        self.action_type = action_type
        self.reason = reason


class AlreadyDecided(AtomError):
    """A decision is final, and this one was made before."""

    def __init__(self, kind: str, key: str, status: str) -> None:
        super().__init__(f"{kind} {key!r} is already {status}")
        self.kind = kind
        self.key = key
        self.status = status


class ApprovalExpired(AtomError):
    """A decision came after the deadline of the request."""

    def __init__(self, action_id: str, expires_at: datetime) -> None:
        super().__init__(f"approval {action_id!r} expired at {expires_at.isoformat()}")
        self.action_id = action_id
        self.expires_at = expires_at


class ExecutionExists(AtomError):
    """A run was asked for under an id that another run has."""

    def __init__(self, execution_id: str) -> None:
        super().__init__(f"execution {execution_id!r} exists already")
        self.execution_id = execution_id


class ExecutionOfAnother(AtomError):
    """An outcome was reported for a run of another agent."""

    def __init__(self, execution_id: str, agent_id: str) -> None:
        super().__init__(f"execution {execution_id!r} is not a run of agent {agent_id!r}")
        self.execution_id = execution_id
        self.agent_id = agent_id


class OutcomeContradicted(AtomError):
    """An outcome was reported that is not the one of the recorded run, or not yet."""

    def __init__(self, execution_id: str, status: str, success: bool) -> None:
        told = "a success" if success else "a failure"
        super().__init__(f"execution {execution_id!r} is {status}: it can't be counted as {told}")
        self.execution_id = execution_id
        self.status = status
        self.success = success


class AmbiguousName(AtomError):
    """A name that more than one agent of the workspace has."""

    def __init__(self, name: str, agent_ids: list[str]) -> None:
        super().__init__(
            f"{len(agent_ids)} agents are called {name!r}: use an id of {', '.join(agent_ids)}"
        )
        self.name = name
        self.agent_ids = agent_ids


class RatingOutOfRange(AtomError):
    """A rating that is not one of 1 to 5."""

    def __init__(self, rating: int) -> None:
        super().__init__(f"a rating is from 1 to 5, and not {rating}")
        self.rating = rating


class ActionRejected(AtomError):
    """A human said no to an action, or said nothing until the deadline."""

    def __init__(self, action_type: str, status: str) -> None:
        super().__init__(f"the approval of {action_type!r} is {status}")
        self.action_type = action_type
        self.status = status


class ModelFailed(AtomError):
    """The model gave no reply; the cause says why."""

    def __init__(self, cause: BaseException) -> None:
        super().__init__(f"the model gave no reply: {said(cause) or type(cause).__name__}")


def faults() -> tuple[type[BaseException], ...]:
    """What a callback, a tool or a model's client may raise without ending the run they serve.

    A cancellation is among it where the run's own task is not cancelled: what they awaited was.
    """
    task = asyncio.current_task()
    cancelled = task is None or task.cancelling() > 0
    return (Exception,) if cancelled else (Exception, asyncio.CancelledError)


class DelegationTooDeep(AtomError):
    """A delegated run wanted to delegate once too often."""

    def __init__(self, depth: int) -> None:
        super().__init__(f"tasks are delegated {depth} deep already, and no deeper")
        self.depth = depth
