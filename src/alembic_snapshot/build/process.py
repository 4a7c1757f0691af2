"""The builder process as its parent sees it: started, listened to, and told to go."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from alembic_snapshot.build.hints import hint_for, is_full
from alembic_snapshot.builder.protocol import (
    Checks,
    Done,
    Facts,
    Failure,
    Job,
    Reached,
    Seen,
    Step,
    done_of,
    failure_of,
)
from alembic_snapshot.checks import brief
from alembic_snapshot.database.target import Target, substituted
from alembic_snapshot.errors import BuildError, GuardError, MigrationError, SnapshotError
from alembic_snapshot.key.inputs import Files
from alembic_snapshot.key.layers import Chain
from alembic_snapshot.key.observed import Observed, Present, inherited, without_effect
from alembic_snapshot.project.config import Project
from alembic_snapshot.project.places import TABLE
from alembic_snapshot.store.store import Store

Listener = Callable[[Mapping[str, Any]], None]

# How an env.py may be handed its target, in the order in which that is tried.
HANDOVERS = ("url", "connection", "engine", "async", "api")
# How the guard tells of a database of another kind than the snapshot.
_OTHER_KIND = re.compile(r"tried to connect to (a [\w ]+ database|.*, a SQLite file) while")
# How PostgreSQL begins the line in which it points at a place in the statement.
_POINTER = re.compile(r"LINE \d+:")


class Child:
    """One run of the builder; it ends when this process does.

    ``states`` has what was reported of each state that was reached; ``done`` or ``failed`` how it
    ended, if it said so; ``output`` the end of what the project printed.
    """

    def __init__(self, listener: Listener, timings: dict[str, float]):
        self.listener = listener
        self.timings = timings
        self.states: dict[int, Reached] = {}
        self.reached: Done | None = None
        self.done: Done | None = None
        self.failed: Failure | None = None
        self.status: int | None = None
        self.output = ""

    @property
    def facts(self) -> Facts:
        """The report of its run, whether it ended well or not."""
        end = self.done or self.failed
        assert end is not None
        return end.facts

    @property
    def end(self) -> Done:
        """The report of its end, which it reached."""
        assert self.done is not None
        return self.done

    def run(self, job: Job, environment: Mapping[str, str], cwd: Path, log: Path) -> None:
        """Start the builder in ``cwd`` and hear it out; the project's output goes to ``log``."""
        events_in, events_out = os.pipe()
        control_in, control_out = os.pipe()
        command = [sys.executable, "-P", "-m", "alembic_snapshot.builder"]
        with (
            open(log, "wb") as output,
            os.fdopen(control_out, "w", encoding="utf-8") as orders,
            os.fdopen(events_in, "r", encoding="utf-8") as lines,
        ):
            try:
                process = subprocess.Popen(
                    [*command, str(events_out), str(control_in)],
                    pass_fds=(events_out, control_in),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env={**environment, "PYTHONIOENCODING": "utf-8"},
                    cwd=cwd,
                )
            finally:
                os.close(events_out)
                os.close(control_in)
            try:
                with contextlib.suppress(BrokenPipeError):
                    orders.write(job.to_line() + "\n")
                    orders.flush()
                for line in lines:
                    self._hear(json.loads(line))
                self.status = process.wait()
            except BaseException:
                process.kill()
                process.wait()
                raise
        self.output = log.read_text(encoding="utf-8", errors="replace")[-20_000:]

    def _hear(self, event: dict[str, Any]) -> None:
        kind = event.pop("event")
        if kind == "state":
            index = event.pop("index")
            self.states[index] = Reached(**event)
        elif kind == "reached":
            self.reached = done_of(event)
        elif kind == "done":
            self.done = done_of(event)
        elif kind == "failed":
            self.failed = failure_of(event)
        else:
            if kind == "applied":
                self.timings[event["revision"]] = event["seconds"]
            self.listener({"event": kind, **event})


