"""What a build, a hit and a clone cost in a project's own environment, and what the caller keeps.

Prints facts as JSON; the times are only ever compared with each other.
"""

import json
import logging
import os
import statistics
import sys
import time
from pathlib import Path


def timed(function, repeats=1):
    """The median duration of a call, and what the last one returned."""
    durations = []
    for _ in range(repeats):
        started = time.perf_counter()
        result = function()
        durations.append(time.perf_counter() - started)
    return statistics.median(durations), result


def state():
    """What a library that runs migrations in its caller's process would change."""
    manager = logging.root.manager.loggerDict
    loggers = [item for item in manager.values() if isinstance(item, logging.Logger)]
    return {
        "disabled loggers": [logger.name for logger in loggers if logger.disabled],
        "root logger": [logging.root.level, [str(handler) for handler in logging.root.handlers]],
        "environment": dict(os.environ),
        "sys.path": list(sys.path),
        "working directory": os.getcwd(),
        "alembic imported": "alembic" in sys.modules,
    }


def main(folder):
    logging.getLogger("of.the.caller").warning("before")
    from alembic_snapshot import ensure, load_project

    databases = sys.argv[2:]
    facts = {}
    for database in databases:
        project = load_project(database=database, store=Path(folder) / "store")
        before = state()
        build, snapshot = timed(lambda project=project: ensure(project))
        hit, again = timed(lambda project=project: ensure(project), 9)
        numbers = iter(range(1000))
        clone, _ = timed(
            lambda snapshot=snapshot, database=database, numbers=numbers: (
                snapshot.clone(Path(folder) / f"{database}{next(numbers)}.db").path
            ),
            29,
        )
        after = state()
        facts[database] = {
            "seconds": {"build": build, "hit": hit, "clone": clone},
            "hit": snapshot.built and not again.built,
            "revisions": len(snapshot.manifest.revisions),
            "tables": snapshot.manifest.tables,
            "bytes": snapshot.manifest.size,
            "changed": [name for name in before if before[name] != after[name]],
        }
    print(json.dumps(facts))


main(sys.argv[1])
