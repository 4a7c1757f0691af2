"""The command line. Results go to standard output, the rest to standard error."""

from __future__ import annotations

import dataclasses
import errno
import json
import math
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click
from click.core import ParameterSource

from alembic_snapshot import __version__
from alembic_snapshot.backend import backend_of
from alembic_snapshot.checks import (
    number,
    shortened,
    size,
)
from alembic_snapshot.cli import console
from alembic_snapshot.cli.checking import checked
from alembic_snapshot.cli.records import (
    counted_of,
    not_supported,
    notes_of,
    one_layer,
    seconds_of,
    snapshot_record,
    time_of,
    told_of,
)
from alembic_snapshot.errors import CloneError, CommandError, SnapshotError, printable
from alembic_snapshot.project.alembic_settings import unsupported_url
from alembic_snapshot.project.config import DEFAULT, Project, load_project, load_projects
from alembic_snapshot.project.owner import identity, is_owned, owner
from alembic_snapshot.store.manifest import Entry

if TYPE_CHECKING:
    from alembic_snapshot.build.lookup import Status
    from alembic_snapshot.build.snapshot import Snapshot

_Command = TypeVar("_Command", bound=Callable[..., Any])
_NO_EDGE = 10_000


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit: 0 for yes, 1 for no, 2 after an error."""
    given = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    try:
        status = _run(given)
    except SnapshotError as error:
        console.report(error, traceback="--traceback" in given)
        status = 2
    sys.exit(status)


def _run(given: list[str]) -> int:
    """Run one command.

    Raises:
        SnapshotError: whatever went wrong.
    """
    console.prepare()
    _refuse_empty(given)
    try:
        status = cli.main(given, prog_name="alembic-snapshot", standalone_mode=False)
    except click.exceptions.Abort:
        raise CommandError("interrupted", hint="run it again") from None
    except click.ClickException as error:
        where = (
            error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else None
        )
        hint = f"{where or 'alembic-snapshot'} --help lists what there is"
        message = error.format_message()
        raise CommandError(message[:1].lower() + message[1:].rstrip("."), hint=hint) from error
    except SystemExit:
        # So click ends where nobody reads what it prints.
        raise console.broken(BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))) from None
    except OSError as error:
        if error.filename is None:
            raise console.broken(error) from error
        raise CommandError(
            f"can't go on with {error.filename}: {error.strerror or error}",
            hint="see what is there, and that whoever runs this may use it",
        ) from error
    console.finish()
    return int(status or 0)


def _refuse_empty(given: Sequence[str]) -> None:
    """Refuse an empty path, which an unset variable leaves: it would be the working directory.

    Raises:
        CommandError: it names the option.
    """
    for before, argument in zip(["", *given], given, strict=False):
        name = argument.removesuffix("=") if argument.startswith("--") else ""
        if not argument or name + "=" == argument:
            what = name or (before if before.startswith("-") else "an argument")
            raise CommandError(
                f"{what} is empty",
                hint="give it a value or leave it out; is it a variable that is not set?",
            )
        if before in _with_values() and argument.startswith("--"):
            raise CommandError(
                f"{before} has no value: {argument} comes next", hint=f"give {before} its value"
            )


def _with_values() -> set[str]:
    """The options that a value follows."""
    every = [option for command in cli.commands.values() for option in command.params]
    options = [one for one in every if isinstance(one, click.Option) and not one.is_flag]
    return {name for one in options for name in one.opts}


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def cli() -> None:
    """Run your Alembic migrations once; give every test its own copy of the database they make.

    The project is the one that the working directory is in: the nearest pyproject.toml with a
    [tool.alembic-snapshot] table, or the nearest alembic.ini.
    """


_config = click.option(
    "--config",
    type=click.Path(path_type=Path),
    help="An alembic.ini or pyproject.toml to use instead of the nearest.",
)
_store = click.option(
    "--store",
    type=click.Path(path_type=Path),
    help="Where snapshots are kept (default: .alembic-snapshot beside the configuration, or "
    "$ALEMBIC_SNAPSHOT_DIR).",
)
_database = click.option(
    "--database",
    default=DEFAULT,
    metavar="NAME",
    help="One of [tool.alembic-snapshot.databases].",
)
_traceback = click.option("--traceback", is_flag=True, help="Show the whole of an error.")


def _on_project(command: _Command) -> _Command:
    """The options that every command on a project takes."""
    for option in (_traceback, _database, _store, _config):
        command = option(command)
    return command


_layer = click.option("--layer", metavar="NAME", help="The snapshot with this layer on top.")
_revision = click.option("--revision", metavar="REV", help="The snapshot at this revision.")
_no_remote = click.option(
    "--no-remote",
    is_flag=True,
    help="Neither ask the shared store nor use what came from it: for jobs that release or deploy.",
)
_as_json = click.option("--json", "as_json", is_flag=True, help="Print the facts as JSON.")


def _on_snapshot(command: _Command) -> _Command:
    """The options that every command on one of a project's snapshots takes."""
    for option in (_as_json, _no_remote, _revision, _layer):
        command = option(command)
    return _on_project(command)


