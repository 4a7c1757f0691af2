"""The application."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import Depends, FastAPI
from pydantic import BaseModel
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from tasks.db import engine, new_session, session
from tasks.models import Task

Session = Annotated[AsyncSession, Depends(session)]


class NewTask(BaseModel):
    title: str


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
    async with new_session.begin() as opened:
        if await opened.scalar(select(Task)) is None:
            opened.add(Task(title="Write down what there is to do"))
    yield
    await engine.dispose()


app = FastAPI(lifespan=lifespan)


@app.get("/tasks")
async def tasks(session: Session) -> list[str]:
    return list(await session.scalars(select(Task.title).order_by(Task.id)))


@app.post("/tasks", status_code=201)
async def add(task: NewTask, session: Session) -> None:
    session.add(Task(title=task.title))
    await session.commit()
