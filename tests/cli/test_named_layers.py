"""`build`, `status`, `key`, `push`, `pull` and `list` are about a project's named layers, too."""

from __future__ import annotations

import json
import os

import pytest

LAYERS = 'layers = { demo = ["seeding:demo"], shop = ["shop:fill"] }\n'


@pytest.fixture
def seeded(project):
    project.history(2)
    project.write("seeding.py", "def demo(c): ...\n")
    project.write("shop.py", "def fill(c): ...\n")
    project.configure(LAYERS)
    return project


def run(project, *arguments, status=0, **options):
    done = project.command(*arguments, **options)
    assert done.returncode == status, done.stderr
    return done


def facts(project, *arguments, status=0):
    return json.loads(run(project, *arguments, "--json", status=status).stdout)


class TestBuild:
    def test_makes_them_and_prints_the_bases_path(self, seeded):
        done = run(seeded, "build")

        assert done.stdout == f"{seeded.look_up().entry.database}\n"
        assert "building the snapshot: " in done.stderr
        assert "building layer demo: the store has no snapshot with the layer demo\n" in done.stderr
        assert all(seeded.look_up(layer=name).entry for name in ("demo", "shop"))
        assert "layer" not in run(seeded, "build").stderr

    def test_has_a_record_of_each(self, seeded):
        made = facts(seeded, "build")
        seeded.append("shop.py", "# edited\n")
        again = facts(seeded, "build")

        assert made.keys() - made["layers"]["demo"].keys() == {"layers"}
        assert made["layers"]["demo"]["key"] == seeded.look_up(layer="demo").chain.target.digest
        assert {name: one["built"] for name, one in made["layers"].items()} == {
            "demo": True,
            "shop": True,
        }
        assert (again["built"], again["layers"]["demo"]["built"]) == (False, False)
        assert again["layers"]["shop"]["why"] == ["shop.py changed"]

    def test_of_one_that_is_named_is_of_that_one(self, seeded):
        demo = facts(seeded, "build", "--layer", "demo")
        early = facts(seeded, "build", "--revision", "0001")

        assert "layers" not in demo
        assert "layers" not in early
        assert seeded.look_up(layer="shop").entry is None

    def test_from_nothing_compares_each(self, seeded):
        seeded.write("shop.py", "def fill(c): c.exec_driver_sql('create table t (x)')\n")
        random = "import os\ndef demo(c):\n    c.exec_driver_sql('create table r (x)')\n"
        random += "    c.exec_driver_sql(f\"insert into r values ('{os.urandom(4).hex()}')\")\n"
        seeded.write("seeding.py", random)
        run(seeded, "build")

        done = run(seeded, "build", "--from-scratch", "--json", status=1)

        layers = json.loads(done.stdout)["layers"]
        assert layers["demo"]["difference"]["tables"]["r"]["added"] == 1
        assert layers["shop"]["difference"] == {"schema": [], "tables": {}}

    def test_that_fails_says_which(self, seeded):
        seeded.write("shop.py", "def fill(c): 1 / 0\n")

        assert "seed shop:fill failed" in run(seeded, "build", status=2).stderr

    def test_a_layer_whose_module_is_missing_is_told(self, seeded):
        seeded.configure('layers = { demo = ["nowhere:demo"] }')

        for command in ("build", "status", "key"):
            assert "no module 'nowhere'" in run(seeded, command, status=2).stderr

    def test_has_a_summary_of_each(self, seeded):
        text = run(seeded, "build", "--summary").stdout

        heads = [line for line in text.splitlines() if line.startswith("###")]
        assert heads == [
            "### Database snapshot",
            "### Database snapshot layer demo",
            "### Database snapshot layer shop",
        ]

    def test_says_a_finding_once(self, seeded):
        seeded.revision("0003", "0002", upgrade="import sqlalchemy\nop.execute('select 1')")
        seeded.write(
            "migrations/env.py",
            (seeded.root / "migrations/env.py")
            .read_text()
            .replace(
                "target_metadata = None", "import sqlalchemy as sa\ntarget_metadata = sa.MetaData()"
            ),
        )

        done = run(seeded, "build")

        lines = [line for line in done.stderr.splitlines() if "t_0001" in line]
        assert len(lines) == len(set(lines)) > 0


class TestStatus:
    def test_is_a_hit_only_if_each_is_there(self, seeded):
        run(seeded, "build")
        assert run(seeded, "status").stdout.count("hit /") == 3
        seeded.append("shop.py", "# edited\n")

        done = run(seeded, "status", status=1)

        lines = done.stdout.splitlines()
        assert lines[0].startswith("hit ")
        assert any(line.startswith("  layer demo: hit /") for line in lines)
        assert lines[-2:] == ["  layer shop: miss", "    shop.py changed"]

    def test_has_a_record_of_each(self, seeded):
        seeded.ensure()
        seeded.ensure(layer="demo")

        said = facts(seeded, "status", status=1)

        assert said["hit"]
        assert {name: one["hit"] for name, one in said["layers"].items()} == {
            "demo": True,
            "shop": False,
        }

    def test_of_one_that_is_named_is_of_that_one(self, seeded):
        seeded.ensure(layer="demo")

        assert "layers" not in facts(seeded, "status", "--layer", "demo")
        assert "layers" not in facts(seeded, "status", "--revision", "head")
        assert facts(seeded, "status", "--layer", "shop", status=1)["hit"] is False


