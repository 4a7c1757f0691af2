"""What commands say of a snapshot, as lines and as records for ``--json``; ages and moments."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from alembic_snapshot.backend import backend_of
from alembic_snapshot.checks import counted, findings, number, told, unchecked
from alembic_snapshot.errors import CommandError
from alembic_snapshot.project.commands import alembic_command
from alembic_snapshot.project.config import Project
from alembic_snapshot.project.owner import identity
from alembic_snapshot.store.manifest import Entry, Manifest

if TYPE_CHECKING:
    from alembic_snapshot.build.snapshot import Snapshot

_AGE = re.compile(r"(\d+)\s*([smhdw])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def told_of(manifest: Manifest, project: Project) -> list[str]:
    """The findings of a snapshot's checks, and the checks that were not made, a line each."""
    spell = partial(alembic_command, project)
    return told(manifest.checks, drift=project.drift, heads=project.heads, spell=spell)


def findings_of(manifest: Manifest, project: Project) -> list[str]:
    """The findings of a snapshot's checks alone, a line each."""
    spell = partial(alembic_command, project)
    return findings(manifest.checks, drift=project.drift, heads=project.heads, spell=spell)


def counted_of(manifest: Manifest, project: Project) -> str:
    """The number of these; "0 findings" if everything was looked at."""
    return counted(
        len(findings_of(manifest, project)), len(unchecked(manifest.checks, drift=project.drift))
    )


def counted_with_warnings(manifest: Manifest, project: Project) -> str:
    """The number of findings, and that of the warnings of the build, if it had any."""
    count = len(manifest.warnings)
    found = counted_of(manifest, project)
    return f"{found}, {number(count, 'warning')}" if count else found


def revision_count(manifest: Manifest) -> int:
    """The number of revisions in a snapshot."""
    return int(manifest.checks.get("revisions", len(manifest.revisions)))


def layer_in(manifest: Manifest, project: Project) -> str | None:
    """The named layer of a snapshot: by the seeds that its database's configuration has for it."""
    databases = (project, *project.others)
    owner = next((one for one in databases if identity(one) == manifest.project), project)
    ran = sorted(manifest.layers.keys() - manifest.revisions.keys() - {"base"})
    for name, seeds in owner.layers.items():
        if seeds and sorted({*owner.seeds, *seeds}) == ran:
            return name
    return None


def notes_of(snapshot: Snapshot) -> list[str]:
    """What there is to say of the store, and of the one that machines share."""
    return [*snapshot.notes, *(snapshot.shared.warnings if snapshot.shared else ())]


def one_layer(opaque: Sequence[str]) -> list[str]:
    """Why the revisions are one layer, if they are."""
    return [f"the revisions are one layer: {reason}" for reason in opaque]


def not_supported(title: str, project: Project) -> str:
    """What is said of a ``sqlalchemy.url`` that is for a database that is not supported."""
    ours = next(iter(backend_of(project).versions()))
    return f"it is for {title}, which is not supported: the migrations run on {ours}"


def snapshot_record(entry: Entry | None, project: Project, **more: Any) -> dict[str, Any]:
    """What ``--json`` says of a snapshot."""
    assert entry is not None
    manifest = entry.manifest
    return {
        "project": manifest.project,
        "path": entry.database.name,
        "url": entry.database.url(),
        "key": manifest.digest,
        "heads": list(manifest.heads),
        "seeds": len(manifest.seeds),
        "tables": manifest.tables,
        "bytes": manifest.size,
        "created": manifest.created,
        "checks": told_of(manifest, project),
        "unchecked": unchecked(manifest.checks, drift=project.drift),
        "warnings": list(manifest.warnings),
        **more,
    }


def seconds_of(text: str) -> float:
    """The seconds of an age such as ``12h``.

    Raises:
        CommandError: it is none.
    """
    match = _AGE.fullmatch(text.strip())
    if not match:
        raise CommandError(
            f"{text!r} is not an age", hint="write a number and s, m, h, d or w: 12h, 30d"
        )
    return float(match[1]) * _SECONDS[match[2]]


def time_of(seconds: float) -> str:
    """A moment in UTC, given in seconds since 1970."""
    import datetime

    moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    return moment.strftime("%Y-%m-%d %H:%M UTC")
