"""How a test comes by its clone and what becomes of it: the strategy named by ``clones``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from alembic_snapshot.errors import ConfigError

if TYPE_CHECKING:
    from alembic_snapshot.backend import CloneSource
    from alembic_snapshot.build.snapshot import Snapshot
    from alembic_snapshot.database.clone import Clone
    from alembic_snapshot.engines.redirect import EngineRedirect
    from alembic_snapshot.project.callsite import Site


@dataclass(frozen=True)
class CloneOptions:
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

    def begin(self, snapshot: Snapshot, clone_options: CloneOptions) -> Clone:
        """A clone that holds what the snapshot holds."""

    def end(self, clone: Clone) -> list[Site | None]:
        """Take the engines off; the lines that had taken connections that were still in use."""

    def dispose(self, clone: Clone, kept: Path | None) -> None:
        """Undo or delete what the test left, or move it to ``kept``."""

    def close(self) -> None:
        """Delete what is left at the end of the run."""


@dataclass
class NewDatabaseEachTest:
    """A new database and new connections for each test."""

    redirect: EngineRedirect
    source: CloneSource

    def begin(self, snapshot: Snapshot, clone_options: CloneOptions) -> Clone:
        """A clone of its own."""
        clone = self.source.take(snapshot, read_only=clone_options.readonly)
        clone.durable = clone_options.durable
        self.redirect.point(clone, durable=clone_options.durable)
        return clone

    def end(self, clone: Clone) -> list[Site | None]:
        """Close every connection."""
        held = self.redirect.release()
        clone.close()
        return held

    def dispose(self, clone: Clone, kept: Path | None) -> None:
        """Delete the database, or keep it."""
        if kept is not None and clone.made:
            clone.keep(kept)
        else:
            clone.delete()

    def close(self) -> None:
        """Delete what is left at the end of the run."""
        self.source.close()
