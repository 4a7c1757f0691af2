"""The tree of errors: each says what happened and where, and hints at the next action."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import Any, ClassVar

from alembic_snapshot.masking import masked

# What a terminal obeys, or no encoding has: all but a new line and a tab.
_NOT_SHOWN = re.compile(
    "[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\\u202a-\\u202e\\u2066-\\u2069\\ud800-\\udfff]"
)


def printable(text: str) -> str:
    """Somebody else's text without passwords that are known, for a terminal or a log.

    Control characters are spelled out.
    """
    return spelled_out(masked(text))


def spelled_out(text: str) -> str:
    """A text with its control characters spelled out: none reaches a terminal."""
    return _NOT_SHOWN.sub(lambda match: ascii(match[0])[1:-1], text)


class SnapshotError(Exception):
    """Base of every error that this library raises; never raised itself.

    The message is one clause in lower case that names the thing and its place. ``hint`` gives the
    next action. ``details`` is longer text (a traceback, a list of differences) for those who ask.
    In all of them control characters are spelled out, and known passwords are ``***``.
    """

    kinds: ClassVar[dict[str, type[SnapshotError]]] = {}

    def __init__(self, message: str, *, hint: str | None = None, details: str | None = None):
        message = printable(message)
        super().__init__(message)
        self.message = message
        self.hint = hint and printable(hint)
        self.details = details and printable(details)

    def __init_subclass__(cls) -> None:
        # One that is a driver's error, too, has the name of the one that it is of ours.
        SnapshotError.kinds.setdefault(cls.__name__, cls)

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
    """PostgreSQL's programs or its server can't be had, or it refuses, is full or was lost.

    What a driver raises on a connection of ours is one of these, and the driver's error too.
    """


class CommandError(SnapshotError):
    """A command can't take what it was given, or can't write its result."""


class DatabaseNotRequested(SnapshotError):
    """A test that did not ask for a database opened one through the application's engine."""


@contextlib.contextmanager
def files_are_readable() -> Iterator[None]:
    """Tell what the operating system says of a file or folder of the project as our error.

    Raises:
        ConfigError: it names the file.
    """
    try:
        yield
    except OSError as error:
        what = error.filename if error.filename is not None else "the project's files"
        raise ConfigError(
            f"can't read {what}: {error.strerror or error}",
            hint="see what it is, and that whoever runs this may read it",
        ) from error


def from_record(record: dict[str, Any]) -> SnapshotError:
    """The error that :meth:`SnapshotError.to_record` described."""
    kind = SnapshotError.kinds.get(record["kind"], BuildError)
    return kind(record["message"], hint=record.get("hint"), details=record.get("details"))
