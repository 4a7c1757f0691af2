"""Whose each read is, and whether it counts: told by whose code runs, and by what is read."""

from __future__ import annotations

import functools
import os
import sys
import types
from pathlib import Path

import alembic
import pytest

from alembic_snapshot.builder import watch as watched
from alembic_snapshot.builder.record import (
    ENVIRONMENT,
    EVERY_STATE,
    FILES,
    FOLDERS,
    STATS,
    Origin,
)
from alembic_snapshot.builder.watch import Watch
from alembic_snapshot.key.observed import Reading
from alembic_snapshot.project.callsite import Callsites
from alembic_snapshot.project.spelling import Spelling
from tests.running import inside, within

OWN = Path(watched.__file__).parents[1]
ALEMBIC = f"{Path(alembic.__file__).parent}/script/base.py"
LIBRARY = "/elsewhere/library.py"
OWNED = Origin(None, frozenset(), is_own=True)


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "project"
    for name in ("migrations/versions", "app", "more"):
        (root / name).mkdir(parents=True)
    (root / "data.txt").write_text("1")
    return root


@pytest.fixture
def make(root):
    """A watch of the project, as it is at the moment."""

    def make(beside=()):
        folders = [str(root / "migrations"), str(root / "more")]
        reading = Reading(Spelling(str(root)), ("ignored/*",), str(root / "store"))
        sites = Callsites(root, map(Path, folders), beside)
        settings = [str(root / "alembic.ini")]
        return Watch(sites, reading, folders, settings, ["NEVER", "NO_*"])

    return make


@pytest.fixture
def watch(make):
    return make()


def reads(watch):
    """What was noted, and for whom."""
    return dict(watch.record._origins)


def of(kind, **names):
    return {(kind, name): {origin} for name, origin in names.items()}


