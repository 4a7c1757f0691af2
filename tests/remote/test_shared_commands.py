"""What the commands and pytest say of a shared store, what they put there and what they fetch."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from alembic_snapshot import ensure
from alembic_snapshot.remote.signature import is_signed, sign

from ..store.test_read_only import on_a_read_only_disk, run
from .conftest import STRANGER

READ_VARIABLE = "import os\nop.execute(f\"create table t (x default '{os.environ.get('FLAG')}')\")"


class TestKeys:
    def test_a_pair_is_made_and_is_said_where_each_goes(self, project):
        done = project.command("remote-key", "--scope", "pr/*")

        assert done.returncode == 0
        variable, line = (one for one in done.stdout.splitlines() if not one.startswith("#"))
        name, _, signing_key = variable.partition("=")
        (public_key,) = tomllib.loads(line)["remote_keys"].values()
        assert name == "ALEMBIC_SNAPSHOT_REMOTE_SIGNING_KEY"
        assert tomllib.loads(line)["remote_keys"].keys() == {"pr/*"}
        assert is_signed(public_key, sign(signing_key, b"x"), b"x")

    def test_it_is_there_as_json_and_another_each_time(self, project):
        first, second = (
            json.loads(project.command("remote-key", "--scope", "main", "--json").stdout)
            for _ in range(2)
        )

        assert first.keys() == {"signing_key", "public_key", "scope"}
        assert first["signing_key"] != second["signing_key"]

    @pytest.mark.parametrize(
        "scope", ["", "a b", "../x", "main/x", "x/", "/x", "a//b", "é", "a" * 300]
    )
    def test_what_is_no_scope_is_an_error(self, project, scope):
        done = project.command("remote-key", "--scope", scope)

        assert done.returncode == 2
        assert done.stderr.startswith("error: ")
        assert "hint: " in done.stderr
        assert done.stdout == ""


@pytest.mark.parametrize("machine", ["reader", "of the builder"])
def test_a_build_from_scratch_asks_the_shared_store_for_nothing(shared, machine):
    shared.fill()

    made = shared.build(machine, "--from-scratch")

    remote = made["remote"]
    assert made["built"]
    assert (remote["got"], remote["found"], remote["verified"]) == (None, 0, 0)
    assert json.loads(shared.run(machine, "status", "--json").stdout)["hit"]


class TestByHand:
    def test_what_one_machine_pushes_another_pulls(self, served):
        pushed = served.run("of the builder", "push", "--json", **served.as_writer())
        again = served.run("of the builder", "push", **served.as_writer())
        before = served.run("reader", "status", "--json")
        pulled = served.run("reader", "pull", "--json")
        after = served.run("reader", "status")

        assert json.loads(pushed.stdout)["sent"] == 2
        assert again.stdout.startswith(f"0 new snapshots in {served.url}")
        assert "; 2 there already" in again.stdout
        assert before.returncode == 0
        assert json.loads(before.stdout)["remote_hit"]
        assert not json.loads(before.stdout)["hit"]
        assert json.loads(pulled.stdout)["remote"]["got"] == "hit"
        assert after.stdout.startswith("hit ")

    def test_what_was_not_built_is_not_pushed(self, shared):
        done = shared.run("empty", "push", **shared.as_writer())

        assert done.returncode == 2
        assert "build it first" in done.stderr

    @pytest.mark.parametrize("key", ["", None])
    def test_who_pushes_has_a_key(self, shared, key):
        variables = {**shared.as_writer(), "ALEMBIC_SNAPSHOT_REMOTE_SIGNING_KEY": key}
        given = {name: value for name, value in variables.items() if value is not None}

        done = shared.run("of the builder", "push", **given)

        assert done.returncode == 2
        assert "ALEMBIC_SNAPSHOT_REMOTE_SIGNING_KEY is " in done.stderr

    def test_what_is_not_there_is_a_miss(self, shared):
        pulled = shared.run("reader", "pull")
        status = shared.run("reader", "status")

        assert pulled.returncode == 1
        assert pulled.stdout.startswith("miss: ")
        assert status.returncode == 1
        assert status.stdout.startswith("miss\n")

    @pytest.mark.parametrize("there", ["the snapshot", "nothing", "no folder", "no server"])
    @pytest.mark.parametrize("scope", ["main", "pr/1"])
    def test_what_the_store_here_has_is_not_asked_for_and_that_is_said(self, shared, there, scope):
        variables = {"ALEMBIC_SNAPSHOT_REMOTE_SCOPE": scope}
        if there == "the snapshot":
            shared.fill(scope)
        elif there == "no folder":
            shared.folder.rmdir()
        elif there == "no server":
            shared.url = "s3://bucket/prefix"
            shared.configure()
            variables["AWS_ENDPOINT_URL"] = "http://127.0.0.1:1"
        path = shared.build("of the builder", "--no-remote")["path"]

        text = shared.run("of the builder", "pull", **variables)
        done = shared.run("of the builder", "pull", "--json", **variables)

        line = f"the store here has it already: the shared store {shared.url} was not asked\n"
        assert (text.returncode, text.stdout, text.stderr) == (0, f"{path}\n", line)
        assert (done.returncode, done.stderr) == (0, line)
        record = json.loads(done.stdout)
        assert (record["path"], record["asked"], record["remote"]["got"]) == (path, False, None)

    def test_what_was_asked_for_is_said_to_be(self, shared):
        miss = shared.run("reader", "pull", "--json")
        shared.fill()
        hit = shared.run("reader", "pull", "--json")

        assert (json.loads(miss.stdout)["asked"], json.loads(hit.stdout)["asked"]) == (True, True)
        assert (miss.returncode, hit.returncode) == (1, 0)
        assert miss.stderr == hit.stderr == ""

    @pytest.mark.parametrize("command", [("push",), ("pull",), ("list", "--remote")])
    def test_without_a_shared_store_it_is_an_error(self, project, command):
        project.history(1)

        done = project.command(*command)

        assert done.returncode == 2
        assert "there is no shared store" in done.stderr
        assert "set remote in" in done.stderr

    def test_what_is_there_is_listed(self, shared):
        shared.fill()
        shared.fill("pr/1")
        shared.records()[0].write_text("")

        text = shared.run("reader", "list", "--remote")
        record = json.loads(shared.run("reader", "list", "--remote", "--json").stdout)

        assert "main" in text.stdout
        assert "pr/1" not in text.stdout
        assert "warning: shared store " in text.stderr
        assert [one["scope"] for one in record] == ["main"]

    @pytest.mark.parametrize("scope", ["main", "pr/1"])
    @pytest.mark.parametrize(
        ("how", "why"),
        [
            ("gone", "its content is gone"),
            ("larger", "its content is larger than its record says"),
            ("cut", "its content is cut off"),
        ],
    )
    @pytest.mark.parametrize("where", ["shared", "s3"])
    def test_what_has_not_its_content_is_neither_a_hit_nor_listed(
        self, request, where, how, why, scope
    ):
        store = request.getfixturevalue(where)
        store.fill(scope)
        with store.transport() as transport:
            for path in transport.list(f"v1/{scope}/-/content/"):
                content = transport.read(path, 1 << 20).content
                if how == "gone":
                    transport.delete(path)
                else:
                    transport.write(path, content + b"x" if how == "larger" else content[:-20])
        variables = {"ALEMBIC_SNAPSHOT_REMOTE_SCOPE": scope}

        status = store.run("reader", "status", "--json", **variables)
        listed = store.run("reader", "list", "--remote", "--json", **variables)
        pulled = store.run("reader", "pull", **variables)

        digest = json.loads(status.stdout)["key"][:12]
        line = f"shared store {store.url}: ignored the snapshot {digest} in {scope}: {why}"
        assert [done.returncode for done in (status, listed, pulled)] == [1, 0, 1]
        assert json.loads(status.stdout)["remote_hit"] is False
        assert json.loads(status.stdout)["warnings"] == [line]
        assert json.loads(listed.stdout) == []
        for done in (status, listed, pulled):
            assert f"warning: {line}" in done.stderr.splitlines()
        assert pulled.stdout.endswith(" has it not, 1 of 1 rejected\n")

    def test_doctor_asks_it(self, shared):
        shared.fill()
        good = shared.run("reader", "doctor")
        bad = shared.run("reader", "doctor", ALEMBIC_SNAPSHOT_REMOTE="/dev/null/nowhere")

        assert re.search(r"✓ shared store: .* is read in the scope main, signed", good.stdout)
        (said,) = [line for line in bad.stdout.splitlines() if "shared store" in line]
        assert re.match(r"! shared store: (?!shared store).*not used", said)

    @pytest.mark.parametrize("command", ["doctor", "status"])
    def test_each_of_several_databases_hears_why_it_was_not_asked(self, shared, command):
        shared.configure(more="[tool.alembic-snapshot.databases.logs]\nx = ['a=b']\n")

        done = shared.run("reader", command, ALEMBIC_SNAPSHOT_REMOTE="/dev/null/nowhere")

        assert done.returncode == (1 if command == "status" else done.returncode)
        assert "Traceback" not in done.stderr
        said = [
            line
            for line in (done.stdout + done.stderr).splitlines()
            if "/dev/null/nowhere" in line and "not used for the rest of this run: its" in line
        ]
        assert len(said) == 2, done.stdout + done.stderr

    @pytest.mark.parametrize("command", ["push", "pull", "list --remote", "status"])
    def test_who_asks_by_hand_hears_that_another_process_has_switched_it_off(self, shared, command):
        # As where a test of a distributed run starts the command.
        machine = "of the builder" if command == "push" else "reader"
        store = Path(shared.store(machine))
        store.mkdir(exist_ok=True)
        (store / "remote-off.json").write_text(json.dumps({"run": "r1", "url": shared.url}))

        variables = {**shared.as_writer(), "PYTEST_XDIST_TESTRUNUID": "r1"}
        done = shared.run(machine, *command.split(), **variables)

        why = "not used for the rest of this run: it failed in another process of this run"
        assert done.returncode == (1 if command == "status" else 2), done.stdout + done.stderr
        assert f"shared store {shared.url}: {why}" in done.stderr

    def test_doctor_has_the_snapshot_where_status_has_it(self, shared):
        shared.fill()

        hit = shared.run("reader", "status").stdout.splitlines()[0]
        doctor = shared.run("reader", "doctor").stdout.splitlines()
        elsewhere = {"ALEMBIC_SNAPSHOT_REMOTE_SCOPE": "pr/7", "ALEMBIC_SNAPSHOT_REMOTE": "."}
        miss = shared.run("reader", "status", **elsewhere).returncode
        alone = shared.run("reader", "doctor", **elsewhere).stdout

        assert hit.startswith("remote hit ")
        assert f"✓ snapshot: {hit}: the next build takes it from there" in doctor
        assert miss == 1
        assert "! snapshot: not built: the store has no snapshot of this project" in alone

    def test_doctor_says_of_what_is_there_what_status_says(self, shared):
        shared.fill()
        for content in shared.contents():
            content.unlink()

        (line,) = shared.run("reader", "status").stderr.splitlines()
        doctor = shared.run("reader", "doctor").stdout

        assert "its content is gone" in line
        assert f"; {line.removeprefix('warning: ')}\n" in doctor

    @pytest.mark.parametrize("option", ["--json", "--summary"])
    def test_a_build_says_what_it_has_put_there_of_what_it_had(self, shared, option):
        writer = shared.as_writer()

        done = shared.run("of the builder", "build", option, **writer)
        again = shared.run("of the builder", "build", **writer)

        said = (
            f"shared store {shared.url}: it was not asked for the snapshot; 2 snapshots put there"
        )
        if option == "--summary":
            assert said.replace(f" {shared.url}:", " |") in done.stdout
        else:
            assert said in done.stderr
        assert "put there" not in again.stderr

    @pytest.mark.parametrize("scope", ["main", "pr/1"])
    def test_doctor_writes_as_a_build_does_first_and_leaves_nothing(self, served, scope):
        with served.transport() as transport:
            before = transport.list("")

            done = served.run("writer", "doctor", **served.as_writer(scope))

            assert transport.list("") == before
        assert re.search(rf"✓ shared store: .* is written in the scope {scope}, ", done.stdout)

    @pytest.mark.parametrize("scope", ["main", "pr/1"])
    def test_doctor_says_that_a_folder_can_not_be_written(self, shared, scope):
        shared.fill(scope)
        # Where nobody, and no superuser either, can make a file.
        (shared.folder / "v1" / scope / "-" / "leases").write_text("")

        done = shared.run("writer", "doctor", **shared.as_writer(scope))
        reader = shared.run("reader", "doctor", ALEMBIC_SNAPSHOT_REMOTE_SCOPE=scope)

        (said,) = [line for line in done.stdout.splitlines() if " shared store: " in line]
        start = f"! shared store: the scope {scope} can't be written: {shared.url}: not used for "
        assert said.startswith(start)
        assert f"below v1/{scope}/-/? Builds go on" in done.stdout
        assert "✓ shared store: " in reader.stdout

    def test_doctor_leaves_no_file_in_a_folder(self, shared):
        done = shared.run("writer", "doctor", **shared.as_writer())

        assert "is written in the scope main, " in done.stdout
        assert [path for path in shared.folder.rglob("*") if not path.is_dir()] == []

    def test_who_only_reads_writes_nothing_with_doctor(self, shared):
        shared.run("reader", "doctor")

        assert list(shared.folder.iterdir()) == []

    @pytest.mark.parametrize(
        "url", ["ftp://x/y", "file://host/x", "s3://", "s3:///prefix", "memoryy:///"]
    )
    def test_what_is_no_address_is_an_error(self, shared, url):
        shared.url = url
        shared.configure()

        done = shared.run("reader", "key")

        assert done.returncode == 2
        assert done.stderr.startswith("error: remote in [tool.alembic-snapshot] ")

    @pytest.mark.parametrize(
        "value", ['"x"', "{ main = 3 }", '{ main = "x" }', '{ main = ["x", 3] }', '{ "" = "x" }']
    )
    def test_what_are_no_keys_is_an_error(self, shared, value):
        shared.project.configure(f"remote_keys = {value}")

        done = shared.run("reader", "key")

        assert done.returncode == 2
        assert "remote_keys in [tool.alembic-snapshot]" in done.stderr


class TestWhatIsShared:
    def test_what_was_built_before_is_put_there_once(self, shared):
        first = shared.build("of the builder", **shared.as_writer())
        before = {path: path.stat().st_mtime_ns for path in shared.folder.rglob("*.*")}
        second = shared.build("of the builder", **shared.as_writer())

        assert not first["built"]
        assert first["remote"]["sent"] == 2
        assert second["remote"]["sent"] == 0
        assert {p: p.stat().st_mtime_ns for p in shared.folder.rglob("*.*")} == before

    @pytest.mark.parametrize("before", ["another key", "no key"])
    def test_what_was_put_there_is_signed_anew_by_a_new_key(self, shared, before):
        shared.configure({"main": [STRANGER[1]]} if before == "another key" else {})
        old = shared.build("of the builder", **shared.as_writer(key=STRANGER[0]))
        shared.configure()

        new = shared.build("of the builder", **shared.as_writer())

        assert (old["remote"]["sent"], new["remote"]["sent"]) == (2, 2)
        assert shared.build("reader")["remote"]["got"] == "hit"

    def test_who_only_reads_writes_nothing(self, shared):
        shared.pull("reader")
        shared.build("of the builder")

        assert list(shared.folder.iterdir()) == []

    def test_a_private_layer_stays_here(self, shared):
        shared.project.write("seeding.py", "def demo(connection): ...\n")
        more = 'layers = { demo = ["seeding:demo"] }\nremote_private = ["demo"]\n'
        shared.configure(more=more)

        made = shared.build("of the builder", "--layer", "demo", **shared.as_writer())

        digests = {path.parent.name for path in shared.records()}
        assert made["built"]
        assert made["key"] not in digests
        pushed = shared.run("of the builder", "push", "--layer", "demo", **shared.as_writer())
        assert "1 private" in pushed.stdout
        assert made["key"] not in {path.parent.name for path in shared.records()}

    def test_a_private_revision_stays_here(self, shared):
        shared.configure(more='remote_private = ["0002"]\n')

        shared.run("of the builder", "push", **shared.as_writer())

        assert len(shared.records()) == 1

    def test_states_that_read_other_variables_are_beside_each_other(self, shared):
        shared.project.revision("0003", "0002", upgrade=READ_VARIABLE)
        for flag in ("a", "b"):
            shared.build(f"writer {flag}", FLAG=flag, **shared.as_writer())

        pulled = [shared.pull(f"reader {flag}", FLAG=flag)[0] for flag in ("a", "b", "c")]

        assert [entry is not None for entry in pulled] == [True, True, False]
        assert pulled[0].manifest.observed != pulled[1].manifest.observed

    def test_only_what_is_new_runs_on_what_another_machine_made(self, shared):
        shared.fill()
        shared.project.revision("0003", "0002")
        shared.project.revision("0004", "0003")
        ran = []
        with shared.opened("reader") as (_, status):
            made = ensure(status.project, listener=ran.append)

        assert [one["revision"] for one in ran if one["event"] == "revision"] == ["0003", "0004"]
        assert made.shared.got == "ancestor"

    def test_a_build_says_what_came(self, shared):
        def said(machine, **variables):
            lines = shared.run(machine, "build", **variables).stderr.splitlines()
            start = f"shared store {shared.url}: "
            return [line.removeprefix(start) for line in lines if line.startswith(start)]

        first = said("builder", **shared.as_writer())
        same = said("reader")
        again = said("reader")
        shared.project.revision("0003", "0002")
        below = said("another")
        for path in shared.records():
            path.write_bytes(path.read_bytes().replace(b"signature", b"signaturo"))
        rejected = said("a third")

        assert first == ["it has not the snapshot; 2 snapshots put there"]
        assert same == ["the snapshot came from the scope main"]
        assert again == []
        assert below == ["built on a state that came from the scope main"]
        assert rejected == ["it has not the snapshot, 2 of 2 rejected"]


class TestImports:
    CODE = """