@dataclass
class BuilderProcess:
    """Tells the builder what to do for one project, hears it out, and puts its errors in words.

    ``is_kept`` says whether the store keeps the half-built database of a builder that failed.
    """

    project: Project
    chain: Chain
    store: Store
    listener: Listener
    timings: dict[str, float] = field(default_factory=dict)
    is_kept: bool = True

    def job(
        self,
        database: Target,
        steps: Sequence[Step],
        handover: str,
        *,
        check: bool,
        applied: Collection[str] = (),
        asked: Collection[str] = (),
        is_copy: bool = False,
    ) -> Job:
        """The builder's orders for bringing ``database``, with ``applied`` in it, to its end.

        ``asked`` are the names that its revisions had asked of what ``env.py`` leaves. ``is_copy``
        says that it is only to be checked, and thrown away.
        """
        project, settings = self.project, self.project.alembic
        return Job(
            target=database.to_job(),
            variables=substituted(project.environment, database.places()),
            root=str(project.root),
            store=str(project.store),
            scripts=str(settings.script_location),
            versions=[str(path) for path in settings.version_locations]
            if not self.chain.opaque
            else [],
            recursive=settings.recursive,
            ini=str(settings.ini) if settings.ini else None,
            toml=str(settings.toml) if settings.toml else None,
            section=settings.section,
            search_path=[str(path) for path in project.search_path],
            x=[value for _, value in substituted(_numbered(project.x), database.places()).items()],
            foreign=project.foreign,
            elsewhere=list(project.spelling.elsewhere),
            inputs=sorted(self.chain.inputs),
            settled=self._settled(applied),
            asked=sorted(asked),
            ignored=without_effect(project),
            ignored_files=list(project.ignore_inputs),
            handover=handover,
            migrate=project.migrate,
            context=project.context,
            steps=steps,
            check=check,
            is_continued=bool(applied),
            is_copy=is_copy,
        )

    def read(self, seen: Seen, salt: str, before: Observed | None = None) -> Observed:
        """What the builder reports as read, joined with what was read ``before``.

        The variables are as the builder was given them.
        """
        before = before or Observed()
        present = Present(self.project, Files(self.project.root, ()))
        variables = present.variables({*before.environment, *seen["environment"]}, salt)
        now = Observed(seen["files"], seen["folders"], seen["stats"])
        return dataclasses.replace(before.joined(now), environment=variables)

    def run(self, workspace: Path, job: Job) -> Child:
        """Run the builder to its end; a failure is raised as :class:`AttemptFailed`."""
        child = Child(self.listener, self.timings)
        environment = {**self._environment(workspace), **job.variables}
        child.run(job, environment, self.project.root, workspace / "output.txt")
        if child.failed:
            failed = child.failed
            final = failed.who != "env.py" or failed.is_import or bool(failed.hint)
            final = final or is_full(failed)
            raise AttemptFailed(self._error(failed, child.output), final=final, child=child)
        if not child.done and child.reached:
            # It ended in the checks: what was built is whole, and what is not checked says so.
            checks = Checks.impossible(f"the builder ended with status {child.status}")
            child.done = dataclasses.replace(child.reached, checks=checks)
        if not child.done:
            ended = BuildError(
                f"the builder ended with status {child.status} before it was done",
                hint="its output is in the details; was it killed, or did a migration exit?",
                details=child.output,
            )
            raise AttemptFailed(ended, final=True)
        if child.done.facts.refused:
            refusal = self._refusal(child.done.facts.refused, child.output)
            raise AttemptFailed(refusal, final=False, child=child)
        return child

    def _settled(self, applied: Collection[str]) -> list[str]:
        """Files of applied revisions alone. Of these only the first lines will run."""
        open_ends = [layer.inputs for layer in self.chain.layers if layer.name not in applied]
        applied_files = {name for done in applied for name in self.chain.revisions[done].inputs}
        return sorted(applied_files.difference(self.chain.models, *open_ends))

    def _environment(self, workspace: Path) -> dict[str, str]:
        variables = inherited(self.project, os.environ)
        if self.project.private_home:
            home = workspace / "home"
            home.mkdir(exist_ok=True)
            variables["HOME"] = str(home)
        return variables

    def _error(self, failed: Failure, output: str) -> BuildError:
        details = failed.traceback
        if failed.sql:
            details += f"\nSQL:\n{failed.sql}\n"
        if output:
            details += f"\nOutput:\n{output}"
        if failed.facts.refused:
            return self._refusal(failed.facts.refused, details)
        where = f" at {failed.where}" if failed.where else ""
        sql = f" [{brief(failed.sql)}]" if failed.sql else ""
        if failed.type == "NotAFunction":
            hint = f"correct {failed.who.split()[0]} {failed.who.split()[1]} in [{TABLE}]"
            return MigrationError(f"{failed.who} is no function: {failed.text}", hint=hint)
        # What the builder itself says needs no name.
        kind = "" if failed.type in SnapshotError.kinds else f"{failed.type}: "
        return MigrationError(
            f"{failed.who} failed{where}: {kind}{_one_line(failed.text)}{sql}",
            hint=hint_for(failed, self.project, self.chain, self._kept()),
            details=details,
        )

    def _kept(self) -> Target | None:
        """Where the half-built database is kept; None if it is not."""
        if not self.is_kept:
            return None
        return self.store.failed_database(self.chain.target.digest)

    def _refusal(self, refused: Sequence[str], details: str) -> GuardError:
        if len(refused) > 1:
            all_of_it = "\n".join(f"  {line}" for line in refused)
            details = f"{details}\nAll that was refused:\n{all_of_it}"
        hint = (
            'what env.py connects to is redirected unless foreign = "refuse"; a revision or a '
            "seed should use the connection that it is given"
        )
        if _OTHER_KIND.search(refused[0]):
            hint = (
                f"the snapshot is a {self.project.backend} database: let env.py take its URL from "
                "the configuration or a variable (environment), or set backend to what it uses"
            )
        elif self.project.migrate is not None:
            hint = (
                "migrate is given the URL of the database to make: hand it on, as in "
                'config.set_main_option("sqlalchemy.url", url.replace("%", "%%"))'
            )
        return GuardError(
            f"{refused[0]}: only the snapshot may be opened", hint=hint, details=details
        )


