"""Every check has passed, found something, or says why it was not made; all outputs agree."""

from __future__ import annotations

import json

import pytest

from alembic_snapshot import BuildError
from alembic_snapshot.build.stairway import run_stairway
from alembic_snapshot.checks import by_check, counted, shortened, told, unchecked

WHOLE = {
    "integrity": [],
    "foreign_keys": [],
    "create_all": [],
    "heads": ["a"],
    "drift": [],
    "drift_error": None,
    "mappers": None,
}


def spelled(*words):
    return f"alembic {' '.join(words)}"


NO_MODELS = "drift: not checked, because env.py gives no target_metadata to context.configure()"


def lines(checks, drift="warn", heads="one"):
    return told({**WHOLE, **checks}, drift=drift, heads=heads, spell=spelled)


class TestTheLines:
    def test_are_none_where_all_was_checked_and_nothing_found(self):
        assert lines({}) == []

    @pytest.mark.parametrize("drift", ["warn", "error", "ignore"])
    @pytest.mark.parametrize(
        ("checks", "line"),
        [
            ({"integrity": ["x"]}, "integrity: x"),
            ({"foreign_keys": ["x"]}, "foreign key: x"),
            ({"create_all": ["r"]}, "revision r calls create_all: the models' drift can't show"),
            ({"mappers": "x"}, "mappers don't configure: x"),
            ({"heads_error": "x"}, "one_head: not checked, because x"),
            ({"unchecked": {"mappers": "x"}}, "mappers: not checked, because x"),
        ],
    )
    def test_say_everything_but_drift_whatever_is_done_with_drift(self, checks, line, drift):
        assert lines(checks, drift) == [line]

    @pytest.mark.parametrize("checks", [{"drift": ["x"]}, {"drift_error": "x"}])
    def test_say_nothing_of_drift_that_is_ignored(self, checks):
        assert lines(checks, "ignore") == []
        assert len(lines(checks, "warn")) == 1

    @pytest.mark.parametrize(("key", "check"), [("integrity", "sound_data"), ("heads", "one_head")])
    def test_say_what_a_manifest_does_not(self, key, check):
        checks = {name: value for name, value in WHOLE.items() if name != key}

        assert list(unchecked(checks, drift="warn")) == [check]

    def test_are_found_by_check_without_what_was_not_checked(self):
        found = by_check({**WHOLE, "drift_error": "x"}, drift="warn", heads="one", spell=spelled)

        assert not any(found.values())

    @pytest.mark.parametrize(
        ("found", "missing", "text"),
        [
            (0, 0, "0 findings"),
            (1, 0, "1 finding"),
            (2, 1, "2 findings, 1 check not made"),
            (0, 2, "2 checks not made"),
        ],
    )
    def test_are_counted_in_words_that_fit(self, found, missing, text):
        assert counted(found, missing) == text


class TestCheck:
    def test_is_1_and_says_what_was_not_checked_unless_that_is_allowed(self, project):
        project.history(1)

        done = project.command("check", "-q")
        allowed = project.command("check", "--allow-unchecked")
        facts = json.loads(project.command("check", "--json").stdout)

        assert done.returncode == 1
        assert done.stdout.splitlines() == [
            NO_MODELS,
            "1 revision, each up, down and up again: 1 check not made",
        ]
        assert (allowed.returncode, allowed.stdout) == (0, done.stdout)
        assert facts["findings"] == []
        assert list(facts["unchecked"]) == ["drift"]
        assert facts["left_out"] == []

    def test_is_1_where_something_was_found_though_unchecked_is_allowed(self, project):
        project.revision("a")
        project.revision("b")

        done = project.command("check", "--allow-unchecked", "--no-stairway")

        assert done.returncode == 1
        assert done.stdout.endswith(
            "2 revisions, without the stairway: 1 finding, 1 check not made\n"
        )

    def test_fails_where_models_can_not_be_imported(self, project):
        env = (project.root / "migrations/env.py").read_text()
        project.history(1)
        project.write(
            "migrations/env.py",
            env.replace("target_metadata = None", "from models import metadata as target_metadata"),
        )
        project.write("models.py", "import sqlalchemy as sa\nmetadata = sa.MetaData()\n")
        project.ensure()
        project.write("models.py", "raise RuntimeError('half an edit')\n")

        done = project.command("check", "--no-stairway")

        assert done.returncode == 2
        assert "half an edit" in done.stderr
        assert "findings" not in done.stdout

    def test_finds_two_heads_and_says_of_the_stairway_why_not_where_a_field_is_computed(
        self, project
    ):
        project.configure('drift = "ignore"')
        project.history(1)
        project.revision("b", "0001")
        path = project.revision("c", "0001")
        path.write_text(path.read_text().replace("= '0001'", "= str('0001')"))

        done = project.command("check")

        assert done.returncode == 1
        assert "there are 2 heads, b and c" in done.stdout
        assert (
            "stairway: not checked, because the revisions can't be taken up and down" in done.stdout
        )
        assert "3 revisions, without drift: 1 finding, 1 check not made" in done.stdout

    def test_finds_what_is_wrong_with_a_named_layer(self, project):
        project.configure('drift = "ignore"\nlayers = { demo = ["shop:unsound"] }')
        project.write(
            "shop.py",
            """
            from sqlalchemy import text

            def unsound(connection):
                connection.execute(text("pragma ignore_check_constraints = on"))
                connection.execute(text("insert into c values (-7)"))
            """,
        )
        project.revision("a", upgrade="op.execute('create table c (n integer check (n > 0))')")

        done = project.command("check", "--no-stairway", "-q")

        assert done.returncode == 1
        assert done.stdout == (
            "layer demo: integrity: CHECK constraint failed in c\n"
            "1 revision, without the stairway and drift: 1 finding\n"
        )

    def test_is_an_error_where_env_py_runs_nothing(self, project):
        project.history(2)
        snapshot = project.ensure()
        env = (project.root / "migrations/env.py").read_text()
        project.write("migrations/env.py", env.replace("context.run_migrations()", "pass"))

        with pytest.raises(BuildError, match=r"not taken up, down and up again: env.py ran no"):
            run_stairway(project.load(), snapshot=snapshot)


