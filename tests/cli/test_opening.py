"""What comes of a token, in the test's own process: a database, or why there is none, in words."""

from __future__ import annotations

import contextlib
import dataclasses
import sqlite3
from types import SimpleNamespace

import pytest

from alembic_snapshot.backend import backend_of
from alembic_snapshot.cli.opening import Opened, _open_shell, open_token
from alembic_snapshot.errors import CloneError, CommandError
from alembic_snapshot.masking import keep_secret
from alembic_snapshot.tokens.changeset import Changeset, Fingerprint, RowChanges
from alembic_snapshot.tokens.parts import differences, parts_of
from alembic_snapshot.tokens.token import Token

from ..sample import SampleProject

TOKEN = Token(
    "sqlite", "default", "test_it.py::test\nit", "key", Changeset(), "", Fingerprint("", {})
)
FILE = SimpleNamespace(
    name="/there.db", opening="sqlite3 /there.db", url=lambda: "sqlite:////there.db"
)


class TestWhatIsSaid:
    def test_of_a_database_that_is_the_tests(self):
        opened = Opened(TOKEN, FILE, [], ["a note"], {"tables": {}})

        assert str(opened) == "/there.db\nopen it: sqlite3 /there.db"
        assert opened.to_record() == {
            "opened": True,
            "same": True,
            "test": "test_it.py::test\nit",
            "database": "default",
            "key": "key",
            "path": "/there.db",
            "url": "sqlite:////there.db",
            "command": "sqlite3 /there.db",
            "reasons": [],
            "notes": ["a note"],
            "difference": {"tables": {}},
        }

    def test_of_a_database_that_differs(self):
        opened = Opened(TOKEN, FILE, ["one", "other"])

        assert str(opened) == (
            "/there.db\nit differs from the database of test_it.py::test it:\n  one\n  other\n"
            "open it: sqlite3 /there.db"
        )
        assert (opened.to_record()["opened"], opened.to_record()["same"]) == (True, False)

    def test_of_none(self):
        opened = Opened(TOKEN, None, ["one"])

        assert str(opened) == (
            "not opened: the snapshot of test_it.py::test it is another one\n  one\n"
            "hint: check out the commit that the test ran on, and open the token there"
        )
        record = opened.to_record()
        names = ("opened", "same", "path", "url", "command", "difference")
        assert [record[name] for name in names] == [False, False, None, None, None, None]

    @pytest.mark.parametrize(
        ("count", "more"), [(10, []), (11, ["  … 1 more"]), (15, ["  … 5 more"])]
    )
    def test_of_many_reasons_the_first_ten(self, count, more):
        lines = str(Opened(TOKEN, None, [str(n) for n in range(count)])).splitlines()

        assert lines[1:-1] == [f"  {n}" for n in range(10)] + more


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A project with two rows in its snapshot, which is built once."""
    made = SampleProject(tmp_path_factory.mktemp("opening") / "project")
    made.history(2)
    made.write("seed.py", SEED)
    made.configure('seeds = ["seed:rows"]')
    made.ensure()
    return made


SEED = """
def rows(connection):
    import sqlalchemy as sa
    connection.execute(sa.text("INSERT INTO t_0001 VALUES (1)"))
