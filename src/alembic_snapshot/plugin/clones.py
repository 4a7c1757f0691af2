"""How a test comes by its clone and what becomes of it: the strategy named by ``clones``."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from alembic_snapshot.errors import ConfigError
from alembic_snapshot.snapshot import Clone, ReadOnlyClone, Snapshot
from alembic_snapshot.sqlite import files

if TYPE_CHECKING:
    from alembic_snapshot.callsite import Site
    from alembic_snapshot.plugin.pointing import Pointer


@dataclass(frozen=True)
class Wish:
    """What a test asks of its database; the arguments of the marker.

    Raises:
        ConfigError: two of them contradict each other, or one is of the wrong type.
    """

    layer: str | None = None
    revision: str | None = None
    empty: bool = False
    durable: bool = False
    readonly: bool = False

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            is_name = name in ("layer", "revision")
            if not isinstance(value, str | None if is_name else bool):
                raise ConfigError(
                    f"db_clone does not take {name}={value!r}",
                    hint=f"{name} is " + ("one name, in quotes" if is_name else "True or False"),
                )
        chosen = [f"{name}=…" for name in ("layer", "revision", "empty") if getattr(self, name)] + (
            ["readonly=…"] if self.readonly and self.empty else []
        )
        if len(chosen) > 1:
            raise ConfigError(
                f"a clone can't have {' and '.join(chosen)} at once",
                hint="a layer is on top of the newest revision; an empty database has neither",
            )

    @property
    def key(self) -> tuple[str | None, str | None]:
        """Which snapshot it is about."""
        return self.layer, self.revision


class Strategy(Protocol):
    """Lends a database to one test at a time, with the engines pointed at it."""

    def begin(self, snapshot: Snapshot, wish: Wish) -> Clone:
        """A clone that holds what the snapshot holds."""

    def end(self, clone: Clone) -> list[Site | None]:
        """Take the engines off; the lines that had taken connections that were still in use."""

    def dispose(self, clone: Clone, kept: Path | None) -> None:
        """Undo or delete what the test left, or move it to ``kept``."""

    def close(self) -> None:
        """Delete what is left at the end of the run."""


@dataclass
class Anew:
    """What all strategies share that make a new database and new connections for each test."""

    pointer: Pointer

    def end(self, clone: Clone) -> list[Site | None]:
        """Close every connection."""
        held = self.pointer.release()
        clone.close()
        return held

    def dispose(self, clone: Clone, kept: Path | None) -> None:
        """Delete the database, or keep it."""
        if kept is not None and clone.made:
            clone.keep(kept)
        else:
            clone.delete()


@dataclass
class Fresh(Anew):
    """A new file for each test. ``on_make`` is told the seconds of a copy."""

    folder: Callable[[], Path]
    on_make: Callable[[float], None]
    _numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
    _process: int = field(default_factory=os.getpid)

    def begin(self, snapshot: Snapshot, wish: Wish) -> Clone:
        """A clone at a path of its own, copied when it is first needed."""
        if wish.readonly:
            clone: Clone = ReadOnlyClone(snapshot)
        else:
            clone = Clone(snapshot, self.next_path(), self.on_make)
        clone.durable = wish.durable
        self.pointer.point(clone, durable=wish.durable)
        return clone

    def close(self) -> None:
        """Nothing is left: each test's clone went with the test."""

    def next_path(self) -> Path:
        """A path that no clone has had."""
        # Test processes that are forked for each test count alike.
        process = "" if os.getpid() == self._process else f"-{os.getpid()}"
        name = f"{self.pointer.project.name}-{next(self._numbers)}{process}{files.SUFFIX}"
        return self.folder() / name
