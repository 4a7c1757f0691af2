"""What was read counts for the states that ran it, with what it was then."""

from __future__ import annotations

import os
import sys
import types

import pytest
import sqlalchemy as sa

from alembic_snapshot.builder.record import (
    ENVIRONMENT,
    EVERY_STATE,
    FILES,
    FOLDERS,
    STATS,
    Origin,
    Record,
    attribute,
    titled,
)
from alembic_snapshot.key.inputs import content_digest
from alembic_snapshot.key.observed import Reading
from alembic_snapshot.project.spelling import Spelling

NOTHING = {FILES: {}, FOLDERS: {}, STATS: {}, ENVIRONMENT: []}


@pytest.fixture
def root(tmp_path):
    return tmp_path


@pytest.fixture
def record(root):
    def spelled(path):
        is_below = isinstance(path, str) and path.startswith(f"{root}{os.sep}")
        return os.path.relpath(path, root) if is_below else None

    return Record(Reading(Spelling(str(root)), (), str(root / "store")), spelled)


def write(root, name, text="1"):
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return content_digest(text.encode())


def seen(record, owners, known=()):
    return record.seen(titled(owners), set(known))


def names(digests):
    """What was read, without the digests."""
    return {kind: sorted(values) for kind, values in digests.items() if values}


class TestAState:
    @pytest.fixture
    def read(self, root, record):
        """One read of each kind by each: revisions, a seed, every state, env.py, and its module."""
        origins = {
            "a": Origin("a"),
            "b": Origin("b"),
            "seed": Origin("app:seed"),
            "every": Origin(EVERY_STATE),
            "env": Origin(None, frozenset(), is_own=True),
            "module": Origin(None, frozenset({"app/models.py"})),
            "helper": Origin(None, frozenset({"app/helper.py", "app/models.py"})),
        }
        for who, origin in origins.items():
            for kind in (FILES, FOLDERS, STATS, ENVIRONMENT):
                record.note(kind, f"{kind}-{who}", origin)
        return record

    def expected(self, *who):
        kinds = (FILES, FOLDERS, STATS, ENVIRONMENT)
        return {kind: sorted(f"{kind}-{one}" for one in who) for kind in kinds}

    @pytest.mark.parametrize(
        ("owners", "direct"),
        [
            ((), ["every", "env"]),
            (("a",), ["a", "every", "env"]),
            (("a", "b", "app:seed"), ["a", "b", "seed", "every", "env"]),
            (None, ["a", "b", "seed", "every", "env"]),
        ],
    )
    def test_has_what_ran_for_it_and_what_env_py_did(self, read, owners, direct):
        found = seen(read, owners)

        assert names(found["direct"]) == self.expected(*direct)
        assert names(found["through_env"]) == self.expected("module", "helper")

    def test_has_what_a_module_of_its_own_read_for_env_py(self, read):
        found = seen(read, (), ["app/helper.py"])

        assert names(found["direct"]) == self.expected("every", "env", "helper")
        assert names(found["through_env"]) == self.expected("module")

    def test_does_not_tell_files_again_that_are_its_inputs(self, read):
        known = {f"{kind}-{who}" for who in ("every", "module")
                 for kind in (FILES, FOLDERS, STATS, ENVIRONMENT)}  # fmt: skip

        found = seen(read, (), known)

        assert names(found["direct"]) == {
            **self.expected("every", "env"), FILES: ["files-env"], STATS: ["stats-env"],
        }  # fmt: skip
        assert names(found["through_env"]) == {
            **self.expected("module", "helper"), FILES: ["files-helper"], STATS: ["stats-helper"],
        }  # fmt: skip

    @pytest.mark.parametrize("shares", ["a", "/script/of/a.py", "/script/of/none.py", EVERY_STATE])
    def test_has_all_where_models_reach_what_ran(self, read, shares):
        read.scripts["/script/of/a.py"] = "a"
        read.shares_models.add(shares)
        is_of_all = shares in ("/script/of/none.py", EVERY_STATE)
        everything = self.expected("a", "b", "seed", "every", "env", "module", "helper")

        assert names(seen(read, ("a",))["direct"]) == everything
        assert names(seen(read, None)["direct"]) == everything
        assert names(seen(read, ("a",))["through_env"]) == {}
        assert (names(seen(read, ("b",))["direct"]) == everything) is is_of_all

    def test_has_all_where_what_ran_asks_for_what_holds_the_application(self, read):
        read.asked_for = {"a": {"json", "flask_like"}, "b": {"json"}}
        read.in_context = {"flask_like"}
        everything = self.expected("a", "b", "seed", "every", "env", "module", "helper")

        assert names(seen(read, ("a",))["direct"]) == everything
        assert names(seen(read, None)["direct"]) == everything
        assert names(seen(read, ("b",))["direct"]) == self.expected("b", "every", "env")

    def test_of_a_script_is_that_of_its_revision(self, record):
        record.scripts["/versions/one.py"] = "a"
        record.note(FILES, "x", Origin("/versions/one.py"))
        record.note(FILES, "y", Origin("/versions/no_script.py"))

        assert names(seen(record, ("a",))["direct"]) == {FILES: ["x", "y"]}
        assert names(seen(record, ())["direct"]) == {FILES: ["y"]}

    def test_has_what_two_read_once(self, record):
        record.note(FILES, "x", Origin(None, frozenset({"app/models.py"})))
        record.note(FILES, "x", Origin("a"))

        found = seen(record, ("a",))

        assert names(found["direct"]) == {FILES: ["x"]}
        assert found["through_env"] == NOTHING
        assert names(seen(record, ())["through_env"]) == {FILES: ["x"]}


