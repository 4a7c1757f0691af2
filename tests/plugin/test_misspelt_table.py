"""A table whose name is nearly right, and no table at all: both are told, and what to do."""

from __future__ import annotations

import subprocess
import sys

import pytest

from alembic_snapshot.errors import ConfigError
from alembic_snapshot.project.places import table_above

MISSPELT = [
    "tool.alembic_snapshot",
    "tool.alembic-snapshots",
    "alembic-snapshot",
    "tool.alembic.snapshot",
    "tool.pytest-alembic-snapshot",
    "tool.Alembic-Snapshot",
    "tool.alembic-snaphsot",
]
TEST = "def test_it(db_session): pass"


def misspell(shop, name):
    shop.replace("pyproject.toml", "[tool.alembic-snapshot]", f"[{name}]")


def command(*arguments):
    run = [sys.executable, "-m", "alembic_snapshot", *arguments]
    return subprocess.run(run, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("name", MISSPELT)
def test_a_run_is_told_both_names(shop, name):
    misspell(shop, name)
    text = (shop.root / "pyproject.toml").read_text()

    result = shop.run(test_it=TEST)
    error = f"{shop.root}/pyproject.toml has [{name}], and no [tool.alembic-snapshot]"

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert error in result.stderr.str()
    hint = result.stderr.str().partition("hint: write ")[2].splitlines()[0]
    right, _, wrong = hint.partition(" instead of ")
    (shop.root / "pyproject.toml").write_text(text.replace(wrong, right))
    shop.run().assert_outcomes(passed=1)


# The same table, spelled by keys that have no header of their own.
BY_KEYS = {
    "[tool]\nalembic_snapshot.engine = 'a:b'": "tool.alembic_snapshot",
    "[tool]\nalembic-snapshots = { engine = 'a:b' }": "tool.alembic-snapshots",
    "[tool]\n'alembic snapshot' = { engine = 'a:b' }": "tool.alembic snapshot",
    "[tool]\nalembic.snapshot.engine = 'a:b'": "tool.alembic.snapshot",
    "[tool]\nx = 1\n\talembic_snapshot . engine = 'a:b'": "tool.alembic_snapshot",
    "tool.alembic_snapshot.engine = 'a:b'": "tool.alembic_snapshot",
    "tool = { alembic_snapshot.engine = 'a:b' }": "tool.alembic_snapshot",
    "tool = { x = 1, alembic_snapshot = { engine = 'a:b' } }": "tool.alembic_snapshot",
    "alembic-snapshot.engine = 'a:b'": "alembic-snapshot",
}


@pytest.mark.parametrize("text", BY_KEYS)
def test_a_table_without_a_header_is_told_both_names(tmp_path, text):
    (tmp_path / "pyproject.toml").write_text(f"{text}\n")

    with pytest.raises(ConfigError) as caught:
        table_above(tmp_path)

    assert caught.value.message.endswith(f"has [{BY_KEYS[text]}], and no [tool.alembic-snapshot]")


@pytest.mark.parametrize("arguments", [("build",), ("status",), ("list",), ("init", "--print")])
def test_a_command_is_told_both_names(shop, arguments):
    misspell(shop, "tool.alembic_snapshot")

    done = command(*arguments)

    assert done.returncode == 2
    assert "has [tool.alembic_snapshot], and no [tool.alembic-snapshot]" in done.stderr


def test_doctor_is_told_both_names(shop):
    misspell(shop, "alembic-snapshot")

    done = command("doctor")

    assert done.returncode == 1
    assert "write [tool.alembic-snapshot] instead of [alembic-snapshot]" in done.stdout


@pytest.mark.parametrize(
    "table",
    [
        '[dependency-groups]\nalembic-snapshot = ["alembic-snapshot"]',
        '[tool.uv.sources]\nalembic-snapshot = { path = "../as" }',
        '[tool.poetry.dependencies]\nalembic-snapshot = "*"',
        '[tool.alembic]\nscript_location = "migrations"',
        '[tool.alembic-utils]\na = "b"',
        '[tool.snapshottest]\na = "b"',
        "[tool.alembic-snapshot",
    ],
)
def test_another_tool_is_left_alone(shop, table):
    path = shop.root / "pyproject.toml"
    text = path.read_text().partition("[tool.pytest")[2]
    path.write_text(f"{table}\n\n[tool.pytest{text}")

    result = shop.run("-p", "no:cacheprovider", test_it="def test_it(): pass")

    if table.endswith("]") or "=" in table:
        result.assert_outcomes(passed=1)
    assert "and no [tool.alembic-snapshot]" not in result.stderr.str()


def test_without_a_table_the_hint_is_init(shop):
    path = shop.root / "pyproject.toml"
    path.write_text("[tool.pytest" + path.read_text().partition("[tool.pytest")[2])

    result = shop.run(test_it=TEST)
    told = "*hint: alembic-snapshot init looks at the project, proposes the table and writes it"
    result.stdout.fnmatch_lines([told])
    done = command("init", "--yes")

    assert done.returncode == 0, done.stderr
    shop.run().assert_outcomes(passed=1)


def test_what_one_developer_has_in_a_variable_is_not_proposed(shop, monkeypatch):
    monkeypatch.setenv("SHOP_URL", f"sqlite:///{shop.root}/mine.db")
    shop.replace("pyproject.toml", 'engine = "shop.db:engine"\n', "")
    shop.replace("pyproject.toml", 'sessionmaker = "shop.db:SessionLocal"\n', "")

    result = shop.run(
        test_it="""
        from shop import db

        def test_it(db_clone):
            db.engine.connect().close()
        """
    )

    result.assert_outcomes(failed=1)
    text = result.stdout.str()
    assert "mine.db' in [tool" not in text
    assert 'engine = "sqlite' not in text
    assert 'write engine = "module:name" in [tool.alembic-snapshot]' in text
    assert "from the variable SHOP_URL" in text


WRONG = {
    "table": "has [tool.alembic-snapshots], and no [tool.alembic-snapshot]",
    "key": "hint: did you mean 'engine'?",
    "variable": "hint: did you mean ALEMBIC_SNAPSHOT_DIR?",
}


@pytest.mark.parametrize("mode", ["plain", "n0", "n2"])
@pytest.mark.parametrize("wrong", WRONG)
def test_whatever_is_misspelt_ends_the_run_before_any_test(shop, monkeypatch, mode, wrong):
    if wrong == "table":
        misspell(shop, "tool.alembic-snapshots")
    elif wrong == "key":
        shop.configure('engin = "shop.db:engine"')
    else:
        monkeypatch.setenv("ALEMBIC_SNAPSHOT_STORE", "elsewhere")

    result = shop.run(mode=mode, test_it="from shop.db import engine\n\ndef test_it(): pass")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert WRONG[wrong] in result.stderr.str()
    result.stdout.no_fnmatch_line("*passed*")
    result.stdout.no_fnmatch_line("*INTERNALERROR*")


def test_without_a_table_no_variable_is_looked_at(shop, monkeypatch):
    path = shop.root / "pyproject.toml"
    path.write_text("[tool.pytest" + path.read_text().partition("[tool.pytest")[2])
    monkeypatch.setenv("ALEMBIC_SNAPSHOT_STORE", "elsewhere")

    shop.run(test_it="def test_it(): pass").assert_outcomes(passed=1)
