"""Which checkpoints a test asks for, which stands on which, and where its clone is lent."""

from __future__ import annotations

import contextlib
import types

import pytest

from alembic_snapshot.errors import CloneError, ConfigError
from alembic_snapshot.plugin.declared import (
    ATTRIBUTE,
    Declared,
    asked_by,
    beginning_of,
    lend_to_marked,
    parent_of,
    refusing_late,
)
from alembic_snapshot.plugin.marker import CloneOptions


class State:
    """A checkpoint that was made, on others."""

    def __init__(self, *below):
        self.below = below

    def checkpoints(self):
        yield self
        for one in self.below:
            yield from one.checkpoints()


def declared(name, current=None, *, database="default", autouse=False):
    return Declared(name, f"{name}.py line 3", database, CloneOptions(), autouse, current)


def definition(one=None, *argnames, scope="module"):
    """pytest's definition of a fixture, of a checkpoint if one is given."""
    function = types.SimpleNamespace(**({} if one is None else {ATTRIBUTE: one}))
    return types.SimpleNamespace(func=function, argnames=argnames, scope=scope)


class Fixture:
    """pytest's definition of a fixture, which has one value."""

    argnames = ()

    def __init__(self, one):
        self.func = types.SimpleNamespace(**{ATTRIBUTE: one})

    def execute(self, _request):
        return "plain"


class Item:
    """A test that asks for fixtures."""

    nodeid = "test_a.py::test_it"

    def __init__(self, names, definitions, *, is_marked=False):
        self.fixturenames = list(names)
        self._fixtureinfo = types.SimpleNamespace(name2fixturedefs=definitions)
        self.is_marked = is_marked

    def get_closest_marker(self, name):
        return object() if self.is_marked and name == "db_clone" else None


def item(names, **definitions):
    """A test; each name stands for its definitions, the last of which it gets."""
    return Item(
        names.split(),
        {
            name: found if isinstance(found, list) else [found]
            for name, found in definitions.items()
        },
    )


def error_of(kind, call, *arguments):
    with pytest.raises(kind) as caught:
        call(*arguments)
    return caught.value.message, caught.value.hint


def test_a_test_asks_for_what_its_fixtures_ask_for_too_and_once():
    ada, bob, eve = declared("ada"), declared("bob"), declared("eve")
    test = item(
        "plain ada unknown",
        plain=definition(None, "bob", "request"),
        ada=definition(ada, "bob"),
        bob=definition(bob),
        eve=definition(eve),
        empty=[],
    )

    assert asked_by(test) == [bob, ada]
    assert asked_by(types.SimpleNamespace()) == []
    assert asked_by(types.SimpleNamespace(fixturenames=["ada"])) == []


def test_one_that_asks_for_its_own_name_means_what_it_overrides():
    below, above, last = declared("below"), declared("above"), declared("last")
    definitions = [definition(below), definition(above, "ada"), definition(last, "ada")]

    assert asked_by(item("ada", ada=definitions)) == [last, above, below]
    assert asked_by(item("ada", ada=definitions[:2])) == [above, below]
    assert asked_by(item("ada", ada=[definition(below, "ada")])) == [below]


def test_a_clone_begins_from_the_one_that_stands_on_all_the_others():
    first = State()
    second = State(first)
    ada, bob = declared("ada", first), declared("bob", second)
    stock = declared("stock", State(), database="stock")
    test = item("ada bob stock", ada=definition(ada), bob=definition(bob), stock=definition(stock))

    assert beginning_of(test, "default") is second
    assert beginning_of(test, "stock") is stock.current
    assert beginning_of(test, "other") is None
    assert beginning_of(
        item("bob", bob=definition(bob, "ada"), ada=definition(ada)), "default"
    ) is (second)


def test_two_of_which_neither_stands_on_the_other_are_refused():
    zoe, ada = declared("zoe", State()), declared("ada", State())
    test = item("zoe ada", zoe=definition(zoe), ada=definition(ada))

    assert error_of(ConfigError, beginning_of, test, "default") == (
        "test_a.py::test_it asks for the checkpoints ada (ada.py line 3) and zoe (zoe.py line 3), "
        "of which neither stands on the other",
        "have one of their functions take the other as an argument",
    )


@pytest.mark.parametrize(
    ("others", "message"),
    [
        ("b", "a (a.py line 3) and b (b.py line 3), of which neither stands on the other"),
        (
            "b c",
            "a (a.py line 3), b (b.py line 3) and c (c.py line 3), of which none stands on another",
        ),
    ],
)
def test_those_are_named_on_which_no_other_stands(others, message):
    first = State()
    made = {"first": declared("first", first), "a": declared("a", State(first))}
    made |= {name: declared(name, State()) for name in others.split()}
    test = item(" ".join(made), **{name: definition(one) for name, one in made.items()})

    told = error_of(ConfigError, beginning_of, test, "default")[0]
    assert told == f"test_a.py::test_it asks for the checkpoints {message}"


