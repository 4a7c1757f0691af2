"""A stairway's pieces, what is remembered of it, and why there is none."""

from __future__ import annotations

import dataclasses
import json
import os

import pytest

from alembic_snapshot import CheckError
from alembic_snapshot.build.process import Child
from alembic_snapshot.build.stairway import _not_tried, _pieces, stairway_revisions
from alembic_snapshot.build.stairway_cache import Finding, StairwayCache
from alembic_snapshot.builder.protocol import Done, Facts
from alembic_snapshot.key.observed import Observed

FACTS = Facts(
    refused=(), redirected=(), databases=(), create_all=(), configured=True, options={},
    versions=(), is_heard=True, planned=0, applied=(), scripts=None, caught_by=None,
    async_lacks=(), asks_command_line=False, written=(), changed=(),
)  # fmt: skip
WRONG = Finding("0002", "downgrade", ["table t is left", "and u"])
RUN = "PYTEST_XDIST_TESTRUNUID"


class TestThePieces:
    @pytest.mark.parametrize(
        ("count", "workers", "sizes"),
        [
            (0, 4, []),
            (1, 4, [1]),
            (119, 4, [119]),
            (120, 4, [72, 48]),
            (120, 1, [120]),
            (180, 4, [85, 57, 38]),
            (600, 2, [360, 240]),
            (600, 3, [284, 190, 126]),
        ],
    )
    def test_are_fewer_where_a_process_is_not_worth_it_and_shorter_the_later(
        self, count, workers, sizes
    ):
        revisions = [str(number) for number in range(count)]

        pieces = _pieces(revisions, workers)

        assert [len(piece) for piece in pieces] == sizes
        assert [name for piece in pieces for name in piece] == revisions


class TestWhyThereIsNone:
    def refused(self, project):
        with pytest.raises(CheckError) as raised:
            stairway_revisions(project.load())
        return raised.value.message, raised.value.hint

    @pytest.mark.parametrize(
        "computed", [("0002",), ("0002", "0003"), ("0003", "0004"), ("0002", "0003", "0004")]
    )
    def test_is_the_first_revision_that_only_a_run_tells(self, project, computed):
        project.history(4)
        for name in computed:
            path = project.versions / f"{name}_made.py"
            below = f"'{int(name) - 1:04}'"
            path.write_text(path.read_text().replace(below, f"str({below})"))

        assert self.refused(project) == (
            f"the revisions can't be taken up and down: migrations/versions/{computed[0]}_made.py "
            "computes what it is or stands on",
            "write the revision's identifiers as literals, or leave the stairway out",
        )

    def test_is_that_there_are_no_revisions(self, project):
        project.versions.mkdir(parents=True)
        project.write("make.py", "def make(url): ...\n")
        project.configure('migrate = "make:make"')

        assert self.refused(project) == (
            f"the revisions can't be taken up and down: there are none in {project.versions}: does "
            "env.py name others when it runs?",
            "set version_locations in Alembic's configuration, or leave the stairway out",
        )

    @pytest.mark.parametrize(
        ("redirected", "culprit"), [((), "env.py ran no migrations"), (("a", "b"), "a; b")]
    )
    def test_is_that_env_py_did_not_run_them(self, redirected, culprit):
        child = Child(lambda _event: None, {})
        child.done = Done(dataclasses.replace(FACTS, redirected=redirected))
        child.output = "printed"

        error = _not_tried(["0002", "0001"], child)

        assert error.message == f"revision 0002 was not taken up, down and up again: {culprit}"
        assert error.hint == 'use config.attributes["connection"] or sqlalchemy.url in env.py'
        assert error.details == "printed"


@pytest.mark.parametrize("migrate", [True, False])
def test_the_revisions_are_those_of_the_files_parents_first(project, migrate):
    project.revision("b")
    project.revision("a", "b")
    if migrate:
        project.write("make.py", "def make(url): ...\n")
        project.configure('migrate = "make:make"')

    assert stairway_revisions(project.load()) == ["b", "a"]


def test_a_finding_is_its_revision_its_kind_and_its_lines():
    assert str(WRONG) == "revision 0002: downgrade\n  table t is left\n  and u"


