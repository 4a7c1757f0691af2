"""The line of the project's own code that is running; cheap enough for each pool checkout."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import FrameType

from alembic_snapshot.project.frames import of_thread
from alembic_snapshot.project.spelling import beginning, is_librarys

Site = tuple[str, int]
# A line as its file, its number and its function.
Writer = tuple[str, int, str]
_LIBRARY = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_PLUGIN = os.path.join(os.path.dirname(_LIBRARY), "pytest_alembic_snapshot")
# This library's code, and Python's own, which are below the root if that is the topmost folder.
_NO_PROJECTS = tuple(map(beginning, (_LIBRARY, _PLUGIN, os.path.dirname(os.__file__))))


class Callsites:
    """Finds lines of the code below ``root``: not installed libraries', not this library's.

    What is below one of ``scripts`` belongs to the project wherever it lies: migrations may be
    inside an installed package. So does what is below one of ``beside``, if nothing installed it
    there. The root may be reached through a symbolic link, which the working directory forgets.
    """

    def __init__(self, root: Path, scripts: Iterable[Path] = (), beside: Iterable[str] = ()):
        self.root = root
        self._real = beginning(os.path.realpath(root))
        self._roots = (beginning(root), self._real)
        self._below = (*self._roots, *map(beginning, beside))
        self._scripts = tuple(map(beginning, scripts))
        self._known: dict[str, bool] = {}

    @property
    def beginnings(self) -> tuple[str, ...]:
        """The beginnings of all paths that may be the project's."""
        return (*self._below, *self._scripts)

    def claim(self, place: str) -> None:
        """Take a file, or what is below a folder, for the project's from now on."""
        self._below = (*self._below, place)
        self._known.clear()

    def here(self) -> Site | None:
        """The innermost line of the project that is running, as file and number.

        Where this thread has none, it is the line that waits: of the coroutine that a greenlet
        works for, or of the main thread.
        """
        return self._innermost(sys._getframe(1)) or self._elsewhere()

    def writer(self) -> Writer | None:
        """The innermost line of the project that is running, with its function.

        That of the coroutine that a greenlet works for, but none that only waits: for a thread, or
        for what a loop does, which has other tasks than its own.
        """
        end = _begin_of_task()
        frame = self._frame(sys._getframe(1), end)
        if frame is None and "greenlet" in sys.modules:
            frames = waiting(threads=False)
            frame = next((found for each in frames if (found := self._frame(each, end))), None)
        if frame is None:
            return None
        code = frame.f_code
        return code.co_filename, frame.f_lineno, code.co_qualname

    def current(self) -> str:
        """The innermost line of the project that is running, as messages spell it."""
        return self.text(self.here())

    def text(self, site: Site | None) -> str:
        """A line as messages spell it: ``file line N``, relative to the root."""
        if site is None:
            return "code outside the project"
        return f"{os.path.relpath(self.at_root(site[0]), self.root)} line {site[1]}"

    def at_root(self, path: str) -> str:
        """An absolute path with the root as it was given, not as links are resolved."""
        if path.startswith(self._real):
            return f"{self._below[0]}{path.removeprefix(self._real)}"
        return path

    def inside(self, path: str) -> list[str]:
        """The names of a path that are below the project's folder in which it is."""
        return _after(self.beginnings, path).split(os.sep)

    def _innermost(self, frame: FrameType | None) -> Site | None:
        found = self._frame(frame)
        return (os.path.abspath(found.f_code.co_filename), found.f_lineno) if found else None

    def _frame(self, frame: FrameType | None, end: FrameType | None = None) -> FrameType | None:
        """The innermost frame of the project, looked for up to ``end``."""
        known = self._known
        while frame is not None:
            name = frame.f_code.co_filename
            is_ours = known.get(name)
            if is_ours is None:
                is_ours = known[name] = self.is_ours(name)
            if is_ours:
                return frame
            frame = frame.f_back if frame is not end else None
        return None

    def _elsewhere(self) -> Site | None:
        return next((site for frame in waiting() if (site := self._innermost(frame))), None)

    def is_ours(self, name: str) -> bool:
        """Whether a file belongs to the project."""
        if name.startswith("<"):
            return False
        path = os.path.abspath(name)
        if path.startswith(self._scripts):
            return True
        if path.startswith(_NO_PROJECTS) or is_librarys(_after(self._roots, path)):
            return False
        return path.startswith(self._below)


def _after(beginnings: Iterable[str], path: str) -> str:
    """A path without the first of the beginnings that it has."""
    return path.removeprefix(next((one for one in beginnings if path.startswith(one)), ""))


def _begin_of_task() -> FrameType | None:
    """The outermost frame of the task that this thread's loop runs: below it is who waits for all.

    Of what is no task but a callback of the loop's, it is the loop's own.
    """
    asyncio = sys.modules.get("asyncio")
    if asyncio is None or asyncio._get_running_loop() is None:
        return None
    task = asyncio.current_task()
    if task is not None:
        coroutine = task.get_coro()
        return getattr(coroutine, "cr_frame", None) or getattr(coroutine, "gi_frame", None)
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_globals.get("__name__") != "asyncio.events":
        frame = frame.f_back
    return frame


def waiting(*, threads: bool = True) -> Iterator[FrameType | None]:
    """The frames that wait for this code: those of greenlets' parents, and of the main thread."""
    greenlet = sys.modules.get("greenlet")
    current = greenlet.getcurrent().parent if greenlet else None
    while current is not None:
        yield current.gr_frame
        current = current.parent
    if threads and threading.current_thread() is not threading.main_thread():
        # All of them are kept while the first is followed.
        frames = of_thread(threading.main_thread().ident or 0)
        yield from frames[:1]
