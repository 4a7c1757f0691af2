"""One build: from the deepest ancestor in the store to every state that is published."""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from alembic_snapshot.build.ancestors import Ancestor, Ancestors, UnfitAncestor
from alembic_snapshot.build.handovers import Handovers
from alembic_snapshot.build.heads import Verified, Verifier
from alembic_snapshot.build.plan import (
    Broken,
    Plan,
    may_miss_something,
    see_that_env_runs_once,
    see_that_nothing_is_missed,
)
from alembic_snapshot.build.process import (
    HANDOVERS,
    AttemptFailed,
    BuilderProcess,
    Child,
    Listener,
)
from alembic_snapshot.builder.protocol import ENV, Checks, Done, Facts, Step
from alembic_snapshot.checks import is_beside
from alembic_snapshot.database.target import Target, Workspace
from alembic_snapshot.errors import BuildError, SnapshotError
from alembic_snapshot.key.layers import Chain, Layer, State
from alembic_snapshot.key.observed import Observed, Present
from alembic_snapshot.masking import masked
from alembic_snapshot.project.config import Project
from alembic_snapshot.project.owner import identity, owner
from alembic_snapshot.store.manifest import (
    ENV_SQL,
    ENV_SQL_CHANGED,
    REDIRECTED,
    Entry,
    Manifest,
    different_options,
)
from alembic_snapshot.store.store import Store, run_id


