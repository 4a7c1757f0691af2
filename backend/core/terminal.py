"""The agent in a terminal: what the command line asks for is done, or is an error."""

import argparse
import asyncio
import errno
import logging
import re
from pathlib import Path

from sqlalchemy.exc import DBAPIError

from core import commands, database, interrupts
from core.answers import Answers
from core.atom_meta_agent import AtomMetaAgent, ExecutionResult
from core.errors import (
    AlreadyDecided,
    AmbiguousName,
    ApprovalExpired,
    AtomError,
    NotAllowed,
    NotFound,
)
from core.llm import LLM, LLMClient, LLMNotConfigured, ScriptedLLM
from core.models import ExecutionStatus
from core.operators import find_user, initialise, require_workspace
from core.readiness import not_usable, require_named, require_ready
from core.recovery import REASON, count_owed_outcomes, interrupt_dead_runs
from core.screen import Screen, ScreenHandler, one_line
from core.steps import Steps
from core.tools import default_tools

READER_GONE = 141


def run(arguments: argparse.Namespace, out: Screen, err: Screen) -> int:
    """Do what the command line asks and return its exit status.

    Raises:
        AtomError: it could not begin, was refused, or lost its database.
        OSError: the script could not be read, or the answer not be written.
    """
    # What is a warning elsewhere is shown here as a step or as the ending.
    logging.basicConfig(level=logging.ERROR, handlers=[ScreenHandler(err)])
    if arguments.database is not None:
        require_named(database.engine, arguments.database)
    try:
        require_ready(database.engine)
        status = work(arguments, out, err)
    except DBAPIError as error:
        raise not_usable(database.engine, error) from error
    if out.error is None:
        return status
    if out.error.errno == errno.EPIPE:
        return READER_GONE
    raise out.error


def work(arguments: argparse.Namespace, out: Screen, err: Screen) -> int:
    """Do what the command line asks, in a database that is ready for it."""
    for dead in interrupt_dead_runs(arguments.workspace):
        err.show(f"run {dead} is interrupted: {REASON}")
    for counted in asyncio.run(count_owed_outcomes(arguments.workspace)):
        err.show(f"run {counted} is counted now: it ended before, and could not be")
    if arguments.command is not None:
        commands.run(arguments, out)
        return 0
    if arguments.init or arguments.demo:
        initialise(arguments.workspace, arguments.user, arguments.demo)
        if arguments.request is None:
            return 0
    if not (arguments.request or "").strip():
        raise NothingToDo
    return _report(_execute(arguments, err), out, err)


def _execute(arguments: argparse.Namespace, err: Screen) -> ExecutionResult:
    require_workspace(arguments.workspace)
    user = find_user(arguments.workspace, arguments.user)
    tools = interrupts.interruptible(default_tools())
    llm = _model(arguments.script)
    agent = AtomMetaAgent(arguments.workspace, user, llm=llm, tools=tools)
    steps = Steps(err, None if arguments.wait else Answers(), arguments.workspace, user.id)
    return interrupts.run(lambda: agent.execute(arguments.request, step_callback=steps.show))


class NothingToDo(AtomError):
    """The command line asks for nothing."""

    def __init__(self) -> None:
        super().__init__("there is no request")


class ScriptUnusable(AtomError):
    """A file that a scripted model cannot answer from."""

    hint = "give a UTF-8 text of replies like backend/examples/cancel-overdue.txt"

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(f"the script {path} {problem}")


# The command that lists what there is of a kind.
LISTED = {"agent": "agents", "approval": "approvals", "feedback": "feedback"}


def refuse(err: Screen, error: Exception) -> int:
    """Show an error, and what to do about it, and return the exit status."""
    err.show(f"error: {one_line(str(error))}\nhint: {one_line(hint_for(error))}")
    return 2


def hint_for(error: Exception) -> str:
    """What to do about an error."""
    if isinstance(error, LLMNotConfigured):
        return "set OPENAI_API_KEY, OPENAI_MODEL and perhaps OPENAI_BASE_URL, or give a --script"
    if isinstance(error, NotFound) and error.kind in ("workspace", "user"):
        return "--init makes the workspace and an admin; --demo fills it with a shop to try"
    if isinstance(error, NotFound | AlreadyDecided) and error.kind in LISTED:
        return f"python -m core {LISTED[error.kind]}"
    if isinstance(error, ApprovalExpired):
        return "python -m core approvals"
    if isinstance(error, AmbiguousName):
        return "python -m core agents"
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


def _report(result: ExecutionResult, out: Screen, err: Screen) -> int:
    if result["status"] is ExecutionStatus.SUCCESS:
        out.show(result["final_output"] or "")
        return 0
    err.show(f"{result['status']}: {result.get('failure_reason', '')}")
    return 1
