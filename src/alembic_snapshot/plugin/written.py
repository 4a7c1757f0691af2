"""What a failed test's report says of its SQL: the line that wrote each row, and the statements."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alembic_snapshot.checks import number
from alembic_snapshot.database.diff import Diff, Row, TableDiff, shortened
from alembic_snapshot.database.recording import FAILED, Recording, Step
from alembic_snapshot.database.target import SHOWN_ROWS
from alembic_snapshot.database.writers import Limit, Note, Written, every_row
from alembic_snapshot.plugin.outside import ENDS_THE_RUN, reason

if TYPE_CHECKING:
    from alembic_snapshot.database.clone import Clone
    from alembic_snapshot.project.callsite import Writer

# Rows of a kind that are compared with what the SQL gives, of which a few are shown.
_COMPARED = 2000
_MOST_LINES = 3
_MOST_VALUES = 12
_MOST_STATEMENTS = 200
# Seconds in which the SQL is run again; a report is waited for, and may have a time limit.
_MOST_SECONDS = 5.0
# The system's own, whatever a test puts in its place.
_clock = time.monotonic
_OUTSIDE = "code outside the project"
Ending = Callable[[TableDiff, Row, bool], str]


def with_writers(clone: Clone, clock: Callable[[], float] = _clock) -> str:
    """How a clone differs, as text, each row with the line of the project that wrote it.

    ``clock`` tells seconds.
    """
    whole = clone.diff(_COMPARED)
    shown = whole.cut(SHOWN_ROWS)
    return shown.text(_ending(clone, whole, clock)) if whole.tables else str(shown)


def _ending(clone: Clone, diff: Diff, clock: Callable[[], float]) -> Ending:
    """What ends each row's line. Only what ends the run is raised: a report is more than this."""
    root, recording = clone.snapshot.project.root, clone.recording
    entry = clone.snapshot.entry
    versions = entry.manifest.version_table if entry else "alembic_version"
    if recording is None:
        return lambda _table, _row, _is_gone: ""
    why = ""
    try:
        found = _best(clone, diff, recording, Limit(clock, clock() + _MOST_SECONDS, ENDS_THE_RUN))
    except ENDS_THE_RUN:
        raise
    except Exception as error:
        found, why = None, str(error).partition("\n")[0]
    except BaseException as error:
        found, why = None, reason(error)

    def ending(table: TableDiff, row: Row, is_gone: bool) -> str:
        if found is None and recording.migrations:
            return _beside_migrations(is_version=table.name == versions, is_known=False)
        if found is None:
            return f" ← not known: {why or 'its SQL can not be run again here'}"
        notes = found.of(table, row, is_gone=is_gone)
        if isinstance(notes, str) and recording.migrations:
            return _beside_migrations(is_version=table.name == versions, is_known=not notes)
        if isinstance(notes, str):
            return f" ← not known: {notes}" if notes else " ← not through an engine"
        return f" ← {_told(notes, root)}"

    return ending


def _beside_migrations(*, is_version: bool, is_known: bool) -> str:
    """What ends the line of a row that no SQL of the test's gives, where it ran migrations."""
    if is_version:
        return " ← a migration"
    if is_known:
        return " ← a migration, or not through an engine"
    return " ← not known: migrations ran meanwhile"


def _best(clone: Clone, diff: Diff, recording: Recording, limit: Limit) -> Written | None:
    """What explains the most rows: whether foreign keys were enforced, nobody has written down."""
    best: tuple[int, Written] | None = None
    with contextlib.closing(clone.replays()) as replays:
        for replay in replays:
            written = Written(diff, recording, replay, limit)
            unknown = sum(
                isinstance(written.of(table, row, is_gone=is_gone), str)
                for table, row, is_gone in every_row(diff)
            )
            if best is None or unknown < best[0]:
                best = unknown, written
            if not unknown:
                break
    return best[1] if best else None


def _told(notes: Sequence[Note], root: Path) -> str:
    lines: list[str] = []
    for note in notes:
        line = _line(note, root)
        line = f"{note.how}, after {line}" if note.how else line
        if line not in lines[-1:]:
            lines.append(line)
    if len(lines) > _MOST_LINES:
        lines = [lines[0], "…", lines[-1]]
    return ", then ".join(lines)


def _line(note: Note, root: Path) -> str:
    """The line that wrote; of an object that another function flushed, that which added it, too."""
    flushed = place(note.writer, root)
    if note.added is None or _function(note.added) == _function(note.writer):
        return flushed
    return f"{place(note.added, root)}, flushed by {flushed}"


def _function(writer: Writer | None) -> tuple[str, str] | None:
    return None if writer is None else (writer[0], writer[2])


def place(writer: Writer | None, root: Path) -> str:
    """A line of the project with its function."""
    if writer is None:
        return _OUTSIDE
    file, line, function = writer
    path = os.path.relpath(os.path.realpath(file), os.path.realpath(root))
    return f"{path}:{line} {function.rpartition('<locals>.')[2]}"


def sql(recording: Recording, root: Path) -> str:
    """The statements in their order, with values cut short, and where transactions ended."""
    numbers: dict[int, int] = {}
    for step in recording.steps:
        numbers.setdefault(step.connection, len(numbers) + 1)
    shown = recording.steps[-_MOST_STATEMENTS:]
    more = len(recording.steps) - len(shown)
    lines = [f"… {number(more, 'statement')} before"] if more else []
    for step in shown:
        which = f"[{numbers[step.connection]}] " if len(numbers) > 1 else ""
        lines.append(f"{which}{_statement(step, root)}")
    if recording.obstacle:
        lines.append(f"… {recording.obstacle}")
    return "\n".join(lines)


def _statement(step: Step, root: Path) -> str:
    if not step.statement:
        return step.kind.upper()
    text = " ".join(step.statement.split())
    values = _values(step.parameters, is_many=step.is_many)
    parts = [text, *([f"-- {values}"] if values else [])]
    if step.kind == FAILED:
        parts.append("-- failed")
    if step.writer is not None:
        parts.append(f"← {place(step.writer, root)}")
    return " ".join(parts)


def _values(parameters: Any, *, is_many: bool) -> str:
    if not parameters:
        return ""
    if is_many:
        rows = [_values(one, is_many=False) for one in parameters[:_MOST_LINES]]
        more = len(parameters) - len(rows)
        return ", ".join(rows) + (f", … {more} more" if more else "")
    if isinstance(parameters, Mapping):
        cells = [f"{name}={shortened(value)}" for name, value in parameters.items()]
    else:
        cells = [shortened(value) for value in parameters]
    hidden = len(cells) - _MOST_VALUES
    cells[_MOST_VALUES:] = [f"… {hidden} more"] if hidden > 0 else []
    return f"({', '.join(cells)})"