def test_one_that_is_not_there_yet_is_refused():
    ada, bob = declared("ada", State()), declared("bob")
    test = item("ada bob", ada=definition(ada), bob=definition(bob))

    assert error_of(CloneError, beginning_of, test, "default") == (
        "the checkpoint bob (bob.py line 3) is not there yet, although test_a.py::test_it asks for "
        "it",
        "ask for it in a fixture of its scope or a wider one",
    )


def test_one_stands_on_what_it_asks_for_and_on_what_all_have():
    first = State()
    second = State(first)
    ada, bob = declared("ada", first), declared("bob")
    all_have = declared("all_have", second, autouse=True)
    not_yet = declared("not_yet", autouse=True)
    other = declared("other", State())
    stock = declared("stock", State(), database="stock", autouse=True)
    definitions = {
        "ada": definition(ada),
        "bob": definition(bob, "plain", "stock"),
        "plain": definition(None, "ada"),
        "all_have": definition(all_have),
        "not_yet": definition(not_yet),
        "other": definition(other),
        "stock": definition(stock),
    }

    assert parent_of(bob, item("bob other", **definitions)) is first
    assert parent_of(bob, item("all_have bob", **definitions)) is second
    assert parent_of(bob, item("not_yet bob", **definitions)) is first
    assert parent_of(ada, item("ada", **definitions)) is None
    assert parent_of(all_have, item("all_have ada", **definitions)) is None
    assert parent_of(stock, item("stock all_have", **definitions)) is None

    definitions["bob"] = definition(bob, "ada", "other")
    assert error_of(ConfigError, parent_of, bob, item("bob", **definitions))[0] == (
        "the checkpoint bob (bob.py line 3) asks for the checkpoints ada (ada.py line 3) and other "
        "(other.py line 3), of which neither stands on the other"
    )
    definitions["bob"] = definition(bob, "not_yet")
    assert error_of(CloneError, parent_of, bob, item("bob", **definitions))[0] == (
        "the checkpoint not_yet (not_yet.py line 3) is not there yet, although the checkpoint bob "
        "(bob.py line 3) asks for it"
    )


LATE = (
    "the checkpoint ada (ada.py line 3) was asked for while a test was under way",
    "make it an argument of the test or of a fixture, or name it in usefixtures; "
    "getfixturevalue() comes too late",
)


def test_one_that_a_test_does_not_ask_for_is_asked_for_late():
    ada = declared("ada")

    assert error_of(ConfigError, parent_of, ada, item("bob", ada=definition(ada))) == LATE


def test_while_it_is_there_who_asks_late_is_refused():
    ada = declared("ada", State())
    fixture = Fixture(ada)
    asks, does_not = (
        types.SimpleNamespace(_pyfuncitem=item(names, ada=fixture)) for names in ("ada", "")
    )

    with contextlib.suppress(KeyError), refusing_late(ada, fixture):
        assert fixture.execute(asks) == "plain"
        assert error_of(ConfigError, fixture.execute, does_not) == LATE
        raise KeyError

    assert fixture.execute(does_not) == "plain"


SHARED, OWN = definition(scope="module"), definition(scope="function")
ADA, STOCK = declared("ada"), declared("stock", database="stock")
LENT = {
    "no marker": ("shared own", False, "shared own"),
    "a marker": ("shared own more", True, "shared db_clone own more"),
    "its own clone already": ("shared own db_clone", True, "shared db_clone own"),
    "nothing of its own": ("shared", True, "shared db_clone"),
    "a checkpoint": ("shared ada own", False, "shared ada db_clone own"),
    "a checkpoint and a marker": ("ada own", True, "ada db_clone own"),
    "one of another database": ("stock own", False, "stock _db_begun own"),
    "both": ("own stock ada", False, "db_clone _db_begun own stock ada"),
    "both and a marker": ("stock ada own", True, "stock ada db_clone _db_begun own"),
    "a fixture that nobody defines": ("request own", True, "request db_clone own"),
}


@pytest.mark.parametrize(("names", "is_marked", "lent"), LENT.values(), ids=LENT)
def test_a_clone_is_lent_after_what_several_tests_share(names, is_marked, lent):
    definitions = {
        "shared": [SHARED],
        "own": [SHARED, OWN],
        "more": [OWN],
        "ada": [definition(ADA)],
        "stock": [definition(STOCK)],
    }
    test = Item(names.split(), definitions, is_marked=is_marked)
    before = test.fixturenames

    lend_to_marked([types.SimpleNamespace(), test])

    assert test.fixturenames == lent.split()
    assert before == names.split()
