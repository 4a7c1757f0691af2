"""The commands on what is kept: in the store, and in one that many machines share."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import click

from alembic_snapshot.backend import backend_of
from alembic_snapshot.checks import number, size
from alembic_snapshot.cli import console
from alembic_snapshot.cli.options import (
    Said,
    database_is_named,
    json_option,
    layers_of,
    on_project,
    on_snapshot,
    print_facts,
    print_json,
    print_said,
    project_of,
    projects_of,
    said_of_each,
    tell_of_ending,
    traceback_option,
)
from alembic_snapshot.cli.records import (
    counted_with_warnings,
    layer_in,
    seconds_of,
    snapshot_record,
    time_of,
)
from alembic_snapshot.errors import CommandError, printable
from alembic_snapshot.project.commands import own_command
from alembic_snapshot.project.config import Project
from alembic_snapshot.project.owner import identity, is_owned, owner
from alembic_snapshot.store.manifest import Entry, Manifest
from alembic_snapshot.store.opened import OpenedDatabase
from alembic_snapshot.store.store import Store

_NO_EDGE = 10_000

_every = click.option(
    "--all",
    "every",
    is_flag=True,
    help="Also those of others, on the server or in the store.",
)


@click.command(name="list")
@on_project
@json_option
@_every
@click.option("--remote", is_flag=True, help="List what is in the shared store instead, in the "
              "scopes that count here.")  # fmt: skip
def list_(as_json: bool, every: bool, remote: bool, **where: Any) -> int:
    """List this project's snapshots in the store, the latest first.

    It lists those of every database, unless --database names one. It says which are damaged or were
    changed.
    """
    project = project_of(where)
    if remote:
        return _list_remote(project, as_json)
    store = _store_of(project, where)
    found = store.entries()
    is_meant = _meant(project, every=every)
    entries = [
        (entry, store.is_intact(entry)) for entry in found if is_meant(entry.manifest.project)
    ]
    _tell_of_others(len(found) - len(entries))
    opened = _opened(project, every=every)
    _tell_of_opened(opened, project)
    unreadable = store.unreadable()
    for place in unreadable:
        print(f"damaged, or another version's, and never used: {place}", file=sys.stderr)
    if as_json:
        record = {
            "snapshots": [
                snapshot_record(
                    entry, project, layer=layer_in(entry.manifest, project), intact=is_intact
                )
                for entry, is_intact in entries
            ],
            "opened": [_opened_record(one) for one in opened],
            "unreadable": unreadable,
        }
        print_json(record)
        if entries or opened:
            tell_of_ending(project)
        return 0
    names = ("snapshot", "project", "heads", "layer", "seeds", "tables", "size", "made", "checks")
    rows = [_row(entry.manifest, project, is_intact) for entry, is_intact in entries]
    _print_table(names, rows)
    return 0


def _row(manifest: Manifest, project: Project, is_intact: bool) -> Sequence[str]:
    counted = counted_with_warnings(manifest, project) if "drift" in manifest.checks else ""
    return (
        manifest.digest[:12],
        manifest.project,
        " ".join(manifest.heads),
        layer_in(manifest, project) or "",
        str(len(manifest.seeds)),
        str(manifest.tables),
        size(manifest.size),
        time_of(manifest.created),
        counted if is_intact else "damaged or changed: never used",
    )


def _print_table(names: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(*names, box=None)
    for row in rows:
        table.add_row(*row)
    # A line for each, whatever reads it; only a terminal has an edge.
    Console(width=None if sys.stdout.isatty() else _NO_EDGE).print(table)


def _list_remote(project: Project, as_json: bool) -> int:
    from alembic_snapshot.cli.remote import ROW, listed, record_of, row_of

    records, warnings = listed(project)
    console.warn(warnings)
    if database_is_named():
        own = identity(project)
        records = [record for record in records if record.manifest.project == own]
    if as_json:
        print_json(
            [{**record_of(one), "layer": layer_in(one.manifest, project)} for one in records]
        )
        return 0
    rows = [[*row_of(one), layer_in(one.manifest, project) or ""] for one in records]
    _print_table((*ROW, "layer"), [[printable(text) for text in row] for row in rows])
    return 0


@click.command()
@on_snapshot
def push(layer: str | None, revision: str | None, as_json: bool, **where: Any) -> int:
    """Put the snapshot into the shared store.

    It goes into the scope of this run. It has to be built. push takes every named layer's snapshot,
    too, unless --layer or --revision names one. It takes those of every database, unless --database
    names one.
    """
    from alembic_snapshot.cli.remote import push as run

    projects = projects_of(where, layer=layer, revision=revision)

    def say(name: str) -> Said:
        project, layers = projects[name], dict[str, Said]()
        record, line, warnings = run(project, layer=layer, revision=revision)
        console.warn(warnings)
        for one in layers_of(project, layer, revision):
            of_layer, told, warnings = run(project, layer=one)
            console.warn(warnings)
            layers[one] = Said(of_layer, told)
            line += f"\nlayer {one}: {told}"
        return Said(record, line).with_layers(layers, line)

    return print_said(said_of_each(projects, say), as_json)


@click.command()
@on_snapshot
def pull(layer: str | None, revision: str | None, as_json: bool, **where: Any) -> int:
    """Fetch the snapshot from the shared store.

    Print its path. If the store here has it already, the shared store is not asked, and a line says
    so. pull fetches every named layer's snapshot, too, unless --layer or --revision names one. It
    fetches those of every database, unless --database names one. Exit 1: the shared store has none.
    """
    projects = projects_of(where, layer=layer, revision=revision)

    def say(name: str) -> Said:
        project = projects[name]
        first = _pulled(project, layer, revision)
        layers = {one: _pulled(project, one, None) for one in layers_of(project, layer, revision)}
        for one, told in layers.items():
            console.note(f"layer {one}: {told.text}")
        return first.with_layers(layers)

    return print_said(said_of_each(projects, say), as_json)


def _pulled(project: Project, layer: str | None, revision: str | None) -> Said:
    from alembic_snapshot.cli.remote import pull as run

    record, line, warnings, is_there = run(project, layer=layer, revision=revision)
    console.warn(warnings)
    if not record["asked"]:
        shared = record["remote"]["name"]
        console.note(f"the store here has it already: the shared store {shared} was not asked")
    return Said(record, line, 0 if is_there else 1)


@click.command(name="remote-key")
@click.option("--scope", required=True, metavar="SCOPE", help="Whose records it signs: main, or "
              "pr/* for every pull request.")  # fmt: skip
@json_option
@traceback_option
def remote_key(scope: str, as_json: bool, traceback: bool) -> int:
    """Make a pair of keys for a shared store.

    Print the secret, and the table's line.
    """
    del traceback
    from alembic_snapshot.cli.remote import new_key

    record, text = new_key(scope)
    print_facts(record, text, as_json)
    return 0


@click.command()
@on_project
@json_option
@click.option(
    "--keep",
    type=click.IntRange(min=0),
    help="How many builds to keep of each database, the last used. The layers and revisions of one "
    "state of the code are one.",
)
@click.option("--older-than", metavar="AGE", help="Delete what was not used for so long: 12h, 30d. "
              "With --keep, only of those that are not kept.")  # fmt: skip
@click.option("--opened", "only_opened", is_flag=True, help="Delete only databases that open made, "
              "whatever their age without --older-than.")  # fmt: skip
@_every
def prune(
    keep: int | None,
    older_than: str | None,
    only_opened: bool,
    as_json: bool,
    every: bool,
    **where: Any,
) -> int:
    """Delete this project's old snapshots. Delete what killed and failed builds left, too.

    It deletes those of every database, unless --database names one. A snapshot in use stays.
    --older-than also deletes databases of that age that open made, unless --at placed them.
    """
    if only_opened and keep is not None:
        raise CommandError(
            "--opened and --keep can't be combined: what open made is not counted",
            hint="give --older-than with --opened, or --keep alone",
        )
    if keep is None and older_than is None and not only_opened:
        hint = "give --keep, --older-than or --opened"
        raise CommandError("prune deletes nothing by itself", hint=hint)
    age = seconds_of(older_than) if older_than is not None else None
    project = project_of(where)
    store = _store_of(project, where)
    deleted, used = ([], []) if only_opened else _pruned(store, project, keep, age, every=every)
    opened = _opened(project, every=every) if only_opened or age is not None else []
    old = [one for one in opened if age is None or one.is_older_than(age)]
    gone = [one for one in old if backend_of(project).delete_opened(one)]
    freed = sum(entry.manifest.size for entry in deleted) + sum(one.size for one in gone)
    record = {
        "deleted": [str(entry.database) for entry in deleted],
        "opened": [str(one.target) for one in gone],
        "bytes": freed,
    }
    what = [number(len(deleted), "snapshot"), *([_counted(len(gone))] if gone else [])]
    print_facts(record, f"deleted {', '.join(what)}, {size(freed)}", as_json)
    if used:
        print(f"in use, and not deleted: {number(len(used), 'snapshot')}", file=sys.stderr)
    if len(gone) < len(old):
        print(f"in use, and not deleted: {_counted(len(old) - len(gone))}", file=sys.stderr)
    return 0


def _pruned(
    store: Store, project: Project, keep: int | None, age: float | None, *, every: bool
) -> tuple[list[Entry], list[Entry]]:
    """Delete snapshots; the deleted ones, and those in use; others' are counted on the way."""
    is_meant = _meant(project, every=every)
    others = [entry for entry in store.entries() if not is_meant(entry.manifest.project)]
    used: list[Entry] = []
    deleted = store.prune(keep, age, is_meant, None if every else owner(project), used)
    _tell_of_others(len(others))
    return deleted, used


