"""A forked child knows whether the turn in which it was forked is over; its parent tells it."""

from __future__ import annotations

import multiprocessing

import pytest

from alembic_snapshot.engines.turns import Turns

FORK = multiprocessing.get_context("fork")


class Child:
    """A process that is forked now, and answers whether its turn is over, until it is ended."""

    def __init__(self, turns):
        self._end, end = FORK.Pipe()
        self._process = FORK.Process(target=_serve, args=(turns, end), daemon=False)
        self._process.start()

    def ask(self, *questions):
        answers = []
        for question in questions:
            self._end.send(question)
            answers.append(self._end.recv())
        return answers

    def close(self):
        self._end.send(None)
        self._process.join()


def _serve(turns, end):
    children = []
    while (question := end.recv()) is not None:
        if question == "end":
            turns.end()
        if question == "fork":
            children.append(Child(turns))
        asked = question.startswith("child: ")
        end.send(children[-1].ask(question[7:])[0] if asked else turns.is_over)
    for child in children:
        child.close()


@pytest.fixture
def turns():
    return Turns()


@pytest.fixture
def fork(turns):
    children = []

    def forked():
        children.append(Child(turns))
        return children[-1]

    yield forked
    for child in reversed(children):
        child.close()


def test_a_process_is_never_behind_itself(turns):
    before = turns.is_over
    turns.end()

    assert (before, turns.is_over) == (False, False)


@pytest.mark.parametrize("earlier", [0, 1, 255, 256])
def test_a_child_is_behind_when_its_turn_is_over(turns, fork, earlier):
    for _ in range(earlier):
        turns.end()
    child = fork()
    during = child.ask("is it over?")
    turns.end()
    over = child.ask("is it over?")
    turns.end()

    assert (during, over, child.ask("is it over?")) == ([False], [True], [True])


def test_children_of_two_turns_are_told_apart(turns, fork):
    first = fork()
    turns.end()
    second = fork()

    assert (first.ask("is it over?"), second.ask("is it over?")) == ([True], [False])


def test_what_a_child_ends_is_its_own(turns, fork):
    child = fork()
    other = fork()

    assert child.ask("end", "end") == [False, False]
    assert (turns.is_over, other.ask("is it over?")) == (False, [False])
    turns.end()

    assert (child.ask("is it over?"), other.ask("is it over?")) == ([False], [True])


def test_a_grandchild_is_behind_with_its_parent_and_with_its_grandparent(turns, fork):
    child, own = fork(), fork()
    child.ask("fork")
    own.ask("end", "fork")

    turns.end()

    assert child.ask("is it over?", "child: is it over?") == [True, True]
    assert own.ask("is it over?", "child: is it over?") == [False, False]
    assert own.ask("end", "child: is it over?") == [False, True]


def test_one_that_was_forked_in_a_turn_that_is_over_stays_behind(turns, fork):
    child = fork()
    turns.end()

    assert child.ask("fork", "child: is it over?") == [True, True]
