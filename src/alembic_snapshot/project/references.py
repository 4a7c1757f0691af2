"""References in the configuration: ``module:name``, with dots and calls without arguments."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

_CALL = "()"
_NAME = r"[^\W\d]\w*"
_STEP = rf"{_NAME}(?:\(\))*"
_FORM = re.compile(rf"{_NAME}(?:\.{_NAME})*:{_STEP}(?:\.{_STEP})*")


class NotThere(Exception):
    """Nothing has imported the module or made the call so far."""


class NotAFunction(Exception):
    """What a reference names is not there, or can't be called."""


@dataclass(frozen=True)
class Reference:
    """A reference as it is written: the module, and the steps from it, names and calls."""

    text: str
    module: str
    steps: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> Reference:
        """The reference that a text spells.

        Raises:
            ValueError: it is not of the form.
        """
        if not _FORM.fullmatch(text):
            raise ValueError(f"{text!r} is not of the form module:name")
        module, _, path = text.partition(":")
        return cls(text, module, tuple(re.findall(rf"{_NAME}|\(\)", path)))

    @property
    def calls(self) -> bool:
        """Whether anything is called on the way."""
        return _CALL in self.steps

    def load(self, results: MutableMapping[str, Any] | None = None) -> Any:
        """Import the module, go the steps, and return the object at the end.

        The result of a call is kept in ``results``, and taken from there the next time.

        Raises:
            Exception: whatever the application's code raises.
        """
        module: Any = importlib.import_module(self.module)
        return self._walk(module, {} if results is None else results, may_call=True)

    def load_anew(self, results: MutableMapping[str, Any]) -> Any:
        """As :meth:`load`, but for a call at the end, which is made each time."""
        found: Any = importlib.import_module(self.module)
        if self.steps[-1] != _CALL:
            return self._walk(found, results, may_call=True)
        before = Reference(self.text.removesuffix(_CALL), self.module, self.steps[:-1])
        return before._walk(found, results, may_call=True)()

    def function(self) -> Callable[..., Any]:
        """Import the module, and return what is there to be called.

        Raises:
            NotAFunction: nothing is there, or something else.
            Exception: whatever the application's code raises.
        """
        found: Any = importlib.import_module(self.module)
        for step in self.steps:
            if not hasattr(found, step):
                raise NotAFunction(f"{self.module} has no {step}")
            found = getattr(found, step)
        if not callable(found):
            raise NotAFunction(f"it is {found!r}")
        return found  # type: ignore[no-any-return]

    def present(self, results: MutableMapping[str, Any]) -> Any:
        """The object, if it exists already: nothing is imported, nothing is called.

        Raises:
            NotThere: the module is not imported, or a call was not made.
            Exception: whatever the application's code raises.
        """
        module = sys.modules.get(self.module)
        if module is None:
            raise NotThere(self.module)
        return self._walk(module, results, may_call=False)

    def _walk(self, value: Any, results: MutableMapping[str, Any], *, may_call: bool) -> Any:
        spelled = f"{self.module}:"
        for step in self.steps:
            spelled += step if step == _CALL or spelled.endswith(":") else f".{step}"
            if step != _CALL:
                value = getattr(value, step)
            elif spelled in results:
                value = results[spelled]
            elif may_call:
                value = results[spelled] = value()
            else:
                raise NotThere(spelled)
        return value

    def is_in_the_making(self) -> bool:
        """Whether its module, or one of the same package, is being imported at the moment."""
        package = self.module.partition(".")[0]
        return any(
            getattr(getattr(module, "__spec__", None), "_initializing", False)
            for name, module in list(sys.modules.items())
            if name == package or name.startswith(f"{package}.")
        )
