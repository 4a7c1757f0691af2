"""Wherever pytest is run, and whatever else is installed or missing."""

from __future__ import annotations

import os
import shutil
import sys

import pytest

SIMPLE = """
import pytest
from shop import orders
from shop.models import Customer

@pytest.mark.parametrize("time", [1, 2])
def test_it(db_session, time):
    db_session.add(Customer(name="Ada"))
    db_session.commit()
    assert orders.names() == ["Ada", "the house"]
"""

WITHOUT = """
import sys

def test_nothing():
    loaded = {name.partition(".")[0] for name in sys.modules}
    assert not loaded & {"sqlalchemy", "alembic", "sqlite3", "filelock", "rich"}
    ours = {name for name in sys.modules if name.startswith("alembic_snapshot.")}
    assert not ours & {"alembic_snapshot.plugin.database", "alembic_snapshot.project.config"}
    # What a failing test's report needs.
    assert not ours & {"alembic_snapshot.plugin.written", "alembic_snapshot.database.diff"}
"""

CHECK_MODULES = """
import sys

def pytest_unconfigure():
    print("LOADED", sorted({"sqlalchemy", "alembic"} & set(sys.modules)))
"""


def test_without_a_database_test_nothing_is_imported(shop, mode):
    result = shop.run(mode=mode, test_it=WITHOUT)

    result.assert_outcomes(passed=1)
    assert "reused" not in result.stdout.str()


def test_only_to_collect_imports_nothing(shop):
    shop.write("conftest.py", CHECK_MODULES)

    result = shop.run(
        "--collect-only",
        test_it="""
        import pytest

        def test_with(db_session, db_snapshot):
            pass

        @pytest.mark.db_clone(layer="demo")
        def test_marked():
            pass
        """,
    )

    result.stdout.fnmatch_lines(["LOADED []"])


def test_without_a_table_the_plugin_does_nothing_and_its_fixtures_say_why(shop):
    shop.replace("pyproject.toml", "[tool.alembic-snapshot]", "[tool.something-else]")

    result = shop.run(
        test_it="""
        import pytest
        from shop import orders

        def test_session(db_session):
            pass

        @pytest.mark.db_clone
        def test_marked():
            pass

        def test_application():
            with pytest.raises(Exception, match="no such table"):
                orders.names()
        """
    )

    result.assert_outcomes(passed=1, errors=2)
    result.stdout.fnmatch_lines(
        ["ConfigError: no [[]tool.alembic-snapshot[]] table in *", "hint: *"]
    )
    assert "alembic-snapshot:" not in result.stdout.str()


@pytest.mark.parametrize("arguments", [["--import-mode=importlib"], ["-p", "no:cacheprovider"]])
def test_other_ways_to_import_and_no_cache(shop, arguments):
    result = shop.run(*arguments, test_it=SIMPLE + "    assert time == 1\n")

    result.assert_outcomes(passed=1, failed=1)
    assert len(shop.kept()) == 1


def test_run_from_a_subfolder(shop, monkeypatch):
    shop.write("tests/deep/test_it.py", SIMPLE)
    monkeypatch.chdir(shop.root / "tests" / "deep")

    result = shop.run()

    result.assert_outcomes(passed=2)


def test_a_relative_url_means_the_file_that_the_application_finds_from_a_subfolder_too(
    shop, monkeypatch
):
    shop.replace("pyproject.toml", 'engine = "shop.db:engine"', 'engine = "sqlite:///real.db"')
    shop.write("tests/test_it.py", SIMPLE)
    monkeypatch.chdir(shop.root / "tests")

    result = shop.run()

    result.assert_outcomes(passed=2)
    assert not (shop.root / "real.db").exists()


def test_a_folder_name_with_all_kinds_of_letters(new_sample, own_store):
    sample = new_sample("shop", 'it\'s a 50% "Äpfel" shop #1')

    result = sample.run(
        test_it=SIMPLE
        + """
@pytest.mark.db_clone(readonly=True)
def test_readonly(db_clone):
    assert orders.names() == ["the house"]
    with db_clone.engine().connect() as connection:
        assert connection.exec_driver_sql("SELECT 1").scalar() == 1

def test_url(db_clone, tmp_path):
    from sqlalchemy import create_engine, text
    other = create_engine(db_clone.url)
    with other.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM customers")) == 1
    other.dispose()

def test_failing(db_clone):
    orders.add_customer("Ada")
    assert 0
"""
    )

    result.assert_outcomes(passed=4, failed=1)
    assert len(sample.kept()) == 1


