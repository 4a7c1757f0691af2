"""``check`` for one database: its snapshots' checks, and each revision up, down and up again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from alembic_snapshot.checks import counted, not_checked, number, of_layer, unchecked
from alembic_snapshot.cli import console
from alembic_snapshot.cli.records import findings_of, notes_of, revision_count
from alembic_snapshot.errors import CheckError
from alembic_snapshot.project.config import Project

if TYPE_CHECKING:
    from alembic_snapshot.build.snapshot import Snapshot


def checked(
    project: Project, *, no_stairway: bool, from_scratch: bool, quiet: bool
) -> tuple[dict[str, Any], list[str]]:
    """The results of checking one database: as a record for JSON, and as lines."""
    from alembic_snapshot.build.ensure import ensure
    from alembic_snapshot.build.progress import Progress
    from alembic_snapshot.build.stairway import run_stairway

    stairway: list[str] = []
    missing: dict[str, str] = {}
    snapshot = None
    with Progress(quiet=quiet) as progress:
        if not no_stairway:
            try:
                result = run_stairway(project, from_scratch=from_scratch, listener=progress)
                snapshot, stairway = result.snapshot, [str(finding) for finding in result.findings]
            except CheckError as error:
                missing["stairway"] = error.message
        is_tried = snapshot is not None
        snapshot = snapshot or ensure(project, listener=progress)
        layers = {name: ensure(project, layer=name, listener=progress) for name in project.layers}
    found, unmade, warnings = _found_in(snapshot, layers, project)
    finding_lines, missing = [*found, *stairway], {**unmade, **missing}
    console.warn([*notes_of(snapshot), *warnings])
    left_out = [*["the stairway"] * no_stairway, *["drift"] * (project.drift == "ignore")]
    manner = ", each up, down and up again" if is_tried else ""
    manner += f", without {' and '.join(left_out)}" if left_out else ""
    count = revision_count(snapshot.manifest)
    revisions = f"{number(count, 'revision')}{manner}"
    record = {
        "findings": finding_lines,
        "unchecked": missing,
        "left_out": left_out,
        "stairway": is_tried,
        "revisions": count,
        "warnings": warnings,
    }
    lines = [*finding_lines, *(not_checked(name, reason) for name, reason in missing.items())]
    lines.append(f"{revisions}: {counted(len(finding_lines), len(missing))}")
    return record, lines


def _found_in(
    snapshot: Snapshot, layers: Mapping[str, Snapshot], project: Project
) -> tuple[list[str], dict[str, str], list[str]]:
    """The findings of a snapshot and of its named layers, the reasons for checks that were not
    made, and the warnings of their builds.
    """
    found, warnings = findings_of(snapshot.manifest, project), list(snapshot.manifest.warnings)
    reasons = unchecked(snapshot.manifest.checks, drift=project.drift)
    lines, missing = list(found), dict(reasons)
    for name, layer in layers.items():
        lines += of_layer(name, findings_of(layer.manifest, project), found)
        warnings += [line for line in layer.manifest.warnings if line not in warnings]
        for check, reason in unchecked(layer.manifest.checks, drift=project.drift).items():
            if reasons.get(check) != reason:
                missing[f"layer {name}: {check}"] = reason
    return lines, missing, warnings
