"""Threads that a test left running, and may be in the middle of a statement."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator
from typing import Generic, TypeVar

from alembic_snapshot.project.frames import of_thread, threads

Kept = TypeVar("Kept")
# Whose cursors execute the statements of SQLite's connections.
_SQLITE = "alembic_snapshot.sqlite.attaching"


class Owned(Generic[Kept]):
    """Objects that are forgotten with their last other reference, and the thread that had each."""

    def __init__(self) -> None:
        self._threads: weakref.WeakKeyDictionary[Kept, int] = weakref.WeakKeyDictionary()

    def add(self, thing: Kept) -> None:
        """Note that the current thread has the object."""
        self._threads[thing] = threading.get_ident()

    def idle(self) -> Iterator[Kept]:
        """The objects that no other thread is at work on."""
        # A thread that runs on may add one at any time; to list the references is one step.
        for reference in self._threads.keyrefs():
            thing = reference()
            if thing is not None and not is_at_work(self._threads.get(thing, 0)):
                yield thing

    def discard(self, thing: Kept) -> None:
        """Forget one of them."""
        self._threads.pop(thing, None)

    def clear(self) -> None:
        """Forget all of them."""
        self._threads.clear()

    def __contains__(self, thing: object) -> bool:
        return thing in self._threads


def is_another(thread: int) -> bool:
    """Whether a thread is running that is not the current one."""
    return thread != threading.get_ident() and thread in threads()


def is_at_work(thread: int) -> bool:
    """Whether another thread is inside SQLAlchemy, or SQLite, at this moment."""
    if thread == threading.get_ident():
        return False
    modules = (str(frame.f_globals.get("__name__")) for frame in of_thread(thread))
    return any(name == _SQLITE or name.partition(".")[0] == "sqlalchemy" for name in modules)


def others_at_work() -> bool:
    """Whether any other thread is inside SQLAlchemy at this moment."""
    return any(is_at_work(thread) for thread in threads())
