"""How many rows of a failing test's report name the line of an example that wrote them."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pytest

from .conftest import ROOT

EXAMPLES = ROOT / "examples"
# A row's text is the label of the line that wrote it. Another of the same label has a number, too.
_LABEL = r"[a-z]+(?:-[a-z]+)*"
_ROW = re.compile(r"^  [+~-] (.*?) ← (.*)$", re.MULTILINE)
_PLACE = re.compile(r"([\w./-]+\.py):(\d+) (\S+?)(?=,|$)")
_REASONS = ("not through an engine", "not known: ", "code outside the project")

# What no example does itself, on its engine and its model. `# writes X` is at each line that sends
# the row X, `# adds X` at one whose object another function flushes.
WAYS = """
    import contextlib
    import functools
    import threading
    from concurrent.futures import ThreadPoolExecutor

    import pytest
    from sqlalchemy import delete, event, insert, text, update
    from sqlalchemy.orm import Session, scoped_session, sessionmaker
    {imports}

    pytestmark = pytest.mark.db_clone
    TABLE = Model.__tablename__
    ROW = "INSERT INTO " + TABLE + " ({listed}) VALUES ({bound})"
    KEY = Model.__table__.primary_key.columns.keys()[0]
    KEYS = iter(range(1, 1000))

    def values(label):
        return {{"{column}": label, {extra}}}

    def row(label):
        return Model(**values(label))

    @pytest.fixture(autouse=True)
    def application(db_clone):
        with {application}:
            yield

    class Repository:
        def __init__(self, session):
            self.session = session

        def save(self, label):
            self.session.add(row(label))
            self.session.flush()  # writes repository

    class Rows(Repository):
        pass

    def test_repository():
        with Session(engine()) as session:
            Rows(session).save("repository")
            session.commit()
        assert False

    def committing(function):
        @functools.wraps(function)
        def wrapper(*arguments):
            with Session(engine()) as session:
                function(session, *arguments)
                session.commit()  # writes decorated
        return wrapper

    @committing
    def decorated(session):
        session.add(row("decorated"))  # adds decorated

    def test_decorator():
        decorated()
        assert False

    @contextlib.contextmanager
    def unit_of_work():
        with Session(engine()) as session:
            yield session
            session.commit()  # writes unit

    def in_a_unit_of_work():
        with unit_of_work() as session:
            session.add(row("unit"))  # adds unit

    def test_unit_of_work():
        in_a_unit_of_work()
        assert False

    def first(session):
        session.add(row("of-two-first"))  # adds of-two-first

    def second(session):
        session.add(row("of-two-second"))  # adds of-two-second

    def test_two_functions():
        with Session(engine()) as session:
            first(session)
            second(session)
            session.commit()  # writes of-two-first of-two-second
        assert False

    def test_begin():
        with Session(engine()) as session, session.begin():  # writes begin
            session.add(row("begin"))  # adds begin
        assert False

    def test_autoflush():
        with Session(engine()) as session:
            session.add(row("autoflush"))
            session.query(Model).all()  # writes autoflush
            session.commit()
        assert False

    def test_insert_with_values():
        with Session(engine()) as session:
            session.execute(insert(Model).values(**values("values")))  # writes values
            session.commit()
        assert False

    def test_insert_many():
        rows = [values("many 1"), values("many 2")]
        with Session(engine()) as session:
            session.execute(insert(Model), rows)  # writes many
            session.commit()
        assert False

    def test_bulk():
        with Session(engine()) as session:
            session.bulk_insert_mappings(  # writes mappings
                Model, [values("mappings 1"), values("mappings 2")]
            )
            session.bulk_save_objects(  # writes objects
                [row("objects 1"), row("objects 2")]
            )
            session.commit()
        assert False

    def test_core():
        with engine().begin() as connection:
            connection.execute(insert(Model.__table__), values("core"))  # writes core
            connection.execute(text(ROW), values("executemany"))  # writes executemany
        assert False

    def test_driver_sql():
        with engine().connect() as connection:
            connection.exec_driver_sql(  # writes driver
                "INSERT INTO " + TABLE + " ({listed}) VALUES ({literal})"
            )
            connection.commit()
        assert False

    def test_update():
        with Session(engine()) as session:
            session.add(row("updated old"))
            session.commit()  # writes updated
            found = session.query(Model).one()
            found.{column} = "updated"
            session.commit()  # writes updated
            session.execute(update(Model).values({column}="updated new"))  # writes updated
            session.commit()
        assert False

    def test_removed():
        with Session(engine()) as session:
            session.add_all([row("stays"), row("goes")])
            session.commit()  # writes stays
            session.execute(delete(Model).where(Model.{column} == "goes"))
            session.commit()
        assert False

    def test_merge():
        with Session(engine()) as session:
            session.merge(row("merge"))
            session.commit()  # writes merge
        assert False

    def test_savepoint():
        with Session(engine()) as session:
            with session.begin_nested():  # writes savepoint
                session.add(row("savepoint"))  # adds savepoint
            with contextlib.suppress(ZeroDivisionError), session.begin_nested():
                session.add(row("never"))
                session.flush()
                1 / 0
            session.commit()
        assert False

    def listening(mapper, connection, target):
        if target.{column} == "heard":
            connection.execute(insert(Model.__table__), values("listener"))  # writes listener

    def test_listener():
        event.listen(Model, "after_insert", listening)
        try:
            with Session(engine()) as session:
                session.add(row("heard"))
                session.commit()  # writes heard
        finally:
            event.remove(Model, "after_insert", listening)
        assert False

    def added_before(session, context, instances):
        if not any(one.{column} == "late" for one in session.new):
            session.add(row("late"))  # adds late

    def test_of_a_session_listener():
        with Session(engine()) as session:
            event.listen(session, "before_flush", added_before)
            session.add(row("early"))  # adds early
            session.commit()  # writes early late
        assert False

    def threaded():
        with Session(engine()) as session:
            session.add(row("thread"))
            session.commit()  # writes thread

    def test_thread():
        one = threading.Thread(target=threaded)
        one.start()
        one.join()
        assert False

    def pooled(session):
        session.add(row("pool"))  # adds pool

    def test_of_a_flush_that_a_thread_makes_alone():
        with Session(engine()) as session, ThreadPoolExecutor(1) as pool:
            pool.submit(pooled, session).result()
            pool.submit(session.flush).result()
            session.commit()
        assert False

    def test_statement_of_a_thread_alone():
        with Session(engine()) as session, ThreadPoolExecutor(1) as pool:
            pool.submit(session.execute, insert(Model).values(**values("alone"))).result()
            session.commit()
        assert False

    def test_callback():
        with Session(engine()) as session:
            send = functools.partial(session.execute, insert(Model))
            list(map(send, [[values("callback")]]))  # writes callback
            session.commit()
        assert False

    def test_returning():
        with Session(engine()) as session:
            insertion = insert(Model).returning(Model)
            session.scalars(insertion, [values("returned")]).all()  # writes returned
            session.commit()
        assert False

    def test_autocommit():
        with engine().connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text(ROW), values("autocommit"))  # writes autocommit
        assert False

    def test_one_at_a_time():
        with Session(engine()) as session:
            session.add_all(row(f"looped {{n}}") for n in range(2))
            session.flush()  # writes looped
            [session.execute(insert(Model), values("listed")) for _ in range(1)]  # writes listed
            session.execute(text("UPDATE " + TABLE + " SET {column} = 'sent'"))  # writes sent
            session.rollback()
            send = lambda: session.execute(insert(Model), values("lambda"))  # writes lambda
            send()
            session.commit()
        assert False

    def test_bound_session():
        with engine().connect() as connection, Session(connection) as session:
            session.add(row("bound"))
            session.commit()  # writes bound
            connection.commit()
        assert False

    def test_of_a_scoped_session():
        session = scoped_session(sessionmaker(engine()))
        session.add(row("in-scope"))
        session.commit()  # writes in-scope
        session.remove()
        assert False

    def test_of_a_sessions_connection():
        with sessionmaker(engine()).begin() as session:
            session.connection().execute(text(ROW), values("joined"))  # writes joined
        assert False

    def test_from_select():
        with engine().begin() as connection:
            connection.execute(text(ROW), values("original"))  # writes original
            connection.execute(  # writes copied
                text("INSERT INTO " + TABLE + " ({listed}) SELECT {copied} FROM " + TABLE)
            )
        assert False

    def test_upsert():
        with engine().begin() as connection:
            connection.execute(text(ROW), values("upserted"))  # writes upserted
            connection.execute(  # writes upserted
                text(
                    "INSERT INTO " + TABLE + " (" + KEY + ", {column}) SELECT " + KEY + ", 'x' FROM "
                    + TABLE + " WHERE true ON CONFLICT (" + KEY + ") DO UPDATE SET "
                    "{column} = 'upserted twice'"
                )
            )
        assert False

    def test_of_one_that_comes_again():
        with Session(engine()) as session:
            one = row("again")
            session.add(one)
            session.flush()
            session.expunge(one)
            session.execute(delete(Model))
            session.execute(insert(Model), values("again"))  # writes again
            session.commit()
        assert False

    def test_raw_cursor():
        raw = engine().raw_connection()
        raw.cursor().execute("INSERT INTO " + TABLE + " ({listed}) VALUES ({literal})")
        raw.commit()
        raw.close()
        assert False
