"""The child's half of the stairway: revisions up, down and up again, schema compared.

Each step is what it would be in a process of its own: one transaction, a revision's module as it
is when it has just been imported, nothing that Alembic remembers of the step before, and a new
connection wherever the step before left something in it.
"""

from __future__ import annotations

import contextlib
import functools
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from alembic.runtime.migration import MigrationStep

from alembic_snapshot.builder.branches import in_order
from alembic_snapshot.builder.pools import Pools
from alembic_snapshot.builder.protocol import Step
from alembic_snapshot.builder.target import BuilderTarget, OwnWork, left_in
from alembic_snapshot.database.schema import Schema, differences

Report = Callable[..., None]
# The kinds of steps. From below a revision goes up, down and up again; from above down, up and
# down again. The first is also that of one which is only passed by.
_UP, _DOWN, _AGAIN, _DOWN_AGAIN = "upgrade", "downgrade", "second upgrade", "second downgrade"


class Stairway:
    """Takes revisions up, down and up again, in as many runs of ``env.py`` as it takes.

    A ``step`` of a job says which way: along ``path``, where its ``revisions`` are tried.
    It leads up, or with ``parents`` down from above. Where a step fails, the database is put back,
    from a copy of it above some revision, and the next run goes on from there. Where ``env.py``
    runs the migrations several times, for each of its schemas, these take each step together.
    """

    def __init__(
        self,
        target: BuilderTarget,
        script: Any,
        step: Step,
        report: Report,
        own_work: OwnWork,
        pools: Pools,
    ):
        self.target = target
        self.script = script
        self.report = report
        self.own_work = own_work
        self.pools = pools
        self.is_done = False
        self._wanted = frozenset(step.revisions or ())
        self._path = list(step.path)
        self._parents = step.parents
        self._tried: set[str] = set()
        self._failed: set[str] = set()
        self._kept = 0
        self._trying: tuple[str, str] | None = None
        self._failure: BaseException | None = None
        self._codes: dict[str, Any] = {}
        self._version_tables: set[str] = set()
        # Whether env.py runs the migrations once each time. The first run tells, and takes no step.
        self._is_alone: bool | None = None
        self._calls = 0
        # The steps of this run of env.py's.
        self._taken: list[tuple[str, str]] = []
        self._moves = self._plan()

    def run(self, run_env: Callable[..., None], watched: Callable[[Any], Any]) -> None:
        """Take all of it, as far as ``env.py`` runs what it is given.

        ``watched`` is put around each of Alembic's steps.

        Raises:
            Exception: what a first upgrade, or ``env.py``, raised.
        """
        self.target.prepare(self.own_work)

        def steps(_current: Any, context: Any) -> Iterator[Any]:
            return map(watched, self._steps(context))

        while not self.is_done:
            self._goes_on, self._failure = False, None
            self._calls, self._taken = 0, []
            failure: BaseException | None = None
            try:
                run_env(steps, overrides={"transaction_per_migration": True})
            except (Exception, SystemExit) as error:
                failure = error
            failure = failure or self._failure
            if self._trying and self._recover(failure):
                continue
            if failure:
                raise failure
            if self._is_alone is None and self._calls:
                self._is_alone = self._calls == 1
            elif not self._goes_on:
                # It runs no migrations, or does not go on with them.
                return

    def _steps(self, context: Any) -> Iterator[Any]:
        """The steps to hand to Alembic; each is taken when the one before it is committed.

        They end where ``env.py`` has to run anew for the next one.
        """
        self._calls += 1
        self._version_tables.add(context.version_table)
        given = _as_given(context)
        if self._is_alone is None:
            self._path = self._ordered(self._path)
            return
        if self._calls > 1:
            for taken in self._taken:
                given()
                yield from self._taking(taken, context)
            return
        self._connection = context.connection
        before = left_in(self._connection, self.target)
        while True:
            move = next(self._moves, None)
            if move is None:
                self.is_done = True
                return
            given()
            yield from self._taking(move, context)
            self._taken.append(move)
            self._goes_on = True
            # A transaction of env.py's own is committed when env.py has ended.
            is_open = self._connection.in_transaction()
            if not self._is_alone or is_open or left_in(self._connection, self.target) != before:
                return

    def _taking(self, move: tuple[str, str], context: Any) -> Iterator[Any]:
        # The types that were created, for one, are remembered there.
        context.impl.memo.clear()
        self._trying, self._failure = move, None
        with self._keeping_errors():
            step = self._step(*move)
        yield step
        self._trying = None

    def _recover(self, error: BaseException | None) -> bool:
        """Put the database back to its state before a step that failed.

        False if it was a first upgrade: then there is nothing to go on with.
        """
        assert self._trying is not None
        name, kind = self._trying
        if kind == _UP:
            return False
        self._put_back()
        self._failed.add(name)
        if name in self._wanted:
            lines = _in_words(error).splitlines()[:3]
            self.report("finding", revision=name, kind=f"{kind} failed", lines=lines)
            self._finish(name)
        self._trying = None
        self._moves = self._plan()
        return True

    def _ordered(self, names: Sequence[str]) -> list[str]:
        """These in Alembic's order, or the other way round, up to the last that is tried.

        A revision may rest on what one of another branch has made, and not say so.
        """
        ordered: list[str] = [n for n in in_order(self.script) if n in names]
        if self._parents is not None:
            ordered.reverse()
        while ordered and ordered[-1] not in self._wanted:
            ordered.pop()
        return ordered

    def _plan(self) -> Iterator[tuple[str, str]]:
        """The steps in order. Asking for the next one means that the last one was taken."""
        return self._plan_up() if self._parents is None else self._plan_down(self._parents)

    def _plan_up(self) -> Iterator[tuple[str, str]]:
        current: Schema | None = None
        for number in range(self._kept, len(self._path)):
            name = self._path[number]
            tries = name in self._wanted and name not in self._tried
            before, current = (current or self._schema()) if tries else None, None
            yield name, _UP
            if before is None:
                continue
            after = self._schema()
            self._keep(number + 1)
            yield name, _DOWN
            self._compare(name, _DOWN, before, self._schema())
            yield name, _AGAIN
            current = self._schema()
            self._compare(name, _AGAIN, after, current)
            self._finish(name)

    def _plan_down(self, parents: Mapping[str, Sequence[str]]) -> Iterator[tuple[str, str]]:
        blocked: dict[str, str] = {}
        for number, name in enumerate(self._path):
            above = name if name in self._failed else blocked.get(name)
            if above:
                # What stands on it does not go down: it can't either.
                blocked |= dict.fromkeys(parents[name], above)
                if name in self._wanted and name not in self._tried:
                    lines = [f"revision {above}, above it, does not go down"]
                    self.report("finding", revision=name, kind="not tried", lines=lines)
                    self._finish(name)
            if above or number < self._kept:
                continue
            if name in self._tried or name not in self._wanted:
                yield name, _DOWN
                continue
            after = self._schema()
            self._keep(number)
            yield name, _DOWN
            before = self._schema()
            yield name, _AGAIN
            self._compare(name, _AGAIN, after, self._schema())
            yield name, _DOWN_AGAIN
            self._compare(name, _DOWN, before, self._schema())
            self._finish(name)

    def _step(self, name: str, kind: str) -> Any:
        revision, map_ = self.script.get_revision(name), self.script.revision_map
        is_down = kind in (_DOWN, _DOWN_AGAIN)
        if is_down:
            step = MigrationStep.downgrade_from_script(map_, revision)
        else:
            step = MigrationStep.upgrade_from_script(map_, revision)
        function = "downgrade" if is_down else "upgrade"
        step.migration_fn = functools.partial(self._run, revision, function, kind != _UP)
        return step

    def _run(self, revision: Any, function: str, anew: bool, /, **arguments: Any) -> None:
        with self._keeping_errors():
            module = self._imported_anew(revision.module) if anew else revision.module
            getattr(module, function)(**arguments)

    @contextlib.contextmanager
    def _keeping_errors(self) -> Iterator[None]:
        """Keep the error of what runs within, even if ``env.py`` catches it."""
        try:
            yield
        except BaseException as error:
            self._failure = error
            raise

    def _imported_anew(self, module: Any) -> types.ModuleType:
        """The module as another process would import it, without what a step left in it."""
        spec = module.__spec__
        if module.__name__ not in self._codes:
            self._codes = {module.__name__: spec.loader.get_code(spec.name)}
        fresh = types.ModuleType(module.__name__)
        fresh.__dict__.update(__file__=module.__file__, __spec__=spec, __loader__=spec.loader)
        exec(self._codes[module.__name__], fresh.__dict__)
        return fresh

    def _put_back(self) -> None:
        self.pools.close_idle()
        self.pools.roll_back()
        self.target.put_back(self.own_work)

    def _keep(self, applied: int) -> None:
        """Copy the database, with so many revisions of the path applied, if it can be copied now.

        Otherwise, what a failure takes back to the copy before is upgraded again.
        """
        if self.target.keep(self.own_work):
            self._kept = applied

    def _schema(self) -> Schema:
        # The migrations' own connection knows the schema: another would have to parse it.
        with contextlib.closing(self._connection.connection.cursor()) as cursor:
            return self.target.read_schema(cursor, self._version_tables)

    def _compare(self, name: str, kind: str, expected: Schema, actual: Schema) -> None:
        lines = differences(expected, actual)
        if lines:
            self.report("finding", revision=name, kind=kind, lines=lines)

    def _finish(self, name: str) -> None:
        self._tried.add(name)
        self.report("tried", revision=name)


def _in_words(error: BaseException | None) -> str:
    if error is None:
        return "env.py caught the error, and went on"
    return type(error).__name__ + (f": {error}" if str(error) else "")


def _as_given(context: Any) -> Callable[[], None]:
    """What makes the context's options and the configuration's attributes as ``env.py`` gave them.

    A revision may have put something there, which another process would not have.
    """
    given = [(one, dict(dict.items(one))) for one in (context.opts, _attributes(context))]

    def put_back() -> None:
        # Past the methods that tell who asks.
        for one, values in given:
            dict.clear(one)
            dict.update(one, values)

    return put_back


def _attributes(context: Any) -> dict[Any, Any]:
    environment = context.environment_context
    attributes: dict[Any, Any] = {} if environment is None else environment.config.attributes
    return attributes
