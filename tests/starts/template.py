"""The process that interpreters are forked from: it has imported what most of them import.

It has no threads. It ends when the pipe from its owner does, whatever its children do. In a child
:meth:`Template.serve` returns the job, and all that is left is to become what was asked for.
"""

from __future__ import annotations

import codecs
import contextlib
import fcntl
import gc
import importlib
import io
import json
import os
import selectors
import shutil
import signal
import socket
import sys
import time
from typing import Any

from . import forked
from .forked import BUILDER, surroundings
from .warm import Warm, shadowed

# Names of variables that Python and the dynamic loader read before any module can.
_AT_START = ("PYTHON", "LC_", "LANG", "LD_", "DYLD_", "COV", "MALLOC", "ASAN")
# What a child is given by itself; and where a user's own packages are matters to no other module.
_GIVEN = ("PYTHONPATH", "PYTHONIOENCODING", "PYTHONDONTWRITEBYTECODE", "HOME")
_FIRST_FREE = 512
# The library's rooms that stand above all others.
_ROOMS = ("builder.__main__", "cli", "plugin.fixtures", "plugin.items")
_OFTEN = (
    "sqlalchemy.orm", "sqlalchemy.ext.asyncio", "sqlalchemy.dialects.sqlite.aiosqlite",
    "sqlalchemy.dialects.postgresql.psycopg", "sqlalchemy.dialects.postgresql.asyncpg",
    "aiosqlite", "psycopg", "asyncpg", "execnet.gateway", "execnet.multi", "runpy",
)  # fmt: skip
_OWN = ("starts", "__main__")


class Job(dict[str, Any]):
    """What a child is to be: ``argv``, ``cwd``, ``env``, ``targets`` of the files it was given."""


def imported(folder: str) -> None:
    """Import the library, and what it and runs of pytest in ``folder`` import.

    Which modules these are, a process finds out that ends thereafter.
    """
    reading, writing = os.pipe()
    scout = os.fork()
    if not scout:
        os.close(reading)
        _scout(writing, folder)
    os.close(writing)
    with os.fdopen(reading) as told:
        names = told.read().split()
    if os.waitpid(scout, 0)[1] or not names:
        raise RuntimeError("what the library imports can't be imported")
    for name in (*names, *_OFTEN):
        with contextlib.suppress(ImportError):
            importlib.import_module(name)


def _scout(told: int, folder: str) -> None:
    status = 1
    try:
        for name in _ROOMS:
            importlib.import_module(f"alembic_snapshot.{name}")
        nothing = os.open(os.devnull, os.O_RDWR)
        for number in (1, 2):
            os.dup2(nothing, number)
        pytest = importlib.import_module("pytest")
        pytest.main(["--collect-only", "-c", os.devnull, "--rootdir", folder, folder])
        names = [name for name in sys.modules if _is_shared(name)]
        os.write(told, "\n".join(names).encode())
        status = 0
    finally:
        os._exit(status)


def _is_shared(name: str) -> bool:
    """Whether a module is the same for all."""
    spec = getattr(sys.modules[name], "__spec__", None)
    return spec is not None and not name.startswith(_OWN)


