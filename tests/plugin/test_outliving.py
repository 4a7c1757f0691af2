"""A forked process that goes on when its test is over finds out by itself, and is refused."""

from __future__ import annotations

import pytest

CLONES = pytest.mark.parametrize("clones", ["fresh", "reset"])


@CLONES
def test_what_a_forked_process_may_use_ends_with_its_test(shop, clones):
    shop.configure('environment = { SHOP_URL = "{url}" }')
    shop.behaviour("outliving")

    result = shop.run("-p", "no:randomly", f"--snapshot-clones={clones}")

    assert result.parseoutcomes().keys() == {"passed"}
    assert not list(shop.temporary.rglob("default-*"))


def test_it_ends_with_its_test_with_the_guard_off_too(shop):
    shop.configure('guard = "off"')

    result = shop.run(
        "-p",
        "no:randomly",
        test_it="""
        import multiprocessing
        from concurrent.futures import ProcessPoolExecutor

        import pytest
        from alembic_snapshot.errors import DatabaseNotRequested
        from shop import orders

        POOL = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("fork"))

        def test_one(db_clone):
            POOL.submit(orders.add_customer, "Ada").result(20)
            assert orders.names() == ["Ada", "the house"]

        def test_two(db_clone):
            with pytest.raises(DatabaseNotRequested, match="clone was taken back"):
                POOL.submit(orders.add_customer, "Ada").result(20)
            POOL.shutdown()
        """,
    )

    result.assert_outcomes(passed=2)
    assert not (shop.root / "real.db").exists()


@CLONES
def test_it_ends_so_on_a_server(on_server, clones):
    shop = on_server("shop", "SHOP_URL")
    shop.behaviour("outliving")

    result = shop.run("-p", "no:randomly", f"--snapshot-clones={clones}")

    assert result.parseoutcomes().keys() == {"passed"}
