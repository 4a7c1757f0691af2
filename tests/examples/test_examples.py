"""Each example: `init`, its own tests, `check` and `doctor`, and nothing else to do."""

from __future__ import annotations

import shutil
import subprocess
import sys
import textwrap
from typing import NamedTuple

import pytest

from .conftest import ROOT, Taken, check_row

EXAMPLES = ROOT / "examples"


class Example(NamedTuple):
    """A folder, what it needs, and which folder of it is the project."""

    situation: str
    folder: str
    needs: tuple[str, ...]
    inner: str = "."


CASES = [
    Example("FastAPI, async", "fastapi_async", ("fastapi", "httpx", "aiosqlite", "pytest_asyncio")),
    Example("FastAPI with SQLModel", "fastapi_sqlmodel", ("fastapi", "sqlmodel")),
    Example("Flask with Flask-Migrate", "flask", ("flask_sqlalchemy", "flask_migrate")),
    Example("Litestar with advanced-alchemy", "litestar", ("litestar", "advanced_alchemy")),
    Example("a src layout", "src_layout", ()),
    Example("a service of a monorepo", "monorepo", (), "services/billing"),
]


@pytest.fixture(scope="session")
def whole(pytestconfig):
    """Whether generated cases run too, and with them what takes as long."""
    return "not campaign" not in pytestconfig.option.markexpr


@pytest.mark.parametrize("example", CASES, ids=lambda one: one.folder)
def test_it_is_ready_when_init_is_done(folder, example, whole):
    for package in example.needs:
        pytest.importorskip(
            package, reason=f"{package} is not installed: the dependency group examples has it"
        )
    leave = shutil.ignore_patterns("__pycache__", ".*", "*.db", "instance")
    shutil.copytree(EXAMPLES / example.folder, folder.root, dirs_exist_ok=True, ignore=leave)
    subprocess.run(["git", "init", "-q", str(folder.root)], check=True)
    folder.root = folder.root / example.inner
    before = {name: folder.read(name) for name in folder.files()}

    folder.init()
    taken = Taken(folder, folder.root)
    taken.through()

    after = {name: folder.read(name) for name in folder.files() if not name.endswith(".pyc")}
    assert after.keys() - before.keys() == {".gitignore"}
    changed = [name for name in before if before[name] != after[name]]
    assert changed == ["pyproject.toml"]
    assert after["pyproject.toml"].startswith(before["pyproject.toml"].rstrip())
    check_row(example.situation, taken.row(whole=whole))


DB = """
    from sqlalchemy import create_engine
    from sqlalchemy.ext.asyncio import create_async_engine
    from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, sessionmaker

    {engines}

    class Base(DeclarativeBase): ...
    class Other(DeclarativeBase): ...

    class Order(Base):
        __tablename__ = "orders"
        id: Mapped[int] = mapped_column(primary_key=True)

    class User(Other):
        __tablename__ = "users"
        id: Mapped[int] = mapped_column(primary_key=True)
"""
SYNC = 'engine = create_engine("sqlite:///shop.db")'
ASYNC = 'engine = create_async_engine("sqlite+aiosqlite:///shop.db")'
BOTH = (
    'engine = create_engine("sqlite:///shop.db"); Orders = sessionmaker(engine)\n'
    '    users = create_engine("sqlite:///users.db"); Users = sessionmaker(users)'
)
TEST = """
    from sqlalchemy import select
    from shop.db import Order

    def test_an_order_is_kept(db_session):
        db_session.add(Order())
        db_session.commit()
        assert db_session.scalars(select(Order)).all()

    def test_no_other_test_sees_it(db_session):
        assert not db_session.scalars(select(Order)).all()
"""
TEST_BOTH = """
    import pytest
    from sqlalchemy import select
    from shop.db import Order, Orders, User, Users

    @pytest.fixture(autouse=True)
    def both(db_clone, db_clones):
        db_clones["users"]

    @pytest.mark.parametrize("time", [1, 2])
    def test_each_has_its_own(time):
        with Orders.begin() as orders, Users.begin() as users:
            assert not orders.scalars(select(Order)).all() + users.scalars(select(User)).all()
            orders.add(Order())
            users.add(User())
"""
PYPROJECT = (
    '[project]\nname = "shop"\nversion = "1"\n\n[tool.pytest.ini_options]\npythonpath = ["."]\n'
)
SECTIONS = """
[only_{name}]
script_location = %(here)s/migrations
prepend_sys_path = .
databases = {name}
"""
METADATA_BOTH = (
    "from shop.db import Base, Other\n"
    "target_metadata = {'orders': Base.metadata, 'users': Other.metadata}"
)
TABLE_BOTH = """
[tool.alembic-snapshot]
section = "only_orders"
engine = "shop.db:engine"

[tool.alembic-snapshot.databases.users]
section = "only_users"
engine = "shop.db:users"
"""


def run(folder, *command):
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=folder.root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def made_by_alembic(folder, template, engines):
    """A project whose env.py is a template of Alembic's, with its first revision."""
    folder.write("shop/__init__.py", "")
    folder.write("shop/db.py", DB.format(engines=engines))
    folder.write("pyproject.toml", PYPROJECT)
    run(folder, "alembic", "init", "-t", template, "migrations")
    ini, env = folder.read("alembic.ini"), folder.read("migrations/env.py")
    driver = "sqlite+aiosqlite" if "async" in template else "sqlite"
    for old, name in (("localhost/dbname2", "users"), ("localhost/dbname", "shop")):
        ini = ini.replace(f"driver://user:pass@{old}", f"{driver}:///{name}.db")
    folder.write("alembic.ini", ini.replace("engine1", "orders").replace("engine2", "users"))
    env = env.replace("target_metadata = None", "from shop.db import Base\n"
                      "target_metadata = Base.metadata")  # fmt: skip
    env = env.replace("target_metadata = {}", METADATA_BOTH)
    folder.write("migrations/env.py", env)
    run(folder, "alembic", "revision", "--autogenerate", "-m", "first")
    for path in folder.root.glob("*.db"):
        path.unlink()
    folder.write("test_shop.py", TEST_BOTH if template == "multidb" else TEST)


