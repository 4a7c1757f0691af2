"""How a builder may end, and what its parent makes of each end."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import sys

import pytest

from alembic_snapshot import GuardError
from alembic_snapshot.build.process import AttemptFailed, BuilderProcess
from alembic_snapshot.builder.protocol import Checks, Done
from alembic_snapshot.sqlite.database import DatabaseFile
from alembic_snapshot.sqlite.store import FileStore
from tests.failures import FACTS, FAILED

DONE = Done(FACTS, Checks(drift=["x"], unchecked={}))
# Takes its orders, prints its home, tells its events and ends.
BUILDER = """#!/bin/sh
read -r orders < /dev/fd/$5
printf '%s' "$HOME $PYTHONIOENCODING $SHOP"
cat {events} > /dev/fd/$4
exit {status}
"""


@pytest.fixture
def run(project, tmp_path, monkeypatch, real_starts):
    """Runs a builder that tells these events; the child, and what its listener heard."""
    project.history(1)

    def ran(*events, status=0):
        lines = (
            json.dumps({"event": kind, **(what if isinstance(what, dict) else vars_of(what))})
            for kind, what in events
        )
        (tmp_path / "events").write_text("".join(f"{line}\n" for line in lines))
        script = tmp_path / "builder"
        script.write_text(BUILDER.format(events=tmp_path / "events", status=status))
        script.chmod(0o700)
        heard = []
        loaded = project.load()
        process = BuilderProcess(loaded, project.chain(), FileStore(loaded.store), heard.append)
        job = process.job(DatabaseFile(tmp_path / "a.db"), [], "url", check=True)
        with monkeypatch.context() as patch:
            patch.setattr(sys, "executable", str(script))
            return process.run(tmp_path, job), heard, process

    return ran


def vars_of(report):
    return dataclasses.asdict(report)


@pytest.mark.parametrize(
    ("changes", "is_final"),
    [
        ({}, False),
        ({"who": "revision 0001"}, True),
        ({"is_import": True}, True),
        ({"hint": "so"}, True),
        ({"text": os.strerror(errno.ENOSPC)}, True),
    ],
)
def test_only_what_env_py_itself_raised_may_be_mended_by_another_handover(run, changes, is_final):
    with pytest.raises(AttemptFailed) as raised:
        run(("failed", dataclasses.replace(FAILED, **changes)), status=1)

    assert raised.value.final is is_final
    assert raised.value.child.failed == dataclasses.replace(FAILED, **changes)
    assert "Output:\n" in raised.value.error.details


def test_one_that_says_nothing_is_told_with_its_status_and_its_output(run):
    with pytest.raises(AttemptFailed) as raised:
        run(status=7)

    assert raised.value.error.message == "the builder ended with status 7 before it was done"
    assert raised.value.error.hint == (
        "its output is in the details; was it killed, or did a migration exit?"
    )
    assert raised.value.error.details.endswith(" utf-8 ")
    assert raised.value.final
    assert raised.value.child is None


def test_one_that_ended_in_the_checks_is_done_without_them(run):
    child, _, _ = run(("reached", DONE), status=7)

    impossible = Checks.impossible("the builder ended with status 7")
    assert child.end == dataclasses.replace(DONE, checks=impossible)


def test_one_that_is_done_has_its_checks(run):
    child, _, _ = run(("reached", DONE), ("done", DONE))

    assert child.end == DONE
    assert child.status == 0


def test_one_that_refused_something_is_an_error_that_another_handover_may_mend(run):
    done = dataclasses.replace(DONE, facts=dataclasses.replace(FACTS, refused=["a"]))

    with pytest.raises(AttemptFailed) as raised:
        run(("done", done))

    assert type(raised.value.error) is GuardError
    assert raised.value.error.message == "a: only the snapshot may be opened"
    assert not raised.value.final
    assert raised.value.child.end == done


def test_its_states_and_times_are_kept_and_the_rest_is_for_the_listener(run):
    nothing = {"files": {}, "folders": {}, "stats": {}, "environment": []}
    state = {"direct": nothing, "through_env": nothing, "blind": ["x"], "by_owner": {}}

    child, heard, process = run(
        ("plan", {"revisions": ["0001"]}),
        ("state", {"index": 3, **state, "problems": None}),
        ("applied", {"revision": "0001", "seconds": 2.5}),
        ("done", DONE),
    )

    assert list(child.states) == [3]
    assert child.states[3].blind == ["x"]
    assert process.timings == {"0001": 2.5}
    assert heard == [
        {"event": "plan", "revisions": ["0001"]},
        {"event": "applied", "revision": "0001", "seconds": 2.5},
    ]


@pytest.mark.parametrize("private", [True, False])
def test_its_home_is_its_own_only_where_the_project_says_so(
    run, project, tmp_path, monkeypatch, private
):
    monkeypatch.setenv("HOME", "/home/ada")
    project.configure(f'private_home = {str(private).lower()}\nenvironment = {{ SHOP = "open" }}')

    run(("done", DONE))
    child, _, _ = run(("done", DONE))

    assert child.output == f"{tmp_path / 'home' if private else '/home/ada'} utf-8 open"
    assert (tmp_path / "home").is_dir() is private
