"""A build in a few lines of Markdown, for the page of a CI job."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from alembic_snapshot.checks import shortened, size

if TYPE_CHECKING:
    from alembic_snapshot.build.snapshot import Snapshot


def job_summary(
    snapshot: Snapshot,
    findings: Sequence[str],
    difference: object,
    command: str,
    name: str = "",
    compared: str = "",
) -> str:
    """The snapshot, whether and why it was built, and the ``findings`` of its checks.

    ``name`` is the database's, if it is one of several, and a layer's; ``compared`` says with what
    it was compared, if it was to be.
    """
    manifest = snapshot.manifest
    count = manifest.checks.get("revisions", len(manifest.revisions))
    what = "restored from its archive" if snapshot.restored else "reused"
    if snapshot.built:
        what = f"built: {_some(snapshot.why) or 'it was asked for'}"
    rows = [
        ("snapshot", f"`{snapshot.digest[:12]}` {what}"),
        ("revisions", f"{count}, at {_code(manifest.heads)}"),
        ("tables", f"{manifest.tables}, {size(manifest.size)}"),
    ]
    if snapshot.shared is not None and snapshot.shared.has_done:
        rows.append(("shared store", snapshot.shared.in_words()))
    if compared:
        rows.append(("compared", compared))
    if snapshot.built:
        rows.insert(1, ("ran", _ran(manifest.timings)))
    lines = [f"### Database snapshot {name}".rstrip(), "", "| | |", "|---|---|"]
    lines += [f"| {name} | {_cell(text)} |" for name, text in rows]
    shared = snapshot.shared.warnings if snapshot.shared is not None else ()
    notes = [*manifest.warnings, *findings, *snapshot.notes, *shared]
    if difference:
        notes.insert(0, f"the snapshot that was there differs from it: {difference}")
    if notes:
        lines += ["", *(f"- {_line(note)}" for note in shortened(notes, command))]
    return "\n".join(lines)


def _ran(timings: Mapping[str, float]) -> str:
    slowest = sorted(timings, key=timings.__getitem__, reverse=True)
    if len(slowest) < 2:
        return _code(slowest)
    return f"{len(slowest)}, the slowest {_code(slowest[:1])}"


def _some(reasons: Sequence[str]) -> str:
    more = f" and {len(reasons) - 3} more" if reasons[3:] else ""
    return ", ".join(reasons[:3]) + more


def _code(names: Sequence[str]) -> str:
    return " ".join(f"`{name}`" for name in names) or "none"


def _line(text: str) -> str:
    return " ".join(text.split())


def _cell(text: str) -> str:
    return _line(text).replace("|", "\\|")
