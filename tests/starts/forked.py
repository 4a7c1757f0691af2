"""``subprocess.Popen`` for interpreters that are forked from a template instead of started.

A process gets what it is given, as if it were started: its arguments, variables, working folder,
files and streams, its process group, its modules. Its parent is the template, though, which tells
how it ended. What only a real start can give is started: a script, another user or limit,
other flags, variables that Python reads as it begins.
"""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

# Whatever is done to the module later.
Real = subprocess.Popen
_LIMITS = sorted(name for name in vars(resource) if name.startswith("RLIMIT_"))
# restore_signals, group, groups, user, umask
_PLAIN = (True, None, None, None, -1)
# The build of a snapshot, whose project starts what it starts.
BUILDER = "alembic_snapshot.builder"


class Popen(Real[Any]):
    """A process that a template was asked for, or else a real one."""

    socket_path = ""
    # Why it was started; empty where it is forked, or no template was asked.
    refusal = ""
    _link: Any = None
    _lines: Any = None

    def __repr__(self) -> str:
        return f"{super().__repr__()[:-1]} {self.refusal or 'forked'}>"

    def _execute_child(
        self, args, executable, preexec_fn, close_fds, pass_fds, cwd, env, startupinfo,
        creationflags, shell, p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite, *rest
    ) -> None:  # fmt: skip
        *plain, is_session, group = rest
        is_plain = not (preexec_fn or shell or startupinfo) and close_fds
        is_plain = is_plain and (*plain, group) == (*_PLAIN, -1)
        job = _job(args, executable, cwd, env, is_session=is_session) if is_plain else None
        files = {0: p2cread, 1: c2pwrite, 2: errwrite}
        given = {t: t if one == -1 else one for t, one in files.items()}
        given |= {one: one for one in pass_fds}
        answer = self._ask(job, given) if job else None
        if answer is None:
            super()._execute_child(
                args, executable, preexec_fn, close_fds, pass_fds, cwd, env, startupinfo,
                creationflags, shell, p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite, *rest
            )  # fmt: skip
            return
        sys.audit("subprocess.Popen", args[0], args, cwd, env)
        self.pid = answer["pid"]
        self._child_created = True
        self._close_pipe_fds(p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite)

    def _ask(self, job: Mapping[str, Any], given: Mapping[int, int]) -> Any:
        link = socket.socket(socket.AF_UNIX)
        try:
            link.connect(self.socket_path)
            text = json.dumps({**job, "targets": list(given)}).encode()
            socket.send_fds(link, [len(text).to_bytes(8, "big")], list(given.values()))
            link.sendall(text)
            self._lines = link.makefile("rb")
            answer = json.loads(self._lines.readline())
        except (OSError, json.JSONDecodeError) as error:
            # The template is gone, or a stream is closed: a start tells what that means.
            answer = {"refused": f"no answer: {error!r}"}
        if "refused" in answer:
            if self._lines is not None:
                self._lines.close()
            link.close()
            self.refusal = f"started: {answer['refused']}"
            return None
        self._link = link
        return answer

    def _internal_poll(self, _deadstate: Any = None, *rest: Any) -> Any:
        if self._link is None:
            return super()._internal_poll(_deadstate, *rest)
        if self.returncode is None and self._waitpid_lock.acquire(False):
            try:
                self._take_end(0)
            finally:
                self._waitpid_lock.release()
        return self.returncode

    def _wait(self, timeout: float | None) -> Any:
        if self._link is None:
            return super()._wait(timeout)
        with self._waitpid_lock:
            self._take_end(timeout)
        if self.returncode is None:
            assert timeout is not None
            raise subprocess.TimeoutExpired(self.args, timeout)
        return self.returncode

    def _take_end(self, timeout: float | None) -> None:
        if self.returncode is not None:
            return
        if not select.select([self._link], [], [], timeout)[0]:
            return
        line = self._lines.readline()
        self._lines.close()
        self._link.close()
        if not line:
            raise RuntimeError(f"the template of process {self.pid} has ended before it")
        self._handle_exitstatus(json.loads(line)["status"])


def _job(
    args: Any, executable: Any, cwd: Any, env: Any, *, is_session: bool
) -> dict[str, Any] | None:
    """What a template is to be asked for; nothing if it is a program that it can't be."""
    if isinstance(args, str | bytes | os.PathLike):
        return None
    command = [os.fsdecode(one) for one in args]
    if executable is not None or command[0] != sys.executable:
        return None
    parsed = _parsed(command[1:])
    if parsed is None:
        return None
    folder = os.path.abspath(os.fsdecode(cwd or "."))
    if not os.path.isdir(folder):
        return None
    variables = os.environ if env is None else env
    umask = os.umask(0)
    os.umask(umask)
    return {
        **parsed,
        "command": command,
        "cwd": folder,
        "env": {os.fsdecode(name): os.fsdecode(value) for name, value in variables.items()},
        "group": None if is_session else os.getpgrp(),
        "umask": umask,
        "surroundings": surroundings(),
    }


def _parsed(arguments: Sequence[str]) -> dict[str, Any] | None:
    flags = []
    for index, one in enumerate(arguments):
        rest = list(arguments[index + 1 :])
        if one in ("-P", "-u"):
            flags.append(one)
            continue
        if one[:2] in ("-m", "-c"):
            what = one[2:] or (rest.pop(0) if rest else "")
            is_module = one[1] == "m"
            return {
                "flags": flags,
                "is_safe": "-P" in flags,
                "module": what if is_module else "",
                "code": "" if is_module else what,
                "argv0": one[:2],
                "arguments": rest,
            }
        break
    return None


def surroundings() -> dict[str, Any]:
    """What a process inherits and a template's child can't be given."""
    valid = sorted(signal.valid_signals())
    return {
        "interpreter": sys.executable,
        "user": [os.getuid(), os.geteuid(), os.getgid(), os.getegid(), *os.getgroups()],
        "session": os.getsid(0),
        "limits": [list(resource.getrlimit(getattr(resource, name))) for name in _LIMITS],
        "ignored signals": [one for one in valid if signal.getsignal(one) is signal.SIG_IGN],
        "blocked signals": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
    }


def use(path: str) -> None:
    """Have this process's interpreters forked from the template that listens there."""
    Popen.socket_path = path
    subprocess.Popen = Popen
