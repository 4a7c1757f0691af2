"""Callbacks for when a module has been imported, whoever imports it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any


def when_imported(name: str, callback: Callable[[], None]) -> Callable[[], None]:
    """Call back when a module has been imported: now, if it already is.

    It is called for each copy: whoever takes a module out of ``sys.modules`` imports another one,
    and to load the same one again is no import. What the callback raises is what the import raises.
    Whoever only looks whether the module can be found, or whose import fails, does not keep the
    next import from being heard. The function that is returned takes the request back.
    """
    finder = _Finder(name, callback)
    sys.meta_path.insert(0, finder)
    module = sys.modules.get(name)
    if module is not None:
        finder.tell(module)
    return finder.leave


class _Finder:
    """Finds one module as everybody else would, whenever it is imported."""

    def __init__(self, name: str, callback: Callable[[], None]):
        self.name = name
        self._callback = callback
        self._told: Any = None

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> Any:
        if fullname != self.name or self not in sys.meta_path:
            return None
        for finder in sys.meta_path[sys.meta_path.index(self) + 1 :]:
            find = getattr(finder, "find_spec", None)
            spec = find(fullname, path, target) if find is not None else None
            if spec is not None:
                if spec.loader is not None:
                    spec.loader = _Loader(spec.loader, self)
                return spec
        return None

    def tell(self, module: Any) -> None:
        """The module has run."""
        __tracebackhide__ = True
        if self in sys.meta_path and module is not self._told:
            self._callback()
            self._told = module

    def leave(self) -> None:
        if self in sys.meta_path:
            sys.meta_path.remove(self)


class _Loader:
    """Runs a module as its loader does, which serves others too, and then tells the finder."""

    def __init__(self, loader: Any, finder: _Finder):
        self._loader = loader
        self._finder = finder

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def create_module(self, spec: Any) -> Any:
        """What the loader makes; None where that is left to Python."""
        return self._loader.create_module(spec)

    def exec_module(self, module: Any) -> None:
        """Run it, with its own loader in its place."""
        __tracebackhide__ = True
        module.__loader__ = module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        self._finder.tell(module)