def test_a_read_only_checkout_is_enough_when_the_snapshot_is_there(shop, own_store, monkeypatch):
    # Root is stopped by permissions only without these capabilities.
    as_user = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"]
    if os.geteuid() != 0:
        as_user = []
    elif not shutil.which("setpriv"):
        pytest.skip("root can write anywhere")
    shop.run("-p", "no:cacheprovider", test_it=SIMPLE).assert_outcomes(passed=2)
    base = shop.root.parent / f"{shop.root.name}-base"
    command = [sys.executable, "-B", "-m", "pytest", "-p", "no:cacheprovider"]
    before = {path: path.stat().st_mode for path in [shop.root, *shop.root.rglob("*")]}
    for path, mode in before.items():
        path.chmod(mode & ~0o222)

    try:
        result = shop.pytester.run(*as_user, *command, f"--basetemp={base}", timeout=60)
    finally:
        for path, mode in before.items():
            path.chmod(mode)

    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["alembic-snapshot: * reused; *"])


def test_without_a_home_a_user_or_a_cache_folder(shop, monkeypatch):
    for name in ("HOME", "USER", "LOGNAME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)

    shop.run(test_it=SIMPLE).assert_outcomes(passed=2)


def test_without_greenlet_what_is_synchronous_works(shop):
    shop.write("conftest.py", "import sys\n\nsys.modules['greenlet'] = None\n")

    shop.run(test_it=SIMPLE).assert_outcomes(passed=2)


def test_a_full_disk_is_named_and_leaves_nothing(shop):
    result = shop.run(
        test_it="""
        import resource
        import pytest
        from shop import orders

        @pytest.fixture
        def full_disk():
            before = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (1024, before[1]))
            yield
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

        def test_full(db_clone, full_disk):
            with pytest.raises(Exception, match="can't copy the snapshot to .*: File too large"):
                orders.names()
            assert not db_clone.place.exists()

        def test_next(db_clone):
            assert orders.names() == ["the house"]
        """
    )

    result.assert_outcomes(passed=2)


def test_a_store_that_is_emptied_during_the_run_is_named(shop, own_store):
    result = shop.run(
        test_it="""
        import shutil
        import pytest
        from shop import orders

        def test_gone(db_clone, db_snapshot):
            shutil.rmtree(db_snapshot.path.parent)
            with pytest.raises(Exception, match="the snapshot .* is gone"):
                orders.names()
        """
    )

    result.assert_outcomes(passed=1)


def test_a_run_of_pytest_inside_a_test_does_not_disturb_it(shop):
    shop.write("inner/pytest.ini", "[pytest]\n")
    shop.write("inner/inner.py", "def test_inner(db_session):\n    pass\n")

    result = shop.run(
        test_it="""
        import pytest
        from shop import orders

        def test_outer(db_clone):
            orders.add_customer("Ada")
            assert pytest.main(["inner/inner.py", "-p", "no:randomly", "-q"]) == 0
            assert orders.names() == ["Ada", "the house"]

        def test_after(db_clone):
            assert orders.names() == ["the house"]

        def test_not_asking():
            with pytest.raises(Exception, match="did not ask"):
                orders.names()
        """
    )

    result.assert_outcomes(passed=3)


def test_the_versions_of_a_project_that_are_run_next_to_each_other_share_a_store(shop, new_sample):
    shop.run(test_it=SIMPLE).assert_outcomes(passed=2)
    other = new_sample("shop", "checkout")

    result = other.run(test_it=SIMPLE)

    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["alembic-snapshot: * reused; *"])
    shutil.rmtree(other.root)


# Names under which plugins are, where pytest does not load them by itself.
OWN = ("alembic-snapshot", "pytest_alembic_snapshot")
ASYNCIO = ("asyncio", "pytest_asyncio.plugin")


@pytest.mark.parametrize("asyncio", ASYNCIO)
@pytest.mark.parametrize("own", OWN)
def test_plugins_are_known_by_whatever_name_they_are_loaded(shop, monkeypatch, own, asyncio):
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    # xdist's options and anyio's are not there.
    command = ("-p", own, "-p", asyncio)
    shop.write(
        "test_it.py",
        """
        import pytest

        @pytest.mark.asyncio
        async def test_it(async_db_session):
            assert async_db_session.is_active
        """,
    )

    result = shop.pytester.runpytest_subprocess(*command, timeout=60)

    result.assert_outcomes(passed=1)


@pytest.mark.parametrize("own", OWN)
def test_doctor_knows_the_plugin_by_whatever_name_it_is_loaded(shop, monkeypatch, own):
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTEST_ADDOPTS", f"-p {own} -p asyncio")

    done = shop.pytester.run(sys.executable, "-m", "alembic_snapshot", "doctor", timeout=60)

    assert "it does not load the plugin" not in done.stdout.str()
    done.stdout.fnmatch_lines(["* engine: *"])
