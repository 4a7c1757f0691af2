"""Mutants that no test can tell from the code, each with the reason: `equivalent.toml`."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from pathlib import Path

from .mutants import Mutant

FILE = Path(__file__).with_name("equivalent.toml")


class Known:
    """The entries of the file. Each names a module, its lines before and after, and why."""

    def __init__(self, text: str):
        self._entries = tomllib.loads(text).get("mutant", [])
        for entry in self._entries:
            if set(entry) != {"path", "before", "after", "why"}:
                raise ValueError(f"an entry has path, before, after and why: {entry}")
        self._whys = {(e["path"], e["before"], e["after"]): e["why"] for e in self._entries}

    @property
    def paths(self) -> set[str]:
        """The modules that have entries."""
        return {path for path, _, _ in self._whys}

    def why(self, mutant: Mutant, text: str) -> str | None:
        """The reason why a mutant is known, if it is."""
        return self._whys.get((mutant.path, *mutant.lines(text)))

    def gone(self, root: Path, every: Iterable[Mutant], only: str = "") -> list[str]:
        """The entries, of modules with ``only`` in their paths, that name no mutant any more."""
        missing = {key for key in self._whys if only in key[0]}
        texts = {
            path: (root / path).read_text()
            for path in {path for path, *_ in missing}
            if (root / path).exists()
        }
        for mutant in every:
            if mutant.path in texts and self._may_be(mutant, texts[mutant.path]):
                missing.discard((mutant.path, *mutant.lines(texts[mutant.path])))
        return [f"{path}: {before}" for path, before, _ in sorted(missing)]

    def _may_be(self, mutant: Mutant, text: str) -> bool:
        """To make a mutant costs much more than to look at its first line."""
        line = text.splitlines()[mutant.line - 1].strip()
        return any(path == mutant.path and line in before for path, before, _ in self._whys)
