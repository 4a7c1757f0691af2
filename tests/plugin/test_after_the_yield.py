"""What is taken down after the last clone has no database, and is told by its own name."""

from __future__ import annotations

import pytest

CHECKPOINTS = """
    import contextlib
    import pytest
    from pytest_alembic_snapshot import checkpoint_fixture
    from shop import orders

    @checkpoint_fixture("module")
    def writes():
        orders.add_customer("Ada")
        yield
        orders.add_customer("Bob")

    @checkpoint_fixture("class")
    def reads(db_session):
        yield
        orders.names()

    @checkpoint_fixture("class")
    async def asynchronous(db_session):
        yield
        db_session.connection()

    @checkpoint_fixture("class")
    def finalized(request):
        request.addfinalizer(orders.names)

    @checkpoint_fixture("class")
    def sound():
        orders.add_customer("Ada")
        yield

    class TestReads:
        def test_it(self, reads): orders.names()

    class TestAsynchronous:
        def test_it(self, asynchronous): orders.names()

    class TestFinalized:
        def test_it(self, finalized): orders.names()

    class TestSound:
        def test_it(self, sound): orders.names()

    def test_that_asks(writes, db_session):
        orders.add_customer("Eve")

    def test_that_is_last(db_session):
        orders.add_customer("Eve")
    """


def told(result):
    """What each error says, without its line of the project."""
    begin = "DatabaseNotRequested: "
    lines = [line.partition(begin)[2] for line in result.outlines if ", and has no" in line]
    return sorted(line.partition(": ")[0] for line in lines)


@pytest.mark.parametrize(("clones", "mode"), [("fresh", "plain"), ("fresh", "n2"), ("reset", "n2")])
def test_a_checkpoint_is_named_that_uses_the_database_after_its_yield(shop, clones, mode):
    more = ("--dist", "loadfile") if mode == "n2" else ()

    result = shop.run(
        "-p", "no:randomly", f"--snapshot-clones={clones}", *more, mode=mode, test_it=CHECKPOINTS
    )

    result.assert_outcomes(passed=6, errors=4)
    end = "uses the database after its yield, and has none then"
    assert told(result) == [
        f"the checkpoint asynchronous (test_it.py line 17) {end}",
        "the checkpoint finalized (test_it.py line 22) uses the database when it ends, and has "
        "none then",
        f"the checkpoint reads (test_it.py line 12) {end}",
        f"the checkpoint writes (test_it.py line 6) {end}",
    ]
    text = str(result.stdout)
    assert "did not ask" not in text
    assert "something caught" not in text
    assert "database of the test" not in text
    assert text.count("hint: do it before the yield, or leave it out: what tests write goes ") == 3
    assert text.count("hint: do it in its function, or leave it out: what tests write goes ") == 1
    assert shop.kept() == []


def test_on_a_server_too(on_server, names):
    shop = on_server("shop", "SHOP_URL")

    result = shop.run("-p", "no:randomly", test_it=CHECKPOINTS)

    result.assert_outcomes(passed=6, errors=4)
    text = str(result.stdout)
    assert text.count("uses the database after its yield, and has none then: ") == 3
    assert "is gone" not in text
    assert "database of the test" not in text
    assert names("alembic_clone_") == []


FIXTURES = """
    import unittest
    import pytest
    import pytest_asyncio
    from pytest_alembic_snapshot import clone_fixture
    from shop import orders

    shared = clone_fixture("class")

    @pytest.fixture
    def plain():
        yield
        orders.names()

    @pytest.fixture
    def with_a_clone(db_clone, request):
        request.addfinalizer(orders.names)
        yield
        orders.names()

    @pytest.fixture(scope="class")
    def of_a_class(request):
        request.addfinalizer(orders.names)

    @pytest.fixture(scope="class")
    def with_a_shared_one(shared):
        yield
        orders.add_customer("Ada")

    @pytest_asyncio.fixture(scope="class", loop_scope="class")
    async def asynchronous():
        yield
        orders.names()

    @pytest.fixture(params=[1, 2], scope="module")
    def parametrised(request):
        yield
        orders.names()

    def test_plain(plain, db_session): pass

    def test_with_a_clone(with_a_clone): pass

    class TestClass:
        def test_it(self, of_a_class, db_session): pass

    class TestShared:
        def test_it(self, with_a_shared_one): pass

    class TestAsynchronous:
        def test_it(self, asynchronous, db_session): pass

    class TestMethod:
        def teardown_method(self): orders.names()
        def test_it(self, db_session): pass

    class TestMarked:
        def teardown_method(self): orders.names()
        @pytest.mark.db_clone
        def test_it(self): pass

    class TestOfAClass:
        @classmethod
        def teardown_class(cls): orders.names()
        def test_it(self): pass

    class TestCase(unittest.TestCase):
        @classmethod
        def tearDownClass(cls): orders.names()
        def test_it(self): pass

    def test_parametrised(parametrised, db_session): pass

    def test_last(db_session): pass

    def teardown_module(): orders.names()
    """


