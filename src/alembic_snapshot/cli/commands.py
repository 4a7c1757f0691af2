"""The command line. Results go to standard output, the rest to standard error."""

from __future__ import annotations

import dataclasses
import errno
import json
import math
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from alembic_snapshot import __version__
from alembic_snapshot.backend import backend_of
from alembic_snapshot.checks import (
    shortened,
)
from alembic_snapshot.cli import console, opening, stored
from alembic_snapshot.cli.checking import checked
from alembic_snapshot.cli.options import (
    config_option,
    database_is_named,
    json_option,
    no_remote_option,
    on_project,
    on_snapshot,
    print_facts,
    project_of,
    refuse_both,
    store_option,
    traceback_option,
)
from alembic_snapshot.cli.records import (
    counted_of,
    not_supported,
    notes_of,
    one_layer,
    snapshot_record,
    told_of,
)
from alembic_snapshot.errors import CloneError, CommandError, SnapshotError
from alembic_snapshot.project.alembic_settings import unsupported_url
from alembic_snapshot.project.config import load_projects
from alembic_snapshot.store.manifest import Entry

if TYPE_CHECKING:
    from alembic_snapshot.build.lookup import Status
    from alembic_snapshot.build.snapshot import Snapshot


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


@cli.command()
@config_option
@store_option
@click.option("-y", "--yes", is_flag=True, help="Write without asking.")
@click.option("--print", "only_print", is_flag=True, help="Only show the table, and write nothing.")
@traceback_option
def init(traceback: bool, **wishes: Any) -> int:
    """Propose a table for this project. Write it if that is right, and build the snapshot.

    Nothing of the project is imported for the proposal. What the table has already stays; run again
    for what is missing. Exit 1: nothing was written, for the answer was no.
    """
    del traceback
    from alembic_snapshot.cli.init import Wishes
    from alembic_snapshot.cli.init import init as run

    refuse_both(("--yes", wishes["yes"]), ("--print", wishes["only_print"]))
    return run(Wishes(**wishes))


@cli.command()
@config_option
@store_option
@json_option
@click.option("--timeout", type=click.FloatRange(min=1), default=60.0, show_default=True,
              metavar="SECONDS", help="How long importing the application may take.")  # fmt: skip
@traceback_option
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
    print_facts(record, "\n".join(map(str, all_findings)), as_json)
    return 1 if has_bad(all_findings) else 0


@cli.command()
@on_snapshot
@click.option("--from-scratch", is_flag=True, help="Build from nothing, and compare with the "
              "stored one: schema and rows.")  # fmt: skip
@click.option("--summary", is_flag=True, help="Print a summary in Markdown, for a CI job's page.")
@click.option("--archive", is_flag=True, help="On PostgreSQL, write it into a file of the store, "
              "too, as in CI.")  # fmt: skip
@click.option("-q", "--quiet", is_flag=True, help="Show no progress.")
def build(
    layer: str | None,
    revision: str | None,
    as_json: bool,
    from_scratch: bool,
    summary: bool,
    archive: bool,
    quiet: bool,
    **where: Any,
) -> int:
    """Make sure that the snapshot exists; print its path."""
    from alembic_snapshot.build.ensure import ensure, rebuild_and_compare
    from alembic_snapshot.build.progress import Progress
    from alembic_snapshot.cli.job_summary import job_summary

    refuse_both(("--json", as_json), ("--summary", summary))
    project = project_of(where)
    if archive:
        project = dataclasses.replace(project, archive="always")
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
        console.warn(shortened([*snapshot.manifest.warnings, *lines], _status(layer, revision)))
    elif lines:
        more = f"`{_status(layer, revision)}` says more"
        console.warn([f"{counted_of(snapshot.manifest, project)}: {more}"])
    if difference:
        console.warn([f"the snapshot that was built step by step differs:\n{difference}"])
    console.warn(notes_of(snapshot))
    record = snapshot_record(
        snapshot.entry,
        project,
        built=snapshot.built,
        restored=snapshot.restored,
        why=list(snapshot.why),
    )
    if snapshot.restored and not quiet:
        print("restored from its archive", file=sys.stderr)
    if archive and not quiet:
        print(_archive_of(snapshot), file=sys.stderr)
    if snapshot.shared is not None:
        from alembic_snapshot.cli.remote import told

        for line in told(snapshot.shared) if not quiet else ():
            console.note(line)
        record["remote"] = snapshot.shared.to_record()
    text = job_summary(snapshot, lines, difference) if summary else snapshot.database
    print_facts(record, text, as_json)
    return 1 if difference else 0


def _status(layer: str | None, revision: str | None) -> str:
    """The command that says more of the snapshot that a command was about."""
    where = click.get_current_context().params
    options = {
        "--config": where["config"],
        "--store": where["store"],
        "--database": where["database"] if database_is_named() else None,
        "--layer": layer,
        "--revision": revision,
    }
    given = [(name, str(value)) for name, value in options.items() if value is not None]
    return shlex.join(["alembic-snapshot", "status", *(part for pair in given for part in pair)])


