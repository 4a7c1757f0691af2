"""The project's modules: as their sources are now, whatever compiled copies of them say, and
wherever these lie.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Collection, Sequence
from importlib.machinery import SourceFileLoader
from types import CodeType, ModuleType
from typing import Any

from alembic_snapshot.project.spelling import beginning, is_librarys

_STDLIB = beginning(os.path.dirname(os.__file__))
_INSTALLED = ".dist-info"


def distrust_bytecode(
    is_ours: Callable[[str], bool], search_path: Sequence[str], applied_files: Collection[str]
) -> None:
    """Compile the project's modules anew in this process; it can't be undone.

    A module on the search path is the project's too, if it was not installed there. Those of
    ``applied_files`` are left alone: only their first lines run, and there may be hundreds.

    Python takes a ``.pyc`` for its source's when the size and the whole second of the last change
    agree. What was edited within that second, or came with the time of another file, would run as
    it was before, and be stored under the digest of what it is.
    """
    original = SourceFileLoader.path_stats
    beginnings = tuple(map(beginning, search_path))

    def path_stats(loader: SourceFileLoader, path: str) -> dict[str, float]:
        is_on_path = path.startswith(beginnings) and not is_librarys(path)
        if (is_on_path or is_ours(path)) and path not in applied_files:
            # What the loader's protocol says: no compiled copy is then read or written.
            raise OSError("the project's modules are compiled anew")
        return dict(original(loader, path))

    compiled = SourceFileLoader.source_to_code

    def source_to_code(loader: SourceFileLoader, data: Any, path: Any, **options: Any) -> CodeType:
        try:
            return compiled(loader, data, path, **options)
        except SyntaxError as error:
            # Of a null byte, Python does not say where.
            error.filename = error.filename or os.fspath(path)
            raise

    SourceFileLoader.source_to_code = source_to_code  # type: ignore[method-assign,assignment]
    SourceFileLoader.path_stats = path_stats  # type: ignore[method-assign,assignment]


def claim_sources(is_ours: Callable[[str], bool], claim: Callable[[str], None]) -> None:
    """Claim each module that is the project's without being in its folders, before it is run.

    It is one that nothing installed where it is: a package of the same repository that an editable
    installation, or ``env.py``, has put on the path. Its package's folder is claimed, or its file.
    """
    original = SourceFileLoader.exec_module
    # What was there before the project is none of it, however it is installed.
    others = {name.partition(".")[0] for name in sys.modules}

    def exec_module(loader: SourceFileLoader, module: ModuleType) -> None:
        path = os.path.abspath(loader.path)
        if module.__name__.partition(".")[0] not in others and not is_ours(path):
            place = _place(module.__name__, path)
            if not _is_installed(place):
                claim(place)
        original(loader, module)

    SourceFileLoader.exec_module = exec_module  # type: ignore[assignment,method-assign]


def _place(module: str, path: str) -> str:
    """The folder of the outermost package that a module is in; without one, its own file."""
    *packages, _ = module.split(".")
    folder = os.path.dirname(path)
    if os.path.basename(path) == "__init__.py":
        packages = module.split(".")
    for name in reversed(packages):
        if os.path.basename(folder) != name:
            return path
        folder = os.path.dirname(folder)
    return beginning(os.path.join(folder, packages[0])) if packages else path


def _is_installed(place: str) -> bool:
    """Whether a package or a module is where libraries are installed."""
    if place.startswith(_STDLIB) or is_librarys(place):
        return True
    with contextlib.suppress(OSError):
        beside = os.listdir(os.path.dirname(place.rstrip(os.sep)))
        return any(name.endswith(_INSTALLED) for name in beside)
    return False
