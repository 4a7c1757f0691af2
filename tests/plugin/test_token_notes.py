"""What is said of a failed test's token, in the test's own process."""

from __future__ import annotations

import contextlib
import random
import sqlite3
from types import SimpleNamespace

import pytest

from alembic_snapshot.build.snapshot import Snapshot
from alembic_snapshot.errors import StoreError
from alembic_snapshot.plugin import tokens
from alembic_snapshot.plugin.tokens import Note, note_of, token_of
from alembic_snapshot.tokens.parts import parts_of
from alembic_snapshot.tokens.token import LINE_LIMIT, read_argument

from ..sample import SampleProject

OPEN = "open it on any machine: alembic-snapshot open"


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory):
    """A snapshot with an empty table."""
    project = SampleProject(tmp_path_factory.mktemp("notes") / "project")
    project.history(1)
    return project.ensure()


@pytest.fixture
def clone(snapshot, tmp_path):
    """A test's clone, in which it has written a row."""
    made = snapshot.clone(tmp_path / "failed.db")
    run(made, "INSERT INTO t_0001 VALUES (5)")
    return made


def run(clone, sql):
    with contextlib.closing(sqlite3.connect(clone.path)) as connection:
        connection.executescript(sql)


def wanted(snapshot):
    return "demo", "0001"


def note(clone, kept=None):
    return note_of(clone, "test_it", wanted, kept)


def test_it_is_a_line_and_a_property(clone, snapshot):
    said = note(clone)

    line = said.line.removeprefix(f"{OPEN} ")
    assert said == Note(f"{OPEN} {line}", ("alembic_snapshot_token", line))
    token = read_argument(line)
    assert token == token_of(clone, "test_it", wanted)
    assert (token.backend, token.database, token.test) == ("sqlite", "default", "test_it")
    assert (token.key, token.parts) == (snapshot.digest, parts_of(snapshot.manifest.layers))
    assert (token.layer, token.revision, token.is_empty) == ("demo", "0001", False)
    assert token.changes.rows["t_0001"].added == [(5,)]
    assert token.after.whole != token.before


def test_it_is_a_file_beside_what_is_kept_if_it_is_too_long(clone, tmp_path, monkeypatch):
    line = note(clone).property[1]
    kept = tmp_path / "kept.db"
    monkeypatch.setattr(tokens, "LINE_LIMIT", len(line))
    assert note(clone, kept).property == ("alembic_snapshot_token", line)
    monkeypatch.setattr(tokens, "LINE_LIMIT", len(line) - 1)

    said = note(clone, kept)

    file = tmp_path / "kept.db.token"
    assert said == Note(
        f"copy this file, and open it on any machine: alembic-snapshot open {file}",
        ("alembic_snapshot_token_file", str(file)),
    )
    assert file.read_text() == f"{line}\n"
    assert LINE_LIMIT == 16_384


def test_it_is_none_if_it_is_too_long_and_nothing_is_kept(clone):
    chance = random.Random(1)
    rows = ", ".join(f"({chance.randrange(10**15)})" for _ in range(3000))
    run(clone, f"INSERT INTO t_0001 VALUES {rows}")
    size = len(token_of(clone, "test_it", wanted).to_line())

    assert note(clone) == Note(
        f"no token: it has {size // 1000} kB, and no database is kept that it could lie beside"
    )


@pytest.mark.parametrize("why", ["not made", "read-only", "off"])
def test_nothing_is_said_where_there_is_nothing_to_make_one_of(clone, why):
    project = SimpleNamespace(tokens="off" if why == "off" else "on")
    snapshot = SimpleNamespace(project=project)
    other = SimpleNamespace(
        made=why != "not made", is_read_only=why == "read-only", snapshot=snapshot
    )

    assert note(other) is None


def test_what_can_not_travel_is_the_reason(clone):
    run(clone, "CREATE VIRTUAL TABLE words USING fts5(x)")

    assert note(clone) == Note("no token: the test made or changed the virtual table words")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (StoreError("it is gone", hint="make it"), "it is gone"),
        (ValueError("one\nother"), "ValueError: one"),
        (sqlite3.DatabaseError("file is not a database"), "DatabaseError: file is not a database"),
    ],
)
def test_whatever_goes_wrong_is_the_reason(clone, error, said):
    def fail(snapshot):
        raise error

    assert note_of(clone, "test_it", fail, None) == Note(f"no token: {said}")


def test_it_stands_on_the_snapshot_below_checkpoints(clone, snapshot):
    class Above(SimpleNamespace):
        def checkpoints(self):
            return [
                SimpleNamespace(parent=None),
                SimpleNamespace(parent=snapshot),
            ]

    asked = []
    above = Above(project=snapshot.project, entry="a checkpoint's")
    lent = SimpleNamespace(snapshot=above, target=clone.target)

    token = token_of(lent, "test_it", lambda one: asked.append(one) or (None, None))

    assert asked == [snapshot]
    assert token.key == snapshot.digest


def test_of_an_empty_database_there_is_no_key(snapshot, tmp_path):
    clone = Snapshot(snapshot.project, None).clone(tmp_path / "empty.db")
    run(clone, "CREATE TABLE x (a)")

    token = token_of(clone, "test_it", lambda one: (None, None))

    assert (token.key, token.parts, token.is_empty) == ("", {}, True)
    assert [one.name for one in token.changes.created] == ["x"]
