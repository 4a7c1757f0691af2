"""What is said of a database's revisions, whole: where it is at them, and each way in which not."""

from __future__ import annotations

import dataclasses
import sqlite3

import pytest

from alembic_snapshot.build.heads import Verified, Verifier
from alembic_snapshot.build.process import AttemptFailed
from alembic_snapshot.builder.protocol import Facts
from alembic_snapshot.store.manifest import Manifest

HISTORY = {"0001": [], "0002": ["0001"]}
FACTS = Facts(
    refused=(), redirected=(), databases=(), create_all=(), configured=True, options={},
    versions=(("alembic_version", None),), is_heard=True, planned=2, applied=("0001", "0002"),
    scripts={
        "revisions": {"0001": [], "0002": ["0001"]}, "heads": ["0002"], "tops": ["0002"],
    },
    caught_by=None, async_lacks=(), asks_command_line=False, written=(), changed=(),
)  # fmt: skip
FURTHER = (
    "does an application upgrade by itself when it is made? Write a function migrate(url) that "
    'makes it, and migrate = "module:migrate" in [tool.alembic-snapshot]'
)
ENV = (
    'use config.attributes["connection"] or sqlalchemy.url in env.py, or set the variable it reads '
    "in [tool.alembic-snapshot] environment"
)
COMMIT = "it has to upgrade to the heads, and commit, the database whose URL it is given"
MAKE = "let it run the migrations, or make the tables before it stamps"


class Database:
    """A database with these version tables, and with these other ones."""

    def __init__(self, *tables, **versions):
        self.versions = versions
        self._tables = tables
        self.asked = []

    def heads(self, table, schema=None):
        self.asked.append((table, schema))
        return list(self.versions.get(table, ()))

    def tables(self):
        return [*self._tables, *self.versions]


class NotAlembics(Database):
    """A database whose version table is another's."""

    def heads(self, table, schema=None):
        raise sqlite3.OperationalError("no such column: version_num")


def at(*revisions):
    return Database("t_0001", "t_0002", alembic_version=list(revisions))


def manifest(**fields):
    """A manifest of the first revision."""
    return dataclasses.replace(
        Manifest(
            digest="d", family="d", project="p", created=0.0, size=0, sha256="", heads=("0001",),
            revisions={"0001": "x"}, seeds=(), layers={},
        ),
        **fields,
    )  # fmt: skip


@pytest.fixture
def history(project):
    """Two revisions, which the files tell."""
    project.history(2)
    return project


@pytest.fixture
def migrated(history):
    """The same, made by a function, so that they are known only when it runs."""
    history.write("shop.py", "def make(url): ...\n")
    history.configure('migrate = "shop:make"')
    return history


def verifier(project, ancestor=None, **facts):
    return Verifier(
        project.load(), project.chain(), dataclasses.replace(FACTS, **facts), ancestor
    )  # fmt: skip


def verified(project, database, ancestor=None, **facts):
    one = verifier(project, ancestor, **facts)
    return one.verify(database, one.chain.target)


def refused(project, database, ancestor=None, **facts):
    """What is said of a database that is refused: the message, the hint, whether it is final."""
    with pytest.raises(AttemptFailed) as raised:
        verified(project, database, ancestor, **facts)
    return raised.value.error.message, raised.value.error.hint, raised.value.final


class TestADatabaseAtTheHeads:
    def test_has_them_in_the_table_that_the_migrations_used(self, history):
        database = Database(own=["0002"])

        found = verified(history, database, versions=(("own", "sales"), ("own", None)))

        assert found == Verified("own", ("0002",), 2)
        assert set(database.asked) == {("own", "sales"), ("own", None)}
        assert found.notes == []
        assert found.checks == {
            "heads": ["0002"], "revisions": 2, "stamped": 0, "unseen": 0, "heads_error": None
        }  # fmt: skip

    def test_has_each_head_once_and_in_order(self, history):
        history.revision("0003", "0001")
        database = Database(a=["0003", "0002"], b=["0003", "0002"])

        found = verified(
            history, database, versions=(("a", None), ("b", None)), scripts=None,
            applied=("0001", "0002", "0003"),
        )  # fmt: skip

        assert found == Verified("a", ("0002", "0003"), 3)

    def test_may_have_a_head_that_another_revision_depends_on(self, history):
        scripts = {
            "revisions": {"0001": [], "0002": ["0001"]},
            "heads": ["0001", "0002"], "tops": ["0002"],
        }  # fmt: skip

        assert verified(history, at("0002", "0001"), scripts=scripts).heads == ("0001", "0002")
        assert refused(history, at("0002", "0001"), scripts=None)[0].startswith("alembic upgraded")

    def test_needs_only_what_its_ancestor_did_not_have(self, history):
        ancestor = manifest()

        assert verified(history, at("0002"), ancestor, applied=("0002",)).total == 2
        message, _, _ = refused(history, at("0002"), ancestor, applied=())
        assert "1 of 2 revisions did not run, with 0002" in message

    def test_of_an_ancestor_where_nothing_ran_is_looked_for_in_the_ancestor_s_table(self, history):
        ancestor = manifest(revisions={"0001": "x", "0002": "y"}, version_table="theirs")
        database = Database(theirs=["0002"])

        found = verified(history, database, ancestor, is_heard=False, applied=())

        assert found.table == "theirs"
        assert set(database.asked) == {("theirs", None)}

    def test_of_an_ancestor_has_the_table_that_the_migrations_used_if_any_ran(self, history):
        found = verified(
            history, Database(own=["0002"]), manifest(version_table="theirs"),
            versions=(("own", None),),
        )  # fmt: skip

        assert found.table == "own"

    def test_on_the_way_needs_its_own_revisions_alone(self, history):
        one = verifier(history, manifest(revisions={}), applied=("0001",))

        assert one.verify(at("0001"), one.chain.state(["0001"])).total == 1


