"""What a run of tests uses stays where it is, whoever prunes meanwhile."""

from __future__ import annotations

import pytest

PRUNES = """
import subprocess, sys
import pytest
from sqlalchemy import text

@pytest.mark.parametrize("number", [1, 2, 3])
{mark}
def test_it({fixture}, number):
    command = [sys.executable, "-m", "alembic_snapshot", "prune", "--keep", "0"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    {use}
"""
# A clone is made when it is first used.
ASKS = {
    "a session": ("", "db_session", 'db_session.execute(text("select * from customers"))'),
    "an engine": ("", "db_engine", "db_engine.connect().close()"),
    "a clone": ("", "db_clone", "assert db_clone.path.is_file()"),
    "the snapshot itself": (
        "@pytest.mark.db_clone(readonly=True)",
        "db_session",
        'db_session.execute(text("select * from customers"))',
    ),
    "a layer": (
        '@pytest.mark.db_clone(layer="demo")',
        "db_session",
        'assert db_session.scalar(text("select count(*) from customers"))',
    ),
}


@pytest.mark.usefixtures("own_store")
@pytest.mark.parametrize("asks", ASKS)
def test_a_snapshot_is_not_pruned_while_tests_use_it(shop, asks):
    mark, fixture, use = ASKS[asks]

    result = shop.run(test_it=PRUNES.format(mark=mark, fixture=fixture, use=use))

    result.assert_outcomes(passed=3)