@cli.command()
@_config
@_store
@click.option("-y", "--yes", is_flag=True, help="Write without asking.")
@click.option("--print", "only_print", is_flag=True, help="Only show the table, and write nothing.")
@_traceback
def init(traceback: bool, **wishes: Any) -> int:
    """Propose a table for this project. Write it if that is right, and build the snapshot.

    Nothing of the project is imported for the proposal. What the table has already stays; run again
    for what is missing. Exit 1: nothing was written, for the answer was no.
    """
    del traceback
    from alembic_snapshot.cli.init import Wishes
    from alembic_snapshot.cli.init import init as run

    _refuse_both(("--yes", wishes["yes"]), ("--print", wishes["only_print"]))
    return run(Wishes(**wishes))


@cli.command()
@_config
@_store
@_as_json
@click.option("--timeout", type=click.FloatRange(min=1), default=60.0, show_default=True,
              metavar="SECONDS", help="How long importing the application may take.")  # fmt: skip
@_traceback
def doctor(
    config: Path | None, store: Path | None, as_json: bool, timeout: float, traceback: bool
) -> int:
    """Look at what tests will need. A line for each: ✓ good, ! doubtful, ✗ bad, with a hint.

    The application is imported, in a process of its own. Exit 0: nothing is bad; 1: something is.
    """
    del traceback
    if math.isnan(timeout):
        raise CommandError("--timeout nan is no number of seconds", hint="write for example 60")
    from alembic_snapshot.cli.doctor import examine
    from alembic_snapshot.cli.finding import has_bad

    all_findings = examine(config, store, timeout)
    record = {
        "good": not has_bad(all_findings),
        "findings": [finding.to_record() for finding in all_findings],
    }
    _print(record, "\n".join(map(str, all_findings)), as_json)
    return 1 if has_bad(all_findings) else 0


@cli.command()
@_on_snapshot
@click.option("--from-scratch", is_flag=True, help="Build from nothing, and compare with the "
              "stored one: schema and rows.")  # fmt: skip
