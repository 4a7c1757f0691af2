"""A project on several machines, and the stores that they share."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from alembic_snapshot.backend import backend_of
from alembic_snapshot.build.ensure import ensure
from alembic_snapshot.build.lookup import Status, look_up
from alembic_snapshot.build.sharing import Fits, built
from alembic_snapshot.project.remote import SECRET
from alembic_snapshot.remote.asked import AskedStore
from alembic_snapshot.remote.exchange import Exchange
from alembic_snapshot.remote.settings import settings_of
from alembic_snapshot.remote.shared import Report, SharedStore
from alembic_snapshot.remote.signature import public_of
from alembic_snapshot.remote.transport import Transport
from alembic_snapshot.store.manifest import Entry

from ..sample import SampleProject

# The same in each process: they are in the names of tests.
_SECRETS = (f"{SECRET}{base64.b64encode(letter * 32).decode()}" for letter in (b"m", b"p", b"s"))
MAIN_KEY, PR_KEY, STRANGER = ((secret, public_of(secret)) for secret in _SECRETS)
KEYS = {"main": (MAIN_KEY[1],), "pr/*": (PR_KEY[1],)}
HERE = Path(__file__).parent
ACCOUNT, ACCOUNT_KEY, OTHER_KEY = "shop", *(base64.b64encode(k * 64).decode() for k in (b"k", b"o"))
# The path of the program azurite-blob, where it is not on PATH.
AZURITE = "SNAPSHOT_TEST_AZURITE"
# What a run of the tests may have inherited of all this.
_PREFIXES = ("ALEMBIC_SNAPSHOT_REMOTE", "AWS_", "AZURE_", "AZURITE_")


@dataclass
class Shared:
    """A store that many machines share, and one project that they all have."""

    project: SampleProject
    url: str
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """Where its objects are, if it is a folder."""
        return Path(self.url.removeprefix("file://"))

    def configure(self, keys: dict[str, Any] | None = None, more: str = "") -> None:
        """Write the table, with these public keys."""
        pairs = KEYS if keys is None else keys
        values = ", ".join(f'"{s}" = {json.dumps(list(k))}' for s, k in pairs.items())
        line = f"remote_keys = {{ {values} }}\n" if pairs else ""
        self.project.configure(f"remote = {json.dumps(self.url)}\n{line}{more}")

    def as_writer(self, scope: str = "main", key: str | None = None) -> dict[str, str]:
        """The variables of a job that writes to a scope."""
        own = MAIN_KEY[0] if scope == "main" else PR_KEY[0]
        return {
            **self.variables,
            "ALEMBIC_SNAPSHOT_REMOTE_SCOPE": scope,
            "ALEMBIC_SNAPSHOT_REMOTE_WRITE": "1",
            "ALEMBIC_SNAPSHOT_REMOTE_SIGNING_KEY": own if key is None else key,
        }

    def run(self, machine: str, *arguments: str, **variables: str) -> Any:
        """Run a command on a machine, which is a store of its own."""
        command = (arguments or ("build",))[0]
        rest = (arguments or ("build",))[1:]
        return self.project.command(
            command,
            *rest,
            "--store",
            self.store(machine),
            variables={**self.variables, **variables},
        )

    def store(self, machine: str) -> str:
        return str(self.project.root.parent / f"machine-{machine}")

    def build(self, machine: str, *more: str, **variables: str) -> dict[str, Any]:
        """Build on a machine; what it says in JSON, and its warnings of the shared store."""
        done = self.run(machine, "build", "--json", *more, **variables)
        assert done.returncode == 0, done.stderr
        lines = [line for line in done.stderr.splitlines() if line.startswith("warning: shared ")]
        return {**json.loads(done.stdout), "warned": lines}

    def fill(self, scope: str = "main") -> None:
        """Put there, as a writing job does, what a machine has built already."""
        with self.opened("of the builder", **self.as_writer(scope)) as (store, status):
            store.send(built(status.store, status.chain.target.digest), status.chain)
            assert store.report.sent == 2, store.report

    @contextlib.contextmanager
    def opened(
        self, machine: str, kind: type[SharedStore] = AskedStore, **variables: str
    ) -> Iterator[tuple[Any, Status]]:
        """The shared store as commands on a machine have it, and the look-up before.

        A build has one of another kind.
        """
        with _environment({**self.variables, **variables}):
            status = look_up(self.project.load(store=Path(self.store(machine))))
            settings = settings_of(status.project)
            backend = backend_of(status.project)
            assert settings is not None
            made = kind(settings, status.project, backend, status.store)
            with contextlib.closing(made) as store:
                yield store, status

    def pull(self, machine: str, **variables: str) -> tuple[Entry | None, Report]:
        """Fetch the snapshot by hand on a machine, and what there is to say of it."""
        with self.opened(machine, **variables) as (store, status):
            entry = store.pull(status.chain, Fits(status.project, status.present))
            return entry, store.report

    @contextlib.contextmanager
    def transport(self) -> Iterator[Transport]:
        """Whoever may read and write the store's objects, signed or not."""
        with _environment(self.variables):
            yield Transport(self.url)

    def exchange(self, scope: str = "main", key: str | None = None) -> Exchange:
        """Somebody with a signing key, who does as he likes."""
        return Exchange(Transport(self.url), scope, KEYS, key or MAIN_KEY[0])

    def records(self, scope: str = "main") -> list[Path]:
        return sorted((self.folder / "v1" / scope / "-" / "records").glob("*/*"))

    def contents(self, scope: str = "main") -> list[Path]:
        return sorted((self.folder / "v1" / scope / "-" / "content").glob("*"))


