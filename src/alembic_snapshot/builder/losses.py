"""What a seed's own sessions and connections had, or wrote, and lost."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from alembic_snapshot.database.statements import calls, is_beside, is_reading, is_writing, locks
from alembic_snapshot.database.unsent import Lost, Unsent, is_on_purpose, lost_lines
from alembic_snapshot.sqlite.database import opened_file

if TYPE_CHECKING:
    from alembic_snapshot.project.callsite import Callsites, Writer

_CLOSED = "was rolled back, because its session or connection was closed"
_FAILED = "is rolled back, because a statement failed in its transaction"
_OPEN = "is not committed"
# Whether the transaction has written anything, whatever was executed in it.
_HAS_WRITTEN = "SELECT 1 WHERE pg_catalog.txid_current_if_assigned() IS NOT NULL"


class LostWorkError(Exception):
    """A seed ended with work that it did not commit."""


@contextlib.contextmanager
def refusing_losses(engine: sa.Engine, given: Any, sites: Callsites) -> Iterator[None]:
    """Refuse what is lost meanwhile: whatever is ``given`` is committed afterwards.

    A rollback that is asked for is no loss.

    Raises:
        LostWorkError: it names the lines.
    """
    lost: list[Lost] = []
    unsent = Unsent(sites.writer, lost.append)
    with contextlib.ExitStack() as stack:

        def hear(target: Any, name: str, function: Callable[..., None]) -> None:
            sa.event.listen(target, name, function)
            stack.callback(sa.event.remove, target, name, function)

        unsent.listen(hear)
        writes = _Writes(engine, sites)
        writes.listen(hear)
        yield
        writes.finish(given)

    def spelled(writer: Writer) -> str:
        return sites.text(writer[:2])

    found = [*lost_lines(lost, spelled)]
    for session in unsent.sessions():
        if session is not given:
            found += unsent.lines(session, spelled)
    found += [
        f"what {spelled(writer) if writer else 'it'} wrote {how}"
        for writer, how in writes.lost.items()
    ]
    if found:
        raise LostWorkError(f"{'; '.join(found)}: commit it, or roll it back")


class _Transaction:
    """What one connection's transaction has executed: the lines that wrote, or may have."""

    def __init__(self, connection: sa.Connection):
        # Kept, so that no other one has its id.
        self.info = connection.info
        self.connection = weakref.ref(connection)
        self.sure: dict[Writer | None, None] = {}
        self.possible: dict[Writer | None, None] = {}

    @property
    def writers(self) -> dict[Writer | None, None]:
        """The lines to name."""
        return self.sure or self.possible


class _Writes:
    """Hears what is written to the snapshot by way of any engine, and what becomes of it.

    ``lost`` is how each line's work was lost. The application's own engines lead to the snapshot,
    or to memory: the guard lets them connect to nothing else.
    """

    def __init__(self, engine: sa.Engine, sites: Callsites):
        self.lost: dict[Writer | None, str] = {}
        self._own = engine
        self._sites = sites
        self._open: dict[int, _Transaction] = {}

    def listen(self, hear: Callable[[Any, str, Callable[..., None]], None]) -> None:
        """Listen by way of ``hear``."""
        hear(sa.Engine, "after_cursor_execute", self._on_executed)
        hear(sa.Engine, "commit", self._on_commit)
        hear(sa.Engine, "rollback", self._on_rollback)

    def finish(self, given: Any) -> None:
        """Note what nobody has committed, but for what is ``given`` and will be."""
        own = _info_of(given)
        for key, one in list(self._open.items()):
            connection = one.connection()
            has_written: bool | None = bool(one.sure)
            if connection is not None and not connection.closed:
                has_written = _has_written(connection)
            if one.info is not own and has_written is not False:
                self._lose(key, _OPEN)
            elif has_written is None:
                self._lose(key, _FAILED)

    def _on_executed(
        self, connection: sa.Connection, _cursor: Any, statement: str, *_: Any
    ) -> None:
        is_sure = is_writing(statement)
        may_write = is_sure or (connection.dialect.name != "sqlite" and _may_write(statement))
        if not may_write or connection._is_autocommit_isolation():
            return
        key = id(connection.info)
        if key not in self._open:
            if connection.engine is not self._own and _is_in_memory(connection):
                return
            self._open[key] = _Transaction(connection)
        one = self._open[key]
        (one.sure if is_sure else one.possible)[self._sites.writer()] = None

    def _on_commit(self, connection: sa.Connection) -> None:
        key = id(connection.info)
        if key in self._open and _has_written(connection) is None:
            self._lose(key, _FAILED)
        self._open.pop(key, None)

    def _on_rollback(self, connection: sa.Connection) -> None:
        key = id(connection.info)
        if key in self._open and not is_on_purpose() and _has_written(connection) is not False:
            self._lose(key, _CLOSED)
        self._open.pop(key, None)

    def _lose(self, key: int, how: str) -> None:
        self.lost.update(dict.fromkeys(self._open[key].writers, how))


def _may_write(statement: str) -> bool:
    """Whether a statement may write by what its text does not say, and the server then knows."""
    if is_reading(statement):
        return calls(statement) and not locks(statement)
    return not is_beside(statement)


def _is_in_memory(connection: sa.Connection) -> bool:
    """Whether a connection leads to a database in memory, which is none of the snapshot's."""
    if connection.dialect.name != "sqlite":
        return False
    # An application may have its rows in a form of its own.
    with contextlib.suppress(LookupError, TypeError):
        return not opened_file(connection.connection)
    return False


def _info_of(given: Any) -> Any:
    """What tells the connection of a session, or a connection, that has a transaction."""
    if not isinstance(given, sa.Connection):
        with contextlib.suppress(Exception):
            given = given.connection() if given.in_transaction() else None
    return getattr(given, "info", None)


def _has_written(connection: sa.Connection) -> bool | None:
    """Whether a transaction that is open has written anything; None if it has failed.

    It is asked past all that hears of statements.
    """
    driver: Any = connection.connection
    if connection.dialect.name == "sqlite":
        return bool(getattr(driver.driver_connection, "in_transaction", True))
    cursor = driver.cursor()
    try:
        cursor.execute(_HAS_WRITTEN)
        return cursor.fetchone() is not None
    except Exception:
        return None
    finally:
        cursor.close()
