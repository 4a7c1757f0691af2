"""A snapshot that is there, and was put there by somebody whom a run does not believe."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pytest

from alembic_snapshot.project.remote import fingerprint
from alembic_snapshot.remote.exchange import Exchange

from .conftest import KEYS, MAIN_KEY, PR_KEY, STRANGER, Shared

SCOPE = "ALEMBIC_SNAPSHOT_REMOTE_SCOPE"
MAIN, PR, OTHER = (fingerprint(key[1]) for key in (MAIN_KEY, PR_KEY, STRANGER))
UNKNOWN = "remote_keys has no key of its signer {} for {}"
# Who put it there, in which scope; the keys of who reads; what is said.
KINDS = {
    "a key that was taken out": (MAIN_KEY[0], "main", {"main": (STRANGER[1],)}, (MAIN, "main")),
    "a key that is none": (STRANGER[0], "main", KEYS, (OTHER, "main")),
    "another scope's key": (PR_KEY[0], "main", KEYS, (PR, "main")),
    "another key of pull requests": (MAIN_KEY[0], "pr/1", KEYS, (MAIN, "pr/1")),
    "a scope that has no key": (PR_KEY[0], "pr/1", {"main": (MAIN_KEY[1],)}, (PR, "pr/1")),
    "a signature, and no keys": (
        MAIN_KEY[0], "main", {}, "it is signed, and there are no remote_keys to verify it with"
    ),
    "no signature, and keys": (None, "main", KEYS, "it is unsigned"),
    "no signature, in a pull request": (None, "pr/1", KEYS, "it is unsigned"),
}  # fmt: skip


def put(shared: Shared, key: str | None, scope: str) -> str:
    """Put the builder's snapshot there with a key, whoever believes it; its digest."""
    with shared.opened("of the builder") as (_, status), shared.transport() as transport:
        assert status.entry is not None
        exchange = Exchange(transport, scope, {}, key)
        exchange.publish(status.entry.manifest, status.entry.database.path, shared.project.root)
        exchange.close()
        return status.entry.manifest.digest[:12]


@pytest.fixture(params=KINDS)
def kind(request):
    """Puts it there as such a one, for who reads in its scope; the line, and the variables."""
    key, scope, keys, why = KINDS[request.param]

    def kind(shared: Shared) -> tuple[str, dict[str, str]]:
        digest = put(shared, key, scope)
        shared.configure(keys=keys)
        said = why if isinstance(why, str) else UNKNOWN.format(*why)
        return f"ignored the record {digest} in {scope}: {said}", {SCOPE: scope}

    return kind


@pytest.fixture(params=["a folder", "s3"])
def store(request, shared):
    """A shared store of each sort that tests have on every machine."""
    return shared if request.param == "a folder" else request.getfixturevalue("s3")


class TestItIsTold:
    def test_by_who_fetches_and_who_asks(self, store, kind):
        line, variables = kind(store)
        told = f"warning: shared store {re.escape(store.url)}: {re.escape(line)}"

        pulled = store.run("reader", "pull", **variables)
        status = store.run("reader", "status", "--json", **variables)

        assert (pulled.returncode, status.returncode) == (1, 1)
        assert re.fullmatch(r"miss: .* has it not, 1 of 1 rejected\n", pulled.stdout)
        for done in (pulled, status):
            assert re.fullmatch(told, done.stderr.strip())
        record = json.loads(status.stdout)
        assert not record["remote_hit"]
        assert record["warnings"] == [told.removeprefix("warning: ").replace("\\", "")]

    def test_by_a_build(self, shared, kind):
        line, variables = kind(shared)

        made = shared.build("reader", **variables)

        remote = made["remote"]
        assert made["built"]
        assert [one.endswith(line) for one in made["warned"]] == [True]
        assert (remote["found"], remote["verified"], remote["rejected"]) == (1, 0, 1)
        assert (remote["got"], remote["failed"]) == ("miss", [])

    def test_by_doctor(self, store, kind):
        line, variables = kind(store)

        done = store.run("reader", "doctor", **variables)

        (said,) = [one for one in done.stdout.splitlines() if " shared store: " in one]
        scope, why = re.fullmatch(r"ignored the record \w+ in (\S+): (.*)", line).groups()
        assert said == (f"! shared store: the scope {scope} has 1 record, and none counts: {why}")

    def test_by_pytest_loudly(self, shared, kind):
        line, variables = kind(shared)
        shared.project.write("test_it.py", "def test_it(db_clone): assert db_clone.path.exists()\n")
        options = ("-q", "-p", "no:cacheprovider", f"--snapshot-dir={shared.store('reader')}")

        done = subprocess.run(
            [sys.executable, "-m", "pytest", *options],
            cwd=shared.project.root,
            env={**os.environ, **variables},
            capture_output=True,
            text=True,
            check=False,
        )

        assert done.returncode == 0, done.stdout
        assert line in done.stdout
        summary = r"warning: shared store .*, 1 missed, 1 rejected; .*: have the keys changed"
        assert re.search(summary, done.stdout)


class TestItIsNotTold:
    def test_of_who_is_believed(self, shared):
        shared.fill()
        put(shared, STRANGER[0], "main")

        entry, report = shared.pull("reader")
        doctor = shared.run("reader", "doctor")

        assert entry is not None
        assert (report.warnings, report.rejected) == ([], 0)
        assert "✓ shared store: " in doctor.stdout

    def test_of_other_snapshots_and_other_scopes(self, shared):
        put(shared, STRANGER[0], "main")
        put(shared, STRANGER[0], "pr/2")
        shared.project.revision("0003", "0002")

        entry, report = shared.pull("reader", **{SCOPE: "pr/1"})

        assert entry is None
        assert report.warnings == []

    def test_where_there_is_nothing(self, shared):
        assert shared.pull("reader")[1].warnings == []
        assert "✓ shared store: " in shared.run("reader", "doctor").stdout


class TestSeveral:
    def test_are_counted_each_and_told_once(self, shared):
        digest = put(shared, STRANGER[0], "main")
        put(shared, PR_KEY[0], "main")
        put(shared, None, "main")
        (record,) = [path for path in shared.records() if path.name == f"{PR}-0.json"]
        record.with_name(f"{PR}-1.json").write_bytes(record.read_bytes())
        record.with_name("whoever-0.json").write_text("")

        _, report = shared.pull("reader")
        doctor = shared.run("reader", "doctor")

        start = f"shared store {shared.url}: ignored the record {digest} in main: "
        assert sorted(line.removeprefix(start) for line in report.warnings) == [
            "it is no record",
            "it is unsigned",
            *sorted(UNKNOWN.format(signer, "main") for signer in (PR, OTHER)),
        ]
        assert (report.found, report.rejected) == (5, 5)
        assert "the scope main has 5 records, and none counts: " in doctor.stdout
        assert doctor.stdout.count("; and 1 more reason\n") == 1

    def test_do_not_hide_a_state_below_that_counts(self, shared):
        shared.fill()
        shared.project.revision("0003", "0002")
        shared.build("of the builder")
        digest = put(shared, STRANGER[0], "main")

        made = shared.build("reader")

        assert made["remote"]["got"] == "ancestor"
        assert made["remote"]["rejected"] == 1
        assert [digest in line for line in made["warned"]] == [True]

    def test_a_job_that_writes_puts_its_own_beside_them(self, shared):
        put(shared, STRANGER[0], "main")

        made = shared.build("writer", **shared.as_writer())

        assert (made["remote"]["rejected"], made["remote"]["sent"]) == (1, 2)
        assert shared.pull("reader")[1].warnings == []
