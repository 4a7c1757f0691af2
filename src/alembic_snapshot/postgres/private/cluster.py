"""The data directory: made once, kept from run to run, and made anew when it can't be trusted."""

from __future__ import annotations

import contextlib
import fcntl
import locale
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from alembic_snapshot.errors import ServerError
from alembic_snapshot.postgres.private.account import Account
from alembic_snapshot.postgres.private.binaries import Binaries
from alembic_snapshot.postgres.private.folder import (
    LOOPBACK,
    USER,
    VARIABLE,
    Folder,
    open_lock,
    try_lock,
)
from alembic_snapshot.postgres.private.processes import Launcher

# initdb takes a second or two; longer than this, and something else is wrong.
INITDB_SECONDS = 300
_DAY = 86400.0
# The request by which Linux lets two files share blocks (ioctl_ficlone(2)).
_FICLONE = 0x40049409
_UTF8 = "C.UTF-8"
# Below those that systems give to outgoing connections (Linux: 32768 and more).
_PORTS = range(20_000, 32_000)
_TRIES = 50
_HAS_ITERATIONS = 16
_SETTINGS = {
    # Only we can reach it: by a socket in a folder of our own, or with a password in another.
    "unix_socket_permissions": "0700",
    "max_connections": "300",
    "max_prepared_transactions": "300",
    # Nothing here is needed after a crash of the machine.
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    # What a test wrote is read from the log; each database that is made lets older segments go.
    "wal_keep_size": "64MB",
    "max_logical_replication_workers": "0",
    "checkpoint_timeout": "1d",
    # A worker in a template would make cloning it fail.
    "autovacuum": "off",
    "autovacuum_freeze_max_age": "2000000000",
    # CREATE and DROP DATABASE look at every buffer.
    "shared_buffers": "32MB",
    "bgwriter_lru_maxpages": "0",
    # Short queries on little data; and /dev/shm is small in containers.
    "jit": "off",
    "max_parallel_workers_per_gather": "0",
    "max_parallel_maintenance_workers": "0",
    # Failed statements are what tests provoke: the log is for the server's own troubles.
    "log_min_messages": "log",
    "log_checkpoints": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "default_text_search_config": "pg_catalog.english",
}


