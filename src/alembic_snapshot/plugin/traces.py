"""Tracebacks of this library's errors: the test's and the project's lines, and nobody else's."""

from __future__ import annotations

import os
import sysconfig
from collections.abc import Iterator
from types import FrameType, TracebackType

import pytest

from alembic_snapshot.errors import SnapshotError
from alembic_snapshot.project.spelling import beginning, is_librarys

_OWN = beginning(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
_PYTHONS = tuple({beginning(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib")})
# Wherever they are installed.
_LIBRARIES = frozenset(
    {"alembic", "alembic_snapshot", "greenlet", "pytest_alembic_snapshot", "sqlalchemy"}
)


def shorten(excinfo: pytest.ExceptionInfo[BaseException], config: pytest.Config) -> None:
    """Leave out what lies between the project's lines and an error of ours, on its way here.

    All of it stays with ``--full-trace`` and ``--tb=native``, and where nothing would be left.
    """
    whole = config.getoption("fulltrace", False) or config.getoption("tbstyle", "") == "native"
    every = list(_all(excinfo.value, set()))
    if whole or not any(isinstance(error, SnapshotError) for error in every):
        return
    kept = _kept(excinfo.tb)
    if kept is not None:
        # A debugger goes by the error's own, which stays whole.
        excinfo.traceback = type(excinfo.traceback)(kept)
    # A group is written by Python, which goes by the error's own.
    is_group = isinstance(excinfo.value, BaseExceptionGroup)
    for error in every if is_group else every[1:]:
        error.__traceback__ = _kept(error.__traceback__) or error.__traceback__
    for error in every:
        # What a driver said on a connection of ours is in the error's own message.
        if isinstance(error, SnapshotError) and _is_inside(error.__cause__):
            error.__cause__ = None


def _is_inside(cause: BaseException | None) -> bool:
    """Whether an error was raised and caught without a line of the project between."""
    if cause is None:
        return False
    return all(_kept(error.__traceback__) is None for error in _all(cause, set()))


def _all(error: BaseException, seen: set[int]) -> Iterator[BaseException]:
    """An error, those that it came from, and the members of groups."""
    if id(error) in seen:
        return
    seen.add(id(error))
    yield error
    members = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
    for other in (error.__cause__, error.__context__, *members):
        if other is not None:
            yield from _all(other, seen)


def _kept(trace: TracebackType | None) -> TracebackType | None:
    """The same traceback with the project's lines alone."""
    lines = []
    while trace is not None:
        if _is_projects(trace.tb_frame):
            lines.append(trace)
        trace = trace.tb_next
    made: TracebackType | None = None
    for line in reversed(lines):
        made = TracebackType(made, line.tb_frame, line.tb_lasti, line.tb_lineno)
    return made


def _is_projects(frame: FrameType) -> bool:
    """Whether code is neither installed, nor Python's own, nor this library's."""
    if str(frame.f_globals.get("__name__")).partition(".")[0] in _LIBRARIES:
        return False
    path = os.path.abspath(frame.f_code.co_filename)
    is_installed = path.startswith((_OWN, *_PYTHONS)) or is_librarys(path)
    return not (is_installed or frame.f_code.co_filename.startswith("<"))
