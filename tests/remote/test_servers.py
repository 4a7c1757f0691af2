"""A store that is dead, silent, slow or full is never in the way: one line, and a build."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import signal
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from alembic_snapshot.build.sharing import Fits, built
from alembic_snapshot.remote.process import Failed, RemoteProcess
from alembic_snapshot.remote.shared import SharedStore
from alembic_snapshot.store.states import expected_seconds

from .conftest import MAIN_KEY

NAMES = ("dead", "silent", "slow", "forbidden", "full", "flapping", "strange", "endless")

# A server of S3 is asked by POST to delete.
FORBIDDEN = {"read only": ("PUT", "POST", "DELETE"), "for ever": ("POST", "DELETE")}


class Handler(BaseHTTPRequestHandler):
    """Answers as its server's name says."""

    protocol_version = "HTTP/1.1"

    def answer(self):
        name, self.server.count = self.server.name, self.server.count + 1
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if name == "slow":
            # A byte now and then, and never all of them.
            self.send_response(200)
            self.send_header("Content-Length", "100000")
            self.end_headers()
            while not self.server.over.wait(0.2):
                self.wfile.write(b"x")
                self.wfile.flush()
        elif name == "endless":
            self.reply(200, b"[" * 5_000_000)
        elif name == "strange":
            self.reply(200, b"<html>Please log in</html>")
        elif name == "flapping" and self.server.count % 3:
            self.close_connection = True
        elif name == "full" and self.command == "PUT":
            self.reply(507, b"<Error><Code>Full</Code><Message>no room</Message></Error>")
        elif self.command in FORBIDDEN.get(name, ()):
            self.reply(403, b"<Error><Code>AccessDenied</Code></Error>")
        elif name == "for ever" and self.command == "PUT":
            self.server.objects[self.path] = self.body
            self.reply(200, b"")
        elif name == "for ever" and self.path in self.server.objects:
            self.reply(200, self.server.objects[self.path])
        elif name == "always there" and self.command == "PUT":
            self.reply(412, b"<Error><Code>PreconditionFailed</Code></Error>")
        elif name == "unlisted" and "list-type=2" in self.path:
            self.reply(403, b"<Error><Code>AccessDenied</Code></Error>")
        elif name == "unlisted" and self.command == "PUT":
            self.reply(200, b"")
        elif name == "forbidden":
            self.reply(403, b"<Error><Code>AccessDenied</Code></Error>")
        else:
            self.reply(404, b"<Error><Code>NoSuchKey</Code></Error>")

    do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = answer

    def reply(self, status, content):
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT")
        self.send_header("ETag", '"a"')
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def handle(self):
        with contextlib.suppress(OSError):
            super().handle()

    def log_message(self, *_):
        return


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, name):
        super().__init__(("127.0.0.1", 0), Handler)
        self.name, self.count, self.over = name, 0, threading.Event()
        self.objects = {}


@contextlib.contextmanager
def port_of(name):
    if name in ("dead", "silent"):
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            if name == "silent":
                one.listen(50)
            yield one.getsockname()[1]
        return
    server = Server(name)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.over.set()
        server.shutdown()
        thread.join()
        server.server_close()


def s3_at(port):
    """The variables of an S3 server on loopback."""
    return {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
    }


@pytest.fixture(params=NAMES)
def server(request, shared):
    """A shared store on a server that does what its name says."""
    with port_of(request.param) as port:
        shared.url = "s3://bucket/prefix"
        shared.variables = s3_at(port)
        shared.configure()
        yield request.param, shared


def receive(shared, machine="reader", **variables):
    """What a build asks of the store before it builds, on a machine that knows the build's time."""
    with shared.opened("of the builder", **variables) as (_, known):
        manifests = [entry.manifest for entry in known.store.entries()]
    with shared.opened(machine, SharedStore, **variables) as (store, status):
        fits = Fits(status.project, status.present)
        entry = store.receive(status.chain, fits, manifests, have=0)
        if store.settings.write:
            store.send(built(known.store, status.chain.target.digest), status.chain)
        return entry, store.report


def test_a_server_that_fails_costs_one_line_a_run(server):
    name, shared = server
    first, again = (receive(shared, machine, **shared.as_writer()) for machine in "ab")

    lines = [*first[1].warnings, *again[1].warnings]

    assert first[0] is None
    assert again[0] is None
    if name in ("strange", "endless", "full"):
        # It answers: what it says is no record, or that there is none.
        known = ("ignored the record", "not used", "can't be listed")
        assert all(any(words in line for words in known) for line in lines)
    else:
        assert len(lines) == 1, lines
        # Nobody says that it has not the snapshot.
        assert first[1].got is again[1].got is None
        assert "not used for the rest of this run: " in lines[0]
    assert not any("\n" in line or len(line) > 1000 for line in lines)