"""
# The same, where everything is awaited.
ASYNC_WAYS = """
    import asyncio
    import contextlib
    import functools

    import pytest
    from sqlalchemy import delete, insert, select, text, update
    from sqlalchemy.ext.asyncio import AsyncSession
    {imports}

    pytestmark = pytest.mark.db_clone
    TABLE = Model.__tablename__
    ROW = "INSERT INTO " + TABLE + " ({listed}) VALUES ({bound})"

    def values(label):
        return {{"{column}": label, {extra}}}

    def row(label):
        return Model(**values(label))

    def opened():
        return AsyncSession(engine(), expire_on_commit=False)

    def awaited(function):
        async def run():
            try:
                await function()
            finally:
                await engine().dispose()
        def wrapper(db_clone):
            asyncio.run(run())
            assert False
        wrapper.__name__ = function.__name__
        return wrapper

    class Repository:
        def __init__(self, session):
            self.session = session

        async def save(self, label):
            self.session.add(row(label))
            await self.session.flush()  # writes repository

    @awaited
    async def test_repository():
        async with opened() as session:
            await Repository(session).save("repository")
            await session.commit()

    def committing(function):
        @functools.wraps(function)
        async def wrapper(*arguments):
            async with opened() as session:
                await function(session, *arguments)
                await session.commit()  # writes decorated
        return wrapper

    @committing
    async def decorated(session):
        session.add(row("decorated"))  # adds decorated

    @awaited
    async def test_decorator():
        await decorated()

    async def dependency():
        async with opened() as session:
            yield session
            await session.commit()  # writes dependency

    async def handler(session):
        session.add(row("dependency"))  # adds dependency

    @awaited
    async def test_dependency():
        async with contextlib.asynccontextmanager(dependency)() as session:
            await handler(session)

    @awaited
    async def test_begin():
        async with opened() as session, session.begin():  # writes begin
            session.add(row("begin"))  # adds begin

    @awaited
    async def test_autoflush():
        async with opened() as session:
            session.add(row("autoflush"))
            await session.scalars(select(Model))  # writes autoflush
            await session.commit()

    @awaited
    async def test_insert():
        async with opened() as session:
            insertion = insert(Model).returning(Model)
            await session.scalars(insertion, [values("returned")])  # writes returned
            await session.execute(insert(Model).values(**values("values")))  # writes values
            rows = [values("many 1"), values("many 2")]
            await session.execute(insert(Model), rows)  # writes many
            await session.commit()

    @awaited
    async def test_core():
        async with engine().begin() as connection:
            await connection.execute(insert(Model.__table__), values("core"))  # writes core
            rows = [values("executemany 1"), values("executemany 2")]
            await connection.execute(text(ROW), rows)  # writes executemany
            await connection.exec_driver_sql(  # writes driver
                "INSERT INTO " + TABLE + " ({listed}) VALUES ({literal})"
            )

    @awaited
    async def test_update():
        async with opened() as session:
            session.add(row("updated old"))
            await session.commit()  # writes updated
            (await session.scalars(select(Model))).one().{column} = "updated"
            await session.commit()  # writes updated
            await session.execute(update(Model).values({column}="updated new"))  # writes updated
            await session.commit()

    def synchronous(session):
        session.add(row("synchronous"))
        session.flush()  # writes synchronous

    @awaited
    async def test_run_sync():
        async with opened() as session:
            await session.run_sync(synchronous)
            await session.commit()

    def on_connection(connection):
        connection.execute(insert(Model.__table__), values("connection"))  # writes connection

    @awaited
    async def test_run_sync_of_a_connection():
        async with engine().begin() as connection:
            await connection.run_sync(on_connection)

    async def in_background():
        async with opened() as session:
            session.add(row("background"))
            await session.commit()  # writes background

    @awaited
    async def test_task():
        task = asyncio.create_task(in_background())
        await task

    @awaited
    async def test_gathered():
        async def one(label):
            async with opened() as session:
                session.add(row(label))
                await session.commit()  # writes gathered
        await asyncio.gather(one("gathered 1"))

    def in_a_thread():
        asyncio.run(threaded())

    async def threaded():
        async with opened() as session:
            session.add(row("thread"))
            await session.commit()  # writes thread
        await engine().dispose()

    @awaited
    async def test_thread():
        await engine().dispose()
        await asyncio.to_thread(in_a_thread)

    async def waiting(session):
        session.add(row("alone"))  # adds alone

    @awaited
    async def test_of_a_flush_that_a_task_makes_alone():
        async with opened() as session:
            await waiting(session)
            await asyncio.create_task(session.flush())
            await session.commit()

    @awaited
    async def test_of_a_statement_that_a_task_makes_alone():
        async with opened() as session:
            await asyncio.create_task(session.execute(insert(Model), [values("unnamed")]))
            await session.commit()