@dataclass
class Construction:
    """One build under the store's lock. With ``from_scratch`` it starts from an empty database.

    ``differences`` are why a snapshot that was checked again does not hold any more. ``in_one_go``
    says that all revisions run on one connection, and no state between them is kept.
    """

    project: Project
    chain: Chain
    store: Store
    present: Present
    listener: Listener
    chain_now: Callable[[], Chain]
    from_scratch: bool = False
    differences: Sequence[str] = ()
    in_one_go: bool = False

    @functools.cached_property
    def builder(self) -> BuilderProcess:
        """The builder process, which is told what to do and is heard out."""
        return BuilderProcess(self.project, self.chain, self.store, self.listener)

    @property
    def ancestors(self) -> Ancestors:
        """The states that the snapshot can be built on."""
        return Ancestors(self.project, self.chain, self.store, self.present)

    def run(self) -> Entry:
        """Build and publish every state that is kept; the last one is the snapshot."""
        ancestor = None if self.from_scratch else self.ancestors.deepest()
        workspace = self.store.workspace(self.chain.target.digest)
        try:
            entry = self._from(ancestor, workspace)
            self.store.forget_failure(self.chain.target.digest)
            return entry
        except SnapshotError as error:
            digest, whose = self.chain.target.digest, owner(self.project)
            self.store.keep_failure(digest, error, workspace.database, whose)
            raise
        except OSError as error:
            raise self.store.unwritable(error) from error
        finally:
            workspace.close()

    def _from(self, ancestor: Ancestor | None, workspace: Workspace) -> Entry:
        """Build on the ancestor, or from nothing if it is gone by now or turns out not to fit.

        Where branches ran in another order there may be one from before that.
        """
        order: Sequence[str] = ()
        while ancestor:
            try:
                with self.store.in_use(ancestor.entry):
                    if ancestor.entry.database.is_there():
                        return self._unbroken(workspace, ancestor)
                break
            except UnfitAncestor as unfit:
                may_be_earlier = unfit.order and not order
                ancestor = self.ancestors.deepest(unfit.order) if may_be_earlier else None
                order = unfit.order
        return self._unbroken(workspace, None)

    def _unbroken(self, workspace: Workspace, ancestor: Ancestor | None) -> Entry:
        """Build, in one go where revisions leave in their connection what later ones may need.

        So it is where one fails after ``env.py`` has run again: it may miss what nobody knows of.
        """
        try:
            return self._through_the_handovers(workspace, ancestor)
        except Broken as broken:
            self.in_one_go = True
            entry = self._through_the_handovers(workspace, ancestor)
            for state in broken.published:
                self.store.discard(state)
            return entry

    def check_again(self, entry: Entry, *, elsewhere: bool = False) -> Entry | None:
        """Check a snapshot against changed models; None if it has to be built anew instead.

        The copy that is checked is in the store's folder, or ``elsewhere``.
        """
        workspace = self.store.workspace(self.chain.target.digest, elsewhere=elsewhere)
        try:
            with self.store.in_use(entry):
                workspace.database.start(entry.database)
            handover = entry.manifest.handover or HANDOVERS[0]
            asked = entry.manifest.asked_of_env
            done = self._run_checks(workspace, workspace.database, handover, asked)
            if done.facts.configured:
                self.differences = self._different(entry.manifest, done.facts.options)
            elif not self.project.migrate:
                self.differences = ["env.py does not call context.configure() any more"]
            if self.differences:
                return None
        except AttemptFailed as failed:
            if not (self.project.migrate or self._has_same_env(entry.manifest)):
                # What it hands over now, nobody knows.
                self.differences = [f"env.py does not run as before: {_told(failed)}"]
                return None
            done = None
            checks = self._model_checks(Checks.impossible(_told(failed)))
        except FileNotFoundError:
            return None
        finally:
            workspace.close()
        if done is not None:
            checks = self._checks_of(done)
        before = {name: one for name, one in entry.manifest.checks.items() if name not in _MODELS}
        manifest = dataclasses.replace(
            entry.manifest,
            checks={**before, **checks},
            databases=self._databases(done.facts.databases if done else (), entry),
            warnings=self._warnings_now(entry.manifest, done.facts)
            if done
            else entry.manifest.warnings,
        )
        if done is not None and done.through_env is not None:
            read = self.builder.read(done.through_env, manifest.digest)
            manifest = dataclasses.replace(manifest, through_env=read)
        return self.store.update(entry, manifest)

    def _warnings_now(self, manifest: Manifest, facts: Facts) -> list[str]:
        """What is to be said of a state, now that ``env.py`` has run again.

        Where ``migrate`` made it, that may have been redirected, too, and did not run now.
        """
        led = [masked(line) for line in facts.redirected]
        if self.project.migrate:
            return _together(manifest.warnings, led)
        return [*led, *(line for line in manifest.warnings if not line.endswith(REDIRECTED))]

    def _run_checks(
        self, workspace: Workspace, database: Target, handover: str, asked: Collection[str]
    ) -> Done:
        """The report of a builder that only checks a database, which has all revisions.

        Raises:
            AttemptFailed: it could not.
        """
        # An upgrade with nothing to do, which tells the options that env.py gives to one.
        heads = None if self.chain.opaque else list(self.chain.heads)
        steps = [] if self.project.migrate else [Step("upgrade", revisions=heads)]
        applied = self.chain.revisions
        check = not self.chain.is_below
        job = self.builder.job(
            database, steps, handover, check=check, applied=applied, asked=asked, is_copy=True
        )
        return self.builder.run(workspace.folder, job).end

    def _check_apart(self, workspace: Workspace, done: Done, plan: Plan) -> Done:
        """A builder's report with the checks that another one makes on a copy of its database.

        Where ``migrate`` or a seed ran, models are imported that `alembic check` does not know. An
        ``env.py`` that writes rows shows there whether it leaves more each time that it runs.
        """
        database = workspace.state(len(plan.states))
        try:
            workspace.database.save(database.name)
            checked = self._run_checks(workspace, database, plan.handover, ())
            is_more = done.facts.env_writes and _differ(database, workspace.database)
        except AttemptFailed as failed:
            return dataclasses.replace(done, checks=Checks.impossible(_told(failed)))
        finally:
            database.remove()
        ours, theirs = done.facts, checked.facts
        # What env.py configures is known from the checks alone if it did not run before.
        configured = ours if ours.configured else theirs
        report = dataclasses.replace(
            ours,
            configured=configured.configured,
            options=configured.options,
            versions=(ours if ours.is_heard else theirs).versions,
            written=_together(ours.written, theirs.written),
            changed=_together(ours.changed, theirs.changed),
            databases=_together(ours.databases, theirs.databases),
            env_writes=is_more,
        )
        return Done(report, checked.checks, checked.through_env)

    def _through_the_handovers(self, workspace: Workspace, ancestor: Ancestor | None) -> Entry:
        """Try each way to hand over the target until one leaves the database at the heads."""
        handovers = Handovers(self._known_handover(ancestor))
        for handover in handovers:
            workspace.clear()
            workspace.database.start(ancestor.entry.database if ancestor else None)
            try:
                return self._attempt(workspace, ancestor, handover)
            except AttemptFailed as failed:
                handovers.failed(handover, failed)
        raise handovers.error() from None

    def _attempt(self, workspace: Workspace, ancestor: Ancestor | None, handover: str) -> Entry:
        states = self._states(ancestor)
        steps = list(self._steps(states, ancestor, workspace))
        plan = Plan(workspace, ancestor, handover, states, steps)
        applied = ancestor.state.revisions if ancestor else ()
        asked = ancestor.entry.manifest.asked_of_env if ancestor else ()
        is_plain = all(step.does == "upgrade" for step in steps)
        check = is_plain and not self.chain.is_below
        job = self.builder.job(
            workspace.database, steps, handover, check=check, applied=applied, asked=asked
        )
        child: Child | None = None
        try:
            child = self.builder.run(workspace.folder, job)
            see_that_nothing_is_missed(child, plan)
            if not is_plain or child.facts.env_writes:
                child.done = self._check_apart(workspace, child.end, plan)
            see_that_env_runs_once(child, plan)
            return self._publish(child, plan)[-1]
        except AttemptFailed as failed:
            if failed.child:
                see_that_nothing_is_missed(failed.child, plan)
            if ancestor and failed.child and failed.child.failed and failed.child.failed.order:
                raise UnfitAncestor(failed.child.failed.order) from None
            if child:
                failed.ran = True
                failed.asks_command_line = child.facts.asks_command_line
            published: Sequence[Entry] = ()
            if failed.child and not failed.child.facts.refused:
                published = self._publish_reached(failed.child, plan)
            if failed.child and may_miss_something(failed.child, plan):
                raise Broken(published) from failed
            raise

    def _publish_reached(self, child: Child, plan: Plan) -> Sequence[Entry]:
        """Publish what was reached before a revision or a seed failed: it is not to be run again.

        Raises:
            AttemptFailed: a seed failed, and the revisions before it had not made their database.
        """
        try:
            return self._publish(child, plan)
        except AttemptFailed as failed:
            if child.failed and ":" in (child.failed.current or ""):
                failed.ran = True
                failed.asks_command_line = child.facts.asks_command_line
                raise
        except (SnapshotError, OSError):
            pass
        return ()

    def _publish(self, child: Child, plan: Plan) -> list[Entry]:
        """Publish each state that the builder reached: all, or what a failed one copied."""
        self._refuse_unfit(plan.ancestor, child.facts)
        self._refuse_changed(child.facts.written, child.facts.changed)
        entries = []
        for index, state in enumerate(plan.states):
            copied = plan.steps[index].copy
            if index not in child.states or (child.failed and not copied):
                # It was not reached, or is none to keep.
                continue
            database = plan.workspace.state(index) if copied else plan.workspace.database
            database.seal()
            before = plan.ancestor.entry.manifest if plan.ancestor else None
            verifier = Verifier(self.project, self.chain, child.facts, before)
            verified = verifier.verify(database, state)
            manifest = self._manifest(database, state, child, plan, index, verified)
            replace = self.from_scratch or state.digest == self.chain.target.digest
            entries.append(self.store.publish(database, manifest, replace=replace))
        return entries

    def _refuse_unfit(self, ancestor: Ancestor | None, report: Facts) -> None:
        if not ancestor or not report.configured:
            return
        if self._different(ancestor.entry.manifest, report.options):
            raise UnfitAncestor(())

    def _different(self, manifest: Manifest, options: Mapping[str, str]) -> list[str]:
        """What ``env.py`` hands over otherwise than when a state was built.

        Which SQL it runs depends on what is there: another one counts if ``env.py`` has changed.
        """
        found = different_options(manifest.options, options)
        if ENV_SQL_CHANGED in found and self._has_same_env(manifest):
            found.remove(ENV_SQL_CHANGED)
        return found

    def _has_same_env(self, manifest: Manifest) -> bool:
        """Whether ``env.py``'s modules, and what they read, are as when a state was built."""
        is_same = manifest.checks.get("models") == self.chain.models_digest
        return is_same and not any(self.present.changes(manifest.through_env, manifest.digest))

    def _states(self, ancestor: Ancestor | None) -> list[State]:
        """The states to reach from the ancestor; the last one is the snapshot."""
        states = self.chain.published_states()
        if self.in_one_go:
            states = [one for one in states if len(one.revisions) == len(self.chain.revisions)]
        if ancestor is None:
            return states
        have = set(ancestor.state.revisions)
        ahead = [
            state
            for state in states
            if have <= set(state.revisions) and state.digest != ancestor.state.digest
        ]
        return [s for s in ahead if len(s.seeds) >= len(ancestor.state.seeds)]

    def _steps(
        self, states: Sequence[State], ancestor: Ancestor | None, workspace: Workspace
    ) -> Iterator[Step]:
        revisions: Mapping[str, str] | None = ancestor.state.revisions if ancestor else None
        for index, state in enumerate(states):
            last = index == len(states) - 1
            step = Step(
                "nothing",
                index=index,
                copy=None if last else workspace.state(index).name,
                inputs=[name for layer in self._layers(state) for name in layer.inputs],
                owners=None if self.chain.opaque else [*state.revisions, *self._seeds(state)],
            )
            if revisions is None or set(state.revisions) != set(revisions):
                if self.project.migrate:
                    step = dataclasses.replace(step, does="migrate", function=self.project.migrate)
                else:
                    heads = None if self.chain.opaque else list(state.heads)
                    goal = None if self.chain.opaque else list(states[-1].heads)
                    step = dataclasses.replace(step, does="upgrade", revisions=heads, last=goal)
                revisions = state.revisions
            elif state.seeds:
                seed = self.chain.seeds[len(state.seeds) - 1].name
                step = dataclasses.replace(step, does="seed", function=seed)
            yield step

    def _known_handover(self, ancestor: Ancestor | None) -> str | None:
        """The handover of this project's last snapshot."""
        if ancestor and ancestor.entry.manifest.handover:
            return ancestor.entry.manifest.handover
        ours = identity(self.project)
        manifests = (entry.manifest for entry in self.store.entries())
        return next((m.handover for m in manifests if m.project == ours and m.handover), None)

    def _refuse_changed(self, written: Collection[str], changed: Sequence[str]) -> None:
        """Refuse to publish if files changed during the build: the digest is of the old ones."""
        before, now = self.chain.inputs, self.chain_now().inputs
        names = sorted(name for name in before.keys() | now.keys() if name not in written)
        files = [*changed, *(name for name in names if before.get(name) != now.get(name))]
        if files:
            error = BuildError(
                f"{files[0]} changed while the snapshot was built", hint="build it again"
            )
            raise AttemptFailed(error, final=True)

    def _manifest(
        self,
        database: Target,
        state: State,
        child: Child,
        plan: Plan,
        index: int,
        verified: Verified,
    ) -> Manifest:
        before = plan.ancestor.entry.manifest.observed if plan.ancestor else None
        layers, seen = self._layers(state), child.states[index]
        read = self.builder.read(seen.direct, state.digest, before)
        if seen.blind:
            # Something may have read the files that constants name without being heard.
            named_files = {
                name: digest for layer in layers for name, digest in layer.named_files.items()
            }
            read = Observed(files=named_files).joined(read)
        is_target = state.digest == self.chain.target.digest
        through = self.builder.read(seen.through_env, state.digest)
        if is_target and child.end.through_env is not None:
            through = self.builder.read(child.end.through_env, state.digest, through)
        checks: dict[str, Any] = {
            **(seen.problems or database.problems()),
            **self._made_of_metadata(child.facts, plan.ancestor, state),
        }
        checks |= {**verified.checks, "models": self.chain.models_digest}
        if is_target:
            checks |= self._checks_of(child.end)
        return Manifest(
            digest=state.digest,
            family=self.chain.target.digest,
            project=identity(self.project),
            created=time.time(),
            size=database.size(),
            sha256=database.content_hash(),
            heads=verified.heads,
            revisions=dict(state.revisions),
            seeds=state.seeds,
            layers={layer.name: {**layer.named_files, **layer.inputs} for layer in layers},
            observed=read,
            through_env=through,
            handover=None if self.project.migrate else plan.handover,
            options={**child.facts.options, **_env_sql(plan.ancestor)},
            version_table=verified.table,
            tables=len(database.tables()),
            checks=checks,
            timings=dict(self.builder.timings),
            warnings=[masked(line) for line in (*_said(child.facts), *verified.notes)],
            databases=self._databases(child.facts.databases, plan.ancestor and plan.ancestor.entry),
            left=sorted(
                {
                    *seen.left,
                    *(plan.ancestor.entry.manifest.left if plan.ancestor else ()),
                    *([ENV] if child.facts.env_writes else ()),
                }
            ),
            # What stands on another machine's work is believed as far as that is.
            origins=plan.ancestor.entry.manifest.origins if plan.ancestor else (),
        )

    def _made_of_metadata(
        self, facts: Facts, ancestor: Ancestor | None, state: State
    ) -> dict[str, list[str]]:
        """The revisions and seeds of a state, and what ran beside them, in this build or before,
        that take their schema from metadata.
        """
        before = ancestor.entry.manifest.checks if ancestor else {}
        names = None if self.chain.opaque else {*state.revisions, *self._seeds(state)}
        return {
            key: [
                name
                for name in dict.fromkeys([*before.get(key, ()), *getattr(facts, key)])
                if names is None or name in names or is_beside(name)
            ]
            for key in ("create_all", "from_models")
        }

    def _databases(
        self, databases: Sequence[Mapping[str, Any]], before: Entry | None
    ) -> list[dict[str, Any]]:
        """The databases that ``env.py`` would have opened, in this build or in an ancestor's."""
        known = before.manifest.databases if before else ()
        return [dict(record) for record in _together(known, databases)]

    def _layers(self, state: State) -> Sequence[Layer]:
        """The layers of a state, parents before children."""
        revisions = (self.chain.revisions[name] for name in state.revisions)
        return (self.chain.base, *revisions, *self.chain.seeds[: len(state.seeds)])

    def _seeds(self, state: State) -> list[str]:
        """The references of a state's seeds."""
        return [layer.name for layer in self.chain.seeds[: len(state.seeds)]]

    def _checks_of(self, done: Done) -> dict[str, Any]:
        """The models' checks, with a database below the heads none."""
        if self.chain.is_below:
            return {"models": self.chain.models_digest}
        return self._model_checks(done.checks)

    def _model_checks(self, checks: Checks) -> dict[str, Any]:
        return {
            "models": self.chain.models_digest,
            **dataclasses.asdict(checks),
            "tried_by": run_id(),
        }


