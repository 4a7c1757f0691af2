"""The application."""

from advanced_alchemy.extensions.litestar import SQLAlchemyPlugin
from litestar import Litestar, get, post
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from library.database import Book, config


@get("/books")
async def books(db_session: AsyncSession) -> list[str]:
    return list(await db_session.scalars(select(Book.title).order_by(Book.id)))


@post("/books")
async def add(db_session: AsyncSession, data: dict[str, str]) -> None:
    db_session.add(Book(title=data["title"]))


app = Litestar([books, add], plugins=[SQLAlchemyPlugin(config)])