"""


@pytest.fixture
def token(project, tmp_path):
    """The token of a test that put a row in."""
    snapshot = project.ensure()
    clone = snapshot.clone(tmp_path / "failed.db")
    with contextlib.closing(sqlite3.connect(clone.path)) as connection:
        connection.executescript("INSERT INTO t_0001 VALUES (5)")
    changes, was, now = backend_of(snapshot.project).capture(snapshot.entry.database, clone.target)
    parts = parts_of(snapshot.manifest.layers)
    return Token("sqlite", "default", "test_it", snapshot.digest, changes, was, now, parts=parts)


def opened(project, token, name=None, rows=5):
    return open_token(project.load(), token, name, rows, lambda _: None)


def refusal(project, token, name=None, kind=CommandError):
    with pytest.raises(kind) as caught:
        opened(project, token, name)
    return caught.value.message, caught.value.hint


def ids(path):
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return [row[0] for row in connection.execute("SELECT id FROM t_0001")]


class TestAToken:
    def test_gives_the_database_in_the_stores_folder(self, project, token):
        made = opened(project, token)

        assert (made.reasons, made.notes) == ([], [])
        assert ids(made.target.path) == [1, 5]
        assert made.difference["tables"]["t_0001"]["added"] == 1
        assert made.target.path.parent.parent.name == "opened"
        assert opened(project, token).target.path != made.target.path

    def test_gives_it_where_it_is_wanted(self, project, token, tmp_path):
        path = tmp_path / "here.db"

        assert opened(project, token, str(path)).target.path == path

        assert ids(path) == [1, 5]
        assert refusal(project, token, str(path), CloneError) == (
            f"there is already a file {path}",
            "choose another path",
        )

    def test_of_another_kind_of_database_is_refused(self, project, token):
        other = dataclasses.replace(token, backend="postgresql")

        assert refusal(project, other) == (
            "the token is of a test on postgresql, and the project here is on sqlite",
            "ALEMBIC_SNAPSHOT_BACKEND chooses, if the project has both",
        )

    def test_whose_hash_is_another_one_leaves_nothing(self, project, token, tmp_path):
        rows = RowChanges(("id",), 1, [], [(6,)])
        other = dataclasses.replace(token, changes=Changeset(rows={"t_0001": rows}))

        assert refusal(project, other, str(tmp_path / "here.db")) == (
            "the token's changes give another database than its hash says",
            "nothing of it is left; where is the token from?",
        )
        assert not (tmp_path / "here.db").exists()

    def test_that_can_not_be_applied_leaves_nothing(self, project, token, tmp_path):
        rows = RowChanges(("id",), 1, [], [(1,)])
        other = dataclasses.replace(token, changes=Changeset(rows={"t_0001": rows}))
        message = "the token can't be applied: UNIQUE constraint failed: t_0001.id"

        assert refusal(project, other, str(tmp_path / "here.db")) == (
            message,
            "nothing of it is left; where is the token from?",
        )
        elsewhere = dataclasses.replace(other, before="0" * 32)
        assert refusal(project, elsewhere, str(tmp_path / "here.db")) == (
            f"{message}; the snapshot here has other rows or another schema than there",
            "do the migrations or seeds put in something of the moment?",
        )
        assert not (tmp_path / "here.db").exists()

    @pytest.mark.parametrize(
        ("tables", "what"),
        [
            ({"t_0001": "x", "more": "y"}, "the rows of more, t_0001"),
            ({}, None),
        ],
    )
    def test_of_a_snapshot_with_other_rows_says_which(self, project, token, tables, what):
        after = Fingerprint("0" * 32, {**token.after.tables, **tables})
        other = dataclasses.replace(token, before="0" * 32, after=after)

        made = opened(project, other)

        said = "the snapshot here is not what it was there, although it has the same key"
        assert made.reasons == [f"{what or 'the schema, or a counter'}: {said}"]
        assert made.target is not None

    def test_of_an_empty_database_needs_no_snapshot(self, project, tmp_path):
        path = tmp_path / "made.db"
        with contextlib.closing(sqlite3.connect(path)) as connection:
            connection.executescript("CREATE TABLE t_0001 (id INTEGER PRIMARY KEY)")
        backend = backend_of(project.load())
        changes, was, now = backend.capture(None, backend.target(str(path)))
        empty = Token("sqlite", "default", "t", "", changes, was, now, is_empty=True)

        made = opened(project, empty)

        assert (ids(made.target.path), made.reasons, made.notes) == ([], [], [])

    def test_of_a_snapshot_that_is_no_more_says_what_is_otherwise(self, project, token):
        parts = {**token.parts, "layer 0000": "x", "<version of SQLite>": "3.0"}
        del parts["layer 0002"]
        other = dataclasses.replace(token, key="0" * 64, parts=parts)

        made = opened(project, other)

        here = parts_of(project.ensure().manifest.layers)["<version of SQLite>"]
        assert (made.target, made.notes, made.difference) == (None, (), None)
        assert sorted(made.reasons) == sorted(
            ["0000 is gone", "0002 is new", f"version of SQLite changed (3.0 there, {here} here)"]
        )
        same = dataclasses.replace(token, key="0" * 64)
        assert opened(project, same).reasons == ["an older revision changed"]


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://ada:s3cret-word@there/made",
        "postgresql://ada:s3cret%40word@there:5433/made",
        "postgresql:///made?host=/run&user=ada&password=s3cret-word",
    ],
)
def test_the_url_for_another_program_has_its_password(project, monkeypatch, capsys, url):
    monkeypatch.setenv("PATH", "")
    keep_secret(url)

    _open_shell(project.load(), SimpleNamespace(url=lambda: url))

    # Without it, it leads nowhere.
    said = capsys.readouterr()
    assert said.out == f"{url}\n"
    assert said.err == (
        "warning: no shell was opened: its shell is not on this machine; another program can use "
        "this URL:\n"
    )


class TestParts:
    def test_have_each_layer_and_the_settings_in_their_order(self):
        layers = {
            "base": {"env.py": "1", "<version of SQLite>": "3.45", "<dialect>": "x", "a.py": "2"},
            "0001": {"x": "1"},
            "0002": {"x": "2"},
        }

        parts = parts_of(layers)

        # Tokens of other versions have them, too.
        assert [*parts.items()] == [
            ("<version of SQLite>", "3.45"),
            ("<settings>", "783e73"),
            ("env.py", "391552"),
            ("a.py", "cc1131"),
            ("layer 0001", "7b99b5"),
            ("layer 0002", "a23e99"),
        ]

    def test_have_the_newest_twenty_layers(self):
        layers = {"base": {}, **{f"{n:04}": {} for n in range(25)}}

        assert list(parts_of(layers))[1:] == [f"layer {n:04}" for n in range(5, 25)]

    def test_without_a_base_are_the_settings_alone(self):
        assert list(parts_of({})) == ["<settings>"]

    def test_differ_in_words(self):
        there = {"<settings>": "1", "<version of X>": "1.0", "layer 1": "1", "a.py": "1", "b": "1"}
        here = {
            "<settings>": "2",
            "<version of X>": "1.1",
            "layer 1": "2",
            "b": "1",
            "layer 2": "1",
        }

        assert list(differences(there, here)) == [
            "settings changed",
            "version of X changed (1.0 there, 1.1 here)",
            "1 changed",
            "a.py is gone",
            "2 is new",
        ]
        assert list(differences(there, there)) == []
