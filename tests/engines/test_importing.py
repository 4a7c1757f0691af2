"""That a module was imported is heard however it came to be, and in whatever order."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import pkgutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from alembic_snapshot.engines.importing import when_imported

NAME = "heard_of"


@pytest.fixture
def heard(tmp_path, monkeypatch):
    """What was heard of a package, which nobody has imported yet."""
    package = tmp_path / NAME
    package.mkdir()
    (package / "__init__.py").write_text("value = 1\n")
    (package / "inner.py").write_text("value = 2\n")
    (package / "data.txt").write_text("data")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    found: list[int] = []
    leave = when_imported(NAME, lambda: found.append(sys.modules[NAME].value))
    yield found
    leave()
    for name in (NAME, f"{NAME}.inner"):
        sys.modules.pop(name, None)


def look_for():
    assert importlib.util.find_spec(NAME) is not None


def look_for_an_inner_one():
    # Python imports the package for that.
    assert importlib.util.find_spec(f"{NAME}.inner") is not None


def look_with_pkgutil():
    assert pkgutil.find_loader(NAME) if sys.version_info < (3, 12) else True
    list(pkgutil.iter_modules())


def load_a_copy():
    spec = importlib.util.find_spec(NAME)
    copy = importlib.util.module_from_spec(spec)
    assert copy.__spec__.loader is not None


def fail_once(tmp_path):
    source = tmp_path / NAME / "__init__.py"
    source.write_text("raise ImportError('not yet')\n")
    with pytest.raises(ImportError, match="not yet"):
        importlib.import_module(NAME)
    source.write_text("value = 1 + 0\n")
    importlib.invalidate_caches()


@pytest.mark.filterwarnings("ignore:.*find_loader:DeprecationWarning")
@pytest.mark.parametrize(
    "before",
    [look_for, look_with_pkgutil, load_a_copy, fail_once, None],
    ids=lambda one: getattr(one, "__name__", "nothing"),
)
@pytest.mark.parametrize("times", [1, 2])
def test_what_only_looks_or_fails_does_not_keep_the_import_from_being_heard(
    heard, tmp_path, before, times
):
    for _ in range(times if before else 0):
        before(tmp_path) if before is fail_once else before()
    assert heard == []

    importlib.import_module(NAME)
    importlib.import_module(f"{NAME}.inner")

    assert heard == [1]


def test_a_look_for_a_module_in_it_imports_it(heard):
    look_for_an_inner_one()

    assert heard == [1]


def test_it_is_heard_once_and_a_reload_is_not_an_import(heard):
    module = importlib.import_module(NAME)
    importlib.reload(module)
    importlib.import_module(NAME)

    assert heard == [1]


@pytest.mark.parametrize("is_there", [False, True])
def test_another_one_of_that_name_is_heard_too(heard, is_there):
    told = []
    if is_there:
        importlib.import_module(NAME)
    leave = when_imported(NAME, lambda: told.append(sys.modules[NAME]))

    for _ in range(2):
        sys.modules.pop(NAME, None)
        assert importlib.import_module(NAME) is told[-1]
    leave()

    assert len(set(map(id, told))) == len(told) == 2 + is_there
    assert heard == [1] * len(told)


def test_a_module_is_what_it_is_without_being_heard_of(heard, tmp_path):
    module = importlib.import_module(NAME)

    assert module.__loader__ is module.__spec__.loader
    assert type(module.__loader__).__module__.startswith(("importlib", "_frozen_importlib"))
    assert pkgutil.get_data(NAME, "data.txt") == b"data"
    assert inspect.getsource(module) == "value = 1\n"
    assert module.__file__ == str(tmp_path / NAME / "__init__.py")


def test_a_spec_that_was_found_and_not_run_has_what_its_loader_has(heard, tmp_path):
    spec = importlib.util.find_spec(NAME)

    assert spec.loader.get_filename(NAME) == spec.origin
    assert spec.loader.is_package(NAME)
    assert not hasattr(spec.loader, "no_such_thing")


class Wrapping:
    """A finder that stands before all others and has a loader of its own, as tracers have."""

    def __init__(self):
        self.is_looking = False
        self.ran = []

    def find_spec(self, name, path=None, target=None):
        if name != NAME or self.is_looking:
            return None
        self.is_looking = True
        try:
            spec = importlib.util.find_spec(name)
        finally:
            self.is_looking = False
        spec.loader = self.around(spec.loader)
        return spec

    def around(self, loader):
        ran = self.ran

        class Around:
            def create_module(self, spec):
                return loader.create_module(spec)

            def exec_module(self, module):
                loader.exec_module(module)
                ran.append(module.__name__)

        return Around()


class Shared:
    """A finder that is the loader of all that it finds, as pytest's is."""

    def __init__(self):
        self.ran = []

    def find_spec(self, name, path=None, target=None):
        if not name.startswith(NAME):
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        return importlib.util.spec_from_file_location(
            name,
            spec.origin,
            loader=self,
            submodule_search_locations=spec.submodule_search_locations,
        )

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        self.ran.append(module.__name__)
        exec(Path(module.__file__).read_text(), vars(module))


