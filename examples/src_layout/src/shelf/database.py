import os

from sqlalchemy import create_engine
from sqlalchemy.orm import DeclarativeBase, sessionmaker

engine = create_engine(os.environ.get("SHELF_DATABASE", "sqlite:///shelf.db"))
SessionLocal = sessionmaker(engine)


class Base(DeclarativeBase):
    pass
