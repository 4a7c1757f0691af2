"""What is assigned to names of Alembic's own modules and classes, by whoever imports them.

Revisions find it without an import of their own: a method of ``op``, an implementation for their
kind of database.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any

# Where alembic.op and alembic.context lead to while env.py runs.
_LED = ("_proxy",)
_GONE = object()

# A name: the module's, the class's or dictionary's in it, and that within.
_Name = tuple[str, str, Any]


class AlembicsNames:
    """Keeps what Alembic's modules had when they were imported."""

    def __init__(self) -> None:
        self._had: dict[_Name, Any] = {}

    def note_all(self) -> None:
        """Note those that are there already."""
        for name, module in list(sys.modules.items()):
            if _is_alembics(name):
                self.note(module)

    def note(self, module: ModuleType) -> None:
        """Note a module that has just been imported, if it is Alembic's."""
        if _is_alembics(module.__name__):
            self._had.update(_values_in(module.__name__, vars(module)))

    def assigned(self) -> Mapping[_Name, Any]:
        """What is there in place of what was, or beside it."""
        modules = {module for module, _, _ in self._had}
        now: dict[_Name, Any] = {}
        for name in modules & sys.modules.keys():
            now.update(_values_in(name, vars(sys.modules[name])))
        return {name: one for name, one in now.items() if one is not self._had.get(name, _GONE)}


def _is_alembics(name: str) -> bool:
    return name.partition(".")[0] == "alembic"


def _values_in(module: str, values: Mapping[str, Any]) -> Iterator[tuple[_Name, Any]]:
    for name, value in list(values.items()):
        if isinstance(value, ModuleType) or name.startswith("__") or name in _LED:
            continue
        yield (module, "", name), value
        is_its_own = isinstance(value, type) and value.__module__ == module
        inside = vars(value) if is_its_own else value if isinstance(value, dict) else {}
        yield from (((module, name, part), one) for part, one in list(inside.items()))
