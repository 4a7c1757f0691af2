"""``check`` for one database: its snapshot's checks, and each revision up, down and up again."""

from __future__ import annotations

from typing import Any

from alembic_snapshot.checks import counted, not_checked, number, unchecked
from alembic_snapshot.cli import console
from alembic_snapshot.cli.records import findings_of, notes_of, revision_count
from alembic_snapshot.errors import CheckError
from alembic_snapshot.project.config import Project


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
    console.warn([*notes_of(snapshot), *snapshot.manifest.warnings])
    checks = snapshot.manifest.checks
    finding_lines = [*findings_of(snapshot.manifest, project), *stairway]
    missing = {**unchecked(checks, drift=project.drift), **missing}
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
        "warnings": list(snapshot.manifest.warnings),
    }
    lines = [*finding_lines, *(not_checked(name, reason) for name, reason in missing.items())]
    lines.append(f"{revisions}: {counted(len(finding_lines), len(missing))}")
    return record, lines
