"""What a run read is compared with what is there now, and each difference is said with its cure."""

from __future__ import annotations

import os

import pytest

from alembic_snapshot.key.inputs import Files
from alembic_snapshot.key.observed import (
    DESCRIPTIONS,
    Change,
    Observed,
    Present,
    Reading,
    inherited,
    variable_digest,
)
from alembic_snapshot.project.spelling import Spelling


@pytest.fixture
def reading(tmp_path):
    return Reading(Spelling(str(tmp_path)), ("ignored", "*.tmp"), str(tmp_path / "store"))


@pytest.fixture
def present(project):
    def present(table=""):
        project.configure(table)
        loaded = project.load()
        return Present(loaded, Files(project.root, []))

    return present


class TestChanges:
    def observed(self, project, present, names):
        """All of it, as it is now."""
        reading = Reading(project.load().spelling, (), str(project.load().store))
        path = project.load().spelling.path
        return Observed(
            {name: reading.of_file(path(name), Files(project.root, [])) for name in names},
            {name: reading.of_folder(path(name)) for name in names},
            {name: reading.of_asking(path(name)) for name in names},
            present().variables(["*", "MINE"], "salt"),
        )

    def test_are_none_where_all_is_as_it_was(self, project, present, monkeypatch):
        monkeypatch.setenv("MINE", "1")
        project.write("data/a.txt", "1")

        observed = self.observed(project, present, ["data", "data/a.txt", "gone", "."])

        assert [*present().changes(observed, "salt")] == []

    def test_are_said_one_after_the_other(self, project, present, monkeypatch):
        monkeypatch.setenv("MINE", "1")
        project.write("data/ä[1].txt", "1")
        (project.root / "data/b").mkdir()
        before = self.observed(project, present, ["data", "data/ä[1].txt", "."])

        monkeypatch.setenv("MINE", "2")
        monkeypatch.setenv("ZNEW", "1")
        monkeypatch.setenv("NEW", "1")
        monkeypatch.setenv("TERM", "another")
        project.write("data/ä[1].txt", "12")
        project.write("new.txt", "")
        project.write("data/c", "")

        file = 'ignore_inputs = ["data/ä[[]1].txt"]'
        name, listing = "data/ä[1].txt", "the list of files in {} changed: {} (read while it ran)"
        variable = 'ignore_environment = ["{}"]'
        assert [*present().changes(before, "salt")] == [
            Change(f"{name} changed (read while it ran)", name, file),
            Change(listing.format("data", "c is new"), cure='ignore_inputs = ["data/c"]'),
            Change(listing.format(".", "new.txt is new"), cure='ignore_inputs = ["new.txt"]'),
            Change(f"{name} changed (asked for while it ran)", cure=file),
            Change("the environment variable NEW is new", cure=variable.format("NEW")),
            Change("the environment variable ZNEW is new", cure=variable.format("ZNEW")),
            Change("the environment variable MINE changed", cure=variable.format("MINE")),
        ]

    def told(self, project, present, before):
        return [(change.text, change.cure) for change in present().changes(before, "salt")]

    def listing(self, project, *names):
        reading = Reading(project.load().spelling, (), str(project.load().store))
        path = project.load().spelling.path
        return Observed(folders={name: reading.of_folder(path(name)) for name in names})

    def test_of_a_listing_name_what_came_and_what_went(self, project, present):
        for name in ("a*b", "kept", "old"):
            project.write(f"data/{name}", "")
        before = self.listing(project, "data")
        for name in ("a*b", "old"):
            (project.root / "data" / name).unlink()
        project.write("data/new/deep.txt", "")
        project.write("data/x", "")

        said = "new is new, x is new, a*b is gone and 1 more"

        assert self.told(project, present, before) == [
            (
                f"the list of files in data changed: {said} (read while it ran)",
                'ignore_inputs = ["data/new", "data/x", "data/a[*]b", "data/old"]',
            )
        ]

    @pytest.mark.parametrize("folder", [".", "src"])
    def test_of_descriptions_of_packages_are_of_no_other_files(self, project, present, folder):
        project.write("src/kept.egg-info/PKG-INFO", "")
        before = self.listing(project, f"{folder}/{DESCRIPTIONS}")
        project.write(f"{folder}/new.txt", "")
        assert self.told(project, present, before) == []

        project.write(f"{folder}/shop.dist-info/METADATA", "")

        name = f"{folder}/shop.dist-info".removeprefix("./")
        said = f"the list of package descriptions in {folder} changed: shop.dist-info is new"
        assert self.told(project, present, before) == [
            (f"{said} (read while it ran)", f'ignore_inputs = ["{name}"]')
        ]

    def test_of_a_listing_with_too_many_new_names_have_no_cure(self, project, present):
        project.write("data/kept", "")
        before = self.listing(project, "data")
        for number in range(11):
            project.write(f"data/{number:02}", "")

        ((text, cure),) = self.told(project, present, before)

        assert "00 is new, 01 is new, 02 is new and 8 more" in text
        assert cure == ""

    def test_of_a_folder_that_came_or_went_have_no_cure(self, project, present):
        project.write("went/a", "")
        before = self.listing(project, "went", "came")
        (project.root / "went/a").unlink()
        (project.root / "went").rmdir()
        project.write("came/a", "")

        told = "the list of files in {} changed: it is {} (read while it ran)"

        assert self.told(project, present, before) == [
            (told.format("went", "gone"), ""),
            (told.format("came", "new"), ""),
        ]

    def test_of_a_folder_with_very_many_files_are_seen_and_have_no_cure(self, project, present):
        for number in range(300):
            project.write(f"data/{number:0100}", "")
        before = self.listing(project, "data")
        assert self.told(project, present, before) == []

        project.write("data/new", "")

        text = "the list of files in data changed (read while it ran)"
        assert self.told(project, present, before) == [(text, "")]

    def test_of_a_name_that_is_no_unicode_have_no_cure(self, project, present):
        project.write("data/kept", "")
        before = self.listing(project, "data")
        project.write("data/" + os.fsdecode(b"\xff"), "")

        ((text, cure),) = self.told(project, present, before)

        assert "is new" in text
        assert cure == ""

    @pytest.mark.parametrize("kind", ["files", "stats"])
    @pytest.mark.parametrize("made", ["before", "after"])
    def test_of_a_folder_that_was_asked_for_have_no_cure_which_ignores_its_files(
        self, project, present, kind, made
    ):
        reading = Reading(project.load().spelling, (), str(project.load().store))
        path, asks = project.root / "data", reading.of_asking
        if kind == "files":

            def asks(path):
                return reading.of_file(path, Files(project.root, []))

        if made == "before":
            path.mkdir()
        before = Observed(**{kind: {"data": asks(str(path))}})
        path.rmdir() if made == "before" else path.mkdir()

        assert [cure for _, cure in self.told(project, present, before)] == [""]

    def test_of_all_variables_are_asked_only_where_all_were_read(self, present, monkeypatch):
        one = Observed(environment=present().variables(["MINE"], "salt"))

        monkeypatch.setenv("NEW", "1")

        assert [*present().changes(one, "salt")] == []
        monkeypatch.setenv("MINE", "1")
        assert [str(change) for change in present().changes(one, "salt")] == [
            "the environment variable MINE changed"
        ]


