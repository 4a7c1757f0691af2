"""Waiting for another process, which is told to whoever listens."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from alembic_snapshot.build.process import Listener

_PATIENCE = 1.0  # seconds


@contextlib.contextmanager
def telling_of_a_wait(
    lock: AbstractContextManager[None], listener: Listener | None
) -> Iterator[None]:
    """Hold a lock; the listener is told if another process has it for longer than a moment.

    The other one may be suspended, or hang: then this one waits without end.
    """
    timer = threading.Timer(_PATIENCE, listener or silent, [{"event": "waiting"}])
    timer.daemon = True
    timer.start()
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(lock)
        finally:
            timer.cancel()
            # Whoever forks is to have no other thread.
            timer.join()
        yield


def silent(_event: Mapping[str, Any]) -> None:
    """A listener that says nothing."""
