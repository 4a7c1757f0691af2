"""A server that has nothing, and a store's folder with archives: restored, not built."""

from __future__ import annotations

import json
import os
import re

import pytest

from alembic_snapshot.build.ensure import rebuild_and_compare
from alembic_snapshot.errors import BuildError
from alembic_snapshot.plugin.summary import Tally
from alembic_snapshot.postgres import databases, pg_dump
from alembic_snapshot.postgres.store import ServerStore

from ..store.test_read_only import on_a_read_only_disk, run


@pytest.fixture
def project(project, forget):
    forget()
    project.configure('backend = "postgresql"\narchive = "always"')
    return project


def archives(project):
    return sorted((project.root / ".alembic-snapshot" / "archives").glob("*.archive"))


def test_a_snapshot_is_restored_with_what_it_stands_on(project, forget):
    project.history(3)
    first = project.ensure()
    assert len(archives(project)) == 2
    forget()

    again, ran = project.build()

    assert (again.built, again.restored, ran) == (False, True, [])
    assert again.notes == ()
    assert again.manifest.heads == first.manifest.heads
    assert dict(again.manifest.checks) == json.loads(json.dumps(first.manifest.checks))
    assert rebuild_and_compare(project.load())[1].schema == []
    found, ran = project.build()
    assert (found.restored, ran) == (False, [])


def test_a_new_revision_is_built_on_what_was_restored(project, forget):
    project.history(3)
    project.ensure()
    forget()
    project.revision("0004", "0003")

    snapshot, ran = project.build()

    assert ran == ["0004"]
    assert snapshot.built
    assert not snapshot.restored


def test_of_what_the_server_has_nothing_is_restored(project):
    project.history(3)
    project.ensure()
    project.revision("0004", "0003")

    assert project.build()[1] == ["0004"]
    assert len(archives(project)) == 3


@pytest.mark.parametrize(
    ("value", "key", "is_written"),
    [("", "ci", False), ("false", "ci", False), ("true", "ci", True), ("1", "ci", True),
     ("true", "never", False), ("", "always", True)],
)  # fmt: skip
def test_archives_are_written_in_a_ci_or_as_the_table_says(
    project, monkeypatch, value, key, is_written
):
    project.configure(f'backend = "postgresql"\narchive = "{key}"')
    project.history(1)
    monkeypatch.setenv("CI", value)

    project.ensure()

    assert bool(archives(project)) == is_written


def test_an_archive_is_written_of_what_was_built_before(project):
    project.configure('backend = "postgresql"')
    project.history(1)
    project.ensure()
    assert archives(project) == []

    done = project.command("build", "--archive")

    assert done.returncode == 0, done.stderr
    assert len(archives(project)) == 1
    assert f"its archive is {archives(project)[0]}" in done.stderr.splitlines()
    before = archives(project)[0].stat().st_mtime_ns
    assert project.command("build", "--archive").returncode == 0
    assert archives(project)[0].stat().st_mtime_ns == before


def test_commands_say_what_is_there(project, forget):
    project.history(1)
    project.ensure()
    forget()

    status = project.command("status")
    told = json.loads(project.command("status", "--json").stdout)
    doctor = project.command("doctor").stdout
    made = project.command("build")

    assert status.returncode == 0
    (file,) = archives(project)
    assert status.stdout == f"archived {file}\n  the next build restores it\n"
    assert f"✓ snapshot: archived {file}: the next build takes it from there" in doctor
    assert (told["hit"], told["archived"], told["path"]) == (False, True, str(file))
    assert "restored from its archive" in made.stderr.splitlines()


def test_the_last_line_of_a_run_says_so(project, forget):
    project.history(1)
    project.ensure()
    forget()
    tally = Tally()

    tally.note(project.ensure(), lambda: "status")

    assert list(tally.snapshots.values()) == ["restored from its archive"]


@pytest.mark.parametrize("how", ["cut off", "altered", "gone"])
def test_a_damaged_archive_is_said_and_not_used(project, forget, how):
    project.history(1)
    project.ensure()
    forget()
    (file,) = archives(project)
    content = file.read_bytes()
    if how == "gone":
        file.unlink()
    else:
        file.write_bytes(content[:-9] if how == "cut off" else content.replace(b"0001", b"0002"))
    status = project.command("status")

    snapshot, ran = project.build()

    assert status.returncode == 1
    assert ran == ["0001"]
    assert snapshot.notes == (f"the archive {file.stem} is not used: it is damaged or was changed",)
    assert archives(project)[0].read_bytes() != b""
    forget()
    assert project.ensure().restored


