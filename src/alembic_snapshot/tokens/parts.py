"""What a snapshot is made of, in a few characters each, and how two of them differ in words."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping

BASE = "base"
# Of a long history the newest revisions: the older ones change with nothing.
_NEWEST = 20
_VERSION = "<version of "
_SHORT = 6


def parts_of(layers: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """The parts of a snapshot from the inputs of its layers, by the layers' names in their order.

    Versions are spelled out, everything else is a short hash.
    """
    base = layers.get(BASE, {})
    parts = {name: value for name, value in base.items() if name.startswith(_VERSION)}
    settings = {n: v for n, v in base.items() if n.startswith("<") and n not in parts}
    parts["<settings>"] = _short(settings)
    parts |= {name: _short(value) for name, value in base.items() if not name.startswith("<")}
    others = [name for name in layers if name != BASE]
    for name in others[-_NEWEST:]:
        parts[f"layer {name}"] = _short(layers[name])
    return parts


def differences(there: Mapping[str, str], here: Mapping[str, str]) -> Iterator[str]:
    """How the parts here differ from those of a token, a line each."""
    for name in [*there, *(one for one in here if one not in there)]:
        what = name.removeprefix("layer ")
        if name not in here:
            yield f"{what} is gone"
        elif name not in there:
            yield f"{what} is new"
        elif here[name] != there[name]:
            change = (
                f" ({there[name]} there, {here[name]} here)" if name.startswith(_VERSION) else ""
            )
            yield f"{what.strip('<>')} changed{change}"


def _short(value: object) -> str:
    text = json.dumps(value, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:_SHORT]
