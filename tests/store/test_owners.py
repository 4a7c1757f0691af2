"""Several projects in one store or on one server: each lists and deletes its own."""

from __future__ import annotations

import json
import shutil

import pytest

from alembic_snapshot import SnapshotError
from alembic_snapshot.project.owner import identity, owner

from ..sample import SampleProject

TABLES = """
    [databases.events]
    config = "events.ini"
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def shared(request, tmp_path, monkeypatch, names_of_backend):
    """A folder for the store of all; the server is shared anyway."""
    monkeypatch.setenv("ALEMBIC_SNAPSHOT_DIR", str(tmp_path / "store"))
    monkeypatch.setenv("ALEMBIC_SNAPSHOT_BACKEND", request.param)
    names_of_backend(request.param)
    return tmp_path


@pytest.fixture
def names_of_backend(request):
    def choose(backend):
        if backend == "postgresql":
            request.getfixturevalue("postgres")
            postgres = request.getfixturevalue("postgres")
            with postgres.connect() as connection:
                from alembic_snapshot.postgres import databases

                databases.drop_named(connection, databases.SNAPSHOT)

    return choose


def made(folder, name=None, table="c"):
    """A project with one revision of its own, built; its pyproject may declare a name."""
    project = SampleProject(folder)
    project.revision("0001", upgrade=f"op.create_table({table!r}, sa.Column('id', sa.Integer))")
    if name:
        project.append("pyproject.toml", f'[project]\nname = "{name}"\n')
    project.ensure()
    return project


def listed(project, *options):
    done = project.command("list", "--json", *options)
    assert done.returncode == 0, done.stderr
    return {entry["key"] for entry in json.loads(done.stdout)["snapshots"]}, done.stderr


# Two projects that one could take for one another; what they declare.
PAIRS = {
    "nothing is declared": ("a/shop", None, "b/shop", None),
    "only one declares a name": ("a/shop", "shop", "b/shop", None),
    "two names": ("a/shop", "shop", "b/shop", "shop2"),
    "a name that another's begins with": ("a/shop", "shop", "b/shop", "shop-two"),
}


@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS)
def test_each_lists_and_deletes_its_own(shared, pair):
    first = made(shared / pair[0], pair[1], "first")
    second = made(shared / pair[2], pair[3], "second")

    own, note = listed(first)
    every, no_note = listed(first, "--all")
    pruned = first.command("prune", "--keep", "0")

    assert own == {first.key()}
    assert note.startswith("not looked at: 1 snapshot of others (--all)\n")
    assert every == {first.key(), second.key()}
    assert "not looked at" not in no_note
    assert pruned.stdout.startswith("deleted 1 snapshot,")
    assert pruned.stderr == "not looked at: 1 snapshot of others (--all)\n"
    assert listed(first, "--all")[0] == {second.key()}
    assert first.look_up().entry is None
    assert second.look_up().entry is not None
    assert first.command("prune", "--keep", "0", "--all").stdout.startswith("deleted 1 snapshot,")
    assert listed(second, "--all")[0] == set()


def test_another_checkout_of_a_project_with_a_name_is_the_same(shared):
    first = made(shared / "one", "Shop_App")
    shutil.copytree(first.root, shared / "two")
    second = SampleProject.__new__(SampleProject)
    second.root, second.versions = shared / "two", shared / "two/migrations/versions"
    second.configure("[project]\nname = 'shop.app'")

    assert listed(second)[0] == {first.key()}
    assert owner(second.load()) == owner(first.load()) == "shop-app"


def test_why_compares_with_the_projects_own(shared):
    first = made(shared / "a/shop", table="first")
    second = SampleProject(shared / "b/shop")
    second.history(1)

    assert second.look_up().reasons == ("the store has no snapshot of this project",)
    first.revision("0002", "0001")
    assert "migrations/versions/0002_made.py" in " ".join(first.look_up().reasons)


def test_a_failed_build_of_another_stays(shared, names_of_backend):
    first = made(shared / "a/shop", table="first")
    second = made(shared / "b/shop", table="second")
    second.revision("0002", "0001", upgrade="1 / 0")
    with pytest.raises(SnapshotError):
        second.ensure()
    status = second.look_up()
    kept = status.store.failed_database(status.chain.target.digest)

    first.command("prune", "--keep", "9")
    stayed = kept.is_there(), status.store.failure(status.chain.target.digest) is not None
    second.command("prune", "--keep", "9")

    assert stayed == (True, True)
    assert not kept.is_there()


def test_databases_of_a_project_are_its_own_and_each_keeps_as_many(shared):
    project = made(shared / "shop")
    shutil.copytree(project.root / "migrations", project.root / "events")
    project.write("events.ini", "[alembic]\nscript_location = %(here)s/events\n")
    text = (project.versions / "0001_made.py").read_text().replace("'c'", "'e'")
    project.write("events/versions/0001_made.py", text)
    project.configure("[tool.alembic-snapshot.databases.events]\nconfig = 'events.ini'\n")
    project.ensure()
    events = project.command("build", "--database", "events")
    assert events.returncode == 0, events.stderr

    both, _ = listed(project)
    one, note = listed(project, "--database", "events")
    kept = project.command("prune", "--keep", "1")
    only = project.command("prune", "--keep", "0", "--database", "events")

    assert len(both) == 2
    assert len(one) == 1
    assert "1 snapshot of others" in note
    assert kept.stdout.startswith("deleted 0 snapshots")
    assert only.stdout.startswith("deleted 1 snapshot,")
    assert listed(project)[0] == both - one


def test_an_identity_has_the_owner_the_database_and_the_scripts(project):
    project.history(1)
    project.append("pyproject.toml", '[project]\nname = "My Shop"\n')

    assert identity(project.load()) == "my-shop default migrations"


@pytest.mark.parametrize(
    "to", ["moved/project", "job@2", "named/otherwise", "a folder with spaces/project"]
)
def test_a_project_without_a_name_has_its_own_folders_store_on_every_path(project, tmp_path, to):
    project.history(1)
    project.ensure()
    project.revision("0002", "0001", upgrade="1 / 0")
    with pytest.raises(SnapshotError):
        project.ensure()
    moved = SampleProject.__new__(SampleProject)
    moved.root = shutil.copytree(project.root, tmp_path / "elsewhere" / to)
    moved.versions = moved.root / "migrations/versions"
    moved.revision("0002", "0001")
    new = moved.ensure()

    every, note = listed(moved)
    (status,) = [line for line in moved.command("doctor").stdout.splitlines() if " store:" in line]
    kept = moved.command("prune", "--keep", "1")

    assert (len(every), note) == (2, "")
    assert "other projects" not in status
    assert (kept.returncode, kept.stderr) == (0, "")
    assert listed(moved, "--all")[0] >= {new.digest}
    assert list((moved.root / ".alembic-snapshot/failed").iterdir()) == []
    moved.revision("0001", upgrade="op.execute('create table other (x)')")
    last = moved.ensure()
    assert moved.command("prune", "--keep", "1").stdout.startswith("deleted ")
    assert listed(moved, "--all")[0] == {last.digest} | below(moved, last)
    assert not new.path.exists()


def below(project, snapshot):
    """The digests of what a snapshot stands on."""
    entries = project.look_up().store.entries()
    return {e.manifest.digest for e in entries if e.manifest.is_published_with(snapshot.manifest)}


@pytest.mark.parametrize("text", ["project = 3", "[project]\nname = 3", "[project]\nname = ' '",
                                  "[tool.poetry]\nversion = '1'"])  # fmt: skip
def test_what_is_no_name_is_none(project, text):
    project.history(1)
    project.write("pyproject.toml", f"{text}\n[tool.alembic-snapshot]\n")

    assert owner(project.load()) == "_unnamed"
    assert owner(project.load(store=project.root.parent / "elsewhere")).startswith("project-")
    project.append("pyproject.toml", 'backend = "postgresql"\n')
    assert owner(project.load()).startswith("project-")


def test_poetrys_name_counts(project):
    project.history(1)
    project.append("pyproject.toml", '[tool.poetry]\nname = "shop"\n')

    assert owner(project.load()) == "shop"