def test_a_build_that_fails_says_why_an_archive_was_of_no_use(project, forget, tmp_path, postgres):
    with postgres.connect() as connection:
        connection.execute("CREATE DATABASE flag")
    body = 'op.execute("DO $$ BEGIN PERFORM 1 / count(*) FROM pg_database '
    body += "WHERE datname = 'flag'; END $$\")"
    project.revision("0001", None, body)
    project.ensure()
    forget()
    archives(project)[0].write_bytes(b"")
    with postgres.connect() as connection:
        connection.execute("DROP DATABASE flag")
    lines = []

    def listen(event):
        lines.extend(event["lines"] if event["event"] == "warnings" else ())

    with pytest.raises(BuildError, match="division by zero"):
        project.ensure(listener=listen)

    assert lines[0].endswith("is not used: it is damaged or was changed")


def test_what_can_not_be_carried_is_said_in_a_line(project):
    project.revision("0001", None, "op.execute('SELECT lo_create(0)')")

    snapshot = project.ensure()

    assert snapshot.built
    assert snapshot.notes == (
        f"the snapshot {snapshot.digest[:12]} has no archive: "
        "a file can't carry it: it has large objects",
    )


REFUSED = {
    "ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO public": "member of role",
    "CREATE PUBLICATION p FOR ALL TABLES": "must be superuser",
    "CREATE EXTENSION pg_walinspect": "no extension|must be superuser|permission denied",
    "CREATE MATERIALIZED VIEW m AS SELECT clock_timestamp()": "has other rows here",
    "CREATE FUNCTION f() RETURNS float LANGUAGE internal AS 'drandom'": "permission denied",
    "DO $$ BEGIN EXECUTE 'ALTER DATABASE ' || current_database() || ' SET a.b = 7'; END $$": (
        "permission denied to set parameter"
    ),
}


@pytest.mark.parametrize("sql", REFUSED)
def test_what_no_server_would_restore_is_said_where_the_file_would_be_written(project, sql):
    project.revision("0001", None, f"op.get_bind().exec_driver_sql({sql!r})")

    snapshot = project.ensure()

    assert snapshot.built
    (note,) = snapshot.notes
    assert "has no archive: a file can't carry it: tried out, " in note
    assert re.search(REFUSED[sql], note)
    assert archives(project) == []


def test_a_machine_without_pg_dump_builds_and_says_so(project, monkeypatch):
    monkeypatch.setattr(pg_dump, "_programs", lambda _path: iter(()))
    project.history(1)

    snapshot = project.ensure()

    assert snapshot.built
    assert "has no archive: there is no pg_dump for PostgreSQL" in snapshot.notes[0]


def test_a_folder_that_can_not_be_written_to_is_said(project):
    project.history(1)
    folder = project.root / ".alembic-snapshot" / "archives"
    folder.parent.mkdir()
    folder.write_text("no folder")

    snapshot = project.ensure()

    assert snapshot.built
    assert "has no archive: " in snapshot.notes[0]


def test_archives_are_pruned_with_their_snapshots_and_without(project, forget, names):
    project.history(1)
    project.ensure()
    project.revision("0002", "0001")
    project.ensure()
    assert len(archives(project)) == 2
    forget()
    store = ServerStore(project.root / ".alembic-snapshot")

    assert [one.manifest.heads for one in store.prune(keep=1)] == []
    project.revision("0003", "0002", "op.execute('SELECT 1')")
    project.ensure()
    os.utime(archives(project)[0].with_suffix(".json"), (1, 1))

    deleted = store.prune(keep=0)

    assert len(deleted) == 3
    assert archives(project) == []
    assert list(store.archives.folder.iterdir()) == []
    assert names(databases.SNAPSHOT) == []


def test_archives_count_in_the_stores_size(project):
    project.history(1)
    project.ensure()
    (file,) = archives(project)
    store = ServerStore(project.root / ".alembic-snapshot")
    (entry,) = store.entries()

    assert store.trim(10**12) == ([], entry.manifest.size + file.stat().st_size)


def test_half_an_archive_is_none_and_is_swept(project):
    project.history(1)
    project.ensure()
    (file,) = archives(project)
    file.with_suffix(".json").unlink()
    store = ServerStore(project.root / ".alembic-snapshot")
    assert store.archives.all() == []

    store.prune(keep=1)

    assert archives(project) == []


@pytest.mark.parametrize("is_there", [True, False])
def test_a_folder_that_can_only_be_read_is_enough(project, forget, monkeypatch, is_there):
    project.history(2)
    if is_there:
        project.ensure()
    store = project.root / ".alembic-snapshot"
    store.mkdir(exist_ok=True)
    forget()
    before = on_a_read_only_disk(store)

    status = run(before, project, "alembic_snapshot", "status")
    done = run(before, project, "alembic_snapshot", "build")
    again = run(before, project, "alembic_snapshot", "build", "-q")

    assert (status.returncode, status.stdout.startswith("archived ")) == (
        (0, True) if is_there else (1, False)
    )
    assert (done.returncode, done.stdout) == (again.returncode, again.stdout), done.stderr
    assert done.returncode == 0
    assert ("restored from its archive" in done.stderr) == is_there
    assert ("has no archive: " in done.stderr) != is_there
