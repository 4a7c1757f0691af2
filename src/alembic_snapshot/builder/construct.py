"""One build: from the deepest ancestor in the store to every state that is published."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from alembic_snapshot.builder.child import (
    OFFERS,
    AttemptFailed,
    Child,
    Listener,
    Workshop,
    unchecked,
)
from alembic_snapshot.config import Project
from alembic_snapshot.errors import BuildError, SnapshotError
from alembic_snapshot.key.inputs import Files
from alembic_snapshot.key.layers import Chain, State
from alembic_snapshot.key.observed import Observed
from alembic_snapshot.manifest import Entry, Manifest
from alembic_snapshot.status import identity
from alembic_snapshot.store import Store, run_id
from alembic_snapshot.target import Target, Workspace


@dataclass
class Construction:
    """One build under the store's lock; ``from_scratch``, on nothing that the store has."""

    project: Project
    chain: Chain
    store: Store
    files: Files
    listener: Listener
    chain_now: Callable[[], Chain]
    from_scratch: bool = False

    @functools.cached_property
    def workshop(self) -> Workshop:
        """Where the builder is told what to do, and heard out."""
        return Workshop(self.project, self.chain, self.store, self.listener)

    def run(self) -> Entry:
        """Build and publish every state that is kept; the last one is the snapshot."""
        ancestor = None if self.from_scratch else self._ancestor()
        workspace = self.store.workspace(self.chain.target.digest)
        try:
            made = self._from(ancestor, workspace)
            self.store.forget_failure(self.chain.target.digest)
            return made
        except SnapshotError as error:
            self.store.keep_failure(self.chain.target.digest, error, workspace.database)
            raise
        except OSError as error:
            raise self.store.unwritable(error) from error
        finally:
            workspace.close()

    def _from(self, ancestor: tuple[Entry, State] | None, workspace: Workspace) -> Entry:
        """Build on the ancestor, or from nothing if it is gone by now or turns out not to fit."""
        if ancestor:
            with self.store.in_use(ancestor[0]), contextlib.suppress(_UnfitAncestor):
                if ancestor[0].database.is_there():
                    return self._through_the_offers(workspace, ancestor)
        return self._through_the_offers(workspace, None)

    def check_again(self, entry: Entry) -> Entry | None:
        """Check a snapshot against changed models; None if it has to be built anew instead."""
        workspace = self.store.workspace(self.chain.target.digest)
        try:
            with self.store.in_use(entry):
                workspace.database.start(entry.database)
            offer = entry.manifest.offer or OFFERS[0]
            applied = self.chain.revisions
            # An upgrade with nothing to do, which tells the options that env.py gives to one.
            heads = None if self.chain.opaque else list(self.chain.heads)
            step = {"index": 0, "copy": None, "upgrade": heads}
            steps = [] if self.project.migrate else [step]
            job = self.workshop.job(workspace.database, steps, offer, check=True, applied=applied)
            done = self.workshop.run(workspace.folder, job).done
            if done["configured"] and done["options"] != entry.manifest.options:
                return None
        except AttemptFailed as failed:
            done = unchecked(failed.error.message)
        except FileNotFoundError:
            return None
        finally:
            workspace.close()
        checks = {**entry.manifest.checks, **self._model_checks(done)}
        return self.store.update(entry, dataclasses.replace(entry.manifest, checks=checks))

    def _through_the_offers(
        self, workspace: Workspace, ancestor: tuple[Entry, State] | None
    ) -> Entry:
        """Try each way to hand over the target until one leaves the database at the heads."""
        failures: dict[str, BuildError] = {}
        for offer in self._offers(ancestor):
            workspace.clear()
            workspace.database.start(ancestor[0].database if ancestor else None)
            try:
                return self._attempt(workspace, ancestor, offer)
            except AttemptFailed as failed:
                failures[offer] = failed.error
                if failed.final:
                    raise failed.error from None
        first = next(iter(failures.values()))
        others = [f"  offered as {offer}: {error.message}" for offer, error in failures.items()]
        first.details = "\n".join([first.details or "", "What was tried:", *others])
        raise first from None

    def _attempt(
        self, workspace: Workspace, ancestor: tuple[Entry, State] | None, offer: str
    ) -> Entry:
        stops = self._stops(ancestor)
        steps = list(self._steps(stops, ancestor, workspace))
        plan = _Plan(workspace, ancestor, offer, stops, steps)
        applied = ancestor[1].revisions if ancestor else ()
        job = self.workshop.job(workspace.database, steps, offer, check=True, applied=applied)
        try:
            return self._publish(self.workshop.run(workspace.folder, job), plan)[-1]
        except AttemptFailed as failed:
            if failed.child and not failed.child.facts["refused"]:
                # What was reached before a revision or a seed failed is not to be run again.
                with contextlib.suppress(AttemptFailed, SnapshotError, OSError):
                    self._publish(failed.child, plan)
            raise

    def _publish(self, child: Child, plan: _Plan) -> list[Entry]:
        """Publish what the builder reached: all of the plan, or of a failed one its copies."""
        _refuse_unfit(plan.ancestor, child.facts)
        self._refuse_changed(child.facts["written"], child.facts["changed"])
        entries = []
        for index, state in enumerate(plan.stops):
            copied = plan.steps[index]["copy"]
            if index not in child.states or (child.failed and not copied):
                break
            database = plan.workspace.state(index) if copied else plan.workspace.database
            database.seal()
            self._verify(database, state, child.facts)
            manifest = self._manifest(database, state, child, plan, index)
            replace = self.from_scratch or state.digest == self.chain.target.digest
            entries.append(self.store.publish(database, manifest, replace=replace))
        return entries

    def _stops(self, ancestor: tuple[Entry, State] | None) -> list[State]:
        """The states to reach from the ancestor; the last one is the snapshot."""
        stops = self.chain.stops()
        if ancestor is None:
            return stops
        have = set(ancestor[1].revisions)
        ahead = [
            state
            for state in stops
            if have <= set(state.revisions) and state.digest != ancestor[1].digest
        ]
        return [s for s in ahead if len(s.seeds) >= len(ancestor[1].seeds)]

    def _steps(
        self, stops: Sequence[State], ancestor: tuple[Entry, State] | None, workspace: Workspace
    ) -> Iterator[dict[str, Any]]:
        revisions: Mapping[str, str] | None = ancestor[1].revisions if ancestor else None
        for index, state in enumerate(stops):
            last = index == len(stops) - 1
            step: dict[str, Any] = {
                "index": index,
                "copy": None if last else workspace.state(index).name,
            }
            if revisions is None or set(state.revisions) != set(revisions):
                if self.project.migrate:
                    step["migrate"] = self.project.migrate
                else:
                    step["upgrade"] = None if self.chain.opaque else list(state.heads)
                revisions = state.revisions
            elif state.seeds:
                step["seed"] = self.chain.seeds[len(state.seeds) - 1].name
            yield step

    def _ancestor(self) -> tuple[Entry, State] | None:
        """The stored snapshot that has most of ours, and nothing else."""
        ours = {name: layer.digest for name, layer in self.chain.revisions.items()}
        seeds = tuple(layer.digest for layer in self.chain.seeds)
        found: list[tuple[int, int, Entry, State]] = []
        for entry in self.store.entries():
            manifest = entry.manifest
            state = self._state_of(manifest, ours, seeds)
            if state is None or state.digest != manifest.digest:
                continue
            changed = list(
                manifest.observed.changes(self.project.root, self.files, manifest.digest)
            )
            if not changed and self.store.is_intact(entry):
                found.append((len(state.revisions), len(state.seeds), entry, state))
        if not found:
            return None
        best = max(found, key=lambda item: item[:2])
        return best[2], best[3]

    def _state_of(
        self, manifest: Manifest, ours: Mapping[str, str], seeds: Sequence[str]
    ) -> State | None:
        """The state of our chain that a manifest describes, if it is one before our target."""
        theirs = manifest.revisions
        if self.chain.opaque and not manifest.seeds:
            state = self.chain.state(())
            return state if self.chain.seeds and state.digest == manifest.digest else None
        if any(ours.get(name) != digest for name, digest in theirs.items()):
            return None
        if list(manifest.seeds) != list(seeds[: len(manifest.seeds)]):
            return None
        if manifest.seeds and set(theirs) != set(ours):
            return None
        if set(theirs) == set(ours) and len(manifest.seeds) == len(seeds):
            return None
        return self.chain.state(theirs, len(manifest.seeds))

    def _offers(self, ancestor: tuple[Entry, State] | None) -> list[str]:
        """The ways to try; what worked for this project's last snapshot comes first."""
        known = ancestor[0].manifest.offer if ancestor else None
        if known is None:
            for entry in self.store.entries():
                if entry.manifest.project == identity(self.project) and entry.manifest.offer:
                    known = entry.manifest.offer
                    break
        return sorted(OFFERS, key=lambda offer: (offer != known, OFFERS.index(offer)))

    def _verify(self, database: Target, state: State, facts: Mapping[str, Any]) -> None:
        """Compare the heads inside the file with the scripts'; Alembic's word is not enough."""
        found = database.heads(facts["version_table"])
        if self.chain.opaque:
            reached = bool(found)
        else:
            known = [name for name in found if name in self.chain.revisions]
            reached = self.chain.below(known) == set(state.revisions) and known == found
        if reached:
            return
        if self.chain.opaque and not self.project.migrate and not facts["planned"]:
            raise AttemptFailed(self._no_revisions(), final=True)
        at = f"at {', '.join(found)}" if found else "at no revision"
        wanted = ", ".join(state.heads) or "the heads"
        culprit = "; ".join(facts["redirected"]) or "env.py did not commit, or connects elsewhere"
        error = BuildError(
            f"alembic upgraded to {wanted}, but the snapshot is {at}: {culprit}",
            hint='use config.attributes["connection"] or sqlalchemy.url in env.py, or set the '
            "variable it reads in [tool.alembic-snapshot] environment",
        )
        raise AttemptFailed(error, final=False)

    def _refuse_changed(self, written: Collection[str], changed: Sequence[str]) -> None:
        """Publish nothing under a digest of files that are not what ran any more."""
        before, now = self.chain.inputs, self.chain_now().inputs
        names = sorted(name for name in before.keys() | now.keys() if name not in written)
        found = [*changed, *(name for name in names if before.get(name) != now.get(name))]
        if found:
            error = BuildError(
                f"{found[0]} changed while the snapshot was built", hint="build it again"
            )
            raise AttemptFailed(error, final=True)

    def _no_revisions(self) -> BuildError:
        places = ", ".join(map(str, self.project.alembic.version_locations))
        return BuildError(
            f"there are no revisions: none in {places}, and env.py named none while it ran",
            hint="make the first with `alembic revision`, or correct version_locations",
        )

    def _manifest(
        self, database: Target, state: State, child: Child, plan: _Plan, index: int
    ) -> Manifest:
        seeds = self.chain.seeds[: len(state.seeds)]
        before = plan.ancestor[0].manifest.observed if plan.ancestor else Observed()
        layers = [self.chain.base, *(self.chain.revisions[n] for n in state.revisions), *seeds]
        checks: dict[str, Any] = {**database.problems(), "create_all": child.facts["create_all"]}
        checks |= {"heads": list(state.heads), "models": self.chain.models_digest}
        if state.digest == self.chain.target.digest:
            checks |= self._model_checks(child.done)
        return Manifest(
            digest=state.digest,
            family=self.chain.target.digest,
            project=identity(self.project),
            created=time.time(),
            size=database.size(),
            sha256=database.content_hash(),
            heads=state.heads,
            revisions=dict(state.revisions),
            seeds=state.seeds,
            layers={layer.name: dict(layer.inputs) for layer in layers},
            observed=self.workshop.observed(child.states[index], before, state.digest),
            offer=None if self.project.migrate else plan.offer,
            options=child.facts["options"],
            version_table=child.facts["version_table"],
            tables=len(database.tables()),
            checks=checks,
            timings=dict(self.workshop.timings),
            warnings=child.facts["redirected"],
        )

    def _model_checks(self, done: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "models": self.chain.models_digest,
            "drift": done["drift"],
            "drift_error": done["drift_error"],
            "mappers": done["mappers"],
            "unchecked": done["unchecked"],
            "tried_by": run_id(),
        }


class _Plan(NamedTuple):
    """What one run of the builder is to reach: which states, from what, and where."""

    workspace: Workspace
    ancestor: tuple[Entry, State] | None
    offer: str
    stops: Sequence[State]
    steps: Sequence[Mapping[str, Any]]


class _UnfitAncestor(Exception):
    """The ancestor was built with other options of ``env.py`` than there are now."""


def _refuse_unfit(ancestor: tuple[Entry, State] | None, facts: Mapping[str, Any]) -> None:
    if ancestor and facts["configured"] and facts["options"] != ancestor[0].manifest.options:
        raise _UnfitAncestor