@click.option("--summary", is_flag=True, help="Print a summary in Markdown, for a CI job's page.")
@click.option("-q", "--quiet", is_flag=True, help="Show no progress.")
def build(
    layer: str | None,
    revision: str | None,
    as_json: bool,
    from_scratch: bool,
    summary: bool,
    quiet: bool,
    **where: Any,
) -> int:
    """Make sure that the snapshot exists; print its path."""
    from alembic_snapshot.build.ensure import ensure, rebuild_and_compare
    from alembic_snapshot.build.progress import Progress
    from alembic_snapshot.cli.job_summary import job_summary

    _refuse_both(("--json", as_json), ("--summary", summary))
    project = _project(where)
    with Progress(quiet=quiet) as progress:
        if from_scratch:
            snapshot, difference = rebuild_and_compare(
                project, layer=layer, revision=revision, listener=progress
            )
        else:
            snapshot = ensure(project, layer=layer, revision=revision, listener=progress)
            difference = None
    lines = told_of(snapshot.manifest, project)
    other = unsupported_url(project.alembic)
    if other is not None and snapshot.built and not quiet:
        console.warn([f"sqlalchemy.url: {not_supported(other, project)}"])
    if snapshot.built and not quiet:
        console.warn(shortened([*snapshot.manifest.warnings, *lines]))
    elif lines:
        console.warn(
            [f"{counted_of(snapshot.manifest, project)}: `alembic-snapshot status` says more"]
        )
    if difference:
        console.warn([f"the snapshot that was built step by step differs:\n{difference}"])
    console.warn(notes_of(snapshot))
    record = snapshot_record(snapshot.entry, project, built=snapshot.built, why=list(snapshot.why))
    if snapshot.shared is not None:
        from alembic_snapshot.cli.remote import told

        for line in told(snapshot.shared) if not quiet else ():
            print(line, file=sys.stderr)
        record["remote"] = snapshot.shared.to_record()
    text = job_summary(snapshot, lines, difference) if summary else snapshot.database
    _print(record, text, as_json)
    return 1 if difference else 0


@cli.command()
@_on_snapshot
@click.option("--explain", is_flag=True, help="List the layers and the inputs of each.")
def key(layer: str | None, revision: str | None, as_json: bool, explain: bool, **where: Any) -> int:
    """Print the snapshot's digest, as a CI cache's key. Builds nothing."""
    from alembic_snapshot.build.lookup import look_up

    chain = look_up(_project(where), layer=layer, revision=revision).chain
    record = {
        "key": chain.key,
        "opaque": list(chain.opaque),
        "layers": [
            {
                "kind": part.kind,
                "name": part.name,
                "digest": part.digest,
                "inputs": part.inputs,
                "named": part.named_files,
            }
            for part in chain.layers
        ],
    }
    lines = [chain.key]
    if explain:
        lines += one_layer(chain.opaque)
        for part in chain.layers:
            lines.append(f"{part.kind} {part.name}  {part.digest[:12]}")
            lines += [f"    {name}  {value[:40]}" for name, value in part.inputs.items()]
            named_files = part.named_files.items()
            lines += [f"    {name}  {value[:40]} (if it is opened)" for name, value in named_files]
    _print(record, "\n".join(lines), as_json)
    return 0


@cli.command()
@_on_snapshot
def status(layer: str | None, revision: str | None, as_json: bool, **where: Any) -> int:
    """Say whether the store has the snapshot, and if not, why. Exit 0: it has; 1: it has not.

    What the shared store has counts as had: a build would fetch it.
    """
    from alembic_snapshot.build.lookup import look_up

    project = _project(where)
    lookup = look_up(project, layer=layer, revision=revision)
    if lookup.entry is None:
        there = _peek(lookup)
        if there is not None:
            record, line = there
            _print({"hit": False, "remote_hit": True, **record}, line, as_json)
            return 0
        record = {
            "hit": False,
            "remote_hit": False,
            "key": lookup.chain.key,
            "why": list(lookup.reasons),
            "cures": list(lookup.cures),
            "opaque": list(lookup.chain.opaque),
        }
        lines = [
            "miss",
            *(f"  {why}" for why in (*lookup.reasons, *one_layer(lookup.chain.opaque))),
        ]
        lines += [f"  if that does not matter to the migrations: {cure}" for cure in lookup.cures]
        _print(record, "\n".join(lines), as_json)
        return 1
    manifest = lookup.entry.manifest
    lines = [f"hit {lookup.entry.database}"]
    lines += [f"  {line}" for line in manifest.warnings]
    lines += [f"  {line}" for line in told_of(manifest, project)]
    lines += [f"  {line}" for line in one_layer(lookup.chain.opaque)]
    if revision is None and "drift" not in manifest.checks:
        lines.append("  the models were not compared with it yet: the next build does")
    changed = lookup.changed_for_env()
    lines += [f"  the next build runs env.py again: {change}" for change in changed]
    seen = sorted(manifest.observed.files.keys() - lookup.chain.named_files.keys())
    if seen:
        lines.append(f"  read while it ran: add inputs = {json.dumps(seen)} to the configuration")
    lines += [f"  depends on the variable {name}" for name in manifest.observed.environment]
    record = {
        "hit": True,
        "changed": list(changed),
        "opaque": list(lookup.chain.opaque),
        **snapshot_record(lookup.entry, project),
    }
    _print(record, "\n".join(lines), as_json)
    return 0


