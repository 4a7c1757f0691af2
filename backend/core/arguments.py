"""The command line's arguments: a request, or one of the commands for people."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from core.maturity import LADDER, AgentStatus
from core.screen import one_line

OPERATOR = "operator@localhost"

COMMANDS = {
    "approvals": "list what agents wait for, the most urgent first",
    "decide": "approve or reject what one of them waits for",
    "agents": "list the agents, and how much they are trusted",
    "promote": "set the floor under an agent's status",
    "feedback": "list, give, accept or reject corrections",
}
EPILOG = f"""\
commands, each with a --help of its own:
{chr(10).join(f"  {name:11} {about}" for name, about in COMMANDS.items())}

A request of one such word comes after --."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {one_line(message)}\nhint: {self.prog} --help\n")


def _given(text: str) -> str:
    """The text of an option that chooses: nothing chooses nothing, and is no default either."""
    if not text.strip():
        raise argparse.ArgumentTypeError("it is empty")
    return text


def _given_path(text: str) -> Path:
    return Path(_given(text))


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Read the arguments; `command` is the name of a command, or `None` for a request."""
    # What follows -- is no option, and what becomes of -- itself depends on Python's version.
    options = list(argv[: argv.index("--")] if "--" in argv else argv)
    shared, rest = _shared().parse_known_args(options)
    rest += argv[len(options) :]
    for each in (shared.workspace, shared.user, *rest):
        if not each.isprintable() and any("\ud800" <= letter <= "\udfff" for letter in each):
            _shared().error(f"{each.encode(errors='surrogateescape')!r} is not UTF-8")
    if rest and rest[0] in COMMANDS:
        return _commands().parse_args(rest, shared)
    return _request().parse_args(rest, shared)


def _shared(*, again: bool = False) -> _Parser:
    """The options of all commands; read `again`, they keep what they were read as."""
    made = _Parser(prog="python -m core", add_help=False, allow_abbrev=False)

    def add(option: str, metavar: str, default: str | None, about: str) -> None:
        kept = argparse.SUPPRESS if again else default
        made.add_argument(option, metavar=metavar, type=_given, default=kept, help=about)

    add("--database", "URL", None, "default: $DATABASE_URL")
    add("--workspace", "ID", "default", "default: default")
    add(
        "--user",
        "EMAIL",
        "operator@localhost",
        "who asks, and decides; default: operator@localhost",
    )
    return made


def _request() -> _Parser:
    made = _Parser(
        prog="python -m core",
        description="Give Atom a task.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[_shared(again=True)],
    )
    made.set_defaults(command=None)
    made.add_argument("request", nargs="?", help="what to do, in words")
    made.add_argument(
        "--script",
        metavar="FILE",
        type=_given_path,
        help="the model's replies, lines of --- between them",
    )
    made.add_argument(
        "--wait", action="store_true", help="leave approvals to `decide`, and wait for it"
    )
    made.add_argument(
        "--init", action="store_true", help="make the workspace, with the user as its admin"
    )
    made.add_argument(
        "--demo", action="store_true", help="--init, a shop with overdue subscriptions in it too"
    )
    return made


def _commands() -> _Parser:
    made = _Parser(prog="python -m core", add_help=False)
    commands = made.add_subparsers(dest="command")

    def add(name: str) -> _Parser:
        about = f"{COMMANDS[name].capitalize()}."
        return commands.add_parser(name, description=about, parents=[_shared(again=True)])

    add("approvals")
    decide = add("decide")
    decide.add_argument("request", metavar="ID", help="as `approvals` lists it")
    decide.add_argument("verdict", choices=["approve", "reject"])
    agents = add("agents")
    agents.add_argument("--category", type=_given)
    agents.add_argument("--status", choices=[each.value for each in AgentStatus])
    promote = add("promote")
    promote.add_argument("agent", metavar="AGENT", help="its id or name")
    promote.add_argument("status", choices=[each.value for each in LADDER])
    _add_feedback(add("feedback"))
    return made


def _add_feedback(feedback: _Parser) -> None:
    feedback.set_defaults(deed=None)
    deeds = feedback.add_subparsers(dest="deed", metavar="give | accept | reject")
    give = deeds.add_parser("give", description="Correct something that an agent said.")
    give.add_argument("agent", metavar="AGENT", help="its id or name")
    give.add_argument("--said", metavar="TEXT", required=True, help="what the agent said")
    give.add_argument("--correction", metavar="TEXT", required=True, help="what is right")
    give.add_argument("--rating", metavar="N", type=int, help="1 to 5")
    for deed in ("accept", "reject"):
        review = deeds.add_parser(deed, description=f"{deed.title()} a correction.")
        review.add_argument("feedback", metavar="ID", help="as `feedback` lists it")