import sys
from alembic_snapshot import ensure, load_project

assert not ensure(load_project()).built
names = [name for name in sys.modules if name.startswith(("alembic_snapshot.remote", "obstore",
         "cryptography", "backports"))]
print(" ".join(names))
"""

    def modules(self, shared):
        done = subprocess.run(
            [sys.executable, "-c", self.CODE],
            cwd=shared.project.root,
            env={"ALEMBIC_SNAPSHOT_DIR": shared.store("of the builder")},
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.split()

    def test_nothing_of_it_is_imported_without_a_url(self, shared, real_starts):
        shared.project.configure()

        assert self.modules(shared) == []

    def test_no_library_is_imported_on_a_hit(self, shared, real_starts):
        names = self.modules(shared)

        assert names
        assert not [name for name in names if not name.startswith("alembic_snapshot.remote")]


class TestInPytest:
    @pytest.fixture
    def run(self, shared):
        shared.project.write("test_it.py", "def test_it(db_clone): assert db_clone.path.exists()\n")

        def run(machine, *more, **variables):
            options = ("-q", "-p", "no:cacheprovider", f"--snapshot-dir={shared.store(machine)}")
            done = subprocess.run(
                [sys.executable, "-m", "pytest", *options, *more],
                cwd=shared.project.root,
                env={**os.environ, **shared.variables, **variables},
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, done.stdout + done.stderr
            return done.stdout

        return run

    def test_the_summary_has_the_numbers(self, shared, run):
        shared.fill()

        out = run("reader")

        assert re.search(r"shared store .*: 1 hit, 0 built on, 0 missed, 0 rejected; 0 put", out)
        assert "shared store" not in run("reader").replace("passed", "")

    def test_nothing_verified_is_loud(self, shared, run):
        shared.fill()
        for path in shared.records():
            path.write_bytes(path.read_bytes().replace(b"signature", b"signaturo"))

        out = run("reader")

        assert re.search(r"warning: .*shared store .* 0 of 2 verified: have the keys changed", out)

    def test_a_run_can_do_without(self, shared, run):
        shared.fill()

        out = run("reader", "--snapshot-no-remote")

        assert " built (" in out
        assert "shared store" not in out


@pytest.mark.parametrize("is_closed", [False, True])
def test_status_says_where_a_store_that_can_only_be_read_has_no_place_for_it(
    shared, monkeypatch, is_closed
):
    shared.fill()
    store = Path(shared.store("reader"))
    store.mkdir()
    before = on_a_read_only_disk(store) if is_closed else []
    for name, value in shared.variables.items():
        monkeypatch.setenv(name, value)

    statuses, (done,) = (
        [run(before, shared.project, "alembic_snapshot", *one, "--store", str(store))
         for one in ones]
        for ones in ([["status"], ["status", "--json"]], [["build"]])
    )  # fmt: skip

    assert [one.returncode for one in statuses] == [int(is_closed)] * 2
    assert statuses[0].stdout.startswith("remote hit ")
    assert json.loads(statuses[1].stdout)["remote_hit"]
    assert done.returncode == (2 if is_closed else 0)
    if is_closed:
        line = f"\n  it can't be fetched: can't write to the store {store}: Read-only file system"
        assert line in statuses[0].stdout


@pytest.mark.parametrize("closed", ["all of it", "its leases", "all but its leases"])
@pytest.mark.parametrize("scope", ["main", "pr/1"])
def test_what_can_be_read_is_used_by_who_is_to_write_and_can_not(
    shared, monkeypatch, scope, closed
):
    shared.fill()
    own = shared.folder / "v1" / scope / "-"
    own.mkdir(parents=True, exist_ok=True)
    before = on_a_read_only_disk(shared.folder) if closed == "all of it" else []
    if closed == "its leases":
        (own / "leases").touch()
    if closed == "all but its leases":
        (own / "leases").mkdir()
        before = on_a_read_only_disk(own / "records" if scope == "main" else own)
    shared.project.revision("0003", "0002", upgrade="op.execute('create table new (x)')")
    for name, value in shared.as_writer(scope).items():
        monkeypatch.setenv(name, value)

    options = ["--json", "--store", shared.store("writer")]
    done = run(before, shared.project, "alembic_snapshot", "build", *options)

    assert done.returncode == 0, done.stderr
    made = json.loads(done.stdout)
    assert made["built"]
    assert made["remote"]["got"] == "ancestor"
    is_put = closed == "its leases"
    assert (made["remote"]["sent"] > 0) == is_put
    assert ("warning: shared store " in done.stderr) != is_put
