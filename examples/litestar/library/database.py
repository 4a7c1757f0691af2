"""The application's database."""

from advanced_alchemy.extensions.litestar import (
    AlembicAsyncConfig,
    AsyncSessionConfig,
    SQLAlchemyAsyncConfig,
    base,
)
from sqlalchemy.orm import Mapped

config = SQLAlchemyAsyncConfig(
    connection_string="sqlite+aiosqlite:///library.db",
    session_config=AsyncSessionConfig(expire_on_commit=False),
    before_send_handler="autocommit",
    alembic_config=AlembicAsyncConfig(script_location="migrations"),
)


class Book(base.BigIntBase):
    __tablename__ = "books"

    title: Mapped[str]
