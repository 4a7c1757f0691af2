"""The child's work on its database: upgrade, stairway, seed, check. It runs Alembic."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import importlib.util
import sys
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from alembic_snapshot.builder import lineage, patches
from alembic_snapshot.builder.app_context import NoContext, libraries_in_context
from alembic_snapshot.builder.branches import Disordered, is_line, ordered
from alembic_snapshot.builder.drift import Comparison
from alembic_snapshot.builder.env_runner import EnvRunner
from alembic_snapshot.builder.env_sql import statement_of
from alembic_snapshot.builder.guard import Guard
from alembic_snapshot.builder.options import metadata_in
from alembic_snapshot.builder.own_sql import OwnSql
from alembic_snapshot.builder.protocol import (
    CONNECTION,
    RUN,
    Checks,
    Done,
    Facts,
    Job,
    Step,
)
from alembic_snapshot.builder.ran import Ran
from alembic_snapshot.builder.record import FILES
from alembic_snapshot.builder.seeds import run_seed
from alembic_snapshot.builder.sources import claim_sources, distrust_bytecode
from alembic_snapshot.builder.stairway import Stairway
from alembic_snapshot.builder.target import target_of
from alembic_snapshot.builder.unfinished import run_to_its_end
from alembic_snapshot.builder.watch import Watch
from alembic_snapshot.checks import ENV_PY, NO_METADATA, brief, unconfigured_mappers
from alembic_snapshot.key.observed import Reading
from alembic_snapshot.project.callsite import Callsites
from alembic_snapshot.project.references import Reference
from alembic_snapshot.project.spelling import Spelling
from alembic_snapshot.sqlite import database as databases

Report = Callable[..., None]
# Whose error it is that Alembic finds when it reads all scripts together.
HISTORY = "the revisions' history"
# Whose code runs while they are loaded.
SCRIPT = "a revision script"
# What is no making of the database.
CHECKS = "the checks"


class Builder:
    """Brings one database from one state to the next, in this process."""

    def __init__(self, job: Job, report: Report):
        self.job = job
        self.report = report
        self.kind = target_of(job.target)
        self.target = self.kind.target
        self.root = Path(job.root)
        self.handover = job.handover
        folders = [job.scripts, *job.versions]
        self.sites = Callsites(self.root, map(Path, folders), job.search_path)
        self.guard = Guard(self.kind, self.sites, redirect=job.foreign == "redirect")
        spelling = Spelling(job.root, tuple(job.elsewhere))
        self.watch = Watch(
            self.sites,
            Reading(spelling, tuple(job.ignored_files), job.store),
            folders,
            settings=[path for path in (job.ini, job.toml) if path],
            ignored=job.ignored,
            inputs=job.inputs,
        )
        # Whether revisions have left something that another run of env.py would not have.
        self._is_left_in_connection = self._is_left_in_run = False
        # Whether revisions have one order only.
        self._is_line = False
        self.create_all: list[str] = []
        self.from_models: list[str] = []
        # The metadata that env.py gives, and that of which something was made beside revisions and
        # seeds, by whose code it was.
        self._models: list[sa.MetaData] = []
        self._made: dict[str, list[sa.MetaData]] = {}
        self.current: str | None = None
        self._doing = ENV_PY
        self.own_sql = OwnSql()
        self.env = EnvRunner(job, self.kind, self.guard, self.watch, self._on_migrations)
        self.ran = Ran(job.scripts, job.versions, self._watched)

    def run(self) -> None:
        """Do the job's steps, then the checks, and report what was found."""
        # The library first: the project's alembic/ folder must not shadow it.
        sys.path[:0] = self.job.search_path
        applied_files = {str(self.root / name) for name in self.job.settled}
        distrust_bytecode(self.sites.is_ours, self.job.search_path, applied_files)
        self.guard.install()
        self.watch.install()
        claim_sources(self.sites.is_ours, self.watch.claim)
        patches.hear_create_all(self._on_create_all)
        lineage.follow_copies()
        lineage.hear_ddl(self._on_ddl)
        patches.hear_own_operations(self.watch.on_operation)
        patches.hear_migrations(self.env.migrating)
        patches.excuse_missing_loggers(self.watch.reads.unheard)
        sa.event.listen(sa.Engine, "connect", _disable_fsync)
        self.env.listen()
        self.kind.listen()
        self.env.load()
        steps = collections.deque(self.job.steps)
        while steps:
            if steps[0].does == "upgrade":
                self._upgrade_on(steps)
            else:
                self._step(steps.popleft())
        done = Done(self.facts())
        # On what is published, env.py is not to write rows once more.
        if self.job.check and (self.job.is_copy or not self.env.sql.writes_rows):
            # Should the process end in there, what was reached is none the worse.
            self._report(Done(self.facts(), through_env=self._read_by_env()), "reached")
            checks = self._check()
            done = Done(self.facts(), checks, self._read_by_env())
        self._report(done)

    def _report(self, done: Done, event: str = "done") -> None:
        self.report(event, **dataclasses.asdict(done))

    def _read_by_env(self) -> dict[str, Any]:
        """The modules of ``env.py``, and the files that they and it have read so far."""
        return self.watch.read_by_env(self.job.inputs)

    @property
    def who(self) -> str:
        """Whose code is running, as messages call it."""
        if not self.env.app_context.is_made:
            return f"context {self.job.context!r}"
        if self.current is None:
            return self._doing
        return f"{'seed' if ':' in self.current else 'revision'} {self.current}"

    @contextlib.contextmanager
    def _does(self, what: str) -> Iterator[None]:
        """While something else than ``env.py`` runs; after an error it stays so."""
        before, self._doing = self._doing, what
        yield
        self._doing = before

    def facts(self) -> Facts:
        """The report of the run so far."""
        places = dict.fromkeys(self.guard.databases)
        return Facts(
            refused=self.guard.refused,
            redirected=list(dict.fromkeys(self.guard.redirected)),
            databases=[place.to_record(self.root) for place in places],
            create_all=self.create_all,
            from_models=[*self.from_models, *self._beside_revisions()],
            configured=self.env.options is not None,
            options=self.env.handed_over(),
            **self.ran.facts((self.env.version_table, self.env.version_schema)),
            async_lacks=self.async_lacks,
            asks_command_line=self.env.config is not None and self.env.config.is_asked,
            written=sorted(self.watch.record.written),
            changed=self.watch.changed(),
            unlike_before=self.watch.unlike_before(),
            env_writes=self.env.sql.writes_rows,
        )

    def _beside_revisions(self) -> list[str]:
        """Who else has made something of the models: ``env.py``, or ``migrate``."""
        return [who for who, made in self._made.items() if lineage.are_of(made, self._models)]

    def _on_migrations(self, context: Any) -> None:
        self._models += metadata_in(context.opts)
        self.ran.note(context)
        self.own_sql.note(context.connection)

    def _on_create_all(self) -> None:
        if not self.env.app_context.is_made:
            raise NoContext(
                f"{self.sites.current()} calls create_all(), and the migrations are to make tables",
                "leave it out where Alembic migrates, or name a function in context that does",
            )
        if self.current:
            self.create_all.append(self.current)
        if self.watch.is_recording:
            self.watch.share_models()

    def _on_ddl(self, statement: Any) -> None:
        made = lineage.made_of(statement)
        if self.current and lineage.are_of(made, self._models):
            self.from_models.append(self.current)
            self.watch.share_models()
        elif made and not self.current and self._doing != CHECKS:
            self._made.setdefault(self.who, []).extend(made)

    @property
    def async_lacks(self) -> list[str]:
        """The packages that are missing for an async URL of the target."""
        needed = self.kind.async_drivers
        return [n for n in needed if not sys.modules.get(n) and not importlib.util.find_spec(n)]

    def _step(self, step: Step) -> None:
        if step.does == "stairway":
            self._take_up_and_down(step)
        elif step.does == "migrate":
            with (
                self.env.app_context.around(),
                self._does(f"migrate {step.function}"),
                self._makes("migrate"),
                self.watch.recording(),
            ):
                self.watch.look_into_modules(filled=False)
                function = self._loaded(step.function)
                run_to_its_end(function, function(self.target.url()))
        elif step.does == "seed":
            if not (self.env.has_run or self.job.migrate):
                # A seed finds what env.py has imported, as it does where revisions ran before.
                self.env.run(lambda _current, _context: ())
            self.watch.look_into_modules(filled=False)
            self._seed(step.function)
        self._reach(step)

    def _reach(self, step: Step) -> None:
        """Copy a state where it is to be copied, now that nobody is connected, and report it."""
        if step.copy:
            with self.guard.own_work(step.copy):
                self.target.save(step.copy)
        self._tell(step)

    def _tell(self, step: Step, *, goes_on: bool = False) -> None:
        """Report a state that is reached; ``goes_on`` if the run of ``env.py`` has more to do."""
        inputs = self.job.inputs if step.inputs is None else step.inputs
        seen = self.watch.seen(step.owners, inputs)
        problems = None
        is_stairway = step.does == "stairway"
        if not is_stairway:
            name = step.copy or self.target.name
            with self.watch.reads.unheard():
                problems = self.kind.finish(
                    name, self.own_sql, self.guard.own_work, self.env.pools.close_idle
                )
        by_owner = self.watch.record.by_owner(set(self.job.inputs)) if is_stairway else {}
        left = () if is_stairway else self._left_for_later([*inputs, *seen["direct"][FILES]])
        told = {"by_owner": by_owner, "problems": problems, "left": sorted(left)}
        self.report("state", index=step.index, **seen, **told, goes_on=goes_on)

    def _left_for_later(self, reached: Collection[str]) -> set[str]:
        """Where revisions and seeds left what later ones would not find in another process."""
        connection = {CONNECTION} if self._is_left_in_connection else set()
        run = {RUN} if self._is_left_in_run else set()
        return connection | run | self.watch.left_in_modules(reached)

    def _upgrade_on(self, pending: collections.deque[Step]) -> None:
        """Upgrade to the next of these states, in one run of ``env.py`` to those after it too.

        Where no copy can be made while it runs, it is to run again for the next one.

        Raises:
            Disordered: the database is none to go on from to the last state.
        """
        step = pending.popleft()
        planned: Sequence[Any] | None = ()
        disordered: Disordered | None = None

        def steps(current: Any, context: Any) -> Iterator[Any]:
            nonlocal step, planned, disordered
            before = self.env.carried(context)
            while True:
                try:
                    planned = self._planned(step, current)
                except Disordered as error:
                    # Raised when env.py is done: to its own handlers it is no error.
                    disordered = error
                    return
                self.ran.planned += len(planned or ())
                if planned:
                    self.report("plan", revisions=[one.revision.revision for one in planned])
                    yield from map(self._watched, planned)
                    now = self.env.carried(context)
                    self._is_left_in_connection |= now.connection != before.connection
                    self._is_left_in_run |= now.run != before.run
                if not self._goes_on(step, pending, context, is_kept=planned is not None):
                    return
                step, current = pending.popleft(), context.get_current_heads()

        with self._makes(ENV_PY):
            self.env.run(steps)
            if disordered is not None:
                raise disordered
        if planned is not None:
            self._reach(step)

    def _planned(self, step: Step, current: Any) -> Sequence[Any] | None:
        """The steps of Alembic's to a state; None if one on the way would be of another order.

        Raises:
            Disordered: the database is none to go on from.
        """
        # Not before env.py runs: scripts may rely on what it has prepared.
        if step.revisions is not None:
            self._load_scripts()
        script: Any = self.env.environment.script
        target: Any = tuple(step.revisions) if step.revisions is not None else "heads"
        with self._does(HISTORY), self.watch.recording():
            if step.last is None or self._is_line:
                planned: Sequence[Any] | None = script._upgrade_revs(target, current)
            else:
                planned = ordered(script, tuple(step.last), target, current)
            if step.revisions is None:
                for revision in script.walk_revisions():
                    self.watch.count(revision.path)
        return planned

    def _goes_on(self, step: Step, pending: Sequence[Step], context: Any, *, is_kept: bool) -> bool:
        """Whether this run of ``env.py`` goes on to the next state; if so, this one is copied."""
        if not pending or pending[0].does != "upgrade" or self.ran.caught:
            return False
        if is_kept:
            assert step.copy is not None
            with self.guard.own_work(step.copy):
                if not self.kind.save_within(context.connection, step.copy):
                    return False
            with self.guard.script(SCRIPT), self.watch.recording():
                self.ran.read_scripts(self.env.script)
            self._tell(step, goes_on=True)
        return True

    def _take_up_and_down(self, step: Step) -> None:
        """Take revisions up, down and up again, as often as it takes ``env.py`` to run them."""
        stairway = Stairway(
            self.kind, self.env.script, step, self.report, self.guard.own_work, self.env.pools
        )

        def run_env(function: Callable[..., Iterable[Any]], **options: Any) -> None:
            def loaded(current: Any, context: Any) -> Iterable[Any]:
                self._load_scripts()
                return function(current, context)

            self.current = None
            self.env.run(loaded, **options)

        stairway.run(run_env, self._watched)

    def _load_scripts(self) -> None:
        with (
            self._does(SCRIPT),
            self.guard.script(SCRIPT),
            self.watch.loading(),
        ):
            revisions = list(self.env.script.walk_revisions())
            self._is_line = is_line(revisions, self.env.script.get_heads())
            for revision in revisions:
                self.watch.is_script(revision.path, revision.revision)

    @contextlib.contextmanager
    def _makes(self, who: str) -> Iterator[None]:
        """While ``who`` makes the database; an error of a revision that it caught is raised."""
        with self.ran.heard(who):
            yield
        if self.ran.caught:
            self.current, error = self.ran.caught
            raise error
        with self.guard.script(SCRIPT), self.watch.recording():
            self.ran.read_scripts(self.env.script)

    def _watched(self, step: Any) -> Any:
        """The migration step, reported, recorded and guarded while it runs."""
        if not hasattr(step, "revision") or hasattr(step.migration_fn, "is_watched"):
            return step
        name, original = step.revision.revision, step.migration_fn

        def run(**arguments: Any) -> None:
            self.current = name
            self.report("revision", revision=name)
            started = time.perf_counter()
            try:
                with (
                    self.guard.script(f"revision {name}", reopens=True),
                    self.watch.recording(name),
                ):
                    original(**arguments)
            except BaseException as error:
                self.ran.ended(step, error)
                raise
            self.ran.ended(step)
            self.current = None
            self.report("applied", revision=name, seconds=time.perf_counter() - started)

        run.is_watched = True  # type: ignore[attr-defined]
        step.migration_fn = run
        return step

    def _seed(self, reference: str) -> None:
        self.current = reference
        self.report("seed", seed=reference)
        started = time.perf_counter()
        with (
            self.env.app_context.around(),
            self.guard.script(f"seed {reference}"),
            self.watch.recording(reference),
        ):
            run_seed(self._loaded(reference), self.kind.url, self.own_sql, self.sites)
        self.current = None
        self.report("applied", revision=reference, seconds=time.perf_counter() - started)

    def _loaded(self, reference: str) -> Callable[..., Any]:
        """The function of a reference, for which its module counts as asked for."""
        parsed = Reference.parse(reference)
        self.watch.asks_for(parsed.module.partition(".")[0])
        self.watch.record.in_context |= libraries_in_context()
        return parsed.function()

    def _check(self) -> Checks:
        """Mappers, and what `alembic check` finds; what can't be checked does not fail."""
        refused, options = len(self.guard.refused), self.env.options
        assert self.env.config is not None
        comparison = Comparison(self.env.config, self.env.script, self.job)
        with self._does(CHECKS):
            lines, reason = comparison.run(self.env.run)
        if comparison.error and (again := self.env.sql.why(comparison.error)):
            reason = f"{reason} [{brief(statement_of(comparison.error) or '')}]; {again}"
        # What it gives to an upgrade is what counts, if there was one.
        self.env.options = self.env.options if options is None else options
        if self.guard.refused[refused:]:
            reason = self.guard.refused[refused]
            del self.guard.refused[refused:]
        failed = self.watch.failed_imports() if reason == NO_METADATA else ()
        if failed:
            # Unlike a project without models, that is to be tried again.
            reason = f"{reason}, and caught what {failed[0]} raised when it was imported"
        mappers = unconfigured_mappers()
        is_unchecked = not comparison.is_begun and not mappers
        return Checks(lines, reason, mappers, {"mappers": reason or ""} if is_unchecked else {})


def _disable_fsync(connection: Any, _record: Any) -> None:
    # Whoever seals a file waits for the disk, once. A server's connection is no business of ours.
    driver = getattr(connection, "driver_connection", connection)
    if any(kind.__module__ in ("sqlite3", "aiosqlite.core") for kind in type(driver).__mro__):
        databases.disable_fsync(connection)