class TestADatabaseElsewhere:
    @pytest.mark.parametrize(
        ("revisions", "facts", "message", "hint"),
        [
            ((), {}, "at no revision: env.py did not commit, or connects elsewhere", ENV),
            (("0001",), {}, "at 0001: env.py stopped there, or wrote versions by itself", ENV),
            (
                ("0002", "9"),
                {},
                "at 0002, 9, and no script is revision 9: env.py stopped there, or wrote "
                "versions by itself",
                ENV,
            ),
            (("0001",), {"redirected": ("line 1", "line 2")}, "at 0001: line 1; line 2", ENV),
        ],
    )
    def test_is_refused_but_another_handover_may_help(
        self, history, revisions, facts, message, hint
    ):
        assert refused(history, at(*revisions), **facts) == (
            f"alembic upgraded to 0002, but the snapshot is {message}",
            hint,
            False,
        )

    def test_that_is_further_than_it_should_be_was_upgraded_by_somebody_else(self, history):
        one = verifier(history)

        with pytest.raises(AttemptFailed) as raised:
            one.verify(at("0002"), one.chain.state(["0001"]))

        assert raised.value.error.message == (
            "alembic upgraded to 0001, but the snapshot is at 0002: env.py stopped there, or wrote "
            "versions by itself"
        )
        assert raised.value.error.hint == FURTHER

    def test_that_is_further_by_its_files_alone_is_not_said_to_have_no_script(self, history):
        one = verifier(history, scripts=None)

        with pytest.raises(AttemptFailed, match=r"at 0002: env\.py stopped") as raised:
            one.verify(at("0002"), one.chain.state(["0001"]))
        assert raised.value.error.hint == FURTHER

    def test_on_the_way_is_at_no_head_of_the_whole_history(self, history):
        one = verifier(history)

        with pytest.raises(AttemptFailed, match="at 0001, 0002"):
            one.verify(at("0001", "0002"), one.chain.state(["0001"]))

    def test_whose_revision_is_another_script_is_not_said_to_have_none(self, migrated):
        scripts = {**FACTS.scripts, "revisions": {**FACTS.scripts["revisions"], "x": []}}
        message, _, _ = refused(migrated, at("x"), scripts=scripts)

        assert "no script" not in message

    @pytest.mark.parametrize(
        ("database", "facts", "said", "hint"),
        [
            (Database(alembic_version=[]), {}, "at no revision", COMMIT),
            (
                Database("t"),
                {},
                "at no revision, without a table alembic_version",
                COMMIT,
            ),
            (
                Database("sales.alembic_version"),
                {"is_heard": False},
                "at no revision",
                COMMIT,
            ),
            (
                Database("t"),
                {"is_heard": False},
                "at no revision, without a table alembic_version (which table has the versions is "
                "not known: it ran no migrations here)",
                COMMIT,
            ),
            (at("0001"), {"redirected": ("a", "b")}, "at 0001", f"{COMMIT}; a; b"),
        ],
    )
    def test_that_migrate_made_is_final(self, migrated, database, facts, said, hint):
        assert refused(migrated, database, **facts) == (
            f"migrate's shop:make ended, and the database is {said}; the scripts are at 0002",
            hint,
            True,
        )

    def test_whose_scripts_can_not_be_read_is_to_be_at_the_heads(self, migrated):
        message, _, _ = refused(migrated, at(), scripts={"error": "x"})

        assert message.endswith("the scripts are at the heads")

    def test_whose_version_table_is_not_alembic_s_is_final(self, history):
        assert refused(history, NotAlembics()) == (
            "can't read which revisions the database is at, in table alembic_version: no such "
            "column: version_num",
            "is it Alembic's own, with its column version_num?",
            True,
        )