class TestWhatIsRemembered:
    @pytest.fixture
    def cache(self, project):
        """Makes the memory of the project as it is by then."""
        project.history(3)

        def make():
            status = project.look_up()
            status.store.prepare()
            return StairwayCache(status.store, status.chain, status.present)

        return make

    @pytest.fixture(autouse=True)
    def _by_hand(self, monkeypatch):
        monkeypatch.delenv(RUN, raising=False)

    def note(self, cache, found, *, options=None, observed=None, late=None):
        cache.note(options or {}, observed or Observed(), late or {}, found)

    def test_is_what_passed_for_the_same_options(self, cache):
        self.note(cache(), {"0001": [], "0002": [WRONG]}, options={"a": "1"})

        assert cache().known({"a": "1"}) == {"0001": []}
        assert cache().known({"a": "2"}) == {}
        assert cache().known({}) == {}

    def test_is_what_failed_only_for_the_same_run(self, cache, monkeypatch):
        monkeypatch.setenv(RUN, "one")
        self.note(cache(), {"0001": [], "0002": [WRONG]})

        assert cache().known({}) == {"0001": [], "0002": [WRONG]}
        monkeypatch.setenv(RUN, "two")
        assert cache().known({}) == {"0001": []}
        monkeypatch.delenv(RUN)
        assert cache().known({}) == {"0001": []}

    def test_is_not_of_a_revision_that_is_another_one_now(self, cache, project):
        self.note(cache(), {"0001": [], "0002": [], "0003": []})
        project.append("migrations/versions/0002_made.py", "# more\n")

        assert cache().known({}) == {"0001": []}

    def test_is_believed_only_while_what_was_read_is_as_it_was(self, cache, project, monkeypatch):
        monkeypatch.setenv("SHOP", "1")
        made = cache()
        read = made.present.variables(["SHOP"], made.chain.target.digest)
        self.note(made, {"0001": []}, observed=Observed(environment=read))

        project.revision("0004", "0003")
        assert cache().known({}) == {"0001": []}
        monkeypatch.setenv("SHOP", "2")
        assert cache().known({}) == {}

    def test_is_not_of_what_stands_on_a_revision_that_read_a_file_that_changed(
        self, cache, project
    ):
        project.write("late.txt", "now")
        self.note(
            cache(), {"0001": [], "0002": [], "0003": []}, late={"0002": {"late.txt": "before"}}
        )

        assert cache().known({}) == {"0001": []}

    def test_is_the_last_that_was_found(self, cache, monkeypatch):
        monkeypatch.setenv(RUN, "one")
        self.note(cache(), {"0001": [], "0002": [WRONG]})
        (old,) = cache().store.stairways.iterdir()
        os.utime(old, (1, 1))
        self.note(cache(), {"0002": []})

        assert cache().known({}) == {"0001": [], "0002": []}
        assert old.stat().st_mtime > 1

    def test_of_what_was_not_believed_is_not_counted_as_used(self, cache):
        self.note(cache(), {"0001": []}, options={"a": "1"})
        (old,) = cache().store.stairways.iterdir()
        os.utime(old, (1, 1))

        cache().known({})

        assert old.stat().st_mtime == 1

    def test_of_another_format_or_none_is_nothing(self, cache):
        self.note(cache(), {"0001": []})
        (path,) = cache().store.stairways.iterdir()
        record = json.loads(path.read_text())
        for name, text in (
            ("a.json", "{"), ("b.json", json.dumps({**record, "format": record["format"] - 1})),
            ("c.json", "{}"), ("d.txt", json.dumps(record)),
        ):  # fmt: skip
            (path.parent / name).write_text(text)
        (path.parent / "e.json").mkdir()
        path.unlink()

        assert cache().known({}) == {}

    def test_is_at_most_fifty_the_last_used(self, cache):
        made = cache()
        for number in range(50):
            self.note(made, {"0001": []}, options={"n": str(number)})
        for number, path in enumerate(made._paths()):
            os.utime(path, (number + 1, number + 1))
        first, second = sorted(made._paths(), key=lambda path: path.stat().st_mtime)[:2]

        assert len(made._paths()) == 50
        self.note(made, {"0001": []}, options={"n": "more"})

        assert len(made._paths()) == 50
        assert not first.exists()
        assert second.exists()

    def test_that_can_not_be_written_is_no_error(self, cache):
        made = cache()
        made.store.stairways.rmdir()
        made.store.stairways.write_text("")

        self.note(made, {"0001": []})

        assert made.known({}) == {}
