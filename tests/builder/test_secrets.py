"""What a store keeps and commands show: no value of a setting, and nothing for more readers."""

from __future__ import annotations

import os
import stat

import pytest

SECRET = "correct-horse-battery"
# Where a secret may stand: the file, what is in it, and how the change is called.
PLACES = {
    "own option": ("alembic.ini", "admin_password = {}\n", "<[alembic] admin_password>"),
    "own section": ("alembic.ini", "[shop]\ntoken = {}\n", "<[shop] token>"),
    "variable": ("pyproject.toml", 'environment = {{ KEY = "{}" }}\n', "<environment KEY>"),
    "argument": ("pyproject.toml", 'x = ["key={}"]\n', "<x>"),
    "table": ("pyproject.toml", '[tool.alembic]\nkey = "{}"\n', "<tool.alembic.key>"),
    "option of env.py": ("migrations/env.py", "", "tenant, which env.py gives"),
}


def write(project, place, secret):
    name, text, _ = PLACES[place]
    project.append(name, text.format(secret))
    if not text:
        env = (project.root / name).read_text()
        project.write(name, env.replace("connection=", f"tenant='{secret}', connection="))


def contents(project):
    store = project.root / ".alembic-snapshot"
    return {path: path.read_bytes() for path in store.rglob("*") if path.is_file()}


@pytest.mark.parametrize("place", PLACES)
def test_no_value_of_a_setting_is_kept_or_shown(project, place):
    project.history(1)
    write(project, place, SECRET)

    project.ensure()
    shown = [
        project.command(*line.split()).stdout
        for line in ("key --explain", "key --json", "status", "status --json", "list --json")
    ]

    for path, content in contents(project).items():
        assert SECRET.encode() not in content, path
    assert not any(SECRET in text for text in shown)


@pytest.mark.parametrize("place", [place for place in PLACES if place != "option of env.py"])
@pytest.mark.parametrize("other", ["another", f"{SECRET} ", SECRET.upper()])
def test_another_value_is_a_miss_that_names_the_setting(project, place, other):
    project.history(1)
    before = {name: (project.root / name).read_text() for name in ("alembic.ini", "pyproject.toml")}
    write(project, place, SECRET)
    project.ensure()
    for name, text in before.items():
        project.write(name, text)
    write(project, place, other)

    found = project.look_up()

    assert found.entry is None or other == f"{SECRET} "
    if found.entry is None:
        assert f"{PLACES[place][2]} changed" in " ".join(found.reasons)


@pytest.mark.parametrize("umask", [0o022, 0o027, 0o077])
def test_files_have_the_permissions_that_the_umask_leaves(project, umask):
    project.history(2)
    before = os.umask(umask)
    try:
        snapshot = project.ensure()
    finally:
        os.umask(before)

    store = project.root / ".alembic-snapshot"
    for path in [store, *store.rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) & umask == 0, path
    assert stat.S_IMODE(snapshot.path.stat().st_mode) == 0o444 & ~umask
    assert stat.S_IMODE(snapshot.path.parent.stat().st_mode) == 0o755 & ~umask


def test_a_folder_in_the_way_of_what_is_known_of_files_leaves_nothing(project):
    project.history(1)
    facts = project.root / ".alembic-snapshot/facts.json"
    facts.mkdir(parents=True)

    project.command("key")

    assert list(facts.parent.iterdir()) == [facts]


def test_an_escape_sequence_of_a_migration_reaches_no_terminal(project):
    project.revision("0001", upgrade="raise ValueError('\\x1b[31mred')")

    done = project.command("build", "--traceback")

    assert done.returncode == 2
    assert "\x1b" not in done.stderr
    assert r"\x1b[31mred" in done.stderr
