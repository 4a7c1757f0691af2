"""A URL that is printed leads somewhere, or it is said that its server ends."""

from __future__ import annotations

import json
import os
import re
import shlex

import pytest

NOTE = "the URL leads to a private server, which ends with this command"
NAME = f"printed_{os.getpid()}"


@pytest.fixture
def on_private_server(folder, monkeypatch):
    """A project whose databases are on the private server."""
    monkeypatch.delenv("SNAPSHOT_POSTGRES_URL", raising=False)
    folder.shape()
    folder.write("pyproject.toml", '[tool.alembic-snapshot]\nbackend = "postgresql"\n')
    yield folder
    drop = 'echo "drop database if exists $0" | "$@"'
    for name in (NAME, f"{NAME}_json"):
        folder._run("alembic_snapshot", "psql", before=("sh", "-c", drop, name))
    folder.command("prune", "--keep", "0")


def test_what_leads_to_a_private_server_names_the_command_that_opens_it(on_private_server):
    shop = on_private_server
    made = shop.command("clone", NAME)
    as_json = shop.command("clone", f"{NAME}_json", "--json")

    for done, name in ((made, NAME), (as_json, f"{NAME}_json")):
        assert done.returncode == 0, done.stderr
        (told,) = re.findall(rf"^{NOTE}: `(.*)` starts it", done.stderr, re.MULTILINE)
        program, *words = shlex.split(told)
        assert (program, words) == ("alembic-snapshot", ["psql", name])
        assert shop.command(*words).returncode == 0
    for command in ("build", "status", "list"):
        done = shop.command(command, "--json")
        assert json.loads(done.stdout)
        assert NOTE in done.stderr.splitlines()
        assert NOTE not in shop.command(command).stderr


def test_of_a_file_nothing_is_said(folder):
    folder.shape()
    folder.write("pyproject.toml", "[tool.alembic-snapshot]\n")

    for command in (["clone", "mine.db"], ["build", "--json"], ["status", "--json"]):
        done = folder.command(*command)
        assert done.returncode == 0
        assert NOTE not in done.stderr
