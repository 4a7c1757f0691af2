"""A command that a message names works as it stands: typed where the reader is, and unchanged."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from alembic_snapshot import load_project
from alembic_snapshot.project.commands import alembic_command, own_command

from .shapes import URLS

TEMPLATE = """
    from alembic import op
    import sqlalchemy as sa
    revision = ${repr(up_revision)}
    down_revision = ${repr(down_revision)}
    def upgrade():
        ${upgrades if upgrades else "pass"}
"""
MODELS = """
    from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
    class Base(DeclarativeBase): ...
    class Log(Base):
        __tablename__ = "logs"
        id: Mapped[int] = mapped_column(primary_key=True)
"""
COMMAND = re.compile(
    r"((?:cd \S+ && )?(?:alembic (?:-\S+ \S+ )*|flask (?:-\S+ \S+ )*db )"
    r"(?:merge heads|revision --autogenerate|migrate(?: -d [^\s`]+)?)"
    r"|alembic-snapshot (?:build|status|doctor|prune)(?: --\S+ [^\s`]+)*)"
)


def typed(command, place):
    """Type a command in a shell, where the reader is."""
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    kept = {n: v for n, v in os.environ.items() if not n.startswith(("ALEMBIC", "PYTEST", "FLASK"))}
    return subprocess.run(
        command, shell=True, cwd=place, env={**kept, "PATH": programs}, capture_output=True,
        text=True, timeout=120, check=False,
    )  # fmt: skip


def commands_in(text, beginning=""):
    return [one for one in dict.fromkeys(COMMAND.findall(text)) if beginning in one]


@pytest.fixture
def with_logs(folder):
    """A project with a second database, in a section of the same file, in which two heads are."""
    folder.shape("src")
    folder.write("src/shop/logs.py", MODELS)
    env = URLS["option"].replace("PACKAGE.models", "shop.logs")
    folder.write("logs/env.py", env)
    for name in "ab":
        folder.write(f"logs/versions/{name}.py", f"revision, down_revision = '{name}', None\n"
                     "def upgrade(): ...\ndef downgrade(): ...\n")  # fmt: skip
    for scripts in ("logs", "migrations"):
        folder.write(f"{scripts}/script.py.mako", TEMPLATE)
    ini = folder.read("alembic.ini")
    folder.write("alembic.ini", ini + "[logs]\nscript_location = %(here)s/logs\n"
                 "prepend_sys_path = src\nsqlalchemy.url = sqlite:///logs.db\n")  # fmt: skip
    folder.write("pyproject.toml", '[tool.alembic-snapshot]\npythonpath = ["src"]\n'
                 '[tool.alembic-snapshot.databases.logs]\nsection = "logs"\n')  # fmt: skip
    return folder


PLACES = ("", "src/shop", "elsewhere")


@pytest.mark.parametrize("place", PLACES)
def test_two_heads_of_a_second_database_are_joined_in_its_own_scripts(with_logs, place):
    where = with_logs.root / place
    where.mkdir(exist_ok=True)
    said = with_logs.command("check", "--no-stairway", "--database", "logs", cwd=where).stdout
    (command,) = commands_in(said, "merge")

    done = typed(command, where)

    assert done.returncode == 0, done.stderr
    assert len(list((with_logs.root / "logs/versions").glob("*.py"))) == 3
    assert len(list((with_logs.root / "migrations/versions").glob("*.py"))) == 1


@pytest.mark.parametrize("place", ["", ".."])
@pytest.mark.parametrize("options", [(), ("--store", "other store")])
def test_what_doctor_names_is_about_the_database_and_the_store_that_it_speaks_of(
    with_logs, place, options
):
    (with_logs.root / "logs/versions/b.py").unlink()
    where = with_logs.root / place
    named = ("--config", str(with_logs.root / "pyproject.toml")) if place else ()

    def hints():
        said = with_logs.command("doctor", *named, *options, cwd=where).stdout
        return re.findall(r"! (.*): .*\n +hint: (alembic-snapshot (?:build|status).*?) (?:builds|"
                          r"lists|compares)", said)  # fmt: skip

    before = hints()
    for _, command in before:
        assert typed(command, where).returncode == 0
    after = hints()
    listed = [typed(command, where).stdout for _, command in after]

    assert [about for about, _ in before] == ["default: snapshot: not built",
                                              "logs: snapshot: not built"]  # fmt: skip
    assert [about for about, _ in after] == ["logs: models"]
    assert ["add table logs" in one for one in listed] == [True]


def test_a_missing_snapshot_that_is_to_be_pushed_is_the_one_that_the_hint_builds(with_logs):
    (with_logs.root / "logs/versions/b.py").unlink()
    with_logs.write("src/shop/seeds.py", "def demo(connection):\n    pass\n")
    with_logs.write("pyproject.toml", with_logs.read("pyproject.toml") + 'layers = {demo = '
                    '["shop.seeds:demo"]}\n')  # fmt: skip
    with_logs.variables["ALEMBIC_SNAPSHOT_REMOTE"] = str(with_logs.root / "shared")
    which = ("--database", "logs", "--layer", "demo", "--store", "kept")
    (with_logs.root / "shared").mkdir()
    (command,) = commands_in(with_logs.command("push", *which).stderr)

    assert typed(command, with_logs.root).returncode == 0
    assert with_logs.command("push", *which).returncode == 0


@pytest.mark.parametrize("ini", ["conf/db.ini", "migrations/alembic.ini", "backend/alembic.ini"])
def test_a_revision_is_made_whatever_file_alembics_settings_are_in(folder, ini):
    inside = Path(ini).parts[0]
    folder.shape("backend" if inside == "backend" else "flat")
    scripts = folder.root / ("backend/migrations" if inside == "backend" else "migrations")
    text = folder.read("alembic.ini" if inside != "backend" else "backend/alembic.ini")
    there = "%(here)s" if inside == "migrations" else "migrations"
    text = text.replace("%(here)s/migrations", there)
    (folder.root / "alembic.ini").unlink(missing_ok=True)
    folder.write(ini, text)
    folder.write(str(scripts.relative_to(folder.root) / "script.py.mako"), TEMPLATE)
    folder.write("pyproject.toml", f'[tool.alembic-snapshot]\nconfig = "{ini}"\n')
    (folder.root / "below").mkdir()
    for place in ("", "below"):
        command = _spelled(folder, place)
        assert typed(command, folder.root / place).returncode == 0, command


def _spelled(folder, place):
    """The command with which all revisions can be seen, as a message in that place has it."""
    code = ("from alembic_snapshot import load_project\n"
            "from alembic_snapshot.project.commands import alembic_command\n"
            "print(alembic_command(load_project(), 'upgrade', 'head'))\n")  # fmt: skip
    where = folder.root / place
    done = subprocess.run([sys.executable, "-c", code], cwd=where, capture_output=True, text=True,
                          check=True)  # fmt: skip
    return done.stdout.strip()


FLASK = """
    from flask import Flask
    from flask_migrate import Migrate
    from flask_sqlalchemy import SQLAlchemy

    db = SQLAlchemy()

    def create_app():
        app = Flask(__name__)
        app.config["SQLALCHEMY_DATABASE_URI"] = "sqlite:///:memory:"
        db.init_app(app)
        Migrate(app, db, directory="DIRECTORY")
        return app
