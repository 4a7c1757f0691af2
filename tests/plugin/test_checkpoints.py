"""``checkpoint_fixture``: tests begin from what a function committed, each with its own clone."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import types

import pytest
from sqlalchemy import create_engine
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from alembic_snapshot.errors import ConfigError
from alembic_snapshot.plugin.returned import bound_to_a_session
from pytest_alembic_snapshot import checkpoint_fixture


@pytest.mark.parametrize(("clones", "workers"), [("fresh", "plain"), ("reset", "n2")])
def test_each_test_begins_from_it(shop, clones, workers):
    shop.behaviour("checkpoints")
    shop.behaviour("restored")

    result = shop.run(f"--snapshot-clones={clones}", mode=workers)

    assert result.parseoutcomes().keys() == {"passed"}
    assert not list(shop.temporary.rglob("default-*"))
    assert not (shop.root / "real.db").exists()


# What was there before, and what nobody of the behaviours looks at.
BEGUN = """
    import pytest
    from pytest_alembic_snapshot import checkpoint_fixture
    from shop.db import engine
    from sqlalchemy import text


    @checkpoint_fixture("session", autouse=True)
    def begun():
        with engine.begin() as connection:
            connection.execute(text("CREATE TABLE begun (id INTEGER)"))
            connection.execute(text("INSERT INTO begun VALUES (1)"))


    @pytest.fixture(autouse=True)
    def is_begun(db_clone):
        yield
        with engine.connect() as connection:
            assert connection.scalar(text("SELECT count(*) FROM begun")) == 1
    """


@pytest.mark.parametrize(
    ("behaviour", "clones", "workers"),
    [("isolation", "fresh", "n2"), ("isolation", "reset", "plain"), ("processes", "fresh", "n2")],
)
def test_every_behaviour_holds_on_top_of_one(shop, behaviour, clones, workers):
    shop.write("conftest.py", BEGUN)
    shop.configure('environment = { SHOP_URL = "{url}" }')
    shop.behaviour(behaviour)

    result = shop.run(f"--snapshot-clones={clones}", mode=workers)

    assert result.parseoutcomes().keys() == {"passed"}
    assert not shop.kept()


FAILING = """
    import pytest
    from pytest_alembic_snapshot import checkpoint_fixture
    from shop import orders

    @checkpoint_fixture("module")
    def catalogue():
        orders.add_customer("the catalogue")

    @checkpoint_fixture("module")
    def customer(catalogue):
        orders.add_customer("Ada")

    def test_failing(customer):
        orders.add_customer("Bob")
        assert False

    def test_that_opens_nothing(customer):
        assert False

    def test_passing(customer):
        assert orders.count() == 3
    """


def test_a_failing_tests_report_names_the_one_it_began_from_and_differs_from_that(shop):
    result = shop.run("-p", "no:randomly", test_it=FAILING)

    result.assert_outcomes(failed=2, passed=1)
    (kept,) = shop.kept()
    result.stdout.fnmatch_lines(
        [
            str(kept),
            "compared with the checkpoint customer (test_it.py line 9):",
            "customers: 1 added",
            "  + id=4, name='Bob' ← shop/orders.py:12 add_customer",
            "*test_that_opens_nothing*",
            "the test did not open its database",
        ]
    )
    result.stdout.fnmatch_lines(["alembic-snapshot: * 2 checkpoints; 1 kept in *"])
    assert "Ada" not in str(result.stdout).partition("database of the test")[2]


BROKEN = """
    import pytest
    from pytest_alembic_snapshot import checkpoint_fixture
    from shop import orders

    @checkpoint_fixture("module")
    def broken():
        orders.add_customer("half of it")
        raise ValueError("the supplier is gone")

    @checkpoint_fixture("module")
    def on_it(broken):
        pass

    @checkpoint_fixture("module")
    def skipping():
        pytest.skip("not today")

    @checkpoint_fixture("module")
    async def broken_too():
        raise RuntimeError("later")

    def test_one(broken): pass
    def test_two(broken): pass
    def test_three(on_it): pass
    def test_skipped(skipping): pass
    def test_skipped_too(skipping): pass
    def test_async_one(broken_too): pass
    def test_async_two(broken_too): pass
    def test_right(db_session):
        assert orders.names() == ["the house"]
    """


def test_a_function_that_fails_is_told_once_and_fails_each_test_that_needs_it(shop):
    result = shop.run("-p", "no:randomly", test_it=BROKEN)

    result.assert_outcomes(errors=5, skipped=2, passed=1)
    text = str(result.stdout)
    assert text.count('raise ValueError("the supplier is gone")') == 1
    assert text.count('raise RuntimeError("later")') == 1
    told = "the checkpoint broken failed: ValueError: the supplier is gone"
    assert text.count(f"\n{told}\n") == 2
    assert text.count("the report of test_it.py::test_one has the details") == 2
    # What it wrote until then can be looked at.
    (kept,) = shop.kept()
    result.stdout.fnmatch_lines([str(kept), "compared with the snapshot:", "customers: 1 added"])


# What is wrong with each test, in the message that its report has.
MISUSE = {
    "test_two_at_once": "test_it.py::test_two_at_once asks for the checkpoints one (*line *) and "
    "two (*line *), of which neither stands on the other",
    "test_a_layer_and_one": "a clone can't begin from the checkpoint one (*) and have layer=… at *",
    "test_a_revision_and_one": "a clone can't begin from the checkpoint one (*) and have *",
    "test_nothing_and_one": "a clone can't begin from the checkpoint one (*) and have empty=… *",
    "test_of_both": "the checkpoint of_both (*) asks for the checkpoints one (*) and two (*), of *",
    "test_layer_on_one": "a clone can't begin from the checkpoint one (*) and have layer=… at once",
    "test_asked_for_late": "the checkpoint late (*line *) was asked for while a test was under way",
    "test_shared_and_one": "a clone is in use already, that of shared for several tests, which "
    "does not begin from the checkpoint one (*)",
    "test_uncommitted": "the checkpoint uncommitted ended with work that is not committed: a "
    "transaction is open, on a connection that test_it.py line * took",
    "test_unflushed": "the checkpoint unflushed ended with work that is not committed: not "
    "flushed: a session has 1 object added (test_it.py line *)",
    "test_never_connected": "the checkpoint never_connected ended with work that is not committed: "
    "not flushed: a session has 1 object added",
    "test_closed": "the checkpoint closed ended with work that is not committed: what test_it.py:*"
    " closed wrote was rolled back, because its session or connection was closed",
    "test_closed_connection": "the checkpoint closed_connection ended with work that is not *: what"
    " test_it.py:* closed_connection wrote was rolled back, because its session or connection *",
    "test_commented": "the checkpoint commented ended with work that is not committed: what "
    "test_it.py:* commented wrote was rolled back, because its session or connection was closed",
    "test_never_sent": "the checkpoint never_sent ended with work that is not committed: not "
    "flushed: a session was closed with 1 object that it never sent (test_it.py line *)",
    "test_changed": "the checkpoint changed ended with work that is not committed: not flushed: a "
    "session was closed with 1 object that it never sent",
    "test_raw": "the checkpoint raw ended with work that is not committed: a transaction is open",
    "test_returned": "the checkpoint returned returned an object of Customer, which the function's "
    "session loaded",
    "test_unknown_database": "no database 'stock' in *tool.alembic-snapshot.databases*",
    "test_elsewhere": "the checkpoint elsewhere asked for a database and did not use it: *",
    "test_wrong_layer": "no layer 'x' in layers",
}
WRONG = """
    import contextlib
    import sqlite3
    import pytest
    from pytest_alembic_snapshot import checkpoint_fixture, clone_fixture
    from shop import orders
    from shop.db import SessionLocal, engine
    from shop.models import Customer
    from sqlalchemy import create_engine, text
    from sqlalchemy.exc import IntegrityError

    held = []

    @checkpoint_fixture("module")
    def one():
        orders.add_customer("one")

    @checkpoint_fixture("module")
    def two():
        orders.add_customer("two")

    @checkpoint_fixture("module")
    def of_both(one, two): pass

    @checkpoint_fixture("module", layer="demo")
    def layer_on_one(one): pass

    @checkpoint_fixture("module", layer="x")
    def wrong_layer(): pass

    @checkpoint_fixture("module")
    def late(): pass

    @checkpoint_fixture("module")
    def uncommitted():
        held.append(SessionLocal())
        held[-1].add(Customer(name="Ada"))
        held[-1].flush()

    @checkpoint_fixture("module")
    def unflushed(db_session):
        db_session.execute(text("SELECT 1"))
        db_session.add(Customer(name="Ada"))

    @checkpoint_fixture("module")
    def never_connected():
        held.append(SessionLocal())
        held[-1].add(Customer(name="Ada"))

    @checkpoint_fixture("module")
    def closed():
        with SessionLocal() as session:
            session.add(Customer(name="Ada"))
            session.flush()

    @checkpoint_fixture("module")
    def closed_connection():
        with engine.connect() as connection:
            connection.execute(text("INSERT INTO customers (name) VALUES ('Ada')"))

    @checkpoint_fixture("module")
    def commented():
        with engine.connect() as connection:
            statement = "/* c */ -- c\\nINSERT INTO customers (name) VALUES ('Ada')"
            connection.execute(text(statement))

    @checkpoint_fixture("module")
    def by_itself():
        with engine.connect() as connection:
            rows = "WITH x AS (SELECT 'Ada') INSERT INTO customers (name) SELECT * FROM x"
            connection.execute(text(rows))
            connection.execute(text("CREATE TABLE made (id INTEGER)"))

    @checkpoint_fixture("module")
    def never_sent():
        with SessionLocal() as session:
            session.add(Customer(name="Ada"))

    @checkpoint_fixture("module")
    def changed():
        with SessionLocal() as session:
            session.get(Customer, 1).name = "another"

    @checkpoint_fixture("module")
    def meant():
        with SessionLocal() as session:
            session.add(Customer(name="Ada"))
            session.flush()
            session.rollback()
        with engine.connect() as connection:
            connection.execute(text("INSERT INTO customers (name) VALUES ('Ada')"))
            connection.rollback()
        with pytest.raises(ValueError), SessionLocal() as session:
            session.add(Customer(name="Ada"))
            session.flush()
            raise ValueError
        with pytest.raises(IntegrityError), SessionLocal() as session:
            session.add(Customer(name="the house"))
            session.commit()
        with SessionLocal() as session:
            session.add(Customer(name="Bob"))
            session.flush()
            with contextlib.suppress(IntegrityError):
                session.execute(text("INSERT INTO customers VALUES (1, 'again')"))
        with SessionLocal() as session:
            session.add(Customer(name="Eve"))
            session.commit()
            assert session.get(Customer, 1).name == "the house"

    @checkpoint_fixture("module")
    def raw(db_clone):
        held.append(sqlite3.connect(db_clone.path))
        held[-1].execute("INSERT INTO customers (name) VALUES ('Ada')")

    @checkpoint_fixture("module")
    def returned(db_session):
        ada = Customer(name="Ada")
        db_session.add(ada)
        db_session.commit()
        return {"customers": [ada]}

    @checkpoint_fixture("module", database="stock")
    def unknown_database(): pass

    @checkpoint_fixture("module")
    def elsewhere(tmp_path_factory):
        with create_engine("sqlite:///other.db").begin() as connection:
            connection.execute(text("CREATE TABLE mine (id INTEGER)"))

    shared = clone_fixture("class")

    def test_two_at_once(one, two): pass

    @pytest.mark.db_clone(layer="demo")
    def test_a_layer_and_one(one): pass

    @pytest.mark.db_clone(revision="0001")
    def test_a_revision_and_one(one): pass

    @pytest.mark.db_clone(empty=True)
    def test_nothing_and_one(one): pass

    def test_of_both(of_both): pass
    def test_layer_on_one(layer_on_one): pass

    @pytest.fixture
    def asked_for_late(request):
        return request.getfixturevalue("late")

    def test_asked_for_late(asked_for_late): pass

    class TestShared:
        def test_shared_and_one(self, shared, one): pass

    def test_uncommitted(uncommitted): pass
    def test_unflushed(unflushed): pass
    def test_never_connected(never_connected): pass
    def test_closed(closed): pass
    def test_closed_connection(closed_connection): pass
    def test_commented(commented): pass
    def test_never_sent(never_sent): pass
    def test_changed(changed): pass
    def test_raw(raw): pass

    def test_what_is_meant(meant):
        assert orders.names() == ["Eve", "the house"]

    def test_what_was_never_in_a_transaction(by_itself):
        assert orders.names() == ["Ada", "the house"]

    def test_after_it():
        held[-1].close()

    def test_returned(returned): pass
    def test_unknown_database(unknown_database): pass
    def test_elsewhere(elsewhere): pass
    def test_wrong_layer(wrong_layer): pass

    def test_right(one):
        assert orders.names() == ["one", "the house"]
    """


def test_each_misuse_is_one_clear_error_of_its_test_only(shop):
    result = shop.run("-p", "no:randomly", "-rN", test_it=WRONG)

    result.assert_outcomes(passed=4, errors=len(MISUSE))
    text = str(result.stdout)
    for test, message in MISUSE.items():
        block = text.partition(f"ERROR at setup of {test}")[2] or text.partition(f".{test} _")[2]
        result.stdout.fnmatch_lines([f"*{test} _*", f"*Error: {message}*"], consecutive=False)
        assert "hint: " in block.partition("\n____")[0]
    assert text.count("\nhint: ") == len(MISUSE)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"scope": "function"}, "does not take the scope 'function'"),
        ({"scope": "modul"}, "does not take the scope 'modul'"),
        ({"scope": ["module"]}, r"does not take the scope \['module'\]"),
        ({"readonly": True}, "does not take readonly=True"),
        ({"layers": "demo"}, "checkpoint_fixture does not take layers"),
        ({"layer": "demo", "empty": True}, "can't have layer=… and empty=… at once"),
    ],
)
def test_what_it_does_not_take(arguments, message):
    with pytest.raises(ConfigError, match=message):
        checkpoint_fixture(**arguments)


def bare():
    pass


@pytest.mark.parametrize(
    ("thing", "name"),
    [
        (bare, "bare"),
        (type("Class", (), {}), "Class"),
        (classmethod(bare), "bare"),
        (staticmethod(bare), "bare"),
        (functools.partial(bare), "a partial"),
        (pytest.fixture(bare), "bare"),
    ],
)
def test_without_parentheses_it_says_so(thing, name):
    with pytest.raises(ConfigError) as raised:
        checkpoint_fixture(thing)

    assert raised.value.message == f"checkpoint_fixture decorates {name} without parentheses"
    assert raised.value.hint.startswith("write @checkpoint_fixture() with parentheses")


@pytest.mark.parametrize("thing", [pytest.fixture(lambda: None), type("Class", (), {}), 1])
def test_it_decorates_functions_only(thing):
    with pytest.raises(ConfigError, match="checkpoint_fixture decorates a function, and no "):
        checkpoint_fixture("module")(thing)


YIELDING = """
    from pytest_alembic_snapshot import checkpoint_fixture
    from shop import orders

    @checkpoint_fixture("class")
    def twice():
        yield 1
        yield 2

    @checkpoint_fixture("class")
    async def twice_asynchronously():
        orders.add_customer("Ada")
        yield 1
        yield 2

    @checkpoint_fixture("module")
    def never():
        if orders.count() > 1:
            yield

    @checkpoint_fixture("module")
    async def never_asynchronously():
        if orders.count() > 1:
            yield

    class TestTwice:
        def test_it(self, twice): pass

    class TestTwiceAsynchronously:
        def test_it(self, twice_asynchronously): pass

    def test_never(never): pass
    def test_never_again(never): pass
    def test_never_asynchronously(never_asynchronously): pass
    def test_of_none(db_session):
        assert orders.names() == ["the house"]
    """


def test_a_function_that_does_not_yield_once_is_told_by_its_name_and_line(shop):
    result = shop.run("-p", "no:randomly", "--tb=long", test_it=YIELDING)

    # A second yield is known when the scope ends, and the test has passed.
    result.assert_outcomes(passed=3, errors=5)
    text = str(result.stdout)
    for name, line, second in (("twice", 4, 7), ("twice_asynchronously", 9, 13)):
        told = f"ConfigError: the checkpoint {name} (test_it.py line {line}) yields more than once"
        assert f"\n{told}\nhint: remove the yield in line {second}: " in text
    for name, line in (("never", 15), ("never_asynchronously", 20)):
        told = (
            f"ConfigError: the checkpoint {name} (test_it.py line {line}) ended before it yielded"
        )
        assert f"\n{told}\nhint: have it yield once" in text
    assert "the report of test_it.py::test_never has the details" in text
    assert "RuntimeError" not in text
    assert "plugin/calls.py" not in text


# Each says when the part after its yield ran. The first three are no states, for some reason.
TO_THE_END = """
    from pathlib import Path
    from pytest_alembic_snapshot import checkpoint_fixture
    from shop import orders
    from shop.db import SessionLocal
    from shop.models import Customer

    def ended(name):
        with Path("ended.txt").open("a") as file:
            print(name, file=file)

    @checkpoint_fixture("module")
    def uncommitted(db_session):
        db_session.add(Customer(name="Ada"))
        db_session.flush()
        yield
        ended("uncommitted")

    @checkpoint_fixture("module")
    async def loaded():
        with SessionLocal() as session:
            yield session.get(Customer, 1)
        ended("loaded")

    @checkpoint_fixture("module")
    def failing_at_its_end(db_session):
        db_session.add(Customer(name="Ada"))
        db_session.flush()
        yield
        ended("failing_at_its_end")
        raise RuntimeError("at its end")

    @checkpoint_fixture("module")
    def whole():
        orders.add_customer("Ada")
        yield
        ended("whole")

    def test_uncommitted(uncommitted): pass
    def test_after_it(db_session): ended("a test")
    def test_loaded(loaded): pass
    def test_after_that(db_session): ended("a test")
    def test_failing_at_its_end(failing_at_its_end): pass
    def test_whole(whole): ended("a test")
    """


def test_a_generator_runs_to_its_end_once_refused_or_not(shop):
    result = shop.run("-p", "no:randomly", test_it=TO_THE_END)

    result.assert_outcomes(passed=3, errors=3)
    assert (shop.root / "ended.txt").read_text().split("\n") == [
        "uncommitted", "a test", "loaded", "a test", "failing_at_its_end", "a test", "whole", "",
    ]  # fmt: skip
    # The reason stays the first one.
    text = str(result.stdout)
    for name in ("uncommitted", "failing_at_its_end"):
        assert f"the checkpoint {name} ended with work that is not committed" in text
    assert "RuntimeError: at its end" not in text


# Nobody waits for the task, so it ends when the event loop of the checkpoint does.
LEFT_TASKS = """
    import asyncio
    import pytest
    from pytest_alembic_snapshot import checkpoint_fixture
    from shop import orders

    ends = []

    async def work(name):
        try:
            await asyncio.Event().wait()
        finally:
            ends.append(name)

    async def begin(name):
        task = asyncio.create_task(work(name))
        await asyncio.sleep(0)
        orders.add_customer(name)
        return [task]

    @checkpoint_fixture("class")
    async def returning():
        return len(await begin("returning"))

    @checkpoint_fixture("class")
    async def yielding():
        tasks = await begin("yielding")
        yield len(tasks)

    class TestReturning:
        def test_it(self, returning): assert (returning, ends) == (1, ["returning"])

    class TestYielding:
        def test_it(self, yielding): assert (yielding, ends) == (1, ["returning"])

    def test_after_them(db_session): assert ends == ["returning", "yielding"]
    """


def test_an_async_function_has_its_loop_as_long_as_it_has_something_to_run(shop):
    result = shop.run("-p", "no:randomly", test_it=LEFT_TASKS)

    result.assert_outcomes(passed=3)


# Tests that ask for checkpoints as they can't, each before one that asks as it should.
ASKED_WRONGLY = """
    import pytest
    from pytest_alembic_snapshot import checkpoint_fixture, clone_fixture
    from shop import orders

    runs = []
    shared = clone_fixture("class")

    @checkpoint_fixture("SCOPE")
    def catalogue():
        runs.append("catalogue")
        orders.add_customer("the catalogue")

    @checkpoint_fixture("SCOPE")
    def ada(catalogue):
        runs.append("ada")
        orders.add_customer("Ada")

    @checkpoint_fixture("SCOPE")
    def bob():
        runs.append("bob")
        orders.add_customer("Bob")

    def test_wrong_within(request):
        request.getfixturevalue("ada")

    @pytest.mark.parametrize("time", [1, 2])
    def test_wrong_with_a_clone(db_session, request, time):
        with pytest.raises(pytest.fail.Exception, match="while a test was under way"):
            request.getfixturevalue("ada")
        request.getfixturevalue("ada")

    def test_right_below(catalogue):
        assert orders.names() == ["the catalogue", "the house"]

    def test_wrong_above(catalogue, request):
        request.getfixturevalue("ada")

    def test_right(ada):
        assert orders.names() == ["Ada", "the catalogue", "the house"]

    class TestShared:
        def test_wrong_on_a_shared_clone(self, shared, bob): pass

    def test_right_without_it(bob):
        assert orders.names() == ["Bob", "the house"]

    def test_each_ran_once():
        assert sorted(runs) == ["ada", "bob", "catalogue"]
    """


@pytest.mark.parametrize(("scope", "clones"), [("module", "fresh"), ("session", "reset")])
def test_what_one_test_asks_for_wrongly_fails_no_other(shop, scope, clones):
    source = ASKED_WRONGLY.replace("SCOPE", scope)

    result = shop.run(f"--snapshot-clones={clones}", "-p", "no:randomly", test_it=source)

    result.assert_outcomes(passed=4, failed=4, errors=1)
    text = str(result.stdout)
    assert text.count("was asked for while a test was under way") == 4
    assert text.count("a clone is in use already, that of shared for several tests") == 1
    assert "failed: " not in text


class Base(DeclarativeBase):
    pass


class Page(Base):
    __tablename__ = "pages"
    id: Mapped[int] = mapped_column(primary_key=True)


@dataclasses.dataclass
class Made:
    page: object


PAGE = Page(id=1)


@pytest.mark.parametrize(
    "value",
    [
        PAGE,
        [PAGE],
        (1, PAGE),
        {"page": PAGE},
        {PAGE: 1},
        {"pages": {"all": [PAGE]}},
        Made(PAGE),
        types.SimpleNamespace(page=PAGE),
        Session(),
        [Session()],
    ],
)
def test_what_belongs_to_a_session_is_found_in_a_value(value):
    assert bound_to_a_session(value) is not None


class Shop:
    __slots__ = ("__dict__",)

    def __init__(self, page):
        self.page = page


class Mine(Session):
    pass


OF_A_PAGE = "an object of Page, which the function's session loaded"
DEEP = {
    "three down": ([[[PAGE]]], OF_A_PAGE),
    "four down": ([[[[PAGE]]]], None),
    "the last of many": ([*range(999), PAGE], OF_A_PAGE),
    "beyond many": ([*range(1000), PAGE], None),
    "a set": ({PAGE}, OF_A_PAGE),
    "a frozen set": (frozenset([PAGE]), OF_A_PAGE),
    "an object of the project's": (Shop(PAGE), OF_A_PAGE),
    "after what is plain": ([1, [2], PAGE], OF_A_PAGE),
    "the same again": ([[1], *[[]] * 2, [[PAGE]]], OF_A_PAGE),
    "a session": (Session(), "its Session"),
    "a session of the project's": ([1, Mine()], "its Mine"),
    "an asynchronous one": (AsyncSession(), "its AsyncSession"),
    "a class": (Made, None),
}


@pytest.mark.parametrize(("value", "words"), DEEP.values(), ids=DEEP)
def test_what_belongs_to_a_session_is_told_as_far_as_anybody_looks(value, words):
    assert bound_to_a_session(value) == words


def test_plain_values_are_none_of_a_sessions():
    loop = [1]
    loop.append(loop)
    engine = create_engine("sqlite://")
    for value in (None, 1, "id", b"", [1, 2], {"a": (1, 2)}, Made(1), loop, Page, engine, object()):
        assert bound_to_a_session(value) is None
    with engine.connect() as connection:
        assert bound_to_a_session(connection.exec_driver_sql("SELECT 1 AS one").all()) is None
        assert bound_to_a_session([connection]) == "its Connection"
    engine.dispose()


def test_others_of_a_name_and_of_a_folder_are_told_apart(shop):
    shop.write(
        "conftest.py",
        """
        from pytest_alembic_snapshot import checkpoint_fixture
        from shop import orders

        @checkpoint_fixture("session")
        def catalogue():
            orders.add_customer("of all")
        """,
    )
    shop.write(
        "test_replacing.py",
        """
        from pytest_alembic_snapshot import checkpoint_fixture
        from shop import orders

        @checkpoint_fixture("module")
        def catalogue():
            orders.add_customer("of this module")

        def test_it(catalogue):
            assert orders.names() == ["of this module", "the house"]
        """,
    )
    shop.write(
        "test_extending.py",
        """
        import pytest
        from pytest_alembic_snapshot import checkpoint_fixture
        from shop import orders

        @checkpoint_fixture("module")
        def catalogue(catalogue):
            orders.add_customer("and more")

        def test_it(catalogue):
            assert orders.names() == ["and more", "of all", "the house"]

        @pytest.mark.parametrize("catalogue", ["a plain value"])
        def test_a_parameter_of_the_name(catalogue, db_session):
            assert catalogue == "a plain value"
            assert orders.names() == ["the house"]
        """,
    )

    result = shop.run(
        test_plain="""
        from shop import orders

        def test_it(catalogue):
            assert orders.names() == ["of all", "the house"]
        """
    )

    result.assert_outcomes(passed=4)


IMPORTED = """
    import itertools
    from pytest_alembic_snapshot import checkpoint_fixture
    from shop import orders

    NUMBERS = itertools.count(1)

    @checkpoint_fixture("SCOPE")
    def somebody():
        name = f"number {next(NUMBERS)}"
        orders.add_customer(name)
        yield name

    @checkpoint_fixture("SCOPE")
    def more(somebody):
        orders.add_customer(f"beside {somebody}")
