"""Which code is running: the project's, Alembic's, or a library's on behalf of one of them."""

from __future__ import annotations

import functools
import os
import sys
import threading
from collections.abc import Mapping
from types import FrameType

from alembic_snapshot.project.callsite import Callsites, waiting
from alembic_snapshot.project.spelling import beginning, is_librarys

# The code of this room, which is on the stack because it hears of a read.
_HEARING = ("builder/reads.py", "builder/watch.py", "builder/record.py", "builder/frames.py")
# The code of this room that starts the project's: env.py, its scripts and seeds.
_STARTING = ("builder/env_runner.py", "builder/upgrade.py", "builder/seeds.py")
# Modules through which a question about a file comes here.
_PASSING = frozenset(
    {"genericpath", "os", "pathlib", "pathlib._abc", "pathlib._local", "posixpath"}
    | {f"alembic_snapshot.{name[:-3].replace('/', '.')}" for name in _HEARING}
)
# How far below the audit hook linecache is, which reads by tokenize.
_NEAR = 11
# Python's modules that show a line of a source.
_SHOWING = ("warnings.py", "_py_warnings.py", "traceback.py")
_STDLIB = beginning(os.path.dirname(os.__file__))
_OWN = beginning(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
# The files of os.environ's own code, as this Python names them (some are frozen), and of this room.
_MAPPINGS = (
    *(way.__code__.co_filename for way in (os.getenv, Mapping.get, os.path.expandvars)),
    *_HEARING,
)
# What code calls the environment that looks it up by itself.
_ENVIRONMENTS = frozenset({"environ", "environb"})
# What asks for libpq's variables to know where a server is, and not what is in it.
_DRIVERS = frozenset({"asyncpg", "psycopg", "psycopg2", "psycopg_pool"})

_PROJECT, _ALEMBIC, _OTHER = "project", "alembic", "other"
_STARTS, _BUILDER = "starts", "builder"


class Frames:
    """Looks at the stack; what it has found of a file is remembered.

    Each look at a frame's code is an audit event of its own, so no frame is looked at twice.
    """

    def __init__(self, sites: Callsites):
        self._sites = sites
        # The owner of a file: the project, Alembic, this library or another.
        self._kind = functools.cache(self._learn)
        self._alembic = beginning(os.path.dirname(str(sys.modules["alembic"].__file__)))

    def forget(self) -> None:
        """Look at each file anew: another one is the project's."""
        self._kind.cache_clear()

    def is_project(self, name: str) -> bool:
        """Whether a file is the project's."""
        return self._kind(name) == _PROJECT

    def is_alembics(self, name: str) -> bool:
        """Whether a file is of Alembic itself."""
        return name.startswith(self._alembic)

    def is_builders(self, name: str) -> bool:
        """Whether a file is of this library."""
        return name.startswith(_OWN)

    def is_pythons(self, name: str) -> bool:
        """Whether a file is of Python's own library."""
        return name.startswith(_STDLIB) and not is_librarys(name)

    def is_pythons_own(self, frame: FrameType | None) -> bool:
        """Whether Python's library reads all variables for itself, as some of its functions do.

        What it was handed (``ConfigParser(os.environ)``) is read for whoever did that.
        """
        while frame is not None and self.is_pythons(frame.f_code.co_filename):
            if not _ENVIRONMENTS.isdisjoint(frame.f_code.co_names):
                return True
            frame = frame.f_back
        return False

    def is_alembic_near(self) -> bool:
        """Whether Alembic itself asks, through Python: it asks for each script several times."""
        frame: FrameType | None = sys._getframe()
        # A look at the globals is no audit event.
        while frame is not None and frame.f_globals.get("__name__") in _PASSING:
            frame = frame.f_back
        return frame is not None and self._kind(frame.f_code.co_filename) == _ALEMBIC

    def makes_folders(self) -> bool:
        """Whether Python makes a folder that may be there already, and asks for it or above it."""
        frame: FrameType | None = sys._getframe()
        while frame is not None and frame.f_globals.get("__name__") in _PASSING:
            if frame.f_code.co_name in ("makedirs", "mkdir") and frame.f_locals.get("exist_ok"):
                return True
            frame = frame.f_back
        return False

    def shows_a_line(self) -> bool:
        """Whether a source is read to show a line of it, in a warning or a traceback."""
        frame: FrameType | None = sys._getframe()
        for _ in range(_NEAR):
            if frame is None or frame.f_code.co_filename.endswith("linecache.py"):
                break
            frame = frame.f_back
        else:
            return False
        while frame is not None:
            name = frame.f_code.co_filename
            if self.is_project(name):
                return False
            if os.path.basename(name) in _SHOWING:
                return True
            frame = frame.f_back
        return False

    def running(self) -> tuple[list[str], list[str]]:
        """The project's files that are running, the innermost first, and those that are being
        imported; where another thread has none, they are the main thread's.
        """
        running, importing, is_whole = self._of(sys._getframe())
        # What this room has started is known to its end, whoever waits for it.
        for frame in () if is_whole else waiting():
            there = self._of(frame)
            running, importing = running or there[0], importing or there[1]
        return running, importing

    def asks(self) -> str:
        """Who reads at the moment: ``project`` code, ``alembic``, or neither."""
        frame: FrameType | None = sys._getframe()
        while frame is not None:
            kind = self._kind(frame.f_code.co_filename)
            if kind in (_PROJECT, _ALEMBIC):
                return kind
            if kind in (_BUILDER, _STARTS):
                return ""
            frame = frame.f_back
        return _PROJECT if threading.current_thread() is not threading.main_thread() else ""

    def _learn(self, name: str) -> str:
        if self._sites.is_ours(name):
            return _PROJECT
        if self.is_alembics(name):
            return _ALEMBIC
        if name.startswith(_OWN) and not name.endswith(_HEARING):
            return _STARTS if name.endswith(_STARTING) else _BUILDER
        return _OTHER

    def _of(self, frame: FrameType | None) -> tuple[list[str], list[str], bool]:
        """The project's files that run and are imported; whether this room has started them."""
        running: list[str] = []
        importing: list[str] = []
        while frame is not None:
            code = frame.f_code
            kind = self._kind(code.co_filename)
            if kind == _STARTS:
                # Below is env.py, which does not read what a script does.
                return running, importing, True
            if kind == _PROJECT:
                running.append(os.path.abspath(code.co_filename))
                if code.co_name == "<module>":
                    importing.append(running[-1])
            frame = frame.f_back
        return running, importing, False


def asker() -> FrameType | None:
    """The code that asks for a variable, past the mapping's own."""
    frame: FrameType | None = sys._getframe()
    while frame is not None and frame.f_code.co_filename.endswith(_MAPPINGS):
        frame = frame.f_back
    return frame


def is_drivers(frame: FrameType) -> bool:
    """Whether it is a driver's code: what it asks for says where a database is."""
    return str(frame.f_globals.get("__name__")).partition(".")[0] in _DRIVERS
