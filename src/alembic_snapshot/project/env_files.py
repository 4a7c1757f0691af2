"""The ``.env`` files of a project: which there are, and what they say."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

_NAME = ".env"
_LINE = re.compile(
    r"""^[ \t]*(?:export[ \t]+)?([A-Za-z_]\w*)[ \t]*=[ \t]*"""
    r"""(?:"([^"\n]*)"|'([^'\n]*)'|([^\n]*?))[ \t]*(?:[ \t]\#[^\n]*)?$""",
    re.MULTILINE,
)


def folders(root: Path) -> list[Path]:
    """The folders that may have one: the project's, and those above it in its repository."""
    above = [root, *root.parents]
    top = next((index for index, folder in enumerate(above) if (folder / ".git").exists()), 0)
    return above[: top + 1]


def values(root: Path) -> dict[str, str]:
    """What the files say; the nearest counts. What can't be read says nothing."""
    found: dict[str, str] = {}
    for folder in reversed(folders(root)):
        found |= assigned(folder / _NAME)
    return found


def assigned(path: Path) -> dict[str, str]:
    """What one file says."""
    with contextlib.suppress(OSError, ValueError):
        lines = _LINE.findall(path.read_text(encoding="utf-8"))
        return {variable: next(filter(None, texts), "") for variable, *texts in lines}
    return {}
