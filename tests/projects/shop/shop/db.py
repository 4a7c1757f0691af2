import os
from pathlib import Path

from sqlalchemy import create_engine, event
from sqlalchemy.orm import sessionmaker

REAL = Path(__file__).parents[1] / "real.db"
engine = create_engine(os.environ.get("SHOP_URL") or f"sqlite:///{REAL}")
SessionLocal = sessionmaker(engine)


@event.listens_for(engine, "connect")
def enforce_foreign_keys(connection, record):
    if engine.dialect.name != "sqlite":
        return
    cursor = connection.cursor()
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()