def test_what_env_py_read_is_told_without_the_files_that_are_known(record):
    for kind in (FILES, FOLDERS, STATS, ENVIRONMENT):
        record.note(kind, f"{kind}-own", Origin(None, frozenset(), is_own=True))
        record.note(kind, f"{kind}-module", Origin(None, frozenset({"app/models.py"})))
        record.note(kind, f"{kind}-revision", Origin("a"))
    known = {f"{kind}-module" for kind in (FILES, FOLDERS, STATS, ENVIRONMENT)}

    assert names(record.read_by_env(known)) == {
        FILES: ["files-own"], STATS: ["stats-own"],
        FOLDERS: ["folders-module", "folders-own"],
        ENVIRONMENT: ["environment-module", "environment-own"],
    }  # fmt: skip


def test_each_revision_has_the_files_that_it_read(root, record):
    digests = {name: write(root, name, name) for name in ("x", "y", "z")}
    record.scripts["/versions/b.py"] = "b"
    for name, owner in [("x", "a"), ("x", "/versions/b.py"), ("y", "a"), ("z", "a"), ("y", None)]:
        record.note(FILES, name, Origin(owner))
    record.note(STATS, "y", Origin("c"))

    assert record.by_owner({"x", "y"}) == {
        "a": {"x": digests["x"], "y": digests["y"]},
        "b": {"x": digests["x"]},
        EVERY_STATE: {"y": digests["y"]},
    }


def test_variables_are_those_of_revisions_and_of_env_py_itself(record):
    record.note(ENVIRONMENT, "REVISION", Origin("a"))
    record.note(ENVIRONMENT, "ENV", Origin(None, frozenset(), is_own=True))
    record.note(ENVIRONMENT, "MODULE", Origin(None, frozenset({"app/models.py"})))
    record.note(FILES, "FILE", Origin("a"))

    assert record.variables() == {"REVISION", "ENV"}


class TestWhatItWas:
    def test_is_a_digest_of_the_moment_when_it_was_first_read(self, root, record):
        first = write(root, "x", "first")
        record.note(FILES, "x", Origin("a"))
        write(root, "x", "second")
        record.note(FILES, "x", Origin("a"))

        assert seen(record, ("a",))["direct"][FILES] == {"x": first}

    def test_is_not_a_digest_of_the_moment_when_it_was_only_asked_for(self, root, record):
        write(root, "x", "first")
        record.note(STATS, "x", Origin("a"))
        second = write(root, "x", "second")
        record.note(FILES, "x", Origin("a"))
        write(root, "x", "third")

        assert seen(record, ("a",))["direct"][FILES] == {"x": second}

    def test_is_told_of_folders_and_questions_as_they_are_at_the_end(self, root, record):
        write(root, "data/one", "12")
        record.note(FOLDERS, "data", Origin("a"))
        record.note(STATS, "data/one", Origin("a"))
        record.note(STATS, "data/two", Origin("a"))

        found = seen(record, ("a",))["direct"]

        assert found[FOLDERS] == {"data": record.reading.of_folder(str(root / "data"))}
        assert found[STATS] == {"data/one": "a file of 2 bytes", "data/two": "missing"}

    def test_is_not_told_of_what_was_only_written(self, root, record):
        record.note_change("made", is_read=False, is_folder=False)
        for kind in (FILES, FOLDERS, STATS):
            record.note(kind, "made", Origin("a"))
        record.note(ENVIRONMENT, "made", Origin("a"))
        record.note(STATS, "missing", Origin("a"))

        found = seen(record, ("a",))["direct"]
        assert found == {**NOTHING, ENVIRONMENT: ["made"], STATS: {"missing": "missing"}}

    @pytest.mark.parametrize("before", [True, False])
    def test_is_what_was_left_where_it_was_read_and_written(self, root, record, before):
        write(root, "x", "first")
        if before:
            record.note(FILES, "x", Origin("a"))
        record.note_change("x", is_read=not before, is_folder=False)
        record.note(FILES, "x", Origin("a"))
        last = write(root, "x", "last")

        assert seen(record, ("a",))["direct"][FILES] == {"x": last}
        assert record.changed() == []

    def test_of_a_folder_is_not_left_out_because_something_was_made_there(self, root, record):
        write(root, "data/one")
        record.note_change("data", is_read=False, is_folder=True)
        record.note(FOLDERS, "data", Origin("a"))

        assert names(seen(record, ("a",))["direct"]) == {FOLDERS: ["data"]}


