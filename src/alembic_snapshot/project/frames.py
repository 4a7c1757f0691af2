"""The frames of another thread, which may run on while they are looked at."""

from __future__ import annotations

import gc
import os
import sys
import threading
from types import FrameType
from typing import Any


class _Pause:
    """No garbage is collected while a thread is in here, whichever thread would do it.

    Python 3.11 collects wherever it makes an object, that of a frame or a dictionary of its
    variables. What is freed there can let the other thread run, and return from that very function:
    the process crashes then.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._is_off = False

    def __enter__(self) -> None:
        self._lock.acquire()
        if gc.isenabled():
            gc.disable()
            self._is_off = True

    def __exit__(self, *_error: object) -> None:
        self._enable()
        self._lock.release()

    def renew(self) -> None:
        """In a forked child: what the parent's threads are in the middle of is over."""
        self._lock = threading.RLock()
        self._enable()

    def _enable(self) -> None:
        if self._is_off:
            self._is_off = False
            gc.enable()


_pause = _Pause()
os.register_at_fork(after_in_child=_pause.renew)


def threads() -> list[int]:
    """The threads that are running."""
    with _pause:
        return list(sys._current_frames())


def of_thread(thread: int) -> list[FrameType]:
    """The frames of a thread, innermost first; none if it is over.

    While they are kept, it is safe to follow ``f_back`` from one to the next.
    """
    frames = []
    with _pause:
        frame = sys._current_frames().get(thread)
        while frame is not None:
            frames.append(frame)
            frame = frame.f_back
    return frames


def variable(frame: FrameType, name: str) -> Any:
    """A local variable of a function that runs; None if it has none of that name."""
    with _pause:
        return frame.f_locals.get(name)
