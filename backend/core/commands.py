"""What people decide from a terminal, by the service's own rules."""

import argparse
from collections.abc import Callable
from datetime import datetime

from core import database
from core.agent_governance_service import AgentGovernanceService
from core.maturity import AgentStatus
from core.models import AgentRegistry, FeedbackStatus, HITLAction
from core.operators import find_user, require_workspace
from core.screen import Screen, block, one_line
from core.steps import compact

Command = Callable[[argparse.Namespace, Screen], None]


def approvals(arguments: argparse.Namespace, out: Screen) -> None:
    """List what agents wait for."""
    with database.SessionLocal() as db:
        waiting = AgentGovernanceService(db, arguments.workspace).pending_approvals()
        for each in waiting:
            out.show(_request(each, db.get_one(AgentRegistry, each.agent_id)))
    if not waiting:
        out.show("no agent waits for an approval")


def decide(arguments: argparse.Namespace, out: Screen) -> None:
    """Approve or reject a request."""
    reviewer = find_user(arguments.workspace, arguments.user)
    with database.SessionLocal.begin() as db:
        view = AgentGovernanceService(db, arguments.workspace).decide(
            arguments.request, arguments.verdict == "approve", reviewer.id
        )
    out.show(f"{view['status']}: {one_line(view['action_id'])}")


def agents(arguments: argparse.Namespace, out: Screen) -> None:
    """List the agents."""
    status = arguments.status and AgentStatus(arguments.status)
    with database.SessionLocal() as db:
        service = AgentGovernanceService(db, arguments.workspace)
        listed = service.list_agents(arguments.category, status)
        rows = [_agent(each) for each in listed]
    if not rows:
        out.show("there is no such agent" if arguments.category or status else "there is no agent")
        return
    table = [("NAME", "STATUS", "SCORE", "FLOOR", "CATEGORY", "ID"), *rows]
    widths = [max(len(cell) for cell in column) for column in zip(*table, strict=True)]
    for row in table:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        out.show("  ".join(cells).rstrip())


def promote(arguments: argparse.Namespace, out: Screen) -> None:
    """Set the floor under an agent's status."""
    admin = find_user(arguments.workspace, arguments.user)
    with database.SessionLocal.begin() as db:
        service = AgentGovernanceService(db, arguments.workspace)
        agent = service.promote(arguments.agent, AgentStatus(arguments.status), admin.id)
        said = f"{one_line(agent.name)} is {agent.status}, and never less than {arguments.status}"
    out.show(said)


def feedback(arguments: argparse.Namespace, out: Screen) -> None:
    """List corrections, give one, or review one."""
    if arguments.deed is None:
        _list_feedback(arguments, out)
        return
    user = find_user(arguments.workspace, arguments.user)
    with database.SessionLocal.begin() as db:
        service = AgentGovernanceService(db, arguments.workspace)
        if arguments.deed == "give":
            given = service.submit_feedback(
                arguments.agent,
                user.id,
                arguments.said,
                arguments.correction,
                arguments.rating,
            )
        else:
            accepted = arguments.deed == "accept"
            given = service.review_feedback(arguments.feedback, accepted, user.id)
        key, status = given.id, given.status
    waits = ": it waits for a review" if status is FeedbackStatus.PENDING else ""
    out.show(f"{status}: {key}{waits}")


def _list_feedback(arguments: argparse.Namespace, out: Screen) -> None:
    with database.SessionLocal() as db:
        waiting = AgentGovernanceService(db, arguments.workspace).pending_feedback()
        for each in waiting:
            agent = db.get_one(AgentRegistry, each.agent_id)
            rating = "" if each.rating is None else f", rated {each.rating} of 5"
            out.show(f"{each.id}  {_minute(each.created_at)}")
            out.show(f"  {one_line(agent.name)} said{rating}: {block(each.original_output, '  ')}")
            out.show(f"  right is: {block(each.user_correction, '  ')}")
    if not waiting:
        out.show("no correction waits for a review")


COMMANDS: dict[str, Command] = {
    "approvals": approvals,
    "decide": decide,
    "agents": agents,
    "promote": promote,
    "feedback": feedback,
}


def run(arguments: argparse.Namespace, out: Screen) -> None:
    """Do what a command says, in a workspace that is there."""
    require_workspace(arguments.workspace)
    COMMANDS[arguments.command](arguments, out)


def _request(action: HITLAction, agent: AgentRegistry) -> str:
    lines = [
        f"{action.id}  until {_minute(action.expires_at)}",
        f"  {one_line(agent.name)} wants to {one_line(action.action_type)} "
        f"{one_line(compact(action.params))}",
        f"  because: {block(action.thought or action.reason, '  ')}",
    ]
    return "\n".join(lines)


def _agent(agent: AgentRegistry) -> tuple[str, ...]:
    score = "-" if agent.confidence_score is None else str(agent.confidence_score)
    floor = agent.status_floor or "-"
    about = (agent.name, agent.status, score, floor, agent.category, agent.id)
    return tuple(one_line(str(each)) for each in about)


def _minute(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"
