"""The library's variables: a name that nobody reads is an error, and never a setting in vain."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from alembic_snapshot.cli.commands import main
from alembic_snapshot.errors import ConfigError
from alembic_snapshot.project.variables import refuse_unknown

ROOT = Path(__file__).parents[2]
READ = {
    name
    for path in (ROOT / "src").rglob("*.py")
    for name in re.findall(r"\bALEMBIC_SNAPSHOT_\w*[A-Z]\b", path.read_text(encoding="utf-8"))
}
TAUGHT = {
    name
    for path in (ROOT / "docs").rglob("*.md")
    for name in re.findall(r"\bALEMBIC_SNAPSHOT_\w*[A-Z]\b", path.read_text(encoding="utf-8"))
}
MEANT = {
    "ALEMBIC_SNAPSHOT_STORE": "did you mean ALEMBIC_SNAPSHOT_DIR?",
    "ALEMBIC_SNAPSHOT_DIRECTORY": "did you mean ALEMBIC_SNAPSHOT_DIR?",
    "ALEMBIC_SNAPSHOT_REMOTES": "did you mean ALEMBIC_SNAPSHOT_REMOTE?",
    "ALEMBIC_SNAPSHOT_REMOTE_SCOPES": "did you mean ALEMBIC_SNAPSHOT_REMOTE_SCOPE?",
    "ALEMBIC_SNAPSHOT_SIGNING_KEY": "did you mean ALEMBIC_SNAPSHOT_REMOTE_SIGNING_KEY?",
    "ALEMBIC_SNAPSHOT_POSTGRESQL_DIR": "did you mean ALEMBIC_SNAPSHOT_POSTGRES_DIR?",
    "ALEMBIC_SNAPSHOTS_DIR": "did you mean ALEMBIC_SNAPSHOT_DIR?",
    "alembic_snapshot_backend": "did you mean ALEMBIC_SNAPSHOT_BACKEND?",
    "ALEMBICSNAPSHOT_DIR": "did you mean ALEMBIC_SNAPSHOT_DIR?",
    "ALEMBIC_SNAPSHOT_NO_REMOTE": "give a command --no-remote, and pytest --snapshot-no-remote",
    "ALEMBIC_SNAPSHOT_MAX_SIZE": "known are ALEMBIC_SNAPSHOT_BACKEND, ALEMBIC_SNAPSHOT_DIR, "
    "ALEMBIC_SNAPSHOT_POSTGRES_DIR, ",
    "ALEMBIC_SNAPSHOT_": "known are ",
}


@pytest.fixture(autouse=True)
def _none(monkeypatch):
    for name in list(os.environ):
        if name.startswith("ALEMBIC_SNAPSHOT"):
            monkeypatch.delenv(name)


def test_every_name_in_the_code_and_the_docs_is_known(monkeypatch):
    assert len(READ) > 8
    for name in READ | TAUGHT:
        monkeypatch.setenv(name, "1")

    refuse_unknown()


def test_others_of_the_environment_are_left_alone(monkeypatch):
    for name in (
        "SNAPSHOT_DIR",
        "MY_ALEMBIC_SNAPSHOT_DIR",
        "ALEMBIC_CONFIG",
        "ALEMBIC_SNAPSHOTTER",
    ):
        monkeypatch.setenv(name, "1")

    refuse_unknown()


@pytest.mark.parametrize("value", ["1", ""])
@pytest.mark.parametrize("name", MEANT)
def test_an_unknown_one_is_refused_with_the_one_that_is_meant(monkeypatch, name, value):
    monkeypatch.setenv(name, value)

    with pytest.raises(ConfigError) as refused:
        refuse_unknown()

    assert refused.value.message == f"there is no variable {name}"
    assert refused.value.hint.startswith(MEANT[name])
    assert "PROBE" not in refused.value.hint


@pytest.mark.parametrize(
    "command",
    [
        "build", "status", "key", "check", "list", "prune --keep 1", "clone x.db", "diff x.db",
        "push", "pull", "psql", "init --yes", "doctor",
    ],
)  # fmt: skip
def test_every_command_refuses_it_and_writes_nothing(monkeypatch, tmp_path, capsys, command):
    (tmp_path / "pyproject.toml").write_text("[tool.alembic-snapshot]\n")
    (tmp_path / "alembic.ini").write_text("[alembic]\nscript_location = %(here)s/migrations\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ALEMBIC_SNAPSHOT_STORE", "elsewhere")

    with pytest.raises(SystemExit) as ended:
        main(command.split())

    told = capsys.readouterr()
    assert "there is no variable ALEMBIC_SNAPSHOT_STORE" in told.err + told.out
    assert "did you mean ALEMBIC_SNAPSHOT_DIR?" in told.err + told.out
    assert ended.value.code == (1 if command == "doctor" else 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["alembic.ini", "pyproject.toml"]
