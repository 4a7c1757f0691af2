"""The record of one snapshot. A database without a valid manifest is no snapshot."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from alembic_snapshot.database.target import Target
from alembic_snapshot.key.layers import FORMAT
from alembic_snapshot.key.observed import Observed

# How a warning ends that env.py was led to the snapshot.
REDIRECTED = "which was redirected to the snapshot"
_SEAL = ',\n "seal": "'
_LISTS = ("databases", "heads", "left", "origins", "seeds", "warnings")


@dataclass(frozen=True)
class Manifest:
    """The record of a snapshot. Times are seconds since the epoch, sizes are bytes.

    ``layers`` maps each layer's name to its inputs; ``observed`` is what revisions, seeds and
    ``env.py`` read beside them, ``through_env`` what the modules of ``env.py`` are and read.
    ``handover`` is how ``env.py`` took its target; ``options`` are those that it gave to
    ``context.configure()``, and what else of it reached a revision, spelled ``<…>``; ``checks`` are
    the findings, by the digest of the models that they hold for.
    ``databases`` are those that ``env.py`` would have opened, and was redirected from.
    ``origins`` are the scopes and signers of what it stands on that came from a shared store;
    ``received`` says that all of it came from there. ``left`` is where its revisions and seeds left
    what later ones would not find in another process: files of modules, or ``<…>``.
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
    through_env: Observed = field(default_factory=Observed)
    handover: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    version_table: str = "alembic_version"
    tables: int = 0
    checks: Mapping[str, Any] = field(default_factory=dict)
    timings: Mapping[str, float] = field(default_factory=dict)
    warnings: Sequence[str] = ()
    databases: Sequence[Mapping[str, Any]] = ()
    origins: Sequence[Mapping[str, str]] = ()
    received: bool = False
    left: Sequence[str] = ()
    format: int = FORMAT

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Manifest:
        """The manifest that a JSON object describes."""
        lists = {name: tuple(record[name]) for name in _LISTS if name in record}
        read = {name: Observed(**record[name]) for name in ("observed", "through_env")}
        return cls(**{**record, **lists, **read})

    def is_like(self, other: Manifest) -> bool:
        """Whether the same revisions and seeds ran, by an ``env.py`` with the same options."""
        return (self.digest, self.options) == (other.digest, other.options)

    def stands_for(self, other: Manifest) -> bool:
        """Whether it may stay where another is made: it is like it, and rests on nothing more.

        Whoever made the other may not believe what this one came from.
        """
        rests_on_more = [origin for origin in self.origins if origin not in other.origins]
        return self.is_like(other) and not rests_on_more

    @property
    def asked_of_env(self) -> list[str]:
        """The names of values that revisions asked for, of those that ``env.py`` leaves."""
        return [name for name in self.options if name.startswith("<")]

    def is_published_with(self, later: Manifest) -> bool:
        """Whether a build of ``later`` keeps this state: before its heads, at them, or seeded."""
        below = {name: d for name, d in later.revisions.items() if name not in later.heads}
        stops = (later.revisions, *([below] if not self.seeds else []))
        is_part = list(later.seeds[: len(self.seeds)]) == list(self.seeds)
        return is_part and self.revisions in stops and later.layers["base"] == self.layers["base"]

    @classmethod
    def from_json(cls, text: str) -> Manifest:
        """The manifest in a file's text.

        Raises:
            ValueError: it is not as :meth:`to_json` wrote it.
        """
        body, _, seal = text.rpartition(_SEAL)
        if seal != _sealed(body).removeprefix(body + _SEAL):
            raise ValueError("the manifest was edited")
        record = json.loads(text)
        del record["seal"]
        return cls.from_record(record)

    def to_json(self) -> str:
        """The manifest as the text of its file, with a hash of itself."""
        return _sealed(json.dumps(asdict(self), indent=1, sort_keys=True).removesuffix("\n}"))


@dataclass(frozen=True)
class Entry:
    """One snapshot in a store: its name there, its sealed database, its manifest.

    ``used`` is when it was last asked for, in seconds since the epoch.
    """

    name: str
    database: Target
    manifest: Manifest
    used: float


# The SQL that env.py runs beside the migrations, as one of the values that it hands over.
ENV_SQL = "<SQL of env.py>"
ENV_SQL_CHANGED = "the SQL that env.py runs beside the migrations changed"


def different_options(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """The options and values, in words, that ``env.py`` hands over otherwise than before.

    A new value counts only if it is an option: no revision has asked for another one.
    """
    changed = [name for name, value in before.items() if now.get(name) != value]
    new = [name for name in now if name not in before and not name.startswith("<")]
    return [_option(name) for name in [*changed, *new]]


def _option(name: str) -> str:
    if name == ENV_SQL:
        return ENV_SQL_CHANGED
    if name.startswith("<"):
        return f"the {name.strip('<>')} that env.py leaves to the revisions changed"
    return f"{name}, which env.py gives to context.configure(), changed"


def _sealed(body: str) -> str:
    return f'{body}{_SEAL}{hashlib.sha256(body.encode()).hexdigest()}"\n}}'


def write_whole(path: Path, text: str) -> None:
    """Write a file whole or not at all, safely on the disk."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with open(temporary, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def move_whole(source: Path, target: Path) -> None:
    """Move a file whole or not at all, to another disk too."""
    try:
        os.replace(source, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        temporary = target.with_name(f".{target.name}.{os.getpid()}")
        try:
            shutil.copyfile(source, temporary)
            with open(temporary, "rb") as copied:
                os.fsync(copied.fileno())
            os.replace(temporary, target)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
        source.unlink()
