"""``open``: the database of a failed test, made again from its token, or why it can't be."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import shutil
import sqlite3
import time
from pathlib import Path

import pytest

from alembic_snapshot.backend import backend_of
from alembic_snapshot.tokens.changeset import Changeset, RowChanges, SchemaObject
from alembic_snapshot.tokens.parts import parts_of
from alembic_snapshot.tokens.token import Token

SEED = """
def rows(connection):
    import sqlalchemy as sa
    connection.execute(sa.text("INSERT INTO t_0001 VALUES (1)"))
"""


@pytest.fixture
def shop(project):
    """A project of two revisions and a seed."""
    project.history(2)
    project.write("seed.py", SEED)
    project.configure('seeds = ["seed:rows"]')
    return project


def token_of(project, sql, **wanted):
    """The token of a test that ran some SQL on its clone."""
    snapshot = project.ensure(**wanted)
    clone = snapshot.clone(project.root.parent / "failed.db")
    run(clone.path, sql)
    changes, was, now = backend_of(snapshot.project).capture(snapshot.entry.database, clone.target)
    clone.delete()
    parts = parts_of(snapshot.manifest.layers)
    return Token(
        "sqlite", "default", "test_it", snapshot.digest, changes, was, now, parts=parts, **wanted
    )


def run(path, sql):
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.executescript(sql)


ADDED = "INSERT INTO t_0001 VALUES (5)"


def test_it_prints_where_the_database_is_and_how_to_open_it(shop, rows):
    token = token_of(shop, ADDED)

    done = shop.command("open", "--print", token.to_line())

    path, opening = done.stdout.splitlines()
    assert done.returncode == 0
    assert opening == f"open it: sqlite3 {path}"
    assert rows(path, "SELECT id FROM t_0001") == [(1,), (5,)]
    assert rows(shop.ensure().path, "SELECT id FROM t_0001") == [(1,)]


def test_a_second_one_does_not_replace_the_first(shop, rows):
    line = token_of(shop, ADDED).to_line()
    first = shop.command("open", line).stdout.splitlines()[0]
    run(first, "DELETE FROM t_0001")

    second = shop.command("open", line).stdout.splitlines()[0]

    assert rows(first, "SELECT count(*) FROM t_0001") == [(0,)]
    assert rows(second, "SELECT count(*) FROM t_0001") == [(2,)]


def test_it_goes_where_it_is_wanted_if_nothing_is_there(shop, tmp_path, rows):
    line = token_of(shop, ADDED).to_line()

    done = shop.command("open", line, "--at", str(tmp_path / "here.db"))
    again = shop.command("open", line, "--at", str(tmp_path / "here.db"))

    assert done.returncode == 0
    assert rows(tmp_path / "here.db", "SELECT id FROM t_0001") == [(1,), (5,)]
    assert again.returncode == 2
    assert "there is already a file" in again.stderr


@pytest.mark.parametrize(
    ("wanted", "there_are"),
    [({"revision": "0001"}, [5]), ({}, [1, 5]), ({"layer": "demo"}, [1, 5, 9])],
    ids=["a revision", "the heads", "a layer"],
)
def test_the_snapshot_that_the_test_asked_for_is_built_elsewhere(
    shop, new_project, rows, wanted, there_are
):
    there = new_project("there")
    for one in (shop, there):
        one.history(2)
        one.write("seed.py", f"{SEED}\n{SEED.replace('rows', 'demo').replace('(1)', '(9)')}")
        one.configure('seeds = ["seed:rows"]\nlayers = { demo = ["seed:demo"] }')
    token = token_of(shop, ADDED, **wanted)

    done = there.command("open", "--json", token.to_line())

    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert (record["same"], record["key"]) == (True, token.key)
    assert rows(record["path"], "SELECT id FROM t_0001") == [(id_,) for id_ in there_are]


def test_other_code_is_told_with_what_differs_and_nothing_is_made(shop, new_project):
    token = token_of(shop, ADDED)
    there = new_project("there")
    there.history(3)
    there.append("migrations/versions/0002_made.py", "# changed\n")

    done = there.command("open", "--json", token.to_line())

    assert done.returncode == 1
    record = json.loads(done.stdout)
    assert (record["opened"], record["path"]) == (False, None)
    told = "\n".join(record["reasons"])
    assert re.search(r"^0002 changed$", told, re.MULTILINE)
    assert re.search(r"^0003 is new$", told, re.MULTILINE)
    assert re.search(r"^seed:rows is gone$", told, re.MULTILINE)
    assert not (there.root / ".alembic-snapshot" / "opened").exists()
    shown = there.command("open", token.to_line())
    assert shown.returncode == 1
    assert shown.stdout.splitlines()[-1] == (
        "hint: check out the commit that the test ran on, and open the token there"
    )
    assert shown.stdout.startswith("not opened: the snapshot of test_it is another one\n")


def test_other_versions_are_told_by_their_numbers(shop):
    token = token_of(shop, ADDED)
    parts = {**token.parts, "<version of SQLAlchemy>": "1.9.9"}
    other = Token(**{**vars(token), "parts": parts, "key": "0" * 64})

    done = shop.command("open", other.to_line())

    assert done.returncode == 1
    assert "version of SQLAlchemy changed (1.9.9 there, " in done.stdout


def test_what_an_older_build_left_in_the_store_is_used(shop, rows):
    token = token_of(shop, ADDED)
    shop.revision("0003", "0002")

    done = shop.command("open", token.to_line())

    assert done.returncode == 0
    assert "the code here makes another snapshot: 0003 is new" in done.stderr
    assert rows(done.stdout.splitlines()[0], "SELECT id FROM t_0001") == [(1,), (5,)]


def test_a_snapshot_with_rows_of_the_moment_is_told(new_project):
    seed = SEED.replace("VALUES (1)", "VALUES (abs(random()) / 2)")
    projects = [new_project(name) for name in ("here", "there")]
    for one in projects:
        one.history(1)
        one.write("seed.py", seed)
        one.configure('seeds = ["seed:rows"]')
    token = token_of(projects[0], ADDED)

    done = projects[1].command("open", "--json", token.to_line())

    record = json.loads(done.stdout)
    assert done.returncode == 1
    assert (record["opened"], record["same"]) == (True, False)
    assert "the rows of t_0001: the snapshot here is not what it was there" in record["reasons"][0]


def changed(token, changes):
    return Token(**{**vars(token), "changes": changes})


HOSTILE = {
    "rows that are not those of its hash": Changeset(
        rows={"t_0001": RowChanges(("id",), 1, [], [(6,)])}
    ),
    "a view that attaches": Changeset(
        created=[SchemaObject("view", "v", "v", "ATTACH 'outside.db' AS x")]
    ),
    "rows of no table": Changeset(rows={"../x": RowChanges(("id",), 1, [], [(6,)])}),
    "a row that is there": Changeset(rows={"t_0001": RowChanges(("id",), 1, [], [(1,)])}),
}


@pytest.mark.parametrize("changes", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_token_is_one_error_and_leaves_nothing(shop, changes):
    token = changed(token_of(shop, ADDED), changes)
    before = sorted(path for path in shop.root.rglob("*") if "__pycache__" not in str(path))

    done = shop.command("open", token.to_line())

    assert done.returncode == 2
    assert done.stdout == ""
    error, hint = done.stderr.splitlines()
    assert error.startswith("error: the token")
    assert hint.startswith("hint: ")
    after = sorted(path for path in shop.root.rglob("*") if "__pycache__" not in str(path))
    new = [one for one in after if one not in before]
    assert all(one.is_dir() and "opened" in one.parts for one in new)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("asnap1_abc", "the token was cut or altered"),
        ("asnap9_abc", "the token has format 9, and this version reads format 1"),
        ("hello", "'hello' is neither a token nor a file"),
        ("no/such.token", "there is no file no/such.token"),
        ("pyproject.toml", "pyproject.toml is no token"),
        ("", "an argument is empty"),
    ],
)
def test_what_is_no_whole_token_is_one_error(shop, given, message):
    done = shop.command("open", given)

    assert done.returncode == 2
    error, hint = done.stderr.splitlines()
    assert error == f"error: {message}"
    assert hint.startswith("hint: ")


def test_another_kind_of_database_is_told(shop):
    token = Token(**{**vars(token_of(shop, ADDED)), "backend": "postgresql"})

    done = shop.command("open", token.to_line())

    assert done.returncode == 2
    assert "a test on postgresql, and the project here is on sqlite" in done.stderr


def test_a_database_that_the_project_has_not_is_told(shop):
    token = Token(**{**vars(token_of(shop, ADDED)), "database": "reports"})

    done = shop.command("open", token.to_line())

    assert done.returncode == 2
    assert "reports" in done.stderr


def test_an_empty_database_is_one_too(shop, rows):
    token = token_of(shop, ADDED)
    table = SchemaObject("table", "x", "x", "CREATE TABLE x (a)")
    changes = Changeset(created=[table], rows={"x": RowChanges(("rowid", "a"), 1, [], [(4, 5)])})
    path = shop.root / "made.db"
    run(path, "CREATE TABLE x (a); INSERT INTO x (rowid, a) VALUES (4, 5)")
    _, was, now = backend_of(shop.load()).capture(None, backend_of(shop.load()).target(str(path)))
    empty = Token("sqlite", "default", "test_it", "", changes, was, now, is_empty=True)

    done = shop.command("open", empty.to_line())

    assert done.returncode == 0, done.stderr
    assert rows(done.stdout.splitlines()[0], "SELECT rowid, a FROM x") == [(4, 5)]
    assert token.key


class TestOnATerminal:
    """The database's shell is opened, where somebody is there who could use it."""

    def opened(self, project, line, tmp_path, *options, shell=True):
        """What ``open`` prints where its input is a terminal, and its exit status."""
        programs = tmp_path / "programs"
        programs.mkdir()
        if shell:
            (programs / "sqlite3").write_text('#!/bin/sh\nfor one; do echo "given $one"; done\n')
            (programs / "sqlite3").chmod(0o755)
        ours, theirs = pty.openpty()
        try:
            # What is printed waits in a buffer, as it does where output is a pipe.
            variables = {"PATH": str(programs), "PYTHONUNBUFFERED": ""}
            return project.command("open", line, *options, stdin=theirs, variables=variables)
        finally:
            os.close(ours)
            os.close(theirs)

    def test_it_follows_what_open_says(self, shop, tmp_path):
        done = self.opened(shop, token_of(shop, ADDED).to_line(), tmp_path)

        path, opening, *given = done.stdout.splitlines()
        assert done.returncode == 0
        assert opening == f"open it: sqlite3 {path}"
        assert given == ["given -cmd", "given PRAGMA trusted_schema=OFF", f"given {path}"]
        assert "no shell was opened" not in done.stderr

    @pytest.mark.parametrize("option", ["--print", "--json"])
    def test_who_wants_text_is_given_none(self, shop, tmp_path, option):
        done = self.opened(shop, token_of(shop, ADDED).to_line(), tmp_path, option)

        assert done.returncode == 0
        assert "PRAGMA" not in done.stdout

    def test_where_nothing_is_made_there_is_none(self, shop, tmp_path):
        line = token_of(shop, ADDED).to_line()
        shutil.rmtree(shop.root / ".alembic-snapshot")
        shop.append("migrations/versions/0002_made.py", "# changed\n")

        done = self.opened(shop, line, tmp_path)

        assert done.returncode == 1
        assert "PRAGMA" not in done.stdout
        assert "it stays" not in done.stderr

    def test_without_the_program_it_says_so_with_a_url(self, shop, tmp_path):
        done = self.opened(shop, token_of(shop, ADDED).to_line(), tmp_path, shell=False)

        path, _, url = done.stdout.splitlines()
        assert done.returncode == 0
        assert url == f"sqlite:///{path}"
        assert (
            "warning: no shell was opened: its shell is not on this machine; another program can "
            "use this URL:"
        ) in done.stderr