"""


class Way(NamedTuple):
    """A line of an example: the label of its row, its file, a part of it; None: no such part."""

    label: str
    file: str
    adds: str | None
    writes: str


class Measured(NamedTuple):
    """An example with the tests that are written into it."""

    folder: str
    needs: tuple[str, ...]
    tests: str
    names: dict[str, str]
    lines: tuple[Way, ...] = ()
    inner: str = "."
    on_postgresql: bool = False


_PLAIN = {
    "column": "title",
    "extra": "",
    "listed": "title",
    "bound": ":title",
    "literal": "'driver'",
    "copied": "'copied'",
    "application": "contextlib.nullcontext()",
}


FASTAPI = """
    from fastapi import BackgroundTasks, Depends, FastAPI
    from fastapi.testclient import TestClient

    def opened_session():
        with Session(engine()) as session:
            yield session
            session.commit()  # writes handler

    def later(label):
        with Session(engine()) as session:
            session.add(row(label))
            session.commit()  # writes later

    other = FastAPI()

    @other.post("/handler")
    def handler(session: Session = Depends(opened_session)):
        session.add(row("handler"))  # adds handler

    @other.post("/later")
    def to_do_later(tasks: BackgroundTasks):
        tasks.add_task(later, "later")

    @other.middleware("http")
    async def auditing(request, call_next):
        answer = await call_next(request)
        with Session(engine()) as session:
            session.add(row("middleware"))
            session.commit()  # writes middleware
        return answer

    def test_of_a_dependency():
        TestClient(other).post("/handler")
        assert False

    def test_of_a_background_task():
        TestClient(other).post("/later")
        assert False
