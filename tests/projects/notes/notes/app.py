"""A FastAPI application as its documentation teaches it; nothing in it is for tests."""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException
from pydantic import BaseModel
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from notes.db import SessionLocal
from notes.models import Note

app = FastAPI()


async def get_session() -> AsyncIterator[AsyncSession]:
    async with SessionLocal() as session:
        yield session


Db = Annotated[AsyncSession, Depends(get_session)]


class NewNote(BaseModel):
    text: str


@app.post("/notes", status_code=201)
async def create(new: NewNote, session: Db) -> int:
    note = Note(text=new.text)
    session.add(note)
    await session.commit()
    return note.id


@app.get("/notes")
async def index(session: Db) -> list[str]:
    return list(await session.scalars(select(Note.text).order_by(Note.id)))


@app.delete("/notes/{number}", status_code=204)
async def delete(number: int, session: Db) -> None:
    note = await session.get(Note, number)
    if note is None:
        raise HTTPException(404)
    await session.delete(note)
    await session.commit()
