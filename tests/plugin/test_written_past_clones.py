"""The application's own file, when something writes to it that this process does not hear of."""

from __future__ import annotations

import os
import sqlite3
import time
from typing import ClassVar

import pytest

from alembic_snapshot.engines.untouched import Untouched

SAID = "*warning: {file} is no clone, and was written while {tests} ran, or before: a child*"
BY_A_CHILD = """
import subprocess, sys

def write(file, statement):
    code = f"import sqlite3; c = sqlite3.connect({file!r}); c.execute({statement!r}); c.commit()"
    subprocess.run([sys.executable, "-c", code], check=True)
"""
BY_A_DRIVER = """
import sqlite3

def write(file, statement):
    connection = sqlite3.connect(file)
    connection.execute(statement)
    connection.commit()
    connection.close()
"""
TESTS = """
from pathlib import Path
from shop import orders
from ways import write

ROOT = Path(__file__).parent

def test_first(db_clone):
    assert orders.names() == ["the house"]

def test_writes({asked}):
    write(str(ROOT / "{file}"), "{statement}")

def test_last(db_clone):
    assert orders.names() == ["the house"]
"""


@pytest.fixture
def file(shop):
    """The file that the application is configured with, as a developer has it."""
    path = shop.root / "real.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE kept (id INTEGER)")
    connection.close()
    return path


def run(shop, way=BY_A_DRIVER, *options, mode="plain", asked="db_clone", file="real.db", statement):
    tests = TESTS.format(asked=asked, file=file, statement=statement)
    return shop.run("-p", "no:randomly", *options, mode=mode, test_it=tests, ways=way)


@pytest.mark.parametrize("statement", ["INSERT INTO kept VALUES (1)", "CREATE TABLE t (i)"])
@pytest.mark.parametrize("asked", ["db_clone", ""])
@pytest.mark.parametrize("way", [BY_A_CHILD, BY_A_DRIVER], ids=["child", "driver"])
def test_is_named_with_the_test(shop, file, way, asked, statement):
    result = run(shop, way, asked=asked, statement=statement)

    result.assert_outcomes(passed=3)
    line = SAID.format(file=file, tests="test_it.py::test_writes")
    result.stdout.fnmatch_lines(
        [f"{line} process needs env=db_clone.environ, a raw driver db_clone.path, *"]
    )
    assert result.stdout.str().count("is no clone") == 1


def test_is_named_when_it_was_not_there(shop):
    result = run(shop, statement="CREATE TABLE t (i)")

    result.stdout.fnmatch_lines(
        [SAID.format(file=shop.root / "real.db", tests="test_it.py::test_writes")]
    )


def test_is_named_when_it_is_in_wal_mode_and_stays_open(shop, file):
    writer = sqlite3.connect(file)
    writer.execute("PRAGMA journal_mode = WAL")
    try:
        result = run(shop, statement="INSERT INTO kept VALUES (1)")
    finally:
        writer.close()

    result.stdout.fnmatch_lines([SAID.format(file=file, tests="test_it.py::test_writes")])


def test_is_named_however_short_the_summary_is(shop, file):
    result = run(shop, BY_A_DRIVER, "-qq", statement="INSERT INTO kept VALUES (1)")

    result.stdout.fnmatch_lines([SAID.format(file=file, tests="test_it.py::test_writes")])


def test_is_named_once_with_the_number_of_tests(shop, file):
    result = shop.run(
        "-p",
        "no:randomly",
        ways=BY_A_DRIVER,
        test_it="""
        import pytest
        from shop import orders
        from ways import write

        @pytest.mark.parametrize("number", range(5))
        def test_writes(db_clone, number):
            write("real.db", "INSERT INTO kept VALUES (1)")
        """,
    )

    names = [f"test_it.py::test_writes[[]{number}]" for number in range(3)]
    tests = f"{names[0]}, {names[1]}, {names[2]} and 2 other tests"
    result.stdout.fnmatch_lines([SAID.format(file=file, tests=tests)])
    assert result.stdout.str().count("is no clone") == 1


