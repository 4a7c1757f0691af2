"""The checks of the migrations as items of a run, with --snapshot-check."""

from __future__ import annotations

import re
import shutil

import pytest

TEST = """
def test_own():
    pass
"""
FACTS = ["sound_data", "one_head", "drift", "mappers"]
pytestmark = pytest.mark.usefixtures("own_store")


@pytest.fixture
def checked(shop):
    """The shop, with downgrades; the second one counts in a file how often it runs."""
    shop.ran = shop.root.with_name(f"{shop.root.name}-ran.txt")
    first, second = "0001_customers", "0002_orders"
    for name, body in ((first, 'op.drop_table("customers")'), (second, 'op.drop_table("orders")')):
        script = shop.root / f"migrations/versions/{name}.py"
        count = f'    with open("{shop.ran}", "a") as file:\n        file.write("down ")\n'
        script.write_text(
            f"{script.read_text()}\n\ndef downgrade():\n{count * (name == second)}    {body}\n"
        )
    shop.write("test_own.py", TEST)
    return shop


def outcomes(result):
    """The items that ran and how they ended, whatever the process."""
    found = re.findall(r"(?:^|\] )(PASSED|FAILED)? ?alembic-snapshot\S*?::(\S+) ?(PASSED|FAILED)?",
                       result.stdout.str(), flags=re.MULTILINE)  # fmt: skip
    return {name: before or after for before, name, after in found if before or after}


def test_they_are_there_only_if_asked_for_and_pass_where_all_is_well(checked, mode):
    without = checked.run(mode=mode)
    result = checked.run("--snapshot-check", "-v", mode=mode)
    again = checked.run("--snapshot-check", mode=mode)

    without.assert_outcomes(passed=1)
    result.assert_outcomes(passed=7)
    names = [*FACTS, "stairway[0001]", "stairway[0002]"]
    assert outcomes(result) == dict.fromkeys(names, "PASSED")
    assert checked.ran.read_text() == "down "
    again.assert_outcomes(passed=7)
    assert checked.ran.read_text() == "down "


@pytest.mark.parametrize("mode", ["plain", "n2"])
def test_a_failure_is_the_text_that_check_prints_in_every_process(checked, mode):
    checked.replace(
        "migrations/versions/0002_orders.py", '    op.drop_table("orders")', "    1 / 0"
    )
    checked.replace("shop/models.py", "    item:", "    price: Mapped[int]\n    item:")
    checked.replace("migrations/versions/0001_customers.py", '("customers")', '("customer")')

    result = checked.run("--snapshot-check", "-v", mode=mode)

    result.assert_outcomes(passed=4, failed=3)
    failed = {name for name, outcome in outcomes(result).items() if outcome == "FAILED"}
    assert failed == {"drift", "stairway[0001]", "stairway[0002]"}
    lines = [text for text in result.outlines if not text.startswith("[gw")]
    for title, text in (
        ("_ drift _", "drift: add column orders.price"),
        ("_ stairway[0001] _", "revision 0001: downgrade failed"),
        ("_ stairway[0002] _", "revision 0002: downgrade failed"),
    ):
        (at,) = [number for number, line in enumerate(lines) if title in line]
        assert lines[at + 1] == text
    assert "  ZeroDivisionError: division by zero" in lines
    assert "Traceback" not in result.stdout.str()
    assert checked.ran.read_text() == "down "


def test_workers_climb_once_between_them_even_what_fails(checked):
    checked.replace(
        "migrations/versions/0002_orders.py", '    op.drop_table("orders")', "    1 / 0"
    )

    result = checked.run("--snapshot-check", "--dist=each", mode="n2")

    result.assert_outcomes(passed=12, failed=2)
    assert checked.ran.read_text() == "down "


def test_they_can_be_chosen_and_only_what_is_chosen_is_climbed(checked):
    listed = checked.run("--snapshot-check", "--collect-only", "-q")
    assert not (checked.root / ".alembic-snapshot").exists()
    chosen = checked.run("--snapshot-check", "-k", "alembic-snapshot and stairway and 0001")
    shuffled = checked.run("--snapshot-check", "-p", "randomly", "-k", "not stairway")

    assert "alembic-snapshot::stairway[0002]" in listed.outlines
    assert "7 tests collected" in listed.stdout.str()
    chosen.assert_outcomes(passed=1, deselected=6)
    assert not checked.ran.exists()
    shuffled.assert_outcomes(passed=5, deselected=2)


def test_the_last_failed_one_can_be_run_again_alone(checked):
    checked.replace(
        "migrations/versions/0002_orders.py", '    op.drop_table("orders")', "    1 / 0"
    )

    checked.run("--snapshot-check")
    again = checked.run("--snapshot-check", "--last-failed")

    again.assert_outcomes(failed=1, deselected=6)


