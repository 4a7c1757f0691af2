"""The process that talks to a shared store, as its parent sees it: asked, and ended if late."""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Mapping
from typing import Any

from alembic_snapshot.remote.settings import RemoteSettings

_PART = 1 << 16
# Time to import what it needs, on a busy machine.
_START = 20.0


class Failed(Exception):
    """The store could not do what it was asked; the text says why."""


class Missing(Exception):
    """A library that the extra ``remote`` brings is not installed; the text is its name."""


class RemoteProcess:
    """One process, started with the first question and ended with :meth:`close`."""

    def __init__(self, settings: RemoteSettings):
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None
        self._waiting = b""
        self._stderr = subprocess.DEVNULL

    def start(self) -> None:
        """Start it, and go on meanwhile.

        Raises:
            Failed: it can't be started.
        """
        command = [sys.executable, "-P", "-m", "alembic_snapshot.remote"]
        try:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._stderr
            )
        except OSError as error:
            raise Failed(f"can't start a process: {error.strerror or error}") from error
        self._question("begin", self._settings.to_job())

    def begin(self) -> str:
        """Have it started; the fingerprint of the key that signs in it.

        Raises:
            Failed, Missing: it can't work.
        """
        if self._process is None:
            self.start()
        signer: str = self._answer(_START)["signer"]
        return signer

    def ask(self, do: str, seconds: float, **arguments: Any) -> dict[str, Any]:
        """The answer to a question, which has to come in so many seconds.

        Raises:
            Failed: there is none, or it is that the store refuses.
            Missing: a library is not installed.
        """
        if self._process is None:
            raise Failed("the process that talks to it has ended")
        self._question(do, arguments)
        return self._answer(seconds)

    def _question(self, do: str, arguments: Mapping[str, Any]) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        # If it has ended, there is no answer either.
        with contextlib.suppress(OSError):
            self._process.stdin.write(json.dumps({"do": do, **arguments}).encode() + b"\n")
            self._process.stdin.flush()

    def _answer(self, seconds: float) -> dict[str, Any]:
        try:
            answer: dict[str, Any] = json.loads(self._line(time.monotonic() + seconds))
        except TimeoutError:
            self.close()
            raise Failed(f"no answer within {seconds:.0f} s") from None
        except (OSError, ValueError):
            self.close()
            raise Failed("the process that talks to it has ended") from None
        except BaseException:
            self.close()
            raise
        if "missing" in answer:
            raise Missing(answer["missing"])
        if "error" in answer:
            raise Failed(answer["error"])
        return answer

    def close(self) -> None:
        """End it, whatever it is doing."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        for stream in (process.stdin, process.stdout):
            with contextlib.suppress(OSError):
                stream and stream.close()
        process.wait()

    def _line(self, until: float) -> bytes:
        assert self._process is not None
        assert self._process.stdout is not None
        pipe = self._process.stdout.fileno()
        while b"\n" not in self._waiting:
            poll = select.poll()
            poll.register(pipe, select.POLLIN)
            if not poll.poll(max(0.0, until - time.monotonic()) * 1000):
                raise TimeoutError
            part = os.read(pipe, _PART)
            if not part:
                raise OSError("it has closed its output")
            self._waiting += part
        line, _, self._waiting = self._waiting.partition(b"\n")
        return line
