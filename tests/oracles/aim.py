"""Applications and mistakes in their configuration, and the files in which rows must not be.

    python -m tests.oracles.aim [--cases 1000] [--first N] [--seed N] [--keep FOLDER]

Each seed makes one project: the shape of its application, the ways in which its tests ask for a
database, and mistakes, or none. Its own tests write a row in every way that there is.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

TABLE = "create table items (id integer primary key, name text)"
ENV = """
from alembic import context
from sqlalchemy import engine_from_config, pool
section = context.config.get_section(context.config.config_ini_section, {})
with engine_from_config(section, prefix="sqlalchemy.", poolclass=pool.NullPool).connect() as c:
    context.configure(connection=c)
    with context.begin_transaction():
        context.run_migrations()
"""
# An env.py that migrates the application's database, whatever it is offered.
OWN_ENV = """
from alembic import context
from sqlalchemy import create_engine
from shop.settings import URL
with create_engine(URL).connect() as c:
    context.configure(connection=c)
    with context.begin_transaction():
        context.run_migrations()
"""
REVISION = f"""
from alembic import op
revision, down_revision = "a", None
def upgrade():
    op.execute("{TABLE}")
"""
# The application's URL is absolute unless that is the mistake; the variable wins.
SETTINGS = """
import os, pathlib
PLACE = pathlib.Path(__file__).parents[1] / "FILE"
URL = os.environ.get("DATABASE_URL") or f"sqlite:///{PLACE}"
"""
RELATIVE = SETTINGS.replace("pathlib.Path(__file__).parents[1] / ", "")
SAVE = """
from sqlalchemy import text
INSERT = text("insert into items (name) values (:name)")

def save(name):
    with SESSION() as session:
        session.execute(INSERT, {"name": name})
        session.commit()
"""


@dataclass(frozen=True)
class Shape:
    """An application: its modules, what to configure, and in which module it saves."""

    name: str
    modules: dict[str, str]
    right: dict[str, str]
    file: str = "shop.db"
    is_async: bool = False


ENGINE = """
from sqlalchemy import create_engine
from sqlalchemy.orm import sessionmaker
from shop.settings import URL
engine = create_engine(URL)
SessionLocal = sessionmaker(engine)
def make_engine():
    return create_engine(URL)
"""
NAMED = {"engine": "shop.db:engine", "sessionmaker": "shop.db:SessionLocal"}
SHAPES = [
    Shape(
        "module",
        {"db": ENGINE, "orders": "from shop.db import SessionLocal\n" + SAVE},
        NAMED,
    ),
    Shape(
        "factory",
        {
            "db": """
from sqlalchemy import create_engine
from sqlalchemy.orm import Session, sessionmaker
from shop.settings import URL
def make_engine():
    return create_engine(URL)
def SessionLocal():
    return Session(make_engine())
""",
            "orders": "from shop.db import SessionLocal\n" + SAVE,
        },
        {"engine": "sqlite:///shop.db"},
    ),
    Shape(
        "cached factory",
        {
            "db": """
import functools
from sqlalchemy import create_engine
from sqlalchemy.orm import Session
from shop.settings import URL
@functools.cache
def make_engine():
    return create_engine(URL)
def SessionLocal():
    return Session(make_engine())
""",
            "orders": "from shop.db import SessionLocal\n" + SAVE,
        },
        {"engine": "shop.db:make_engine()"},
    ),
    Shape(
        "two engines",
        {
            "db": ENGINE,
            "worker": ENGINE,
            "orders": "import shop.db\nfrom shop.worker import SessionLocal\n" + SAVE,
        },
        {"engine": "sqlite:///shop.db"},
    ),
    Shape(
        "worker",
        {"db": ENGINE, "worker": ENGINE, "orders": "from shop.worker import SessionLocal\n" + SAVE},
        {"engine": "shop.worker:engine", "sessionmaker": "shop.worker:SessionLocal"},
    ),
    Shape(
        "async",
        {
            "db": """
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from shop.settings import URL
def make_engine():
    return create_async_engine(URL.replace("sqlite:", "sqlite+aiosqlite:"))
engine = make_engine()
SessionLocal = async_sessionmaker(engine)
""",
            "orders": """
from sqlalchemy import text
from shop.db import SessionLocal, engine
INSERT = text("insert into items (name) values (:name)")
async def asave(name):
    async with SessionLocal() as session:
        await session.execute(INSERT, {"name": name})
        await session.commit()
def save(name):
    import asyncio
    async def run():
        await asave(name)
        await engine.dispose()
    asyncio.run(run())
""",
        },
        NAMED,
        is_async=True,
    ),
    Shape(
        "instance folder",
        {
            "db": """
