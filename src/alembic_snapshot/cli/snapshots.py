"""The commands on one snapshot: made, named, looked for, cloned, compared."""

from __future__ import annotations

import dataclasses
import glob
import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import click

from alembic_snapshot.backend import backend_of
from alembic_snapshot.checks import shortened
from alembic_snapshot.cli import console
from alembic_snapshot.cli.options import (
    Said,
    layers_of,
    on_snapshot,
    print_facts,
    print_said,
    project_of,
    projects_of,
    refuse_both,
    said_of_each,
    tell_of_ending,
)
from alembic_snapshot.cli.records import (
    counted_with_warnings,
    not_supported,
    notes_of,
    one_layer,
    snapshot_record,
    told_of,
)
from alembic_snapshot.errors import CloneError
from alembic_snapshot.project.alembic_settings import unsupported_url
from alembic_snapshot.project.commands import own_command
from alembic_snapshot.project.config import Project
from alembic_snapshot.store.manifest import Entry

if TYPE_CHECKING:
    from alembic_snapshot.build.lookup import Status
    from alembic_snapshot.build.snapshot import Snapshot


@click.command()
@on_snapshot
@click.option("--from-scratch", is_flag=True, help="Build from nothing, and compare with the "
              "stored one: schema and rows.")  # fmt: skip
@click.option("--summary", is_flag=True, help="Print a summary in Markdown, for a CI job's page.")
@click.option("--archive", is_flag=True, help="On PostgreSQL, write it into a file of the store, "
              "too, as in CI.")  # fmt: skip
@click.option("-q", "--quiet", is_flag=True, help="Show no progress.")
def build(
    layer: str | None,
    revision: str | None,
    as_json: bool,
    from_scratch: bool,
    summary: bool,
    archive: bool,
    quiet: bool,
    **where: Any,
) -> int:
    """Make sure that the snapshot exists; print its path.

    It builds every named layer's snapshot, too, unless --layer or --revision names one. It builds
    for every database, unless --database names one. Exit 1: --from-scratch found a stored snapshot
    that differs.
    """
    refuse_both(("--json", as_json), ("--summary", summary))
    projects = projects_of(where, layer=layer, revision=revision)
    is_one = len(projects) == 1
    how = {"from_scratch": from_scratch, "summary": summary, "archive": archive, "quiet": quiet}

    def say(name: str) -> Said:
        project = projects[name]
        if archive:
            project = dataclasses.replace(project, archive="always")
        title, known = "" if is_one else name, set[str]()
        first = _built(project, layer, revision, name=title, known=known, **how)
        layers = {
            one: _built(project, one, None, name=f"{title} layer {one}".strip(), known=known, **how)
            for one in layers_of(project, layer, revision)
        }
        texts = [first.text, *(one.text for one in layers.values())]
        return first.with_layers(layers, "\n\n".join(texts) if summary else None)

    said = said_of_each(projects, say)
    if summary and not is_one:
        print_facts({}, "\n\n".join(one.text for one in said.values()), as_json=False)
        return max(one.status for one in said.values())
    if as_json:
        tell_of_ending(next(iter(projects.values())))
    return print_said(said, as_json)


