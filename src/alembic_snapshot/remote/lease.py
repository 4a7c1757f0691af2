"""A lease: who builds a snapshot for all machines that share a store.

It is an object that is created if there is none. Whoever holds it writes it again every few
seconds; whoever waits takes it over when it has not changed for some time.
A lease that is lost costs a second build, and nobody more than that.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import threading
import time
from collections.abc import Callable, Iterator

from alembic_snapshot.errors import StoreError
from alembic_snapshot.remote.exchange import Objects
from alembic_snapshot.remote.record import lease_path
from alembic_snapshot.remote.transport import Found, TooLarge

EVERY, STALE = 2.0, 10.0
_LOOK = 0.3
_LIMIT = 4096


class Lease:
    """The lease of one snapshot in one scope, held by this process or by another."""

    def __init__(self, objects: Objects, scope: str, digest: str):
        self._objects = objects
        self._path = lease_path(scope, digest)
        self._nonce = secrets.token_hex(16)
        self._count = 0
        self._ended = threading.Event()
        self._keeper: threading.Thread | None = None
        self._known: tuple[str | None, bytes] | None = None
        self._since = 0.0
        self._is_dated = False

    def take(self) -> bool:
        """Hold the lease if nobody does, or if its holder is dead; whether it is held."""
        if self._keeper is not None:
            return True
        if not self._objects.create(self._path, self._content()):
            other = self._read()
            if other is None:
                return False
            if not (self._is_dead(other) or self._is_old(other)):
                return False
            if not self._objects.replace(self._path, self._content(), other.version):
                return False
        self._keeper = threading.Thread(target=self._keep, name="lease", daemon=True)
        self._keeper.start()
        return True

    def is_held_by_another(self) -> bool:
        """Whether somebody who is alive holds it, as far as can be told.

        Nobody does of one that can't be read.
        """
        try:
            other = self._read()
        except StoreError:
            return False
        return other is not None and not self._is_dead(other)

    def wait(self, until: float, is_there: Callable[[], bool]) -> str:
        """Wait for the snapshot: ``there``, ``free`` if nobody builds it, or ``over``.

        ``until`` is a moment of ``time.monotonic``.
        """
        for _ in _looks(until):
            if is_there():
                return "there"
            if not self.is_held_by_another():
                return "free"
        return "over"

    def release(self) -> None:
        """Let others have it."""
        if self._keeper is None:
            return
        self._ended.set()
        self._keeper.join()
        self._keeper = None
        other = self._read()
        if other is not None and self._nonce in other.content.decode(errors="replace"):
            self._objects.delete(self._path)

    def _keep(self) -> None:
        # Whoever can't say that it is alive is taken for dead, and what it builds counts all the
        # same.
        with contextlib.suppress(StoreError, TooLarge):
            while not self._ended.wait(EVERY):
                other = self._read()
                if other is None or self._nonce not in other.content.decode(errors="replace"):
                    return
                self._objects.write(self._path, self._content())

    def _content(self) -> bytes:
        self._count += 1
        return json.dumps({"nonce": self._nonce, "count": self._count}).encode()

    def _read(self) -> Found | None:
        with contextlib.suppress(TooLarge):
            return self._objects.read(self._path, _LIMIT)
        return None

    def _is_dead(self, other: Found) -> bool:
        """Whether a lease has not changed for so long while this process looked on."""
        known = other.version, other.content
        if known != self._known:
            self._known, self._since = known, time.monotonic()
        return time.monotonic() - self._since > STALE

    def _is_old(self, other: Found) -> bool:
        """Whether it was written too long ago, by the server's clock; that is asked once.

        What is written now tells the server's time. No two machines' clocks are compared.
        """
        if self._is_dated:
            return False
        self._is_dated = True
        clock = f"{self._path}.{self._nonce}"
        self._objects.write(clock, b"")
        now = self._objects.read(clock, _LIMIT)
        self._objects.delete(clock)
        return now is not None and (now.modified - other.modified).total_seconds() > STALE


def _looks(until: float) -> Iterator[None]:
    while True:
        yield
        left = until - time.monotonic()
        if left <= 0:
            return
        time.sleep(min(_LOOK, left))