"""


@pytest.mark.parametrize("source", ["", "src/"])
@pytest.mark.parametrize("scripts", ["migrations", "db/scripts"])
def test_the_command_of_flask_migrate_is_flask(folder, scripts, source):
    folder.write(f"{source}blog.py", FLASK.replace("DIRECTORY", "elsewhere"))
    app = f"{source}blog:create_app"
    made = typed(f"flask --app {app} db init -d {scripts}", folder.root)
    assert made.returncode == 0, made.stderr
    folder.write("pyproject.toml", f'[tool.alembic-snapshot]\nconfig = "{scripts}/alembic.ini"\n'
                 f'pythonpath = ["{source or "."}"]\n'
                 'context = "blog:create_app().app_context()"\n')  # fmt: skip
    said = folder.command("doctor").stdout
    (command,) = commands_in(said, "flask")

    done = typed(command, folder.root)

    assert done.returncode == 0, done.stderr
    assert done.stderr.count("No changes in schema detected") or list(
        (folder.root / scripts / "versions").glob("*.py")
    )


def test_options_that_the_project_needs_are_spelled_for_a_shell(folder, monkeypatch):
    folder.shape()
    folder.write("pyproject.toml", '[tool.alembic-snapshot]\nx = ["tenant=a b"]\n')
    monkeypatch.chdir(folder.root)
    project = load_project(store="my store")

    assert shlex.split(alembic_command(project, "check")) == [
        "alembic", "-x", "tenant=a b", "check",
    ]  # fmt: skip
    assert shlex.split(own_command(project, "status", layer="a b", revision=None)) == [
        "alembic-snapshot", "status", "--store", str(folder.root / "my store"), "--layer", "a b",
    ]  # fmt: skip


def test_a_plain_project_has_plain_commands(folder, monkeypatch):
    folder.shape()
    folder.write("pyproject.toml", "[tool.alembic-snapshot]\n")
    monkeypatch.chdir(folder.root)

    assert own_command(load_project(), "status") == "alembic-snapshot status"
    assert alembic_command(load_project(), "merge", "heads") == "alembic merge heads"
