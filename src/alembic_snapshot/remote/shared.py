"""The shared store in one build: what comes from it, what goes to it, and what there is to say.

It is never in the way: one failure switches it off for the run, and what it can't give is built.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from alembic_snapshot.backend import Backend
from alembic_snapshot.checks import number
from alembic_snapshot.database.target import NotForHere, Workspace
from alembic_snapshot.errors import ConfigError, SnapshotError, StoreError
from alembic_snapshot.key.layers import Chain, State
from alembic_snapshot.project.config import Project
from alembic_snapshot.project.places import TABLE
from alembic_snapshot.project.variables import KEY_VARIABLE
from alembic_snapshot.remote.process import Failed, Missing, RemoteProcess
from alembic_snapshot.remote.record import Record, doubt
from alembic_snapshot.remote.settings import RemoteSettings, mistrust
from alembic_snapshot.store.manifest import Entry, Manifest, write_whole
from alembic_snapshot.store.states import expected_seconds, is_of, states_below
from alembic_snapshot.store.store import Store, run_id

# Seconds: for what is small, and for a snapshot.
SMALL, WHOLE = 10.0, 60.0
# Who builds for others has processes to start, checks to make, and something to send.
_MORE = 15.0
# How many states below a snapshot are looked for at a time.
_TOGETHER = 8
_SENT, _SENT_LENGTH = "sent.json", 1000
_OFF = "remote-off.json"


@dataclass
class Report:
    """What a shared store did for one snapshot, in numbers and in lines.

    ``got`` says what came: ``hit`` the snapshot, ``ancestor`` a state below it, ``miss`` neither;
    None if it was not asked, or did not answer. ``failed`` are those of the warnings that tell
    what could not be done.
    """

    name: str
    got: str | None = None
    scope: str = ""
    found: int = 0
    verified: int = 0
    rejected: int = 0
    sent: int = 0
    warnings: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    @property
    def has_done(self) -> bool:
        """Whether there is something to say of it beside warnings."""
        return self.got is not None or self.sent > 0

    def in_words(self) -> str:
        """What came, and what was put there."""
        came = {
            None: "it was not asked for the snapshot",
            "hit": f"the snapshot came from the scope {self.scope}",
            "ancestor": f"built on a state that came from the scope {self.scope}",
        }
        line = came.get(self.got, "it has not the snapshot")
        line += self.rejects_in_words()
        return line + (f"; {number(self.sent, 'snapshot')} put there" if self.sent else "")

    def rejects_in_words(self) -> str:
        """How much of what was found was rejected, to be put behind a line."""
        return f", {self.rejected} of {self.found} rejected" if self.rejected else ""

    def to_record(self) -> dict[str, Any]:
        """The report as plain values."""
        return dataclasses.asdict(self)


class SharedStore:
    """The shared store, for one snapshot of a project."""

    def __init__(self, settings: RemoteSettings, project: Project, backend: Backend, store: Store):
        self.settings = settings
        self.report = Report(settings.name)
        self._project, self._backend, self._store = project, backend, store
        self._process: RemoteProcess | None = None
        self._has_begun = False
        self._leased: str | None = None
        # Why no lease can be taken. What can't be put there either says so itself.
        self._leaseless: str | None = None
        self._outside: set[str] = set()
        # As long as a build takes, it may take to do without one.
        self._patience = WHOLE

    def start(self) -> None:
        """Have ready what will talk to it, where it is known that it will be asked."""
        if self._why_off() is None:
            self._process = RemoteProcess(self.settings)
            try:
                self._process.start()
            except Failed as error:
                self._switch_off(str(error))

    def receive(
        self, chain: Chain, fits: Callable[[Manifest], bool], local: Sequence[Manifest], have: int
    ) -> Entry | None:
        """The snapshot, from another machine, or the deepest state below it; None if neither.

        Whoever may write holds the lease of the build from then on, if it has not come. ``fits``
        says whether a snapshot is as the project has it now, ``local`` are the store's own, the
        deepest of which has ``have`` of the layers.
        """
        self.report.got = "miss"
        self._patience = expected_seconds(chain, local)
        try:
            exact = self._fetch_first([chain.target], fits)
            if exact is not None:
                self.report.got = "hit"
                return exact
            below, records = self._look_below(states_below(chain, have), fits)
            known = [*local, *(record.manifest for record in records)]
            self._patience = expected_seconds(chain, known)
            exact = self._wait_for(chain.target, fits)
            if exact is not None:
                self.report.got = "hit"
                return exact
            ancestor = self._first(records, below, fits)
            self.report.got = "ancestor" if ancestor else "miss"
            self._look_for_others(chain.target)
            return ancestor
        except Off:
            # Whether it has the snapshot, nobody knows.
            self.report.got = None
            return None

    def send(self, entries: Sequence[Entry], chain: Chain, *, again: bool = False) -> None:
        """Put what was built here into the run's own scope, but for what is private.

        What this machine has put there before is left out, unless it is to be put there ``again``.
        """
        with contextlib.suppress(Off):
            for entry in entries:
                if entry.manifest.received or (self.is_sent(entry) and not again):
                    continue
                if why := mistrust(self._project, entry.manifest):
                    # Whoever believes the signature of this run believes what it stands on.
                    self._say(f"the snapshot {entry.manifest.digest[:12]} is not put there: {why}")
                elif self.private_in(entry.manifest, chain) is None:
                    try:
                        self._send(entry)
                    except StoreError as error:
                        # This machine's own store can't be written, and has the snapshot.
                        self._warn(f"nothing is put there: {error.message}")
                        return

    def is_sent(self, entry: Entry) -> bool:
        """Whether this machine has put a snapshot there before."""
        return self._token(entry.manifest) in self._sent()

    def private_in(self, manifest: Manifest, chain: Chain) -> str | None:
        """The layer of a snapshot that stays on this machine, None if none does."""
        names = {layer.digest: layer.name for layer in chain.layers}
        mine = [*manifest.revisions, *(names.get(digest, digest) for digest in manifest.seeds)]
        private = set(self.settings.private)
        for name in self.settings.private:
            private.update(self._project.layers.get(name, ()))
        return next((name for name in mine if name in private), None)

    def release(self) -> None:
        """Let others build what this process did not."""
        leased, self._leased = self._leased, None
        if leased is not None:
            with contextlib.suppress(Off):
                self._ask("release", SMALL, digest=leased)

    def close(self) -> None:
        """Talk to it no more."""
        self.release()
        if self._process is not None:
            self._process.close()
            self._process, self._has_begun = None, False

    def _look_below(
        self, states: Sequence[State], fits: Callable[[Manifest], bool]
    ) -> tuple[Sequence[State], list[Record]]:
        """Some states, and their records: the first of which any has one that fits."""
        for first in range(0, len(states), _TOGETHER):
            some = states[first : first + _TOGETHER]
            records = [one for one in self._look(some) if self._is_usable(one.manifest, fits)]
            if records:
                return some, records
        return (), []

    @property
    def _little(self) -> float:
        """Seconds for what is small."""
        return min(SMALL, self._patience)

    def _look(self, states: Sequence[State]) -> list[Record]:
        if not states:
            return []
        digests, scopes = [state.digest for state in states], list(self.settings.scopes)
        return self._records(self._ask("look", self._little, digests=digests, scopes=scopes))

    def _records(self, answer: Mapping[str, Any]) -> list[Record]:
        records = [Record.from_values(values) for values in answer["records"]]
        self.report.found += len(records) + len(answer["rejected"])
        self.report.verified += len(records)
        self._reject(answer["rejected"])
        return [record for record in records if self.settings.believes(record.scope, record.signer)]

    def _look_for_others(self, state: State) -> None:
        """Tell of records of a snapshot whose signers are not believed: no look finds them.

        Only a snapshot that did not come is worth the question.
        """
        with contextlib.suppress(Off):
            scopes, digest = list(self.settings.scopes), state.digest
            answer = self._ask("signers", self._little, scopes=scopes, digest=digest)
            reasons = [
                f"the record {digest[:12]} in {scope}: {why}"
                for scope, signer in answer["found"]
                if (why := doubt(scope, signer, self.settings.keys))
            ]
            self.report.found += len(reasons)
            self._reject(reasons)
            for scope, why in answer["unlisted"].items():
                self._say(
                    f"whether others have put {digest[:12]} into {scope} is not known, since that "
                    f"can't be listed: {why}"
                )

    def _reject(self, reasons: Sequence[str]) -> None:
        self.report.rejected += len(reasons)
        for reason in reasons:
            self._ignore(reason)

    def _ignore(self, what: str) -> None:
        self._say(f"ignored {what}")

    def _fetch_first(
        self, states: Sequence[State], fits: Callable[[Manifest], bool]
    ) -> Entry | None:
        return self._first(self._look(states), states, fits)

    def _first(
        self, records: Sequence[Record], states: Sequence[State], fits: Callable[[Manifest], bool]
    ) -> Entry | None:
        """The first of these records that fits, and whose content is what it says."""
        for record in self._usable(records, states, fits):
            entry = self._fetch(record)
            if entry is not None:
                return entry
        return None

    def _usable(
        self, records: Sequence[Record], states: Sequence[State], fits: Callable[[Manifest], bool]
    ) -> Iterator[Record]:
        """Those of these records that fit, in the order of the states."""
        for state in states:
            for record in records:
                if record.manifest.digest != state.digest or not is_of(record.manifest, state):
                    continue
                if self._is_usable(record.manifest, fits):
                    yield record

    def _is_usable(self, manifest: Manifest, fits: Callable[[Manifest], bool]) -> bool:
        """Whether a snapshot is as the project has it now.

        No file is looked at that no build of this project would have looked at.
        """
        outside = names_outside(manifest, self._project)
        if outside is None:
            return fits(manifest)
        if manifest.sha256 not in self._outside:
            self._outside.add(manifest.sha256)
            where = f"the record {manifest.digest[:12]}: it names {outside}"
            self._reject([f"{where}, which is outside of the project"])
        return False

    def _fetch(self, record: Record) -> Entry | None:
        manifest = record.manifest
        with self._workspace() as workspace:
            file = workspace.folder / "received"
            told = record.to_values()
            why = self._ask("fetch", self._patience, record=told, target=str(file))["why"]
            if why is None:
                try:
                    database, here = self._backend.from_file(
                        file, manifest, workspace, self._patience + _MORE
                    )
                except NotForHere as error:
                    self._ignore(f"the snapshot {manifest.digest[:12]}: {error}")
                    return None
                except SnapshotError as error:
                    why = error.message
                    self._ask("distrust", SMALL, sha256=manifest.sha256)
            if why is not None:
                self._reject([record.refused(why)])
                return None
            origin = {"scope": record.scope, "signer": record.signer}
            received = dataclasses.replace(here, origins=(origin,), received=True)
            self.report.scope = record.scope
            return self._store.publish(database, received)

    def _wait_for(self, target: State, fits: Callable[[Manifest], bool]) -> Entry | None:
        """The snapshot that another machine builds; None if it is to be built here."""
        patience = self._patience + _MORE
        digest, until = target.digest, time.monotonic() + patience
        while True:
            if self._may_take and self._take(digest):
                # Whoever had it before may have been done by now.
                return self._fetch_first([target], fits)
            left = until - time.monotonic()
            if left <= 0:
                return None
            scopes = list(self.settings.scopes)
            end = self._ask("wait", left + SMALL, digest=digest, scopes=scopes, patience=left)
            if end["end"] == "there":
                return self._fetch_first([target], fits)
            if end["end"] == "over" or not self._may_take:
                return None

    @property
    def _may_take(self) -> bool:
        return self.settings.write and self._leaseless is None

    def _take(self, digest: str) -> bool:
        answer = self._ask("take", SMALL, digest=digest)
        self._leaseless = answer.get("why")
        if answer["is_held"]:
            self._leased = digest
        return self._leased is not None

    def _send(self, entry: Entry) -> None:
        manifest = entry.manifest
        with self._store.in_use(entry):
            if not entry.database.is_there():
                self._not_shared(manifest, "its database is gone")
                return
            with self._workspace() as workspace:
                try:
                    file, sent = self._backend.as_file(entry, workspace)
                except SnapshotError as error:
                    self._not_shared(manifest, error.message)
                    return
                plain = dataclasses.replace(sent, origins=(), received=False)
                answer = self._ask(
                    "publish",
                    WHOLE,
                    manifest=plain.to_json(),
                    file=str(file),
                    workspace=str(workspace.folder),
                )
        if answer.get("why"):
            self._not_shared(manifest, answer["why"])
            return
        self.report.sent += answer["is_new"]
        self._note_sent(manifest)

    def _not_shared(self, manifest: Manifest, why: str) -> None:
        self._warn(f"the snapshot {manifest.digest[:12]} is not shared: {why}")

    @contextlib.contextmanager
    def _workspace(self) -> Iterator[Workspace]:
        """A place of this process's own in the store; what one that was killed left is deleted."""
        self._store.prepare()
        own = hashlib.sha256(f"shared by {os.getpid()}".encode()).hexdigest()
        with self._store.lock(own):
            workspace = self._store.workspace(own)
            try:
                yield workspace
            finally:
                workspace.close()

    def _ask(self, do: str, seconds: float, **arguments: Any) -> dict[str, Any]:
        """An answer of the store.

        Raises:
            Off: it is switched off, from now on at the latest.
            ConfigError: whoever is to write has a key that can't sign for the scope.
        """
        if self._why_off() is not None:
            raise Off
        try:
            return self._begun().ask(do, seconds, **arguments)
        except Missing as error:
            hint = "pip install 'alembic-snapshot[remote]'"
            if self.settings.write:
                raise ConfigError(f"the shared store needs {error}", hint=hint) from None
            self._switch_off(f"{error} is not installed ({hint})")
        except Failed as error:
            self._switch_off(str(error))
        raise Off

    def _begun(self) -> RemoteProcess:
        self._process = self._process or RemoteProcess(self.settings)
        if not self._has_begun:
            signer = self._process.begin()
            self._has_begun = True
            is_ours = self.settings.believes(self.settings.scope, signer)
            if self.settings.write and not is_ours:
                raise ConfigError(
                    f"{KEY_VARIABLE} is a key that remote_keys in [{TABLE}] has not for the scope "
                    f"{self.settings.scope}",
                    hint="nobody would believe what it signs: use the scope's own key, or set "
                    "ALEMBIC_SNAPSHOT_REMOTE_SCOPE to the scope that this one is for",
                )
        return self._process

    def _why_off(self) -> str | None:
        """Why it is switched off for this run; None if it is not."""
        if self.settings.url in _off_for:
            return _off_for[self.settings.url]
        record = {"run": run_id(), "url": self.settings.url}
        is_off = run_id() is not None and self._off_file() == record
        return "it failed in another process of this run" if is_off else None

    def _switch_off(self, why: str) -> None:
        """Do without from now on; every process of a distributed run hears of it."""
        _off_for[self.settings.url] = why
        if self._process is not None:
            self._process.close()
            self._process, self._has_begun = None, False
        self._leased = None
        self._warn(f"not used for the rest of this run: {why}")
        if run_id() is not None:
            with contextlib.suppress(OSError, SnapshotError):
                self._store.prepare()
                record = {"run": run_id(), "url": self.settings.url}
                write_whole(self._store.root / _OFF, json.dumps(record))

    def _off_file(self) -> Any:
        with contextlib.suppress(OSError, ValueError):
            return json.loads((self._store.root / _OFF).read_bytes())
        return None

    def _warn(self, text: str) -> None:
        self.report.failed.append(self._say(text))

    def _say(self, text: str) -> str:
        """Have a line among the warnings, once."""
        line = f"shared store {self.settings.name}: {text}"
        if line not in self.report.warnings:
            self.report.warnings.append(line)
        return line

    def _token(self, manifest: Manifest) -> str:
        # A database on a server has no hash of its content.
        which = manifest.sha256 or str(manifest.created)
        # Where another key signs now, nobody believes what the one before has signed.
        key = self.settings.signing_key or ""
        parts = (self.settings.url, self.settings.scope, key, manifest.digest, which)
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]

    def _sent(self) -> list[str]:
        with contextlib.suppress(OSError, ValueError):
            sent = json.loads((self._store.root / _SENT).read_bytes())
            return sent if isinstance(sent, list) else []
        return []

    def _note_sent(self, manifest: Manifest) -> None:
        sent = [*self._sent(), self._token(manifest)][-_SENT_LENGTH:]
        with contextlib.suppress(OSError):
            write_whole(self._store.root / _SENT, json.dumps(sent))


class Off(Exception):
    """The shared store is switched off for this run."""


# The stores that failed once in this process, and why.
_off_for: dict[str, str] = {}


def names_outside(manifest: Manifest, project: Project) -> str | None:
    """A file that a manifest names and that lies in no folder of the project, if there is one."""
    settings = project.alembic
    folders = (project.root, *project.search_path, settings.script_location)
    folders = (*folders, *settings.version_locations)
    for read in (manifest.observed, manifest.through_env):
        for name in (*read.files, *read.folders, *read.stats):
            path = Path(project.spelling.path(name))
            if not any(path.is_relative_to(folder) for folder in folders):
                return name
    return None


@contextlib.contextmanager
def opened(
    settings: RemoteSettings | None, project: Project, backend: Backend, store: Store
) -> Iterator[SharedStore | None]:
    """The shared store, if there is one; closed at the end."""
    if settings is None:
        yield None
        return
    shared = SharedStore(settings, project, backend, store)
    try:
        yield shared
    finally:
        shared.close()
