"""The process that talks to a shared store, as its parent sees it: asked, late, ended."""

from __future__ import annotations

import subprocess
import sys

import pytest

from alembic_snapshot.remote.process import Failed, Missing, RemoteProcess
from alembic_snapshot.remote.settings import RemoteSettings

ENDED = "the process that talks to it has ended"
ECHO = "import sys\nfor line in sys.stdin: print(line, end='', flush=True)"


@pytest.fixture
def process():
    made = RemoteProcess(RemoteSettings("memory:///"))
    yield made
    made.close()


@pytest.fixture
def of(process):
    """The same with a program in the place of the one that talks to a store."""

    def of(program):
        process._process = subprocess.Popen(
            [sys.executable, "-S", "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        return process

    return of


def failure(process, seconds=60.0):
    with pytest.raises(Failed) as caught:
        process.ask("look", seconds)
    return str(caught.value)


def test_it_is_started_asked_and_ended(process):
    assert process.begin() == "unsigned"
    assert process.ask("look", 60.0, digests=["0" * 64], scopes=["main"]) == {
        "records": [],
        "rejected": [],
    }
    assert failure(process) != ENDED
    started = process._process

    process.close()

    assert started.returncode == -9
    assert started.stdin.closed
    assert started.stdout.closed
    process.close()
    assert failure(process) == ENDED


def test_it_is_asked_for_who_signs_once(process):
    process.start()
    started = process._process

    assert process.begin() == "unsigned"
    assert process._process is started


def test_a_question_is_one_line_of_json(of):
    answer = of(ECHO).ask("look", 60.0, digests=["é\n"])

    assert answer == {"do": "look", "digests": ["é\n"]}


def test_answers_may_come_in_parts_or_together(of):
    process = of(
        "import sys, time; w = sys.stdout.write; f = sys.stdout.flush\n"
        'w(\'{"a"\'); f(); sys.stdin.readline(); w(\': 1}\\n{"b": 2}\\n{"c": "\'); f()\n'
        "w('x' * 200000 + '\"}\\n'); f(); sys.stdin.read()"
    )

    assert process.ask("look", 60.0) == {"a": 1}
    assert process.ask("look", 60.0) == {"b": 2}
    assert process.ask("look", 60.0) == {"c": "x" * 200000}


@pytest.mark.parametrize(
    "program",
    [
        "",
        "print('no JSON', flush=True); input()",
        "print('{\"begun\"', end='', flush=True)",
        "import os; os.close(1); input()",
    ],
)
def test_one_that_ends_or_says_something_else_has_ended(of, program):
    process = of(program)
    started = process._process

    assert failure(process) == ENDED
    assert started.returncode is not None


def test_one_that_is_late_is_ended_and_it_is_said(of):
    process = of("input(); input()")
    started = process._process

    assert failure(process, 0.2) == "no answer within 0 s"

    assert started.returncode == -9
    assert failure(process) == ENDED


SAID = """
print('{"error": "it refused"}', flush=True)
print('{"missing": "obstore"}', flush=True)
input(); input(); input()
"""


def test_what_the_store_refuses_and_what_is_missing_is_said(of):
    process = of(SAID)

    assert failure(process) == "it refused"
    with pytest.raises(Missing, match=r"^obstore$"):
        process.ask("look", 60.0)
    assert process._process is not None


def test_one_that_can_not_be_started_is_said(process, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/nowhere/python")

    with pytest.raises(Failed) as caught:
        process.begin()

    assert str(caught.value) == "can't start a process: No such file or directory"