@contextlib.contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@pytest.fixture(autouse=True)
def without_a_shared_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alembic_snapshot.remote.shared._off_for", {})
    for name in list(os.environ):
        if name.startswith(_PREFIXES):
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def built_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a project of two revisions, and a machine that has built it."""
    folder = tmp_path_factory.mktemp("built once")
    project = SampleProject(folder / "project")
    project.history(2)
    ensure(project.load(store=folder / "machine-of the builder"))
    return folder


@pytest.fixture
def shared(built_once: Path, tmp_path: Path) -> Shared:
    """A folder that machines share, with keys; a project, and one machine that has built it."""
    folder = tmp_path / "all"
    shutil.copytree(built_once, folder)
    (folder / "bucket").mkdir()
    shared = Shared(SampleProject(folder / "project"), (folder / "bucket").as_uri())
    shared.configure()
    return shared


@contextlib.contextmanager
def _server(script: str, *arguments: str) -> Iterator[str]:
    """A server of a process of its own, which ends with this one; what it prints first."""
    command = [sys.executable, str(HERE / script), *arguments]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        first = server.stdout.readline().strip()
        assert first, f"{script} did not start: its standard error says why"
        yield first
        server.stdin.close()
        server.wait(timeout=30)


@pytest.fixture(scope="session")
def s3_port() -> Iterator[str]:
    """The port of an S3 server on loopback."""
    with _server("s3_server.py") as port:
        yield port


@pytest.fixture(scope="session")
def azure_endpoint(pytestconfig: pytest.Config) -> Iterator[str]:
    """The endpoint of an account on an Azure Blob server on loopback."""
    named = os.environ.get(AZURITE)
    program = str(pytestconfig.rootpath / named) if named else shutil.which("azurite-blob")
    if program is None:
        pytest.skip(f"needs Azurite: azurite-blob is not on PATH, and {AZURITE} is not set")
    if shutil.which("node") is None:
        pytest.skip("needs Node.js, which runs Azurite")
    with _server("azure_server.py", program, ACCOUNT, ACCOUNT_KEY) as endpoint:
        yield endpoint


@pytest.fixture
def s3(shared: Shared, s3_port: str, tmp_path: Path) -> Shared:
    """The same in a bucket of an S3 server, with a prefix of its own."""
    variables = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{s3_port}",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
    }
    there = replace(shared, url=f"s3://bucket/{tmp_path.name}", variables=variables)
    there.configure()
    return there


@pytest.fixture
def azure(shared: Shared, azure_endpoint: str, tmp_path: Path) -> Shared:
    """The same in a container of an Azure Blob server, with a prefix of its own."""
    variables = {
        "AZURE_STORAGE_ENDPOINT": azure_endpoint,
        "AZURE_STORAGE_ACCOUNT_NAME": ACCOUNT,
        "AZURE_STORAGE_ACCOUNT_KEY": ACCOUNT_KEY,
    }
    there = replace(shared, url=f"az://bucket/{tmp_path.name}", variables=variables)
    there.configure()
    return there


@pytest.fixture(params=["s3", "azure"])
def served(request: pytest.FixtureRequest) -> Shared:
    """The same on a server of each protocol."""
    there: Shared = request.getfixturevalue(request.param)
    return there