def _built(
    project: Project,
    layer: str | None,
    revision: str | None,
    *,
    name: str,
    known: set[str],
    from_scratch: bool,
    summary: bool,
    archive: bool,
    quiet: bool,
) -> Said:
    """What there is to say of one snapshot, which is there then.

    ``name`` is the database's, if it is one of several, and the layer's, if it is beside the base.
    ``known`` are lines on checks that were printed for another snapshot; it takes those of this.
    """
    from alembic_snapshot.build.ensure import ensure, rebuild_and_compare
    from alembic_snapshot.build.progress import Progress
    from alembic_snapshot.cli.job_summary import job_summary

    beginning = f"{name}: " if name else ""

    def warn(lines: Iterable[str]) -> None:
        console.warn(beginning + line for line in lines)

    with Progress(quiet=quiet, what=name or "the snapshot") as progress:
        if from_scratch:
            snapshot, difference = rebuild_and_compare(
                project, layer=layer, revision=revision, listener=progress
            )
        else:
            snapshot = ensure(project, layer=layer, revision=revision, listener=progress)
            difference = None
    warnings = [line for line in snapshot.manifest.warnings if line not in known]
    lines = [line for line in told_of(snapshot.manifest, project) if line not in known]
    known.update(warnings, lines)
    other = unsupported_url(project.alembic)
    if other is not None and snapshot.built and not quiet:
        warn([f"sqlalchemy.url: {not_supported(other, project)}"])
    more = own_command(project, "status", layer=layer, revision=revision)
    if snapshot.built and not quiet:
        warn(shortened([*warnings, *lines], more))
    elif lines or warnings:
        warn([f"{counted_with_warnings(snapshot.manifest, project)}: `{more}` says more"])
    if difference:
        warn([f"the snapshot that was there differs from it:\n{difference}"])
    compared = ""
    if from_scratch:
        had = "with the one that was there: " + ("it differs" if difference else "no difference")
        compared = "with nothing: the store had no such snapshot" if difference is None else had
    if from_scratch and difference is None:
        console.note(f"{beginning}compared {compared}")
    warn(notes_of(snapshot))
    record = snapshot_record(
        snapshot.entry,
        project,
        built=snapshot.built,
        restored=snapshot.restored,
        why=list(snapshot.why),
        difference=None if difference is None else difference.to_record(),
    )
    if snapshot.restored and not quiet:
        console.note(f"{beginning}restored from its archive")
    if archive and not quiet:
        console.note(beginning + _archive_of(snapshot))
    if snapshot.shared is not None:
        from alembic_snapshot.cli.remote import told

        for line in told(snapshot.shared) if not quiet else ():
            console.note(beginning + line)
        record["remote"] = snapshot.shared.to_record()
    text = snapshot.database
    if summary:
        text = job_summary(snapshot, lines, difference, more, name, compared)
    return Said(record, text, 1 if difference else 0)


def _archive_of(snapshot: Snapshot) -> str:
    """Where the archive is that was asked for, or why there is none."""
    archives = backend_of(snapshot.project).store().archives
    if archives is None:
        return "no archive is needed: the snapshot is a file already"
    assert snapshot.entry is not None
    there = archives.of(snapshot.entry.name, snapshot.manifest)
    return f"its archive is {there.file}" if there else "it has no archive"


@click.command()
@on_snapshot
@click.option("--explain", is_flag=True, help="List the layers and the inputs of each.")
def key(layer: str | None, revision: str | None, as_json: bool, explain: bool, **where: Any) -> int:
    """Print the snapshot's digest, as a CI cache's key. Builds nothing.

    The digest covers every named layer, unless --layer or --revision names one. It covers every
    database, unless --database names one.
    """
    projects = projects_of(where, layer=layer, revision=revision)
    said = said_of_each(
        projects, lambda name: _keys(projects[name], layer, revision, explain=explain)
    )
    if len(said) == 1:
        return print_said(said, as_json)
    records = {name: one.record for name, one in said.items()}
    whole = _digest_of(records)
    first = next(iter(records.values()))
    lines = [whole, *(f"{name}: {one.text}" for name, one in said.items() if explain)]
    print_facts({**first, "key": whole, "databases": records}, "\n".join(lines), as_json)
    return 0


def _digest_of(records: Mapping[str, Mapping[str, Any]]) -> str:
    keys = {name: record["key"] for name, record in records.items()}
    return hashlib.sha256(json.dumps(keys, sort_keys=True).encode()).hexdigest()


def _keys(project: Project, layer: str | None, revision: str | None, *, explain: bool) -> Said:
    """The key of a database's snapshot, and of those of its named layers."""
    first = _key(project, layer, revision, explain=explain)
    names = layers_of(project, layer, revision)
    layers = {name: _key(project, name, None, explain=explain) for name in names}
    if not layers:
        return first
    records = {name: one.record for name, one in layers.items()}
    whole = _digest_of({"": first.record, **records})
    lines = [whole]
    if explain:
        lines += first.text.splitlines()[1:]
        known = set(lines)
        for name, one in layers.items():
            lines.append(f"layer {name}")
            lines += [line for line in one.text.splitlines()[1:] if line not in known]
    return Said({**first.record, "key": whole, "named_layers": records}, "\n".join(lines))


