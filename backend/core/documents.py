"""Columns of JSON: what is changed inside of one is saved, and what no JSON can say is refused."""

import json
from collections.abc import Callable
from functools import cached_property
from typing import Any

from sqlalchemy import JSON
from sqlalchemy.exc import DontWrapMixin
from sqlalchemy.ext.mutable import Mutable

from core.errors import AtomError, said


class NotJSON(AtomError, ValueError, DontWrapMixin):
    """A value that JSON can't say, or that some database does not take for JSON."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(f"not JSON: {said(cause)}")


def to_json(value: object) -> str:
    """The value as text that every database takes for JSON; PostgreSQL knows no NaN.

    Raises:
        NotJSON: there is no such text.
    """
    try:
        return json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise NotJSON(error) from error


class Document(JSON):
    """JSON that knows when something in it is changed, however deep.

    What is assigned is copied. What is changed in the attribute's own value is saved.
    """


class _Holders(dict[Any, str]):
    """By the state of each object that has the document, the attribute; it keeps the object.

    A session forgets an object that nobody holds, and with it what was changed of it.
    """

    def __init__(self) -> None:
        super().__init__()
        self._kept: dict[Any, object] = {}

    def __setitem__(self, state: Any, key: str) -> None:
        self._kept[state] = state.obj()
        super().__setitem__(state, key)

    def pop(self, state: Any, *default: Any) -> Any:
        self._kept.pop(state, None)
        return super().pop(state, *default)


class Part(Mutable):
    """A dictionary or a list of a document; a change of it is one of what it is in."""

    _owner: "Part | None" = None

    @cached_property
    def _parents(self) -> Any:
        return _Holders()

    def changed(self) -> None:
        """Let the object that has the document know that it has to be saved."""
        if self._owner is None:
            super().changed()
        else:
            self._owner.changed()

    @classmethod
    def coerce(cls, key: str, value: Any) -> Any:
        """The value as a document of its own."""
        return _part(value, None)

    def _adopt(self, value: Any) -> Any:
        """The value as a part of this; one that is already stays as it is."""
        is_ours = isinstance(value, Part) and value._owner is self
        return value if is_ours else _part(value, self)


class _Object(Part, dict[str, Any]):
    def _take(self) -> None:
        for key, value in self.items():
            dict.__setitem__(self, key, self._adopt(value))

    def setdefault(self, key: str, default: Any = None) -> Any:
        if key not in self:
            self[key] = default
        return self[key]

    def __reduce_ex__(self, _protocol: Any) -> Any:
        return _part, (dict(self), None)


class _Array(Part, list[Any]):
    def _take(self) -> None:
        for place, value in enumerate(self):
            list.__setitem__(self, place, self._adopt(value))

    def __reduce_ex__(self, _protocol: Any) -> Any:
        return _part, (list(self), None)


def _part(value: Any, owner: Part | None) -> Any:
    """A copy of a dictionary or a list that tells of its changes; all else is what it is."""
    if not isinstance(value, dict | list):
        return value
    made = _Object(value) if isinstance(value, dict) else _Array(value)
    made._owner = owner
    made._take()
    return made


def _telling(change: Callable[..., Any]) -> Callable[..., Any]:
    def told(self: Any, *arguments: Any, **named: Any) -> Any:
        result = change(self, *arguments, **named)
        self._take()
        self.changed()
        return result

    return told


for _kind, _names in (
    (_Object, "__setitem__ __delitem__ __ior__ clear pop popitem update"),
    (
        _Array,
        "__setitem__ __delitem__ __iadd__ __imul__"
        " append clear extend insert pop remove reverse sort",
    ),
):
    for _name in _names.split():
        setattr(_kind, _name, _telling(getattr(_kind, _name)))

Part.associate_with(Document)
