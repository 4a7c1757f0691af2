"""Snapshots of PostgreSQL in a store that machines share: they travel as files, and are code."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from alembic_snapshot.backend import backend_of
from alembic_snapshot.build.ensure import ensure
from alembic_snapshot.build.lookup import look_up
from alembic_snapshot.postgres import databases
from alembic_snapshot.postgres.database import readable
from alembic_snapshot.postgres.private.folder import VARIABLE
from alembic_snapshot.project.remote import fingerprint
from alembic_snapshot.remote.record import content_path, record_path
from alembic_snapshot.store.archives import hashed

from ..sample import SampleProject
from .conftest import MAIN_KEY, PR_KEY, STRANGER, Shared

SCOPE = "ALEMBIC_SNAPSHOT_REMOTE_SCOPE"


@pytest.fixture
def shared(tmp_path, postgres, forget, monkeypatch):
    """A folder that machines share, with keys; a project on PostgreSQL that one has built."""
    monkeypatch.delenv("ALEMBIC_SNAPSHOT_BACKEND", raising=False)
    forget()
    (tmp_path / "bucket").mkdir()
    shared = Shared(SampleProject(tmp_path / "project"), (tmp_path / "bucket").as_uri())
    shared.project.history(2)
    shared.configure(more='backend = "postgresql"\n')
    project = shared.project.load(store=tmp_path / "machine-of the builder")
    ensure(dataclasses.replace(project, no_remote=True))
    return shared


def put(shared, scope, key, change=lambda contents: None):
    """Put the snapshot there as the owner of a key would, with its contents changed."""
    project = shared.project.load(store=shared.project.root.parent / "machine-of the builder")
    status = look_up(dataclasses.replace(project, no_remote=True))
    store = status.store
    store.prepare()
    workspace = store.workspace("0" * 64)
    try:
        file, manifest = backend_of(project).as_file(status.entry, workspace)
        with zipfile.ZipFile(file) as before:
            members = {name: before.read(name) for name in before.namelist()}
        contents = json.loads(members["schema.json"])
        change(contents)
        members["schema.json"] = json.dumps(contents).encode()
        with zipfile.ZipFile(file, "w") as after:
            for name, content in members.items():
                after.writestr(name, content)
        size, sha256 = hashed(file)
        manifest = dataclasses.replace(manifest, size=size, sha256=sha256)
        shared.exchange(scope, key).publish(manifest, file, workspace.folder)
        return manifest
    finally:
        workspace.close()


def poison(contents):
    contents["before"].append('CREATE TABLE public."poison" (x int)')
    contents["tables"].append(
        {"schema": "public", "name": "poison", "columns": [], "format": "binary", "rows": 0}
    )
    contents["facts"].append("table poison")
    contents["facts"].append("column poison.x integer default none")


def assert_refused(shared, warned=1, **variables):
    """See that nothing is fetched, and that one line says why; the line."""
    entry, report = shared.pull("reader", **variables)
    assert entry is None
    assert report.got == "miss"
    assert len(report.warnings) == warned, report.warnings
    return "".join(report.warnings)


class TestItTravels:
    def test_one_builds_and_another_machine_restores(self, shared, forget):
        shared.fill()
        forget()

        status = shared.run("reader", "status")
        built = shared.build("reader")
        listed = json.loads(shared.run("reader", "list", "--remote", "--json").stdout)

        assert status.stdout.startswith("remote hit ")
        assert (built["built"], built["warned"]) == (False, [])
        assert built["remote"]["got"] == "hit"
        assert built["heads"] == ["0002"]
        assert {tuple(one["heads"]) for one in listed} == {("0001",), ("0002",)}
        assert shared.run("reader", "status").stdout.startswith("hit ")

    def test_a_new_revision_is_built_on_what_came(self, shared, forget):
        shared.fill()
        forget()
        shared.project.revision("0003", "0002")

        built = shared.build("reader")

        assert built["remote"]["got"] == "ancestor"
        assert built["built"]

    def test_commands_do_one_half_by_hand(self, shared, forget):
        pushed = shared.run("of the builder", "push", "--json", **shared.as_writer())
        again = shared.run("of the builder", "push", "--json", **shared.as_writer())
        forget()
        pulled = shared.run("reader", "pull")

        assert json.loads(pushed.stdout)["sent"] == 2
        assert json.loads(again.stdout)["sent"] == 0
        assert pulled.stdout.startswith(databases.SNAPSHOT)

    def test_what_was_put_there_is_not_written_again(self, shared):
        shared.fill()

        with shared.opened("of the builder", **shared.as_writer()) as (store, status):
            assert store.is_sent(status.entry)

    def test_an_archive_of_the_machines_own_is_what_is_sent(self, shared, monkeypatch):
        monkeypatch.setenv("CI", "true")

        built = shared.build("of the builder", **shared.as_writer())

        folder = shared.project.root.parent / "machine-of the builder" / "archives"
        hashes = {hashed(file)[1] for file in folder.glob("*.archive")}
        assert built["remote"]["sent"] == 2
        assert {path.stem for path in shared.contents()} == hashes
        assert len(hashes) == 2

    def test_what_can_not_be_carried_is_said_and_built(self, shared):
        shared.project.revision("0003", "0002", "op.execute('SELECT lo_create(0)')")

        built = shared.build("writer", **shared.as_writer())

        assert built["built"]
        assert built["warned"] == [
            f"warning: shared store {shared.url}: the snapshot {built['key'][:12]} is not shared: "
            "a file can't carry it: it has large objects"
        ]

    def test_what_this_server_can_not_have_is_built_and_stays_for_others(self, shared, forget):
        put(shared, "main", MAIN_KEY[0], lambda contents: contents["locale"].__setitem__(2, "tlh"))
        (before,) = shared.records()
        signed = before.read_bytes()
        forget()

        built = shared.build("writer", **shared.as_writer())

        assert built["built"]
        assert built["remote"]["rejected"] == 0
        (line,) = built["warned"]
        assert "its locale is UTF8/" in line
        assert before.read_bytes() == signed

    def test_doctor_asks_it(self, shared):
        done = shared.run("reader", "doctor", "--json")

        findings = json.loads(done.stdout)["findings"]
        assert any("is read in the scope main, signed" in json.dumps(one) for one in findings)


class TestAFleet:
    """Machines with a server and a store of their own, which begin at once."""

    @pytest.fixture
    def machines(self):
        """Folders for private servers; a socket's path has to be short."""
        folders = {name: tempfile.mkdtemp(prefix="as-") for name in ("1", "2", "3")}
        for folder in folders.values():
            Path(folder).chmod(0o755)
        yield folders
        for folder in folders.values():
            shutil.rmtree(folder, ignore_errors=True)

    @pytest.mark.campaign
    @pytest.mark.parametrize("scope", ["main", "pr/7"])
    def test_with_nothing_builds_once(self, shared, machines, scope):
        results = self.build(shared, machines, scope)

        assert sum(one["built"] for one in results) == 1
        assert sorted(one["remote"]["got"] for one in results) == ["hit", "hit", "miss"]

    @pytest.mark.campaign
    def test_when_the_builder_is_killed_another_one_builds(self, shared, machines):
        self.new_revision(shared)
        (name, folder) = machines.popitem()
        command = [sys.executable, "-m", "alembic_snapshot", "build", "--store", shared.store(name)]
        first = subprocess.Popen(
            command,
            cwd=shared.project.root,
            env={**os.environ, **shared.as_writer(), "CI": "true", VARIABLE: folder},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        first.stderr.readline()
        with ThreadPoolExecutor(1) as pool:
            others = pool.submit(self.build, shared, machines)
            first.send_signal(signal.SIGKILL)
            results = others.result()
        first.communicate()

        assert sum(one["built"] for one in results) <= 1

    def new_revision(self, shared):
        """A revision whose result is another one in each build."""
        different = "op.execute('INSERT INTO t_0001 VALUES (floor(random() * 1000000000))')"
        shared.project.revision("0003", "0002", upgrade=different)

    def build(self, shared, machines, scope="main"):
        """What each machine says; all have the same content."""
        self.new_revision(shared)
        variables = {**shared.as_writer(scope), "CI": "true"}

        def on(name):
            return shared.build(name, **{**variables, VARIABLE: machines[name]})

        with ThreadPoolExecutor(len(machines)) as pool:
            results = list(pool.map(on, machines))
        archives = [
            Path(shared.store(name), "archives", f"{one['path']}.archive")
            for name, one in zip(machines, results, strict=True)
        ]
        assert len({hashed(archive)[1] for archive in archives}) == 1
        return results


class TestItIsCode:
    def test_a_signed_snapshot_is_believed(self, shared, forget, postgres):
        put(shared, "main", MAIN_KEY[0], poison)
        forget()

        entry, report = shared.pull("reader")

        assert report.warnings == []
        with readable(entry.database, entry.database) as connection:
            found = connection.execute("SELECT to_regclass('poison')").fetchone()
        assert found == ("poison",), "the other tests would prove nothing"

    @pytest.mark.parametrize("key", [PR_KEY, STRANGER], ids=["of a pull request", "unknown"])
    def test_nothing_is_looked_at_before_the_signature(self, shared, forget, key):
        manifest = put(shared, "main", key[0], poison)
        for path in shared.records():
            text = path.read_text().replace(fingerprint(key[1]), fingerprint(MAIN_KEY[1]))
            path.rename(path.with_name(f"{fingerprint(MAIN_KEY[1])}-0.json")).write_text(text)
        # Whoever asked for the content would say that it is gone.
        (shared.folder / content_path("main", manifest.sha256)).unlink()
        forget()

        assert "its signature is wrong" in assert_refused(shared)

    def test_a_record_of_another_scope_is_no_replay(self, shared, forget):
        put(shared, "pr/1", PR_KEY[0], poison)
        (record,) = shared.records("pr/1")
        (content,) = shared.contents("pr/1")
        digest = record.parent.name
        there = shared.folder / record_path("main", digest, fingerprint(MAIN_KEY[1]), 0)
        there.parent.mkdir(parents=True)
        there.write_bytes(record.read_bytes())
        copied = shared.folder / content_path("main", content.stem)
        copied.parent.mkdir(parents=True)
        copied.write_bytes(content.read_bytes())
        forget()

        assert "ignored the record" in assert_refused(shared)
        assert shared.pull("other", **{SCOPE: "pr/1"})[0] is not None

    @pytest.mark.parametrize("how", ["cut off", "swapped", "a bomb"])
    def test_content_that_is_not_what_was_signed_is_not_used(self, shared, forget, how):
        put(shared, "main", MAIN_KEY[0])
        (content,) = shared.contents()
        good = content.read_bytes()
        if how == "cut off":
            content.write_bytes(good[: len(good) // 2])
        else:
            put(shared, "main", MAIN_KEY[0], poison)
            (other,) = (path for path in shared.contents() if path != content)
            content.write_bytes(other.read_bytes()) if how == "swapped" else content.write_bytes(
                good * 3
            )
            other.unlink()
            for record in shared.records()[1:]:
                record.unlink()
        forget()

        assert "its content is" in assert_refused(shared)

    @pytest.mark.parametrize(
        ("statement", "said"),
        [
            ("COPY public.t_0001 FROM PROGRAM 'touch {mark}'", "which makes no schema"),
            ("SELECT pg_read_file('/etc/passwd')", "which makes no schema"),
            (
                "CREATE FUNCTION public.s(cstring) RETURNS int LANGUAGE c AS 'libc.so.6', 'system'",
                "permission denied for language c",
            ),
            ("CREATE TABLE public.more (x int)", "its schema is another one here"),
            (
                'CREATE EXTENSION "file_fdw" WITH SCHEMA public',
                "permission denied to create extension",
            ),
        ],
    )
    def test_a_hostile_archive_is_a_line_and_a_build(
        self, shared, forget, tmp_path, statement, said
    ):
        mark = tmp_path / "mark"
        put(
            shared,
            "main",
            MAIN_KEY[0],
            lambda contents: contents["before"].append(statement.format(mark=mark)),
        )
        forget()

        built = shared.build("reader")

        assert built["built"]
        assert len(built["warned"]) == 1, built["warned"]
        assert said in built["warned"][0]
        assert not mark.exists()
        assert built["remote"]["got"] == "miss"
