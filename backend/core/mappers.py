"""The one place that knows which modules have mapped classes."""

from importlib import import_module

from sqlalchemy import MetaData

MODULES = ("core.models", "saas.models", "ecommerce.models")


def load_all() -> MetaData:
    """Import every module with mapped classes and return the metadata of all of them.

    SQLAlchemy resolves the class names in relationships for all mappers at once, at the first
    query. Production, `alembic/env.py`, scripts and tests get them from here, and a session gets
    them whether it asked or not: `core.database` calls this before mappers are configured.
    """
    for module in MODULES:
        import_module(module)
    from core.database import Base

    return Base.metadata
