"""The application."""

from typing import Annotated

from fastapi import Depends, FastAPI
from sqlmodel import Session, select

from app.database import get_session
from app.models import Hero

app = FastAPI()
Opened = Annotated[Session, Depends(get_session)]


@app.get("/heroes")
def heroes(session: Opened) -> list[Hero]:
    return list(session.exec(select(Hero).order_by(Hero.id)))


@app.post("/heroes", status_code=201)
def add(hero: Hero, session: Opened) -> Hero:
    session.add(hero)
    session.commit()
    session.refresh(hero)
    return hero