def test_a_migration_that_fails_fails_them_all_and_shows_its_traceback_once(checked):
    checked.replace("migrations/versions/0002_orders.py", "    op.create_table(", "    op.oops(")

    result = checked.run("--snapshot-check")

    result.assert_outcomes(passed=1, failed=6)
    assert result.stdout.str().count("MigrationError: revision 0002 failed at migrations") >= 6
    assert result.stdout.str().count("Traceback (most recent call last):\n") == 1


def test_a_history_that_is_none_fails_the_facts(checked):
    checked.replace("migrations/versions/0002_orders.py", '"0001"', '"nowhere"')

    result = checked.run("--snapshot-check")

    result.assert_outcomes(passed=1, failed=5)
    result.stdout.fnmatch_lines(["ScriptError: *refers to revision 'nowhere'*"])


def test_every_database_has_its_own(checked):
    shutil.copytree(checked.root / "migrations", checked.root / "other")
    checked.write("other.ini", "[alembic]\nscript_location = %(here)s/other\n")
    with (checked.root / "pyproject.toml").open("a") as toml:
        toml.write('\n[tool.alembic-snapshot.databases.reports]\nconfig = "other.ini"\n')

    checked.replace("other/versions/0002_orders.py", '"0002"', '"more"')

    collected = checked.run("--snapshot-check", "--collect-only", "-q")
    ran = checked.run("--snapshot-check", "-k", "stairway")

    assert "alembic-snapshot[reports]::stairway[more]" in collected.outlines
    assert "13 tests collected" in collected.stdout.str()
    ran.assert_outcomes(passed=4, deselected=9)


@pytest.mark.parametrize("asked", [True, False])
def test_collecting_them_imports_neither_sqlalchemy_nor_alembic(checked, asked):
    checked.write(
        "conftest.py",
        """
        import sys

        def pytest_collection_finish():
            print("heavy:", sorted({"sqlalchemy", "alembic"} & sys.modules.keys()))
        """,
    )

    result = checked.run("-s", *["--snapshot-check"] * asked)

    result.stdout.fnmatch_lines(["*heavy: []"])


def test_without_a_table_asking_for_them_is_an_error(checked):
    (checked.root / "pyproject.toml").write_text("")

    result = checked.run("--snapshot-check")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: no [[]tool.alembic-snapshot[]] table in *", "hint: *"])


@pytest.mark.parametrize("mode", ["plain", "n2"])
def test_what_can_not_be_checked_fails_and_says_why_or_is_skipped_where_that_is_allowed(
    checked, mode
):
    checked.replace("migrations/env.py", "target_metadata=Base.metadata, ", "")

    failed = checked.run("--snapshot-check", "-v", mode=mode)
    skipped = checked.run("--snapshot-check", "--snapshot-allow-unchecked", "-rs", mode=mode)
    checked.replace("pyproject.toml", "[tool.pytest.ini_options]", "[tool.pytest.ini_options]\n"
                    "snapshot_allow_unchecked = true")  # fmt: skip
    configured = checked.run("--snapshot-check", mode=mode)

    failed.assert_outcomes(passed=6, failed=1)
    assert outcomes(failed)["drift"] == "FAILED"
    reason = "not checked, because env.py gives no target_metadata*"
    failed.stdout.fnmatch_lines(["*_ drift _*", reason])
    skipped.assert_outcomes(passed=6, skipped=1)
    skipped.stdout.fnmatch_lines([f"SKIPPED*{reason}"])
    configured.assert_outcomes(passed=6, skipped=1)


def test_drift_that_the_project_ignores_is_skipped(checked):
    checked.configure('drift = "ignore"')

    result = checked.run("--snapshot-check", "-rs")

    result.assert_outcomes(passed=6, skipped=1)
    result.stdout.fnmatch_lines(['SKIPPED*not checked, because drift = "ignore"'])


def test_the_stairway_of_revisions_that_only_a_run_tells_is_one_item_that_says_so(checked):
    checked.replace("migrations/versions/0002_orders.py", '"0001"', 'str("0001")')

    result = checked.run("--snapshot-check", "-v")
    allowed = checked.run("--snapshot-check", "--snapshot-allow-unchecked")

    result.assert_outcomes(passed=5, failed=1)
    assert outcomes(result)["stairway"] == "FAILED"
    result.stdout.fnmatch_lines(
        ["not checked, because the revisions can't be taken up and down: *"]
    )
    allowed.assert_outcomes(passed=5, skipped=1)


def test_two_heads_of_revisions_that_only_a_run_tells_are_found(checked):
    text = (checked.root / "migrations/versions/0002_orders.py").read_text()
    other = text.replace('"0002"', '"0003"').replace('"orders"', '"more"').replace(
        '"0001"', 'str("0001")')  # fmt: skip
    checked.write("migrations/versions/0003_more.py", other)

    result = checked.run("--snapshot-check", "-k", "one_head")

    result.assert_outcomes(failed=1, deselected=5)
    result.stdout.fnmatch_lines(["there are 2 heads, 0002 and 0003: *"])
