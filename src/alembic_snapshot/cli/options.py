"""Options that several commands have, the project that they name, and how facts are printed."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import click
from click.core import ParameterSource

from alembic_snapshot.backend import backend_of
from alembic_snapshot.cli import console
from alembic_snapshot.errors import CommandError, SnapshotError
from alembic_snapshot.masking import masked_values
from alembic_snapshot.project.config import DEFAULT, Project, load_project, load_projects

if TYPE_CHECKING:
    from alembic_snapshot.database.target import Target

Command = TypeVar("Command", bound=Callable[..., Any])

config_option = click.option(
    "--config",
    type=click.Path(path_type=Path),
    help="An alembic.ini or pyproject.toml to use instead of the nearest.",
)
store_option = click.option(
    "--store",
    type=click.Path(path_type=Path),
    help="Where snapshots are kept (default: .alembic-snapshot beside the configuration, or "
    "$ALEMBIC_SNAPSHOT_DIR).",
)
database_option = click.option(
    "--database",
    default=DEFAULT,
    metavar="NAME",
    help="One of [tool.alembic-snapshot.databases].",
)
traceback_option = click.option("--traceback", is_flag=True, help="Show the whole of an error.")


def on_project(command: Command) -> Command:
    """The options that every command on a project takes."""
    for option in (traceback_option, database_option, store_option, config_option):
        command = option(command)
    return command


layer_option = click.option("--layer", metavar="NAME", help="The snapshot with this layer on top.")
revision_option = click.option("--revision", metavar="REV", help="The snapshot at this revision.")
no_remote_option = click.option(
    "--no-remote",
    is_flag=True,
    help="Neither ask the shared store nor use what came from it: for jobs that release or deploy.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print the facts as JSON.")


def on_snapshot(command: Command) -> Command:
    """The options that every command on one of a project's snapshots takes."""
    for option in (json_option, no_remote_option, revision_option, layer_option):
        command = option(command)
    return on_project(command)


def project_of(where: Mapping[str, Any]) -> Project:
    """The project that a command's options name."""
    project = load_project(config=where["config"], store=where["store"], database=where["database"])
    return dataclasses.replace(project, no_remote=bool(where.get("no_remote")))


class Said(NamedTuple):
    """What a command says of one database: for ``--json``, as text, and its exit status."""

    record: dict[str, Any]
    text: str
    status: int = 0

    def with_layers(self, layers: Mapping[str, Said], text: str | None = None) -> Said:
        """The same with what is said of named layers; the exit status is the worst."""
        if not layers:
            return self
        records = {name: one.record for name, one in layers.items()}
        status = max(self.status, *(one.status for one in layers.values()))
        return Said({**self.record, "layers": records}, text or self.text, status)


def layers_of(project: Project, layer: str | None, revision: str | None) -> tuple[str, ...]:
    """The named layers that a command on one of a project's snapshots is about, beside the base.

    They are all, unless an option names one snapshot.
    """
    return tuple(project.layers) if layer is None and revision is None else ()


def projects_of(where: Mapping[str, Any], **of_one: str | None) -> dict[str, Project]:
    """The databases that a command is about: the one that is named, or all of the project's.

    ``of_one`` are options of which a value is one database's. That others are left out for them is
    said.
    """
    project = project_of(where)
    every = load_projects(config=where["config"], store=where["store"])
    if database_is_named() or len(every) == 1:
        return {project.name: project}
    config = where["config"]
    is_inis = config is not None and config.name != "pyproject.toml"
    options = [f"--{name}" for name, value in of_one.items() if value is not None]
    options += ["--config"] * is_inis
    if options:
        others = ", ".join(name for name in every if name != project.name)
        console.note(
            f"not looked at: {others} ({options[0]} is about one database; --database names it)"
        )
        return {project.name: project}
    return {
        name: dataclasses.replace(one, no_remote=project.no_remote) for name, one in every.items()
    }


def said_of_each(projects: Mapping[str, Project], say: Callable[[str], Said]) -> dict[str, Said]:
    """What a command says of each database, by its name.

    Where one has an error, what was said of those before it, and which were not looked at, is told.

    Raises:
        SnapshotError: that of the first that has one.
    """
    said: dict[str, Said] = {}
    for name in projects:
        try:
            said[name] = say(name)
        except SnapshotError:
            for before, one in said.items():
                console.note(f"{before}: {one.text}")
            left = [other for other in projects if other not in said and other != name]
            if said or left:
                rest = f"; not looked at: {', '.join(left)}" if left else ""
                console.note(f"the error is of the database {name}{rest}")
            raise
    return said


def print_said(said: Mapping[str, Said], as_json: bool) -> int:
    """Print what a command says of each database; the exit status is the worst.

    The record of several is that of the first, with those of all by name beside it.
    """
    first, *others = said.values()
    if not others:
        print_facts(first.record, first.text, as_json)
        return first.status
    records = {name: one.record for name, one in said.items()}
    lines = (f"{name}: {one.text}" for name, one in said.items())
    print_facts({**first.record, "databases": records}, "\n".join(lines), as_json)
    return max(one.status for one in said.values())


def database_is_named() -> bool:
    """Whether ``--database`` was given; otherwise a command is about the default one, or all."""
    source = click.get_current_context().get_parameter_source("database")
    return source is ParameterSource.COMMANDLINE


def print_facts(record: Any, text: str, as_json: bool, *, is_url: bool = False) -> None:
    """Print a record as JSON, or the text that says it, which may be the URL of a database."""
    if as_json:
        print_json(record)
    else:
        console.show(text, is_url=is_url)


def print_json(record: Any) -> None:
    """Print a record as JSON. Only the URL of a database in it has a password."""
    print(json.dumps(masked_values(record, "url"), indent=1))


def tell_of_ending(project: Project, target: Target | None = None) -> None:
    """Say of a URL that is printed that its server ends, if it does; and what opens ``target``."""
    server = backend_of(project).server()
    if server is None or not server.is_private:
        return
    way = f": `{target.opening}` starts it and opens the database" if target else ""
    console.note(f"the URL leads to a private server, which ends with this command{way}")


def refuse_both(*options: tuple[str, bool]) -> None:
    """Refuse options of which one alone can be meant.

    Raises:
        CommandError: it names them.
    """
    given = [name for name, is_given in options if is_given]
    if given[1:]:
        raise CommandError(f"{' and '.join(given)} exclude each other", hint="give one of them")
