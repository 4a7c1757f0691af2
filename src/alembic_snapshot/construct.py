"""One build: from the deepest ancestor in the store to every state that is published."""

from __future__ import annotations

import dataclasses
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from alembic_snapshot import sqlite
from alembic_snapshot.child import Child, Listener
from alembic_snapshot.config import Project
from alembic_snapshot.errors import BuildError, GuardError, MigrationError, SnapshotError
from alembic_snapshot.inputs import Files
from alembic_snapshot.layers import Chain, State
from alembic_snapshot.observed import Observed, variable_digest
from alembic_snapshot.snapshot import substituted
from alembic_snapshot.status import identity
from alembic_snapshot.store import Entry, Manifest, Store

_SHOWN_SQL = 200
# The ways in which an env.py may take its target, in the order in which they are tried.
OFFERS = ("url", "connection", "engine", "async")


@dataclass
class Construction:
    """One build under the store's lock."""

    project: Project
    chain: Chain
    store: Store
    files: Files
    listener: Listener
    timings: dict[str, float] = field(default_factory=dict)
    applied: set[str] = field(default_factory=set)

    def run(self, *, from_scratch: bool = False) -> Entry:
        """Build and publish every state that is kept; the last one is the snapshot."""
        ancestor = None if from_scratch else self._ancestor()
        workspace = self.store.workspace(self.chain.target.digest)
        database = workspace / "database.db"
        try:
            made = self._through_the_offers(workspace, database, ancestor)
            self.store.forget_failure(self.chain.target.digest)
            return made
        except SnapshotError as error:
            self.store.keep_failure(self.chain.target.digest, error, database)
            raise
        except OSError as error:
            raise self.store.unwritable(error) from error
        finally:
            shutil.rmtree(workspace, ignore_errors=True)

    def check_again(self, entry: Entry) -> Entry | None:
        """Check a snapshot against changed models; None if it has to be built anew instead."""
        workspace = self.store.workspace(self.chain.target.digest)
        try:
            database = workspace / "database.db"
            sqlite.copy(entry.database, database)
            os.chmod(database, 0o600)
            job = self._job(database, [], entry.manifest.offer or OFFERS[0], check=True)
            done = self._child(workspace, job).done
            if done["options"] != entry.manifest.options:
                return None
        except _AttemptFailed as failed:
            done = {"drift": [], "drift_error": failed.error.message, "mappers": None}
        finally:
            shutil.rmtree(workspace, ignore_errors=True)
        checks = {**entry.manifest.checks, **self._model_checks(done)}
        return self.store.update(entry, dataclasses.replace(entry.manifest, checks=checks))

    def _through_the_offers(
        self, workspace: Path, database: Path, ancestor: tuple[Entry, State] | None
    ) -> Entry:
        """Try each way to hand over the target until one leaves the database at the heads."""
        failures: dict[str, BuildError] = {}
        for offer in self._offers(ancestor):
            self._start_from(ancestor, database)
            try:
                return self._attempt(workspace, database, ancestor, offer)
            except _AttemptFailed as failed:
                failures[offer] = failed.error
                if failed.final:
                    raise failed.error from None
        first = next(iter(failures.values()))
        others = [f"  offered as {offer}: {error.message}" for offer, error in failures.items()]
        first.details = "\n".join([first.details or "", "What was tried:", *others])
        raise first from None

    def _attempt(
        self, workspace: Path, database: Path, ancestor: tuple[Entry, State] | None, offer: str
    ) -> Entry:
        stops = self._stops(ancestor)
        steps = list(self._steps(stops, ancestor, workspace))
        job = self._job(database, steps, offer, check=True)
        child = self._child(workspace, job)
        entry = None
        before = ancestor[0].manifest.observed if ancestor else Observed()
        for index, state in enumerate(stops):
            path = Path(steps[index]["copy"] or database)
            sqlite.seal(path)
            self._verify(path, state, child.done)
            manifest = self._manifest(path, state, child, offer, before, index)
            entry = self.store.publish(path, manifest)
        assert entry
        return entry

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
        self, stops: Sequence[State], ancestor: tuple[Entry, State] | None, workspace: Path
    ) -> Iterator[dict[str, Any]]:
        revisions: Mapping[str, str] | None = ancestor[1].revisions if ancestor else None
        for index, state in enumerate(stops):
            last = index == len(stops) - 1
            step: dict[str, Any] = {
                "index": index,
                "copy": None if last else str(workspace / f"state-{index}.db"),
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

    def _start_from(self, ancestor: tuple[Entry, State] | None, database: Path) -> None:
        sqlite.remove(database)
        for copied in database.parent.glob("state-*"):
            copied.unlink()
        if ancestor:
            sqlite.copy(ancestor[0].database, database)
            os.chmod(database, 0o600)

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

    def _job(
        self, database: Path, steps: Sequence[Any], offer: str, *, check: bool
    ) -> dict[str, Any]:
        project, settings = self.project, self.project.alembic
        known = {name for layer in self.chain.layers for name in layer.inputs}
        known |= {project.relative(path) for path in (settings.ini, settings.toml) if path}
        known.add("pyproject.toml")
        return {
            "target": str(database),
            "url": sqlite.url(database),
            "root": str(project.root),
            "store": str(project.store),
            "scripts": str(settings.script_location),
            "versions": [str(path) for path in settings.version_locations]
            if not self.chain.opaque
            else [],
            "recursive": settings.recursive,
            "ini": str(settings.ini) if settings.ini else None,
            "toml": str(settings.toml) if settings.toml else None,
            "section": settings.section,
            "search_path": [str(path) for path in project.search_path],
            "x": [value for _, value in substituted(_numbered(project.x), database).items()],
            "foreign": project.foreign,
            "known": sorted(known),
            "ignored": sorted({*project.ignore_environment, *project.environment}),
            "offer": offer,
            "steps": steps,
            "check": check,
        }

    def _child(self, workspace: Path, job: Mapping[str, Any]) -> Child:
        """Run the builder to its end; a failure is raised as :class:`_AttemptFailed`."""
        child = Child(self.listener, self.timings)
        child.run(job, self._environment(workspace, Path(job["target"])), self.project.root)
        if child.failed:
            final = bool(child.failed["current"] or child.failed["is_import"])
            raise _AttemptFailed(self._error(child.failed, child.output), final=final)
        if not child.done:
            error = BuildError(
                f"the builder ended with status {child.status} before it was done",
                hint="its output is in the details; was it killed, or did a migration exit?",
                details=child.output,
            )
            raise _AttemptFailed(error, final=True)
        if child.done["refused"]:
            raise _AttemptFailed(_refusal(child.done["refused"], child.output), final=False)
        return child

    def _environment(self, workspace: Path, database: Path) -> dict[str, str]:
        project = self.project
        inherited = dict(os.environ)
        if project.inherit_environment is not None:
            allowed = {*project.inherit_environment, "PATH", "LANG", "LC_ALL", "TMPDIR"}
            inherited = {name: value for name, value in inherited.items() if name in allowed}
        # Where imports are found is configured, so that every caller computes the same key.
        inherited.pop("PYTHONPATH", None)
        if project.private_home:
            home = workspace / "home"
            home.mkdir(exist_ok=True)
            inherited["HOME"] = str(home)
        return inherited | substituted(project.environment, database)

    def _error(self, failed: Mapping[str, Any], output: str) -> BuildError:
        details = failed["traceback"]
        if failed["sql"]:
            details += f"\nSQL:\n{failed['sql']}\n"
        if output:
            details += f"\nOutput:\n{output}"
        if failed["refused"]:
            return _refusal(failed["refused"], details)
        where = f" at {failed['where']}" if failed["where"] else ""
        who = "env.py"
        if failed["current"]:
            kind = "seed" if ":" in failed["current"] else "revision"
            who = f"{kind} {failed['current']}"
        sql = f" [{' '.join(failed['sql'].split())[:_SHOWN_SQL]}]" if failed["sql"] else ""
        return MigrationError(
            f"{who} failed{where}: {failed['type']}: {failed['text']}{sql}",
            hint=self._hint(failed),
            details=details,
        )

    def _hint(self, failed: Mapping[str, Any]) -> str:
        if failed["is_import"]:
            return "install it, or add its folder to pythonpath in [tool.alembic-snapshot]"
        if failed["current"]:
            kept = self.store.failed_database(self.chain.target.digest)
            return f"the half-built database is kept at {kept}"
        if failed["type"] == "KeyError" and failed["text"].strip("'") not in os.environ:
            name = failed["text"].strip("'")
            return f'is it a variable? set environment = {{ {name} = "…" }}'
        return (
            "env.py may need a variable (environment), an argument (x) or a function that makes "
            "the database (migrate): set it in [tool.alembic-snapshot]"
        )

    def _verify(self, path: Path, state: State, done: Mapping[str, Any]) -> None:
        """Compare the heads inside the file with the scripts'; Alembic's word is not enough."""
        found = sqlite.heads(path, done["version_table"])
        if self.chain.opaque:
            reached = bool(found)
        else:
            known = [name for name in found if name in self.chain.revisions]
            reached = self.chain.below(known) == set(state.revisions) and known == found
        if reached:
            return
        if self.chain.opaque and not self.project.migrate and not done["planned"]:
            raise _AttemptFailed(self._no_revisions(), final=True)
        at = f"at {', '.join(found)}" if found else "at no revision"
        wanted = ", ".join(state.heads) or "the heads"
        culprit = "; ".join(done["redirected"]) or "env.py did not commit, or connects elsewhere"
        error = BuildError(
            f"alembic upgraded to {wanted}, but the snapshot is {at}: {culprit}",
            hint='use config.attributes["connection"] or sqlalchemy.url in env.py, or set the '
            "variable it reads in [tool.alembic-snapshot] environment",
        )
        raise _AttemptFailed(error, final=False)

    def _no_revisions(self) -> BuildError:
        places = ", ".join(map(str, self.project.alembic.version_locations))
        return BuildError(
            f"there are no revisions: none in {places}, and env.py named none while it ran",
            hint="make the first with `alembic revision`, or correct version_locations",
        )

    def _manifest(
        self,
        path: Path,
        state: State,
        child: Child,
        offer: str,
        before: Observed,
        index: int,
    ) -> Manifest:
        seeds = self.chain.seeds[: len(state.seeds)]
        layers = [self.chain.base, *(self.chain.revisions[n] for n in state.revisions), *seeds]
        checks: dict[str, Any] = {**sqlite.problems(path), "create_all": child.done["create_all"]}
        final = state.digest == self.chain.target.digest
        if final:
            heads = [] if self.project.heads == "many" else state.heads
            checks |= self._model_checks(child.done) | {"heads": list(heads)}
        return Manifest(
            digest=state.digest,
            family=self.chain.target.digest,
            project=identity(self.project),
            created=time.time(),
            size=path.stat().st_size,
            sha256=sqlite.content_hash(path),
            heads=state.heads,
            revisions=dict(state.revisions),
            seeds=state.seeds,
            layers={layer.name: dict(layer.inputs) for layer in layers},
            observed=self._observed(child.states[index], before, state.digest),
            offer=None if self.project.migrate else offer,
            options=child.done["options"] if final else {},
            version_table=child.done["version_table"],
            tables=len(sqlite.tables(path)),
            checks=checks,
            timings=dict(self.timings),
            warnings=child.done["redirected"],
        )

    def _observed(self, seen: Mapping[str, Any], before: Observed, salt: str) -> Observed:
        """What was read up to a state, together with what its ancestor had read."""
        names = {*seen["environment"], *before.environment}
        if self.project.inherit_environment is not None:
            names &= set(self.project.inherit_environment)
        return Observed(
            {**before.files, **seen["files"]},
            {**before.folders, **seen["folders"]},
            {name: variable_digest(name, os.environ.get(name), salt) for name in sorted(names)},
        )

    def _model_checks(self, done: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "models": self.chain.models_digest,
            "drift": done["drift"],
            "drift_error": done["drift_error"],
            "mappers": done["mappers"],
        }


class _AttemptFailed(Exception):
    """The builder failed; unless ``final``, offering the target in another way may mend it."""

    def __init__(self, error: BuildError, *, final: bool):
        super().__init__(error.message)
        self.error = error
        self.final = final


def _refusal(refused: Sequence[str], details: str) -> GuardError:
    return GuardError(
        f"{refused[0]}: only the snapshot may be opened",
        hint='what env.py connects to is redirected unless foreign = "refuse"; a revision or a '
        "seed should use the connection that it is given",
        details=details,
    )


def _numbered(values: Sequence[str]) -> dict[str, str]:
    return {str(index): value for index, value in enumerate(values)}
