"""Our own sessions on a server: no setting of it ends them while they work or wait."""

from __future__ import annotations

import pytest

from alembic_snapshot.postgres.private import acquire as private
from alembic_snapshot.postgres.private.binaries import wheel
from alembic_snapshot.postgres.private.folder import VARIABLE
from alembic_snapshot.postgres.server import Server

LIMITS = (
    "SELECT name, setting FROM pg_settings WHERE context = 'user' AND name ~ '^(statement|lock|"
    "transaction|idle\\w*)_timeout$'"
)


@pytest.fixture(params=["installed", "newest"])
def found(request, postgres, postgres_folder, monkeypatch):
    if request.param == "installed":
        return postgres
    monkeypatch.setenv(VARIABLE, str(postgres_folder))
    return Server(private.acquire(wheel()).url)


@pytest.mark.parametrize("whose", ["ALTER ROLE {role}", "ALTER DATABASE postgres", "ALTER SYSTEM"])
def test_no_limit_of_time_ends_a_session_of_ours(found, whose):
    with found.connect() as connection:
        names = [name for name, _ in connection.execute(LIMITS).fetchall()]
        role = connection.info.user
        change = whose.format(role=role)
        for name in names:
            connection.execute(f"{change} SET {name} = '100s'")
        connection.execute("SELECT pg_reload_conf()")
        try:
            with found.connect() as other:
                assert other.execute("SHOW row_security").fetchone() == ("off",)
                assert dict(other.execute(LIMITS).fetchall()) == dict.fromkeys(names, "0")
        finally:
            for name in names:
                connection.execute(f"{change} RESET {name}")
            connection.execute("SELECT pg_reload_conf()")
    assert len(names) >= 4
