"""Clones on the private server are in memory; what stays is on the disk."""

import secrets
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from alembic_snapshot.postgres import databases, memory
from alembic_snapshot.postgres.pool import Pool, kept_name
from alembic_snapshot.postgres.server import Server, server_in_use

pytestmark = pytest.mark.skipif(
    not memory.SHARED_MEMORY.is_dir() or not memory.has_room(10**7),
    reason="there is no room in /dev/shm",
)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """The private server, with a tablespace of this test's own."""
    monkeypatch.delenv("SNAPSHOT_POSTGRES_URL", raising=False)
    with tempfile.TemporaryDirectory(dir=memory.SHARED_MEMORY) as folder:
        Path(folder).chmod(0o711)
        monkeypatch.setattr(memory, "SHARED_MEMORY", Path(folder))
        monkeypatch.setattr(memory, "SPACE", f"alembic_{secrets.token_hex(6)}")
        yield server_in_use()
        assert not list(Path(folder).iterdir())


@pytest.fixture
def pool(server: Server):
    pool = Pool(server)
    yield pool
    pool.close()


def place(server: Server, name: str) -> str:
    with server.connect() as connection:
        row = connection.execute(
            "SELECT spcname FROM pg_database d JOIN pg_tablespace t ON t.oid = dattablespace "
            "WHERE datname = %s",
            (name,),
        ).fetchone()
    assert row is not None
    return row[0]


def test_a_clone_is_in_memory_and_works(server, pool):
    clone = pool.take(None)

    with server.connect(clone.name) as connection:
        connection.execute("CREATE TABLE t AS SELECT 1 AS n")
        assert connection.execute("SELECT n FROM t").fetchone() == (1,)
    assert place(server, clone.name) == memory.SPACE


def test_a_clone_that_is_kept_moves_to_the_disk_with_its_rows(server, pool, tmp_path):
    clone = pool.take(None)
    with server.connect(clone.name) as connection:
        connection.execute("CREATE TABLE t AS SELECT 1 AS n")

    pool.keep(clone.name, tmp_path)

    kept = kept_name(clone.name)
    try:
        assert place(server, kept) == "pg_default"
        with server.connect(kept) as connection:
            assert connection.execute("SELECT n FROM t").fetchone() == (1,)
    finally:
        with server.connect() as connection:
            databases.drop(connection, kept)


def test_clones_are_on_the_disk_when_there_is_no_room(server, pool, monkeypatch):
    monkeypatch.setattr(memory, "SPARE", 10**18)

    assert place(server, pool.take(None).name) == "pg_default"


def test_the_folder_may_go_while_tests_run(server, pool):
    with server.connect() as connection:
        shutil.rmtree(memory._folder(connection))

    assert place(server, pool.take(None).name) == "pg_default"
    assert place(server, pool.take(None).name) == memory.SPACE


def test_a_folder_that_a_deleted_server_left_is_used_again(server):
    with server.connect() as connection:
        (memory._folder(connection) / "PG_0_0").mkdir(parents=True)

        assert memory.prepare(connection, server)
        memory.remove(connection)


def test_a_folder_that_somebody_else_made_is_not_used(server, tmp_path):
    with server.connect() as connection:
        folder = memory._folder(connection)
        folder.symlink_to(tmp_path)

        assert not memory.prepare(connection, server)
    assert not list(tmp_path.iterdir())
    folder.unlink()
