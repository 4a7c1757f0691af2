"""The base class of every mapped class, and the promise that all are there when one is used."""

from sqlalchemy import MetaData, event
from sqlalchemy.orm import DeclarativeBase, Mapper

from core.composition import import_models

NAMING_CONVENTION = {
    "pk": "pk_%(table_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
}


class Base(DeclarativeBase):
    """The base class of every mapped class in `core`, `saas` and `ecommerce`."""

    metadata = MetaData(naming_convention=NAMING_CONVENTION)


@event.listens_for(Mapper, "before_configured")
def _import_every_mapped_class() -> None:
    """Complete the mappers for whoever uses a class without a session of ours.

    SQLAlchemy resolves the class names in relationships for all mappers at once, at the first use
    of any. Nobody can have a mapped class without this: it stands beside what each is made from.
    """
    import_models()
