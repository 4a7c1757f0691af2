"""``init``: a table for the project that the working directory is in, written if that is right."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from alembic_snapshot.cli import console
from alembic_snapshot.cli.pyproject import PyProject, shown
from alembic_snapshot.discover.layout import Layout, find_layout
from alembic_snapshot.discover.lines import Line, Proposal
from alembic_snapshot.discover.makers import Model
from alembic_snapshot.discover.proposal import propose
from alembic_snapshot.errors import ConfigError
from alembic_snapshot.project.commands import own_command
from alembic_snapshot.project.config import Project, here, load_project, refuse_no_store
from alembic_snapshot.project.places import TABLE, refuse_misspelt, store_folder
from alembic_snapshot.project.toml_file import TomlFile, tool_table
from alembic_snapshot.project.variables import refuse_unknown

if TYPE_CHECKING:
    from alembic_snapshot.build.snapshot import Snapshot

_NAME = "alembic-snapshot"


@dataclass(frozen=True)
class Wishes:
    """The options of the command line."""

    config: Path | None = None
    store: Path | None = None
    yes: bool = False
    only_print: bool = False


def init(wishes: Wishes) -> int:
    """Propose, ask, write, build, and say what is next. 1: the answer was no.

    Raises:
        SnapshotError: nothing was written; or what was written is there, and nothing could be
            built with it.
    """
    if not (wishes.yes or wishes.only_print or sys.stdin.isatty()):
        raise ConfigError(
            "init asks before it writes, and the standard input is no terminal",
            hint="--yes writes without asking, --print only shows",
        )
    refuse_unknown()
    layout = find_layout(here(), wishes.config)
    file = PyProject(layout.toml)
    table = tool_table(file.values, _NAME)
    if table is not None:
        # What is wrong with it is said before anything is added to it.
        load_project(layout.root, store=wishes.store)
    elif (toml := TomlFile.read(layout.toml)) is not None:
        refuse_misspelt(toml)
    refuse_no_store(store_folder(layout.root, wishes.store), layout.root)
    proposal = propose(layout, table or {})
    console.show(_described(proposal, layout))
    if wishes.only_print:
        return 0
    tables = _tables(proposal, is_new=table is None)
    if tables:
        text = file.with_values(tables)
        name = os.path.relpath(layout.toml)
        if not wishes.yes and not click.confirm(f"\nWrite this to {name}?", default=True, err=True):
            _say("nothing was written")
            return 1
        file.write(text)
        _say(f"wrote {name}")
    project = load_project(layout.root, store=wishes.store)
    ignored = _ignore(project)
    if ignored is not None:
        _say(f"added {ignored[1]} to {os.path.relpath(ignored[0])}")
    for package, reason in proposal.extras.items():
        console.warn([f'{reason}: pip install "{package}"'])
    snapshot = _built(project)
    print(_next(proposal, layout, snapshot))
    return 0


def _tables(proposal: Proposal, *, is_new: bool) -> dict[str, dict[str, Any]]:
    """The keys to write, by the tables' names."""
    tables: dict[str, dict[str, Any]] = {}
    if proposal.lines or is_new:
        tables[TABLE] = {line.key: line.value for line in proposal.lines}
    if proposal.pytest is not None and proposal.pytest_file is None:
        tables[proposal.settings.key] = {proposal.pytest.key: proposal.pytest.value}
    return tables


def _described(proposal: Proposal, layout: Layout) -> str:
    """The proposal as TOML. Its notes are comments."""
    parts = [_shown(TABLE, proposal.lines)]
    comments = [f"# {key} is left out: {reason}" for key, reason in proposal.left_out]
    comments += [f"# {note}" for note in proposal.notes]
    if not proposal.lines:
        comments.insert(0, "# there is nothing to add" if comments else "# nothing is missing here")
    parts[0] = "\n".join([parts[0], *comments])
    if proposal.pytest is not None and proposal.pytest_file is None:
        parts.append(_shown(proposal.settings.key, [proposal.pytest]))
    where = os.path.relpath(layout.toml)
    return f"# {where}\n" + "\n\n".join(parts)


def _shown(name: str, lines: Sequence[Line]) -> str:
    values = {line.key: line.value for line in lines}
    return shown(name, values, {line.key: line.reason for line in lines})


def _built(project: Project) -> Snapshot:
    from alembic_snapshot.build.ensure import ensure
    from alembic_snapshot.build.progress import Progress
    from alembic_snapshot.checks import number, shortened
    from alembic_snapshot.cli.records import told_of

    with Progress() as progress:
        snapshot = ensure(project, listener=progress)
    manifest = snapshot.manifest
    said = told_of(manifest, project)
    status = own_command(project, "status")
    console.warn(shortened([*manifest.warnings, *said], status))
    what = "built" if snapshot.built else "reused"
    _say(f"{what} the snapshot: {number(manifest.tables, 'table')}, at {' '.join(manifest.heads)}")
    return snapshot


def _ignore(project: Project) -> tuple[Path, str] | None:
    """Have git ignore the store; the file that was changed and the line, if that was needed."""
    folder = next((f for f in (project.root, *project.root.parents) if (f / ".git").exists()), None)
    if folder is None or not project.store.is_relative_to(folder):
        return None
    if _is_ignored(project.store, folder):
        return None
    base = project.root if project.store.is_relative_to(project.root) else folder
    name = project.store.relative_to(base).as_posix()
    line = "/" + re.sub(r"([*?\[\]\\])", r"\\\1", name) + "/"
    path = base / ".gitignore"
    try:
        before = path.read_bytes() if path.exists() else b""
        end = b"\r\n" if b"\r\n" in before else b"\n"
        between = b"" if not before or before.endswith(b"\n") else end
        path.write_bytes(before + between + line.encode() + end)
    except OSError as error:
        raise ConfigError(
            f"can't write {path}: {error.strerror}",
            hint=f"make it writable, or have git ignore {line} in another way, and run init again",
        ) from error
    return path, line