def _key(project: Project, layer: str | None, revision: str | None, *, explain: bool) -> Said:
    from alembic_snapshot.build.lookup import look_up

    chain = look_up(project, layer=layer, revision=revision).chain
    record = {
        "key": chain.key,
        "opaque": list(chain.opaque),
        "layers": [
            {
                "kind": part.kind,
                "name": part.name,
                "digest": part.digest,
                "inputs": part.inputs,
                "named": part.named_files,
            }
            for part in chain.layers
        ],
    }
    lines = [chain.key]
    if explain:
        lines += one_layer(chain.opaque)
        for part in chain.layers:
            lines.append(f"{part.kind} {part.name}  {part.digest[:12]}")
            lines += [f"    {name}  {value[:40]}" for name, value in part.inputs.items()]
            named_files = part.named_files.items()
            lines += [f"    {name}  {value[:40]} (if it is opened)" for name, value in named_files]
    return Said(record, "\n".join(lines))


@click.command()
@on_snapshot
def status(layer: str | None, revision: str | None, as_json: bool, **where: Any) -> int:
    """Say whether the store has the snapshot, and if not, why.

    A snapshot in the shared store or in an archive counts: a build would fetch or restore it. It
    looks for every named layer's snapshot, too, unless --layer or --revision names one. It looks
    for every database's, unless --database names one. Exit 0: all are there. Exit 1: one is not.
    """
    projects = projects_of(where, layer=layer, revision=revision)
    said = said_of_each(projects, lambda name: _statuses(projects[name], layer, revision))
    records = [one.record for one in said.values()]
    records += [layer for one in records for layer in one.get("layers", {}).values()]
    if as_json and any("url" in one for one in records):
        tell_of_ending(next(iter(projects.values())))
    return print_said(said, as_json)


def _statuses(project: Project, layer: str | None, revision: str | None) -> Said:
    """What there is to say of one database's snapshot, and of those of its named layers."""
    first = _status(project, layer, revision)
    layers = {name: _status(project, name, None) for name in layers_of(project, layer, revision)}
    lines = first.text.splitlines()
    known = set(lines)
    for name, one in layers.items():
        head, *more = one.text.splitlines()
        lines.append(f"  layer {name}: {head}")
        lines += [f"  {line}" for line in more if line not in known]
    return first.with_layers(layers, "\n".join(lines))


def _status(project: Project, layer: str | None, revision: str | None) -> Said:
    """What there is to say of one database's snapshot."""
    from alembic_snapshot.build.archiving import archived
    from alembic_snapshot.build.lookup import look_up
    from alembic_snapshot.build.sharing import remote_settings

    # What a build would refuse is refused here too, although the store has the snapshot.
    has_remote = remote_settings(project) is not None
    lookup = look_up(project, layer=layer, revision=revision)
    if lookup.entry is None:
        file = archived(lookup)
        if file is not None:
            facts = {"hit": False, "archived": True, "key": lookup.chain.key}
            line = f"archived {file.file}\n  the next build restores it"
            return Said({**facts, "path": str(file.file)}, line)
        told: dict[str, Any] = {}
        if has_remote:
            told, hit = _peek(lookup)
            if hit is not None:
                record = {"hit": False, "remote_hit": True, **told}
                closed = lookup.store.closed() if lookup.store.root.exists() else None
                if closed is None:
                    return Said(record, hit)
                why = f"it can't be fetched: {closed.message}"
                return Said({**record, "why": [why]}, f"{hit}\n  {why}", 1)
        record = {
            "hit": False,
            "remote_hit": False,
            "key": lookup.chain.key,
            "why": list(lookup.reasons),
            "cures": list(lookup.cures),
            "opaque": list(lookup.chain.opaque),
            **told,
        }
        lines = [
            "miss",
            *(f"  {why}" for why in (*lookup.reasons, *one_layer(lookup.chain.opaque))),
        ]
        lines += [f"  if that does not matter to the migrations: {cure}" for cure in lookup.cures]
        if named := _patterns(lookup.unkeyed):
            lines.append(f"  to have the key, and a cache's, change with it: inputs = {named}")
        return Said(record, "\n".join(lines), 1)
    manifest = lookup.entry.manifest
    lines = [f"hit {lookup.entry.database}"]
    lines += [f"  {line}" for line in manifest.warnings]
    lines += [f"  {line}" for line in told_of(manifest, project)]
    lines += [f"  {line}" for line in one_layer(lookup.chain.opaque)]
    if not lookup.chain.is_below and "drift" not in manifest.checks:
        lines.append("  the models were not compared with it yet: the next build does")
    changed = lookup.changed_for_env()
    lines += [f"  the next build runs env.py again: {change}" for change in changed]
    read = manifest.observed.files.keys() - lookup.chain.named_files.keys()
    if seen := _patterns(read):
        lines.append(f"  read while it ran: add inputs = {seen} to the configuration")
    lines += [f"  depends on the variable {name}" for name in manifest.observed.environment]
    record = {
        "hit": True,
        "changed": list(changed),
        "opaque": list(lookup.chain.opaque),
        **snapshot_record(lookup.entry, project),
    }
    return Said(record, "\n".join(lines))


