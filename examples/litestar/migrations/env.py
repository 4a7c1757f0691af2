# The template takes all of this from `context.config`, which only `litestar database` makes.
import asyncio

from advanced_alchemy.base import metadata_registry
from alembic import context
from sqlalchemy import Connection

from library.database import config

settings = config.alembic_config


def migrate(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=metadata_registry.get(config.bind_key),
        version_table=settings.version_table_name,
        render_as_batch=settings.render_as_batch,
        compare_type=settings.compare_type,
    )
    with context.begin_transaction():
        context.run_migrations()


async def main() -> None:
    engine = config.get_engine()
    async with engine.connect() as connection:
        await connection.run_sync(migrate)
    await engine.dispose()


asyncio.run(main())
