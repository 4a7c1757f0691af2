"""`python -m core "cancel the overdue subscriptions"`: the agent on the command line.

Exit status: 0 the run succeeded, 1 it did not, 2 it could not begin or lost its database, 130 it
was interrupted.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn


def parser() -> argparse.ArgumentParser:
    """The command line's arguments."""
    made = _Parser(prog="python -m core", description="Give Atom a task.")
    made.add_argument("request", nargs="?", help="what to do, in words")
    made.add_argument("--database", metavar="URL", help="default: $DATABASE_URL")
    made.add_argument("--workspace", metavar="ID", default="default", help="default: default")
    made.add_argument(
        "--user", metavar="EMAIL", default="operator@localhost", help="who asks, and approves"
    )
    made.add_argument(
        "--script", metavar="FILE", type=Path, help="the model's replies, lines of --- between them"
    )
    made.add_argument(
        "--init", action="store_true", help="make the workspace, with the user as its admin"
    )
    made.add_argument(
        "--demo", action="store_true", help="--init, a shop with overdue subscriptions in it too"
    )
    return made


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {message}\nhint: {self.prog} --help\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    arguments = parser().parse_args(argv)
    if arguments.database:
        # core.database reads it when it is imported, which is below.
        os.environ["DATABASE_URL"] = arguments.database
    from core.errors import AtomError, DatabaseURLUnusable

    try:
        from core import terminal
    except DatabaseURLUnusable as error:
        return _cannot_begin(error, error.hint)
    try:
        return terminal.run(arguments)
    except (AtomError, OSError) as error:
        return _cannot_begin(error, terminal.hint_for(error))
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def _cannot_begin(error: Exception, hint: str) -> int:
    print(f"error: {error}\nhint: {hint}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
