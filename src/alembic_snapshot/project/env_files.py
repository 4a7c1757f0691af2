"""The ``.env`` files of a project: which there are, and what they say."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

_NAME = ".env"
_LINE = re.compile(
    r"""^[ \t]*(?:export[ \t]+)?([A-Za-z_]\w*)[ \t]*=[ \t]*"""
    r"""(?:"((?:[^"\\\n]|\\.)*)"|'((?:[^'\\\n]|\\.)*)'|([^\n]*?))[ \t]*(?:[ \t]\#[^\n]*)?$""",
    re.MULTILINE,
)
# As python-dotenv has them, which most libraries for settings use.
_REFERENCE = re.compile(r"\$\{([^}:]*)(?::-([^}]*))?\}")
_IN_DOUBLE_QUOTES = re.compile(r"""\\([\\'"abfnrtv])""")
_IN_SINGLE_QUOTES = re.compile(r"""\\([\\'])""")
_ESCAPED = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


def folders(root: Path) -> list[Path]:
    """The folders that may have one: the project's, and those above it in its repository."""
    above = [root, *root.parents]
    top = next((index for index, folder in enumerate(above) if (folder / ".git").exists()), 0)
    return above[: top + 1]


def values(root: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """What the files say; the nearest counts. What can't be read says nothing."""
    found: dict[str, str] = {}
    for folder in reversed(folders(root)):
        found |= assigned(folder / _NAME, environ)
    return found


def assigned(path: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """What one file says; ``${NAME}`` in it is what stands above it, or a variable's value."""
    found: dict[str, str] = {}
    try:
        # Another encoding's letters keep no line from being read.
        text = path.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return found
    for name, double, single, plain in _LINE.findall(text):
        value = _IN_DOUBLE_QUOTES.sub(_unescaped, double)
        value = value or _IN_SINGLE_QUOTES.sub(_unescaped, single) or plain
        known = {**environ, **found}
        found[name] = _REFERENCE.sub(lambda m, known=known: known.get(m[1], m[2] or ""), value)
    return found


def _unescaped(found: re.Match[str]) -> str:
    return _ESCAPED.get(found[1], found[1])
