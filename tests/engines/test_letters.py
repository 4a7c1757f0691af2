"""What a forked child says reaches its parent, once, whatever becomes of the child."""

from __future__ import annotations

import os

import pytest

from alembic_snapshot.engines.letters import Letters


@pytest.fixture
def letters():
    return Letters()


def in_a_child(work):
    child = os.fork()
    if child == 0:
        try:
            os._exit(0 if work() is None else 1)
        finally:
            os._exit(2)
    assert os.waitpid(child, 0)[1] == 0


def test_a_text_is_read_once(letters):
    in_a_child(lambda: letters.write("größer"))

    assert letters.read() == ["größer"]
    assert letters.read() == []
    in_a_child(lambda: letters.write("later"))
    assert letters.read() == ["later"]


def test_the_newest_of_a_child_is_there(letters):
    def work():
        letters.write("a long one before")
        letters.write("short")

    in_a_child(work)

    assert letters.read() == ["short"]


def test_those_of_several_children_are_told_apart(letters):
    children = []
    for text in ("a", "b", "c"):
        child = os.fork()
        if child == 0:
            letters.write(text)
            os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)

    # Numbers of processes may be sixty-four apart; they follow each other here.
    places = {child % 64 for child in children}
    assert len(letters.read()) == len(places)


def test_a_grandchilds_is_read_too(letters):
    in_a_child(lambda: in_a_child(lambda: letters.write("from afar")))

    assert letters.read() == ["from afar"]


@pytest.mark.parametrize("text", ["x" * 3000, "ü" * 3000, "x" + "ü" * 3000], ids=["x", "ü", "xü"])
def test_what_is_too_long_is_cut_between_characters(letters, text):
    in_a_child(lambda: letters.write(text))

    [found] = letters.read()
    assert text.startswith(found)
    assert 500 < len(found) <= 1022


def test_what_no_encoding_has_is_replaced(letters):
    in_a_child(lambda: letters.write("a\udc80b"))

    assert letters.read() == ["a?b"]


def test_a_process_writes_none_to_itself(letters):
    letters.write("mine")

    assert letters.read() == []


def test_a_child_does_not_take_what_is_its_parents(letters):
    def work():
        letters.write("mine")
        return letters.read() or None

    in_a_child(work)

    assert letters.read() == ["mine"]


def test_a_process_in_which_a_test_runs_writes_none_and_its_own_children_do(letters):
    def work():
        letters.begin()
        letters.write("the report of the test tells it")
        in_a_child(lambda: letters.write("a child's"))

    in_a_child(work)

    assert letters.read() == ["a child's"]
