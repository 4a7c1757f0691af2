"""`scripts/make_test_db.py`: the application's snapshot, its key, a copy, and clear errors."""

from __future__ import annotations

import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TABLES = [
    "agent_executions",
    "agent_feedback",
    "agent_reasoning_steps",
    "agent_registry",
    "alembic_version",
    "ecommerce_customers",
    "ecommerce_order_items",
    "ecommerce_orders",
    "ecommerce_stores",
    "ecommerce_subscription_audit",
    "ecommerce_subscriptions",
    "hitl_actions",
    "invoices",
    "saas_tiers",
    "saas_usage_events",
    "users",
    "workspaces",
]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A store with the application's snapshot in it."""
    folder = tmp_path_factory.mktemp("store")
    assert run("--store", folder).returncode == 0
    return folder


def run(*arguments, cwd=ROOT, script=ROOT / "scripts/make_test_db.py", **streams):
    ours = ("ALEMBIC_SNAPSHOT_DIR", "DATABASE_URL", "PYTHONPATH", "PYTEST_XDIST_TESTRUNUID")
    return subprocess.run(
        [sys.executable, str(script), *map(str, arguments)],
        cwd=cwd,
        env={name: value for name, value in os.environ.items() if name not in ours},
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **streams},
        text=True,
        check=False,
    )


def full():
    return os.open("/dev/full", os.O_WRONLY)


def gone():
    reader, writer = os.pipe()
    os.close(reader)
    return writer


@pytest.mark.parametrize(
    ("stream", "why"),
    [(full, "No space left on device"), (gone, "Broken pipe"), (None, "is closed")],
)
@pytest.mark.parametrize("arguments", [(), ("--key",)])
def test_a_path_that_nobody_gets_is_an_error(store, arguments, stream, why):
    descriptor = stream() if stream else None
    leave = {} if stream else {"preexec_fn": lambda: os.close(1)}

    done = run("--store", store, "-q", *arguments, stdout=descriptor, **leave)

    if stream:
        os.close(descriptor)
    assert done.returncode == 2
    assert re.fullmatch(rf"error: [^\n]*standard output[^\n]* ?{why}\nhint: [^\n]+\n", done.stderr)


def query(path, sql):
    with closing(sqlite3.connect(path)) as connection:
        return [row[0] for row in connection.execute(sql)]


def test_the_path_of_the_snapshot_is_the_last_line_and_a_second_run_says_nothing_else(store):
    done = run("--store", store)

    assert done.stderr == ""
    assert Path(done.stdout.strip()).is_file()


def test_the_snapshot_has_every_table_the_head_and_no_side_files(store):
    path = Path(run("--store", store).stdout.strip())
    tables = "select name from sqlite_master where type = 'table' order by name"
    newest = max(file.name for file in (ROOT / "alembic/versions").glob("*.py"))

    assert query(path, tables) == TABLES
    assert query(path, "select version_num from alembic_version") == [newest.partition("_")[0]]
    assert query(path, "pragma foreign_key_check") == []
    assert query(path, "pragma integrity_check") == ["ok"]
    assert not [other for other in path.parent.iterdir() if other.name.startswith(path.name + "-")]


def test_out_also_puts_a_writable_copy_there_and_replaces_an_older_one(store, tmp_path):
    target = tmp_path / "test.db"
    target.write_text("older")

    done = run("--store", store, "--out", target)

    assert done.returncode == 0
    assert query(target, "select count(*) from workspaces") == [0]
    assert os.access(target, os.W_OK)
    assert list(tmp_path.iterdir()) == [target]


def test_a_pipe_is_no_place_for_a_copy(store, tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    done = run("--store", store, "--out", pipe)

    assert done.returncode == 2
    assert done.stderr == f"error: {pipe} is no regular file\nhint: give the path of a file\n"
    assert pipe.is_fifo()


def test_the_snapshot_itself_is_no_place_for_a_copy_of_it(store):
    path = Path(run("--store", store).stdout.strip())
    before = path.stat()

    done = run("--store", store, "--out", path)

    assert done.returncode == 2
    assert f"error: {path} is the snapshot itself\n" in done.stderr
    assert path.stat() == before


def test_key_prints_the_digest_and_builds_nothing(tmp_path):
    done = run("--key", "--store", tmp_path / "store")

    assert len(done.stdout.strip()) == 64
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("given", ["", " "])
@pytest.mark.parametrize("option", ["--store", "--out", "--config"])
def test_an_empty_path_is_none_and_not_the_working_directory(tmp_path, option, given):
    asked = run("--key", option, given, cwd=tmp_path)

    assert (asked.returncode, asked.stdout) == (2, "")
    assert asked.stderr.startswith(f"error: argument {option}: it is empty\nhint: ")
    assert list(tmp_path.iterdir()) == []


def test_it_works_from_any_folder(store, tmp_path):
    assert run("--store", store, cwd=tmp_path).stdout == run("--store", store).stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--nope"], "unrecognized arguments: --nope"),
        (["--config", "nowhere.ini"], "there is no file nowhere.ini"),
        (["--out", "/nowhere/x.db"], "there is no folder /nowhere"),
        (["--out", "/"], "/ is a folder"),
        (["--out", "x" * 300], f"can't put a copy of the snapshot at {'x' * 300}"),
        (["--store", "/dev/null/x"], "can't write to the store /dev/null/x"),
    ],
)
def test_a_mistake_is_one_error_and_a_hint(store, arguments, message):
    stored = [] if "--store" in arguments else ["--store", store]

    done = run(*stored, *arguments)

    assert done.returncode == 2
    error, hint = done.stderr.strip().splitlines()[-2:]
    assert error == f"error: {message}" or error.startswith(f"error: {message}: ")
    assert hint.startswith("hint: ")
    assert "Traceback" not in done.stderr


@pytest.fixture
def checkout(tmp_path):
    """A copy of the application, whose newest revision the test writes."""
    copy = tmp_path / "checkout"
    for name in ("alembic", "backend", "scripts"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("alembic.ini", "pyproject.toml"):
        shutil.copy(ROOT / name, copy)
    return copy


def add_revision(checkout, body):
    path = checkout / "alembic/versions/9999_new.py"
    newest = max(file.name for file in (ROOT / "alembic/versions").glob("*.py"))
    down = newest.partition("_")[0]
    path.write_text(f"revision='9999'\ndown_revision={down!r}\ndef upgrade():\n    {body}\n")
    return path


def test_a_migration_that_fails_is_one_error_and_the_snapshot_stays_as_it_was(checkout):
    script = checkout / "scripts/make_test_db.py"
    before = run(script=script, cwd=checkout).stdout
    bad = add_revision(checkout, "1 / 0")

    failed = run(script=script, cwd=checkout)
    bad.unlink()
    after = run(script=script, cwd=checkout)

    assert failed.returncode == 2
    assert "error: revision 9999 failed at alembic/versions/9999_new.py line 4" in failed.stderr
    assert "hint: the half-built database is kept at" in failed.stderr
    assert (after.stdout, after.stderr) == (before, "")


def test_an_interrupted_build_says_so_in_a_word(checkout):
    add_revision(checkout, "print('asleep'); __import__('time').sleep(60)")

    with subprocess.Popen(
        [sys.executable, "scripts/make_test_db.py"],
        cwd=checkout,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # A shell's job in the background, and what it starts, ignore it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        assert process.stderr is not None
        any("1 revision to run" in line for line in process.stderr)
        os.killpg(process.pid, signal.SIGINT)
        _, said = process.communicate()

    assert (process.returncode, said) == (130, "interrupted\n")