def _peek(lookup: Status) -> tuple[dict[str, Any], str] | None:
    """The record in the shared store, as JSON and as a line; None if there is none."""
    from alembic_snapshot.build.sharing import remote_settings

    if remote_settings(lookup.project) is None:
        return None
    from alembic_snapshot.cli.remote import peek, record_of

    there, report = peek(lookup)
    console.warn(report.warnings)
    if there is None:
        return None
    line = f"remote hit {report.name}, scope {there.scope}"
    return {"key": lookup.chain.key, "remote": record_of(there)}, line


@cli.command()
@_on_snapshot
@click.argument("path")
def clone(path: str, layer: str | None, revision: str | None, as_json: bool, **where: Any) -> int:
    """Put a clone of your own at PATH, and print its URL. On PostgreSQL PATH is its name."""
    from alembic_snapshot.build.ensure import ensure
    from alembic_snapshot.build.progress import Progress

    project = _project(where)
    backend_of(project).refuse_taken(path)
    with Progress() as progress:
        snapshot = ensure(project, layer=layer, revision=revision, listener=progress)
    console.warn(notes_of(snapshot))
    copy = snapshot.clone(path)
    _print({"url": copy.url, "path": copy.target.name}, copy.url, as_json)
    return 0


@cli.command()
@_on_snapshot
@click.option("--rows", default=5, show_default=True, help="How many rows of a table to show.")
@click.argument("path")
def diff(
    path: str, rows: int, layer: str | None, revision: str | None, as_json: bool, **where: Any
) -> int:
    """Print what the database at PATH has that the snapshot has not. Exit 0: nothing; 1: this.

    On PostgreSQL, PATH is the database's name.
    """
    import sqlite3

    from alembic_snapshot.build.ensure import ensure

    project = _project(where)
    database = backend_of(project).target(path)
    if not database.is_there() or (database.file and not database.file.is_file()):
        what = "file " if database.file else ""
        raise CloneError(f"there is no {what}{database}", hint="give the path or name of a clone")
    snapshot = ensure(project, layer=layer, revision=revision)
    console.warn(notes_of(snapshot))
    entry = _entry(snapshot)
    try:
        difference = database.diff(entry.database, rows)
    except sqlite3.Error as error:
        raise CloneError(f"can't compare {path}: {error}", hint="is it a SQLite file?") from error
    _print(difference.to_record(), str(difference), as_json)
    return 1 if difference else 0


@cli.command()
@_on_project
@_no_remote
@_as_json
@click.option("--no-stairway", is_flag=True, help="Leave out taking every revision up and down.")
@click.option("--allow-unchecked", is_flag=True, help="Exit 0 although something was not checked, "
              "if nothing was found.")  # fmt: skip
@click.option("--from-scratch", is_flag=True, help="Try every revision, although it passed "
              "before and nothing that it depends on has changed.")  # fmt: skip
