"""The tree of errors: each says what happened and where, and hints at the next action."""

from __future__ import annotations

from typing import Any, ClassVar


class SnapshotError(Exception):
    """Base of every error that this library raises; never raised itself.

    The message is one clause in lower case that names the thing and its place. ``hint`` gives the
    next action. ``details`` is longer text (a traceback, a list of differences) for those who ask.
    """

    kinds: ClassVar[dict[str, type[SnapshotError]]] = {}

    def __init__(self, message: str, *, hint: str | None = None, details: str | None = None):
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details = details

    def __init_subclass__(cls) -> None:
        SnapshotError.kinds[cls.__name__] = cls

    def __str__(self) -> str:
        return f"{self.message}\nhint: {self.hint}" if self.hint else self.message

    def __reduce__(self) -> Any:
        return from_record, (self.to_record(),)

    def to_record(self) -> dict[str, Any]:
        """The error as JSON, for processes that waited for the one that met it."""
        return {
            "kind": type(self).__name__,
            "message": self.message,
            "hint": self.hint,
            "details": self.details,
        }


class ConfigError(SnapshotError):
    """The configuration is missing, ambiguous or wrong."""


class ScriptError(SnapshotError):
    """The revision scripts do not form a history: a parent is missing, a file does not parse."""


class StoreError(SnapshotError):
    """The store can't be read or written."""


class BuildError(SnapshotError):
    """The builder did not produce the snapshot."""


class MigrationError(BuildError):
    """A revision, a seed or ``env.py`` raised an error while the snapshot was built."""


class GuardError(BuildError):
    """Something tried to open a database other than the snapshot under construction."""


class CheckError(SnapshotError):
    """A snapshot was built, and a check that was configured to be an error failed."""


class CloneError(SnapshotError):
    """A clone could not be made, put back or kept."""


class EngineError(SnapshotError):
    """The configured engine can't be pointed at a clone."""


class ServerError(SnapshotError):
    """PostgreSQL's programs can't be found, or the private server can't be made or started."""


class DatabaseNotRequested(SnapshotError):
    """A test that did not ask for a database opened one through the application's engine."""


def from_record(record: dict[str, Any]) -> SnapshotError:
    """The error that :meth:`SnapshotError.to_record` described."""
    kind = SnapshotError.kinds.get(record["kind"], BuildError)
    return kind(record["message"], hint=record.get("hint"), details=record.get("details"))
