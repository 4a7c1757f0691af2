"""What all tests of the library share."""

from __future__ import annotations

import gc
import subprocess
from collections.abc import Iterator

import pytest

from .sample import as_if_run_by_hand, new_project, project, rows, tables
from .server import forget, names, patient, postgres, postgres_folder, tenant
from .starts import forked, owned

__all__ = [
    "as_if_run_by_hand",
    "forget",
    "names",
    "new_project",
    "patient",
    "postgres",
    "postgres_folder",
    "project",
    "rows",
    "tables",
    "tenant",
]

pytest_plugins = ("pytester", "tests.cases")
# Projects that tests run pytest in, and the tests that they run there.
collect_ignore = ["projects", "plugin/behaviours"]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--real-starts",
        action="store_true",
        help="start each interpreter, instead of forking it from one that has imported much",
    )


def pytest_collection_finish() -> None:
    """Leave what was collected out of collections of garbage: it is much, and none of it is."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def _template(request: pytest.FixtureRequest) -> Iterator[str | None]:
    """The place of an interpreter that is ready to be forked; None if each is to be started."""
    if request.config.getoption("--real-starts"):
        yield None
        return
    with owned.template() as path:
        yield path


@pytest.fixture(autouse=True)
def _forks(_template: str | None) -> Iterator[None]:
    """Interpreters that tests of this folder start are forked, where that is the same."""
    if _template is not None:
        forked.use(_template)
    yield
    # Other folders' tests may be parents of what they start.
    subprocess.Popen = forked.Real


@pytest.fixture
def real_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where starting is the point: interpreters are started, and not forked."""
    monkeypatch.setattr(subprocess, "Popen", forked.Real)