def test_a_fixture_that_ends_after_the_last_clone_is_named(shop):
    result = shop.run("-p", "no:randomly", "--tb=short", test_it=FIXTURES)

    result.assert_outcomes(passed=11, errors=8)
    found = [line for line in str(result.stdout).splitlines() if "when it ends, and has" in line]
    who = [
        line.partition("DatabaseNotRequested: ")[2].partition(" uses the database")[0]
        for line in found
    ]
    assert who == [
        "the fixture plain (test_it.py line 9)",
        "the fixture of_a_class (test_it.py line 20)",
        "the fixture asynchronous (test_it.py line 29)",
        "teardown_method",
        "teardown_class",
        "tearDownClass",
        "the fixture parametrised (test_it.py line 34)",
        "teardown_module",
    ]
    result.stdout.fnmatch_lines(
        [
            "*hint: have plain take db_clone, or leave it out: *",
            '*hint: have of_a_class take a clone_fixture("class"), or leave it out: *',
            "*hint: mark the test with @pytest.mark.db_clone, or leave it out: *",
            '*hint: write shared = clone_fixture("class", autouse=True) in the module, or *',
            '*hint: make it a fixture of the scope "module" that takes a clone_fixture("module"),*',
        ]
    )


def test_hints_followed_to_the_letter(shop):
    result = shop.run(
        "-p",
        "no:randomly",
        test_it="""
        import unittest
        import pytest
        from pytest_alembic_snapshot import clone_fixture
        from shop import orders

        shared = clone_fixture("class", autouse=True)
        of_the_module = clone_fixture("module")

        class TestCase(unittest.TestCase):
            @classmethod
            def tearDownClass(cls): orders.names()
            def test_it(self): pass

        class TestOfAClass:
            @classmethod
            def teardown_class(cls): orders.names()
            def test_it(self): pass
        """,
        test_module="""
        import pytest
        from pytest_alembic_snapshot import clone_fixture
        from shop import orders

        of_the_module = clone_fixture("module")

        @pytest.fixture(scope="module", autouse=True)
        def after(of_the_module):
            yield
            orders.names()

        @pytest.fixture
        def plain(db_clone):
            yield
            orders.names()

        def test_plain(plain, db_session): pass
        """,
    )

    result.assert_outcomes(passed=3)


def test_a_hook_that_comes_too_late_is_told_so(shop):
    shop.write(
        "conftest.py",
        """
        import pytest
        from shop import orders

        @pytest.hookimpl(trylast=True)
        def pytest_runtest_teardown(item):
            orders.names()
        """,
    )

    result = shop.run(test_it="def test_it(db_session): pass")

    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(
        [
            "*a hook, a finalizer or a thread uses the database after the test's clone was taken *",
            "*hint: do it in a fixture that takes db_clone, after its yield",
        ]
    )


def test_the_end_of_the_last_test_is_compared_with_its_checkpoint(shop):
    """Its own fixture fails, and so does one of several tests: the checkpoint is not gone yet."""
    result = shop.run(
        "-p",
        "no:randomly",
        test_it="""
        import pytest
        from pytest_alembic_snapshot import checkpoint_fixture
        from shop import orders

        @checkpoint_fixture("module")
        def ada():
            orders.add_customer("Ada")

        @pytest.fixture
        def failing():
            yield
            raise ValueError("at its end")

        def test_it(ada, failing):
            orders.add_customer("Eve")
        """,
    )

    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(
        [
            "compared with the checkpoint ada (test_it.py line 5):",
            "customers: 1 added",
            "  + id=3, name='Eve' ← shop/orders.py:12 add_customer",
        ]
    )
    assert list(shop.temporary.glob("**/default-*.db")) == []


@pytest.mark.parametrize("does", ["engine()", "upgrade()", "checkpoint()", "restore()"])
def test_a_clone_that_is_over_is_no_way_around_it(shop, does):
    result = shop.run(
        test_it=f"""
        from pytest_alembic_snapshot import checkpoint_fixture

        @checkpoint_fixture("module")
        def later(db_clone):
            yield
            db_clone.{does}

        def test_it(later): pass
        """
    )

    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["CloneError: * is over"])
    result.stdout.no_fnmatch_line("*database of the test*")
