"""``clones = "reset"`` on a PostgreSQL server: as private as fresh clones, on live connections."""

from __future__ import annotations

import re

import pytest

# Imported here, and not only in fixtures: pytester forgets what is imported while it is in use.
from alembic_snapshot.postgres.private import acquire  # noqa: F401

RESET = "--snapshot-clones=reset"


@pytest.fixture
def shop(new_sample, postgres, monkeypatch):
    """A project whose one setting is an environment variable."""
    monkeypatch.setenv("ALEMBIC_SNAPSHOT_BACKEND", "postgresql")
    sample = new_sample("shop")
    sample.configure('environment = { SHOP_URL = "{url}" }')
    return sample


def resets(result: pytest.RunResult) -> int:
    """How often the summary says that a clone was put back; -1 if it does not say."""
    found = re.search(r"; reset (\d+) times", result.stdout.str())
    return int(found[1]) if found else -1


def test_connections_and_the_database_are_the_same_for_each_test_and_the_rows_are_not(shop):
    result = shop.run(
        RESET,
        test_it="""
        import pytest
        from shop import orders
        from sqlalchemy import text

        seen = set()

        @pytest.mark.parametrize("time", range(5))
        def test_rows(db_session, time):
            orders.add_customer(f"customer {time}")
            seen.add(db_session.scalar(text("SELECT pg_backend_pid()")))
            seen.add(db_session.scalar(text("SELECT current_database()")))
            assert orders.names() == sorted([f"customer {time}", "the house"])

        def test_that_there_was_one_connection_at_a_time():
            assert len(seen) <= 3
        """,
    )

    result.assert_outcomes(passed=6)
    assert resets(result) == 5
    assert "1 clone," in result.stdout.str()


def test_what_a_test_leaves_behind_does_not_reach_the_next(shop, names):
    shop.behaviour("reset_on_postgresql")

    result = shop.run(RESET, "-p", "no:randomly", "-W", "ignore")

    assert result.parseoutcomes().keys() == {"passed"}
    assert resets(result) > 8
    assert names("alembic_clone_") == []