def _is_ignored(store: Path, folder: Path) -> bool:
    """Whether git ignores the store; a line in .gitignore is enough where there is no git."""
    git = shutil.which("git")
    if git is not None:
        command = [git, "check-ignore", "-q", f"{store}/"]
        done = subprocess.run(command, cwd=folder, capture_output=True, check=False)
        if done.returncode in (0, 1):
            return done.returncode == 0
    name = store.name
    for place in (store.parent, folder):
        with contextlib.suppress(OSError):
            lines = (place / ".gitignore").read_text(encoding="utf-8").split()
            if {name, f"{name}/", f"/{name}", f"/{name}/"} & set(lines):
                return True
    return False


def _next(proposal: Proposal, layout: Layout, snapshot: Snapshot) -> str:
    """The steps that are left to do, with a test to copy."""
    steps: list[str] = []
    if proposal.pytest is not None and proposal.pytest_file is not None:
        name = os.path.relpath(proposal.pytest_file)
        steps.append(_pytest_line(proposal, name))
    if proposal.variables:
        steps.append(_conftest(proposal, layout))
    path, test = _test(proposal, layout, snapshot)
    steps.append(f"save this as {os.path.relpath(path)}:\n\n{_indented(test)}\n")
    where = os.path.relpath(layout.root)
    inside = "" if where == "." else f" in {where}"
    doctor = own_command(snapshot.project, "doctor")
    steps.append(f"run pytest{inside}; `{doctor}` says what is amiss")
    lines = [f"{number}. {step}" for number, step in enumerate(steps, 1)]
    return "\nnext:\n" + "\n".join(lines)


def _conftest(proposal: Proposal, layout: Layout) -> str:
    """The step that sets variables before the tests import the application."""
    path = layout.root / "conftest.py"
    names = ", ".join(proposal.variables)
    lines = [f'os.environ.setdefault("{name}", "{v}")' for name, v in proposal.variables.items()]
    text = "\n".join(["import os", "", *lines])
    name = os.path.relpath(path)
    where = f"put this at the top of {name}" if path.exists() else f"save this as {name}"
    return f"the application needs {names} when it is imported; {where}:\n\n{_indented(text)}\n"


def _pytest_line(proposal: Proposal, name: str) -> str:
    assert proposal.pytest is not None
    section = proposal.settings.key
    folders: list[str] = proposal.pytest.value
    value = f"{folders}".replace("'", '"') if name.endswith(".toml") else " ".join(folders)
    return f"in {name}, below [{section}]: pythonpath = {value} ({proposal.pytest.reason})"


def _test(proposal: Proposal, layout: Layout, snapshot: Snapshot) -> tuple[Path, str]:
    """The file for a first test, which does not exist yet, and the test, which passes."""
    folders = [*proposal.settings.testpaths, "tests", "test"]
    base = proposal.settings.file.parent if proposal.settings.file else layout.root
    places = [base / proposal.settings.testpaths[0]] if proposal.settings.testpaths else []
    places += [layout.root / name for name in folders[-2:] if (layout.root / name).is_dir()]
    folder = next(iter(places), layout.root / "tests")
    names = ("test_database.py", "test_snapshot.py", "test_alembic_snapshot.py")
    free = (name for name in names if not (folder / name).exists())
    path = folder / next(free, names[-1])
    model, is_empty = _model(proposal.models, snapshot)
    if model is None:
        return path, _PLAIN_TEST
    wanted = "is None" if is_empty else "is not None  # a migration made it"
    return path, _MODEL_TEST.format(
        module=model.source.module, model=model.name, table=_words(model.table), wanted=wanted
    )


_PLAIN_TEST = """\
from sqlalchemy import inspect


def test_the_database_is_migrated(db_session):
    assert inspect(db_session.connection()).get_table_names() != []
"""
_MODEL_TEST = """\
from {module} import {model}
from sqlalchemy import select


def test_{table}_can_be_read(db_session):
    assert db_session.scalars(select({model})).first() {wanted}
"""


def _words(table: str) -> str:
    return re.sub(r"\W+", "_", table).strip("_").lower()


def _model(models: Sequence[Model], snapshot: Snapshot) -> tuple[Model | None, bool]:
    """The first mapped class whose table the snapshot has, and whether that is empty."""
    if not models:
        return None, True
    from sqlalchemy import inspect, literal, select, table
    from sqlalchemy.exc import SQLAlchemyError

    # What can't be asked here is not in the test.
    with contextlib.suppress(SQLAlchemyError), _looked_at(snapshot) as connection:
        there = set(inspect(connection).get_table_names())
        for model in models:
            if model.table in there:
                query = select(literal(1)).select_from(table(model.table)).limit(1)
                return model, connection.execute(query).first() is None
    return None, True


@contextlib.contextmanager
def _looked_at(snapshot: Snapshot) -> Iterator[Any]:
    """A connection to a clone that nobody needs afterwards."""
    from sqlalchemy import create_engine
    from sqlalchemy.pool import NullPool

    with tempfile.TemporaryDirectory(prefix=f"{_NAME}-") as folder:
        is_file = snapshot.entry is not None and snapshot.entry.database.file is not None
        clone = snapshot.clone(Path(folder, "look.db") if is_file else f"look_{os.getpid()}")
        try:
            with create_engine(clone.url, poolclass=NullPool).connect() as connection:
                yield connection
        finally:
            clone.target.remove()


def _indented(text: str) -> str:
    return "\n".join(f"    {line}".rstrip() for line in text.splitlines())


def _say(text: str) -> None:
    console.note(text)
