"""``async_db_session``, declared as whoever runs the async tests wants it to be."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any

from alembic_snapshot.errors import SnapshotError
from alembic_snapshot.plugin.fixtures import fail
from alembic_snapshot.plugin.session import PluginSession

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession


def async_fixtures(decorate: Callable[..., Any]) -> object:
    """A plugin with the fixture; ``decorate`` is the decorator that makes an async fixture."""
    fixture = decorate(name="async_db_session")(_async_db_session)
    return type("AsyncFixtures", (), {"async_db_session": fixture})()


async def _async_db_session(
    _plugin: object, _db_run: PluginSession, async_db_engine: AsyncEngine
) -> AsyncIterator[AsyncSession]:
    """An async session on this test's clone, from the application's own factory if it has one."""
    from alembic_snapshot.engines.loops import waiting

    redirect = _db_run.database("default").redirect
    try:
        session, doubt = redirect.engines.async_session()
    except SnapshotError as error:
        fail(_db_run, error)
    if doubt:
        redirect.doubted.add(session.sync_session)
    yield session
    await session.close()
    if not redirect.keeps_connections:
        # In the loop that they were opened in, while it runs.
        await waiting(redirect.close_idle)