class TestAHistory:
    def test_in_other_places_than_the_settings_name_is_refused(self, history):
        assert refused(history, at("0002"), scripts={"moved": ["/a", "/b"]}) == (
            "env.py looks for revisions in other places than its settings name: /a, /b",
            "name them in version_locations, beside script_location",
            True,
        )

    @pytest.mark.parametrize(
        ("revisions", "said"),
        [
            ({"0001": []}, "revision 0002 is not there when it runs; reading its file says that it "
             "stands on 0001"),
            ({"0001": [], "0002": []}, "revision 0002 stands on none when it runs; reading its "
             "file says that it stands on 0001"),
            ({"0001": ["a", "b"], "0002": ["0001"]}, "revision 0001 stands on a, b when it runs; "
             "reading its file says that it stands on none"),
        ],
    )  # fmt: skip
    def test_that_is_another_one_when_it_runs_is_refused(self, history, revisions, said):
        assert refused(history, at("0002"), scripts={**FACTS.scripts, "revisions": revisions}) == (
            said,
            "assign revision, down_revision and depends_on once, as plain text",
            True,
        )

    def test_that_has_more_when_it_runs_is_refused(self, history):
        revisions = {"0001": [], "0002": ["0001"], "0003": ["0002"], "b1": []}

        assert refused(history, at("0002"), scripts={**FACTS.scripts, "revisions": revisions}) == (
            "Alembic loads revision 0003, b1, and no script of it is found by reading the version "
            "locations",
            "move its script to a file of its own in a version location",
            True,
        )

    def test_that_could_not_be_loaded_does_not_speak_against_the_files(self, history):
        assert verified(history, at("0002"), scripts={"error": "x"}).total == 2

    def test_without_a_revision_is_none(self, migrated, monkeypatch):
        monkeypatch.chdir(migrated.root)
        nothing = {"revisions": {}, "heads": [], "tops": []}
        places = migrated.root / "migrations" / "versions"
        said = f"there are no revisions: none in {places}, and "

        assert refused(migrated, at(), scripts=nothing) == (
            f"{said}migrate's shop:make named none while it ran",
            "make the first with `alembic revision`, or correct version_locations",
            True,
        )
        deeper = migrated.write("migrations/versions/old/0001.py", "").parent
        assert refused(migrated, at(), scripts=nothing)[1] == (
            f"there are Python files in {deeper}: set recursive_version_locations = true"
        )

    def test_without_a_revision_is_not_an_error_of_what_stands_on_a_build(self, migrated):
        ancestor = manifest(heads=("0002",), version_table="alembic_version")

        found = verified(migrated, at("0002"), ancestor, is_heard=False, scripts=None)

        assert found == Verified("alembic_version", ("0002",), 1)

    def test_of_env_py_without_a_revision_is_none_either(self, project):
        project.versions.mkdir(parents=True)
        nothing = {"revisions": {}, "heads": [], "tops": []}

        message, _, _ = refused(project, at(), scripts=nothing)

        assert message == (
            f"there are no revisions: none in {project.versions}, and env.py named none while it "
            "ran"
        )


class TestARevisionThatDidNotRun:
    def test_is_an_error_of_env_py(self, history):
        assert refused(history, at("0002"), applied=("0001",)) == (
            "the snapshot is said to be at 0002, but 1 of 2 revisions did not run, with 0002: "
            "env.py stamped the database, or ran them in another process",
            "let env.py run the migrations; if the first tables are not made by Alembic, set "
            "migrate",
            False,
        )

    def test_is_counted_where_migrate_made_the_tables(self, migrated):
        found = verified(migrated, at("0002"), applied=("0002",))

        assert (found.stamped, found.unseen) == (1, 0)
        assert found.notes == ["migrate stamped 1 of 2 revisions without running them"]
        assert found.checks["stamped"] == 1

    def test_may_have_run_unseen_where_nothing_was_heard(self, migrated):
        found = verified(migrated, at("0002"), applied=(), is_heard=False)

        assert (found.stamped, found.unseen) == (0, 2)
        assert found.notes == ["migrate ran 2 of 2 revisions in another process, or not at all"]
        assert found.checks["unseen"] == 2

    def test_made_no_table_if_there_is_none(self, migrated):
        database = Database("sales.alembic_version", alembic_version=["0002"])

        assert refused(migrated, database, applied=()) == (
            "migrate's shop:make stamped the database at 0002, but made no table and ran no "
            "revision that does",
            MAKE,
            True,
        )

    @pytest.mark.parametrize("is_heard", [True, False])
    def test_stays_counted_in_what_stands_on_it(self, migrated, is_heard):
        checks = {"revisions": 7, "stamped": 3, "heads_error": "why", "unseen": 4}
        ancestor = manifest(heads=("0002",), checks=checks)

        found = verified(migrated, at("0002"), ancestor, applied=(), is_heard=is_heard)

        assert found == Verified("alembic_version", ("0002",), 7, 3, "why", 4)

    def test_is_not_told_where_the_scripts_can_not_be_read(self, migrated):
        for scripts, why in (({"error": "x"}, "x"), (None, "they were not loaded")):
            found = verified(migrated, at("0002"), scripts=scripts, applied=())
            reason = f"the scripts can't be read to compare the database's revisions with: {why}"

            assert found == Verified("alembic_version", ("0002",), 1, unchecked=reason)
            assert found.checks["heads_error"] == reason

    def test_is_one_of_one(self):
        assert Verified("t", ("a",), 1, stamped=1).notes == [
            "migrate stamped 1 of 1 revision without running them"
        ]
