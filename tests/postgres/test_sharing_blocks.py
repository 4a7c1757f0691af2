"""Copies of files that share blocks, on our own server and a file system that has them."""

from __future__ import annotations

import dataclasses
import fcntl

import pytest

from alembic_snapshot.postgres import memory
from alembic_snapshot.postgres.database import ServerDatabase
from alembic_snapshot.postgres.databases import create
from alembic_snapshot.postgres.pool import Pool
from alembic_snapshot.postgres.private import acquire as private
from alembic_snapshot.postgres.private.binaries import wheel
from alembic_snapshot.postgres.private.cluster import shares_blocks
from alembic_snapshot.postgres.private.folder import VARIABLE
from alembic_snapshot.postgres.server import Facts, Server


@pytest.fixture
def newest(postgres_folder, monkeypatch):
    """A private server of the wheel's version, as on a file system that shares blocks."""
    monkeypatch.setenv(VARIABLE, str(postgres_folder))
    found = private.acquire(wheel())
    server = Server(found.url, is_private=True)
    assert server.facts.version >= 18_00_00
    vars(server)["facts"] = dataclasses.replace(server.facts, shares_blocks=True)
    return server


def test_a_clone_on_the_disk_shares_the_snapshots_blocks_and_one_in_memory_is_copied(newest):
    template = ServerDatabase(newest, "alembic_template")
    template.start(None)
    with newest.connect(template.name) as connection:
        connection.execute("CREATE TABLE a AS SELECT generate_series(1, 1000) AS n")
    with newest.connect() as connection:
        connection.execute("SET log_statement = 'none'")
        is_in_memory = memory.prepare(connection, newest)
        create(connection, newest, "on_disk", template.name)
        method = connection.execute("SHOW file_copy_method").fetchone()
        if is_in_memory:
            create(connection, newest, "in_memory", template.name, memory.SPACE)
            memory.move_to_disk(connection, "in_memory")

    for name in ("on_disk", "in_memory")[: 1 + is_in_memory]:
        with newest.connect(name) as connection:
            assert connection.execute("SELECT count(*) FROM a").fetchone() == (1000,)
        ServerDatabase(newest, name).remove()
    assert method == ("copy",)
    template.remove()
    Pool(newest).close()


def test_whether_a_file_system_shares_blocks_is_tried(tmp_path, monkeypatch):
    asked = []

    def shares(*arguments):
        asked.append(arguments)

    def refuses(*_arguments):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "ioctl", shares)
    assert shares_blocks(tmp_path)
    assert len(asked) == 1
    monkeypatch.setattr(fcntl, "ioctl", refuses)
    assert not shares_blocks(tmp_path)
    assert not shares_blocks(tmp_path / "nowhere")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        (Facts(18_00_06, False, True), "share the snapshot's blocks (file_copy_method = clone)"),
        (Facts(18_00_06, False, False), "the file system does not let them share blocks"),
        (Facts(15_00_18, False, False), "PostgreSQL 15 can't have them shared"),
    ],
)
def test_what_is_done_is_said(facts, said):
    assert said in facts.copying