"""
ASYNC_FASTAPI = """
    from fastapi import BackgroundTasks, Depends, FastAPI
    from fastapi.testclient import TestClient
    from httpx import ASGITransport, AsyncClient

    async def opened_session():
        async with opened() as session:
            yield session
            await session.commit()  # writes handler

    async def later(label):
        async with opened() as session:
            session.add(row(label))
            await session.commit()  # writes later

    other = FastAPI()

    @other.post("/handler")
    async def handled(session: AsyncSession = Depends(opened_session)):
        session.add(row("handler"))  # adds handler

    @other.post("/later")
    async def to_do_later(tasks: BackgroundTasks):
        tasks.add_task(later, "later")

    async def post(path):
        async with AsyncClient(transport=ASGITransport(other), base_url="http://t") as client:
            await client.post(path)

    @awaited
    async def test_of_a_dependency():
        await post("/handler")

    @awaited
    async def test_of_a_background_task():
        await post("/later")

    @awaited
    async def test_of_an_example():
        async with lifespan(app), AsyncClient(
            transport=ASGITransport(app), base_url="http://t"
        ) as client:
            await client.post("/tasks", json={{"title": "posted"}})

    def test_of_an_example_in_a_client(db_clone):
        with TestClient(app) as client:
            client.post("/tasks", json={{"title": "posted client"}})
        assert False
"""
SQLMODEL = """
    from app.main import app
    from app.seed import first_hero

    def test_of_an_example():
        TestClient(app).post("/heroes", json={{"name": "posted"}})
        assert False

    def test_of_a_seed():
        with SqlModelSession(engine()) as session:
            first_hero(session)
            session.commit()  # writes deadpond
        assert False
