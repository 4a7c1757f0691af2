"""`alembic-snapshot build` whose builder hears nothing of what is read: ``python deaf_build.py``.

Only to measure what hearing costs; what such a build finds out is not enough for a snapshot.
"""

from __future__ import annotations

import subprocess
import sys
from typing import Any

_MODULE = ["-m", "alembic_snapshot.builder"]
_DEAF = """\
import runpy
from alembic_snapshot.builder.watch import Watch
Watch.install = lambda watch: watch._registries.listen()
runpy.run_module("alembic_snapshot.builder", run_name="__main__", alter_sys=True)
"""


class _Popen(subprocess.Popen):  # type: ignore[type-arg]
    def __init__(self, command: list[str], *arguments: Any, **options: Any):
        for at in range(len(command) - 1):
            if command[at : at + 2] == _MODULE:
                command = [*command[:at], "-c", _DEAF, *command[at + 2 :]]
        super().__init__(command, *arguments, **options)


if __name__ == "__main__":
    subprocess.Popen = _Popen  # type: ignore[misc,assignment]
    from alembic_snapshot.cli.commands import main

    sys.argv[0] = "alembic-snapshot"
    main()
