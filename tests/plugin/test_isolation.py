"""Private, real, whole: the behaviours that a project's own tests rely on, in every mode."""

from __future__ import annotations

import sqlite3

import pytest


@pytest.mark.parametrize("behaviour", ["isolation", "processes"])
def test_every_behaviour_holds_without_and_with_workers(shop, mode, behaviour):
    shop.configure('environment = { SHOP_URL = "{url}" }')
    shop.behaviour(behaviour)

    result = shop.run(mode=mode)

    assert result.parseoutcomes().keys() == {"passed"}
    assert not list(shop.temporary.rglob("default-*"))
    assert not shop.kept()


def test_the_real_database_of_the_developer_is_never_touched(shop):
    with sqlite3.connect(shop.root / "real.db") as connection:
        connection.execute("CREATE TABLE customers (id INTEGER, name TEXT)")
    connection.close()
    before = (shop.root / "real.db").stat()

    result = shop.run(
        test_it="""
        from shop import orders

        def test_names(db_clone):
            orders.add_customer("Ada")
            assert orders.names() == ["Ada", "the house"]
        """
    )

    result.assert_outcomes(passed=1)
    assert (shop.root / "real.db").stat().st_mtime_ns == before.st_mtime_ns


def test_hundreds_of_tests_leave_nothing_and_need_no_more_room_than_one(shop):
    result = shop.run(
        "-q",
        test_many="""
        from pathlib import Path

        import pytest
        from shop import orders

        @pytest.mark.parametrize("number", range(500))
        def test_one(db_session, number, tmp_path_factory, db_snapshot):
            orders.add_customer(f"customer {number}")
            if number % 25:
                return
            used = sum(
                path.stat().st_size
                for path in tmp_path_factory.getbasetemp().rglob("*")
                if path.is_file()
            )
            assert used < 3 * db_snapshot.path.stat().st_size
        """,
    )

    result.assert_outcomes(passed=500)
    assert len(list(shop.temporary.rglob("*"))) <= 2


def test_a_projects_own_session_and_clone_replace_ours(shop):
    shop.write(
        "conftest.py",
        """
        import pytest
        from shop.db import SessionLocal

        @pytest.fixture
        def db_clone(db_clone):
            db_clone.note = "the project's own"
            return db_clone

        @pytest.fixture
        def db_session(db_clone):
            with SessionLocal() as session:
                session.info["own"] = True
                yield session
        """,
    )

    result = shop.run(
        test_it="""
        import pytest
        from shop import orders
        from shop.models import Customer

        def test_session(db_session, db_clone):
            assert db_session.info["own"]
            assert db_clone.note == "the project's own"
            db_session.add(Customer(name="Ada"))
            db_session.commit()
            assert orders.count() == 2

        @pytest.mark.db_clone
        def test_marked():
            assert orders.count() == 1
        """
    )

    result.assert_outcomes(passed=2)


@pytest.mark.usefixtures("own_store")
@pytest.mark.parametrize("clones", ["fresh", "reset"])
@pytest.mark.parametrize(
    ("did", "is_written"),
    [
        ("write('CREATE TABLE left_over (id INTEGER)')", True),
        ("write('PRAGMA journal_mode=WAL')", True),
        ("db_snapshot.path.write_bytes(b'')", True),
        ("db_snapshot.path.read_bytes()", False),
        ("ensure(load_project(), rebuild=True)", False),
    ],
)
def test_a_snapshot_that_a_test_wrote_to_fails_that_test_alone(shop, clones, did, is_written):
    shop.configure(f'clones = "{clones}"')
    result = shop.run(
        "-p",
        "no:randomly",
        test_it=f"""
        import contextlib, sqlite3
        from alembic_snapshot import ensure, load_project
        from shop import orders

        def test_before(db_clone):
            assert orders.count() == 1

        def test_it(db_snapshot):
            def write(statement):
                with contextlib.closing(sqlite3.connect(db_snapshot.path)) as connection:
                    connection.execute(statement)
                    connection.commit()

            db_snapshot.path.chmod(0o644)
            {did}

        def test_next(db_clone):
            assert orders.count() == 1
            assert not db_clone.diff()
            with contextlib.closing(sqlite3.connect(db_clone.path)) as connection:
                tables = connection.execute("SELECT name FROM sqlite_master").fetchall()
                assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)
            assert ("left_over",) not in tables
        """,
    )

    result.assert_outcomes(passed=3, errors=int(is_written))
    if is_written:
        result.stdout.fnmatch_lines(
            ["*CloneError: the snapshot * was written to while test_it.py::test_it ran, by it*"]
        )


@pytest.mark.usefixtures("own_store")
@pytest.mark.parametrize("way", ["db_clone.environ", "db_clone.path"])
def test_a_child_process_can_not_write_to_the_snapshot_unseen(shop, way):
    shop.configure('environment = { SHOP_URL = "{url}" }')
    code = "from shop import orders; orders.add_customer('bad')"
    if way == "db_clone.path":
        code = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); "
        code += "c.execute('pragma user_version = 3'); c.commit()"
    result = shop.run(
        "-p",
        "no:randomly",
        test_it=f"""
        import os, subprocess, sys
        import pytest
        from shop import orders

        @pytest.mark.db_clone(readonly=True)
        def test_it(db_clone):
            os.chmod(db_clone.path, 0o644)
            env = {{**db_clone.environ, "PYTHONPATH": "."}}
            subprocess.run([sys.executable, "-c", {code!r}, db_clone.path], env=env)

        def test_next(db_clone):
            assert orders.names() == ["the house"]
        """,
    )

    if way == "db_clone.path":
        result.assert_outcomes(passed=2, errors=1)
        result.stdout.fnmatch_lines(
            ["*CloneError: the snapshot * was written to while test_it.py::test_it ran, by it*"]
        )
    else:
        result.assert_outcomes(passed=2)