@pytest.mark.parametrize(
    "hook",
    [
        "pytest_configure(config)",
        "pytest_sessionstart(session)",
        "pytest_collection_finish(session)",
        "pytest_runtest_setup(item)",
    ],
)
def test_is_named_when_a_hook_wrote_it(shop, file, hook):
    result = shop.run(
        conftest=f"""
        import sqlite3

        def {hook}:
            connection = sqlite3.connect({str(file)!r})
            connection.execute("INSERT INTO kept VALUES (1)")
            connection.commit()
            connection.close()
        """,
        test_it="def test_it(db_session):\n    pass\n",
    )

    result.stdout.fnmatch_lines([SAID.format(file=file, tests="test_it.py::test_it")])


def test_is_not_named_when_it_was_written_before_the_run(shop):
    with sqlite3.connect(shop.root / "real.db") as connection:
        connection.execute("CREATE TABLE kept (id INTEGER)")
    connection.close()

    result = shop.run(test_it="def test_it(db_session):\n    pass\n")

    assert "is no clone" not in result.stdout.str()


def test_is_named_when_alembics_settings_alone_name_it(shop, file):
    other = shop.root / "other.db"
    shop.replace("alembic.ini", "sqlite:///real.db", f"sqlite:///{other}")

    result = run(shop, file="other.db", statement="CREATE TABLE t (i)")

    result.stdout.fnmatch_lines([SAID.format(file=other, tests="test_it.py::test_writes")])


@pytest.mark.parametrize("clones", ["fresh", "reset"])
def test_is_named_by_a_run_of_several_processes(shop, file, clones):
    options = (f"--snapshot-clones={clones}",)
    result = run(shop, BY_A_DRIVER, *options, mode="n2", statement="INSERT INTO kept VALUES (1)")

    result.stdout.fnmatch_lines([SAID.format(file=file, tests="*test_it.py::test_*")])
    assert result.stdout.str().count("is no clone") == 1


@pytest.mark.parametrize("clones", ["fresh", "reset"])
def test_is_not_named_when_it_is_only_read(shop, file, clones):
    with sqlite3.connect(file) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
    connection.close()

    result = run(
        shop, BY_A_CHILD, f"--snapshot-clones={clones}", statement="SELECT count(*) FROM kept"
    )

    result.assert_outcomes(passed=3)
    assert "is no clone" not in result.stdout.str()


def test_another_file_that_an_engine_opened_is_named(shop):
    result = shop.run(
        "-p",
        "no:randomly",
        test_it="""
        from sqlalchemy import create_engine, text
        from shop import orders

        audit = create_engine("sqlite:///audit.db")

        def log():
            with audit.begin() as connection:
                connection.execute(text("CREATE TABLE IF NOT EXISTS log (i)"))
                connection.execute(text("INSERT INTO log VALUES (1)"))

        def test_order(db_clone):
            orders.add_customer("Ada")
            log()

        def test_last(db_clone):
            assert orders.names() == ["the house"]
        """,
    )

    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(
        [SAID.format(file=shop.root / "audit.db", tests="test_it.py::test_order")]
    )


def test_another_file_may_be_written(shop, file):
    result = run(shop, file="scratch.db", statement="CREATE TABLE t (i)")

    result.assert_outcomes(passed=3)
    assert "is no clone" not in result.stdout.str()


def test_a_file_in_the_temporary_folder_may_be_written(shop, monkeypatch):
    file = "runpytest-0/own.db"
    monkeypatch.setenv("SHOP_URL", f"sqlite:///{shop.root / file}")

    result = run(shop, file=file, statement="CREATE TABLE t (i)")

    result.assert_outcomes(passed=3)
    assert (shop.root / file).is_file()
    assert "is no clone" not in result.stdout.str()


