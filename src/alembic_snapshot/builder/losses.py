"""What a seed's own sessions had, or wrote, and lost when they were closed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from alembic_snapshot.database.recording import is_writing
from alembic_snapshot.database.unsent import Lost, Unsent, is_on_purpose, lost_lines

if TYPE_CHECKING:
    from alembic_snapshot.project.callsite import Callsites, Writer


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
    rolled_back: dict[Writer | None, None] = {}
    unsent = Unsent(sites.writer, lost.append)
    with contextlib.ExitStack() as stack:

        def hear(target: Any, name: str, function: Callable[..., None]) -> None:
            sa.event.listen(target, name, function)
            stack.callback(sa.event.remove, target, name, function)

        unsent.listen(hear)
        _hear_writes(engine, sites, rolled_back, hear)
        yield

    def spelled(writer: Writer) -> str:
        return sites.text(writer[:2])

    found = [*lost_lines(lost, spelled)]
    for session in unsent.sessions():
        if session is not given:
            found += unsent.lines(session, spelled)
    found += [
        f"what {spelled(writer) if writer else 'it'} wrote was rolled back, because its session or "
        "connection was closed"
        for writer in rolled_back
    ]
    if found:
        raise LostWorkError(f"{'; '.join(found)}: commit it, or roll it back")


def _hear_writes(
    engine: sa.Engine,
    sites: Callsites,
    rolled_back: dict[Writer | None, None],
    hear: Callable[[Any, str, Callable[..., None]], None],
) -> None:
    """Note the lines whose statements are rolled back by who did not ask for it."""
    writers: dict[int, dict[Writer | None, None]] = {}

    def executed(connection: sa.Connection, _cursor: Any, statement: str, *_: Any) -> None:
        if is_writing(statement):
            writers.setdefault(id(connection.info), {})[sites.writer()] = None

    def committed(connection: sa.Connection) -> None:
        writers.pop(id(connection.info), None)

    def rolling_back(connection: sa.Connection) -> None:
        found = writers.pop(id(connection.info), {})
        if not is_on_purpose():
            rolled_back.update(found)

    hear(engine, "after_cursor_execute", executed)
    hear(engine, "commit", committed)
    hear(engine, "rollback", rolling_back)