class Cluster:
    """A data directory in its folder, for the supervisor, which holds the folder's lock.

    It can be trusted if ``boot`` says that it was last started since this machine was, or if
    ``clean`` is there: it was stopped, and everything has reached the disk since. Both files are
    written after initdb has ended, so that one that was cut short has neither.
    """

    def __init__(self, folder: Folder, binaries: Binaries, user: Account):
        self._folder = folder
        self._binaries = binaries
        self._user = user
        self._boot = folder.path / "boot"
        self._clean = folder.path / "clean"

    def prepare(self, launcher: Launcher) -> None:
        """Make the data directory unless there is one to trust, and write the settings.

        Raises:
            ServerError: it could not be made.
        """
        boot = boot_id()
        trusted = self._is_trusted(boot)
        if self._clean.exists():
            self._clean.unlink()
            # From here on it must not be taken for clean, whatever happens to the machine.
            lock = open_lock(self._folder.path)
            os.fsync(lock)
            os.close(lock)
        if trusted:
            self._keep_from_cleaners()
        else:
            self._boot.unlink(missing_ok=True)
            shutil.rmtree(self._folder.data, ignore_errors=True)
            self._initialise(launcher)
        self._boot.write_text(boot)
        # What ALTER SYSTEM set is for one run.
        os.truncate(self._folder.data / "postgresql.auto.conf", 0)
        (self._folder.data / "postmaster.pid").unlink(missing_ok=True)
        self._user.give(self._folder.socket)
        self._folder.settings.write_text(self._settings(self._choose_port()))
        self._folder.settings.chmod(0o644)

    def release_and_sync(self, release: Callable[[], None]) -> None:
        """Let others start a server again, then sync the disk and note that the data is clean.

        Nobody waits for the disk; if another server was started meanwhile, its end counts.
        """
        lock = open_lock(self._folder.path)
        start = self._boot.stat().st_mtime_ns
        release()
        os.sync()
        # The folder may be deleted by now.
        with contextlib.suppress(FileNotFoundError):
            if try_lock(lock) and self._boot.stat().st_mtime_ns == start:
                self._clean.touch()
        os.close(lock)

    def _is_trusted(self, boot: str) -> bool:
        version = self._folder.data / "PG_VERSION"
        if not version.exists() or not self._folder.password_file.exists():
            return False
        started = self._boot.read_text() if self._boot.exists() else None
        if not self._clean.exists() and (started is None or started != boot or not boot):
            return False
        idle = time.time() - version.stat().st_mtime
        return not (idle > 9 * _DAY and self._folder.path.is_relative_to(tempfile.gettempdir()))

    def _keep_from_cleaners(self) -> None:
        """Touch every file once a day: systemd deletes those in /tmp that are ten days old."""
        version = self._folder.data / "PG_VERSION"
        if time.time() - version.stat().st_mtime > _DAY:
            for folder, _, names in os.walk(self._folder.data):
                for name in names:
                    os.utime(os.path.join(folder, name), follow_symlinks=False)

    def _initialise(self, launcher: Launcher) -> None:
        self._user.give(self._folder.data)
        password = self._folder.path / "password"
        password.unlink(missing_ok=True)
        self._user.tell(password, secrets.token_hex(16))
        command: list[str | Path] = [
            *(self._binaries.folder / "initdb", "--pgdata", self._folder.data),
            *("--username", USER, "--encoding", "UTF8", "--no-sync"),
            *("--auth-local", "trust", "--auth-host", "scram-sha-256", "--pwfile", password),
            *_locale(self._binaries.major),
        ]
        if self._binaries.major >= _HAS_ITERATIONS:
            # They slow down who guesses; nobody guesses 128 random bits.
            command += ["--set", "scram_iterations=1"]
        if self._binaries.major >= 18:
            command.append("--no-data-checksums")
        with tempfile.TemporaryFile() as output:
            ended = launcher.start(command, output).wait(INITDB_SECONDS)
            if ended != 0:
                output.seek(0)
                text = output.read().decode(errors="replace")
                raise failure(self._folder, f"initdb of {self._binaries} failed", text)
        password.replace(self._folder.password_file)

    def _choose_port(self) -> int | None:
        """The port of the last time if it is free, or else another; None without a network.

        Who knows the server by its port finds it again when it was killed and started again.
        """
        before = None
        with contextlib.suppress(OSError, ValueError):
            before = self._folder.port
        others = (secrets.choice(_PORTS) for _ in range(_TRIES))
        ports = [*([before] if before else []), *others]
        port = next((port for port in ports if _is_free(port)), None)
        self._folder.port_file.write_text(str(port or ports[0]))
        return port

    def _settings(self, port: int | None) -> str:
        settings = {
            **_SETTINGS,
            "listen_addresses": LOOPBACK if port else "",
            "port": str(self._folder.port),
            "unix_socket_directories": f'"{self._folder.socket}"',
        }
        lines = (f"{name} = '{_quoted(value)}'\n" for name, value in settings.items())
        return "# Written by alembic-snapshot whenever the server starts.\n" + "".join(lines)


def failure(folder: Folder, message: str, output: str) -> ServerError:
    """The error for a program of PostgreSQL's that failed, with what it wrote."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    telling = [line for line in lines if "FATAL" in line or "error:" in line] or lines[-1:]
    if "No space left on device" in output:
        hint = f"free some space, or set {VARIABLE} to a folder on another disk"
    elif "Address already in use" in output:
        hint = "run it again: another program took the server's port while it started"
    else:
        hint = f"delete {folder.path} to begin anew, or set SNAPSHOT_POSTGRES_URL to use another"
    return ServerError(": ".join([message, *telling[:1]]), hint=hint, details=output or None)


def shares_blocks(folder: Path) -> bool:
    """Whether files in a folder can share blocks, as on btrfs and XFS: that is tried.

    It is known of Linux only.
    """
    try:
        with (
            tempfile.TemporaryFile(dir=folder) as one,
            tempfile.TemporaryFile(dir=folder) as other,
        ):
            one.write(b"\0" * 8192)
            one.flush()
            fcntl.ioctl(other.fileno(), _FICLONE, one.fileno())
    except OSError:
        return False
    return True


def boot_id() -> str:
    """The id of this start of the machine; empty if it has none."""
    if sys.platform == "darwin":
        command = ["/usr/sbin/sysctl", "-n", "kern.bootsessionuuid"]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _is_free(port: int) -> bool:
    """Whether a server could listen there now, and be reached: that is tried."""
    try:
        # Linux lets somebody listen where nothing is connected, too.
        with (
            socket.create_server((LOOPBACK, port)),
            socket.create_connection((LOOPBACK, port), timeout=5),
        ):
            return True
    except OSError:
        return False


def _locale(major: int) -> list[str]:
    """Order by code point, and know letters beyond ASCII: the same on every machine."""
    if major >= 17:
        return ["--locale=C", "--locale-provider=builtin", f"--builtin-locale={_UTF8}"]
    try:
        locale.setlocale(locale.LC_CTYPE, _UTF8)
    except locale.Error:
        return ["--locale=C"]
    return [f"--locale={_UTF8}"]


def _quoted(value: str) -> str:
    return value.replace("\\", "\\\\").replace("'", "''")