class TestKey:
    def key(self, project, *arguments):
        return run(project, "key", *arguments).stdout.strip()

    def test_changes_with_the_seed_of_any(self, seeded):
        before, demo = self.key(seeded), self.key(seeded, "--layer", "demo")
        seeded.append("shop.py", "# edited\n")

        assert self.key(seeded) != before
        assert self.key(seeded, "--layer", "demo") == demo

    def test_without_layers_is_the_snapshots(self, seeded):
        seeded.configure()

        assert self.key(seeded) == seeded.look_up().chain.key

    def test_changes_with_a_layers_name_and_not_with_their_order(self, seeded):
        before = self.key(seeded)
        seeded.configure('layers = { shop = ["shop:fill"], demo = ["seeding:demo"] }')
        assert self.key(seeded) == before
        seeded.configure('layers = { shop = ["shop:fill"], other = ["seeding:demo"] }')

        assert self.key(seeded) != before

    def test_explains_each(self, seeded):
        lines = run(seeded, "key", "--explain").stdout.splitlines()
        record = facts(seeded, "key")

        assert lines[0] == record["key"]
        assert any(line.startswith("seed seeding:demo") for line in lines)
        assert lines.count("layer shop") == 1
        assert record["named_layers"]["shop"]["layers"][-1]["name"] == "shop:fill"


def test_of_several_databases_each_has_its_own(seeded):
    seeded.write("events.ini", "[alembic]\nscript_location = %(here)s/migrations\n")
    table = '[tool.alembic-snapshot.databases.events]\nconfig = "events.ini"\n'
    seeded.configure(f'{LAYERS}{table}layers = {{ busy = ["shop:fill"] }}\n')
    key = run(seeded, "key").stdout

    made = facts(seeded, "build")

    assert list(made["databases"]["events"]["layers"]) == ["busy"]
    assert list(made["databases"]["default"]["layers"]) == ["demo", "shop"]
    assert run(seeded, "status").returncode == 0
    seeded.append("seeding.py", "# edited\n")
    assert run(seeded, "key").stdout != key
    assert run(seeded, "status", status=1).stdout.count("miss") == 1


class TestList:
    def test_tells_them_apart(self, seeded):
        run(seeded, "build")

        listed = facts(seeded, "list")["snapshots"]

        assert sorted(one["layer"] or "" for one in listed if one["heads"] == ["0002"]) == [
            "",
            "demo",
            "shop",
        ]
        head, *rows = run(seeded, "list").stdout.splitlines()
        assert "layer" in head
        assert sum(" demo " in row for row in rows) == 1

    def test_has_no_name_for_what_no_layer_is_made_of(self, seeded):
        seeded.ensure(layer="demo")
        seeded.configure('layers = { shop = ["shop:fill"] }')

        assert {one["layer"] for one in facts(seeded, "list")["snapshots"]} == {None}


class TestSharedStore:
    @pytest.fixture
    def shared(self, seeded):
        folder = seeded.root.parent / "shared"
        folder.mkdir()
        seeded.configure(f'{LAYERS}remote = "{folder}"\n')
        return seeded

    def test_gets_them_by_push_and_gives_them_by_pull(self, shared):
        writer = {"env": {**os.environ, "ALEMBIC_SNAPSHOT_REMOTE_WRITE": "1"}}
        run(shared, "build", "--no-remote")
        pushed = run(shared, "push", **writer)
        elsewhere = ("--store", str(shared.root.parent / "another"))

        done = run(shared, "pull", *elsewhere)

        assert [line.split(":")[0] for line in pushed.stdout.splitlines()[1:]] == [
            "layer demo",
            "layer shop",
        ]
        assert len(done.stdout.splitlines()) == 1
        assert [line.split(":")[0] for line in done.stderr.splitlines()] == [
            "layer demo",
            "layer shop",
        ]
        assert run(shared, "status", *elsewhere, "--json").returncode == 0
        record = json.loads(run(shared, "list", "--remote", "--json").stdout)
        assert {one["layer"] for one in record} == {None, "demo", "shop"}

    def test_that_lacks_one_is_a_miss(self, shared):
        writer = {"env": {**os.environ, "ALEMBIC_SNAPSHOT_REMOTE_WRITE": "1"}}
        run(shared, "build", "--no-remote")
        run(shared, "push", "--layer", "demo", **writer)
        elsewhere = ("--store", str(shared.root.parent / "another"))

        done = run(shared, "pull", *elsewhere, status=1)

        assert "layer shop: miss" in done.stderr
        assert "layer shop: miss" in run(shared, "status", *elsewhere, status=1).stdout

    def test_is_not_given_what_is_not_built(self, shared):
        shared.ensure()

        done = run(shared, "push", status=2)

        assert "build --layer demo" in done.stderr
