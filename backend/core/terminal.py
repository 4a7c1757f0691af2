"""The agent in a terminal: steps appear as they happen, approvals are asked for."""

import argparse
import asyncio
import json
import logging
import re
import signal
import sys
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from core import composition, database
from core.agent_governance_service import AgentGovernanceService
from core.atom_meta_agent import AtomMetaAgent, ExecutionResult
from core.errors import AtomError, NotAllowed, NotFound
from core.llm import LLM, LLMClient, LLMNotConfigured, ScriptedLLM
from core.models import ExecutionStatus, User, UserRole, Workspace
from core.people import is_admin
from core.readiness import not_usable, require_ready


def run(arguments: argparse.Namespace) -> int:
    """Do what the command line asks and return its exit status.

    Raises:
        AtomError: the run could not begin, or lost its database.
        OSError: the script could not be read.
    """
    # What is a warning elsewhere is shown here as a step or as the ending.
    logging.basicConfig(level=logging.ERROR)
    try:
        return _run(arguments)
    except DBAPIError as error:
        raise not_usable(database.engine, error) from error


def _run(arguments: argparse.Namespace) -> int:
    require_ready(database.engine)
    if arguments.init or arguments.demo:
        _initialise(arguments.workspace, arguments.user, arguments.demo)
        if arguments.request is None:
            return 0
    if not (arguments.request or "").strip():
        raise NothingToDo
    user = _find_user(arguments.workspace, arguments.user)
    agent = AtomMetaAgent(arguments.workspace, user, llm=_model(arguments.script))
    screen = Screen(arguments.workspace, user.id)
    result = asyncio.run(agent.execute(arguments.request, step_callback=screen.show))
    return _report(result)


class NothingToDo(AtomError):
    """The command line asks for nothing."""

    def __init__(self) -> None:
        super().__init__("there is no request")


class UserElsewhere(AtomError):
    """The person is one of another workspace."""

    hint = "give another --user, or the --workspace that is theirs"

    def __init__(self, email: str, workspace_id: str) -> None:
        super().__init__(f"user {email!r} is not one of workspace {workspace_id!r}")


class ScriptUnusable(AtomError):
    """A file that a scripted model cannot answer from."""

    hint = "give a UTF-8 text of replies like backend/examples/cancel-overdue.txt"

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(f"the script {path} {problem}")


class Screen:
    """Shows the steps of a run, and puts its requests for approval to whoever sits there."""

    def __init__(self, workspace_id: str, user_id: str) -> None:
        self._workspace_id = workspace_id
        self._user_id = user_id

    def show(self, step: dict[str, Any]) -> None:
        """Show a step, or ask for the approval that it waits for."""
        indent = "    " * step["depth"]
        if step["kind"] == "approval_required":
            self._ask(step, indent)
            return
        _say(f"{indent}{step['agent']}, step {step['step_number']}: {step['thought']}")
        if step["action"] is not None:
            _say(f"{indent}  {step['action']} {_compact(step['action_input'])}")
        _say(f"{indent}  -> {step['observation']}")

    def _ask(self, step: dict[str, Any], indent: str) -> None:
        _say(f"{indent}{step['agent']} wants to {step['action']} {_compact(step['action_input'])}")
        approved = _yes(f"{indent}  approve? [y/N] ")
        try:
            with database.SessionLocal.begin() as db:
                service = AgentGovernanceService(db, self._workspace_id)
                service.decide(step["action_id"], approved, self._user_id)
        except AtomError as error:
            _say(f"{indent}  {error}; the run waits for somebody else's decision")


def hint_for(error: Exception) -> str:
    """What to do about an error."""
    if isinstance(error, LLMNotConfigured):
        return "set OPENAI_API_KEY, OPENAI_MODEL and perhaps OPENAI_BASE_URL, or give a --script"
    if isinstance(error, NotFound) and error.kind in ("workspace", "user"):
        return "--init makes the workspace and an admin; --demo fills it with a shop to try"
    if isinstance(error, NotAllowed):
        return "give the --user of an admin"
    return str(getattr(error, "hint", "python -m core --help"))


def read_script(path: Path) -> ScriptedLLM:
    """A model that answers with the parts of a file, between lines of three dashes.

    Raises:
        OSError: the file could not be read.
        ScriptUnusable: it is not UTF-8, or there is nothing in it.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ScriptUnusable(path, f"is not UTF-8: {error.reason} at byte {error.start}") from error
    parts = [part.strip() for part in re.split(r"^---[ \t]*$", text, flags=re.MULTILINE)]
    if not any(parts):
        raise ScriptUnusable(path, "has no replies")
    return ScriptedLLM(part for part in parts if part)


def _model(script: Path | None) -> LLM:
    if script is not None:
        return read_script(script)
    client = LLMClient()
    client.require_configured()
    return client


def _initialise(workspace_id: str, email: str, demo: bool) -> None:
    with database.SessionLocal.begin() as db:
        workspace = db.get(Workspace, workspace_id)
        if workspace is None:
            workspace = Workspace(id=workspace_id, name=workspace_id)
            db.add(workspace)
        user = _user(db, workspace_id, email)
        if user is None:
            role = UserRole.WORKSPACE_ADMIN
            user = User(workspace=workspace, email=email, name=email, role=role)
            db.add(user)
        db.flush()
        if demo:
            composition.fill_demo(db, workspace, user)


def _find_user(workspace_id: str, email: str) -> User:
    with database.SessionLocal() as db:
        if db.get(Workspace, workspace_id) is None:
            raise NotFound("workspace", workspace_id)
        user = _user(db, workspace_id, email)
        if user is None:
            raise NotFound("user", email)
        return user


def _user(db: Session, workspace_id: str, email: str) -> User | None:
    user = db.scalar(select(User).where(User.email == email))
    if user and user.workspace_id != workspace_id and not is_admin(user, workspace_id):
        raise UserElsewhere(email, workspace_id)
    return user


def _report(result: ExecutionResult) -> int:
    if result["status"] is ExecutionStatus.SUCCESS:
        print(result["final_output"])
        return 0
    _say(f"{result['status']}: {result.get('failure_reason', '')}")
    return 1


def _yes(question: str) -> bool:
    print(question, end="", file=sys.stderr, flush=True)
    # asyncio only notes an interrupt, and would let the line be read to its end.
    noted = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        # A process may be started without a standard input.
        answer = sys.stdin.readline() if sys.stdin else ""
        if not answer.endswith("\n"):
            _say("")
    finally:
        signal.signal(signal.SIGINT, noted)
    # No answer, at the end of the input, is a no.
    return answer.strip().casefold() in ("y", "yes")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _compact(arguments: dict[str, Any] | None) -> str:
    return json.dumps(arguments or {}, ensure_ascii=False)
