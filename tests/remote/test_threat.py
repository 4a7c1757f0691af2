"""Who decides what a run tests on: whoever has a key for the scope, and nobody else."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import hashlib
import json
import shutil
import sqlite3
from pathlib import Path

import pytest

from alembic_snapshot.build.sharing import Fits, built
from alembic_snapshot.project.remote import fingerprint
from alembic_snapshot.remote import packing
from alembic_snapshot.remote.record import Record, content_path, record_path, seal, unseal
from alembic_snapshot.remote.settings import is_on_loopback
from alembic_snapshot.remote.signature import sign
from alembic_snapshot.sqlite.store import FileStore

from .conftest import KEYS, MAIN_KEY, PR_KEY, STRANGER

SCOPE, WRITE, KEY = (
    f"ALEMBIC_SNAPSHOT_REMOTE_{name}" for name in ("SCOPE", "WRITE", "SIGNING_KEY")
)
POISON = "create table poison (x)"


def poisoned(shared, sql=POISON, **changes):
    """The project's snapshot as somebody else would have it: its manifest, and its file."""
    store = FileStore(Path(shared.store("of the builder")))
    manifest = next(e.manifest for e in store.entries() if e.manifest.digest == e.manifest.family)
    file = shared.project.root.parent / "poison.db"
    shutil.copy(next(store.snapshots.glob(f"{manifest.digest[:32]}*")) / "snapshot.db", file)
    file.chmod(0o600)
    with contextlib.closing(sqlite3.connect(file)) as connection:
        connection.executescript(sql)
    content = file.read_bytes()
    changes = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)} | changes
    return dataclasses.replace(manifest, **changes), file


def put(shared, scope, key, sql=POISON, **changes):
    """Put a poisoned snapshot there, as the owner of a key would."""
    manifest, file = poisoned(shared, sql, **changes)
    shared.exchange(scope, key).publish(manifest, file, file.parent)
    return manifest


def is_clean(built):
    with contextlib.closing(sqlite3.connect(built["path"])) as connection:
        rows = connection.execute("select name from sqlite_master where name = 'poison'")
        return rows.fetchall() == []


def assert_built(shared, machine="reader", warned=1, **variables):
    """See that a run believes nothing, says so in one line, and builds; what it says."""
    built = shared.build(machine, **variables)
    assert built["built"]
    assert is_clean(built)
    assert len(built["warned"]) == warned, built["warned"]
    assert built["remote"]["got"] in ("miss", "ancestor")
    return "".join(built["warned"])


def assert_refused(shared, machine="reader", warned=1, **variables):
    """See that nothing is fetched, and that one line says why; the line."""
    entry, report = shared.pull(machine, **variables)
    assert entry is None
    assert report.got == "miss"
    assert len(report.warnings) == warned, report.warnings
    assert report.rejected == warned
    assert all("ignored" in line for line in report.warnings)
    return "".join(report.warnings)


