"""When the snapshot is built, by whom, and what the run says of it."""

from __future__ import annotations

import re
import shlex
import sys

import pytest

from ..inner import MODES

TESTS = """
import pytest
from shop import orders

@pytest.mark.parametrize("number", range(6))
def test_with_a_database(db_clone, number):
    assert orders.names() == ["the house"]

@pytest.mark.parametrize("number", range(6))
def test_without_a_database(number):
    pass
"""

pytestmark = pytest.mark.usefixtures("own_store")


def line(result):
    (found,) = [text for text in result.outlines if re.match(r"alembic-snapshot: [0-9a-f]", text)]
    return found


@pytest.mark.parametrize("mode", ["plain", "n2"])
def test_the_first_run_builds_and_the_second_reuses(shop, mode):
    first = shop.run(mode=mode, test_it=TESTS)
    second = shop.run(mode=mode, test_it=TESTS)

    first.assert_outcomes(passed=12)
    assert re.fullmatch(
        r"alembic-snapshot: \w{12} built \(the store has no snapshot of this project\); "
        r"6 clones, \d+(\.\d)? kB, \d+\.\d\d s",
        line(first),
    )
    header = f"alembic-snapshot: {shop.root}/pyproject.toml, store {shop.root}/.alembic-snapshot"
    first.stdout.fnmatch_lines([header])
    if mode != "n2":
        first.stderr.fnmatch_lines(["building the snapshot: *", "built in * s, 2 steps*"])
    second.assert_outcomes(passed=12)
    assert re.search(r"^alembic-snapshot: \w{12} reused; 6 clones", line(second))
    assert not second.errlines or "building" not in second.stderr.str()


HEAD_TWICE = """
    import pytest

    def test_one(db_session): db_session.connection()

    @pytest.mark.db_clone(revision="heads")
    def test_other(db_session): db_session.connection()
"""


def test_what_the_run_built_is_not_reused_because_a_second_test_asks_in_another_way(shop):
    first = shop.run("-p", "no:randomly", test_it=HEAD_TWICE)
    second = shop.run("-p", "no:randomly", test_it=HEAD_TWICE)

    first.assert_outcomes(passed=2)
    assert " built (the store has no snapshot of this project); 2 clones" in line(first)
    assert " reused; 2 clones" in line(second)


def test_a_changed_migration_is_the_reason_for_another_build(shop):
    shop.run(test_it=TESTS)
    shop.replace("migrations/versions/0002_orders.py", "item", "thing")
    shop.replace("shop/models.py", "item", "thing")

    result = shop.run("-q", test_it=TESTS)

    assert "built (migrations/versions/0002_orders.py changed)" in line(result)


@pytest.mark.parametrize("mode", ["plain", "n2"])
def test_a_failing_migration_fails_the_tests_that_need_it_alike_and_no_other(shop, mode):
    shop.replace("migrations/versions/0002_orders.py", "    op.create_table(", "    op.oops(")

    result = shop.run(mode=mode, test_it=TESTS)

    result.assert_outcomes(passed=6, errors=6)
    message = "MigrationError: revision 0002 failed at migrations/versions/0002_orders.py line 9*"
    assert result.stdout.str().count("MigrationError: revision 0002 failed at") >= 6
    result.stdout.fnmatch_lines([message, "*Traceback (most recent call last):"])
    processes = 2 if mode == "n2" else 1
    assert result.stdout.str().count("Traceback (most recent call last):\n") <= 2 * processes
    assert len(list((shop.root / ".alembic-snapshot/failed").glob("*.json"))) == 1


def test_quiet_means_one_line_and_very_quiet_none(shop):
    quiet = shop.run("-q", test_it=TESTS)
    very = shop.run("-qq", test_it=TESTS)

    said = [text for text in quiet.outlines if "snapshot" in text]
    assert said == [line(quiet)]
    assert not quiet.errlines
    assert not [text for text in very.outlines if "snapshot" in text]


@pytest.mark.parametrize("mode", ["plain", "n2"])
def test_a_rebuild_builds_once_however_many_workers_there_are(shop, mode):
    ran = shop.root.with_name(f"{shop.root.name}-ran.txt")
    shop.replace(
        "migrations/versions/0001_customers.py",
        "def upgrade():\n",
        f'def upgrade():\n    with open("{ran}", "a") as file:\n        file.write("0001 ")\n',
    )
    shop.run(test_it=TESTS)

    result = shop.run("--snapshot-rebuild", mode=mode, test_it=TESTS)

    result.assert_outcomes(passed=12)
    assert " built (" in line(result)
    assert ran.read_text() == "0001 0001 "


def test_the_store_can_be_chosen(shop):
    result = shop.run("--snapshot-dir=elsewhere", test_it=TESTS)

    result.assert_outcomes(passed=12)
    assert (shop.root / "elsewhere/snapshots").is_dir()
    assert not (shop.root / ".alembic-snapshot").exists()


@pytest.mark.parametrize("mode", ["n2"])
def test_drift_that_is_to_be_warned_of_is_told_once(shop, mode):
    shop.replace("shop/models.py", "    item:", "    price: Mapped[int]\n    item:")

    result = shop.run(mode=mode, test_it=TESTS)

    result.assert_outcomes(passed=12)
    told = [text for text in result.outlines if "drift: " in text]
    assert told == ["alembic-snapshot: warning: drift: add column orders.price"]
    quiet = shop.run("-q", test_it=TESTS)
    assert [text for text in quiet.outlines if "drift: " in text] == told