"""
IMPORTING = """
    from common import more, somebody
    from shop import orders

    def test_one(somebody):
        assert orders.names() == [somebody, "the house"]

    def test_two(more, somebody):
        assert orders.names() == [f"beside {somebody}", somebody, "the house"]

    class TestThree:
        def test_three(self, somebody):
            assert orders.names() == [somebody, "the house"]
"""
A, B = ([f"test_{m}.py::{t}" for t in ("test_one", "test_two", "TestThree")] for m in "ab")
ORDERS = {
    "by turns": [*itertools.chain(*zip(A, B, strict=True))],
    "the second within the first": [A[0], *B, *A[1:]],
    "backwards": [A[2], B[2], A[1], B[1], A[0], B[0]],
    "one after the other": [*A, *B],
}


@pytest.mark.parametrize("scope", ["session", "package", "module"])
@pytest.mark.parametrize("order", ORDERS)
def test_one_that_modules_import_is_each_ones_own(shop, order, scope):
    files = {"common": IMPORTED.replace("SCOPE", scope), "test_a": IMPORTING, "test_b": IMPORTING}

    result = shop.run("-p", "no:randomly", *ORDERS[order], **files)

    result.assert_outcomes(passed=6)


def test_one_that_all_tests_have_is_what_the_others_stand_on(shop):
    result = shop.run(
        test_it="""
        from pytest_alembic_snapshot import checkpoint_fixture
        from shop import orders

        @checkpoint_fixture("module", autouse=True)
        def everywhere():
            orders.add_customer("everywhere")

        @checkpoint_fixture("class")
        def ada():
            orders.add_customer("Ada")

        def test_it():
            assert orders.names() == ["everywhere", "the house"]

        def test_on_it(ada):
            assert orders.names() == ["Ada", "everywhere", "the house"]
        """
    )

    result.assert_outcomes(passed=2)


def test_examples_of_hypothesis_each_begin_from_one(shop):
    result = shop.run(
        "-p",
        "no:randomly",
        test_it="""
        from hypothesis import HealthCheck, given, settings, strategies as st
        from pytest_alembic_snapshot import checkpoint_fixture
        from shop import orders

        seen = []
        many = settings(
            max_examples=20,
            deadline=None,
            database=None,
            suppress_health_check=[HealthCheck.function_scoped_fixture],
        )

        @checkpoint_fixture("module")
        def catalogue():
            orders.add_customer("the catalogue")

        @many
        @given(st.text("abc", min_size=1))
        def test_each_begins_anew(catalogue, db_clone, name):
            db_clone.restore()
            seen.append(name)
            orders.add_customer(name)
            assert orders.count() == 3

        def test_they_were_several():
            assert len(set(seen)) > 5

        @many
        @given(st.integers(0, 100))
        def test_that_fails_is_shrunk(catalogue, db_clone, number):
            db_clone.restore()
            orders.add_customer(f"customer {number}")
            assert number < 42
        """,
    )

    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(
        ["*number=42*", "customers: 1 added", "*name='customer 42' ← *add_customer"]
    )


@pytest.mark.parametrize("clones", ["fresh", "reset"])
def test_async_code(new_sample, clones):
    notes = new_sample("notes")
    notes.behaviour("async_checkpoints")

    result = notes.run(f"--snapshot-clones={clones}", "test_async_checkpoints.py")

    assert result.parseoutcomes().keys() == {"passed"}


LATE = """
    import pytest
    from pytest_alembic_snapshot import checkpoint_fixture
    from shop import orders
    from shop.db import SessionLocal
    from shop.models import Customer

    def count():
        with SessionLocal() as session:
            return session.query(Customer).count()

    @checkpoint_fixture("module")
    def first():
        orders.add_customer("Ada")

    @checkpoint_fixture("module", params=["Bob", "Eve"])
    def second(first, request):
        orders.add_customer(request.param)
        return request.param

    @pytest.fixture
    def through_a_fixture(first):
        return count()

    @pytest.fixture
    def late(request):
        return request.getfixturevalue("first")

    def test_first(first):
        assert count() == 2

    def test_late_in_the_test(request, db_clone):
        request.getfixturevalue("first")

    def test_late_in_a_fixture(late, db_clone):
        pass

    def test_late_by_another(request, db_clone):
        request.getfixturevalue("through_a_fixture")

    def test_late_although_it_has_another(second, request):
        assert count() == 3
        assert request.getfixturevalue("first") is None

    def test_again(first, request):
        request.getfixturevalue("first")
        assert count() == 2

    def test_through_a_fixture(through_a_fixture):
        assert through_a_fixture == 2
"""


@pytest.mark.parametrize("clones", ["fresh", "reset"])
def test_one_that_others_have_had_made_is_refused_to_who_asks_late(shop, clones):
    result = shop.run("-p", "no:randomly", f"--snapshot-clones={clones}", test_it=LATE)

    result.assert_outcomes(passed=5, failed=2, errors=1)
    message = "*the checkpoint first (test_it.py line 11) was asked for while a test was under way*"
    for name in ("test_late_in_the_test", "test_late_by_another", "test_late_in_a_fixture"):
        result.stdout.fnmatch_lines([f"*{name} _*", message], consecutive=False)


def test_a_connection_that_its_function_leaves_open_is_warned_of(shop):
    result = shop.run(
        test_it="""
        from pytest_alembic_snapshot import checkpoint_fixture
        from shop.db import engine
        from sqlalchemy import text

        held = []

        @checkpoint_fixture("module")
        def read():
            held.append(engine.connect())
            held[-1].execute(text("SELECT * FROM customers")).all()

        def test_it(read, db_session):
            pass
        """,
    )

    # Warnings are errors in this project.
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        ["*OpenConnectionWarning: a connection to the test's database was still open: *line 9 *"]
    )