def _archive_of(snapshot: Snapshot) -> str:
    """Where the archive is that was asked for, or why there is none."""
    archives = backend_of(snapshot.project).store().archives
    if archives is None:
        return "no archive is needed: the snapshot is a file already"
    assert snapshot.entry is not None
    there = archives.of(snapshot.entry.name, snapshot.manifest)
    return f"its archive is {there.file}" if there else "it has no archive"


@cli.command()
@on_snapshot
@click.option("--explain", is_flag=True, help="List the layers and the inputs of each.")
def key(layer: str | None, revision: str | None, as_json: bool, explain: bool, **where: Any) -> int:
    """Print the snapshot's digest, as a CI cache's key. Builds nothing."""
    from alembic_snapshot.build.lookup import look_up

    chain = look_up(project_of(where), layer=layer, revision=revision).chain
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
    print_facts(record, "\n".join(lines), as_json)
    return 0


@cli.command()
@on_snapshot
def status(layer: str | None, revision: str | None, as_json: bool, **where: Any) -> int:
    """Say whether the store has the snapshot, and if not, why. Exit 0: it has; 1: it has not.

    What the shared store has, or an archive, counts as had: a build would fetch or restore it.
    """
    from alembic_snapshot.build.archiving import archived
    from alembic_snapshot.build.lookup import look_up
    from alembic_snapshot.build.sharing import remote_settings

    project = project_of(where)
    # What a build would refuse is refused here too, although the store has the snapshot.
    has_remote = remote_settings(project) is not None
    lookup = look_up(project, layer=layer, revision=revision)
    if lookup.entry is None:
        file = archived(lookup)
        if file is not None:
            facts = {"hit": False, "archived": True, "key": lookup.chain.key}
            line = f"archived {file.file}\n  the next build restores it"
            print_facts({**facts, "path": str(file.file)}, line, as_json)
            return 0
        there = _peek(lookup) if has_remote else None
        if there is not None:
            record, line = there
            print_facts({"hit": False, "remote_hit": True, **record}, line, as_json)
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
        print_facts(record, "\n".join(lines), as_json)
        return 1
    manifest = lookup.entry.manifest
    lines = [f"hit {lookup.entry.database}"]
    lines += [f"  {line}" for line in manifest.warnings]
    lines += [f"  {line}" for line in told_of(manifest, project)]
    lines += [f"  {line}" for line in one_layer(lookup.chain.opaque)]
    if not lookup.chain.is_below and "drift" not in manifest.checks:
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
    print_facts(record, "\n".join(lines), as_json)
    return 0


def _peek(lookup: Status) -> tuple[dict[str, Any], str] | None:
    """The record in the shared store, as JSON and as a line; None if there is none."""
    from alembic_snapshot.cli.remote import peek, record_of

    there, report = peek(lookup)
    console.warn(report.warnings)
    if there is None:
        return None
    line = f"remote hit {report.name}, scope {there.scope}"
    return {"key": lookup.chain.key, "remote": record_of(there)}, line


@cli.command()
@on_snapshot
@click.argument("path")
def clone(path: str, layer: str | None, revision: str | None, as_json: bool, **where: Any) -> int:
    """Put a clone of your own at PATH, and print its URL. On PostgreSQL PATH is its name."""
    from alembic_snapshot.build.ensure import ensure
    from alembic_snapshot.build.progress import Progress

    project = project_of(where)
    backend_of(project).refuse_taken(path)
    with Progress() as progress:
        snapshot = ensure(project, layer=layer, revision=revision, listener=progress)
    console.warn(notes_of(snapshot))
    copy = snapshot.clone(path)
    print_facts({"url": copy.url, "path": copy.target.name}, copy.url, as_json, is_url=True)
    return 0


@cli.command()
@on_snapshot
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

    project = project_of(where)
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
    print_facts(difference.to_record(), str(difference), as_json)
    return 1 if difference else 0


@cli.command()
@on_project
@no_remote_option
@json_option
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
    refuse_both(("--from-scratch", from_scratch), ("--no-stairway", no_stairway))
    project = project_of(where)
    is_one = where["config"] is not None or database_is_named()
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
    print_facts(record, "\n".join(lines), as_json)
    has_findings = any(result["findings"] for result in every.values())
    missing = any(result["unchecked"] for result in every.values())
    return 1 if has_findings or (missing and not allow_unchecked) else 0


@cli.command()
@traceback_option
@click.argument("name", default="postgres")
def psql(name: str, traceback: bool) -> int:
    """Open the database NAME with psql. It is on the PostgreSQL server in use, which is started if
    need be."""
    del traceback
    from alembic_snapshot.postgres.psql import run_psql

    return run_psql(name)


def _entry(snapshot: Snapshot) -> Entry:
    assert snapshot.entry is not None
    return snapshot.entry


for _command in (
    opening.open_,
    stored.list_,
    stored.prune,
    stored.push,
    stored.pull,
    stored.remote_key,
):
    cli.add_command(_command)
