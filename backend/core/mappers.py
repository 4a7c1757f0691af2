"""Every mapped class, for whoever needs all tables: `alembic/env.py`, scripts and tests."""

from sqlalchemy import MetaData

from core.base import Base
from core.composition import import_models


def load_all() -> MetaData:
    """Import every module with mapped classes and return the metadata of all of them."""
    import_models()
    return Base.metadata