"""
FLASK = """
    def test_of_an_example():
        create_app().test_client().post("/posts", json={{"title": "posted"}})
        assert False

    def test_of_the_applications_session():
        db.session.add(row("scoped"))
        db.session.commit()  # writes scoped
        assert False
"""
LITESTAR = """
    from litestar.testing import TestClient
    from library.app import app

    def test_of_an_example(db_clone):
        with TestClient(app) as client:
            client.post("/books", json={{"title": "posted"}})
        assert False
"""
SHELF = """
    from shelf.books import put

    def test_of_an_example():
        put("posted", "posted")
        put("posted", "posted twice")
        assert False
"""
BILLING = """
    from billing.models import SessionLocal

    def test_of_an_example():
        with SessionLocal.begin() as session:  # writes posted
            session.add(row("posted"))
        assert False
"""
MEASURED = [
    Measured(
        "fastapi_async",
        ("fastapi", "httpx", "aiosqlite", "pytest_asyncio"),
        ASYNC_WAYS + ASYNC_FASTAPI,
        {
            "imports": "from tasks.app import app, lifespan; from tasks.models import Task as Model; "
            "import tasks.db; engine = lambda: tasks.db.engine",
            "extra": '"is_done": False',
            "listed": "title, is_done",
            "bound": ":title, :is_done",
            "literal": "'driver', false",
        },
        (
            Way("posted", "tasks/app.py", None, "await session.commit()"),
            Way("Write down", "tasks/app.py", 'opened.add(Task(title="Write down', ""),
        ),
        on_postgresql=True,
    ),
    Measured(
        "fastapi_sqlmodel",
        ("fastapi", "sqlmodel"),
        WAYS + FASTAPI + SQLMODEL,
        {
            "imports": "from app.models import Hero as Model; import app.database; "
            "from sqlmodel import Session as SqlModelSession; "
            "engine = lambda: sys.modules['app.database'].engine",
            "column": "name",
            "listed": "name",
            "bound": ":name",
        },
        (
            Way("posted", "app/main.py", None, "session.commit()"),
            Way("Deadpond", "app/seed.py", 'session.add(Hero(name="Deadpond"))', ""),
        ),
    ),
    Measured(
        "flask",
        ("flask_sqlalchemy", "flask_migrate"),
        WAYS + FLASK,
        {
            "imports": "from blog import create_app, db; from blog.models import Post as Model; "
            "engine = lambda: db.engine",
            "application": "create_app().app_context()",
        },
        (Way("posted", "blog/__init__.py", None, "db.session.commit()"),),
    ),
    Measured(
        "litestar",
        ("litestar", "advanced_alchemy"),
        ASYNC_WAYS + LITESTAR,
        {
            "imports": "from library.database import Book as Model, config; "
            "engine = config.get_engine",
        },
        (Way("posted", "library/app.py", 'db_session.add(Book(title=data["title"]))', ""),),
    ),
    Measured(
        "src_layout",
        (),
        WAYS + SHELF,
        {
            "imports": "from shelf.books import Book as Model; import shelf.database; "
            "engine = lambda: shelf.database.engine",
            "extra": '"isbn": str(next(KEYS))',
            "listed": "isbn, title",
            "bound": ":isbn, :title",
            "literal": "'driver', 'driver'",
            "copied": "'copied', 'copied'",
        },
        (Way("posted", "src/shelf/books.py", None, "with SessionLocal.begin() as session"),),
        on_postgresql=True,
    ),
    Measured(
        "monorepo",
        (),
        WAYS + BILLING,
        {
            "imports": "from billing.models import Invoice as Model; import billing.models; "
            "engine = lambda: billing.models.engine",
            "column": "text",
            "listed": "text",
            "bound": ":text",
        },
        (),
        inner="services/billing",
        on_postgresql=True,
    ),
]
Line = tuple[str, int, str]
RIGHT, REASON, WRONG = "named rightly", "why not", "wrong"


class Lines:
    """Which lines of a project add and send the rows of each label."""

    def __init__(self, root: Path, measured: Measured, test: Path):
        self.adds: dict[str, list[Line]] = {}
        self.writes: dict[str, list[Line]] = {}
        for number, text in enumerate(test.read_text().splitlines(), 1):
            for verb, labels in re.findall(r"# (adds|writes) (.*)$", text):
                into = self.adds if verb == "adds" else self.writes
                for label in labels.split():
                    into.setdefault(label, []).append(_line(root, test, number))
        for way in measured.lines:
            file = root / way.file
            for part, into in ((way.adds, self.adds), (way.writes, self.writes)):
                if part:
                    found = [n for n, one in enumerate(file.read_text().splitlines(), 1)
                             if part in one]  # fmt: skip
                    (number,) = found
                    into.setdefault(way.label.lower(), []).append(_line(root, file, number))

    def judge(self, row: str, told: str) -> str:
        """Whether what is told of a row is right, a reason or wrong."""
        text = row.lower()
        labels = {one for one in self.adds.keys() | self.writes.keys()
                  if re.search(rf"'{re.escape(one)}\b(?!-)", text)}  # fmt: skip
        if not _PLACE.search(told):
            return REASON if told.startswith(_REASONS) else WRONG
        if len(labels) != 1:
            return WRONG
        (label,) = labels
        adds, writes = self.adds.get(label, []), self.writes.get(label, [])
        named = [(file, int(number), function) for file, number, function in _PLACE.findall(told)]
        if not set(named) <= {*adds, *writes}:
            return WRONG
        is_apart = adds and {one[2] for one in adds}.isdisjoint(one[2] for one in writes)
        wanted = set(adds) if is_apart else set(writes)
        return RIGHT if wanted <= set(named) else WRONG


def _line(root: Path, file: Path, number: int) -> Line:
    """A line with its innermost function, as a report names it."""
    inner = ""
    text = file.read_text().splitlines()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)) and (
            node.lineno <= number <= (node.end_lineno or 0)
        ):
            is_method = isinstance(node, ast.ClassDef)
            inner = f"{node.name}." if is_method else f"{inner if '.' in inner else ''}{node.name}"
        elif isinstance(node, ast.Lambda) and node.lineno == number and "=" in text[number - 1]:
            inner = "<lambda>"
    return file.relative_to(root).as_posix(), number, inner


def judged(folder, measured):
    """Run an example's ways to write, and judge what is told of each row."""
    names = {**_PLAIN, **measured.names}
    tests = "import sys\n" + measured.tests.format(**names).replace("\n    ", "\n")
    test = folder.write("tests/test_who_wrote.py", tests)
    done = folder.pytest("tests/test_who_wrote.py", "-rN", "--tb=short")
    lines = Lines(folder.root, measured, test)
    outcome = re.search(r"=+ (\d+) failed(.*) in .*=+$", done.stdout, re.MULTILINE)
    assert outcome, done.stdout + done.stderr
    assert int(outcome[1]) == tests.count("\ndef test_") + tests.count("\nasync def test_")
    assert "AssertionError" not in done.stdout.replace("E   assert False", "")
    assert done.stdout.count("E   assert False") == int(outcome[1]), done.stdout
    return [(lines.judge(row, told), row, told) for row, told in _ROW.findall(done.stdout)]


