"""The command line: results on standard output, the rest on standard error, 0, 1 or 2."""

from __future__ import annotations

import json
import sqlite3

import pytest

from alembic_snapshot.cli.commands import main
from alembic_snapshot.sqlite.store import FileStore
from alembic_snapshot.store.manifest import _sealed


def of_another_version(text):
    """A manifest with a field that this version does not know, sealed as it should be."""
    record = {**json.loads(text), "later": 1}
    del record["seal"]
    return _sealed(json.dumps(record, indent=1).removesuffix("\n}"))


def test_every_command_explains_itself(project):
    names = ("build", "clone", "diff", "key", "list", "prune", "status")

    listed = project.command("--help").stdout

    assert all(f"  {name} " in listed for name in names)
    for name in names:
        assert project.command(name, "--help").returncode == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["buidl"], "no such command 'buidl'"),
        (["build", "--nope"], "no such option '--nope'"),
        (["clone"], "missing argument 'PATH'"),
        (["prune"], "prune deletes nothing by itself"),
        (["prune", "--older-than", "soon"], "'soon' is not an age"),
        (["build", "--config", "nowhere.ini"], "there is no file nowhere.ini"),
        (["diff", "nowhere.db"], "there is no file nowhere.db"),
        (["build", "--store="], "--store is empty"),
        (["build", "--store", ""], "--store is empty"),
        (["status", "--config", ""], "--config is empty"),
        (["status", "--database="], "--database is empty"),
        (["build", "--layer", ""], "--layer is empty"),
        (["build", "--revision="], "--revision is empty"),
        (["prune", "--older-than="], "--older-than is empty"),
        (["clone", ""], "an argument is empty"),
        (["diff", ""], "an argument is empty"),
        ([""], "an argument is empty"),
    ],
)
def test_a_mistake_is_one_error_and_a_hint_without_a_traceback(project, arguments, message):
    project.history(1)
    before = sorted(project.root.rglob("*"))

    done = project.command(*arguments)

    assert done.returncode == 2
    assert done.stdout == ""
    assert sorted(project.root.rglob("*")) == before
    error, hint = done.stderr.splitlines()
    assert error.lower().startswith(f"error: {message.lower()}")
    assert hint.startswith("hint: ")


def test_nothing_is_taken_for_a_question_for_help(project):
    done = project.command()

    assert done.returncode == 0
    assert done.stdout == project.command("--help").stdout


@pytest.mark.parametrize("command", ["build", "status", "check", "key"])
def test_an_error_that_nobody_foresaw_is_no_answer(monkeypatch, capsys, command):
    def fail(*_options, **_others):
        raise KeyError("nobody")

    for room in ("commands", "snapshots"):
        monkeypatch.setattr(f"alembic_snapshot.cli.{room}.projects_of", fail)

    with pytest.raises(SystemExit) as ended:
        main([command])

    # 1 would say no.
    assert ended.value.code == 2
    assert "KeyError: 'nobody'" in capsys.readouterr().err


def test_the_traceback_of_a_migration_is_shown_when_asked_for(project):
    project.revision("a", upgrade="1 / 0")

    assert "Traceback" not in project.command("build").stderr
    assert "in upgrade" in project.command("build", "--traceback").stderr


def test_key_prints_the_digest_and_builds_nothing(project):
    project.history(2)

    done = project.command("key")

    assert done.stdout == f"{project.key()}\n"
    assert not (project.root / ".alembic-snapshot").exists()


def test_key_explains_layers_and_inputs(project):
    project.history(2)

    lines = project.command("key", "--explain").stdout.splitlines()

    assert any(line.startswith("revision 0002") for line in lines)
    assert any("migrations/versions/0002_made.py" in line for line in lines)


def test_status_is_1_for_a_miss_and_says_why_and_0_for_a_hit(project):
    project.history(2)
    before = project.command("status")
    project.ensure()
    after = project.command("status")
    project.revision("0002", "0001", "op.execute('select 1')")
    changed = project.command("status")

    assert (before.returncode, after.returncode, changed.returncode) == (1, 0, 1)
    assert "the store has no snapshot of this project" in before.stdout
    assert after.stdout.startswith("hit ")
    assert "migrations/versions/0002_made.py changed" in changed.stdout


def test_clone_and_diff_show_what_was_done_to_a_clone(project):
    project.history(1)
    path = project.root / "mine.db"

    url = project.command("clone", str(path)).stdout.strip()
    same = project.command("diff", str(path))
    connection = sqlite3.connect(path)
    connection.execute("insert into t_0001 values (7)")
    connection.execute("create table more (x)")
    connection.commit()
    connection.close()
    different = project.command("diff", str(path))

    assert url == f"sqlite:///{path}"
    assert (same.returncode, same.stdout) == (0, "no difference\n")
    assert different.returncode == 1
    assert "table more: not in the snapshot" in different.stdout
    assert "t_0001: 1 added\n  + id=7" in different.stdout


