"""Which ways to hand over the target are tried, and whose error is told."""

from __future__ import annotations

from dataclasses import replace

import pytest

from alembic_snapshot import BuildError
from alembic_snapshot.build.handovers import Handovers
from alembic_snapshot.build.process import AttemptFailed, Child
from alembic_snapshot.build.stairway import run_stairway
from tests.failures import FACTS, FAILED

NOTHING = replace(FACTS, configured=False, is_heard=False)
SPEAKS = replace(FAILED, facts=NOTHING, speaks_async=True)
LACKS = replace(SPEAKS, facts=replace(NOTHING, async_lacks=["aiosqlite"]))
SILENT = replace(SPEAKS, speaks_async=False)
WANTS = replace(SPEAKS, wants_async=True)
RAN = replace(SPEAKS, facts=replace(NOTHING, planned=1))
ASKS = replace(SILENT, facts=replace(NOTHING, asks_command_line=True))
LACKS_AND_WANTS = replace(LACKS, wants_async=True)


def failed(message, failure, *, final=False):
    """A failure of a builder that said this of it."""
    child = Child(lambda _event: None, {})
    child.failed = failure
    return AttemptFailed(BuildError(message), final=final, child=child)


def go_through(failures, first=None):
    """The ways that are tried while each fails as it is said, and the message that is told."""
    ways, tried = Handovers(first), []
    for way in ways:
        tried.append(way)
        message, failure, *final = failures[way]
        ways.failed(way, failed(message, failure, final=bool(final)))
    return tried, ways.error().message


DIFFERENT = {way: (f"error of {way}", SPEAKS) for way in ("url", "connection", "engine", "async")}


def differing(**ways):
    return {**DIFFERENT, **ways}


@pytest.mark.parametrize(
    ("failures", "tried", "told"),
    [
        (DIFFERENT, "url connection engine async", "error of url"),
        (differing(connection=("error of url", SPEAKS)), "url connection async", "error of url"),
        (differing(connection=("error of url", SILENT)), "url connection", "error of url"),
        (differing(url=("a", LACKS)), "url connection engine", "a"),
        (
            differing(url=("at 0x1f", SILENT), connection=("at 0x2e", SILENT)),
            "url connection",
            "at 0x1f",
        ),
        (differing(url=("a", WANTS)), "url async connection engine", "error of async"),
        (differing(url=("a", LACKS_AND_WANTS)), "url connection engine", "a"),
        (differing(engine=("b", RAN)), "url connection engine async", "b"),
        (differing(connection=("b", RAN, "final")), "url connection", "b"),
        (differing(connection=("no module", SPEAKS, "final")), "url connection", "error of url"),
        (differing(url=("no module", SPEAKS, "final")), "url", "no module"),
        (
            dict.fromkeys(["url", "connection", "api"], ("only by command", ASKS)),
            "url connection api",
            "only by command",
        ),
    ],
)
def test_the_first_error_is_told_unless_a_later_way_is_plainly_right(failures, tried, told):
    assert go_through(failures) == (tried.split(), told)


def test_what_worked_last_is_tried_first():
    assert go_through(DIFFERENT, "engine") == (
        ["engine", "url", "connection", "async"],
        "error of engine",
    )


def test_an_async_way_that_worked_when_its_driver_was_there_is_no_way_any_more():
    failures = differing(**{"async": ("No module named 'aiosqlite'", LACKS, "final")})
    failures["url"] = ("an async driver is required", LACKS_AND_WANTS)

    tried, told = go_through(failures, "async")

    assert tried == ["async", "url", "connection", "engine"]
    assert told == "an async driver is required"


def test_what_was_tried_is_in_the_details():
    ways = Handovers(None)
    for way, _ in zip(ways, range(2), strict=False):
        ways.failed(way, failed(f"error of {way}", SPEAKS))

    details = ways.error().details

    assert details.endswith(
        "  offered as url: error of url\n  offered as connection: error of connection"
    )


BY_API = """
    from alembic import context
    from sqlalchemy import create_engine

    config = context.config
    if config.cmd_opts:
        {otherwise}
    else:
        connection = config.attributes["connection"]
        context.configure(connection=connection, target_metadata=None)
        with context.begin_transaction():
            context.run_migrations()
"""


@pytest.mark.parametrize("otherwise", ["raise SystemExit('only by commands of our own')", "pass"])
def test_an_env_py_that_runs_only_without_a_command_line(project, otherwise):
    project.write("migrations/env.py", BY_API.format(otherwise=otherwise))
    project.history(2)

    snapshot = project.ensure()

    assert snapshot.manifest.handover == "api"
    assert snapshot.manifest.heads == ("0002",)
    assert run_stairway(project.load(), snapshot=snapshot).tried == 2
