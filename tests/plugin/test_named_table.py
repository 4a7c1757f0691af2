"""Which table a run is about: in a monorepo, tests run from above the projects."""

from __future__ import annotations

import os
import shlex

import pytest

FILE = "services/shop/pyproject.toml"
TESTS = """
from sqlalchemy import text

from shop.db import engine

def test_it(db_clone):
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO customers (name) VALUES ('Ada')"))
    assert str(db_clone.path) == engine.connect().exec_driver_sql(
        "SELECT file FROM pragma_database_list").scalar()
"""


@pytest.fixture
def above(new_sample, monkeypatch):
    """A folder above the shop, with tests of its own and pytest's configuration."""
    shop = new_sample("shop", "services/shop")
    above = shop.root.parents[1]
    monkeypatch.chdir(above)
    shop.root = above
    shop.write("pytest.ini", "[pytest]\npythonpath = services/shop\n")
    return shop


@pytest.mark.parametrize("mode", ["plain", "n2"])
def test_an_option_names_it(above, mode):
    result = above.run(f"--snapshot-config={FILE}", mode=mode, test_it=TESTS)

    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines([f"alembic-snapshot: {above.root / FILE}, store *"])


def test_pytests_own_configuration_names_it_from_its_folder(above, monkeypatch):
    above.write("pytest.ini", f"[pytest]\npythonpath = services/shop\nsnapshot_config = {FILE}\n")
    above.write("inside/test_it.py", TESTS)
    monkeypatch.chdir(above.root / "inside")

    above.run().assert_outcomes(passed=1)


UNASKED = """
from shop.db import engine

def test_it():
    engine.connect().close()
"""
INI = "services/shop/tests/pytest.ini"


@pytest.mark.parametrize(
    ("ini", "arguments"),
    [
        # What an editor gives: the folder that is open in it.
        (INI, ("--rootdir=.", "services/shop/tests/test_it.py")),
        (INI, ("--rootdir={tmp}", "services/shop/tests")),
        (INI, ("--rootdir=services", "services/shop/tests")),
        (INI, ("-c", INI, "--rootdir=.")),
        (INI, ("-c", INI, "--rootdir={tmp}", "services/shop/tests")),
        ("{tmp}/pytest.ini", ("-c", "{tmp}/pytest.ini", "services/shop/tests/test_it.py::test_it")),
        ("other/pytest.ini", ("-c", "other/pytest.ini", "--rootdir=services/shop")),
        ("pytest.ini", ("services/shop/tests", "-p", "no:cacheprovider")),
        ("pytest.ini", ("services/shop/tests", "services/shop/test_more.py")),
        ("pytest.ini", ()),
    ],
)
def test_it_is_found_wherever_pytests_root_folder_is(above, tmp_path, ini, arguments):
    above.write("other/pyproject.toml", "[tool.alembic-snapshot]\n")
    (above.root / "pytest.ini").unlink()
    options = "testpaths = services/*/tests\npythonpath = ."
    above.write(ini.format(tmp=tmp_path), f"[pytest]\n{options}\n")
    above.write("services/shop/test_more.py", UNASKED)
    above.write("services/shop/tests/test_it.py", UNASKED)
    above.write("conftest.py", f"import sys; sys.path.insert(0, {str(above.root / FILE)[:-15]!r})")

    given = [one.format(tmp=tmp_path) for one in arguments]
    result = above.run("--confcutdir=/", *given, mode="plain" if given else "n2")

    assert result.parseoutcomes().keys() == {"failed"}
    result.stdout.fnmatch_lines(
        [f"alembic-snapshot: {above.root / FILE}, store *", "*DatabaseNotRequested*"]
    )


# Which of the tables above tests a run is about, and of which of them it says that it is not.
RUNS = {
    "one": ((f"--snapshot-config={FILE}",), ["services/bill"]),
    "a file below one": (("--snapshot-config=services/shop/own.toml",), ["services/bill"]),
    "its own tests": ((f"--snapshot-config={FILE}", "services/shop"), []),
    "its own tests alone": (("services/shop",), []),
}


@pytest.mark.parametrize("mode", ["plain", "n2"])
@pytest.mark.parametrize(("given", "others"), RUNS.values(), ids=RUNS)
def test_what_is_beside_a_runs_table_is_said_not_to_be_guarded(above, given, others, mode):
    for path in ("services/bill/pyproject.toml", "services/shop/own.toml"):
        above.write(path, "[tool.alembic-snapshot]\n")
    above.write("services/shop/test_a.py", "def test_it():\n    pass\n")
    above.write("services/bill/tests/test_b.py", "def test_it():\n    pass\n")
    above.write("test_c.py", "def test_it():\n    pass\n")

    result = above.run("-qq", *given, mode=mode)

    assert result.ret == 0
    lines = [line for line in result.stdout.str().splitlines() if "is not guarded" in line]
    command = "`pytest --snapshot-config={0}/pyproject.toml {0}`"
    assert len(lines) == len(others)
    assert all(command.format(one) in line for one, line in zip(others, lines, strict=True))