def test_what_other_checks_found_is_told_too_whatever_is_done_with_drift(shop):
    shop.configure('drift = "ignore"')
    shop.replace("shop/models.py", "    item:", "    price: Mapped[int]\n    item:")
    script = shop.root / "migrations/versions/0002_orders.py"
    other = script.read_text().replace("0002", "other").partition("def upgrade")[0]
    body = (
        'def upgrade():\n    op.execute("create table p (id integer primary key)")\n'
        '    op.execute("create table c (p integer references p (id))")\n'
        '    op.execute("insert into c values (1)")\n'
    )
    shop.write("migrations/versions/other.py", other + body)

    for arguments in ((), ("-q",)):
        result = shop.run(*arguments, test_it=TESTS)

        told = [text for text in result.outlines if "warning: " in text]
        assert [text.partition("warning: ")[2][:16] for text in told] == [
            "foreign key: c r", "there are 2 head",
        ]  # fmt: skip


def test_what_could_not_be_checked_is_told(shop):
    shop.replace("migrations/env.py", "target_metadata=Base.metadata, ", "")

    result = shop.run(test_it=TESTS)

    result.assert_outcomes(passed=12)
    result.stdout.fnmatch_lines(
        ["alembic-snapshot: warning: drift: not checked, because env.py gives no target_metadata*"]
    )


def test_what_could_not_be_checked_fails_what_needs_the_snapshot_if_drift_is_an_error(shop):
    shop.configure('drift = "error"')
    shop.replace("migrations/env.py", "target_metadata=Base.metadata, ", "")

    result = shop.run(test_it=TESTS)

    result.assert_outcomes(passed=6, errors=6)
    result.stdout.fnmatch_lines(["CheckError: drift: not checked, because env.py gives no target*"])


@pytest.mark.parametrize("drift", ["warn", "error"])
def test_much_drift_is_told_in_order_and_in_short(shop, drift):
    shop.configure(f'drift = "{drift}"')
    more = "".join(f"    p{number:02}: Mapped[int]\n" for number in range(30, 0, -1))
    shop.replace("shop/models.py", "    item:", f"{more}    item:")

    result = shop.run("-k", "with_a_database and 0", test_it=TESTS)

    told = [text for text in result.outlines if "add column" in text]
    assert [text.rpartition(".")[2] for text in told[:10]] == [f"p{n:02}" for n in range(1, 11)]
    # Once in the error of the test, and once in the summary.
    assert len(told) == (20 if drift == "error" else 10)
    result.stdout.fnmatch_lines(["*and 20 more: `alembic-snapshot status` lists them"])


def test_the_command_that_lists_all_of_it_does_so_wherever_the_snapshot_is(shop):
    more = "".join(f"    p{number:02}: Mapped[int]\n" for number in range(30))
    shop.replace("shop/models.py", "    item:", f"{more}    item:")

    result = shop.run(
        "--snapshot-dir=else where",
        test_it="""
        import pytest

        @pytest.mark.db_clone(layer="demo")
        def test_layer():
            pass
        """,
    )

    told = re.search(r"and 20 more: `(alembic-snapshot status .*)` lists them", result.stdout.str())
    assert told
    _, *command = shlex.split(told[1])
    assert command == ["status", "--store", str(shop.root / "else where"), "--layer", "demo"]
    assert (
        shop.pytester.run(sys.executable, "-m", "alembic_snapshot", *command)
        .stdout.str()
        .count("add column")
        == 30
    )


def test_drift_that_is_an_error_fails_what_needs_the_snapshot(shop):
    shop.configure('drift = "error"')
    shop.replace("shop/models.py", "    item:", "    price: Mapped[int]\n    item:")

    result = shop.run(test_it=TESTS)

    result.assert_outcomes(passed=6, errors=6)
    result.stdout.fnmatch_lines(
        ["CheckError: the models differ from the migrated schema:", "  add column orders.price"]
    )


def test_nothing_is_built_when_tests_are_only_collected_or_need_none(shop):
    collected = shop.run("--collect-only", "-q", test_it=TESTS)
    none = shop.run("-k", "without", test_it=TESTS)

    assert collected.ret == 0
    none.assert_outcomes(passed=6, deselected=6)
    assert not (shop.root / ".alembic-snapshot").exists()


def test_nothing_is_built_for_a_run_that_is_over_when_it_is_collected(shop):
    planned = shop.run("--setup-plan", test_it=TESTS)
    broken = shop.run(test_it=TESTS, test_broken="import nothing_of_that_name")

    assert planned.ret == 0
    broken.assert_outcomes(errors=1)
    assert not (shop.root / ".alembic-snapshot").exists()
    shop.run("--continue-on-collection-errors").assert_outcomes(passed=12, errors=1)


def test_layers_that_tests_ask_for_are_built_before_the_first_test(shop):
    result = shop.run(
        test_it="""
        import pytest
        from shop import orders

        @pytest.mark.db_clone(layer="demo")
        def test_layer():
            assert orders.count() == 2

        @pytest.mark.db_clone(empty=True)
        def test_empty():
            pass
        """
    )

    result.assert_outcomes(passed=2)
    result.stderr.fnmatch_lines(["built in * s, 3 steps*"])


# A second run in a process looks who has loaded the plugins of the first.
@pytest.mark.usefixtures("real_starts")
@pytest.mark.parametrize("mode", MODES)
def test_each_run_of_a_process_rebuilds(shop, mode):
    options = [*MODES[mode], *shop.plugins, "--snapshot-rebuild"]
    script = f"import pytest; [pytest.main({options}) for _ in range(2)]"
    shop.write("test_it.py", "def test_it(db_clone): pass")

    result = shop.pytester.run(sys.executable, "-c", script, timeout=60)

    assert result.stdout.str().count(" built (") == 2