def _patterns(names: Iterable[str]) -> str:
    """Files as ``inputs`` has them; nothing if there are none.

    What a folder outside the project is called in no pattern leads to.
    """
    patterns = [glob.escape(name) for name in sorted(names) if not name.startswith("<")]
    return json.dumps(patterns) if patterns else ""


def _peek(lookup: Status) -> tuple[dict[str, Any], str | None]:
    """What the shared store says, as JSON, and the line of a hit; None if it is none."""
    from alembic_snapshot.cli.remote import hit_line, peek, record_of

    there, report = peek(lookup)
    console.warn(report.warnings)
    if there is None:
        return {"warnings": report.warnings}, None
    record = {"key": lookup.chain.key, "remote": record_of(there), "warnings": report.warnings}
    return record, hit_line(there, report)


@click.command()
@on_snapshot
@click.argument("path")
def clone(path: str, layer: str | None, revision: str | None, as_json: bool, **where: Any) -> int:
    """Put a clone of your own at PATH, and print its URL. On PostgreSQL PATH is its name."""
    from alembic_snapshot.build.ensure import ensure
    from alembic_snapshot.build.progress import Progress

    project = project_of(where)
    backend_of(project).refuse_taken(path)
    with Progress() as progress:
        snapshot = ensure(project, layer=layer, revision=revision, listener=progress)
    console.warn(notes_of(snapshot))
    copy = snapshot.clone(path)
    print_facts({"url": copy.url, "path": copy.target.name}, copy.url, as_json, is_url=True)
    tell_of_ending(project, copy.target)
    return 0


@click.command()
@on_snapshot
@click.option("--rows", type=click.IntRange(min=0), default=5, show_default=True,
              help="How many rows of a table to show.")  # fmt: skip
@click.argument("path")
def diff(
    path: str, rows: int, layer: str | None, revision: str | None, as_json: bool, **where: Any
) -> int:
    """Print what the database at PATH has that the snapshot has not.

    On PostgreSQL, PATH is the database's name. Exit 0: there is no difference. Exit 1: there is
    one.
    """
    import sqlite3

    from alembic_snapshot.build.ensure import ensure

    project = project_of(where)
    database = backend_of(project).target(path)
    if not database.is_there() or (database.file and not database.file.is_file()):
        what = "file " if database.file else ""
        raise CloneError(f"there is no {what}{database}", hint="give the path or name of a clone")
    snapshot = ensure(project, layer=layer, revision=revision)
    console.warn(notes_of(snapshot))
    entry = _entry(snapshot)
    try:
        difference = database.diff(entry.database, rows)
    except sqlite3.Error as error:
        raise CloneError(f"can't compare {path}: {error}", hint="is it a SQLite file?") from error
    print_facts(difference.to_record(), str(difference), as_json)
    return 1 if difference else 0


def _entry(snapshot: Snapshot) -> Entry:
    assert snapshot.entry is not None
    return snapshot.entry
