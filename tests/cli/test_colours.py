"""Signs and warnings are in colour on a terminal, and nowhere else."""

from __future__ import annotations

import os
import pty
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest

ESCAPE = "\x1b["


def on_a_terminal(project, *arguments, **variables):
    """What a command writes to a terminal, and its exit status."""
    ours, theirs = pty.openpty()
    names = ("NO_COLOR", "FORCE_COLOR", "CI")
    inherited = {name: value for name, value in os.environ.items() if name not in names}
    with subprocess.Popen(
        [sys.executable, "-m", "alembic_snapshot", *arguments],
        cwd=project.root,
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
        env={**inherited, "TERM": "xterm", **variables},
    ) as process:
        os.close(theirs)
        written = b""
        # The end of a terminal is an error on Linux, and nothing on macOS.
        try:
            while content := os.read(ours, 65536):
                written += content
        except OSError:
            pass
        os.close(ours)
        status = process.wait(60)
    return written.decode().replace("\r\n", "\n"), status


@pytest.fixture
def changed(project):
    """A project, and a clone of its snapshot in which a row was added, changed and removed."""
    project.revision(
        "0001",
        upgrade="op.execute('create table t (id integer primary key, name text)')\n"
        "op.execute(\"insert into t values (1, 'a'), (2, 'b')\")",
    )
    project.ensure().clone(project.root / "mine.db")
    with closing(sqlite3.connect(project.root / "mine.db")) as connection:
        connection.executescript(
            "delete from t where id = 1; update t set name = 'c' where id = 2;"
            "insert into t values (3, 'd')"
        )
    return project


def test_what_was_added_removed_and_changed(changed):
    shown, status = on_a_terminal(changed, "diff", "mine.db")

    assert status == 1
    for sign, colour in (("+", 32), ("-", 31), ("~", 33)):
        assert f"{ESCAPE}{colour}m{sign}{ESCAPE}0m " in shown


def test_warnings_and_errors(project):
    project.history(1)

    built, _ = on_a_terminal(project, "build")
    wrong, status = on_a_terminal(project, "build", "--layer", "nowhere")

    assert f"{ESCAPE}33mwarning:{ESCAPE}0m " in built
    assert status == 2
    assert f"{ESCAPE}31merror:{ESCAPE}0m " in wrong


def test_findings(project):
    project.history(1)
    project.ensure()

    shown, _ = on_a_terminal(project, "doctor")

    assert f"{ESCAPE}32m✓{ESCAPE}0m Python" in shown


@pytest.mark.parametrize("variables", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_none_where_they_are_not_wanted(changed, variables):
    shown, _ = on_a_terminal(changed, "diff", "mine.db", **variables)
    wrong, _ = on_a_terminal(changed, "build", "--layer", "nowhere", **variables)

    assert "  + id=3" in shown
    assert "error: " in wrong
    assert ESCAPE not in shown + wrong


@pytest.mark.parametrize("variables", [{}, {"TERM": "xterm-256color", "FORCE_COLOR": ""}])
def test_none_where_there_is_no_terminal(changed, variables):
    done = changed.command("diff", "mine.db", variables=variables)
    wrong = changed.command("build", "--layer", "nowhere", variables=variables)

    assert "  + id=3" in done.stdout
    assert ESCAPE not in done.stdout + done.stderr + wrong.stdout + wrong.stderr
