"""What it costs to have a snapshot from a store that machines share, against building it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import projects
from measure import Row, interleaved, process, row

from alembic_snapshot.postgres.databases import SNAPSHOT, drop_named
from alembic_snapshot.postgres.server import server_in_use
from alembic_snapshot.project.variables import BACKEND_VARIABLE
from alembic_snapshot.remote.signature import make_pair

_CLONE = "bench_first_clone"
_COMMAND = [sys.executable, "-m", "alembic_snapshot"]
_SERVER = Path(__file__).parents[1] / "tests" / "remote" / "s3_server.py"


def from_empty_store(folder: Path, revisions: int, rounds: int) -> Row:
    """From an empty local store to the first clone: fetched ÷ built, an S3 server on loopback."""
    folder.mkdir(exist_ok=True)
    project = projects.generated(folder / "shared", tables=revisions, revisions=revisions)
    signing_key, public_key = make_pair()
    with (project.folder / "pyproject.toml").open("a") as file:
        file.write(f'\n[tool.alembic-snapshot.remote_keys]\nmain = "{public_key}"\n')
    with _server() as variables:
        writer = {
            "ALEMBIC_SNAPSHOT_REMOTE_WRITE": "1",
            "ALEMBIC_SNAPSHOT_REMOTE_SIGNING_KEY": signing_key,
        }
        process([*_COMMAND, "build", "--quiet"], project.folder, {**variables, **writer})

        def first_clone(**more: str) -> float:
            shutil.rmtree(project.folder / ".alembic-snapshot", ignore_errors=True)
            (project.folder / "copy.db").unlink(missing_ok=True)
            return process([*_COMMAND, "clone", "copy.db"], project.folder, more)

        actions = {"fetched": lambda: first_clone(**variables), "built": first_clone}
        taken = interleaved(actions, rounds)
    name = "from an empty local store to the first clone: fetched ÷ built"
    return row(name, f"{revisions} revisions", taken["fetched"], taken["built"], 0.2)


def on_postgresql(folder: Path, revisions: int, rounds: int) -> Iterator[Row]:
    """The same on PostgreSQL, its server running and empty: from the shared store, an archive."""
    folder.mkdir(exist_ok=True)
    project = projects.generated(folder / "postgresql", tables=revisions, revisions=revisions)
    signing_key, public_key = make_pair()
    with (project.folder / "pyproject.toml").open("a") as file:
        file.write(f'\n[tool.alembic-snapshot.remote_keys]\nmain = "{public_key}"\n')
    server, kept = server_in_use(), folder / "archives"
    own = {BACKEND_VARIABLE: "postgresql", "CI": ""}
    with _server() as variables:
        writer = {
            "ALEMBIC_SNAPSHOT_REMOTE_WRITE": "1",
            "ALEMBIC_SNAPSHOT_REMOTE_SIGNING_KEY": signing_key,
        }
        command = [*_COMMAND, "build", "--quiet", "--archive"]
        process(command, project.folder, {**own, **variables, **writer})
        (project.folder / ".alembic-snapshot" / "archives").rename(kept)

        def first_clone(archives: Path | None = None, /, **more: str) -> float:
            shutil.rmtree(project.folder / ".alembic-snapshot", ignore_errors=True)
            if archives is not None:
                shutil.copytree(archives, project.folder / ".alembic-snapshot" / "archives")
            with server.connect() as connection:
                for name in (SNAPSHOT, _CLONE):
                    drop_named(connection, name)
            return process([*_COMMAND, "clone", _CLONE], project.folder, {**own, **more})

        actions = {
            "fetched": lambda: first_clone(**variables),
            "restored": lambda: first_clone(kept),
            "built": first_clone,
        }
        taken = interleaved(actions, rounds)
    for way in ("fetched", "restored"):
        name = f"PostgreSQL, from an empty server to the first clone: {way} ÷ built"
        schema = f"{revisions} revisions, {revisions} tables"
        yield row(name, schema, taken[way], taken["built"], 0.25)


@contextmanager
def _server() -> Iterator[dict[str, str]]:
    command = [sys.executable, str(_SERVER)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        port = server.stdout.readline().strip()
        yield {
            "ALEMBIC_SNAPSHOT_REMOTE": "s3://bucket/bench",
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
        }
        server.stdin.close()
