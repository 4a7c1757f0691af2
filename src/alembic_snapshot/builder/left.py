"""The values that ``env.py`` leaves for the revisions, beside the options of ``configure()``.

Attributes of the configuration and changed variables are noted as far as revisions ask for them,
so that a later run of ``env.py`` alone can tell whether they would get the same. A value that can't
be compared makes ``env.py``'s modules inputs of the revision that took it.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable, Collection
from typing import Any

from alembic_snapshot.builder.options import is_comparable, spelled
from alembic_snapshot.builder.watch import Watch
from alembic_snapshot.key.observed import ALL, is_of_surroundings

# What the builder itself sets, and where the file lies.
_WITHOUT_MEANING = ("here", "script_location", "sqlalchemy.url", "version_locations")
_ATTRIBUTE, _VARIABLE = "<attribute ", "<variable "


class LeftByEnv:
    """Notes which attributes, variables and options revisions take, and tells their values.

    ``asked`` are the names, as :meth:`handed_over` spells them, that earlier runs took; ``spell``
    makes a text the same wherever the project and its database lie.
    """

    def __init__(self, watch: Watch, asked: Collection[str], spell: Callable[[str], str]):
        self._watch = watch
        self._spell = spell
        self._attributes = {_inner(name) for name in asked if name.startswith(_ATTRIBUTE)}
        self._variables = {_inner(name) for name in asked if name.startswith(_VARIABLE)}
        self._given = _environment()
        self._left: dict[str, str] | None = None
        self._config: Any = None
        self._settings = ""

    def begin(self, config: Any, context: Any) -> None:
        """Note what ``env.py`` has done, when it lets the revisions run."""
        self._left = self._left or _environment()
        self._config = config
        self._settings = self._settings or self._settings_of(config)
        config.__dict__["attributes"] = _Heard(self._on_attribute, config.attributes)
        context.opts = _Heard(self._on_option, context.opts)

    def handed_over(self) -> dict[str, str]:
        """The attributes and variables that revisions asked for, by names in angle brackets."""
        if self._left is None:
            return {}
        attributes = dict(dict.items(self._config.attributes))
        values = {
            f"{_ATTRIBUTE}{name}>": spelled(attributes[name]) if name in attributes else "unset"
            for name in self._attributes - {ALL}
        }
        if ALL in self._attributes:
            values[f"{_ATTRIBUTE}{ALL}>"] = str(sorted(map(str, attributes)))
        values["<settings>"] = self._settings
        asked = self._variables | self._watch.record.variables()
        if ALL in asked:
            names = self._given.keys() | self._left.keys()
            changed = [n for n in sorted(names) if not is_of_surroundings(n) and self._changed(n)]
            values[f"{_VARIABLE}{ALL}>"] = str({name: self._changed(name) for name in changed})
        for name in asked - {ALL}:
            values[f"{_VARIABLE}{name}>"] = self._changed(name) or "as it was given"
        return values

    def _settings_of(self, config: Any) -> str:
        """The digest of Alembic's settings as ``env.py`` has changed them."""
        parser = config.file_config
        settings = {
            (section, name): value
            for section in parser.sections()
            for name, value in parser.items(section, raw=True)
            if name not in _WITHOUT_MEANING
        }
        text = self._spell(str(sorted(settings.items())))
        return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()

    def _changed(self, name: str) -> str:
        """The digest of a variable's value, if ``env.py`` has changed it."""
        assert self._left is not None
        value = self._left.get(name)
        return "" if value == self._given.get(name) else _digest(name, value)

    def _on_attribute(self, name: Any, value: Any) -> None:
        if self._is_taken():
            self._attributes.add(str(name))
            if not is_comparable(value):
                self._watch.share_models()

    def _on_option(self, name: Any, value: Any) -> None:
        if self._is_taken() and not is_comparable(value) and name != "connection":
            self._watch.share_models()

    def _is_taken(self) -> bool:
        """Whether the project's code asks, for a revision, and not Alembic's own."""
        name = sys._getframe(4).f_code.co_filename
        return self._watch.is_recording and not self._watch.frames.is_alembics(name)


class _Heard(dict[Any, Any]):
    """A dictionary that reports each key that is looked up, with its value or None."""

    def __init__(self, heard: Callable[[Any, Any], None], values: Any):
        super().__init__(dict.items(values))
        self._heard = heard

    def _one(self, name: Any) -> None:
        self._heard(name, dict.get(self, name))

    def _every(self) -> None:
        self._heard(ALL, None)
        for name, value in dict.items(self):
            self._heard(name, value)


def _telling(original: str, tell: Callable[..., None]) -> Callable[..., Any]:
    def method(heard: _Heard, *arguments: Any) -> Any:
        tell(heard, *(arguments[:1] if tell is _Heard._one else ()))
        return getattr(dict, original)(heard, *arguments)

    return method


for _name in ("__getitem__", "__contains__", "get", "pop", "setdefault"):
    setattr(_Heard, _name, _telling(_name, _Heard._one))
for _name in (
    "__iter__", "__reversed__", "__len__", "__or__", "__ror__", "__eq__", "__ne__", "__repr__",
    "keys", "values", "items", "popitem",
):  # fmt: skip
    setattr(_Heard, _name, _telling(_name, _Heard._every))


def _environment() -> dict[str, str]:
    return {os.fsdecode(k): os.fsdecode(v) for k, v in os.environ._data.items()}  # type: ignore[attr-defined]


def _inner(name: str) -> str:
    return name.partition(" ")[2].removesuffix(">")


def _digest(name: str, value: str | None) -> str:
    text = f"{name}\0{value}".encode("utf-8", "surrogateescape")
    return "unset" if value is None else hashlib.sha256(text).hexdigest()