@pytest.mark.campaign
@pytest.mark.parametrize(
    ("situation", "template", "engines"),
    [
        ("Alembic's template `async`", "async", ASYNC),
        ("Alembic's template `pyproject`", "pyproject", SYNC),
        ("Alembic's template `pyproject_async`", "pyproject_async", ASYNC),
    ],
)
def test_a_template_of_alembics_is_ready_when_init_is_done(folder, situation, template, engines):
    made_by_alembic(folder, template, engines)

    folder.init()
    taken = Taken(folder, folder.root)
    taken.through()

    check_row(situation, taken.row())


@pytest.mark.campaign
def test_alembics_multidb_is_told_of_and_its_hint_works(folder):
    made_by_alembic(folder, "multidb", BOTH)

    told = folder.command("init", "--yes")
    ini = folder.read("alembic.ini")
    sections = "".join(SECTIONS.format(name=name) for name in ("orders", "users"))
    folder.write("alembic.ini", ini + sections)
    folder.write("pyproject.toml", PYPROJECT + TABLE_BOTH)
    taken = Taken(folder, folder.root)
    taken.through()

    assert told.returncode == 2
    assert "it migrates several databases, 'shop.db' and 'users.db', and a snapshot is one" in (
        told.stderr
    )
    assert 'write section = "only_orders" below [tool.alembic-snapshot]' in told.stdout
    check_row("Alembic's template `multidb`", taken.row())


BINDS = """
    import os
    from flask import Flask
    from flask_migrate import Migrate
    from flask_sqlalchemy import SQLAlchemy
    from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

    class Base(DeclarativeBase): ...

    db = SQLAlchemy(model_class=Base)

    class Order(db.Model):
        __tablename__ = "orders"
        id: Mapped[int] = mapped_column(primary_key=True)

    class User(db.Model):
        __tablename__ = "users"
        {bind}
        id: Mapped[int] = mapped_column(primary_key=True)

    def create_app():
        app = Flask(__name__)
        app.config["SQLALCHEMY_DATABASE_URI"] = os.environ.get("ORDERS", "sqlite:///orders.db")
        users = os.environ.get("USERS", "sqlite:///users.db")
        app.config["SQLALCHEMY_BINDS"] = {{"users": users}} if {binds} else {{}}
        db.init_app(app)
        Migrate(app, db)
        return app
"""
TEST_BINDS = """
    import pytest
    from sqlalchemy import select
    from shop import Order, User, create_app, db

    @pytest.fixture(autouse=True)
    def application(db_clone, {clones}):
        {take}
        with create_app().app_context():
            yield

    @pytest.mark.parametrize("time", [1, 2])
    def test_each_has_its_own(time):
        assert not db.session.scalars(select(Order)).all() + db.session.scalars(select(User)).all()
        db.session.add_all([Order(), User()])
        db.session.commit()
"""
TABLE_BINDS = """
[tool.alembic-snapshot]
config = "migrations/alembic.ini"
engine = "sqlite:///instance/orders.db"
context = "shop:create_app().app_context()"
environment = { ORDERS = "{url}", USERS = "sqlite://" }

[tool.alembic-snapshot.databases.users]
config = "migrations/alembic.ini"
engine = "sqlite:///instance/users.db"
context = "shop:create_app().app_context()"
environment = { ORDERS = "sqlite://", USERS = "{url}" }
"""


def made_by_flask(folder, *options, bind, clones, take):
    pytest.importorskip("flask_migrate", reason="the dependency group examples has it")
    folder.write("shop.py", BINDS.format(bind=bind, binds=bool(bind)))
    folder.write("pyproject.toml", PYPROJECT)
    run(folder, "flask", "--app", "shop", "db", "init", *options)
    run(folder, "flask", "--app", "shop", "db", "migrate")
    shutil.rmtree(folder.root / "instance")
    folder.write("test_shop.py", TEST_BINDS.format(clones=clones, take=take))


@pytest.mark.campaign
def test_flask_migrates_own_template_is_ready_when_init_is_done(folder):
    made_by_flask(folder, bind="", clones="request", take="")

    folder.init()
    taken = Taken(folder, folder.root)
    taken.through()

    check_row("Flask-Migrate's template", taken.row())


@pytest.mark.campaign
def test_flask_migrates_multidb_is_told_of_and_its_hint_works(folder):
    made_by_flask(
        folder,
        "--multidb",
        bind='__bind_key__ = "users"',
        clones="db_clones",
        take='db_clones["users"]',
    )

    told = folder.command("init", "--yes")
    folder.write("pyproject.toml", PYPROJECT + textwrap.dedent(TABLE_BINDS))
    taken = Taken(folder, folder.root)
    taken.through()

    assert told.returncode == 2
    assert "it migrates several databases" in told.stderr
    assert "let the others be in memory, sqlite://" in told.stderr
    check_row("Flask-Migrate's template `multidb`", taken.row())