from sqlalchemy import create_engine
from sqlalchemy.orm import Session
from shop.settings import URL
class App:
    def __init__(self):
        self.engine = create_engine(URL)
def create_app():
    return App()
def make_engine():
    return create_app().engine
def SessionLocal():
    return Session(create_app().engine)
""",
            "orders": "from shop.db import SessionLocal\n" + SAVE,
        },
        {"engine": "sqlite:///instance/shop.db"},
        file="instance/shop.db",
    ),
]

# Tests by the ways in which they ask; NUMBER makes names differ, ASYNC marks those of a loop.
WAYS = {
    "db_session": "def test_NUMBER(db_session):\n    save('NUMBER')\n    insert(db_session)",
    "db_clone": "def test_NUMBER(db_clone):\n    save('NUMBER')",
    "marker": "@pytest.mark.db_clone\ndef test_NUMBER():\n    save('NUMBER')",
    "db_engine": """
def test_NUMBER(db_engine):
    save('NUMBER')
    with db_engine.begin() as connection:
        connection.execute(INSERT, {"name": "NUMBER"})
""",
    "clone_fixture": "def test_NUMBER(shared):\n    save('NUMBER')",
    "thread": """
def test_NUMBER(db_clone):
    thread = threading.Thread(target=save, args=('NUMBER',))
    thread.start()
    thread.join()
""",
    "fixture": """
@pytest.fixture(scope="module")
def saved_NUMBER(shared):
    save('NUMBER')

def test_NUMBER(saved_NUMBER):
    save('NUMBER')
""",
    "async": """
@pytest.mark.asyncio
async def test_NUMBER(async_db_session):
    await asave('NUMBER')
    await async_db_session.execute(INSERT, {"name": "NUMBER"})
    await async_db_session.commit()
""",
    # Which is fine while a clone is shared, and refused otherwise.
    "nothing": """
def test_NUMBER():
    with contextlib.suppress(SnapshotError):
        save('NUMBER')
""",
    "nothing of a module": """
@pytest.fixture(scope="module")
def early_NUMBER():
    with contextlib.suppress(SnapshotError):
        save('NUMBER')

def test_NUMBER(early_NUMBER, db_clone):
    save('NUMBER')
""",
}
HEAD = """
import contextlib
import threading
import pytest
import pytest_alembic_snapshot as plugin
from alembic_snapshot import SnapshotError
IMPORT
shared = plugin.clone_fixture(scope="module")

def insert(session):
    session.execute(INSERT, {"name": "direct"})
    session.commit()

"""
EARLY = """
import shop.orders
from shop.orders import INSERT, save
asave = getattr(shop.orders, "asave", None)
with contextlib.suppress(SnapshotError):
    save("at import")
"""
# The application is imported when it is first used.
LATE = """
from sqlalchemy import text
INSERT = text("insert into items (name) values (:name)")
def save(name):
    import shop.orders
    shop.orders.save(name)
async def asave(name):
    import shop.orders
    await shop.orders.asave(name)