class TestWhichPaths:
    @pytest.mark.parametrize(
        ("path", "name"),
        [
            ("data.txt", "data.txt"),
            ("app/../data.txt", "data.txt"),
            ("missing.txt", "missing.txt"),
            (".", "."),
            (".git", ".git"),
            ("migrations/versions/a.py", "migrations/versions/a.py"),
            ("storeroom/a", "storeroom/a"),
            ("store/a", "store/a"),
            ("store/data/a.csv", "store/data/a.csv"),
            ("store/building/a", None),
            ("store/facts.json", None),
            ("app/__pycache__/a.pyc", None),
            (".git/config", None),
            ("lib/site-packages/a.py", None),
            ("app.log", None),
            ("dev.db", None),
            ("ignored/a.txt", None),
            ("../outside.txt", None),
            ("../project_other/a.txt", None),
        ],
    )
    def test_count(self, watch, root, monkeypatch, path, name):
        expected = of(FILES, **{name: Origin("a")}) if name else {}

        # What was asked for before is known.
        for spelled in (f"{root}/{path}", f"{root}/{path}", os.fsencode(root / path), root / path):
            watch.count(spelled, "a")
            assert reads(watch) == expected
        monkeypatch.chdir(root)
        watch.count(path, "a")
        assert reads(watch) == expected

    def test_count_by_the_number_of_an_open_file(self, watch, root):
        with open(root / "data.txt") as file:
            watch.count(file.fileno(), "a")

        assert reads(watch) == of(FILES, **{"data.txt": Origin("a")})

    @pytest.mark.parametrize(
        "root", ["/", "/srv/a.git/.git/worktree", "/srv/site-packages-2/a", "/srv/__pycache__/a"]
    )
    def test_count_wherever_the_root_is(self, root):
        reading = Reading(Spelling(root), (), "/store")
        watch = Watch(Callsites(Path(root)), reading, [os.path.join(root, "m")], [], [])
        kept = ("data.txt", "data/site-packages-list/a", "data/__pycache__-2/a", "x.git/a", ".git")
        left = ("lib/site-packages/a", "data/__pycache__/a", ".git/config", "x/.git/config")

        for name in (*kept, *left, "m/.git/config"):
            watch.count(os.path.join(root, name), "a")

        assert reads(watch) == of(FILES, **dict.fromkeys(kept, Origin("a")))

    def test_below_the_systems_own_folders_do_not_count(self):
        watch = Watch(Callsites(Path("/")), Reading(Spelling("/"), (), "/store"), ["/m"], [], [])

        for path in ("/proc/cpuinfo", "/dev/null", "/sys/a", "/run/a", f"{sys.prefix}/a", "/devs"):
            watch.count(path, "a")

        assert reads(watch) == of(FILES, devs=Origin("a"))

    @pytest.mark.parametrize("path", [None, 99999, "\0", "", b"\0a", object(), 1.5])
    def test_count_only_if_they_are_any(self, watch, path, monkeypatch, tmp_path):
        monkeypatch.chdir(tmp_path)

        watch.count(path, "a")

        assert reads(watch) == {}

    @pytest.mark.parametrize("prefix", ["prefix", "base_prefix", "exec_prefix"])
    def test_below_pythons_own_folder_do_not_count(self, make, root, monkeypatch, prefix):
        monkeypatch.setattr(sys, prefix, str(root / ".venv"))
        watch = make()

        watch.count(str(root / ".venv/lib/a.txt"), "a")
        watch.count(str(root / ".venv.txt"), "a")

        assert reads(watch) == of(FILES, **{".venv.txt": Origin("a")})

    def test_of_a_project_that_is_pythons_own_folder_count(self, make, root, monkeypatch):
        monkeypatch.setattr(sys, "prefix", str(root))
        watch = make()

        watch.count(str(root / "data.txt"), "a")

        assert reads(watch) == of(FILES, **{"data.txt": Origin("a")})

    def test_count_through_a_link_to_the_project(self, root, tmp_path, make):
        (tmp_path / "link").symlink_to(root)
        reading = Reading(Spelling(str(tmp_path / "link")), (), str(tmp_path / "store"))
        watch = Watch(Callsites(tmp_path / "link"), reading, ["/m"], [], [])

        for base in (root, tmp_path / "link"):
            watch.count(f"{base}/data.txt", "a")

        assert reads(watch) == of(FILES, **{"data.txt": Origin("a")})

    def test_beside_the_project_count_where_they_are_on_its_path(self, make, root, tmp_path):
        watch = make([str(tmp_path / "shared")])

        watch.count(str(tmp_path / "shared/a.txt"), "a")

        assert reads(watch) == of(FILES, **{"../shared/a.txt": Origin("a")})


