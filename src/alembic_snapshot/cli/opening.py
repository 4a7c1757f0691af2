"""``open``: the database of a test that failed somewhere, made again here."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from alembic_snapshot.backend import backend_of
from alembic_snapshot.cli import console
from alembic_snapshot.cli.options import (
    database_is_named,
    json_option,
    no_remote_option,
    on_project,
    print_facts,
    project_of,
    refuse_both,
    tell_of_ending,
)
from alembic_snapshot.errors import CommandError, SnapshotError
from alembic_snapshot.project.commands import own_command
from alembic_snapshot.project.config import Project
from alembic_snapshot.tokens.parts import differences, parts_of
from alembic_snapshot.tokens.token import Token, read_argument

if TYPE_CHECKING:
    from alembic_snapshot.build.lookup import Status
    from alembic_snapshot.build.process import Listener
    from alembic_snapshot.build.snapshot import Snapshot
    from alembic_snapshot.database.target import Target

_MOST_REASONS = 10
_CHECK_OUT = "check out the commit that the test ran on, and open the token there"


@dataclasses.dataclass(frozen=True)
class Opened:
    """What came of a token. ``target`` is None where no database was made.

    ``reasons`` say why there is none, or how it differs from that of the test.
    """

    token: Token
    target: Target | None
    reasons: Sequence[str]
    notes: Sequence[str] = ()
    difference: Mapping[str, Any] | None = None

    def to_record(self) -> dict[str, Any]:
        """The facts for ``--json``."""
        target = self.target
        return {
            "opened": target is not None,
            "same": target is not None and not self.reasons,
            "test": self.token.test,
            "database": self.token.database,
            "key": self.token.key,
            "path": target.name if target else None,
            "url": target.url() if target else None,
            "command": target.opening if target else None,
            "reasons": list(self.reasons),
            "notes": list(self.notes),
            "difference": self.difference,
        }

    def __str__(self) -> str:
        # It came from elsewhere, and must not look like a line of ours.
        test = " ".join(self.token.test.split())
        if self.target is None:
            head = f"not opened: the snapshot of {test} is another one"
            return "\n".join([head, *self._told(), f"hint: {_CHECK_OUT}"])
        if self.reasons:
            head = f"{self.target.name}\nit differs from the database of {test}:"
            return "\n".join([head, *self._told(), f"open it: {self.target.opening}"])
        return f"{self.target.name}\nopen it: {self.target.opening}"

    def _told(self) -> list[str]:
        more = len(self.reasons) - _MOST_REASONS
        lines = [f"  {reason}" for reason in self.reasons[:_MOST_REASONS]]
        return [*lines, f"  … {more} more"] if more > 0 else lines


def open_token(
    project: Project, token: Token, name: str | None, rows: int, listener: Listener
) -> Opened:
    """Make a database that is that of the test.

    Raises:
        CommandError: the token is for another kind of database, or what it has can't be applied.
        SnapshotError: the snapshot can't be had, or the database can't be made.
    """
    if token.backend != project.backend:
        raise CommandError(
            f"the token is of a test on {token.backend}, and the project here is on "
            f"{project.backend}",
            hint="ALEMBIC_SNAPSHOT_BACKEND chooses, if the project has both",
        )
    backend = backend_of(project)
    if name is not None:
        backend.refuse_taken(name)
    snapshot, reasons, notes = _snapshot(project, token, listener)
    if snapshot is None:
        return Opened(token, None, reasons)
    clone = snapshot.clone(name or backend.free_name(token.identity))
    try:
        was = backend.fingerprint(clone.target)
        try:
            now = backend.apply(clone.target, token.changes)
        except CommandError as error:
            if was == token.before:
                raise
            raise CommandError(
                f"{error.message}; the snapshot here has other rows or another schema than there",
                hint="do the migrations or seeds put in something of the moment?",
            ) from error
        difference = clone.target.diff(snapshot.entry.database if snapshot.entry else None, rows)
    except BaseException:
        clone.delete()
        raise
    different: list[str] = []
    if now.whole != token.after.whole:
        if was == token.before:
            clone.delete()
            raise CommandError(
                "the token's changes give another database than its hash says",
                hint="nothing of it is left; where is the token from?",
            )
        tables = sorted(dict(now.tables.items() ^ token.after.tables.items()))
        what = f"the rows of {', '.join(tables)}" if tables else "the schema, or a counter"
        different = [
            f"{what}: the snapshot here is not what it was there, although it has the same key"
        ]
    if name is None:
        backend.note_opened(clone.target)
    return Opened(token, clone.target, different, notes, difference.to_record())


def _snapshot(
    project: Project, token: Token, listener: Listener
) -> tuple[Snapshot | None, list[str], list[str]]:
    """The token's snapshot, or how the one of the code here differs; and what is to be said."""
    from alembic_snapshot.build.ensure import ensure
    from alembic_snapshot.build.lookup import look_up
    from alembic_snapshot.build.snapshot import Snapshot

    if token.is_empty:
        return Snapshot(project, None), [], []
    lookup = look_up(project, layer=token.layer, revision=token.revision)
    if lookup.chain.target.digest == token.key:
        snapshot = ensure(project, layer=token.layer, revision=token.revision, listener=listener)
        shared = snapshot.shared.warnings if snapshot.shared else ()
        return snapshot, [], [*snapshot.notes, *shared]
    here = parts_of({layer.name: layer.inputs for layer in lookup.chain.layers})
    reasons = list(differences(token.parts, here)) or ["an older revision changed"]
    stored = _stored(project, lookup, token)
    if stored is not None:
        return stored, [], [f"the code here makes another snapshot: {one}" for one in reasons]
    return None, reasons, []