@pytest.mark.parametrize(("kind", "place"), [(Wrapping, 0), (Wrapping, 1), (Shared, 1)])
def test_other_finders_find_and_run_it_too(heard, kind, place):
    finder = kind()
    sys.meta_path.insert(place, finder)

    importlib.util.find_spec(NAME)
    importlib.import_module(f"{NAME}.inner")

    assert heard == [1]
    assert NAME in finder.ran


def test_what_the_callback_raises_the_import_raises_each_time(heard, tmp_path):
    (tmp_path / NAME / "inner.py").rename(tmp_path / "refused.py")

    def refuse():
        raise RuntimeError("it is too old")

    leave = when_imported("refused", refuse)
    try:
        for _ in range(2):
            with pytest.raises(RuntimeError, match="it is too old"):
                importlib.import_module("refused")
            assert "refused" not in sys.modules
    finally:
        leave()


def test_who_takes_the_request_back_hears_nothing(heard, tmp_path):
    (tmp_path / "unheard.py").touch()
    leave = when_imported("unheard", lambda: heard.append(0))
    spec = importlib.util.find_spec("unheard")
    leave()

    spec.loader.exec_module(importlib.util.module_from_spec(spec))
    importlib.import_module("unheard")
    sys.modules.pop("unheard")

    assert heard == []


def test_one_that_is_there_is_told_at_once():
    told = []

    when_imported("sys", lambda: told.append("sys"))()

    assert told == ["sys"]


def test_a_compiled_module_is_heard_of():
    script = """
        import sys
        from alembic_snapshot.engines.importing import when_imported
        sys.modules.pop("_bisect", None)
        when_imported("_bisect", lambda: print(sys.modules["_bisect"].bisect_right([1], 2)))
        import _bisect
    """

    command = [sys.executable, "-c", textwrap.dedent(script)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)

    assert done.stdout == "1\n"


def pop_it():
    sys.modules.pop(NAME)


def put_another_there():
    sys.modules[NAME] = type(sys)(NAME)
    del sys.modules[NAME]


@pytest.mark.parametrize("take_away", [pop_it, put_another_there])
def test_each_copy_is_heard_however_often(heard, take_away):
    for _ in range(3):
        importlib.import_module(NAME)
        take_away()

    assert heard == [1, 1, 1]


def test_another_copy_of_one_that_was_there_is_heard(heard):
    module = importlib.import_module(NAME)
    found = []
    leave = when_imported(NAME, lambda: found.append(sys.modules[NAME]))

    sys.modules.pop(NAME)
    copy = importlib.import_module(NAME)
    leave()
    sys.modules.pop(NAME)
    importlib.import_module(NAME)

    assert len(found) == 2
    assert found[0] is module
    assert found[1] is copy