class TestWhoseAFileIs:
    def read(self, watch, root, files, *, is_import=False, name="data.txt"):
        ask = functools.partial(watch.on_file, str(root / name), is_import=is_import)
        inside([str(file).format(root=root) for file in files], ask)
        return reads(watch).get((FILES, name), set())

    ENV, MODEL, OTHER = "{root}/migrations/env.py", "{root}/app/models.py", "{root}/more/x.py"

    @pytest.mark.parametrize(
        ("files", "is_import", "readers", "is_own"),
        [
            ([], False, (), True),
            ([LIBRARY], True, (), True),
            ([ENV], False, (), True),
            ([ENV, LIBRARY], False, (), True),
            ([ENV], True, (), False),
            ([MODEL], False, ("app/models.py",), False),
            ([ENV, MODEL], False, ("app/models.py",), False),
            ([ENV, OTHER, MODEL], True, ("app/models.py", "more/x.py"), False),
            ([MODEL, ENV], False, ("app/models.py",), True),
            (["{root}/store/building/x.py", ENV], False, ("{root}/store/building/x.py",), True),
        ],
    )
    def test_while_env_py_runs(self, watch, root, files, is_import, readers, is_own):
        origin = Origin(None, frozenset(one.format(root=root) for one in readers), is_own)

        assert self.read(watch, root, files, is_import=is_import) == {origin}

    @pytest.mark.parametrize("files", [[], [ENV], [MODEL]])
    def test_while_the_application_is_made(self, watch, root, files):
        readers = frozenset(["app/models.py"] if files == [self.MODEL] else [])

        with watch.around_env():
            assert self.read(watch, root, files) == {Origin(None, readers)}
        assert self.read(watch, root, [self.ENV], name="app/x") == {OWNED}

    @pytest.mark.parametrize("owner", ["a", "app:seed", None])
    def test_while_a_revision_or_a_seed_runs(self, watch, root, owner):
        files = [f"{self.ENV}*", f"{self.MODEL}*", "{root}/store/building/x.py*", self.OTHER]
        names = frozenset({"migrations/env.py", "app/models.py", f"{root}/store/building/x.py"})

        with watch.recording(*([owner] if owner else [])):
            with watch.recording("inner"):
                assert watch.is_recording
            assert self.read(watch, root, files) == {Origin(owner or EVERY_STATE, names)}
        assert not watch.is_recording
        assert self.read(watch, root, [], name="app/x") == {OWNED}

    @pytest.mark.parametrize(
        ("files", "name", "owner"),
        [
            (["{root}/migrations/versions/a.py*"], "data.txt", "{root}/migrations/versions/a.py"),
            (["{root}/more/b.py*", f"{MODEL}*"], "data.txt", "{root}/more/b.py"),
            ([f"{MODEL}*", "{root}/more/b.py*"], "data.txt", EVERY_STATE),
            ([], "migrations/versions/c.py", "{root}/migrations/versions/c.py"),
            ([], "more/c.py", "{root}/more/c.py"),
            ([], "data.txt", EVERY_STATE),
        ],
    )
    def test_while_scripts_are_loaded(self, watch, root, files, name, owner):
        with watch.loading():
            assert watch.is_recording
            (origin,) = self.read(watch, root, files, name=name)
        assert origin.owner == owner.format(root=root)
        assert not watch.is_recording
        with watch.recording("a"):
            (origin,) = self.read(watch, root, files, name="app/later.txt")
        assert origin.owner == "a"

    def test_that_is_counted_while_scripts_are_loaded_is_its_own(self, watch, root):
        path = str(root / "migrations/versions/c.py")

        with watch.loading():
            inside([root / "more/b.py"], functools.partial(watch.count, path))
            watch.asks_for("json")
            watch.share_models()

        assert reads(watch) == of(
            FILES, **{"migrations/versions/c.py": Origin(str(root / "more/b.py"))}
        )
        assert watch.record.asked_for == {EVERY_STATE: {"json"}}
        assert watch.record.shares_models == {EVERY_STATE}

    def test_whose_settings_alembic_reads_does_not_count(self, watch, root):
        for name in ("alembic.ini", "other.ini"):
            self.read(watch, root, [self.ENV, ALEMBIC], name=name)
        assert reads(watch) == of(FILES, **{"other.ini": OWNED})

        assert self.read(watch, root, [self.ENV], name="alembic.ini") == {OWNED}

    def test_that_was_written_before_or_is_shown_does_not_count(self, watch, root):
        watch.on_change(str(root / "data.txt"))

        assert self.read(watch, root, [self.ENV]) == set()
        shows = ["/python/warnings.py", "/python/linecache.py"]
        assert self.read(watch, root, shows, name="app/models.py") == set()

    def test_that_did_not_become_a_module_is_told(self, watch, root, monkeypatch):
        (root / "app/link").symlink_to(root / "app/linked.py")
        for name in ("app/b.py", "app/a.py", "app/there.py", "migrations/env.py", "more/c.py",
                     "app/linked.py"):  # fmt: skip
            (root / name).touch()
            self.read(watch, root, [], is_import=True, name=name)
        self.read(watch, root, [], name="app/read.py")
        for name, file in [("there", "app/there.py"), ("linked", "app/link")]:
            module = types.ModuleType(name)
            module.__file__ = str(root / file)
            monkeypatch.setitem(sys.modules, name, module)

        assert watch.failed_imports() == ["app/a.py", "app/b.py"]

    def test_that_is_a_script_by_a_link_is_no_module_that_failed(self, root, tmp_path):
        for name in ("x/b.py", "x/failed.py", "linked/versions/c.py", "app/env.py"):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).touch()
        versions = tmp_path / "versions"
        versions.mkdir()
        (versions / "b.py").symlink_to(tmp_path / "x/b.py")
        (tmp_path / "more").symlink_to(tmp_path / "linked")
        folders = [f"/{tmp_path}/app", str(versions), str(tmp_path / "more")]
        reading = Reading(Spelling(str(tmp_path)), (), str(tmp_path / "store"))
        watch = Watch(Callsites(tmp_path), reading, folders, [], [])
        watch.is_script(str(versions / "b.py"), "b")

        for name in ("x/b.py", "x/failed.py", "linked/versions/c.py", "app/env.py"):
            inside([], functools.partial(watch.on_file, str(tmp_path / name), is_import=True))

        assert watch.failed_imports() == ["x/failed.py"]

    def test_that_became_a_module_is_not_told(self, watch, root, monkeypatch):
        assert watch.failed_imports() == []