class TestAccidents:
    def test_a_signed_snapshot_is_believed(self, shared):
        put(shared, "main", MAIN_KEY[0])

        made = shared.build("reader")

        assert not made["built"]
        assert not is_clean(made), "the other tests would prove nothing"

    def test_nothing_unsigned_is_used_where_there_are_keys(self, shared):
        shared.configure(keys={})
        shared.fill()
        assert shared.pull("other")[0] is not None
        shared.configure()

        assert "it is unsigned" in assert_built(shared)

    def test_a_record_without_a_signature_is_not_used_under_a_signers_name(self, shared):
        put(shared, "main", MAIN_KEY[0])
        for path in shared.records():
            envelope = json.loads(path.read_text())
            path.write_text(json.dumps({**envelope, "signature": ""}))

        assert_built(shared)

    @pytest.mark.parametrize("key", ["", " ", None, "ed25519-signing:", "a public one", "x" * 60])
    def test_a_writer_without_a_usable_key_is_an_error(self, shared, key):
        variables = shared.as_writer()
        if key is None:
            del variables[KEY]
        else:
            variables[KEY] = MAIN_KEY[1] if key == "a public one" else key

        done = shared.run("writer", "build", **variables)

        assert done.returncode == 2
        what = "is not set" if key is None else "is no signing key" if key.strip() else "is empty"
        assert done.stderr.startswith(f"error: {KEY} {what}")
        assert "hint: " in done.stderr
        assert not [*shared.folder.iterdir()]

    @pytest.mark.parametrize("key", [PR_KEY[0], STRANGER[0]], ids=["of another scope", "unknown"])
    def test_a_writer_whose_key_is_not_the_scopes_is_an_error(self, shared, key):
        done = shared.run("writer", "build", **shared.as_writer("main", key))

        assert done.returncode == 2
        assert "has not for the scope main" in done.stderr
        assert not list(shared.folder.rglob("*.json"))

    @pytest.mark.parametrize("key", [PR_KEY, STRANGER], ids=["of a pull request", "unknown"])
    @pytest.mark.parametrize("name", ["its own", "main's"])
    def test_a_pull_request_that_writes_to_main_is_not_believed(self, shared, key, name):
        put(shared, "main", key[0])
        if name == "main's":
            for path in shared.records():
                text = path.read_text().replace(fingerprint(key[1]), fingerprint(MAIN_KEY[1]))
                path.rename(path.with_name(f"{fingerprint(MAIN_KEY[1])}-0.json")).write_text(text)

        why = "its signature is wrong" if name == "main's" else "remote_keys has no key of its "
        assert why in assert_built(shared)

    def test_a_pull_request_does_not_decide_for_main_nor_for_another(self, shared):
        put(shared, "pr/1", PR_KEY[0])

        assert shared.pull("same", **{SCOPE: "pr/1"})[0] is not None
        assert_refused(shared, "another", warned=0, **{SCOPE: "pr/2"})
        assert_built(shared, "main", warned=0)

    @pytest.mark.parametrize("name", ["", "SCOPE"])
    def test_an_empty_variable_is_an_error(self, shared, name):
        variable = f"ALEMBIC_SNAPSHOT_REMOTE_{name}".rstrip("_")

        done = shared.run("reader", "build", **{variable: ""})

        assert done.returncode == 2
        assert f"{variable} is empty" in done.stderr

    def test_a_job_that_is_to_write_without_a_store_is_an_error(self, shared):
        shared.project.configure()

        done = shared.run("writer", "build", **{WRITE: "1", KEY: MAIN_KEY[0]})

        assert done.returncode == 2
        assert f"{WRITE} is set" in done.stderr

    @pytest.mark.parametrize(
        "url", ["s3://bucket/x", "gs://bucket", "az://container/x", "https://example.org/x"]
    )
    def test_without_keys_a_store_that_others_reach_is_an_error(self, shared, url):
        shared.configure(keys={})

        done = shared.run("reader", "build", ALEMBIC_SNAPSHOT_REMOTE=url)

        assert done.returncode == 2
        assert "there are no remote_keys" in done.stderr
        assert "remote-key --scope main" in done.stderr

    @pytest.mark.parametrize("url", ["az://container/x", "abfs://container@account/x"])
    @pytest.mark.parametrize(
        ("variables", "is_here"),
        [
            ("AZURE_STORAGE_ENDPOINT=http://127.0.0.1:1", True),
            ("AZURE_ENDPOINT=http://[::1]:1/account", True),
            ("AZURE_STORAGE_ENDPOINT=http://localhost:1 AZURE_ENDPOINT=https://example.org", False),
            ("AZURE_STORAGE_USE_EMULATOR=true", True),
            ("AZURE_STORAGE_USE_EMULATOR=Y", True),
            ("AZURE_STORAGE_USE_EMULATOR=1 AZURITE_BLOB_STORAGE_URL=http://127.0.0.1:1", True),
            ("AZURE_STORAGE_USE_EMULATOR=n", False),
            ("AZURE_STORAGE_USE_EMULATOR=", False),
            ("AZURE_STORAGE_USE_EMULATOR=maybe AZURE_ENDPOINT=http://127.0.0.1:1", False),
            ("AZURITE_BLOB_STORAGE_URL=http://127.0.0.1:1", False),
            ("AZURE_STORAGE_USE_EMULATOR=1 AZURITE_BLOB_STORAGE_URL=http://example.org", False),
            (
                "AZURE_STORAGE_ENDPOINT=http://127.0.0.1:1 AZURE_STORAGE_USE_EMULATOR=on "
                "AZURITE_BLOB_STORAGE_URL=http://example.org",
                False,
            ),
        ],
    )
    def test_which_azure_servers_others_can_not_reach(self, monkeypatch, url, variables, is_here):
        for variable in variables.split(" "):
            monkeypatch.setenv(*variable.split("="))

        assert is_on_loopback(url) is is_here

    @pytest.mark.parametrize("command", ["build", "status", "pull", "push"])
    def test_it_is_one_too_where_the_local_store_has_the_snapshot(self, shared, command):
        shared.configure(keys={})
        assert shared.run("reader", "build").returncode == 0

        done = shared.run("reader", command, ALEMBIC_SNAPSHOT_REMOTE="s3://bucket/x")

        assert done.returncode == 2
        assert "there are no remote_keys" in done.stderr

    def test_a_signing_key_in_the_table_is_an_error(self, shared):
        shared.configure(keys={"main": (MAIN_KEY[0],)})

        done = shared.run("reader", "key")

        assert done.returncode == 2
        assert "must stay secret" in done.stderr
        assert MAIN_KEY[0] not in done.stderr

    def test_a_pattern_never_signs_for_main(self, shared):
        shared.configure(keys={"*": (PR_KEY[1],)})
        put(shared, "main", PR_KEY[0])

        assert "remote_keys has no key of its signer" in assert_refused(shared)

    def test_the_key_of_the_writer_is_no_variable_of_revisions(self, shared):
        table = f"'create table k' + str(len(os.environ.get({KEY!r}, ''))) + ' (x)'"
        shared.project.revision("0003", "0002", upgrade=f"import os\nop.execute({table})")

        made = shared.build("writer", **shared.as_writer())

        with contextlib.closing(sqlite3.connect(made["path"])) as connection:
            assert connection.execute("select * from k0").fetchall() == []


