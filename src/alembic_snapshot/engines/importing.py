"""Callbacks for when a module has been imported, whoever imports it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any


def when_imported(name: str, callback: Callable[[], None]) -> Callable[[], None]:
    """Call back when a module has been imported: now, if it already is.

    The function that is returned takes the request back.
    """
    if name in sys.modules:
        callback()
        return lambda: None
    finder = _Finder(name, callback)
    sys.meta_path.insert(0, finder)
    return finder.leave


class _Finder:
    """Finds one module as everybody else would, and calls back after it has run."""

    def __init__(self, name: str, callback: Callable[[], None]):
        self.name = name
        self.callback = callback

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> Any:
        if fullname != self.name:
            return None
        self.leave()
        from importlib.util import find_spec

        spec = find_spec(fullname)
        if spec is not None and spec.loader is not None:
            loader, callback = spec.loader, self.callback

            def run_and_tell(module: Any) -> None:
                __tracebackhide__ = True
                # The loader may serve other modules too, as pytest's own does.
                del loader.exec_module
                loader.exec_module(module)
                callback()

            loader.exec_module = run_and_tell  # type: ignore[method-assign]
        return spec

    def leave(self) -> None:
        if self in sys.meta_path:
            sys.meta_path.remove(self)
