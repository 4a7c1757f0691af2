"""Objects that no session ever sent, whoever has the session, and whether it connected or not."""

from __future__ import annotations

import re

import pytest

WAYS = """
    import gc
    import pytest
    from shop import orders
    from shop.db import SessionLocal, engine
    from shop.models import Customer
    from sqlalchemy.orm import Session, scoped_session

    HELD = []

    def of_the_fixture(clone, db_session):
        db_session.add(Customer(name="Ada"))

    def of_the_factory(clone, db_session):
        HELD.append(SessionLocal())
        HELD[-1].add(Customer(name="Ada"))

    def by_hand(clone, db_session):
        HELD.append(Session(engine))
        HELD[-1].add(Customer(name="Ada"))

    def of_a_registry(clone, db_session):
        HELD.append(scoped_session(SessionLocal))
        HELD[-1].add(Customer(name="Ada"))

    def by_class(clone, db_session):
        HELD.append(Session(binds={Customer: engine}))
        HELD[-1].add(Customer(name="Ada"))

    def of_a_connection(clone, db_session):
        connection = engine.connect()
        HELD.append(Session(connection))
        connection.close()
        HELD[-1].add(Customer(name="Ada"))

    def of_the_clones_own_engine(clone, db_session):
        HELD.append(Session(clone.engine()))
        HELD[-1].add(Customer(name="Ada"))

    def closed(clone, db_session):
        with SessionLocal() as session:
            session.add(Customer(name="Ada"))

    def collected(clone, db_session):
        SessionLocal().add(Customer(name="Ada"))
        gc.collect()

    @pytest.fixture(params=WAYS)
    def left(request, db_clone, db_session):
        def leave():
            globals()[request.param](db_clone, db_session)

        yield leave
        HELD.clear()

    @pytest.mark.db_clone(revision="0001")
    def test_upgrade(left, db_clone):
        left()
        db_clone.upgrade("0002")

    def test_checkpoint(left, db_clone):
        left()
        db_clone.checkpoint()

    def test_restore(left, db_clone):
        left()
        db_clone.restore()
        db_clone.checkpoint()

    def test_report(left):
        left()
        assert orders.names() == ["Ada", "the house"]

    def test_next(db_clone):
        assert orders.names() == ["the house"]
        db_clone.checkpoint()
    """
OPEN = (
    "of_the_fixture",
    "of_the_factory",
    "by_hand",
    "of_a_registry",
    "by_class",
    "of_a_connection",
    "of_the_clones_own_engine",
)
LOST = ("closed", "collected")
HOW = {
    "closed": "a session was closed with 1 object that it never sent",
    "collected": "a session was garbage collected with 1 object that it never sent",
}


def told(result):
    """What the reports say that was not sent, by the tests' names."""
    parts = re.split(r"_{2,} (test_\S+) _{2,}\n", str(result.stdout))
    return {
        name: re.findall(r"^not flushed: (.*) \(test_it\.py line \d+\)$", text, re.MULTILINE)
        for name, text in zip(parts[1::2], parts[2::2], strict=True)
    }


def written(names):
    return WAYS.replace("params=WAYS", f"params={names!r}")


@pytest.mark.parametrize("clones", ["fresh", "reset"])
def test_what_is_held_is_named_whoever_has_the_session(shop, clones):
    result = shop.run("-p", "no:randomly", f"--snapshot-clones={clones}", test_it=written(OPEN))

    result.assert_outcomes(failed=4 * len(OPEN), passed=1)
    names = [f"test_{name}" for name in ("upgrade", "checkpoint", "restore", "report")]
    assert told(result) == {
        f"{name}[{way}]": ["a session has 1 object added"] for name in names for way in OPEN
    }
    for what in ("upgrade", "make a checkpoint of", "restore"):
        said = f"can't {what} the clone: not flushed: a session has 1 object added (test_it.py line"
        assert str(result.stdout).count(f"E       alembic_snapshot.errors.CloneError: {said}")


def test_what_was_lost_is_named_but_a_restore_gives_it_up(shop):
    result = shop.run("-p", "no:randomly", test_it=written(LOST))

    result.assert_outcomes(failed=3 * len(LOST), passed=1 + len(LOST))
    names = [f"test_{name}" for name in ("upgrade", "checkpoint", "report")]
    assert told(result) == {f"{name}[{way}]": [HOW[way]] for name in names for way in LOST}


def test_so_it_is_on_a_server(on_server):
    result = on_server("shop", "SHOP_URL").run("-p", "no:randomly", test_it=written((*OPEN, *LOST)))

    result.assert_outcomes(failed=4 * len(OPEN) + 3 * len(LOST), passed=1 + len(LOST))


