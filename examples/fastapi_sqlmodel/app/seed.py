"""The rows that every installation has."""

from sqlmodel import Session, select

from app.models import Hero


def first_hero(session: Session) -> None:
    if session.exec(select(Hero)).first() is None:
        session.add(Hero(name="Deadpond"))