class TestOneFile:
    CHANGES: ClassVar = {
        "made": lambda path: path.with_name("new.db").write_text("x"),
        "longer": lambda path: path.write_text("longer"),
        "longer at the same time": lambda path: lengthen(path),
        "deleted": lambda path: path.unlink(),
        "emptied": lambda path: path.write_text(""),
        "written with the same length": lambda path: os.utime(path, ns=(1, 1)),
        "replaced": lambda path: replace(path),
        "put into the log": lambda path: path.with_name("a.db-wal").write_text("x"),
    }

    @pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
    def test_that_changed_is_told_once(self, tmp_path, change):
        path, new = tmp_path / "a.db", tmp_path / "new.db"
        path.write_text("some")
        untouched = Untouched(time.time() + 60)
        untouched.learn(map(str, (path, new)))

        change(path)
        untouched.learn(map(str, (path, new)))

        assert untouched.written() == [str(new if new.exists() else path)]
        assert untouched.written() == []

    @pytest.mark.parametrize("before", [-60, 60])
    def test_that_is_new_when_it_is_learned_was_written_by_the_run(self, tmp_path, before):
        path = tmp_path / "a.db"
        path.write_text("some")
        untouched = Untouched(time.time() + before)

        untouched.learn([str(path)])

        assert untouched.written() == ([str(path)] if before < 0 else [])
        assert untouched.written() == []

    @pytest.mark.parametrize("name", ["a.db", "a.db-wal"])
    @pytest.mark.parametrize(
        ("later", "is_told"), [(-(10**9), False), (-1, False), (0, False), (1, True), (10**9, True)]
    )
    def test_that_was_written_later_than_the_run_began_is_told(
        self, tmp_path, name, later, is_told
    ):
        path, began = tmp_path / "a.db", 1_700_000_000
        for each in (path, tmp_path / name):
            each.write_text("some")
            os.utime(each, ns=(0, 10**9))
        written = began * 10**9 + later
        os.utime(tmp_path / name, ns=(written, written))
        untouched = Untouched(float(began))

        untouched.learn([str(path)])

        assert untouched.written() == ([str(path)] if is_told else [])

    def test_that_is_the_same_is_not_told(self, tmp_path):
        path = tmp_path / "a.db"
        path.write_text("some")
        untouched = Untouched(time.time() + 60)
        untouched.learn([str(path), str(tmp_path / "none.db")])
        # Who reads in WAL mode makes an empty one.
        path.with_name("a.db-wal").touch()

        assert path.read_text() == "some"
        assert untouched.written() == []


def lengthen(path):
    """Another size, and the time of before."""
    seen = path.stat()
    path.write_text("longer")
    os.utime(path, ns=(seen.st_atime_ns, seen.st_mtime_ns))


def replace(path):
    """Another file of the same size and time in its place."""
    seen, other = path.stat(), path.with_name("other")
    other.write_bytes(path.read_bytes())
    os.utime(other, ns=(seen.st_atime_ns, seen.st_mtime_ns))
    other.replace(path)


# How a run ends in which pytest writes no summary, and what its status is then.
ENDS = {
    "an exit": ("pytest.exit('enough', returncode=9)", (), 9),
    "an exit of a hook": ("import atexit", ("-p", "ending"), 8),
    "an error of pytest": ("import atexit", ("-p", "failing"), 3),
    "no terminal": ("pass", ("-p", "no:terminal"), 0),
    "as always": ("pass", (), 0),
    "without a summary": ("pass", ("--no-summary",), 0),
}
PLUGIN = """
import pytest

def pytest_runtest_logfinish(nodeid):
    if nodeid.endswith("test_next"):
        {statement}
"""


@pytest.mark.parametrize("end", ENDS)
def test_it_is_said_once_however_the_run_ends(shop, end):
    statement, options, status = ENDS[end]
    shop.write("ending.py", PLUGIN.format(statement="pytest.exit('enough', returncode=8)"))
    shop.write("failing.py", PLUGIN.format(statement="raise RuntimeError('failing')"))
    test = f"""
import pytest
from shop.db import REAL
{BY_A_DRIVER}
def test_it(db_session):
    write(str(REAL), "CREATE TABLE written (id INTEGER)")

def test_next():
    {statement}
"""

    result = shop.run("-p", "no:randomly", *options, test_it=test)

    assert result.ret == status
    told = [*result.outlines, *result.errlines]
    assert sum("real.db is no clone, and was written" in line for line in told) == 1
