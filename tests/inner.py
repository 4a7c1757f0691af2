"""A project with the plugin in it, in which tests run pytest as its developers would."""

from __future__ import annotations

import os
import shutil
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

PROJECTS = Path(__file__).parent / "projects"
BEHAVIOURS = Path(__file__).parent / "plugin/behaviours"
# What the run that these tests belong to was given. On CI, pytest writes more than elsewhere, and
# in colours if it is told to.
_NOT_THE_PROJECTS = (
    "DATABASE_URL",
    "PYTHONPATH",
    "PYTEST_XDIST_TESTRUNUID",
    "PYTEST_ADDOPTS",
    "CI",
    "BUILD_NUMBER",
    "FORCE_COLOR",
    "PY_COLORS",
)
# To import its plugin costs as much as all else in a run; the others have no test for it.
_WITH_ANYIO = ("notes",)
MODES = {"plain": ("-p", "no:xdist"), "n0": ("-n", "0"), "n2": ("-n", "2")}


class Sample:
    """A copy of one of the projects; the snapshot comes from a store that all tests share."""

    def __init__(self, pytester: pytest.Pytester, root: Path, plugins: Sequence[str] = ()):
        self.pytester = pytester
        self.root = root
        self.plugins = plugins

    def write(self, name: str, text: str) -> Path:
        """Write a file of the project; indentation of the whole text does not count."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text).lstrip("\n"), encoding="utf-8")
        return path

    def replace(self, name: str, old: str, new: str) -> None:
        """Replace a part of a file, which must be there."""
        text = (self.root / name).read_text(encoding="utf-8")
        assert old in text
        (self.root / name).write_text(text.replace(old, new), encoding="utf-8")

    def configure(self, line: str) -> None:
        """Add a line to the configuration table."""
        table = "[tool.alembic-snapshot]\n"
        self.replace("pyproject.toml", table, f"{table}{line}\n")

    def behaviour(self, name: str) -> None:
        """Copy tests from the folder of behaviours into the project."""
        shutil.copy(BEHAVIOURS / f"{name}.py", self.root / f"test_{name}.py")

    def run(self, *arguments: str, mode: str = "plain", **tests: str) -> pytest.RunResult:
        """Run pytest in the project, on test files that are written before."""
        for name, text in tests.items():
            self.write(f"{name}.py", text)
        # A run that is started by hand is not started by a test.
        os.environ.pop("PYTEST_CURRENT_TEST", None)
        options = (*MODES[mode], *self.plugins, *arguments)
        return self.pytester.runpytest_subprocess(*options, timeout=600)

    @property
    def temporary(self) -> Path:
        """The temporary directory of the last run."""
        runs = self.pytester.path.glob("runpytest-[0-9]*")
        return max(runs, key=lambda path: int(path.name.rpartition("-")[2]))

    def kept(self) -> list[Path]:
        """The databases that are kept from all runs."""
        return sorted(self.pytester.path.glob("runpytest-[0-9]*/kept-databases/*/*.db"))


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> str:
    """Without pytest-xdist, with it but in one process, and with two workers."""
    return str(request.param)


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A store for the whole run, so that each project is built once."""
    own = tmp_path_factory.getbasetemp()
    return (own.parent if worker_id != "master" else own) / "store"


@pytest.fixture
def new_sample(
    request: pytest.FixtureRequest,
    pytester: pytest.Pytester,
    store: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., Sample]:
    """Makes a copy of a project, in the working directory or below it."""
    for name in _NOT_THE_PROJECTS:
        monkeypatch.delenv(name, raising=False)
    if "own_store" in request.fixturenames:
        monkeypatch.delenv("ALEMBIC_SNAPSHOT_DIR", raising=False)
    else:
        monkeypatch.setenv("ALEMBIC_SNAPSHOT_DIR", str(store))

    def make(project: str, folder: str = "") -> Sample:
        root = pytester.path / folder
        shutil.copytree(
            PROJECTS / project,
            root,
            dirs_exist_ok=True,
            ignore=shutil.ignore_patterns("__pycache__", "*.db", ".pytest_cache"),
        )
        monkeypatch.chdir(root)
        return Sample(pytester, root, () if project in _WITH_ANYIO else ("-p", "no:anyio"))

    return make


@pytest.fixture
def shop(new_sample: Callable[..., Sample]) -> Sample:
    """A shop: customers and orders, a synchronous engine made at import."""
    return new_sample("shop")


@pytest.fixture
def own_store() -> None:
    """For tests about building: the store is the project's own, and empty."""
