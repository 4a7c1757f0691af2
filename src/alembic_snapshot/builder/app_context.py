"""What ``env.py`` needs around it: a context that the configuration names, Flask's for one.

It is entered for each run of ``env.py``, of ``migrate`` and of a seed, and left at its end, as
in a command of its own; the application in it is made once.
"""

from __future__ import annotations

import contextlib
import contextvars
import difflib
import sys
import traceback
import types
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any

from alembic_snapshot.project.references import Reference

# Whose values in context variables are no application's, and who uses no application.
_TOOLS = frozenset({"alembic", "alembic_snapshot", "builtins", "sqlalchemy", "__main__"})
_TOOLS |= sys.stdlib_module_names


class NoContext(Exception):
    """What ``context`` names can't be entered; ``hint`` says what to write instead."""

    def __init__(self, message: str, hint: str):
        super().__init__(message)
        self.hint = hint


class AppContext:
    """Enters what a reference names, as often as it is asked; without one it is nothing.

    That is done in what ``making`` gives.
    ``is_made`` is false while the application's code makes it, which is no fault of ``env.py``.
    """

    def __init__(
        self, text: str | None, making: Callable[[], contextlib.AbstractContextManager[None]]
    ):
        self._making = making
        self.reference = Reference.parse(text) if text else None
        self.is_made = True
        self._results: dict[str, Any] = {}

    @contextlib.contextmanager
    def around(self) -> Iterator[None]:
        """While ``env.py`` or a seed runs.

        Raises:
            NoContext: the reference leads to nothing that can be entered.
            Exception: whatever the application's code raises.
        """
        if self.reference is None:
            yield
            return
        self.is_made = False
        with contextlib.ExitStack() as stack:
            with self._making():
                stack.enter_context(self._load(self.reference))
            self.is_made = True
            yield

    def _load(self, reference: Reference) -> Any:
        try:
            found = reference.load_anew(self._results)
        except AttributeError as error:
            if not _is_walking(error):
                raise
            raise NoContext(str(error), _nearest(error)) from error
        except TypeError as error:
            if not _is_walking(error):
                raise
            hint = "calls have no arguments: name a function that needs none"
            raise NoContext(str(error), hint) from error
        if not (hasattr(type(found), "__enter__") and hasattr(type(found), "__exit__")):
            raise NoContext(f"it is {_kind(found)}, no context manager", _hint(reference, found))
        return found


def libraries_in_context() -> set[str]:
    """The libraries of which something is in a context variable at the moment: Flask, for one."""
    values = contextvars.copy_context().values()
    found = {_package(type(value).__module__) for value in values}
    return found - _TOOLS


def lead_to(names: Iterable[str], libraries: Collection[str]) -> bool:
    """Whether one of these packages is one of the libraries, or uses one, through others or not."""
    if not libraries:
        return False
    seen = set(_TOOLS)
    waiting = set(names) - seen
    uses: dict[str, set[str]] = {}
    modules = [(_package(name), m) for name, m in list(sys.modules.items())] if waiting else []
    # What others import of a library may be of a third one's class, as Flask's current_app is.
    makers = {
        id(value): package
        for package, module in modules
        if package in libraries
        for value in _values(module)
        if _package(type(value).__module__) not in _TOOLS
    }
    for package, module in modules:
        used = (makers.get(id(value)) for value in _values(module))
        uses.setdefault(package, set()).update(filter(None, used), _used_by(module))
    while waiting:
        name = waiting.pop()
        if name in libraries:
            return True
        seen.add(name)
        waiting |= uses.get(name, set()) - seen
    return False


def _package(module: Any) -> str:
    return str(module).partition(".")[0]


def _values(module: Any) -> list[Any]:
    return list(getattr(module, "__dict__", {}).values())


def _used_by(module: Any) -> Iterator[str]:
    """The packages of what a module has of others: modules, classes and functions."""
    for value in _values(module):
        # Not isinstance(): a proxy would look for what it stands for.
        if issubclass(type(value), types.ModuleType):
            yield _package(value.__name__)
        elif issubclass(type(value), type | types.FunctionType):
            yield _package(getattr(value, "__module__", ""))


def _is_walking(error: BaseException) -> bool:
    """Whether an error is one of the steps of the reference, and not of the application's code."""
    *_, (frame, _line) = traceback.walk_tb(error.__traceback__)
    return frame.f_globals.get("__name__") == Reference.__module__


def _kind(found: Any) -> str:
    if isinstance(found, types.FunctionType | types.MethodType):
        return "a function"
    return f"a {type(found).__name__}"


def _hint(reference: Reference, found: Any) -> str:
    text = reference.text
    if callable(getattr(found, "app_context", None)):
        return f'write context = "{text}.app_context()"'
    if isinstance(found, types.FunctionType | types.MethodType):
        return f'write context = "{text}()" if it gives a context manager'
    return "name what gives a context manager, with its calls: blog:create_app().app_context()"


def _nearest(error: AttributeError) -> str:
    names = [name for name in dir(error.obj) if not name.startswith("__")]
    close = difflib.get_close_matches(str(error.name), names)
    return f"did you mean {close[0]!r}?" if close else "correct context in [tool.alembic-snapshot]"