class TestWhatWasRead:
    def test_is_nothing_only_if_all_of_it_is(self):
        assert not Observed()
        for field in ("files", "folders", "stats", "environment"):
            assert Observed(**{field: {"a": "1"}})

    def test_has_a_digest_that_tells_any_two_apart(self):
        fields = ("files", "folders", "stats", "environment")
        some = [Observed(**{field: {"a": value}}) for field in fields for value in "12"]
        some += [Observed({"a": "1", "b": "2"}), Observed({"a": "2", "b": "1"}), Observed()]

        assert len({one.digest for one in some}) == len(some)
        assert Observed({"a": "1", "b": "2"}).digest == Observed({"b": "2", "a": "1"}).digest
        assert len(Observed().digest) == 64

    def test_is_joined_with_what_a_later_run_read(self):
        one = Observed({"a": "1", "b": "1"}, {"c": "1"}, {}, {"E": "1"})
        two = Observed({"b": "2"}, {}, {"d": "2"}, {"E": "2", "F": "2"})

        assert one.joined(two) == Observed(
            {"a": "1", "b": "2"}, {"c": "1"}, {"d": "2"}, {"E": "2", "F": "2"}
        )


class TestAReading:
    @pytest.mark.parametrize(
        ("make", "told"),
        [
            (lambda path: path.write_text("12"), "a file of 2 bytes"),
            (lambda path: path.mkdir(), "a folder"),
            (lambda path: os.mkfifo(path), "something else"),
            (lambda path: None, "missing"),
            (lambda path: path.symlink_to("nowhere"), "a link to nowhere, missing"),
            (lambda path: path.symlink_to("."), "a link to ., a folder"),
            (lambda path: path.symlink_to("path"), "a link to path, missing"),
        ],
    )
    def test_of_a_question_is_its_answer(self, reading, tmp_path, make, told):
        make(tmp_path / "path")

        assert reading.of_asking(str(tmp_path / "path")) == told

    def test_of_no_path_is_missing(self, reading):
        assert reading.of_asking("\0") == "missing"

    def test_of_a_file_is_its_digest_or_what_it_is(self, reading, tmp_path):
        (tmp_path / "database").write_bytes(b"SQLite format 3\0")
        (tmp_path / "text").write_text("1")
        files = Files(tmp_path, [])

        told = {
            name: reading.of_file(str(tmp_path / name), files)
            for name in ("database", ".", "gone", "text")
        }

        assert told == {
            "database": "a database",
            ".": "a folder",
            "gone": "missing",
            "text": files.digest(str(tmp_path / "text")),
        }

    def test_of_a_folder_is_what_counts_in_it(self, reading, tmp_path):
        folder = str(tmp_path)
        empty = reading.of_folder(folder)
        assert reading.of_folder(str(tmp_path / "gone")) == "missing"

        (tmp_path / "store").mkdir()
        in_store = reading.of_folder(str(tmp_path / "store"))
        (tmp_path / "store/snapshots").mkdir()
        assert reading.of_folder(str(tmp_path / "store")) == in_store
        (tmp_path / "store/a.csv").touch()
        assert reading.of_folder(str(tmp_path / "store")) != in_store
        assert reading.of_folder(folder) == empty
        for name in ("ignored", "a.tmp", "a.log", ".DS_Store", "a.db"):
            (tmp_path / name).touch()
            assert reading.of_folder(folder) == empty
        told = {empty}
        for name in ("storeroom", "b", os.fsdecode(b"\xff")):
            (tmp_path / name).touch()
            told.add(reading.of_folder(folder))

        assert len(told) == 4

    @pytest.mark.parametrize(
        ("name", "is_ignored"),
        [("ignored", True), ("ignored/a", True), ("a.tmp", True), ("a.log", True), ("a", False)],
    )
    def test_ignores_what_is_no_input(self, reading, tmp_path, name, is_ignored):
        assert reading.ignores(str(tmp_path / name)) is is_ignored