def _store_of(project: Project, where: Mapping[str, Any]) -> Store:
    """The store; where it is not there, a named one is misspelt, and another is yet to come."""
    store = backend_of(project).store()
    if not store.is_there():
        problem = f"there is no store at {project.store}"
        if where["store"] is not None:
            hint = "name the folder that a build has made, or leave --store out"
            raise CommandError(problem, hint=hint)
        print(f"{problem}: nothing was built", file=sys.stderr)
    return store


def _opened_record(opened: OpenedDatabase) -> dict[str, Any]:
    """What ``--json`` says of a database that ``open`` made."""
    return {
        "project": opened.owner,
        "database": opened.database,
        "path": opened.target.name,
        "url": opened.target.url(),
        "bytes": opened.size,
        "since": opened.since,
    }


def _opened(project: Project, *, every: bool) -> list[OpenedDatabase]:
    """What was opened for this project, for one of its databases, or for all projects."""
    if every:
        return backend_of(project).opened()
    name = project.name if database_is_named() else None
    return [one for one in backend_of(project).opened() if one.is_of(owner(project), name)]


def _counted(count: int) -> str:
    return f"{number(count, 'database')} that open made"


def _tell_of_opened(opened: Sequence[OpenedDatabase], project: Project) -> None:
    if opened:
        amount = size(sum(one.size for one in opened))
        command = own_command(project, "prune", "--opened")
        way = f"`{command}` deletes them, with --older-than 7d old ones"
        print(f"beside them: {_counted(len(opened))}, {amount} ({way}):", file=sys.stderr)
        for one in opened:
            print(f"  {one.target.name}", file=sys.stderr)


def _meant(project: Project, *, every: bool) -> Callable[[str], bool]:
    """Whether a manifest's project is meant: this one's, one of its databases, or all."""
    if every:
        return lambda _project: True
    if database_is_named():
        own = identity(project)
        return lambda found: found == own
    whose = owner(project)
    return lambda found: is_owned(found, whose)


def _tell_of_others(count: int) -> None:
    if count:
        print(f"not looked at: {number(count, 'snapshot')} of others (--all)", file=sys.stderr)