"""
PYTEST = """
[tool.pytest.ini_options]
pythonpath = ["."]
addopts = ["-p", "no:cacheprovider"]
"""


@dataclass
class Case:
    """One project, as a seed makes it; ``mistakes`` are by name, none for a right one."""

    seed: int
    shape: Shape
    ways: list[str]
    mistakes: list[str] = field(default_factory=list)
    table: dict[str, str] = field(default_factory=dict)
    own_env: bool = False
    variables: dict[str, str] = field(default_factory=dict)
    cwd: str = "."
    conftest: str = ""
    link: bool = False
    lazy: bool = False
    relative: bool = False

    def __str__(self) -> str:
        mistakes = ", ".join(self.mistakes) or "no mistake"
        env = "its own" if self.own_env else "the configuration's"
        return (
            f"seed {self.seed}: {self.shape.name} with {mistakes}; asked by {', '.join(self.ways)};"
            f" env.py opens {env} database; {self.table}{', imported late' if self.lazy else ''}"
        )


Mistake = Callable[[Case, random.Random], None]


def _engine(*texts: str) -> Mistake:
    def apply(case: Case, chance: random.Random) -> None:
        case.table["engine"] = chance.choice(texts)

    return apply


def _without(*names: str) -> Mistake:
    def apply(case: Case, chance: random.Random) -> None:
        for name in names:
            case.table.pop(name, None)

    return apply


def _other_sessions(case: Case, chance: random.Random) -> None:
    case.table["sessionmaker"] = chance.choice(
        ["shop.other:SessionLocal", "shop.other:engine", "shop.db:nothing", "shop.settings:URL"]
    )


def _other_url(case: Case, chance: random.Random) -> None:
    url = "sqlite:///" + chance.choice(["other.db", "{root}/other.db", "./sub/new.db"])
    if chance.random() < 0.5:
        case.variables["DATABASE_URL"] = url
    else:
        case.conftest = f"import os\nos.environ['DATABASE_URL'] = {url!r}\n"


def _elsewhere(case: Case, chance: random.Random) -> None:
    case.cwd = "sub"


def _linked(case: Case, chance: random.Random) -> None:
    case.link = True
    case.table["engine"] = "sqlite:///linked.db"


def _relative(case: Case, chance: random.Random) -> None:
    case.relative = True


def _unguarded(case: Case, chance: random.Random) -> None:
    case.table["guard"] = "off"
    # What no test asked for may then use the application's own database.
    case.lazy = True
    case.ways = [way for way in case.ways if not way.startswith("nothing")] or ["db_clone"]


MISTAKES: dict[str, Mistake] = {
    "a typo in the module": _engine("shop.dbb:engine", "shopp.db:engine", "shop:db.engine"),
    "a typo in the attribute": _engine("shop.db:engin", "shop.db:Engine", "shop.db:engine.x"),
    "a function as engine": _engine("shop.db:make_engine", "shop.orders:save", "shop.db:nothing()"),
    "a factory of sessions as engine": _engine("shop.db:SessionLocal", "shop.db:SessionLocal()"),
    "another engine": _engine("shop.other:engine", "shop.db:make_engine()", "shop.db:engine"),
    "no engine": _without("engine"),
    "no factory": _without("sessionmaker"),
    "neither": _without("engine", "sessionmaker"),
    "sessions of another engine": _other_sessions,
    "a URL that is not quite the one": _engine(
        "sqlite:///shop2.db",
        "sqlite:///./shop.db",
        "sqlite:///sub/shop.db",
        "sqlite:///sub/../shop.db",
        "sqlite:///Shop.db",
        "sqlite:////shop.db",
        "sqlite://",
        "sqlite:///file:shop.db?uri=true",
        "sqlite:///{root}/shop.db",
        "sqlite:///file:{root}/shop.db?mode=rw&uri=true",
        "sqlite+aiosqlite:///shop.db",
    ),
    "a link as URL": _linked,
    "another DATABASE_URL": _other_url,
    "another working directory": _elsewhere,
    "a relative URL in the application": _relative,
    "the guard off": _unguarded,
}


def generate(seed: int) -> Case:
    """The project of a seed; every fourth has no mistake."""
    chance = random.Random(seed)
    shape = SHAPES[seed % len(SHAPES)]
    possible = [way for way in WAYS if way != "async" or shape.is_async]
    ways = chance.sample(possible, 5)
    case = Case(seed, shape, ways, table=dict(shape.right), own_env=chance.random() < 0.3)
    case.lazy = chance.random() < 0.4
    if chance.random() < 0.2:
        case.table["clones"] = "reset"
    if seed // len(SHAPES) % 4:
        case.mistakes = chance.sample(list(MISTAKES), chance.choice([1, 1, 1, 2]))
        for name in case.mistakes:
            MISTAKES[name](case, chance)
    return case


class Trial:
    """A case as a project on the disk, run once."""

    def __init__(self, case: Case, folder: Path, store: Path):
        self.case = case
        self.root = folder / "project"
        self.temporary = folder / "temporary"
        self.store = store

    def run(self) -> list[str]:
        """What is wrong after its tests have run; nothing, if all is well."""
        self._write()
        before = dict(_contents(self.root))
        result = self._pytest()
        wrong = [
            f"{path}: {before.get(path, 'not there')} before, {now} after"
            for path, now in _contents(self.root)
            if now != before.get(path, []) and now and not self._is_told(path, result)
        ]
        if not self.case.mistakes and result.returncode:
            wrong.append(f"a right configuration ends with status {result.returncode}")
        if wrong:
            wrong += [str(self.case), result.stdout[-4000:], result.stderr[-2000:]]
        return wrong

    def _is_told(self, path: str, result: subprocess.CompletedProcess[str]) -> bool:
        """Whether a file that nothing says is the application's database is named by a failure.

        It may be a second database for all that is known, but then no test that asked is green.
        """
        if path == self.case.shape.file:
            return False
        return result.returncode == 1 and f"opened '{path}'" in result.stdout

    def _write(self) -> None:
        case = self.case
        settings = (RELATIVE if case.relative else SETTINGS).replace("FILE", case.shape.file)
        modules = {"settings": settings, **case.shape.modules}
        modules["other"] = ENGINE.replace("(URL)", "('sqlite:///other.db')")
        for name, text in modules.items():
            text = text.replace("SESSION()", "SessionLocal()")
            self._file(f"shop/{name}.py", text)
        self._file("shop/__init__.py", "")
        self._file("migrations/env.py", OWN_ENV if case.own_env else ENV)
        self._file("migrations/versions/a.py", REVISION)
        url = f"sqlite:///%(here)s/{case.shape.file}"
        self._file(
            "alembic.ini", f"[alembic]\nscript_location = %(here)s/migrations\nsqlalchemy.url={url}"
        )
        table = "".join(f"{key} = {self._at_root(text)!r}\n" for key, text in case.table.items())
        scope = 'asyncio_default_fixture_loop_scope = "function"\n'
        ini = PYTEST + (scope if case.shape.is_async else "")
        self._file("pyproject.toml", f"[tool.alembic-snapshot]\n{table}{ini}")
        self._file("conftest.py", self._at_root(case.conftest))
        tests = (WAYS[way].replace("NUMBER", f"{n}").strip() for n, way in enumerate(case.ways))
        head = HEAD.replace("IMPORT", LATE if case.lazy else EARLY)
        self._file("sub/test_all.py", head + "\n\n".join(tests) + "\n")
        for name in {case.shape.file, "other.db"}:
            self._database(name)
        if case.link:
            (self.root / "linked.db").symlink_to(self.root / case.shape.file)

    def _at_root(self, text: str) -> str:
        return text.replace("{root}", str(self.root))

    def _file(self, name: str, text: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))

    def _database(self, name: str) -> None:
        """A developer's database, of the same tables."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.closing(sqlite3.connect(path)) as connection:
            connection.execute(TABLE)
            connection.execute("insert into items (name) values ('precious')")
            connection.commit()

    def _pytest(self) -> subprocess.CompletedProcess[str]:
        ours = ("DATABASE_URL", "PYTHONPATH", "CI", "PYTEST_")
        environment = {k: v for k, v in os.environ.items() if not k.startswith(ours)}
        own = {name: self._at_root(text) for name, text in self.case.variables.items()}
        own["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
        plugins = ["pytest_alembic_snapshot", *(["asyncio"] if self.case.shape.is_async else [])]
        return subprocess.run(
            [sys.executable, "-m", "pytest", "-q", *(f"-p{name}" for name in plugins),
             f"--basetemp={self.temporary}", str(self.root / "sub")],
            cwd=self.root / self.case.cwd,
            env={**environment, **own, "ALEMBIC_SNAPSHOT_DIR": str(self.store)},
            capture_output=True, text=True, check=False, timeout=300,
        )  # fmt: skip


def _contents(root: Path) -> Iterator[tuple[str, list[str]]]:
    """The rows of every file below a folder that is a database, by its name."""
    for path in sorted(root.rglob("*")):
        if path.is_symlink() or not path.is_file() or path.stat().st_size == 0:
            continue
        if not path.read_bytes().startswith(b"SQLite format 3"):
            continue
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            names = connection.execute("select name from sqlite_master where type='table'")
            found = [
                f"{name}: {row}"
                for (name,) in names.fetchall()
                for row in connection.execute(f'select * from "{name}"')
            ]
        yield str(path.relative_to(root)), found


def main() -> int:
    """Try many; the exit status is 1 if any was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    cases = int(os.environ.get("ORACLE_CASES", "1000"))
    parser.add_argument("--cases", type=int, default=cases)
    parser.add_argument("--first", type=int, default=0, help="the seed to begin with")
    parser.add_argument("--seed", type=int, help="one only")
    parser.add_argument("--keep", type=Path, help="where to leave the last project")
    options = parser.parse_args()
    seeds = range(options.first, options.first + options.cases)
    if options.seed is not None:
        seeds = range(options.seed, options.seed + 1)
    failed = 0
    with tempfile.TemporaryDirectory(prefix="aim-") as store:
        for seed in seeds:
            folder = Path(tempfile.mkdtemp(prefix="aim-"))
            if wrong := Trial(generate(seed), folder, Path(store)).run():
                failed += 1
                print(f"--- python -m tests.oracles.aim --seed {seed}", *wrong, sep="\n")
            if options.keep:
                shutil.copytree(folder, options.keep, symlinks=True, dirs_exist_ok=True)
            shutil.rmtree(folder, ignore_errors=True)
            print(end="", flush=True)
    print(f"{len(seeds)} cases, {failed} wrong")
    return bool(failed)


if __name__ == "__main__":
    raise SystemExit(main())
