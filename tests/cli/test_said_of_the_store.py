"""What commands say of the store: what is damaged, what stayed, what was never there."""

from __future__ import annotations

import json

import pytest

from alembic_snapshot.project.config import load_projects


@pytest.fixture
def seeded(project):
    """A project with a seed, and a layer above it."""
    project.history(1)
    seed = (
        "def NAME(connection):\n    connection.exec_driver_sql('insert into t_0001 values (N)')\n"
    )
    project.write("seeds.py", seed.replace("NAME", "base").replace("N", "1")
                  + seed.replace("NAME", "demo").replace("N", "2"))  # fmt: skip
    project.configure('seeds = ["seeds:base"]\nlayers = { demo = ["seeds:demo"] }')
    return project


def manifests(project):
    return sorted((project.root / ".alembic-snapshot/snapshots").glob("*/manifest.json"))


@pytest.mark.parametrize("what", ["emptied", "cut", "not text", "edited", "gone"])
def test_a_manifest_that_is_damaged_is_said_to_be(project, what):
    project.history(1)
    project.ensure()
    (path,) = manifests(project)
    whole = path.read_bytes()
    left = {"emptied": b"", "cut": whole[:300], "not text": b"\xff\xfe" + whole,
            "edited": whole.replace(b'"tables": ', b'"tables": 7')}  # fmt: skip
    path.unlink()
    if what in left:
        path.write_bytes(left[what])

    missed = project.command("status")
    built = project.command("build")

    assert missed.returncode == 1
    assert missed.stdout.splitlines() == ["miss", f"  {path} is damaged or was changed"]
    assert f"building the snapshot: {path} is damaged or was changed" in built.stderr
    assert project.command("status").returncode == 0


def test_a_snapshot_of_another_version_is_none_that_is_damaged(project):
    project.history(1)
    project.ensure()
    (path,) = manifests(project)
    from alembic_snapshot.store.manifest import _sealed

    record = json.loads(path.read_text())
    record.pop("seal")
    record |= {"format": 1, "of_later": True}
    path.write_text(_sealed(json.dumps(record, indent=1, sort_keys=True).removesuffix("\n}")))

    assert "damaged" not in project.command("status").stdout


@pytest.mark.parametrize("first", [{}, {"layer": "demo"}])
def test_the_first_build_of_a_layer_says_that_there_was_none(seeded, first):
    seeded.ensure(**first)

    said = seeded.command("status", "--layer", "demo").stdout.splitlines()

    if first:
        assert said[0].startswith("hit ")
    else:
        assert said == ["miss", "  the store has no snapshot with the layer demo"]


def test_what_changed_beside_a_new_layer_is_said_too(seeded):
    seeded.ensure()
    seeded.revision("0002", "0001")

    said = seeded.command("status", "--layer", "demo").stdout.splitlines()

    assert said == ["miss", "  the store has no snapshot with the layer demo",
                    "  migrations/versions/0002_made.py is new"]  # fmt: skip


def test_a_seed_is_named_when_it_is_new(seeded):
    seeded.ensure()
    seeded.configure('seeds = ["seeds:base", "seeds:demo"]')

    said = seeded.command("status").stdout.splitlines()

    assert said == ["miss", "  <seed seeds:demo> is new"]


@pytest.mark.parametrize("option", [("--keep", "0"), ("--older-than", "0s")])
def test_a_snapshot_in_use_is_said_to_have_stayed(project, option):
    project.history(1)
    with project.ensure().in_use():
        used = project.command("prune", *option)
    free = project.command("prune", *option)

    assert used.stdout.startswith("deleted 0 snapshots")
    assert "in use, and not deleted: 1 snapshot" in used.stderr.splitlines()
    assert free.stdout.startswith("deleted 1 snapshot")
    assert "in use" not in free.stderr


