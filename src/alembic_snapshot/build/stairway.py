"""Every revision up, down and up again, with the schema compared at each step."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import os
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from alembic_snapshot.build.ensure import ensure
from alembic_snapshot.build.lookup import Status, look_up, suits
from alembic_snapshot.build.process import HANDOVERS, AttemptFailed, BuilderProcess, Child
from alembic_snapshot.build.snapshot import Snapshot
from alembic_snapshot.build.stairway_cache import Finding, Findings, Note, StairwayCache
from alembic_snapshot.build.waiting import telling_of_a_wait
from alembic_snapshot.builder.protocol import Step
from alembic_snapshot.database.target import Target, Workspace
from alembic_snapshot.errors import BuildError, CheckError
from alembic_snapshot.key.history import find_scripts, in_order
from alembic_snapshot.key.layers import Chain, Layer
from alembic_snapshot.project.config import Project
from alembic_snapshot.project.owner import identity
from alembic_snapshot.store.manifest import Entry, Manifest, different_options
from alembic_snapshot.store.store import Store

if TYPE_CHECKING:
    from alembic_snapshot.build.process import Listener

# Starting a builder costs as much as taking some dozens of revisions up and down.
_WORTH_A_PROCESS = 60
# A later piece passes by the revisions of those before it, which costs a third of the whole each.
_SHARE_OF_THE_NEXT = 2 / 3


@dataclass(frozen=True)
class StairwayResult:
    """The ``findings`` of a stairway in order, and how many revisions had to be ``tried``.

    The others had gone up, down and up again before, and nothing they depend on has changed.
    """

    snapshot: Snapshot
    findings: Sequence[Finding]
    tried: int


def run_stairway(
    project: Project,
    *,
    revisions: Collection[str] | None = None,
    snapshot: Snapshot | None = None,
    workers: int | None = None,
    from_scratch: bool = False,
    listener: Listener | None = None,
) -> StairwayResult:
    """Take every revision, or only ``revisions``, up, down and up again.

    What passed before with the same content is not tried again, unless ``from_scratch``. The
    others are cut into as many pieces as there are workers, each tried in a builder and on a
    database of its own, which starts from the deepest state that the store has. The project's
    snapshot, if it isn't given, is built meanwhile; its ``listener`` is told of each step.

    With ``migrate`` they start from the snapshot instead, and each goes down, up and down again.

    Raises:
        CheckError: the revisions can't be taken up and down: they are known only when they run,
            or ``env.py`` does not run without ``migrate``.
        BuildError: an upgrade fails.
    """
    status = look_up(project)
    chain = _with_revisions(status)
    wanted = [n for n in chain.revisions if revisions is None or n in revisions]
    status.store.prepare()
    digest = hashlib.sha256(f"stairway {status.chain.target.digest}".encode()).hexdigest()
    with telling_of_a_wait(status.store.lock(digest), listener):
        workspace = status.store.workspace(digest)
        try:
            count = workers or os.cpu_count() or 1
            stairway = _Stairway(
                project, status, chain, workspace, count, from_scratch=from_scratch
            )
            return stairway.run(wanted, snapshot, listener)
        finally:
            workspace.close()


class _Stairway:
    """One stairway, under its lock."""

    def __init__(
        self,
        project: Project,
        status: Status,
        chain: Chain,
        workspace: Workspace,
        workers: int,
        *,
        from_scratch: bool,
    ):
        self.project = project
        self.status = status
        self.chain = chain
        self.store: Store = status.store
        self.workspace = workspace
        self.workers = workers
        self.from_scratch = from_scratch
        self._made = 0
        self.cache = StairwayCache(status.store, chain, status.present)
        # What is to be remembered once it is known what env.py hands over by now.
        self._notes: list[Note] = []

    def run(
        self, wanted: Sequence[str], snapshot: Snapshot | None, listener: Listener | None
    ) -> StairwayResult:
        """Go up as the last snapshot's ``env.py`` would, and again if this one's differs."""
        if self.project.migrate:
            return self._run_from_above(wanted, snapshot or ensure(self.project, listener=listener))
        last = snapshot.manifest if snapshot else self._last()
        findings_of: Findings = {}
        failure: BuildError | None = None
        with ThreadPoolExecutor(1) as pool:
            making = pool.submit(ensure, self.project, listener=listener) if not snapshot else None
            try:
                findings_of, tried = self._go_up(wanted, last)
            except AttemptFailed as failed:
                failure = failed.error
            # Where the migrations fail, it is the build's error that says where the database is.
            current = snapshot or (making and making.result())
        assert current
        manifest = current.manifest
        if failure and last and last.handover == manifest.handover:
            raise failure
        believed = len(findings_of) > len(tried) if not failure else False
        if failure or (believed and last and different_options(last.options, manifest.options)):
            try:
                findings_of, tried = self._go_up(wanted, manifest)
            except AttemptFailed as failed:
                raise failed.error from None
        self._remember(manifest)
        findings = [finding for name in wanted for finding in findings_of[name]]
        return StairwayResult(current, findings, len(tried))

    def _run_from_above(self, wanted: Sequence[str], snapshot: Snapshot) -> StairwayResult:
        """Go down from the snapshot, handing the target over in each way until one works."""
        options = snapshot.manifest.options
        known = {} if self.from_scratch else self.cache.known(options)
        findings_of: dict[str, Sequence[Finding]] = {n: s for n, s in known.items() if n in wanted}
        missing = [name for name in wanted if name not in findings_of]
        failures: list[BuildError] = []
        for handover in HANDOVERS if missing else ():
            try:
                findings_of |= self._go_down(missing, snapshot, handover)
                break
            except AttemptFailed as failed:
                failures.append(failed.error)
                if failed.final:
                    break
        self._remember(snapshot.manifest)
        if not missing or findings_of.keys() >= set(missing):
            findings = [finding for name in wanted for finding in findings_of[name]]
            return StairwayResult(snapshot, findings, len(missing))
        raise CheckError(
            f"the revisions can't be taken up and down: {failures[0].message}",
            hint="migrate makes the database, but env.py has to run by itself to take revisions "
            "down; or leave the stairway out",
            details=failures[0].details,
        )

    def _go_down(self, revisions: Sequence[str], snapshot: Snapshot, handover: str) -> Findings:
        index, self._made = self._made, self._made + 1
        database = self.workspace.state(index)
        bare = self.status.chain.state((), 0)
        entry = self.store.find(bare, self.status.present).entry or snapshot.entry
        assert entry is not None
        with self.store.in_use(entry):
            database.start(entry.database)
        path = list(self.chain.revisions)
        parents = {name: self.chain.revisions[name].parents for name in path}
        step = Step("stairway", revisions=revisions, path=path, parents=parents)
        return self._work(index, database, step, handover, None)

    def _last(self) -> Manifest | None:
        """The manifest of the project's snapshot, or of the last that it had."""
        if self.status.entry:
            return self.status.entry.manifest
        for entry in self.store.entries():
            manifest = entry.manifest
            if manifest.project == identity(self.project) and manifest.digest == manifest.family:
                return manifest
        return None

    def _go_up(
        self, wanted: Sequence[str], like: Manifest | None
    ) -> tuple[dict[str, Sequence[Finding]], Collection[str]]:
        """The findings of each revision, and the revisions that were tried."""
        known = self.cache.known(like.options) if like and not self.from_scratch else {}
        findings_of: dict[str, Sequence[Finding]] = {n: s for n, s in known.items() if n in wanted}
        pieces = _pieces([name for name in wanted if name not in findings_of], self.workers)
        if pieces:
            handover = (like and like.handover) or HANDOVERS[0]
            with ThreadPoolExecutor(len(pieces)) as pool:
                places = itertools.count(self._made)
                self._made += len(pieces)
                arguments = (places, pieces, itertools.repeat(handover))
                for part in pool.map(self._try_piece, *arguments):
                    findings_of |= part
        return findings_of, [name for piece in pieces for name in piece]

    def _try_piece(self, index: int, revisions: Sequence[str], handover: str) -> Findings:
        database = self.workspace.state(index)
        start = self._start(revisions, database)
        applied = start.manifest.revisions if start else {}
        path = [name for name in self.chain.revisions if name not in applied]
        step = Step("stairway", revisions=revisions, path=path)
        return self._work(index, database, step, handover, start)

    def _work(
        self,
        index: int,
        database: Target,
        step: Step,
        handover: str,
        start: Entry | None,
    ) -> Findings:
        """Have a builder take a step's revisions up and down, on a database that it starts with."""
        folder = self.workspace.folder / f"{index}"
        folder.mkdir()
        revisions = step.revisions or ()
        findings_of: dict[str, list[Finding]] = {name: [] for name in revisions}
        tried: set[str] = set()

        def listen(event: Any) -> None:
            if event["event"] == "finding":
                finding = Finding(event["revision"], event["kind"], event["lines"])
                findings_of[finding.revision].append(finding)
            elif event["event"] == "tried":
                tried.add(event["revision"])

        builder = BuilderProcess(self.project, self.chain, self.store, listen, is_kept=False)
        job = builder.job(
            database,
            [step],
            handover,
            check=False,
            applied=start.manifest.revisions if start else (),
        )
        child = builder.run(folder, job)
        missed = [name for name in revisions if name not in tried]
        if missed:
            raise AttemptFailed(_not_tried(missed, child), final=False)
        before = start.manifest.observed if start else None
        salt = self.chain.target.digest
        observed = builder.read(child.states[0].direct, salt, before)
        late = self._read_before_it_was_named(child.states[0].by_owner)
        self._notes.append(Note(child.facts.options, observed, late, findings_of))
        return findings_of

    def _remember(self, manifest: Manifest) -> None:
        """Remember what was found, with all that ``env.py`` handed over for the snapshot, too.

        A stairway hears less of it: not the SQL that ``env.py`` runs beside the migrations.
        """
        for note in self._notes:
            options = {**manifest.options, **note.options}
            self.cache.note(options, note.observed, note.late, note.findings)

    def _read_before_it_was_named(
        self, read: Mapping[str, Mapping[str, str]]
    ) -> dict[str, dict[str, str]]:
        """The files that a revision read and that only later revisions' digests cover."""
        late_files: dict[str, dict[str, str]] = {}
        for name in read.keys() & self.chain.revisions.keys():
            if read[name].keys() <= self.chain.revisions[name].inputs.keys():
                continue
            layers = [self.chain.base, *(self.chain.revisions[n] for n in self.chain.below([name]))]
            covered = {path for layer in layers for path in layer.inputs}
            late = {path: digest for path, digest in read[name].items() if path not in covered}
            if late:
                late_files[name] = late
        return late_files

    def _start(self, revisions: Collection[str], database: Target) -> Entry | None:
        """Copy the stored state without these revisions that has most of the others."""
        digests = {name: layer.digest for name, layer in self.chain.revisions.items()}
        fitting: list[tuple[int, Entry]] = []
        for entry in self.store.entries() if not self.from_scratch else ():
            theirs = entry.manifest.revisions
            below_all = theirs and not entry.manifest.seeds and not theirs.keys() & set(revisions)
            below_all = below_all and suits(self.project, entry.manifest)
            if below_all and all(digests.get(name) == d for name, d in theirs.items()):
                fitting.append((len(theirs), entry))
        for _, entry in sorted(fitting, key=lambda pair: pair[0], reverse=True):
            manifest = entry.manifest
            changed = self.status.present.changes(manifest.observed, manifest.digest)
            if not any(True for _ in changed) and self.store.is_intact(entry):
                with self.store.in_use(entry):
                    database.start(entry.database)
                return entry
        database.start(None)
        return None


