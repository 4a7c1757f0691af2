"""The script is run as a child process, on the database of the test."""

import subprocess
import sys

import pytest


@pytest.fixture
def shopping(db_clone):
    def run(*items):
        command = [sys.executable, "shopping.py", *items]
        return subprocess.check_output(command, env=db_clone.environ, text=True).split()

    return run


@pytest.mark.parametrize("time", [1, 2])
def test_the_script_writes_to_the_tests_database(shopping, db_session, time):
    assert shopping() == ["salt"]
    assert shopping("bread") == ["salt", "bread"]

    assert db_session.connection().exec_driver_sql("SELECT count(*) FROM items").scalar() == 2
