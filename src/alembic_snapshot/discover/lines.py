"""A proposed table: its lines, each with a reason, and what the user has to know beside it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from alembic_snapshot.discover.layout import PytestSettings
from alembic_snapshot.discover.makers import Made, Model
from alembic_snapshot.discover.readers import Origin


@dataclass(frozen=True)
class Line:
    """One key of the table, its value, and why it is so."""

    key: str
    value: Any
    reason: str


@dataclass
class Proposal:
    """The lines to write, and the notes for the user.

    ``variables`` are those that tests need before they can import the application, with values.
    ``pytest`` is what pytest's own ``pythonpath`` lacks, and ``pytest_file`` where it has to be
    said if that is not ``pyproject.toml``. ``left_out`` are keys with the reason why they are not
    there; ``extras`` what to install, with the reason.
    """

    lines: list[Line] = field(default_factory=list)
    left_out: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    pytest: Line | None = None
    pytest_file: Path | None = None
    extras: dict[str, str] = field(default_factory=dict)
    models: list[Model] = field(default_factory=list)
    variables: dict[str, str] = field(default_factory=dict)
    is_async: bool = False
    settings: PytestSettings = field(default_factory=lambda: PytestSettings(None))

    def add(self, key: str, value: Any, reason: str) -> None:
        """Propose a line."""
        self.lines.append(Line(key, value, reason))


class Shown:
    """How places in a project are shown: their paths are relative to its folder."""

    def __init__(self, root: Path):
        self.root = root

    def name(self, path: Path) -> str:
        """A file or folder."""
        return Path(os.path.relpath(path, self.root)).as_posix()

    def line(self, maker: Made) -> str:
        """The line in which an engine or a session factory is made."""
        return f"{self.name(maker.source.path)} line {maker.line}"

    def at(self, origin: Origin) -> str:
        """The line of an origin."""
        return f"{self.name(origin.source.path)} line {origin.line}"

    def all_at(self, origins: Sequence[Origin]) -> str:
        """The places of several origins, each file once."""
        lines: dict[str, list[str]] = {}
        for origin in origins:
            lines.setdefault(self.name(origin.source.path), []).append(str(origin.line))
        return ", ".join(f"{name} line {', '.join(numbers)}" for name, numbers in lines.items())