def _stored(project: Project, lookup: Status, token: Token) -> Snapshot | None:
    """The token's snapshot, if an earlier build has left it in the store."""
    from alembic_snapshot.build.lookup import suits
    from alembic_snapshot.build.snapshot import Snapshot

    for entry in lookup.store.entries():
        is_it = entry.manifest.digest == token.key and suits(project, entry.manifest)
        if is_it and lookup.store.is_intact(entry):
            return Snapshot(project, entry)
    return None


@click.command(name="open")
@on_project
@no_remote_option
@json_option
@click.option("--rows", type=click.IntRange(min=0), default=5, show_default=True,
              help="How many rows of a table --json has.")  # fmt: skip
@click.option("--at", metavar="PATH", help="Where to put the database: a path, or its name on "
              "PostgreSQL (default: in the store's folder).")  # fmt: skip
@click.option("--print", "only_print", is_flag=True, help="Only make it, and print where it is.")
@click.argument("token")
def open_(
    token: str, rows: int, at: str | None, only_print: bool, as_json: bool, **where: Any
) -> int:
    """Make a failed test's database again.

    TOKEN is in the test's report. It may also be a file with the token. On a terminal, sqlite3 or
    psql opens the database. Exit 0: it is that database. Exit 1: the database differs, or the code
    here makes another snapshot, and nothing is made.
    """
    from alembic_snapshot.build.progress import Progress

    refuse_both(("--json", as_json), ("--print", only_print))
    read = read_argument(token)
    if not database_is_named():
        where = {**where, "database": read.database}
    project = project_of(where)
    with Progress() as progress:
        opened = open_token(project, read, at, rows, progress)
    console.warn(opened.notes)
    print_facts(opened.to_record(), str(opened), as_json)
    if as_json and opened.target is not None:
        tell_of_ending(project, opened.target)
    if opened.target is not None and at is None:
        pruned = own_command(project, "prune", "--older-than", "7d")
        print(f"it stays until `{pruned}` finds it so old", file=sys.stderr)
    if opened.target is not None and not (as_json or only_print) and sys.stdin.isatty():
        console.finish()
        _open_shell(project, opened.target)
    return 1 if opened.reasons else 0


def _open_shell(project: Project, target: Target) -> None:
    """Run the database's shell, or say why not."""
    try:
        reason = (
            "its shell is not on this machine"
            if backend_of(project).open_shell(target) is None
            else None
        )
    except SnapshotError as error:
        reason = error.message
    if reason is not None:
        console.warn([f"no shell was opened: {reason}; another program can use this URL:"])
        console.show(target.url(), is_url=True)
        tell_of_ending(project, target)
