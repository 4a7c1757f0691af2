from sqlalchemy.orm import Mapped, mapped_column

from shelf.database import Base, SessionLocal


class Book(Base):
    __tablename__ = "books"

    isbn: Mapped[str] = mapped_column(primary_key=True)
    title: Mapped[str]


def put(isbn: str, title: str) -> None:
    with SessionLocal.begin() as session:
        session.merge(Book(isbn=isbn, title=title))