def test_an_async_session_is_one_too(new_sample):
    notes = new_sample("notes")
    (notes.root / "test_api.py").unlink()

    result = notes.run(
        test_it="""
        import pytest
        from notes.db import engine
        from notes.models import Note
        from sqlalchemy.ext.asyncio import AsyncSession

        pytestmark = pytest.mark.asyncio

        async def test_of_the_fixture(async_db_session):
            async_db_session.add(Note(text="one"))
            assert 0

        async def test_by_hand(db_clone):
            session = AsyncSession(engine)
            session.add(Note(text="one"))
            db_clone.checkpoint()

        async def test_closed(db_clone):
            async with AsyncSession(engine) as session:
                session.add(Note(text="one"))
            db_clone.checkpoint()
        """
    )

    result.assert_outcomes(failed=3)
    has = ["a session has 1 object added"]
    assert told(result) == {
        "test_of_the_fixture": has,
        "test_by_hand": has,
        "test_closed": [HOW["closed"]],
    }


def test_what_is_let_go_of_or_another_tests_or_another_databases_is_not_told(shop):
    result = shop.run(
        "-p",
        "no:randomly",
        test_it="""
        import pytest
        from pytest_alembic_snapshot import clone_fixture
        from shop.db import SessionLocal
        from shop.models import Customer
        from sqlalchemy import create_engine
        from sqlalchemy.orm import Session

        shared = clone_fixture("class")

        def test_rolled_back(db_clone, db_session):
            db_session.add(Customer(name="Ada"))
            db_session.rollback()
            db_clone.checkpoint()

        def test_given_up(db_clone):
            with pytest.raises(KeyError):
                with SessionLocal() as session:
                    session.add(Customer(name="Ada"))
                    raise KeyError
            db_clone.checkpoint()

        def test_of_another_database(db_clone, tmp_path):
            with Session(create_engine(f"sqlite:///{tmp_path}/other.db")) as session:
                session.add(Customer(name="Ada"))
                db_clone.checkpoint()
            db_clone.checkpoint()

        @pytest.mark.usefixtures("shared")
        class TestShared:
            def test_leaves_something(self, db_session):
                db_session.add(Customer(name="Ada"))

            def test_finds_nothing(self, db_clone):
                db_clone.checkpoint()
        """,
    )

    result.assert_outcomes(passed=5)


UNASKED = """
    import pytest
    from shop.db import SessionLocal, engine
    from shop.models import Customer
    from sqlalchemy.orm import Session, scoped_session

    REGISTRY = scoped_session(SessionLocal)
    SESSIONS = {
        "of a factory": SessionLocal(),
        "of a registry": REGISTRY,
        "by hand": Session(engine),
        "by class": Session(binds={Customer: engine}),
    }

    @pytest.fixture
    def session(way):
        return SESSIONS[way]

    @pytest.fixture
    def late(session):
        yield
        session.add(Customer(name="late"))

    def see(session, name):
        session.add(Customer(name=name))
        session.commit()
        with engine.connect() as connection:
            found = connection.exec_driver_sql("SELECT name FROM customers").scalars().all()
        assert set(found) - {"the house"} == {name}

    @pytest.mark.parametrize("way", SESSIONS)
    class TestEach:
        def test_1_asks_for_nothing(self, session, late):
            session.add(Customer(name="Ada"))

        def test_2_asks(self, session, db_clone):
            see(session, "Bob")

        def test_3_asks_and_adds_when_it_ends(self, late, session, db_clone):
            session.add(Customer(name="Eve"))

        def test_4_asks(self, session, db_clone):
            see(session, "Cid")
"""


@pytest.mark.parametrize("clones", ["fresh", "reset"])
def test_what_a_test_without_a_clone_adds_is_in_no_other_tests_clone(shop, clones):
    result = shop.run(f"--snapshot-clones={clones}", "-p", "no:randomly", test_unasked=UNASKED)

    result.assert_outcomes(passed=16)


def test_what_a_module_adds_is_in_the_clone_of_its_tests(shop):
    result = shop.run(
        "-p",
        "no:randomly",
        test_module="""
            import pytest
            from pytest_alembic_snapshot import clone_fixture
            from shop.db import SessionLocal
            from shop.models import Customer

            session = SessionLocal()
            shared = clone_fixture("module", autouse=True)

            def test_adds():
                session.add(Customer(name="Ada"))

            def test_sees():
                session.commit()
                assert session.query(Customer).filter_by(name="Ada").count() == 1
        """,
    )

    result.assert_outcomes(passed=2)