class TestVariables:
    GIVEN = (
        ("MINE", "1"), ("PYTHONPATH", "x"), ("PATH", "/bin"), ("LANG", "C"), ("LC_ALL", "C"),
        ("TMPDIR", "/tmp"), ("HOME", "/me"), ("ALEMBIC_SNAPSHOT_REMOTE_SIGNING_KEY", "secret"),
        ("ALEMBIC_SNAPSHOT_DIR", "x"), ("PYTEST_VERSION", "9"), ("PYTEST_CURRENT_TEST", "t"),
    )  # fmt: skip

    @pytest.mark.parametrize(
        ("table", "names"),
        [
            ("", "MINE PATH LANG LC_ALL TMPDIR HOME ALEMBIC_SNAPSHOT_DIR"),
            ("inherit_environment = []", "PATH LANG LC_ALL TMPDIR"),
            ('inherit_environment = ["MINE"]', "MINE PATH LANG LC_ALL TMPDIR"),
        ],
    )
    def test_are_inherited(self, project, table, names):
        project.configure(table)

        given = dict(self.GIVEN)
        assert inherited(project.load(), given) == {name: given[name] for name in names.split()}

    def test_have_a_home_that_is_empty_where_it_is_private(self, project):
        project.configure("private_home = true")
        assert inherited(project.load(), dict(self.GIVEN))["HOME"] == ""
        assert inherited(project.load(), {}) == {"HOME": ""}

    def test_are_salted(self):
        some = [("A", "1", "s"), ("A", "2", "s"), ("B", "1", "s"), ("A", "1", "t"), ("A", "", "s")]

        assert len({variable_digest(*one) for one in some}) == len(some)
        assert variable_digest("A", None, "s") == "unset"
        assert len(variable_digest("A", "\udcff", "s")) == 64

    def test_are_all_that_can_matter_where_all_are_read(self, present, monkeypatch):
        for name in [*os.environ]:
            monkeypatch.delenv(name)
        for name in ("MINE", "TERM", "PGHOST", "COVERAGE_RUN", "IGNORED", "GIVEN", "OTHER"):
            monkeypatch.setenv(name, "1")
        now = present('ignore_environment = ["IGN*"]\nenvironment = { GIVEN = "x" }')

        assert now.variables(["*", "TERM", "GONE"], "s") == {
            "*": "",
            "GONE": "unset",
            **{
                name: variable_digest(name, "1", "s")
                for name in ("MINE", "OTHER", "PGHOST", "TERM")
            },
        }
        assert now.variables(["GONE"], "s") == {"GONE": "unset"}


KINDS = {
    "a file": lambda path: path.write_text(""),
    "a folder": lambda path: path.mkdir(),
    "a link to a file": lambda path: path.symlink_to("../one.txt"),
    "a link to a folder": lambda path: path.symlink_to(".."),
    "a link to nothing": lambda path: path.symlink_to("nowhere"),
    "a pipe": os.mkfifo,
}


def test_what_an_entry_of_a_listing_is_counts(project):
    project.write("one.txt", "")
    project.write("data/y", "")
    entry = project.root / "data/x"
    listed = "[sorted(names) for _, _, names in os.walk('da' + 'ta')]"
    project.revision("a", upgrade=f"{listed}\nop.execute('select 1')", header="import os")
    reading = project.look_up().present._reading
    told = set()
    for make in KINDS.values():
        make(entry)
        told.add(reading.of_folder(str(entry.parent)))
        if make is KINDS["a file"]:
            project.ensure()
        elif make is KINDS["a folder"]:
            reason = "the list of files in data changed: x is something else (read while it ran)"
            assert project.look_up().reasons == (reason,)
        entry.rmdir() if entry.is_dir() and not entry.is_symlink() else entry.unlink()

    assert len(told) == len(KINDS)
