"""The project's modules as their sources are now, whatever compiled copies of them say."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Sequence
from importlib.machinery import SourceFileLoader
from types import CodeType
from typing import Any

from alembic_snapshot.project.spelling import beginning, is_librarys


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
