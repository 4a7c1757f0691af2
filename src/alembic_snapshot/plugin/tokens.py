"""The token of a failing test's database: a line of its report, or a file beside what is kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from alembic_snapshot.backend import backend_of
from alembic_snapshot.errors import SnapshotError
from alembic_snapshot.plugin.outside import ENDS_THE_RUN, reason
from alembic_snapshot.tokens.changeset import NotCarried
from alembic_snapshot.tokens.parts import parts_of
from alembic_snapshot.tokens.token import LINE_LIMIT, SUFFIX, Token

if TYPE_CHECKING:
    from alembic_snapshot.build.snapshot import Snapshot
    from alembic_snapshot.database.clone import Clone

Wanted = tuple[str | None, str | None]
PROPERTY, FILE_PROPERTY = "alembic_snapshot_token", "alembic_snapshot_token_file"
_OPEN = "open it on any machine: alembic-snapshot open"
_COPY = "copy this file, and open it on any machine: alembic-snapshot open"


class Note(NamedTuple):
    """A report's line about a token, and the property of the test that has it, if there is one."""

    line: str
    property: tuple[str, str] | None = None


def note_of(
    clone: Clone, test: str, wanted: Callable[[Snapshot], Wanted], kept: Path | None
) -> Note | None:
    """What is said of a failed test's token; None if there is nothing to be made one of.

    ``wanted`` says with which layer and revision a snapshot was asked for. ``kept`` is where its
    database is going to be. Whatever goes wrong is the reason why there is no token.
    """
    if not clone.made or clone.is_read_only or clone.snapshot.project.tokens == "off":
        return None
    try:
        line = token_of(clone, test, wanted).to_line()
        if len(line) <= LINE_LIMIT:
            return Note(f"{_OPEN} {line}", (PROPERTY, line))
        size = f"{len(line) // 1000} kB"
        if kept is None:
            return Note(
                f"no token: it has {size}, and no database is kept that it could lie beside"
            )
        file = kept.with_name(kept.name + SUFFIX)
        with open(file, "w", encoding="ascii") as written:
            written.write(line + "\n")
        return Note(f"{_COPY} {file}", (FILE_PROPERTY, str(file)))
    except NotCarried as error:
        return Note(f"no token: {error}")
    except SnapshotError as error:
        return Note(f"no token: {error.message}")
    except ENDS_THE_RUN:
        raise
    except Exception as error:
        first = str(error).partition("\n")[0]
        return Note(f"no token: {type(error).__name__}: {first}")
    except BaseException as error:
        return Note(f"no token: {reason(error)}")


def token_of(clone: Clone, test: str, wanted: Callable[[Snapshot], Wanted]) -> Token:
    """The token of a clone as it is at the moment.

    Raises:
        NotCarried: something in it can't travel.
        SnapshotError: it can't be read.
    """
    snapshot = _root(clone.snapshot)
    entry, project = snapshot.entry, snapshot.project
    before = None if entry is None else entry.database
    changes, was, now = backend_of(project).capture(before, clone.target)
    layer, revision = wanted(snapshot)
    return Token(
        backend=project.backend,
        database=project.name,
        test=test,
        key=entry.manifest.digest if entry else "",
        changes=changes,
        before=was,
        after=now,
        layer=layer,
        revision=revision,
        is_empty=entry is None,
        parts=parts_of(entry.manifest.layers) if entry else {},
    )


def _root(snapshot: Snapshot) -> Snapshot:
    """The snapshot that checkpoints stand on."""
    for checkpoint in snapshot.checkpoints():
        if checkpoint.parent is not None:
            snapshot = checkpoint.parent
    return snapshot
