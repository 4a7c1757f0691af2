"""The spelling of paths in digests, manifests and messages, the same on every machine."""

from __future__ import annotations

import fnmatch
import functools
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

# The folders into which libraries are installed.
_INSTALLED = frozenset({"dist-packages", "site-packages"})


@dataclass(frozen=True)
class Spelling:
    """Names for paths, and paths for names.

    A path is spelled relative to ``root``, with slashes. What lies below one of ``elsewhere``,
    Alembic's folders outside the root, is spelled ``<folder>/…``: they may be inside an installed
    package, and nothing depends on where that is installed.
    """

    root: str
    elsewhere: Sequence[str] = ()

    @functools.cached_property
    def _start(self) -> str:
        return beginning(self.root)

    @functools.cached_property
    def _titles(self) -> Sequence[tuple[str, str]]:
        """The folders outside the root, each with a name of its own."""
        titles: list[tuple[str, str]] = []
        for number, folder in enumerate(self.elsewhere):
            title = f"<{os.path.basename(folder)}>"
            is_taken = any(title == other for _, other in titles)
            titles.append((folder, f"<{os.path.basename(folder)} {number}>" if is_taken else title))
        return titles

    def name(self, path: str) -> str:
        """The name of an absolute path."""
        start = self._start
        if path.startswith(start):
            # Plain text, since there are hundreds.
            name = path[len(start) :]
            return f"./{name}" if name[:1] == "<" else name
        for folder, title in self._titles:
            start = beginning(folder)
            if path.startswith(start):
                return f"{title}/{path.removeprefix(start).replace(os.sep, '/')}"
        return _escaped(os.path.relpath(path, self.root).replace(os.sep, "/"))

    def path(self, name: str) -> str:
        """The path that a name stands for."""
        for folder, title in self._titles:
            if name.startswith(f"{title}/"):
                return os.path.normpath(os.path.join(folder, name.removeprefix(f"{title}/")))
        return os.path.normpath(os.path.join(self.root, name))


def beginning(folder: str | os.PathLike[str]) -> str:
    """How the paths of all that is below a folder begin; that of the topmost is its own name."""
    return os.path.join(folder, "")


def is_librarys(path: str) -> bool:
    """Whether a folder of a path is one into which libraries are installed.

    The path is best without what leads to the project: that may be called anything.
    """
    return not _INSTALLED.isdisjoint(path.split(os.sep))


def is_ignored(name: str, patterns: Sequence[str]) -> bool:
    """Whether a pattern fits a name or a folder above it; ``*`` stands for slashes too."""
    return any(fnmatch.fnmatchcase(path, p) for p in patterns for path in _and_above(name))


def _and_above(name: str) -> Iterator[str]:
    while name:
        yield name
        name = name.rpartition("/")[0]


def _escaped(name: str) -> str:
    # Settings are spelled <setting>, beside the files.
    return f"./{name}" if name.startswith("<") else name