class TestAFolder:
    @pytest.mark.parametrize(
        ("files", "origin"),
        [
            (["{root}/migrations/env.py"], OWNED),
            (["{root}/migrations/env.py", LIBRARY], OWNED),
            (["{root}/migrations/env.py", "/python/pkgutil.py", LIBRARY, LIBRARY], Origin(None)),
            (["{root}/migrations/env.py", "/python/pkgutil.py", *[LIBRARY] * 3], OWNED),
            (["{root}/migrations/env.py", "/python/pkgutil.py", LIBRARY], OWNED),
            (["{root}/migrations/env.py", ALEMBIC], None),
            ([LIBRARY], None),
        ],
    )
    def test_counts_where_the_project_lists_it(self, watch, root, files, origin):
        ask = functools.partial(watch.on_folder, str(root / "app"))
        outside = functools.partial(watch.on_folder, "/elsewhere")

        for each in (ask, outside):
            inside([str(file).format(root=root) for file in files], each)

        assert reads(watch) == (of(FOLDERS, app=origin) if origin else {})


class TestAQuestion:
    @pytest.mark.parametrize(
        ("files", "counts"),
        [
            (["{root}/migrations/env.py"], True),
            (["{root}/migrations/env.py", ALEMBIC, LIBRARY], False),
            ([LIBRARY], False),
            (["{root}/migrations/env.py", "/python/warnings.py", "/python/linecache.py"], False),
        ],
    )
    def test_counts_where_the_project_asks_it(self, watch, root, files, counts):
        for path in (root / "data.txt", root, "/elsewhere"):
            ask = functools.partial(watch.on_question, str(path))
            inside([str(file).format(root=root) for file in files], ask)

        assert reads(watch) == (of(STATS, **{"data.txt": OWNED}) if counts else {})

    def test_does_not_count_where_alembic_asks_it_of_python(self, watch, root):
        ask = within("posixpath.py", functools.partial(watch.on_question, f"{root}/a"), "posixpath")

        inside([root / "migrations/env.py", ALEMBIC], ask)
        assert reads(watch) == {}
        inside([ALEMBIC, root / "migrations/env.py"], ask)
        assert reads(watch) == of(STATS, a=OWNED)

    def test_is_asked_of_each_place_of_a_missing_module(self, watch, root):
        places = [str(root), str(root / "app")]
        ask = functools.partial(watch.on_missing_module, "pkg.deep.er", places)

        inside([root / "migrations/env.py"], ask)

        names = ("er", "er.py", "app/er", "app/er.py")
        assert reads(watch) == of(STATS, **dict.fromkeys(names, OWNED))


