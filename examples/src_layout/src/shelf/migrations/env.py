from alembic import context

from shelf import books
from shelf.database import engine

with engine.connect() as connection:
    context.configure(connection=connection, target_metadata=books.Base.metadata)
    with context.begin_transaction():
        context.run_migrations()