def test_a_policy_that_forbids_listing_is_one_line_and_switches_nothing_off(shared):
    with port_of("unlisted") as port:
        shared.url = "s3://bucket/prefix"
        shared.variables = s3_at(port)
        shared.configure()

        _, report = receive(shared, **shared.as_writer())
        pulled = shared.run("another", "pull")
        doctor = shared.run("another", "doctor")

    (line,) = report.warnings
    refused = r"can't be listed: .*403 Forbidden.*AccessDenied.*"
    assert re.search(rf" whether others have put \w+ into main is not known, .*{refused}", line)
    assert (report.got, report.sent, report.failed) == ("miss", 2, [])
    assert pulled.returncode == 1
    assert pulled.stdout == f"miss: {shared.url} has it not\n"
    said = rf"! shared store: whether the records in the scope main count is not known, .*{refused}"
    assert re.search(said, doctor.stdout)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("read only", "not used for the rest of this run: permission denied: .*AccessDenied"),
        ("full", "not used for the rest of this run: .*no room"),
        ("for ever", "not used for the rest of this run: .*403 Forbidden.*AccessDenied"),
        ("always there", "it says of a lease that nobody can have that another one has it"),
    ],
)
@pytest.mark.parametrize("scope", ["main", "pr/1"])
def test_doctor_says_that_a_server_can_not_be_written(shared, name, why, scope):
    with port_of(name) as port:
        shared.url = "s3://bucket/prefix"
        shared.variables = s3_at(port)
        shared.configure()

        done = shared.run("writer", "doctor", "--json", **shared.as_writer(scope))
        reader = shared.run("reader", "doctor", "--json", ALEMBIC_SNAPSHOT_REMOTE_SCOPE=scope)

    (found,) = found_by(done)
    assert found["state"] == "doubtful"
    said = rf"the scope {scope} can't be written: {shared.url}: {why}"
    assert re.match(said, found["seen"])
    assert f"below v1/{scope}/-/?" in found["hint"]
    assert not any("can't be written" in one["seen"] for one in found_by(reader))


def found_by(doctor):
    findings = json.loads(doctor.stdout)["findings"]
    return [one for one in findings if one["about"] == "shared store"]


@pytest.mark.parametrize("name", ["dead", "silent"])
def test_what_can_not_be_fetched_is_built(shared, name):
    with port_of(name) as port:
        shared.url = "s3://bucket/prefix"
        shared.configure()
        shared.variables = s3_at(port)
        shared.project.revision("0003", "0002")

        made = shared.build("of the builder", **shared.as_writer())

    assert made["built"]
    assert len(made["warned"]) == 1
    assert shared.run("of the builder", "status", "--no-remote").returncode == 0


def test_an_interrupt_ends_the_process_that_waits_for_an_answer(shared):
    def interrupt(number, frame):
        raise KeyboardInterrupt

    with port_of("silent") as port:
        shared.url = "s3://bucket/prefix"
        shared.configure()
        shared.variables = s3_at(port)
        with shared.opened("reader") as (store, _):
            process = RemoteProcess(store.settings)
            process.begin()
        before = signal.signal(signal.SIGALRM, interrupt)
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        try:
            with pytest.raises(KeyboardInterrupt):
                process.ask("look", 60, digests=["0" * 64], scopes=["main"])
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)

    with pytest.raises(Failed, match="has ended"):
        process.ask("look", 60, digests=["0" * 64], scopes=["main"])


def test_one_process_of_a_run_tells_the_others(shared, monkeypatch):
    shared.url = "s3://bucket/prefix"
    shared.configure()
    with port_of("dead") as port:
        variables = {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
            "PYTEST_XDIST_TESTRUNUID": "a run",
        }
        first = receive(shared, **variables)[1]
        monkeypatch.setattr("alembic_snapshot.remote.shared._off_for", {})
        second = receive(shared, **variables)[1]
        by_hand = shared.pull("reader", **variables)[1]
        monkeypatch.setattr("alembic_snapshot.remote.shared._off_for", {})
        later = receive(shared, **{**variables, "PYTEST_XDIST_TESTRUNUID": "another"})[1]

    warned = [len(report.warnings) for report in (first, second, by_hand, later)]
    assert warned == [1, 0, 1, 1]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_can_only_be_read_disables_nothing_here(shared):
    shared.folder.mkdir(mode=0o500)
    shared.project.revision("0003", "0002")

    made = shared.build("writer", **shared.as_writer())

    assert made["built"]
    assert len(made["warned"]) == 1


@pytest.mark.parametrize("kind", ["missing", "a file"])
def test_a_folder_that_is_not_there_is_one_line_and_is_not_made(shared, kind):
    shared.folder.rmdir()
    if kind == "a file":
        shared.folder.write_text("")
    shared.project.revision("0003", "0002")

    made = shared.build("of the builder", **shared.as_writer())

    assert made["built"]
    (line,) = made["warned"]
    assert line.endswith(f"its folder {shared.folder} does not exist")
    assert not shared.folder.is_dir()


def test_a_library_that_is_missing_is_one_line_for_readers_and_an_error_for_writers(
    shared, tmp_path
):
    # The process that talks to the store finds this one first.
    (tmp_path / "obstore").mkdir()
    (tmp_path / "obstore" / "__init__.py").write_text(
        "raise ModuleNotFoundError(\"No module named 'obstore'\", name='obstore')"
    )
    variables = {"PYTHONPATH": str(tmp_path)}

    report = shared.pull("reader", **variables)[1]
    writer = shared.run("writer", "build", **variables, **shared.as_writer())

    assert len(report.warnings) == 1
    assert "alembic-snapshot[remote]" in report.warnings[0]
    assert writer.returncode == 2
    assert "alembic-snapshot[remote]" in writer.stderr


def test_no_secret_is_in_a_message(shared):
    url = "s3://user:hush-hush@bucket/x?sig=hush-hush"
    with port_of("dead") as port:
        variables = {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}"}
        done = shared.run("reader", "pull", **variables, ALEMBIC_SNAPSHOT_REMOTE=url)

    assert done.returncode == 2
    assert done.stderr.startswith("error: shared store s3://bucket/x: ")
    assert "hush" not in done.stderr
    assert MAIN_KEY[0] not in done.stderr


@pytest.mark.parametrize(("seconds", "least", "most"), [(1e10, 600, 600), (0.0, 3, 3), (5, 12, 12)])
def test_how_long_a_build_takes_has_bounds_whoever_tells_it(shared, seconds, least, most):
    with shared.opened("of the builder") as (_, status):
        told = dataclasses.replace(status.entry.manifest, timings={"0001": seconds})

        expected = expected_seconds(status.chain, [told])

    assert least <= expected <= most