# Code that asks for all variables, and for the one whose name is AB.
SCANS = {
    "in one go": "ask('*'); ask(''.join(['A', 'B']))",
    "in a loop": "for name in ['*', ''.join(['A', 'B'])]: ask(name)",
    "in a list": "[ask(name) for name in ['*', ''.join(['A', 'B'])]]",
    "in a set": "{ask(name) for name in ['*', ''.join(['A', 'B'])]}",
    "in a mapping": "{name: ask(name) for name in ['*', ''.join(['A', 'B'])]}",
    "one by one": "list(ask(name) for name in ['*', ''.join(['A', 'B'])])",
    "as all of a list": "ask('*'); [ask(name) for name in [''.join(['A', 'B'])]]",
    "sorted": "for name in sorted(['*', 'AB']): ask(name)",
}
ASKS = {
    "by its name": "ask('*'); tell('AB')",
    "by a name from elsewhere": "ask('*'); tell(''.join(['A', 'B']))",
    "by names from elsewhere": "ask('*'); [tell(name) for name in ['AB']]",
    "elsewhere": "ask('*'); other(''.join(['A', 'B']))",
    "without a scan": "ask(''.join(['A', 'B']))",
}


class TestAVariable:
    def ask(self, watch, root, name, files):
        inside([str(file).format(root=root) for file in files],
               functools.partial(watch.on_variable, name))  # fmt: skip
        return (ENVIRONMENT, name) in reads(watch)

    ENV = "{root}/migrations/env.py"
    STDLIB = f"{Path(os.__file__).parent}/tempfile.py"
    BUILDER = f"{OWN}/builder/target.py"

    @pytest.mark.parametrize(
        ("name", "files", "counts"),
        [
            ("REGION", [ENV], True),
            ("REGION", [ENV, LIBRARY], True),
            ("REGION", [STDLIB], True),
            ("REGION", [ENV, BUILDER], False),
            ("NEVER", [ENV], False),
            ("NO_MATTER", [ENV], False),
            ("TERM", [ENV], True),
            ("TERM", [ENV, LIBRARY], False),
            ("HOME", [ENV, LIBRARY], True),
            ("HOME", [ENV, ALEMBIC], False),
            ("*", [ENV], True),
            ("*", [ENV, LIBRARY], True),
            ("*", [ENV, STDLIB], True),
            ("*", [ENV, BUILDER], False),
            ("REGION", [ENV, os.getenv.__code__.co_filename], True),
            ("TERM", [ENV, os.getenv.__code__.co_filename], True),
        ],
    )
    def test_counts_by_who_asks_for_it(self, watch, root, name, files, counts):
        assert self.ask(watch, root, name, files) is counts

    @pytest.mark.parametrize("name", ["environ", "environb"])
    def test_does_not_count_with_all_that_python_looks_up_by_itself(self, watch, root, name):
        ask = functools.partial(watch.on_variable, "*")
        scope = {"ask": ask, "os": os}
        code = f"def run():\n    os.{name}\n    return ask()\n"
        exec(compile(code, self.STDLIB, "exec"), scope)

        inside([root / "migrations/env.py"], scope["run"])

        assert reads(watch) == {}

    @pytest.mark.parametrize("way", [*SCANS, *ASKS])
    def test_that_is_read_with_all_counts_only_with_them(self, watch, root, way):
        asks = functools.partial(watch.on_variable, is_scanned=True)
        scope = {"ask": asks, "tell": watch.on_variable}
        env = str(root / "migrations/env.py")
        exec(compile("def other(name):\n    ask(name)\n", env, "exec"), scope)
        line = SCANS.get(way) or ASKS[way]
        exec(compile(f"def run():\n    {line}\n", env, "exec"), scope)

        scope["run"]()

        assert ((ENVIRONMENT, "AB") in reads(watch)) is (way in ASKS)


class TestAChange:
    @pytest.mark.parametrize("before", [True, False])
    @pytest.mark.parametrize("is_read", [True, False, None])
    def test_is_of_what_is_read_or_only_written(self, watch, root, before, is_read):
        path = str(root / "data.txt")
        if before:
            watch.count(path, "a")

        watch.on_change(path, **({} if is_read is None else {"is_read": is_read}))
        watch.on_change("/elsewhere")

        is_rewritten = before or bool(is_read)
        assert watch.record.rewritten == ({"data.txt"} if is_rewritten else set())
        assert watch.record.written == (set() if is_rewritten else {"data.txt"})

    def test_in_a_folder_does_not_make_the_folder_one_that_is_only_written(self, watch, root):
        watch.on_change(str(root / "app"))

        assert watch.record.written == watch.record.rewritten == set()


