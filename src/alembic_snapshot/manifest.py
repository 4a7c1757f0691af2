"""What is known of one snapshot. Without a valid manifest there is none."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from alembic_snapshot.key.layers import FORMAT
from alembic_snapshot.key.observed import Observed
from alembic_snapshot.target import Target


@dataclass(frozen=True)
class Manifest:
    """What is known of a snapshot. Times are seconds since the epoch, sizes are bytes.

    ``layers`` maps each layer's name to its inputs; ``offer`` is the way in which ``env.py`` took
    its target; ``options`` are those that it gave to ``context.configure()``; ``checks`` are the
    findings, by the digest of the models that they hold for.
    """

    digest: str
    family: str
    project: str
    created: float
    size: int
    sha256: str
    heads: Sequence[str]
    revisions: Mapping[str, str]
    seeds: Sequence[str]
    layers: Mapping[str, Mapping[str, str]]
    observed: Observed = field(default_factory=Observed)
    offer: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    version_table: str = "alembic_version"
    tables: int = 0
    checks: Mapping[str, Any] = field(default_factory=dict)
    timings: Mapping[str, float] = field(default_factory=dict)
    warnings: Sequence[str] = ()
    format: int = FORMAT

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Manifest:
        """The manifest that a JSON object describes."""
        lists = {name: tuple(record[name]) for name in ("heads", "seeds", "warnings")}
        return cls(**{**record, **lists, "observed": Observed(**record["observed"])})

    def to_json(self) -> str:
        """The manifest as the text of its file."""
        return json.dumps(asdict(self), indent=1, sort_keys=True)


@dataclass(frozen=True)
class Entry:
    """One snapshot in a store: its name there, its sealed database, what is known of it.

    ``used`` is when it was last asked for, in seconds since the epoch.
    """

    name: str
    database: Target
    manifest: Manifest
    used: float


def write_whole(path: Path, text: str) -> None:
    """Write a file whole or not at all, safely on the disk."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with open(temporary, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
