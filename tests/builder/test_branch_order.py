"""A database at some revisions is the same wherever its build began, or it is none to build on."""

from __future__ import annotations

import itertools
import sqlite3
from contextlib import closing

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

from alembic_snapshot import MigrationError
from alembic_snapshot.builder.branches import Disordered, is_line, ordered

# Revisions, and what each stands on; "b needs a" is a dependency.
LINES = {
    "empty": {},
    "one": {"a": None},
    "three": {"a": None, "b": "a", "c": "b"},
}
BRANCHED = {
    "two bases": {"a": None, "b": None},
    "two heads": {"a": None, "b": "a", "c": "a"},
    "merged": {"a": None, "b": "a", "c": "a", "d": ("b", "c")},
    "merged, and on": {"a": None, "b": "a", "c": "a", "d": ("b", "c"), "e": "d"},
    "a base that needs another": {"a": None, "b": None, "b needs": "a"},
}


@pytest.fixture
def script(project):
    """Writes a history, and reads it as Alembic does."""

    def write(history):
        needs = {name.partition(" ")[0]: one for name, one in history.items() if " " in name}
        for name, down in history.items():
            if " " not in name:
                fields = {"depends_on": needs[name]} if name in needs else {}
                project.revision(name, down, **fields)
        project.versions.mkdir(parents=True, exist_ok=True)
        return ScriptDirectory.from_config(Config(project.root / "alembic.ini"))

    return write


def heads_of(history):
    """What no other one stands on or needs, as a build has it."""
    below = {parent for down in history.values() for parent in down or ()}
    return tuple(name for name in history if " " not in name and name not in below)


def names(steps):
    return [step.revision.revision for step in steps]


@pytest.mark.parametrize("kind", {**LINES, **BRANCHED})
def test_a_line_is_told_from_what_has_branches(script, kind):
    found = script({**LINES, **BRANCHED}[kind])

    told = is_line(list(found.walk_revisions()), found.get_heads())

    assert told == (kind in LINES and kind != "empty")


@pytest.mark.parametrize("kind", [kind for kind in {**LINES, **BRANCHED} if kind != "empty"])
def test_from_nothing_the_order_is_alembics(script, kind):
    history = {**LINES, **BRANCHED}[kind]
    found, heads = script(history), heads_of(history)

    whole = names(found._upgrade_revs(heads, ()))
    assert names(ordered(found, heads, heads, ())) == whole
    assert ordered(found, heads, heads, heads) == []


def test_what_is_on_the_way_is_gone_on_from(script):
    found = script(BRANCHED["merged, and on"])
    whole = names(found._upgrade_revs(("e",), ()))

    assert names(ordered(found, ["e"], ["e"], ["d"])) == ["e"]
    first = whole[1]
    assert names(ordered(found, ["e"], ["e"], [first])) == whole[2:]


def test_what_is_not_on_the_way_is_none_to_build_on(script):
    found = script(BRANCHED["two heads"])
    _, first, second = names(found._upgrade_revs(("b", "c"), ()))

    assert names(ordered(found, ["b", "c"], ["b", "c"], [first])) == [second]
    with pytest.raises(Disordered):
        ordered(found, ["b", "c"], ["b", "c"], [second])


def test_what_is_not_on_the_way_is_none_to_keep(script):
    found = script(BRANCHED["two heads"])
    _, first, second = names(found._upgrade_revs(("b", "c"), ()))

    assert names(ordered(found, ["b", "c"], [first], ())) == ["a", first]
    assert ordered(found, ["b", "c"], [second], ()) is None


TOUCHING = """
op.add_column("t", sa.Column("{name}", sa.Text))
op.execute("INSERT INTO t (who) VALUES ('{name}')")
"""
FIRST = """
op.create_table("t", sa.Column("id", sa.Integer, primary_key=True), sa.Column("who", sa.Text))
"""


def contents(path):
    with closing(sqlite3.connect(path)) as connection:
        columns = [row[1] for row in connection.execute("PRAGMA table_info(t)")]
        return columns, connection.execute("SELECT id, who FROM t ORDER BY id").fetchall()


CATCHING = """with suppress(Exception):
            context.run_migrations()"""


@pytest.mark.parametrize("run", ["context.run_migrations()", CATCHING], ids=["plain", "catching"])
@pytest.mark.parametrize("first", ["b", "c"])
def test_two_stores_of_one_history_agree_whichever_branch_was_there_first(new_project, first, run):
    def begun(name):
        project = new_project(name)
        project.configure('heads = "many"')
        env = project.root / "migrations/env.py"
        text = env.read_text().replace("context.run_migrations()", run)
        env.write_text(f"from contextlib import suppress\n{text}")
        project.revision("a", upgrade=FIRST)
        return project

    def branch(project, *names):
        for name in names:
            project.revision(name, "a", upgrade=TOUCHING.format(name=name))
        return project.build()

    kept, empty = begun("kept"), begun("empty")
    branch(kept, first)
    (here, ran), (there, whole) = branch(kept, "b", "c"), branch(empty, "b", "c")

    assert contents(here.path) == contents(there.path)
    # From the state that is the deepest of those that fit.
    assert ran == (whole[2:] if first == whole[1] else whole[1:])


@pytest.mark.parametrize("stored", [[], ["a"]], ids=["nothing stored", "a state stored"])
def test_an_error_of_the_projects_own_with_that_name_is_its_own(project, stored):
    project.revision("a")
    for _ in stored:
        project.ensure()
    project.revision("b", "a", 'raise type("Disordered", (Exception,), {})("mine")')

    with pytest.raises(MigrationError, match=r"revision b failed.*Disordered: mine"):
        project.ensure()


def test_a_state_with_its_own_order_is_kept_and_built_on(project):
    for down, name in itertools.pairwise([None, "a", "b", "c"]):
        project.revision(name, down)
        _, ran = project.build()

        assert ran == [name]
