"""The commands on a shared store: make keys, put a snapshot there, fetch one, list them."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Sequence
from typing import Any

from alembic_snapshot.backend import backend_of
from alembic_snapshot.build.lookup import Status, look_up
from alembic_snapshot.build.sharing import Fits, built
from alembic_snapshot.checks import number, size
from alembic_snapshot.cli.records import snapshot_record, time_of
from alembic_snapshot.errors import CommandError, StoreError
from alembic_snapshot.project.commands import own_command
from alembic_snapshot.project.config import Project
from alembic_snapshot.project.places import TABLE
from alembic_snapshot.project.variables import KEY_VARIABLE, REMOTE_VARIABLE
from alembic_snapshot.remote.asked import AskedStore
from alembic_snapshot.remote.record import Record
from alembic_snapshot.remote.settings import RemoteSettings, mistrust, settings_of
from alembic_snapshot.remote.shared import Report

_INSTALL = "pip install 'alembic-snapshot[remote]'"


def new_key(scope: str) -> tuple[dict[str, str], str]:
    """A new pair of keys for a scope, as a record and as lines.

    Raises:
        CommandError: the scope is none, or a library is missing.
    """
    from alembic_snapshot.project.remote import check_scope
    from alembic_snapshot.remote.signature import make_pair

    check_scope(scope.replace("*", "x"), "--scope")
    try:
        signing_key, public_key = make_pair()
    except ImportError as error:
        raise CommandError(f"{error.name} is not installed", hint=_INSTALL) from error
    lines = [
        "# the secret of the jobs that write; it is shown this once:",
        f"{KEY_VARIABLE}={signing_key}",
        f"# in pyproject.toml, below [{TABLE}]:",
        f'remote_keys = {{ "{scope}" = "{public_key}" }}',
    ]
    record = {"signing_key": signing_key, "public_key": public_key, "scope": scope}
    return record, "\n".join(lines)


def push(project: Project, **which: str | None) -> tuple[dict[str, Any], str, list[str]]:
    """Put the snapshot, and the states that its build kept, there.

    Raises:
        CommandError: the machine's own store has no such snapshot.
        StoreError: it could not be put there.
    """
    settings = _settings(project, write=True)
    status = look_up(project, **which)
    if status.entry is None:
        raise CommandError(
            "the store has not the snapshot that is to be put there",
            hint=f"build it first: `{own_command(project, 'build', **which)}`",
        )
    entries = built(status.store, status.chain.target.digest)
    with _open(settings, project, status) as shared:
        own = [entry for entry in entries if not entry.manifest.received]
        doubted = [entry for entry in own if mistrust(project, entry.manifest)]
        private = [entry for entry in own if shared.private_in(entry.manifest, status.chain)]
        shared.send(own, status.chain, again=True)
        report = shared.report
    _refuse_failure(report, project)
    record = {
        **report.to_record(),
        "private": len(private),
        "received": len(entries) - len(own),
    }
    line = f"{number(report.sent, 'new snapshot')} in {settings.name}, scope {settings.scope}"
    there = len(own) - len({entry.name for entry in (*private, *doubted)}) - report.sent
    line += f"; {there} there already" if there else ""
    line += f"; {len(private)} private" if private else ""
    line += f"; {len(entries) - len(own)} came from there" if len(entries) > len(own) else ""
    return record, line, report.warnings


def pull(project: Project, **which: str | None) -> tuple[dict[str, Any], str, list[str], bool]:
    """Fetch the snapshot into the machine's own store; whether it is there then.

    What is there before is not asked for, and the record says so.

    Raises:
        StoreError: the shared store could not be asked.
    """
    settings = _settings(project, write=False)
    status = look_up(project, **which)
    entry = status.entry
    asked = entry is None
    with _open(settings, project, status) as shared:
        if entry is None:
            with status.store.lock(status.chain.target.digest):
                entry = shared.pull(status.chain, Fits(project, status.present))
        report = shared.report
    if entry is None:
        _refuse_failure(report, project)
        line = f"miss: {settings.name} has it not{report.rejects_in_words()}"
        return {**report.to_record(), "asked": asked}, line, report.warnings, False
    record = {**snapshot_record(entry, project), "remote": report.to_record(), "asked": asked}
    return record, entry.database.name, report.warnings, True


def peek(status: Status) -> tuple[Record | None, Report]:
    """The record of a snapshot in the shared store, which is only asked; None if it has none."""
    settings = settings_of(status.project)
    assert settings is not None
    settings = dataclasses.replace(settings, write=False)
    with _open(settings, status.project, status) as shared:
        fits = Fits(status.project, status.present)
        return shared.peek(status.chain.target, fits), shared.report


def hit_line(there: Record, report: Report) -> str:
    """What is said of a snapshot that the shared store has."""
    return f"remote hit {report.name}, scope {there.scope}"


def listed(project: Project) -> tuple[list[Record], list[str]]:
    """The records in the shared store that count in this run, and what there is to say.

    Raises:
        StoreError: it could not be asked.
    """
    settings = _settings(project, write=False)
    backend = backend_of(project)
    with contextlib.closing(AskedStore(settings, project, backend, backend.store())) as shared:
        records = shared.listed()
    _refuse_failure(shared.report, project)
    return records, shared.report.warnings


def record_of(record: Record) -> dict[str, Any]:
    """What ``--json`` says of a snapshot in a shared store."""
    manifest = record.manifest
    return {
        "key": manifest.digest,
        "project": manifest.project,
        "scope": record.scope,
        "signer": record.signer,
        "signed": record.signed,
        "heads": list(manifest.heads),
        "seeds": len(manifest.seeds),
        "tables": manifest.tables,
        "bytes": manifest.size,
        "packed": record.packed,
    }


def row_of(record: Record) -> Sequence[str]:
    """A row for a reader: snapshot, project, scope, heads, seeds, size, when it was signed."""
    manifest = record.manifest
    return (
        manifest.digest[:12],
        manifest.project,
        record.scope,
        " ".join(manifest.heads),
        str(len(manifest.seeds)),
        size(manifest.size),
        time_of(record.signed),
    )


ROW = ("snapshot", "project", "scope", "heads", "seeds", "size", "signed")


def told(report: Report | None) -> list[str]:
    """What a build says of the shared store, beside its warnings."""
    if report is None or not report.has_done:
        return []
    return [f"shared store {report.name}: {report.in_words()}"]


def _settings(project: Project, *, write: bool) -> RemoteSettings:
    if project.no_remote:
        raise CommandError(
            "--no-remote leaves nothing to do for a command on the shared store",
            hint="leave it out",
        )
    settings = settings_of(project, write=False)
    if settings is None:
        raise CommandError(
            "there is no shared store",
            hint=f"set remote in [{TABLE}], or {REMOTE_VARIABLE}",
        )
    return settings_of(project, write=True) or settings if write else settings


def _open(
    settings: RemoteSettings, project: Project, status: Status
) -> contextlib.closing[AskedStore]:
    return contextlib.closing(AskedStore(settings, project, backend_of(project), status.store))


def _refuse_failure(report: Report, project: Project) -> None:
    """Make an error of what is a warning where something else can be done.

    Raises:
        StoreError: the shared store failed.
    """
    if report.failed:
        raise StoreError(
            report.failed[0],
            hint="are its address and the credentials right, and may they do this? "
            f"`{own_command(project, 'doctor')}` asks it, too",
        )