@click.option("-q", "--quiet", is_flag=True, help="Show no progress.")
def check(
    as_json: bool,
    no_stairway: bool,
    allow_unchecked: bool,
    from_scratch: bool,
    quiet: bool,
    **where: Any,
) -> int:
    """Check the migrations and the models. That is: one head, sound data, mappers, drift, every
    revision up, down and up.

    Of every database, unless --database names one. Exit 0: everything was checked, and nothing was
    found; 1: something was found, or not checked.
    """
    _refuse_both(("--from-scratch", from_scratch), ("--no-stairway", no_stairway))
    project = _project(where)
    source = click.get_current_context().get_parameter_source("database")
    is_one = where["config"] is not None or source is ParameterSource.COMMANDLINE
    if is_one:
        projects = {where["database"]: project}
    else:
        projects = {
            name: dataclasses.replace(one, no_remote=where["no_remote"])
            for name, one in load_projects(project.root, store=where["store"]).items()
        }
    every: dict[str, dict[str, Any]] = {}
    lines: list[str] = []
    for name, database_project in projects.items():
        every[name], told = checked(
            database_project, no_stairway=no_stairway, from_scratch=from_scratch, quiet=quiet
        )
        lines += told if len(projects) == 1 else [f"{name}: {line}" for line in told]
    record = every[project.name] if len(projects) == 1 else {"databases": every}
    _print(record, "\n".join(lines), as_json)
    has_findings = any(result["findings"] for result in every.values())
    missing = any(result["unchecked"] for result in every.values())
    return 1 if has_findings or (missing and not allow_unchecked) else 0


_every = click.option(
    "--all",
    "every",
    is_flag=True,
    help="Also those of others, on the server or in the store.",
)


@cli.command(name="list")
@_on_project
@_as_json
@_every
@click.option("--remote", is_flag=True, help="List what is in the shared store instead, in the "
              "scopes that count here.")  # fmt: skip
def list_(as_json: bool, every: bool, remote: bool, **where: Any) -> int:
    """List this project's snapshots in the store, the latest first.

    Those of all of its databases, unless --database names one.
    """
    project = _project(where)
    if remote:
        return _list_remote(project, as_json)
    found = backend_of(project).store().entries()
    is_meant = _meant(project, every=every)
    entries = [entry for entry in found if is_meant(entry.manifest.project)]
    _tell_of_others(len(found) - len(entries))
    if as_json:
        print(json.dumps([snapshot_record(entry, project) for entry in entries], indent=1))
        return 0
    from rich.console import Console
    from rich.table import Table

    names = ("snapshot", "project", "heads", "seeds", "tables", "size", "made", "checks")
    table = Table(*names, box=None)
    for entry in entries:
        manifest = entry.manifest
        table.add_row(
            entry.manifest.digest[:12],
            manifest.project,
            " ".join(manifest.heads),
            str(len(manifest.seeds)),
            str(manifest.tables),
            size(manifest.size),
            time_of(manifest.created),
            counted_of(manifest, project) if "drift" in manifest.checks else "",
        )
    # A line for each, whatever reads it; only a terminal has an edge.
    Console(width=None if sys.stdout.isatty() else _NO_EDGE).print(table)
    return 0


def _list_remote(project: Project, as_json: bool) -> int:
    from alembic_snapshot.cli.remote import ROW, listed, record_of, row_of

    records, warnings = listed(project)
    console.warn(warnings)
    if as_json:
        print(json.dumps([record_of(record) for record in records], indent=1))
        return 0
    from rich.console import Console
    from rich.table import Table

    table = Table(*ROW, box=None)
    for record in records:
        table.add_row(*map(printable, row_of(record)))
    Console(width=None if sys.stdout.isatty() else _NO_EDGE).print(table)
    return 0


@cli.command()
@_on_snapshot
def push(layer: str | None, revision: str | None, as_json: bool, **where: Any) -> int:
    """Put the snapshot into the shared store.

    It goes into the scope of this run. It has to be built.
    """
    from alembic_snapshot.cli.remote import push as run

    record, line, warnings = run(_project(where), layer=layer, revision=revision)
    console.warn(warnings)
    _print(record, line, as_json)
    return 0


