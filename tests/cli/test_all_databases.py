"""The commands on a project with several databases: what is not said of one is said of all."""

from __future__ import annotations

import json

import pytest

ENV = """
    from alembic import context
    from sqlalchemy import engine_from_config, pool
    config = context.config
    section = config.get_section(config.config_ini_section, {})
    with engine_from_config(section, poolclass=pool.NullPool).connect() as connection:
        context.configure(connection=connection, target_metadata=None)
        with context.begin_transaction():
            context.run_migrations()
"""
REVISION = """
    from alembic import op
    revision, down_revision = "0001", None
    def upgrade():
        op.execute("create table NAME (id integer primary key, x text)")
    def downgrade():
        op.execute("drop table NAME")
"""


@pytest.fixture
def shop(folder):
    """A project with two databases that have nothing to be found."""
    table = '[tool.alembic-snapshot]\ndrift = "ignore"\nconfig = "shop.ini"\n'
    table += '[tool.alembic-snapshot.databases.logs]\ndrift = "ignore"\nconfig = "logs.ini"\n'
    folder.write("pyproject.toml", table)
    for name in ("shop", "logs"):
        folder.write(f"{name}/env.py", ENV)
        folder.write(f"{name}/versions/0001.py", REVISION.replace("NAME", name))
        folder.write(f"{name}.ini", f"[alembic]\nscript_location = %(here)s/{name}\n"
                     f"sqlalchemy.url = sqlite:///{name}.db\n")  # fmt: skip
    return folder


def change(shop, name, what="another"):
    path = f"{name}/versions/0001.py"
    shop.write(path, shop.read(path).replace(" x text", f" {what} text"))


def of(shop, *arguments, status=0):
    done = shop.command(*arguments)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout


def names_of(shop):
    listed = json.loads(of(shop, "list", "--json"))["snapshots"]
    return sorted(one["project"].rpartition(" ")[2] for one in listed)


def test_build_builds_all_and_status_looks_at_all(shop):
    missed = of(shop, "status", status=1).splitlines()
    built = of(shop, "build").splitlines()
    hit = of(shop, "status").splitlines()

    assert [line for line in missed if "miss" in line] == ["default: miss", "logs: miss"]
    assert [line.partition(": ")[0] for line in built] == ["default", "logs"]
    assert len(json.loads(of(shop, "list", "--json"))["snapshots"]) == 2
    assert [line for line in hit if "hit" in line] == [
        f"{name}: hit {path}" for name, _, path in (line.partition(": ") for line in built)
    ]


@pytest.mark.parametrize("changed", ["shop", "logs"])
def test_one_that_is_missing_is_a_miss(shop, changed):
    of(shop, "build", "-q")
    change(shop, changed)

    record = json.loads(of(shop, "status", "--json", status=1))
    of(shop, "build", "-q")

    assert [one["hit"] for one in record["databases"].values()] == [
        changed == "logs", changed == "shop",
    ]  # fmt: skip
    # What the record of one database has is there, too: the first's.
    assert record["databases"]["default"].items() <= record.items()
    assert of(shop, "status").count("hit ") == 2


@pytest.mark.parametrize("changed", ["shop", "logs"])
def test_the_key_is_another_when_the_revisions_of_any_change(shop, changed):
    before, record = of(shop, "key"), json.loads(of(shop, "key", "--json"))
    change(shop, changed)
    after, explained = of(shop, "key"), of(shop, "key", "--explain")
    keys = {
        name: one["key"] for name, one in json.loads(of(shop, "key", "--json"))["databases"].items()
    }

    assert before == f"{record['key']}\n"
    assert len(after.strip()) == 64
    assert after != before
    assert explained.startswith(f"{after}default: {keys['default']}\n")
    assert f"\nlogs: {keys['logs']}\n" in explained


def test_the_database_that_is_named_is_the_only_one(shop):
    of(shop, "build", "-q", "--database", "logs")

    assert of(shop, "status", "--database", "logs").startswith("hit ")
    assert of(shop, "status", "--database", "default", status=1).startswith("miss\n")
    assert json.loads(of(shop, "build", "--database", "logs", "--json")).keys() >= {"path", "key"}
    every = json.loads(of(shop, "key", "--json"))["databases"]
    assert of(shop, "key", "--database", "logs") == f"{every['logs']['key']}\n"


OF_ONE = [("--revision", "0001"), ("--config", "shop.ini")]


@pytest.mark.parametrize("option", OF_ONE, ids=[name for name, _ in OF_ONE])
@pytest.mark.parametrize("command", ["build", "status", "key"])
def test_what_is_about_one_says_which_it_leaves_out(shop, command, option):
    of(shop, "build", "-q")

    done = shop.command(command, *option)
    named = shop.command(command, *option, "--database", "default")

    said = f"not looked at: logs ({option[0]} is about one database; --database names it)"
    assert done.returncode == 0
    assert said in done.stderr.splitlines()
    assert done.stdout == named.stdout
    assert "not looked at" not in named.stderr


def test_the_project_that_is_named_has_all_of_its_databases(shop):
    named = ("--config", "pyproject.toml")

    assert len(of(shop, "build", "-q", *named).splitlines()) == 2
    assert of(shop, "status", *named).count("hit ") == 2
    checked = of(shop, "check", "--no-stairway", "-q", *named)
    assert [line.partition(":")[0] for line in checked.splitlines()] == ["default", "logs"]


def test_a_summary_has_a_part_for_each(shop):
    shown = of(shop, "build", "-q", "--summary")

    titles = [line for line in shown.splitlines() if line.startswith("### ")]
    assert titles == ["### Database snapshot default", "### Database snapshot logs"]


def test_push_and_pull_are_about_all(shop):
    (shop.root / "shared").mkdir()
    shop.variables["ALEMBIC_SNAPSHOT_REMOTE"] = str(shop.root / "shared")
    of(shop, "build", "-q", "--no-remote")
    pushed = of(shop, "push").splitlines()
    pulled = of(shop, "pull", "--store", "other").splitlines()

    assert [line.partition(": ")[0] for line in pushed] == ["default", "logs"]
    assert [line.partition(": ")[0] for line in pulled] == ["default", "logs"]
    assert of(shop, "status", "--store", "other", "--no-remote", status=1).count("miss") == 2
    assert of(shop, "status", "--store", "other").count("hit ") == 2


@pytest.mark.parametrize("command", ["build", "check", "status", "key"])
def test_an_error_in_one_says_what_was_done_before_and_what_is_left(shop, command):
    table = '[tool.alembic-snapshot.databases.rest]\ndrift = "ignore"\nconfig = "rest.ini"\n'
    shop.write("pyproject.toml", shop.read("pyproject.toml") + table)
    shop.write("rest.ini", shop.read("logs.ini").replace("logs", "rest"))
    shop.write("rest/env.py", ENV)
    shop.write("logs/versions/0001.py", "revision = (")

    done = shop.command(command)

    assert (done.returncode, done.stdout) == (2, "")
    lines = done.stderr.splitlines()
    error = next(number for number, line in enumerate(lines) if line.startswith("error: "))
    assert lines[error - 1] == "the error is of the database logs; not looked at: rest"
    assert lines[error - 2].startswith("  " if command == "status" else "default: ")


def test_an_error_of_the_only_one_needs_no_name(shop):
    shop.write("logs/versions/0001.py", "revision = (")

    done = shop.command("status", "--database", "logs")

    assert done.stderr.startswith("error: ")