class TestChanges:
    def test_are_told_of_what_was_read_directly_once_and_for_all(self, root, record):
        for name, origin in [
            ("b", Origin("a")),
            ("a", Origin(None, frozenset(), is_own=True)),
            ("module", Origin(None, frozenset({"app/models.py"}))),
            ("same", Origin("a")),
        ]:
            write(root, name, "first")
            record.note(FILES, name, origin)
        for name in ("asked", "module"):
            record.note(STATS, name, Origin("a"))
        for name in ("a", "b", "module", "asked"):
            write(root, name, "second")

        assert record.changed() == ["a", "b"]
        write(root, "a", "first")
        write(root, "same", "second")
        assert record.changed() == ["a", "b"]


class TestModules:
    @pytest.fixture
    def app(self, root, monkeypatch):
        """A package that is found by the path, with a module that imports another one."""
        write(root, "lib/app/__init__.py", "")
        write(root, "lib/app/one.py", "from app import two\nNAME = 'rows.csv'\n")
        write(root, "lib/app/two.py", "import three\n")
        write(root, "lib/app/rows.csv", "")
        write(root, "lib/three.py", "")
        write(root, "lib/app/other.py", "")
        monkeypatch.syspath_prepend(str(root / "lib"))

    def test_that_were_read_bring_what_they_import(self, app, record):
        record.note(FILES, "lib/app/one.py", Origin("a"))
        record.note(FILES, "lib/app/other.py", Origin("b"))
        record.note(FOLDERS, "lib/app/other.py", Origin("a"))
        record.note(FILES, "lib/app/rows.txt", Origin("a"))

        found = seen(record, ("a",))["direct"][FILES]

        paths = ("app/__init__.py", "app/one.py", "app/two.py", "three.py", "app/rows.txt")
        assert found.keys() == {f"lib/{path}" for path in paths}
        assert seen(record, ("b",))["direct"][FILES].keys() == {"lib/app/other.py"}

    def test_that_are_inputs_already_are_not_followed(self, app, record):
        record.note(FILES, "lib/app/one.py", Origin("a"))

        assert seen(record, ("a",), ["lib/app/one.py"])["direct"] == NOTHING

    def test_bring_what_they_read_when_env_py_imported_them(self, app, record):
        record.note(FILES, "lib/app/one.py", Origin("a"))
        record.note(FILES, "data.txt", Origin(None, frozenset({"lib/three.py"})))

        assert "data.txt" in seen(record, ("a",))["direct"][FILES]
        assert "data.txt" in seen(record, ("b",))["through_env"][FILES]

    @pytest.mark.parametrize("how", ["file", "path"])
    def test_are_found_where_a_module_of_their_folder_is(self, root, record, monkeypatch, how):
        write(root, "src/app/__init__.py", "")
        write(root, "src/app/one.py", "import app.two\nimport three\n")
        write(root, "src/app/three.py")
        write(root, "src/app/two.py", "")
        package = types.ModuleType("app")
        if how == "file":
            write(root, "src/single.py", "")
            package.__file__ = str(root / "src/single.py")
        else:
            package.__path__ = [str(root / "src/app")]
        monkeypatch.setitem(sys.modules, "app" if how == "path" else "single", package)
        # A module of a package is no place for others.
        inner = types.ModuleType("elsewhere.inner")
        inner.__file__ = str(root / "src/app/one.py")
        monkeypatch.setitem(sys.modules, "elsewhere.inner", inner)
        record.note(FILES, "src/app/one.py", Origin("a"))

        found = seen(record, ("a",))["direct"][FILES]

        assert found.keys() == {f"src/app/{name}.py" for name in ("__init__", "one", "two")}