@cli.command()
@_on_snapshot
def pull(layer: str | None, revision: str | None, as_json: bool, **where: Any) -> int:
    """Fetch the snapshot from the shared store.

    Print its path. The exit status is 1 if the shared store has none.
    """
    from alembic_snapshot.cli.remote import pull as run

    record, line, warnings, is_there = run(_project(where), layer=layer, revision=revision)
    console.warn(warnings)
    _print(record, line, as_json)
    return 0 if is_there else 1


@cli.command(name="remote-key")
@click.option("--scope", required=True, metavar="SCOPE", help="Whose records it signs: main, or "
              "pr/* for every pull request.")  # fmt: skip
@_as_json
@_traceback
def remote_key(scope: str, as_json: bool, traceback: bool) -> int:
    """Make a pair of keys for a shared store.

    Print the secret, and the table's line.
    """
    del traceback
    from alembic_snapshot.cli.remote import new_key

    record, text = new_key(scope)
    _print(record, text, as_json)
    return 0


@cli.command()
@_on_project
@_as_json
@click.option(
    "--keep",
    type=click.IntRange(min=0),
    help="How many builds to keep of each database, the last used.",
)
@click.option("--older-than", metavar="AGE", help="Delete what was not used for so long: 12h, 30d.")
@_every
def prune(
    keep: int | None, older_than: str | None, as_json: bool, every: bool, **where: Any
) -> int:
    """Delete this project's old snapshots. Delete what killed and failed builds left, too.

    Those of all of its databases, unless --database names one. A snapshot in use stays.
    """
    if keep is None and older_than is None:
        raise CommandError("prune deletes nothing by itself", hint="give --keep or --older-than")
    age = seconds_of(older_than) if older_than is not None else None
    project = _project(where)
    store = backend_of(project).store()
    is_meant = _meant(project, every=every)
    others = [entry for entry in store.entries() if not is_meant(entry.manifest.project)]
    deleted = store.prune(keep, age, is_meant, None if every else owner(project))
    _tell_of_others(len(others))
    freed = sum(entry.manifest.size for entry in deleted)
    record = {"deleted": [str(entry.database) for entry in deleted], "bytes": freed}
    _print(record, f"deleted {number(len(deleted), 'snapshot')}, {size(freed)}", as_json)
    return 0


@cli.command()
@_traceback
@click.argument("name", default="postgres")
def psql(name: str, traceback: bool) -> int:
    """Open the database NAME with psql. It is on the PostgreSQL server in use, which is started if
    need be."""
    del traceback
    from alembic_snapshot.postgres.psql import run_psql

    return run_psql(name)


def _meant(project: Project, *, every: bool) -> Callable[[str], bool]:
    """Whether a manifest's project is meant: this one's, one of its databases, or all."""
    if every:
        return lambda _project: True
    source = click.get_current_context().get_parameter_source("database")
    if source is ParameterSource.COMMANDLINE:
        own = identity(project)
        return lambda found: found == own
    whose = owner(project)
    return lambda found: is_owned(found, whose)


def _tell_of_others(count: int) -> None:
    if count:
        print(f"not looked at: {number(count, 'snapshot')} of others (--all)", file=sys.stderr)


def _refuse_both(*options: tuple[str, bool]) -> None:
    """Refuse options of which one alone can be meant.

    Raises:
        CommandError: it names them.
    """
    given = [name for name, is_given in options if is_given]
    if given[1:]:
        raise CommandError(f"{' and '.join(given)} exclude each other", hint="give one of them")


def _entry(snapshot: Snapshot) -> Entry:
    assert snapshot.entry is not None
    return snapshot.entry


def _project(where: Mapping[str, Any]) -> Project:
    project = load_project(config=where["config"], store=where["store"], database=where["database"])
    return dataclasses.replace(project, no_remote=bool(where.get("no_remote")))


def _print(record: Any, text: str, as_json: bool) -> None:
    if as_json:
        print(json.dumps(record, indent=1))
    else:
        console.show(text)