def test_a_difference_of_what_is_no_row_is_one(project):
    project.history(1)
    path = project.root / "mine.db"
    project.command("clone", str(path))
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 5")
    connection.close()

    different = project.command("diff", str(path))
    told = project.command("diff", str(path), "--json")

    assert (different.returncode, different.stdout) == (1, "PRAGMA user_version: 0 → 5\n")
    assert json.loads(told.stdout) == {"schema": ["PRAGMA user_version: 0 → 5"], "tables": {}}


def test_clone_does_not_replace_a_file(project):
    project.history(1)
    path = project.write("mine.db", "precious")

    done = project.command("clone", str(path))

    assert done.returncode == 2
    assert "there is already a file" in done.stderr
    assert path.read_text() == "precious"


@pytest.mark.parametrize("option", [[], ["--json"]])
def test_an_archive_of_a_file_is_said_not_to_be_needed(project, option):
    project.history(1)

    asked = project.command("build", "--archive", *option)
    quiet = project.command("build", "--archive", "--quiet")

    assert asked.returncode == 0
    assert "no archive is needed: the snapshot is a file already" in asked.stderr.splitlines()
    assert "archive" not in quiet.stderr


def test_list_and_prune(project):
    project.revision("0001")
    project.revision("a_long_name_that_makes_the_line_longer_than_a_narrow_terminal", "0001")
    project.ensure()

    listed = json.loads(project.command("list", "--json").stdout)["snapshots"]
    table = project.command("list").stdout
    pruned = project.command("prune", "--keep", "0")

    assert [entry["heads"][0][:6] for entry in listed] == ["a_long", "0001"]
    assert len(table.splitlines()) == 3
    assert pruned.stdout.startswith("deleted 2 snapshots")
    left = json.loads(project.command("list", "--json").stdout)
    assert left == {"snapshots": [], "opened": [], "unreadable": []}


@pytest.mark.parametrize(
    ("change", "is_gone"),
    [
        (lambda text: text[:40], True),
        (lambda text: "", True),
        (lambda text: text.replace('"tables": ', '"tables": 1'), True),
        (lambda text: "\xff", True),
        (of_another_version, False),
    ],
)
def test_a_manifest_that_nobody_can_read_is_named_and_deleted_if_it_is_damaged(
    project, change, is_gone
):
    project.history(1)
    folder = project.ensure().path.parent
    manifest = folder / "manifest.json"
    manifest.write_text(change(manifest.read_text()), encoding="latin-1")

    listed = project.command("list")
    record = json.loads(project.command("list", "--json").stdout)
    project.command("prune", "--keep", "5")

    line = f"damaged, or another version's, and never used: {folder}"
    assert line in listed.stderr.splitlines()
    assert (record["snapshots"], record["unreadable"]) == ([], [str(folder)])
    assert folder.exists() is not is_gone


@pytest.mark.parametrize("command", [["list"], ["list", "--json"], ["prune", "--keep", "0"]])
def test_a_store_that_is_not_there_is_an_error_where_it_is_named_and_else_is_said(project, command):
    project.revision("0001")
    yet = project.command(*command, "--all")
    named = project.command(*command, "--store", "misspelt")
    project.ensure()
    there = project.command(*command)

    assert (yet.returncode, there.returncode, named.returncode) == (0, 0, 2)
    assert "there is no store at " in yet.stderr
    assert "misspelt" in named.stderr.splitlines()[0]
    assert named.stderr.splitlines()[1].startswith("hint: name the folder that a build has made")
    assert "no store" not in there.stderr
    assert not (project.root / "misspelt").exists()


def test_a_snapshot_that_is_in_use_stays_although_its_manifest_is_damaged(project):
    project.history(1)
    snapshot = project.ensure()
    folder = snapshot.path.parent
    store = FileStore(project.root / ".alembic-snapshot")

    with store.in_use(snapshot.entry):
        (folder / "manifest.json").write_text("")
        store.prune(keep=5)
        assert snapshot.path.exists()
    store.prune(keep=5)
    assert not folder.exists()


@pytest.mark.parametrize("command", [["build"], ["key"], ["status"], ["list"]])
def test_facts_are_there_as_json(project, command):
    project.history(1)
    project.ensure()

    facts = json.loads(project.command(*command, "--json").stdout)

    assert facts.get("snapshots", [facts])[0]["key"]


def test_a_snapshot_at_a_revision_or_with_a_layer_can_be_asked_for(project):
    project.history(2)
    project.write("seed.py", "def add(c): ...\n")
    project.configure('layers = { demo = ["seed:add"] }')

    at_one = json.loads(project.command("build", "--revision", "0001", "--json").stdout)
    demo = json.loads(project.command("build", "--layer", "demo", "--json").stdout)

    assert at_one["heads"] == ["0001"]
    assert demo["seeds"] == 1