class TestModelsOfTheMetadata:
    @pytest.fixture
    def models(self, root, record, monkeypatch):
        metadata = sa.MetaData()
        given = {
            "by_name": {"M": metadata},
            "by_base": {"Base": types.SimpleNamespace(metadata=metadata)},
            "by_none": {"M": sa.MetaData(), "text": "metadata"},
        }
        for name, values in given.items():
            write(root, f"{name}.py", "import imported\n" if name == "by_base" else "")
            module = types.ModuleType(name)
            module.__file__ = str(root / f"{name}.py")
            vars(module).update(values)
            monkeypatch.setitem(sys.modules, name, module)
        write(root, "imported.py", "")
        write(root, "revision_uses.py", "import by_name\n")
        monkeypatch.syspath_prepend(str(root))
        record.metadata.append(metadata)
        return record

    @pytest.mark.parametrize("way", ["by_name.py", "by_base.py", "revision_uses.py"])
    def test_count_for_whoever_reaches_one_of_them(self, models, way):
        models.note(FILES, way, Origin("a"))

        found = seen(models, ("a",))["direct"][FILES]

        assert found.keys() == {way, "by_name.py", "by_base.py", "imported.py"}
        assert seen(models, None)["direct"][FILES] == found

    def test_count_for_whose_inputs_reach_one_of_them(self, models):
        found = seen(models, (), ["by_name.py"])["direct"][FILES]

        assert found.keys() == {"by_base.py", "imported.py"}

    def test_count_for_nobody_else(self, models):
        models.note(FILES, "by_none.py", Origin("a"))

        assert seen(models, ("a",))["direct"][FILES].keys() == {"by_none.py"}

    def test_count_for_nobody_where_env_py_gives_no_metadata(self, models):
        models.metadata.clear()
        models.note(FILES, "by_name.py", Origin("a"))

        assert seen(models, ("a",))["direct"][FILES].keys() == {"by_name.py"}


HARMLESS = [
    "sqlalchemy", "greenlet", "markupsafe", "pydantic", "pydantic_core", "psycopg_binary",
    "psycopg_c", "psycopg2", "asyncpg", "_cffi_backend", "cryptography", "bcrypt", "uvloop",
    "multidict", "yarl", "frozenlist", "aiohttp", "httptools", "orjson", "msgpack", "ujson",
    "zope", "charset_normalizer", "_yaml", "yaml", "regex", "rpds", "simplejson", "wrapt",
    "argon2", "_argon2_cffi_bindings", "propcache", "websockets", "coverage", "psutil",
]  # fmt: skip
LIBRARY = "/python/site-packages/{}.{}"


class TestCompiledLibraries:
    @pytest.fixture
    def alone(self, monkeypatch):
        """No others than those of a test are there."""
        for name, module in list(sys.modules.items()):
            if str(attribute(module, "__file__")).endswith((".so", ".dylib", ".pyd")):
                monkeypatch.delitem(sys.modules, name)

        def add(name, file):
            module = types.ModuleType(name)
            module.__file__ = file
            monkeypatch.setitem(sys.modules, name, module)

        return add

    @pytest.mark.parametrize("ending", ["so", "dylib", "pyd"])
    def test_may_read_unheard(self, record, alone, ending):
        record.blind.add("os.fork")
        alone("numpy_like.core", LIBRARY.format("numpy_like/core", ending))

        assert seen(record, ())["blind"] == ["numpy_like", "os.fork"]

    @pytest.mark.parametrize("name", HARMLESS)
    def test_that_read_nothing_by_themselves_do_not_count(self, record, alone, name):
        alone(f"{name}.deep", LIBRARY.format(name, "so"))
        alone(name, LIBRARY.format(name, "so"))

        assert seen(record, ())["blind"] == []

    def test_are_no_scripts_and_not_pythons_own(self, record, alone):
        alone("plain", LIBRARY.format("plain", "py"))
        alone("without_a_file", None)
        alone("own", f"{os.path.dirname(os.__file__)}/lib-dynload/own.so")
        alone("abc123__mypyc", LIBRARY.format("abc123__mypyc", "so"))

        assert seen(record, ())["blind"] == []

    def test_may_be_anywhere_else(self, record, alone):
        alone("local", "/opt/build/local.so")

        assert seen(record, ())["blind"] == ["local"]

    def test_may_be_installed_below_pythons_own(self, record, alone):
        alone("installed", f"{os.path.dirname(os.__file__)}/site-packages/installed.so")

        assert seen(record, ())["blind"] == ["installed"]


def test_a_module_that_fails_when_it_is_asked_has_nothing():
    class Lazy:
        def __getattr__(self, name):
            raise ImportError(name)

    assert attribute(Lazy(), "__file__") is None
    assert attribute(None, "__file__") is None
    assert attribute(sys, "__name__") == "sys"
