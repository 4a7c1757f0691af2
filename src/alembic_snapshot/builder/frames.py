"""Whose code is running: the project's, Alembic's, or somebody else's on behalf of one of them."""

from __future__ import annotations

import os
import sys
import threading
from types import FrameType

from alembic_snapshot.callsite import Callsites, waiting

# The code of this room, which is on the stack because it hears of a read.
_HEARING = ("builder/reads.py", "builder/watch.py", "builder/record.py", "builder/frames.py")
# How far below the audit hook linecache is, which reads by tokenize.
_NEAR = 10
_STDLIB = os.path.dirname(os.__file__) + os.sep
_OWN = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
# The code of os.environ itself, which is frozen in some versions of Python, and of this room.
_MAPPINGS = (f"{os.sep}os.py", "_collections_abc.py", "posixpath.py", "<frozen os>",
             "<frozen _collections_abc>", "<frozen posixpath>", *_HEARING)  # fmt: skip


class Frames:
    """Looks at the stack; what it has found of a file is remembered."""

    def __init__(self, sites: Callsites):
        self._sites = sites
        self._is_ours: dict[str, bool] = {}
        self._alembic = f"{os.path.dirname(sys.modules['alembic'].__file__ or '')}{os.sep}"

    def is_project(self, name: str) -> bool:
        """Whether a file is the project's."""
        is_ours = self._is_ours.get(name)
        if is_ours is None:
            is_ours = self._is_ours[name] = self._sites.is_ours(name)
        return is_ours

    def is_alembics(self, name: str) -> bool:
        """Whether a file is of Alembic itself."""
        return name.startswith(self._alembic)

    def is_builders(self, name: str) -> bool:
        """Whether a file is of this library."""
        return name.startswith(_OWN)

    def is_pythons(self, name: str) -> bool:
        """Whether a file is of Python's own library."""
        return name.startswith(_STDLIB) and "site-packages" not in name

    def is_alembic_near(self) -> bool:
        """Whether Alembic itself asks, a few calls above: it asks for each script several times."""
        frame: FrameType | None = sys._getframe(1)
        for _ in range(_NEAR):
            if frame is None or self.is_project(frame.f_code.co_filename):
                return False
            if self.is_alembics(frame.f_code.co_filename):
                return True
            frame = frame.f_back
        return False

    def shows_a_line(self) -> bool:
        """Whether a source is read to show a line of it, in a warning or a traceback."""
        frame: FrameType | None = sys._getframe(1)
        for _ in range(_NEAR):
            if frame is None or frame.f_code.co_filename.endswith("linecache.py"):
                break
            frame = frame.f_back
        else:
            return False
        while frame is not None and not self.is_project(frame.f_code.co_filename):
            if os.path.basename(frame.f_code.co_filename) in ("warnings.py", "traceback.py"):
                return True
            frame = frame.f_back
        return False

    def running(self) -> list[str]:
        """The project's files that are running, the innermost first; in another thread without
        any, those that the main thread is in.
        """
        return self._somewhere()

    def _somewhere(self, code: str | None = None) -> list[str]:
        found = self._of(sys._getframe(2), code)
        for frame in waiting():
            if found:
                break
            found = self._of(frame, code)
        return found

    def importing(self) -> list[str]:
        """Of the project's files that are running, those that are being imported."""
        return self._somewhere("<module>")

    def asks(self) -> str:
        """Who reads at the moment: ``project`` code, ``alembic``, or neither."""
        frame: FrameType | None = sys._getframe(1)
        while frame is not None:
            name = frame.f_code.co_filename
            if self.is_project(name):
                return "project"
            if self.is_alembics(name):
                return "alembic"
            if name.startswith(_OWN) and not name.endswith(_HEARING):
                return ""
            frame = frame.f_back
        return "project" if threading.current_thread() is not threading.main_thread() else ""

    def _of(self, frame: FrameType | None, code: str | None) -> list[str]:
        found: list[str] = []
        while frame is not None:
            name = frame.f_code.co_filename
            if (code is None or frame.f_code.co_name == code) and self.is_project(name):
                found.append(os.path.abspath(name))
            frame = frame.f_back
        return found


def asker() -> FrameType | None:
    """The code that asks for a variable, past the mapping's own."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.endswith(_MAPPINGS):
        frame = frame.f_back
    return frame