@pytest.mark.campaign
@pytest.mark.parametrize("backend", ["sqlite", "postgresql"])
@pytest.mark.parametrize("measured", MEASURED, ids=lambda one: one.folder)
def test_rows_name_the_line_that_a_person_would_name(folder, measured, backend):
    for package in measured.needs:
        pytest.importorskip(
            package, reason=f"{package} is not installed: the dependency group examples has it"
        )
    if backend == "postgresql" and not measured.on_postgresql:
        pytest.skip("its URL is SQLite's")
    leave = shutil.ignore_patterns("__pycache__", ".*", "*.db", "instance")
    shutil.copytree(EXAMPLES / measured.folder, folder.root, dirs_exist_ok=True, ignore=leave)
    subprocess.run(["git", "init", "-q", str(folder.root)], check=True)
    folder.root = folder.root / measured.inner
    folder.init()
    if backend == "postgresql":
        folder.variables["ALEMBIC_SNAPSHOT_BACKEND"] = "postgresql"
        folder.variables["SNAPSHOT_POSTGRES_URL"] = ""

    found = judged(folder, measured)

    counted = Counter(verdict for verdict, _, _ in found)
    print(measured.folder, backend, dict(counted))
    for verdict, row, told in found:
        if verdict != RIGHT:
            print(f"{verdict}: {row} ← {told}")
    assert not counted[WRONG]
    assert counted[RIGHT] >= 0.95 * counted.total()
