"""A test expects a refusal by ``pytest.raises`` or its class; ``except Exception`` does not."""

from __future__ import annotations

import pytest

HEAD = """
    import asyncio
    import contextlib
    import threading
    import unittest
    from concurrent.futures import ThreadPoolExecutor
    import pytest
    import alembic_snapshot
    from alembic_snapshot import DatabaseNotRequested, SnapshotError
    from shop import orders

    OURS = (ValueError, DatabaseNotRequested)

    class Silent:
        def __enter__(self): return self
        def __exit__(self, *_): return True

    @contextlib.contextmanager
    def silent():
        try:
            yield
        except Exception:
            pass

    @contextlib.contextmanager
    def expecting():
        with pytest.raises(DatabaseNotRequested):
            yield

    def helper():
        try:
            orders.names()
        except Exception:
            return None

    async def work():
        orders.names()
    """
SILENT = """
    def test_except():
        try:
            orders.names()
        except Exception:
            pass

    def test_bare():
        try:
            orders.names()
        except:
            pass

    def test_base():
        try:
            orders.names()
        except (ValueError, BaseException) as error:
            print(error)

    def test_nested():
        try:
            try:
                orders.names()
            except ValueError:
                pass
            finally:
                pass
        except RuntimeError:
            pass
        except Exception:
            pass

    def test_inner_of_two():
        try:
            try:
                orders.names()
            except Exception:
                pass
        except DatabaseNotRequested:
            pass

    def test_suppress():
        with contextlib.suppress(Exception):
            orders.names()

    def test_helper():
        helper()

    def test_of_a_context_manager():
        with silent():
            orders.names()

    def test_of_a_class():
        with Silent():
            orders.names()

    def test_gathered():
        async def both():
            await asyncio.gather(work(), return_exceptions=True)
        asyncio.run(both())

    def test_lambda():
        with contextlib.suppress(Exception):
            (lambda: orders.names())()

    def test_in_a_handler():
        try:
            raise ValueError
        except ValueError:
            with contextlib.suppress(Exception):
                orders.names()

    def test_with_a_return():
        for _ in range(1):
            try:
                return orders.names()
            except Exception:
                continue

    def test_wrapped():
        with pytest.raises(RuntimeError):
            try:
                orders.names()
            except Exception as error:
                raise RuntimeError("not now") from error

    @pytest.fixture
    def catching():
        try:
            orders.names()
        except Exception:
            pass

    def test_fixture(catching):
        pass

    class TestCase(unittest.TestCase):
        def test_it(self):
            try:
                orders.names()
            except Exception:
                pass
    """
EXPECTING = """
    def test_raises():
        with pytest.raises(DatabaseNotRequested):
            orders.names()

    def test_raises_anything():
        with pytest.raises(Exception):
            orders.names()

    def test_raises_of_a_variable():
        context = pytest.raises(SnapshotError, match="did not ask")
        with context:
            orders.names()

    def test_raises_called():
        pytest.raises(DatabaseNotRequested, orders.names)

    def test_raises_beside_another():
        with pytest.raises(DatabaseNotRequested), contextlib.nullcontext():
            orders.names()

    def test_ours():
        try:
            orders.names()
        except DatabaseNotRequested:
            pass

    def test_our_base():
        try:
            orders.names()
        except alembic_snapshot.SnapshotError:
            pass

    def test_ours_in_a_tuple():
        try:
            orders.names()
        except OURS:
            pass

    def test_ours_before_all():
        try:
            try:
                orders.names()
            except ValueError:
                pass
        except (KeyError, DatabaseNotRequested):
            pass
        except Exception:
            pass

    def test_suppressed_by_name():
        with contextlib.suppress(ValueError, DatabaseNotRequested):
            orders.names()

    def test_of_a_context_manager():
        with expecting():
            orders.names()

    async def expect():
        with pytest.raises(DatabaseNotRequested):
            await work()

    def test_async():
        asyncio.run(expect())

    @pytest.fixture
    def catching():
        try:
            orders.names()
        except DatabaseNotRequested:
            pass

    def test_fixture(catching):
        pass

    class TestCase(unittest.TestCase):
        def test_it(self):
            with self.assertRaises(DatabaseNotRequested):
                orders.names()
            with self.assertRaisesRegex(SnapshotError, "did not ask"):
                orders.names()
            self.assertRaises(DatabaseNotRequested, orders.names)
    """


@pytest.mark.parametrize("mode", ["plain", "n2"])
def test_what_a_test_silences_fails_it(shop, mode):
    result = shop.run("--tb=line", mode=mode, test_it=HEAD + SILENT)

    result.assert_outcomes(failed=16)
    text = str(result.stdout)
    assert text.count(" passed, although something caught this: shop/orders.py line 17 ") >= 16
    assert "; a test that expects it says so: pytest.raises(DatabaseNotRequested)" in text


def test_what_a_test_expects_does_not(shop):
    result = shop.run(test_it=HEAD + EXPECTING)

    result.assert_outcomes(passed=14)


def test_so_it_is_of_a_conftest(shop):
    shop.write(
        "conftest.py",
        """
        import pytest
        from shop import orders

        @pytest.fixture
        def silent():
            try:
                orders.names()
            except Exception:
                pass

        @pytest.fixture
        def expecting():
            with pytest.raises(Exception):
                orders.names()
        """,
    )

    result = shop.run(
        test_it="""
        def test_silent(silent): pass
        def test_expecting(expecting): pass
        """
    )

    result.assert_outcomes(passed=1, failed=1)
