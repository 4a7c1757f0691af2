"""The object that a reference in the configuration names, and why it can't be loaded."""

from __future__ import annotations

import difflib
import inspect
import os
import traceback
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

from alembic_snapshot.errors import EngineError, SnapshotError
from alembic_snapshot.project import unsupported
from alembic_snapshot.project.references import Reference
from alembic_snapshot.project.spelling import beginning, is_librarys

_IMPORTABLE = (
    "correct it in [tool.alembic-snapshot], and make its folder importable by pytest, for example "
    "with the pythonpath option"
)
_NEEDS = (
    "name what works when the tests begin, without an application's context: a URL, or a call such "
    'as "shop.db:get_engine()"'
)


class Named:
    """The object that ``key`` in the configuration names; ``calls`` shares results of calls."""

    def __init__(self, key: str, text: str, calls: MutableMapping[str, Any], root: Path):
        self.key = key
        self.reference = Reference.parse(text)
        self._calls = calls
        self._root = root

    def present(self) -> Any:
        """The object if it exists already; None if it does not, or does not work at the moment."""
        try:
            return self.reference.present(self._calls)
        except Exception:
            return None

    def load(self) -> Any:
        """The object.

        Raises:
            EngineError: it can't be had; whatever the application's code raised is in it.
        """
        try:
            return self.reference.load(self._calls)
        except (Exception, SystemExit) as error:
            raise self._error(error) from error

    def _error(self, error: BaseException) -> EngineError:
        text, where = self.reference.text, self._where(error)
        if self.reference.is_in_the_making():
            return EngineError(
                f"{self.key} {text!r} is not there yet: {self.reference.module} is being imported",
                hint="connect in a function, not when a module is imported",
            )
        if isinstance(error, ModuleNotFoundError) and self._is_own(error.name):
            return EngineError(f"can't import {text!r}: {error}", hint=_IMPORTABLE)
        text_of = " ".join(str(error).split())
        said = f"{type(error).__name__}: {text_of}" if text_of else type(error).__name__
        if isinstance(error, AttributeError) and not where:
            hint = self._nearest(error) or _IMPORTABLE
            return EngineError(f"can't import {text!r}: {error}", hint=hint)
        other = unsupported.of_error(text_of)
        if other is not None:
            return EngineError(
                f"{self.key} {text!r} needs {other}{where}, which is not supported: {said}",
                hint=unsupported.HINT,
            )
        if isinstance(error, ImportError):
            return EngineError(
                f"can't import {text!r}{where}: {error}",
                hint="install what it needs, or correct the import",
            )
        if isinstance(error, SnapshotError):
            # The guard's, of an application that connects when it is imported.
            return EngineError(
                f"{self.key} {text!r} can't be had: {error.message}", hint=error.hint
            )
        variable = _variable(error)
        if variable:
            return EngineError(
                f"{self.key} {text!r} can't be had{where}: the variable {variable} is not set",
                hint="set it before the application is imported, for example at the top of "
                f'conftest.py: os.environ.setdefault("{variable}", "…")',
            )
        if type(error).__name__ == "ValidationError":
            # pydantic's, of settings for the most part.
            return EngineError(
                f"{self.key} {text!r} can't be had{where}: {said}",
                hint="set what it names before the application is imported, for example at the top "
                "of conftest.py with os.environ.setdefault()",
            )
        if isinstance(error, TypeError) and not where and self.reference.calls:
            return EngineError(
                f"{self.key} {text!r} can't be called: {error}",
                hint="calls have no arguments: name a function that needs none, or give a URL",
            )
        return EngineError(f"{self.key} {text!r} can't be had{where}: {said}", hint=_NEEDS)

    def _is_own(self, missing: str | None) -> bool:
        """Whether the module that is missing is the one that the reference names."""
        module = self.reference.module
        return missing is not None and (module == missing or module.startswith(f"{missing}."))

    def _where(self, error: BaseException) -> str:
        """The innermost line of the application that raised it."""
        start = beginning(os.path.realpath(self._root))
        for frame, line in reversed(list(traceback.walk_tb(error.__traceback__))):
            name = frame.f_code.co_filename
            # Python's own frozen modules have no file, and "<frozen os>" is no name of one.
            path = name if name.startswith("<") else os.path.realpath(name)
            inside = path.removeprefix(start)
            if path.startswith(start) and not is_librarys(inside):
                return f" at {inside} line {line}"
        return ""

    def _nearest(self, error: AttributeError) -> str | None:
        names = [name for name in dir(error.obj) if not name.startswith("__")]
        close = difflib.get_close_matches(error.name or "", names)
        return f"did you mean {close[0]!r}?" if close else None


def _variable(error: BaseException) -> str | None:
    """The environment variable that was asked for and is not set, if that is the error."""
    frames = traceback.extract_tb(error.__traceback__)
    is_one = isinstance(error, KeyError) and frames[-1].filename in (os.__file__, "<frozen os>")
    return str(error.args[0]) if is_one else None


def unmade(value: Any) -> str | None:
    """In words, a value that is not a result yet: a coroutine, a generator, a context manager.

    A coroutine is closed.
    """
    if inspect.iscoroutine(value):
        value.close()
        return "a coroutine, of an async function"
    if inspect.isgenerator(value) or inspect.isasyncgen(value):
        return "a generator"
    # That module makes nothing else.
    return "a context manager" if type(value).__module__ == "contextlib" else None
