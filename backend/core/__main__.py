"""`python -m core "cancel the overdue subscriptions"`: the agent on the command line.

Exit status: 0 it was done, 1 the run did not succeed, 2 it could not begin, was refused or lost its
database, 130 it was interrupted (by Ctrl-C, SIGTERM or SIGHUP), 141 the reader of its output went
away.
"""

import os
import sys
from collections.abc import Sequence

from core.arguments import parse
from core.screen import Screen, one_line


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    out, err = Screen(sys.stdout), Screen(sys.stderr)
    arguments = parse(sys.argv[1:] if argv is None else argv)
    if arguments.database is not None and "core.database" not in sys.modules:
        # core.database reads it when it is imported, which is below.
        os.environ["DATABASE_URL"] = arguments.database
    from core.errors import AtomError, DatabaseURLUnusable

    try:
        from core import terminal
    except DatabaseURLUnusable as error:
        err.show(f"error: {one_line(str(error))}\nhint: {error.hint}")
        return 2
    try:
        return terminal.run(arguments, out, err)
    except (AtomError, OSError) as error:
        return terminal.refuse(err, error)
    except KeyboardInterrupt:
        err.show("interrupted")
        return 130


if __name__ == "__main__":
    sys.exit(main())
