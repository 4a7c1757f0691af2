"""Projects of many shapes: where they lie, where the engine is made, how env.py has its URL."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from pathlib import Path

MODELS = """
from sqlalchemy import String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase): ...


class Order(Base):
    __tablename__ = "orders"

    id: Mapped[int] = mapped_column(primary_key=True)
    article: Mapped[str] = mapped_column(String(20))
"""
REVISION = """
import sqlalchemy as sa
from alembic import op

revision, down_revision = "0001", None


def upgrade():
    op.create_table(
        "orders",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("article", sa.String(20), nullable=False),
    )


def downgrade():
    op.drop_table("orders")
"""
ENGINES = {
    "object": """
        from sqlalchemy import create_engine
        from sqlalchemy.orm import sessionmaker
        from PACKAGE.settings import URL

        engine = create_engine(URL)
        SessionLocal = sessionmaker(bind=engine)
    """,
    "in a branch": """
        import sqlalchemy as sa
        from sqlalchemy.orm import scoped_session, sessionmaker
        from . import settings

        if settings.URL.startswith("sqlite"):
            db: sa.Engine = sa.create_engine(settings.URL)
        else:
            db = sa.create_engine(settings.URL, pool_size=3)
        Session = scoped_session(sessionmaker(db))
    """,
    "function": """
        from functools import lru_cache
        from sqlalchemy import create_engine
        from PACKAGE.settings import URL

        @lru_cache
        def get_engine():
            return create_engine(URL)
    """,
    "kept by a function": """
        from sqlalchemy import create_engine
        from sqlalchemy.orm import sessionmaker
        from PACKAGE.settings import URL

        def _make(echo=False):
            made = create_engine(URL, echo=echo)
            return made

        engine = _make()
        Session = sessionmaker(engine)
    """,
    "attribute": """
        from sqlalchemy import create_engine
        from PACKAGE import settings

        class Database:
            def __init__(self, url):
                self.engine = create_engine(url)

        database = Database(settings.URL)
    """,
    "async": """
        from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
        from PACKAGE.settings import URL

        engine = create_async_engine(URL.replace("sqlite:", "sqlite+aiosqlite:"))
        SessionLocal = async_sessionmaker(engine, expire_on_commit=False)
    """,
    "url": """
        from sqlalchemy import create_engine

        def create_app(url="sqlite:///shop.db"):
            engine = create_engine(url)
            return lambda: engine.connect()
    """,
}
_RUN = """
def run(connection):
    context.configure(connection=connection, target_metadata=Base.metadata)
    with context.begin_transaction():
        context.run_migrations()
"""
_HEAD = "from alembic import context\nfrom PACKAGE.models import Base\nconfig = context.config\n"
_SYNC = "with create_engine(url, poolclass=pool.NullPool).connect() as connection:\n    run(connection)\n"  # noqa: E501
URLS = {
    "option": f"""{_HEAD}
from sqlalchemy import engine_from_config, pool
{_RUN}
section = config.get_section(config.config_ini_section, {{}})
with engine_from_config(section, poolclass=pool.NullPool).connect() as connection:
    run(connection)
""",
    "settings": f"""{_HEAD}
from sqlalchemy import engine_from_config, pool
from PACKAGE.settings import URL
{_RUN}
config.set_main_option("sqlalchemy.url", URL)
section = config.get_section(config.config_ini_section, {{}})
with engine_from_config(section, poolclass=pool.NullPool).connect() as connection:
    run(connection)
""",
    "variable": f"""{_HEAD}
import os
from sqlalchemy import create_engine, pool
{_RUN}
def url_of_production():
    return os.environ["MIGRATE_URL"]

url = url_of_production()
{_SYNC}""",
    "x": f"""{_HEAD}
from sqlalchemy import create_engine, pool
{_RUN}
arguments = context.get_x_argument(as_dictionary=True)
url = arguments["db"]
{_SYNC}""",
    "secret": f"""{_HEAD}
import os
from sqlalchemy import create_engine, pool
{_RUN}
SECRET = os.environ["SHOP_SECRET"]
url = f"sqlite:///{{os.environ['SHOP_FILE']}}"
{_SYNC}""",
    "async": f"""{_HEAD}
import asyncio
from sqlalchemy import pool
from sqlalchemy.ext.asyncio import async_engine_from_config
{_RUN}
async def main():
    section = config.get_section(config.config_ini_section, {{}})
    engine = async_engine_from_config(section, poolclass=pool.NullPool)
    async with engine.connect() as connection:
        await connection.run_sync(run)
    await engine.dispose()

asyncio.run(main())
""",
}
# The folder of the package, that of Alembic, and whether packages have an __init__.py.
LAYOUTS = {
    "flat": ("", "", True),
    "src": ("src/", "", True),
    "backend": ("backend/", "backend/", True),
    "without __init__": ("", "", False),
}


@dataclass(frozen=True)
class Shape:
    """One of them."""

    layout: str
    engine: str
    url: str
    package: str = "shop"

    def __str__(self) -> str:
        return f"{self.layout}, {self.engine}, {self.url}"

    def write(self, root: Path) -> None:
        """Make the project in a folder."""
        folder, alembic, has_init = LAYOUTS[self.layout]
        files = {
            "models.py": MODELS,
            "settings.py": 'import os\nURL = os.getenv("SHOP_URL", "sqlite:///shop.db")\n',
            "db.py": textwrap.dedent(ENGINES[self.engine]),
        }
        if has_init or "from ." in files["db.py"]:
            files["__init__.py"] = ""
        for name, text in files.items():
            write(root / folder / self.package / name, text.replace("PACKAGE", self.package))
        env = URLS[self.url].replace("PACKAGE", self.package)
        write(root / alembic / "migrations/env.py", env)
        write(root / alembic / "migrations/versions/0001_orders.py", REVISION)
        prepended = "src" if folder == "src/" else "."
        ini = f"[alembic]\nscript_location = %(here)s/migrations\nprepend_sys_path = {prepended}\n"
        write(root / alembic / "alembic.ini", f"{ini}sqlalchemy.url = sqlite:///shop.db\n")


def write(path: Path, text: str) -> None:
    """Write a file, and make its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