class TestWhatBecomesOfIt:
    """It stays for as long as somebody may look at it, and does not stay for ever."""

    @pytest.fixture
    def line(self, shop):
        return token_of(shop, ADDED).to_line()

    def opened(self, project, line, *options, age=0):
        done = project.command("open", "--print", line, *options)
        path = Path(done.stdout.splitlines()[0])
        changed = time.time() - age
        os.utime(path, (changed, changed))
        return done, path

    def test_open_says_how_long_it_stays_and_that_deletes_it(self, shop, line):
        done, path = self.opened(shop, line)
        told = re.search(r"it stays until `alembic-snapshot (prune --older-than) (\w+)` finds "
                         r"it so old$", done.stderr.strip())  # fmt: skip
        days = int(told[2].removesuffix("d"))

        young = shop.command(*told[1].split(), told[2])
        os.utime(path, (time.time() - (days + 1) * 86400,) * 2)
        old = shop.command(*told[1].split(), told[2])

        assert young.stdout.startswith("deleted 0 snapshots, ")
        assert path.parent.parent.name == "opened"
        assert old.stdout.startswith("deleted 0 snapshots, 1 database that open made, ")
        assert not path.parent.exists()

    def test_list_shows_them(self, shop, line):
        paths = [self.opened(shop, line)[1] for _ in range(2)]

        done = shop.command("list")

        head, *lines = done.stderr.splitlines()
        assert head.startswith("beside them: 2 databases that open made, ")
        assert sorted(lines) == sorted(f"  {path}" for path in paths)
        record = json.loads(shop.command("list", "--json").stdout)
        assert record["snapshots"]
        assert sorted(one["path"] for one in record["opened"]) == sorted(map(str, paths))

    def test_only_they_are_deleted_if_that_is_asked_for(self, shop, line):
        _, old = self.opened(shop, line, age=10 * 86400)
        _, young = self.opened(shop, line)
        before = json.loads(shop.command("list", "--json").stdout)["snapshots"]

        shop.command("prune", "--opened", "--older-than", "1d")
        assert (old.exists(), young.exists()) == (False, True)
        shop.command("prune", "--opened")

        after = json.loads(shop.command("list", "--json").stdout)
        assert after == {"snapshots": before, "opened": [], "unreadable": []}
        assert not young.exists()

    def test_only_an_age_deletes_them(self, shop, line):
        _, path = self.opened(shop, line, age=10 * 86400)

        shop.command("prune", "--keep", "0")

        assert path.exists()

    def test_what_somebody_put_somewhere_is_his(self, shop, line, tmp_path):
        done, path = self.opened(shop, line, "--at", str(tmp_path / "a.db"), age=10 * 86400)

        listed = shop.command("list")
        shop.command("prune", "--older-than", "1d")

        assert "it stays" not in done.stderr
        assert "open made" not in listed.stderr
        assert path.exists()

    def test_another_projects_stay(self, shop, line, new_project):
        store = str(shop.root / ".alembic-snapshot")
        _, path = self.opened(shop, line, age=10 * 86400)
        other = new_project("other")
        other.history(1)

        own = other.command("prune", "--older-than", "1d", "--store", store)
        assert path.exists()
        every = other.command("prune", "--older-than", "1d", "--store", store, "--all", "--json")

        assert "open made" not in own.stdout
        assert json.loads(every.stdout)["opened"] == [str(path)]
        assert not path.exists()
