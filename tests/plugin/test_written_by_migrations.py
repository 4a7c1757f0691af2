"""Rows that ``db_clone.upgrade()`` wrote are none that came past the engines."""

from __future__ import annotations

import re

import pytest

LATER = """
    from alembic import op

    revision = "0003"
    down_revision = "0002"

    def upgrade():
        op.execute("UPDATE customers SET name = name || '!' WHERE id = 1")
        op.execute("INSERT INTO customers (id, name) VALUES (70, 'migrated')")

    def downgrade(): ...
    """
TESTS = """
    import sqlite3
    import pytest
    from shop import orders

    @pytest.mark.db_clone(revision="0001")
    def test_beside_the_tests_own(db_clone):
        orders.add_customer("Ada")
        db_clone.upgrade()
        assert False

    def test_restored(db_clone):
        db_clone.restore()
        assert False

    @pytest.mark.db_clone(revision="0002")
    def test_put_back(db_clone):
        db_clone.checkpoint()
        db_clone.upgrade()
        db_clone.restore()
        with sqlite3.connect(db_clone.path) as connection:
            connection.execute("INSERT INTO customers (name) VALUES ('raw')")
        assert False

    @pytest.mark.db_clone(revision="0002")
    def test_before_a_checkpoint(db_clone):
        db_clone.upgrade()
        db_clone.checkpoint()
        orders.add_customer("Ada")
        db_clone.restore()
        assert False
    """


@pytest.fixture
def later(shop):
    shop.write("migrations/versions/0003_later.py", LATER)
    return shop


@pytest.mark.usefixtures("own_store")
def test_they_are_told_as_what_they_are(later):
    result = later.run("-p", "no:randomly", "--tb=short", test_it=TESTS)

    result.assert_outcomes(failed=4)
    reports = re.split(r"^_+ (test_\w+) _+$", str(result.stdout), flags=re.MULTILINE)
    told = {
        name: re.findall(r"^  [-+~] (.*)$", report, flags=re.MULTILINE)
        for name, report in zip(reports[1::2], reports[2::2], strict=True)
    }
    either = "a migration, or not through an engine"
    assert told == {
        "test_beside_the_tests_own": [
            "version_num='0003' ← a migration",
            "version_num='0001' ← a migration",
            "id=2, name='Ada' ← shop/orders.py:12 add_customer",
            f"id=70, name='migrated' ← {either}",
            f"id=1, name='the house' → 'the house!' ← {either}",
        ],
        "test_restored": [],
        "test_put_back": ["id=2, name='raw' ← not through an engine"],
        "test_before_a_checkpoint": [
            "version_num='0003' ← a migration",
            "version_num='0002' ← a migration",
            f"id=70, name='migrated' ← {either}",
            f"id=1, name='the house' → 'the house!' ← {either}",
        ],
    }


def test_a_kept_database_of_a_server_goes_with_the_run_after_the_next(on_server, names):
    shop = on_server("shop", "SHOP_URL")
    source = """
        from shop import orders

        def test_it(db_clone):
            orders.add_customer("Ada")
            assert {}
        """
    shop.run(test_it=source.format("False"))
    (kept,) = names("alembic_kept_")
    (file,) = shop.temporary.glob("kept-databases/*/*")

    shop.run(test_it=source.format("True"))

    assert not file.exists()
    assert names("alembic_kept_") == [kept]
    shop.run(test_it=source.format("True"))
    assert names("alembic_kept_") == []