def stairway_revisions(project: Project) -> Sequence[str]:
    """The revisions that can be taken up and down, parents first, as the files tell them.

    Raises:
        CheckError: they are known only when they run.
        ConfigError, ScriptError: the project's configuration or its history is wrong.
    """
    return list(_with_revisions(look_up(project)).revisions)


def _with_revisions(status: Status) -> Chain:
    """The chain with its revisions. With ``migrate``, they are those that the scripts tell.

    Raises:
        CheckError: there are none, or one of them tells what it is only when it runs.
    """
    chain, project = status.chain, status.project
    if not chain.opaque:
        return chain
    scripts = find_scripts(project, status.files)
    dynamic = [project.relative(script.path) for script in scripts if script.dynamic]
    if not scripts or dynamic:
        places = ", ".join(map(str, project.alembic.version_locations))
        reason = (
            f"{dynamic[0]} computes what it is or stands on"
            if dynamic
            else f"there are none in {places}: does env.py name others when it runs?"
        )
        raise CheckError(
            f"the revisions can't be taken up and down: {reason}",
            hint="write the revision's identifiers as literals, or leave the stairway out"
            if dynamic
            else "set version_locations in Alembic's configuration, or leave the stairway out",
        )
    layers: dict[str, Layer] = {}
    for script, parents in in_order(scripts, project):
        # Together they are one layer: a change of any of them changes them all.
        digest = hashlib.sha256(f"{chain.base.digest} {script.id}".encode()).hexdigest()
        layers[script.id] = Layer("revision", script.id, digest, parents, {})
    return dataclasses.replace(chain, revisions=layers, opaque=())


def _pieces(revisions: Sequence[str], workers: int) -> list[Sequence[str]]:
    """Consecutive pieces of the history that take about the same time."""
    if not revisions:
        return []
    count = max(1, min(workers, len(revisions) // _WORTH_A_PROCESS))
    shares = [_SHARE_OF_THE_NEXT**index for index in range(count)]
    ends = [round(len(revisions) * sum(shares[: i + 1]) / sum(shares)) for i in range(count)]
    return [revisions[a:b] for a, b in zip([0, *ends], ends, strict=False)]


def _not_tried(missed: Sequence[str], child: Child) -> BuildError:
    culprit = "; ".join(child.facts.redirected) or "env.py ran no migrations"
    return BuildError(
        f"revision {missed[0]} was not taken up, down and up again: {culprit}",
        hint='use config.attributes["connection"] or sqlalchemy.url in env.py',
        details=child.output,
    )