def edit_record(change):
    def edit(shared):
        for path in shared.records():
            path.write_bytes(change(path.read_bytes()))

    return edit


def edit_content(change):
    def edit(shared):
        for path in shared.contents():
            path.write_bytes(change(path.read_bytes()))

    return edit


def swap(paths):
    """Give the files each other's contents, the first the last one's."""
    texts = [path.read_bytes() for path in paths]
    for path, text in zip(paths, reversed(texts), strict=True):
        path.write_bytes(text)


def swap_records(shared):
    """Another snapshot's record, signed as it should be, under each name."""
    swap(shared.records())


def same_size(content):
    """Another sound database at the same revision, with as many bytes."""
    zstd = packing.zstd_module()

    plain = zstd.decompress(content)
    assert plain.count(b"t_0001") >= 2
    return zstd.compress(plain.replace(b"t_0001", b"t_evil"))


def swap_contents(shared):
    swap(shared.contents())


def forget_contents(shared):
    for path in shared.contents():
        path.unlink()


def altered(content):
    return content.replace(b"alembic_version", b"alembic_versiom", 1)


def bomb(_content):
    zstd = packing.zstd_module()

    return zstd.compress(bytes(64 * 1024 * 1024))


DAMAGES = {
    "truncated record": edit_record(lambda content: content[:100]),
    "empty record": edit_record(lambda content: b""),
    "another thing": edit_record(lambda content: b"[" * 100_000),
    "altered record": edit_record(altered),
    "swapped records": swap_records,
    "truncated content": edit_content(lambda content: content[: len(content) // 2]),
    "empty content": edit_content(lambda content: b""),
    "altered content": edit_content(lambda c: c[:50] + bytes([c[50] ^ 1]) + c[51:]),
    "other content": edit_content(lambda content: b"x" * 100),
    "longer content": edit_content(lambda content: content + content),
    "content of the same size": edit_content(same_size),
    "bomb": edit_content(bomb),
    "swapped contents": swap_contents,
    "contents gone": forget_contents,
}


class TestDamage:
    @pytest.mark.parametrize("name", DAMAGES)
    def test_what_is_damaged_is_said_ignored_and_put_right(self, shared, name):
        shared.fill()
        DAMAGES[name](shared)

        with shared.opened("of the builder", **shared.as_writer()) as (store, status):
            with _elsewhere(store, shared):
                assert store.pull(status.chain, Fits(status.project, status.present)) is None
            assert store.report.rejected == 1
            assert "ignored" in store.report.warnings[0]
            store.send(built(status.store, status.chain.target.digest), status.chain, again=True)

        assert shared.pull("reader")[0] is not None

    def test_a_record_of_a_format_to_come_is_ignored_and_left(self, shared):
        shared.fill()
        later = json.dumps({"format": 2, "new": "way"}).encode()
        edit_record(lambda content: later)(shared)
        assert_refused(shared, warned=0)

        shared.run("of the builder", "push", **shared.as_writer())

        assert [path.read_bytes() for path in shared.records() if "-0." in path.name] == [later] * 2
        assert shared.pull("reader")[0] is not None

    def test_what_was_signed_for_a_pull_request_is_not_replayed_to_main(self, shared):
        shared.configure({"main": (MAIN_KEY[1],), "pr/*": (MAIN_KEY[1],)})
        put(shared, "pr/1", MAIN_KEY[0])
        shutil.copytree(shared.folder / "v1/pr/1/-", shared.folder / "v1/main/-")

        assert "it was signed for the scope 'pr/1'" in assert_refused(shared)

    def test_a_key_that_was_taken_out_counts_no_more(self, shared):
        shared.fill()
        assert shared.pull("reader")[0] is not None
        shared.configure({"main": (STRANGER[1],)})

        assert "remote_keys has no key of its signer" in assert_refused(shared, "new")
        done = shared.run("reader", "status")

        assert done.returncode == 1, "what came before counts no more, either"
        assert "remote_keys has not" in done.stdout

    def test_while_keys_change_both_count(self, shared):
        shared.fill()
        shared.configure({"main": (STRANGER[1], MAIN_KEY[1])})

        assert shared.pull("reader")[0] is not None

    def test_switching_keys_on_does_not_believe_what_came_before(self, shared):
        shared.configure(keys={})
        shared.fill()
        assert shared.pull("reader")[0] is not None
        assert shared.run("reader", "status").returncode == 0
        shared.configure()

        assert shared.run("reader", "status").returncode == 1

    def test_what_is_built_on_another_scopes_state_is_believed_there_alone(self, shared):
        shared.fill("pr/1")
        shared.project.revision("0003", "0002")

        there = shared.build("shared runner", **{SCOPE: "pr/1"})

        assert there["remote"]["got"] == "ancestor"
        assert shared.run("shared runner", "status", **{SCOPE: "pr/1"}).returncode == 0
        elsewhere = shared.run("shared runner", "status")
        assert elsewhere.returncode == 1
        assert "scope pr/1" in elsewhere.stdout

    @pytest.mark.parametrize("command", ["build", "push"])
    @pytest.mark.parametrize("scope", ["main", "pr/1"])
    def test_no_key_signs_what_stands_on_what_counts_no_more(self, shared, scope, command):
        """A key leaks and is replaced, or a machine goes on in another scope."""
        put(shared, scope, MAIN_KEY[0] if scope == "main" else PR_KEY[0])
        shared.project.revision("0003", "0002")
        newest = shared.project.revision("0004", "0003")
        assert not is_clean(shared.build("runner", **{SCOPE: scope}))
        shared.configure({"main": (STRANGER[1],), "pr/*": (PR_KEY[1],)})
        writer = shared.as_writer("main", STRANGER[0])
        made = shared.build("runner", **(writer if command == "build" else {}))
        if command == "push":
            assert shared.run("runner", "push", **writer).returncode == 0
        newest.unlink()

        fetched = shared.build("reader")

        assert is_clean(made)
        assert is_clean(fetched)
        assert fetched["remote"]["got"] == "hit", "the state that was built anew is shared"

    def test_a_job_that_releases_does_without(self, shared):
        put(shared, "main", MAIN_KEY[0])
        assert shared.pull("runner")[0] is not None

        made = shared.build("runner", "--no-remote")

        assert made["built"]
        assert is_clean(made)
        assert "remote" not in made


@contextlib.contextmanager
def _elsewhere(store, shared):
    """Fetch into another machine's store."""
    own, store._store = store._store, FileStore(Path(shared.store("elsewhere")))
    yield
    store._store = own


CALLS = {
    "a view": "create view v as select load_extension('x') as y",
    "a trigger": "create trigger t after insert on t_0001 begin select load_extension('x'); end",
    "a trigger on update": (
        "create trigger t before update of id on t_0001 begin select send_mail(); end"
    ),
    "a trigger on a view": (
        "create view v as select 1 as y; create trigger t instead of delete on v "
        "begin select send_mail(old.y); end"
    ),
    "a generated column": "create table g (x, y as (send_mail(x)))",
    "a check": "create table g (x check (send_mail(x)))",
    "a default": "create table g (x default (send_mail(1)), y)",
    "a virtual table": "create table g(x); create view v as select * from fsdir('/')",
}


class TestWhatIsInIt:
    @pytest.mark.parametrize("name", CALLS)
    def test_a_schema_that_calls_functions_is_not_used(self, shared, name):
        put(shared, "pr/1", PR_KEY[0], writing(CALLS[name]))

        assert "SQLite can't trust it" in assert_refused(shared, **{SCOPE: "pr/1"})

    def test_a_schema_with_functions_of_sqlites_own_is_shared(self, shared):
        shared.project.revision(
            "0003",
            "0002",
            upgrade="""
            op.execute("create table n (name default (lower('X')), at as (length(name)))")
            op.execute("create index i on n (upper(name))")
            op.execute("create view v as select datetime('now'), group_concat(id) from t_0001")
            op.execute("create trigger t after insert on n begin delete from t_0001; end")
            op.execute("create trigger u instead of insert on v begin delete from n; end")
            """,
        )
        shared.build("of the builder", **shared.as_writer())

        assert shared.pull("reader")[0] is not None

    @pytest.mark.parametrize(
        ("changes", "says"),
        [
            ({"family": "../../../../climbs"}, "values that none has"),
            ({"heads": ("0001",)}, "it is at 0002"),
            ({"handover": "__import__"}, "values that none has"),
            ({"checks": []}, "values that none has"),
            ({"checks": {"drift": 5, "integrity": 3}}, "values that none has"),
            ({"databases": [{"kind": "sqlite"}]}, "values that none has"),
            ({"layers": {}}, "values that none has"),
            ({"timings": {"0001": "x"}}, "values that none has"),
            ({"timings": {"0001": float("nan")}}, "values that none has"),
            ({"created": float("inf")}, "values that none has"),
        ],
        ids=lambda value: str(value)[:30],
    )
    def test_a_manifest_with_strange_values_is_not_used(self, shared, changes, says):
        put(shared, "pr/1", PR_KEY[0], **changes)

        assert says in assert_refused(shared, **{SCOPE: "pr/1"})

    @pytest.mark.parametrize("name", ["../../outside.txt", "/etc/passwd", "a/../../b"])
    @pytest.mark.parametrize("part", ["files", "folders", "stats"])
    def test_a_manifest_that_names_what_is_outside_is_not_used(self, shared, name, part):
        from alembic_snapshot.key.observed import Observed

        read = Observed(**{part: {name: "missing"}})
        put(shared, "pr/1", PR_KEY[0], observed=read)

        assert "outside of the project" in assert_refused(shared, **{SCOPE: "pr/1"})

    def test_a_state_below_that_names_what_is_outside_is_not_looked_at(self, shared):
        from alembic_snapshot.key.observed import Observed

        put(shared, "pr/1", PR_KEY[0], observed=Observed(files={"../../outside": "missing"}))
        shared.project.revision("0003", "0002")

        assert "outside of the project" in assert_built(shared, **{SCOPE: "pr/1"})

    def test_a_content_larger_than_signed_is_not_unpacked(self, shared, tmp_path):
        manifest, file = poisoned(shared)
        small = dataclasses.replace(manifest, size=1000)
        exchange = shared.exchange("pr/1", PR_KEY[0])
        exchange.publish(small, file, tmp_path)

        assert "larger than its record says" in assert_refused(shared, **{SCOPE: "pr/1"})

    def test_a_file_with_a_log_is_not_used(self, shared):
        put(shared, "pr/1", PR_KEY[0], "pragma journal_mode = wal; create table poison (x)")

        assert "WAL" in assert_refused(shared, **{SCOPE: "pr/1"})

    def test_a_file_that_is_no_database_is_not_used(self, shared, tmp_path):
        manifest, file = poisoned(shared)
        file.write_bytes(b"x" * 5000)
        sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
        changed = dataclasses.replace(manifest, size=5000, sha256=sha256)
        shared.exchange("pr/1", PR_KEY[0]).publish(changed, file, tmp_path)

        assert "not a database" in assert_refused(shared, **{SCOPE: "pr/1"})


def writing(sql):
    """SQL that puts a schema's text there without asking whether its functions exist."""
    parts = sql if sql.startswith("create table g") else ""
    if not parts or sql.startswith("create table g(x)"):
        return sql
    plain = "create table g (x, y)"
    quoted = sql.replace("'", "''")
    return (
        f"{plain}; pragma writable_schema = on; "
        f"update sqlite_master set sql = '{quoted}' where name = 'g';"
    )


class TestRecord:
    """A record is bytes that somebody signed: whatever else they are, they are refused."""

    @pytest.fixture
    def sealed(self, built_once):
        manifest = FileStore(built_once / "machine-of the builder").entries()[0].manifest
        record = Record("main", fingerprint(MAIN_KEY[1]), 1.0, 100, manifest)
        return record, seal(record, MAIN_KEY[0])

    def test_it_comes_back_as_it_was(self, sealed):
        record, content = sealed

        there = unseal(content, "main", record.manifest.digest, record.signer, KEYS)

        assert there == record

    def test_each_changed_byte_of_its_body_is_noticed(self, sealed):
        from alembic_snapshot.remote.record import NotVerified

        record, content = sealed
        envelope = json.loads(content)
        body = envelope["body"]
        for place in range(0, len(body), 37):
            other = body[:place] + ("y" if body[place] == "x" else "x") + body[place + 1 :]
            changed = json.dumps({**envelope, "body": other}).encode()
            with pytest.raises(NotVerified):
                unseal(changed, "main", record.manifest.digest, record.signer, KEYS)

    @pytest.mark.parametrize("signature", [None, 3, "", "é", "AAAA", "of nothing"])
    def test_no_other_signature_is_one(self, sealed, signature):
        from alembic_snapshot.remote.record import NotVerified

        record, content = sealed
        if signature == "of nothing":
            signature = base64.b64encode(b"x" * 64).decode()
        changed = json.dumps({**json.loads(content), "signature": signature}).encode()

        with pytest.raises(NotVerified):
            unseal(changed, "main", record.manifest.digest, record.signer, KEYS)

    def test_a_signature_of_something_else_is_none_of_a_record(self):
        content = b"hello"

        from alembic_snapshot.remote.signature import is_signed

        assert is_signed(MAIN_KEY[1], sign(MAIN_KEY[0], content), content)
        assert not is_signed(MAIN_KEY[1], sign(PR_KEY[0], content), content)
        assert not is_signed(MAIN_KEY[1], sign(MAIN_KEY[0], content), content + b" ")

    def test_places_of_scopes_are_apart(self):
        digest, signer = "0" * 64, "a" * 16

        paths = {
            record_path(scope, digest, signer, 0) for scope in ("main", "pr", "pr/1", "pr/1/2")
        }
        contents = {content_path(scope, digest) for scope in ("main", "pr", "pr/1", "pr/1/2")}

        assert len(paths | contents) == 8
        assert not any(one.startswith("v1/pr/1/-") and "/2/" in one for one in paths)