class TestEveryOutput:
    @pytest.fixture
    def found(self, project):
        """A snapshot of which two things are to be said: a foreign key, and no models."""
        project.revision(
            "a",
            upgrade="""
            op.execute("create table p (id integer primary key)")
            op.execute("create table c (p integer references p (id))")
            op.execute("insert into c values (1)")
            """,
        )
        return project

    def test_says_the_same(self, found):
        said = ["foreign key: c row 1 refers to a row of p that is not there", NO_MODELS]

        built = found.command("build")
        again = found.command("build")
        quiet = found.command("build", "-q")
        status = found.command("status")
        listed = json.loads(found.command("list", "--json").stdout)["snapshots"]
        summary = found.command("build", "--summary", "-q")

        assert [f"warning: {line}" for line in said] == built.stderr.splitlines()[-2:]
        count = "1 finding, 1 check not made"
        assert again.stderr == quiet.stderr == (
            f"warning: {count}: `alembic-snapshot status` says more\n"
        )  # fmt: skip
        assert [line.strip() for line in status.stdout.splitlines()[1:3]] == said
        assert [entry["checks"] for entry in listed if "drift" in entry["unchecked"]] == [said]
        assert [line[2:] for line in summary.stdout.splitlines() if line[:2] == "- "] == said
        assert count in found.command("list").stdout

    def test_names_what_makes_the_revisions_one_layer(self, project):
        project.history(1)
        for number in range(2, 14):
            path = project.revision(f"{number:04}", f"{number - 1:04}")
            text = path.read_text().replace("down_revision = ", "down_revision = str() + ")
            path.write_text(text)
        reasons = [
            f"migrations/versions/{number:04}_made.py line 5: down_revision is computed"
            for number in range(2, 14)
        ]

        miss = project.command("status")
        project.ensure()
        hit, key = project.command("status"), project.command("key", "--explain")

        for done in (miss, hit, key):
            told = [line.strip() for line in done.stdout.splitlines() if "one layer" in line]
            assert told == [f"the revisions are one layer: {reason}" for reason in reasons]
        for command in ("status", "key"):
            assert json.loads(project.command(command, "--json").stdout)["opaque"] == reasons

    def test_says_that_a_state_on_the_way_was_not_compared_with_the_models(self, project):
        project.history(2)
        project.ensure()
        (project.versions / "0002_made.py").unlink()

        assert "the next build does" in project.command("status").stdout


@pytest.mark.parametrize(("count", "last"), [(9, "line 9"), (10, "line 10"), (11, "and 1 more: ")])
def test_ten_lines_are_shown_and_the_others_counted(count, last):
    lines = [f"line {number}" for number in range(1, count + 1)]

    shown = shortened(lines, "alembic-snapshot status")

    assert shown[:10] == lines[:10]
    assert len(shown) == min(count, 11)
    assert shown[-1].startswith(last)