class Template:
    """Answers those who ask for an interpreter: with the number of a process, or why not."""

    def __init__(self, listener: socket.socket, owner: int, warm: Warm):
        self.listener = listener
        self.owner = owner
        self.warm = warm
        self.path = [place for place in sys.path if place]
        self.environment = dict(os.environ)
        self.running: dict[int, socket.socket] = {}
        self.woken, self.wake = socket.socketpair()
        self.selector = selectors.DefaultSelector()

    def serve(self) -> Job | None:
        """Answer until the owner is gone, and then return nothing; in a child, its job."""
        for one in (self.listener, self.owner, self.woken):
            self.selector.register(one, selectors.EVENT_READ)
        for one in (self.woken, self.wake):
            one.setblocking(False)
        signal.set_wakeup_fd(self.wake.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        while True:
            ready = [key.fileobj for key, _ in self.selector.select()]
            if self.woken in ready:
                with contextlib.suppress(BlockingIOError):
                    self.woken.recv(1024)
                self._tell_ends()
            if self.owner in ready:
                return None
            if self.listener in ready and (job := self._answer()) is not None:
                return job

    def _tell_ends(self) -> None:
        for process in list(self.running):
            pid, status = os.waitpid(process, os.WNOHANG)
            if pid:
                with self.running.pop(pid) as link, contextlib.suppress(OSError):
                    link.sendall(json.dumps({"status": status}).encode() + b"\n")

    def _answer(self) -> Job | None:
        link, _ = self.listener.accept()
        try:
            job, given = _received(link)
        except OSError:
            link.close()
            return None
        reason = "nothing was asked for" if job is None else self._refusal(job)
        if job is None or reason:
            _close(given)
            with link, contextlib.suppress(OSError):
                link.sendall(json.dumps({"refused": reason}).encode() + b"\n")
            return None
        process = _fork(is_session=job["group"] is None)
        if not process:
            # By those who hold them: what takes their numbers is not theirs.
            for one in (link, self.listener, self.selector, *self.running.values()):
                one.close()
            signal.set_wakeup_fd(-1)
            self.woken.close()
            self.wake.close()
            _take(dict(zip(job["targets"], given, strict=True)))
            return job
        _close(given)
        self.running[process] = link
        with contextlib.suppress(OSError):
            link.sendall(json.dumps({"pid": process}).encode() + b"\n")
        return None

    def _refusal(self, job: Job) -> str:
        """Why a process that is forked from this one can't be what is asked for."""
        for name, value in surroundings().items():
            if job["surroundings"][name] != value:
                return f"another {name}"
        before, now = self.environment, job["env"]
        for name in sorted({*before, *now}):
            matters = name.startswith(_AT_START) or name in self.warm.variables
            if matters and name not in _GIVEN and before.get(name) != now.get(name):
                return f"another {name}"
        names = {*self.warm.modules, "sitecustomize", "usercustomize"}
        folders = [os.path.join(job["cwd"], place) for place in _in_front(job)]
        found = [place for place in shadowed(folders, names) if place not in self.path]
        return f"{found[0]} comes first" if found else ""

    def become(self, job: Job) -> None:
        """Be the process that was asked for, but for what it is to run."""
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        if job["group"] is not None:
            os.setpgid(0, job["group"])
        os.umask(job["umask"])
        os.chdir(job["cwd"])
        os.environ.clear()
        os.environ.update(job["env"])
        time.tzset()
        is_buffered = not os.environ.get("PYTHONUNBUFFERED") and "-u" not in job["flags"]
        _open_streams(os.environ.get("PYTHONIOENCODING", ""), is_buffered=is_buffered)
        sys.dont_write_bytecode = bool(os.environ.get("PYTHONDONTWRITEBYTECODE"))
        sys.argv = [job["argv0"], *job["arguments"]]
        sys.orig_argv = list(job["command"])
        places = [os.path.abspath(place) for place in _in_front(job)[1 - job["is_safe"] :]]
        sys.path[:] = dict.fromkeys([*places, *self.path])
        if not job["is_safe"]:
            sys.path.insert(0, os.getcwd() if job["module"] else "")
        sys.path_importer_cache.clear()
        if xdist := self.warm.modules.get("xdist.plugin"):
            # What its workers are given is what it found as it was imported.
            xdist._sys_path = list(sys.path)


def _fork(*, is_session: bool) -> int:
    """A child: before its number is told, it leads its session, if it is to have one."""
    if not is_session:
        return os.fork()
    reading, writing = os.pipe()
    process = os.fork()
    if not process:
        os.setsid()
    os.close(writing)
    os.read(reading, 1)
    os.close(reading)
    return process


def _in_front(job: Job) -> list[str]:
    """The folders that are searched before Python's own."""
    places = [] if job["is_safe"] else [""]
    stated = job["env"].get("PYTHONPATH")
    return places + (stated.split(os.pathsep) if stated else [])


def _received(link: socket.socket) -> tuple[Job | None, list[int]]:
    """What is asked for, and the files with it; nothing if whoever asks is gone in between."""
    data, given, _, _ = socket.recv_fds(link, 8, 64)
    data += _whole(link, 8 - len(data))
    text = _whole(link, int.from_bytes(data, "big"))
    return Job(json.loads(text)) if text else None, list(given)


def _whole(link: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size:
        part = link.recv(size - len(found))
        if not part:
            return b""
        found += part
    return found


def _close(files: list[int]) -> None:
    for one in files:
        os.close(one)


def _take(given: dict[int, int]) -> None:
    """Have these files under their numbers, and no others."""
    aside = {t: fcntl.fcntl(one, fcntl.F_DUPFD, _FIRST_FREE) for t, one in given.items()}
    os.closerange(0, _FIRST_FREE)
    for target, one in aside.items():
        os.dup2(one, target)
        os.close(one)
    os.closerange(max(given) + 1, _FIRST_FREE + 64)


def _open_streams(stated: str, *, is_buffered: bool) -> None:
    encoding, _, errors = stated.partition(":")
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        before = getattr(sys, f"__{name}__")
        mode = "wb" if number else "rb"
        raw: Any = io.FileIO(number, mode, closefd=False)
        raw.name = f"<{name}>"
        writes = number and not is_buffered
        inner: Any = raw if writes else (io.BufferedWriter if number else io.BufferedReader)(raw)
        stream = io.TextIOWrapper(
            inner,
            encoding=codecs.lookup(encoding or before.encoding).name,
            errors=before.errors
            if number == 2
            else errors or ("strict" if encoding else before.errors),
            newline="\n",
            line_buffering=is_buffered and (number == 2 or raw.isatty()),
            write_through=not is_buffered or (not number and sys.version_info < (3, 14)),
        )
        stream.mode = mode[0]
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def begin(warm: Warm, path: str, owner: int) -> Job | None:
    """Be a template from now on; what is returned is a child's job."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(64)
        os.write(1, b"listening\n")
        warm.put_aside()
        gc.freeze()
        template = Template(listener, owner, warm)
        before = set(sys.modules)
        job = template.serve()
        for name in set(sys.modules) - before:
            del sys.modules[name]
        if job is None:
            # Its owner may have been killed, and leaves this to it.
            shutil.rmtree(os.path.dirname(path), ignore_errors=True)
    if job is not None:
        template.become(job)
        if job["module"] != BUILDER:
            forked.use(path)
    return job