class TestAnImport:
    @pytest.fixture
    def modules(self, root, monkeypatch):
        for name in ("pkg", "pkg.deep", "pkg.deep.er", "pkg.deep.er.item", "pkg.other"):
            module = types.ModuleType(name)
            module.__file__ = str(root / f"{name}.py")
            monkeypatch.setitem(sys.modules, name, module)

    @pytest.mark.parametrize(
        ("files", "importer", "is_asked"),
        [
            ([], "{root}/app/a.py", True),
            (["{root}/app/a.py"], LIBRARY, True),
            ([ALEMBIC], LIBRARY, False),
            ([], LIBRARY, False),
        ],
    )
    def test_counts_with_its_packages_and_what_is_taken(
        self, watch, root, modules, files, importer, is_asked
    ):
        files = [file.format(root=root) for file in files]
        ask = functools.partial(
            watch.on_import, "pkg.deep.er", ["item", "name"], importer.format(root=root)
        )
        inside(files, ask)
        assert reads(watch) == watch.record.asked_for == {}

        with watch.recording("a"):
            inside(files, ask)

        names = ("pkg.py", "pkg.deep.py", "pkg.deep.er.py", "pkg.deep.er.item.py")
        assert reads(watch) == (of(FILES, **dict.fromkeys(names, Origin("a"))) if is_asked else {})
        assert watch.record.asked_for == ({"a": {"pkg"}} if is_asked else {})

    def test_of_what_is_compiled_counts_for_who_is_first(self, watch, root, monkeypatch):
        def add(name, file):
            module = types.ModuleType(name)
            module.__file__ = file and str(root / file)
            monkeypatch.setitem(sys.modules, name, module)

        add("before", "app/before.so")
        with watch.recording("nothing"):
            pass
        with watch.recording("a"):
            add("compiled", "app/compiled.so")
            add("plain", "app/plain.py")
            add("without", None)
        with watch.recording("b"):
            add("later", "app/later.pyc.so")
            # As many as there were, and another one is the last.
            monkeypatch.delitem(sys.modules, "plain")
        assert reads(watch)[FILES, "app/compiled.so"] == {Origin("a")}
        assert reads(watch)[FILES, "app/later.pyc.so"] == {Origin("b")}
        assert (FILES, "app/plain.py") not in reads(watch)


def test_what_nobody_hears_counts_while_a_revision_runs(watch):
    watch.on_unheard("os.fork")
    with watch.recording("a"):
        watch.on_unheard("os.system")

    assert watch.record.blind == {"os.system"}


def test_a_script_is_known_by_each_of_its_names(watch, root, monkeypatch):
    (root / "link").symlink_to(root / "migrations/versions")
    monkeypatch.chdir(root)

    watch.is_script("link/a.py", "a")
    watch.is_script("link/b.py", "b")

    assert watch.record.scripts == {
        f"{folder}{name}.py": name
        for folder in ("link/", f"{root}/link/", f"{root}/migrations/versions/")
        for name in "ab"
    }


def test_what_is_asked_of_the_record_is_for_every_state_too(watch, root):
    watch.count(str(root / "data.txt"), "a")
    watch.count(str(root / "app/x.txt"), EVERY_STATE)
    watch.on_file(str(root / "app/y.txt"), is_import=False)

    assert [*watch.seen(["a"], ())["direct"][FILES]] == ["app/x.txt", "app/y.txt", "data.txt"]
    assert [*watch.seen([], ["app/y.txt"])["direct"][FILES]] == ["app/x.txt"]
    assert [*watch.seen(None, ())["direct"][FILES]] == ["app/x.txt", "app/y.txt", "data.txt"]
    assert [*watch.read_by_env(())[FILES]] == ["app/y.txt"]
    assert [*watch.read_by_env(["app/y.txt"])[FILES]] == []
    (root / "data.txt").write_text("2")
    assert watch.changed() == ["data.txt"]