# What a manifest's checks have of the models.
_MODELS = frozenset({"tried_by", *(one.name for one in dataclasses.fields(Checks))})


def _told(failed: AttemptFailed) -> str:
    """Why the models were not checked, with what is known to help."""
    known = failed.child.failed.hint if failed.child and failed.child.failed else None
    return f"{failed.error.message}; {known}" if known else failed.error.message


def _differ(database: Target, other: Target) -> bool:
    """Whether two databases differ, or may: where that can't be told they do."""
    try:
        return bool(database.diff(other))
    except Exception:
        return True


def _said(facts: Facts) -> list[str]:
    """What a snapshot's every output says of its build."""
    why = "another build finds it otherwise; let migrations write to a temporary folder"
    return [*facts.redirected, *(f"{line}: {why}" for line in facts.unlike_before)]


def _env_sql(ancestor: Ancestor | None) -> dict[str, str]:
    """The SQL that ``env.py`` ran where the ancestor was made from nothing."""
    options = ancestor.entry.manifest.options if ancestor else {}
    return {ENV_SQL: options[ENV_SQL]} if ENV_SQL in options else {}


def _together(ours: Sequence[Any], theirs: Sequence[Any]) -> list[Any]:
    """All values of both, each once. They need not be hashable."""
    return [*ours, *(value for value in theirs if value not in ours)]