@pytest.mark.parametrize("others", [True, False])
@pytest.mark.parametrize(
    ("arguments", "about"),
    [
        ((), "no table"),
        (("services",), "no table"),
        (("services/shop/tests", "services/other"), "no table"),
        (("services/shop/tests", "services/other", "--rootdir=services/other"), "that in *"),
    ],
)
def test_a_test_of_another_table_fails_and_says_where_it_runs(above, arguments, about, others):
    """Nobody would guard its database."""
    above.write("services/other/pyproject.toml", "[tool.alembic-snapshot]\n" if others else "")
    above.write("services/other/test_other.py", "def test_other():\n    pass\n")
    above.write("services/shop/tests/test_it.py", UNASKED)

    result = above.run(*arguments)

    is_about_other = others and about != "no table"
    ends = {True: {"errors": 2}, False: {"errors": 1, "passed": 1}}[others and not is_about_other]
    result.assert_outcomes(**ends)
    told, file = about if is_about_other else "no table", above.root / FILE
    command = f"`pytest --snapshot-config={FILE} services/shop`"
    result.stdout.fnmatch_lines(
        [
            f"*test_it is below {file}, *is about {told}",
            f"hint: start pytest in {file.parent}, *{command}*",
        ]
    )
    result.stdout.no_fnmatch_line("*DatabaseNotRequested*")


def test_a_test_of_another_table_runs_where_one_is_named(above):
    above.write("services/other/pyproject.toml", "[tool.alembic-snapshot]\n")
    above.write("services/other/test_other.py", "def test_other():\n    pass\n")

    above.run(f"--snapshot-config={FILE}", "services/other").assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("named", "told"),
    [
        ("services/pyproject.toml", "there is no file"),
        ("services/shop/shop", "there is no file"),
        ("plain.toml", "there is no [[]tool.alembic-snapshot] in"),
        ("broken.toml", "is not TOML"),
    ],
)
def test_one_that_can_not_be_it_is_an_error_before_any_test(above, named, told):
    above.write("plain.toml", "[tool.other]\n")
    above.write("broken.toml", "[tool\n")

    result = above.run(f"--snapshot-config={named}", test_it=TESTS)

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: *{told}*"])
    result.stderr.no_fnmatch_line("*Traceback*")


@pytest.mark.parametrize("kind", ["folder", "pipe", "loop", "dangling", "device"])
def test_a_pyproject_that_is_no_file_is_an_error_and_no_wait(shop, kind):
    path = shop.root / "pyproject.toml"
    path.unlink()
    makes = {
        "folder": path.mkdir,
        "pipe": lambda: os.mkfifo(path),
        "loop": lambda: path.symlink_to(path),
        "dangling": lambda: path.symlink_to(shop.root / "nowhere"),
        "device": lambda: path.symlink_to(os.devnull),
    }
    makes[kind]()

    result = shop.run("--rootdir", str(shop.root), test_it="def test_it():\n    pass\n")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*{path} is no file*"])


@pytest.mark.parametrize("option", ["--snapshot-dir", "--snapshot-config"])
def test_an_empty_path_is_refused(shop, option):
    before = {path.name for path in shop.root.iterdir()}

    result = shop.run(f"{option}=", test_it="def test_it(db_clone):\n    pass\n")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*{option}: it is empty: is it a variable that is not set?"])
    made = {path.name for path in shop.root.iterdir()} - before
    assert made.isdisjoint({"snapshots", "locks", ".gitignore", "CACHEDIR.TAG"})


@pytest.mark.parametrize("is_there", [True, False])
@pytest.mark.parametrize("given", ["arguments", "variable"])
@pytest.mark.parametrize("option", ["--snapshot-dir", "--snapshot-config"])
def test_a_path_apart_from_its_option_is_refused(
    shop, tmp_path, monkeypatch, option, given, is_there
):
    """Pytest would take what is there for tests, and read another configuration of its own."""
    path = tmp_path / "else where"
    if is_there:
        path.mkdir()
    arguments = [option, str(path)]
    if given == "variable":
        monkeypatch.setenv("PYTEST_ADDOPTS", shlex.join(arguments))
        arguments = []

    result = shop.run(*arguments, test_it="def test_it(db_clone):\n    pass\n")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*hint: write {option}='{path}'"])
    assert not (path / "snapshots").exists()


def test_a_path_that_is_tied_to_its_option_leaves_pytest_its_configuration(shop, tmp_path):
    path = tmp_path / "elsewhere"
    path.mkdir()
    (path / "pytest.ini").write_text("[pytest]\naddopts = --no-such-option\n")

    result = shop.run(f"--snapshot-dir={path}", test_it="def test_it(db_clone):\n    pass\n")

    result.assert_outcomes(passed=1)
    assert (path / "snapshots").is_dir()
