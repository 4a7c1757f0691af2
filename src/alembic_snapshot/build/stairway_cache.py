"""The findings of earlier stairways, by content. What they depend on is compared before use.

A revision's digest covers its script, its inputs and all that it stands on. Beside it count the
options that ``env.py`` gives to ``context.configure()``, and what was read while it ran. Only what
passed is believed later; what failed is believed by the processes of the same test run alone.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from alembic_snapshot.key.layers import Chain
from alembic_snapshot.key.observed import Observed, Present
from alembic_snapshot.store.manifest import different_options, write_whole
from alembic_snapshot.store.store import Store, run_id

# Raised when a stairway looks at more, or at something else.
_FORMAT = 5
_KEPT = 50


@dataclass(frozen=True)
class Finding:
    """A revision that does not go down and up again cleanly: what was tried, and what is wrong.

    ``kind`` is ``downgrade`` or ``second upgrade`` (with the differences of the schema in
    ``lines``), ``downgrade failed``, ``second upgrade failed`` or ``second downgrade failed`` (with
    the error), or ``not tried`` (with the reason).
    """

    revision: str
    kind: str
    lines: Sequence[str]

    def __str__(self) -> str:
        return "\n  ".join([f"revision {self.revision}: {self.kind}", *self.lines])


Findings = Mapping[str, Sequence[Finding]]


class Note(NamedTuple):
    """What one builder found, with what was read and what ``env.py`` handed over meanwhile."""

    options: Mapping[str, str]
    observed: Observed
    late: Mapping[str, Mapping[str, str]]
    findings: Findings


@dataclass(frozen=True)
class StairwayCache:
    """The findings of one project's revisions that a store remembers."""

    store: Store
    chain: Chain
    present: Present

    def known(self, options: Mapping[str, str]) -> dict[str, list[Finding]]:
        """The known findings by revision, for an ``env.py`` that gives these options."""
        names = {layer.digest: name for name, layer in self.chain.revisions.items()}
        findings: dict[str, list[Finding]] = {}
        for path, record in self._records():
            if different_options(record["options"], options):
                continue
            ours = {names[d]: lines for d, lines in record["found"].items() if d in names}
            if record["run"] is None or record["run"] != run_id():
                ours = {name: lines for name, lines in ours.items() if not lines}
            ours = {name: lines for name, lines in ours.items() if name not in findings}
            ours = self._without_late(ours, record, names)
            if ours and self._holds(record):
                for name, pairs in ours.items():
                    findings[name] = [Finding(name, kind, lines) for kind, lines in pairs]
                with contextlib.suppress(OSError):
                    os.utime(path)
        return findings

    def note(
        self,
        options: Mapping[str, str],
        observed: Observed,
        late: Mapping[str, Mapping[str, str]],
        findings: Findings,
    ) -> None:
        """Remember what a stairway found; failing to is no error. The oldest are forgotten.

        ``late`` has the files that a revision read and that only later revisions name.
        """
        digests = {name: self.chain.revisions[name].digest for name in findings}
        record = {
            "format": _FORMAT,
            "options": dict(options),
            "observed": asdict(observed),
            "late": {self.chain.revisions[name].digest: late[name] for name in late},
            "salt": self.chain.target.digest,
            "run": run_id(),
            "found": {digests[n]: [[s.kind, list(s.lines)] for s in findings[n]] for n in findings},
        }
        text = json.dumps(record, indent=1, sort_keys=True)
        with contextlib.suppress(OSError):
            name = hashlib.sha256(text.encode()).hexdigest()[:32]
            write_whole(self.store.stairways / f"{name}.json", text)
            for path in self._paths()[_KEPT:]:
                path.unlink()

    def _without_late(
        self, ours: dict[str, list[Any]], record: Mapping[str, Any], names: Mapping[str, str]
    ) -> dict[str, list[Any]]:
        """The findings without those of revisions that depend on a changed late file.

        It is enough that an ancestor read the file.
        """
        changed = {
            names[digest]
            for digest, files in record["late"].items()
            if digest in names
            and any(True for _ in self.present.changes(Observed(files=files), record["salt"]))
        }
        if not changed:
            return ours
        return {name: s for name, s in ours.items() if not self.chain.below([name]) & changed}

    def _holds(self, record: Mapping[str, Any]) -> bool:
        observed = Observed(**record["observed"])
        return not any(True for _ in self.present.changes(observed, record["salt"]))

    def _records(self) -> Iterator[tuple[Path, Any]]:
        for path in self._paths():
            with contextlib.suppress(OSError, ValueError):
                record = json.loads(path.read_bytes())
                if record.get("format") == _FORMAT:
                    yield path, record

    def _paths(self) -> list[Path]:
        """The cache's files, the last used first."""
        used: list[tuple[float, Path]] = []
        for path in _listed(self.store.stairways):
            with contextlib.suppress(OSError):
                used.append((path.stat().st_mtime, path))
        return [path for _, path in sorted(used, reverse=True)]


def _listed(folder: Path) -> Iterable[Path]:
    return folder.glob("*.json")