class AttemptFailed(Exception):
    """The builder failed. Unless ``final``, handing over the target in another way may help.

    ``child`` is the builder that came to its end, if it did. It ``ran`` if it got as far as the
    migrations. ``asks_command_line`` says that ``env.py`` looked whether there is one.
    """

    def __init__(self, error: BuildError, *, final: bool, child: Child | None = None):
        super().__init__(error.message)
        self.error = error
        self.final = final
        self.child = child
        failure = child.failed if child else None
        self.ran = bool(child and child.facts.planned) or bool(failure and failure.current)
        self.asks_command_line = bool(child and child.facts.asks_command_line)

    @property
    def async_lacks(self) -> Sequence[str]:
        """The packages that are missing for an async driver."""
        return self.child.facts.async_lacks if self.child else ()

    @property
    def wants_async(self) -> bool:
        """Whether the error says that the driver should be an async one."""
        return bool(self.child and self.child.failed and self.child.failed.wants_async)

    @property
    def speaks_async(self) -> bool:
        """Whether ``env.py`` may have to do with async engines."""
        failed = self.child.failed if self.child else None
        return failed is None or failed.speaks_async


def _one_line(text: str) -> str:
    """A driver's message in one line, without the statement."""
    lines = (line.strip() for line in text.splitlines())
    return " ".join(line for line in lines if line.strip("^") and not _POINTER.match(line))


def _numbered(values: Sequence[str]) -> dict[str, str]:
    return {str(index): value for index, value in enumerate(values)}