@pytest.mark.parametrize(("given", "advised"), [
    ("postgres", "postgresql"), ("PostgreSQL", "postgresql"), ("sqlite3", "sqlite"),
    ("Sqlite", "sqlite"), ("other", "sqlite or postgresql"),
])  # fmt: skip
def test_a_misspelt_backend_is_answered_with_the_nearest(project, monkeypatch, given, advised):
    monkeypatch.setenv("ALEMBIC_SNAPSHOT_BACKEND", given)

    done = project.command("status")

    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == f"hint: unset it, or set it to {advised}"


def test_list_of_the_shared_store_is_about_the_database_that_is_named(project, monkeypatch):
    project.history(1)
    project.write("more.ini", "[alembic]\nscript_location = %(here)s/more\n")
    project.write("more/env.py", (project.root / "migrations/env.py").read_text())
    project.revision("m1", folder=project.root / "more/versions")
    project.configure('[tool.alembic-snapshot.databases.more]\nconfig = "more.ini"\n')
    (project.root / "shared").mkdir()
    monkeypatch.setenv("ALEMBIC_SNAPSHOT_REMOTE", str(project.root / "shared"))
    project.command("build", "-q")
    project.command("push")

    def listed(*options):
        return json.loads(project.command("list", "--remote", "--json", *options).stdout)

    heads = {name: [one["heads"] for one in listed("--database", name)] for name in
             load_projects(project.root)}  # fmt: skip
    assert heads == {"default": [["0001"]], "more": [["m1"]]}
    assert len(listed()) == 2


class TestTheList:
    """Of what is in the store, which is looked at."""

    @pytest.fixture
    def built(self, project):
        project.history(2)
        return project.ensure().entry.database.path

    @pytest.mark.parametrize("how", ["altered", "cut", "gone", "of the same size"])
    def test_says_what_is_damaged(self, project, built, how):
        whole = built.read_bytes()
        left = {"altered": whole + b"x", "cut": whole[:600], "of the same size": b"x" + whole[1:]}
        built.unlink()
        if how in left:
            built.write_bytes(left[how])

        said = project.command("list").stdout.splitlines()
        records = json.loads(project.command("list", "--json").stdout)["snapshots"]

        damaged = [line for line in said if "damaged or changed: never used" in line]
        assert len(damaged) == 1
        assert [record["intact"] for record in records] == [
            record["path"] != str(built) for record in records
        ]
        assert damaged[0].split()[0] == (
            next(record["key"][:12] for record in records if record["path"] == str(built))
        )

    def test_says_nothing_of_what_is_whole(self, project, built):
        built.touch()  # as a checkout or a cache does

        said = project.command("list").stdout
        records = json.loads(project.command("list", "--json").stdout)["snapshots"]

        assert "damaged" not in said
        assert all(record["intact"] for record in records)


@pytest.fixture
def redirected(project):
    """A project whose env.py has an engine of its own."""
    project.history(1)
    project.append("alembic.ini", "sqlalchemy.url = sqlite:///app.db\n")
    own = "engine = __import__('sqlalchemy').create_engine('sqlite:///own.db')\nwith engine"
    text = (project.root / "migrations/env.py").read_text()
    project.write("migrations/env.py", text.replace("with engine", own))
    return project


@pytest.mark.parametrize(
    "command", ["build", "build -q", "status", "check", "list", "build --summary"]
)
@pytest.mark.parametrize("built", [False, True], ids=["at first", "on a hit"])
def test_what_a_build_warned_of_is_said_in_every_output(redirected, command, built):
    if built or command in ("status", "list"):
        redirected.command("build")

    said = redirected.command(*command.split())

    text = said.stdout + said.stderr
    assert "was redirected to the snapshot" in text or "1 warning" in text, text


def test_what_check_warns_of_is_in_its_record(redirected):
    record = json.loads(redirected.command("check", "--json").stdout)

    (warning,) = record["warnings"]
    assert "was redirected to the snapshot" in warning
