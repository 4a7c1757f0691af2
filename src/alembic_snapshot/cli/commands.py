"""The command line: what is common to all commands, and those on a project.

Results go to standard output, the rest to standard error.
"""

from __future__ import annotations

import errno
import math
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import click

from alembic_snapshot import __version__
from alembic_snapshot.cli import console, opening, snapshots, stored
from alembic_snapshot.cli.checking import checked
from alembic_snapshot.cli.options import (
    Said,
    config_option,
    json_option,
    no_remote_option,
    on_project,
    print_facts,
    projects_of,
    refuse_both,
    said_of_each,
    store_option,
    traceback_option,
)
from alembic_snapshot.errors import CommandError, SnapshotError
from alembic_snapshot.project.variables import refuse_unknown


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit: 0 for yes, 1 for no, 2 after an error of any kind."""
    given = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    with console.unfailing_error():
        try:
            status = _run(given)
        except SnapshotError as error:
            console.report(error, traceback="--traceback" in given)
            status = 2
        except Exception:
            # By itself Python would end with 1, which says no.
            console.note(traceback.format_exc())
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

    The proposal reads files, and imports nothing of the project. Lines that the table has stay. Run
    it again for missing ones. Exit 1: nothing was written, because the answer was no.
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
@click.option("--timeout", type=click.FloatRange(1, 86_400), default=60.0, show_default=True,
              metavar="SECONDS", help="How long importing the application may take.")  # fmt: skip
@traceback_option
def doctor(
    config: Path | None, store: Path | None, as_json: bool, timeout: float, traceback: bool
) -> int:
    """Look at what tests will need. Print a line for each: ✓ good, ! doubtful, ✗ bad, with a hint.

    A process of its own imports the application. Exit 0: nothing is bad. Exit 1: something is bad.
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

    It checks every database, unless --database names one. Exit 0: everything was checked, and
    nothing was found. Exit 1: something was found, or was not checked.
    """
    refuse_both(("--from-scratch", from_scratch), ("--no-stairway", no_stairway))
    projects = projects_of(where)

    def say(name: str) -> Said:
        record, told = checked(
            projects[name], no_stairway=no_stairway, from_scratch=from_scratch, quiet=quiet
        )
        return Said(record, ("\n" if len(projects) == 1 else f"\n{name}: ").join(told))

    said = said_of_each(projects, say)
    every = {name: one.record for name, one in said.items()}
    lines = [one.text if len(said) == 1 else f"{name}: {one.text}" for name, one in said.items()]
    record = next(iter(every.values())) if len(every) == 1 else {"databases": every}
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

    refuse_unknown()
    return run_psql(name)


for _command in (
    snapshots.build,
    snapshots.key,
    snapshots.status,
    snapshots.clone,
    snapshots.diff,
    opening.open_,
    stored.list_,
    stored.prune,
    stored.push,
    stored.pull,
    stored.remote_key,
):
    cli.add_command(_command)
