"""What a build asks of the shared store, what it makes of the answers, and what it says of them."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from types import SimpleNamespace

import pytest

from alembic_snapshot import ConfigError
from alembic_snapshot.build.sharing import Fits, built
from alembic_snapshot.database.target import NotForHere
from alembic_snapshot.errors import StoreError
from alembic_snapshot.key.layers import State
from alembic_snapshot.key.observed import Observed
from alembic_snapshot.project.remote import fingerprint
from alembic_snapshot.remote.process import Failed, Missing
from alembic_snapshot.remote.record import Record
from alembic_snapshot.remote.shared import Report, names_outside
from alembic_snapshot.store.states import expected_seconds, is_of, states_below

from ..sample import SampleProject
from .conftest import MAIN_KEY, PR_KEY

MAIN, PR = fingerprint(MAIN_KEY[1]), fingerprint(PR_KEY[1])
SCOPE = "ALEMBIC_SNAPSHOT_REMOTE_SCOPE"
NOTHING = {"records": [], "rejected": []}
NOBODY = {"found": [], "unlisted": {}}


class Process:
    """Answers as a test says, the last answer for ever, and remembers what it was asked."""

    def __init__(self, signer=MAIN, **answers):
        self.signer = signer
        answers.setdefault("signers", [NOBODY])
        self.answers = {name: [*given] for name, given in answers.items()}
        self.asked = []
        self.is_closed = False

    def begin(self):
        return self.signer

    def ask(self, do, seconds, **arguments):
        self.asked.append((do, seconds, arguments))
        given = self.answers[do]
        answer = given.pop(0) if len(given) > 1 else given[0]
        if isinstance(answer, Exception):
            raise answer
        return answer(**arguments) if callable(answer) else answer

    def close(self):
        self.is_closed = True

    @property
    def words(self):
        return [do for do, _, _ in self.asked]


class Machine:
    """The shared store as a build on one machine has it, with such a process."""

    def __init__(self, shared, name, variables, **answers):
        self.opening = shared.opened(name, **variables)
        self.store, self.status = self.opening.__enter__()
        self.process = self.store._process = Process(**answers)
        self.chain = self.status.chain
        self.target = self.chain.target
        self.fits = Fits(self.status.project, self.status.present)

    def receive(self, local=(), have=0):
        return self.store.receive(self.chain, self.fits, local, have)

    @property
    def report(self):
        return self.store.report

    @property
    def warnings(self):
        return [line.removeprefix(f"shared store {self.report.name}: ") for line in self.lines]

    @property
    def lines(self):
        return self.report.warnings


@pytest.fixture
def on(shared):
    """Opens a machine; ``write`` makes it one that writes."""
    made = []

    def on(name="reader", scope="main", write=False, **answers):
        variables = shared.as_writer(scope) if write else {SCOPE: scope}
        made.append(Machine(shared, name, variables, **answers))
        return made[-1]

    yield on
    for machine in reversed(made):
        machine.process.answers.setdefault("release", [{}])
        machine.opening.__exit__(None, None, None)


@pytest.fixture
def there(on):
    """The builder's own snapshot, and its states, by what they are."""
    builder = on("of the builder")
    entries = builder.status.store.entries()
    whole = next(e for e in entries if e.manifest.digest == builder.target.digest)
    below = next(e for e in entries if e.manifest.digest != builder.target.digest)
    return SimpleNamespace(whole=whole, below=below)


def record_of(entry, scope="main", signer=MAIN, **changes):
    manifest = dataclasses.replace(entry.manifest, **changes)
    return Record(scope, signer, 1.0, 10, manifest)


def looked(*records, rejected=()):
    return {"records": [one.to_values() for one in records], "rejected": list(rejected)}


def fetching(entry):
    def fetch(record, target):
        shutil.copy(entry.database.path, target)
        return {"why": None}

    return fetch


class TestTheSnapshot:
    def test_comes_with_where_it_is_from(self, on, there):
        record = record_of(there.whole)
        machine = on(look=[looked(record)], fetch=[fetching(there.whole)])
        patience = expected_seconds(machine.chain, [there.whole.manifest])

        entry = machine.receive([there.whole.manifest])

        (look, fetch) = machine.process.asked
        scopes = ["main"]
        assert look == (
            "look",
            min(10.0, patience),
            {"digests": [entry.manifest.digest], "scopes": scopes},
        )
        assert fetch[:2] == ("fetch", patience)
        assert fetch[2]["record"] == record.to_values()
        assert entry.manifest.digest == machine.target.digest
        assert entry.manifest.origins == ({"scope": "main", "signer": MAIN},)
        assert entry.manifest.received
        assert entry.database.path.read_bytes() == there.whole.database.path.read_bytes()
        assert entry in machine.status.store.entries()
        assert machine.report == Report(
            machine.report.name, got="hit", scope="main", found=1, verified=1
        )

    def test_of_another_scope_or_signer_is_left(self, on, there):
        records = [
            record_of(there.whole, "pr/8", PR),
            record_of(there.whole, "main", PR),
            record_of(there.whole, "pr/7", MAIN),
        ]
        machine = on(scope="pr/7", look=[looked(*records)], wait=[{"end": "free"}])

        assert machine.store.pull(machine.chain, machine.fits) is None

        assert machine.process.asked[0][2]["scopes"] == ["pr/7", "main"]
        assert machine.report == Report(machine.report.name, got="miss", found=3, verified=3)

    def test_of_other_layers_is_left(self, on, there):
        records = [
            record_of(there.whole, revisions={"0001": "x"}),
            record_of(there.whole, digest="0" * 64),
            record_of(there.whole, observed=Observed(files={"more.txt": "1"})),
        ]
        machine = on(look=[looked(*records)])

        assert machine.store.pull(machine.chain, machine.fits) is None
        assert machine.process.words == ["look", "signers"]
        assert machine.warnings == []

    def test_that_is_damaged_is_told_and_the_next_one_is_taken(self, on, there):
        one, other = (record_of(there.whole, warnings=(word,)) for word in "ab")
        machine = on(
            look=[looked(one, other)],
            fetch=[{"why": "its content is gone"}, fetching(there.whole)],
        )

        entry = machine.store.pull(machine.chain, machine.fits)

        assert entry.manifest.warnings == ("b",)
        assert machine.warnings == [
            f"ignored the snapshot {machine.target.digest[:12]} in main: its content is gone"
        ]
        assert (machine.report.got, machine.report.rejected) == ("hit", 1)

    def test_that_sqlite_does_not_trust_is_not_asked_for_again(self, on, there):
        def fetch(record, target):
            with open(target, "wb") as file:
                file.write(b"x" * 5000)
            return {"why": None}

        machine = on(look=[looked(record_of(there.whole))], fetch=[fetch], distrust=[{}])

        assert machine.store.pull(machine.chain, machine.fits) is None

        assert machine.process.asked[-2] == (
            "distrust", 10.0, {"sha256": there.whole.manifest.sha256},
        )  # fmt: skip
        assert machine.warnings == [
            f"ignored the snapshot {machine.target.digest[:12]} in main: "
            "SQLite can't trust it: file is not a database"
        ]
        assert machine.report.rejected == 1
        assert machine.status.store.entries() == []

    def test_that_is_not_for_this_machine_is_ignored_and_not_rejected(self, on, there):
        def from_file(file, manifest, workspace, seconds):
            given.append(seconds)
            raise NotForHere("it needs an extension")

        given = []
        machine = on(look=[looked(record_of(there.whole))], fetch=[fetching(there.whole)])
        machine.store._backend = SimpleNamespace(from_file=from_file)

        assert machine.store.pull(machine.chain, machine.fits) is None

        assert given == [75.0]
        assert machine.warnings == [
            f"ignored the snapshot {machine.target.digest[:12]}: it needs an extension"
        ]
        assert machine.report.rejected == 0

    def test_is_peeked_at_without_fetching_it(self, on, there):
        strange = record_of(there.whole, observed=Observed(files={"more.txt": "1"}))
        record = record_of(there.whole)
        machine = on(
            look=[looked(strange, record), NOTHING, Failed("it is gone")], lacks=[{"why": None}]
        )

        found = [machine.store.peek(machine.target, machine.fits) for _ in range(3)]

        assert found == [record, None, None]
        assert machine.process.words == ["look", "lacks", "look", "signers", "look"]
        _, seconds, arguments = machine.process.asked[1]
        assert (seconds, arguments) == (60.0, {"record": record.to_values()})

    def test_is_peeked_at_as_far_as_its_content_is_there(self, on, there):
        one, other = (record_of(there.whole, warnings=(word,)) for word in "ab")
        lacks = [{"why": "its content is gone"}, {"why": None}, Failed("no answer")]
        machine = on(look=[looked(one, other), looked(one)], lacks=lacks)

        assert machine.store.peek(machine.target, machine.fits) == other
        assert machine.warnings == [
            f"ignored the snapshot {machine.target.digest[:12]} in main: its content is gone"
        ]
        assert machine.report.rejected == 1
        assert machine.store.peek(machine.target, machine.fits) is None
        assert machine.warnings[1:] == [OFF.format("no answer")]

    def test_of_other_layers_is_not_peeked_at(self, on, there):
        records = [
            record_of(there.whole, revisions={"0001": "x"}),
            record_of(there.whole, digest="0" * 64),
        ]
        machine = on(look=[looked(*records)])

        assert machine.store.peek(machine.target, machine.fits) is None
        assert machine.process.words == ["look", "signers"]

    def test_that_names_a_file_elsewhere_is_rejected_once(self, on, there):
        record = record_of(there.whole, through_env=Observed(stats={"../../x": "1"}))
        machine = on(look=[looked(record)])

        for _ in range(2):
            assert machine.store.pull(machine.chain, lambda manifest: True) is None

        assert machine.report.rejected == 1
        assert machine.warnings == [
            f"ignored the record {machine.target.digest[:12]}: it names ../../x, which is outside "
            "of the project"
        ]

    def test_that_is_rejected_twice_for_one_reason_is_told_once(self, on):
        machine = on(look=[looked(rejected=["the record a", "the record a", "the record b"])])

        assert machine.store.pull(machine.chain, machine.fits) is None

        assert machine.warnings == ["ignored the record a", "ignored the record b"]
        assert (machine.report.found, machine.report.rejected) == (3, 3)


class TestOthersRecords:
    def test_are_asked_for_once_for_all_scopes_where_the_snapshot_did_not_come(self, on):
        signers = {"found": [["pr/1", MAIN], ["main", None], ["main", MAIN]], "unlisted": {}}
        machine = on(scope="pr/1", look=[NOTHING], wait=[{"end": "over"}], signers=[signers])
        digest = machine.target.digest

        assert machine.receive(have=2) is None

        do, seconds, arguments = machine.process.asked[-1]
        assert (do, seconds <= 10.0) == ("signers", True)
        assert arguments == {"digest": digest, "scopes": ["pr/1", "main"]}
        assert machine.warnings == [
            f"ignored the record {digest[:12]} in pr/1: remote_keys has no key of its signer "
            f"{MAIN} for pr/1",
            f"ignored the record {digest[:12]} in main: it is no record",
        ]
        assert (machine.report.got, machine.report.found, machine.report.rejected) == ("miss", 2, 2)

    @pytest.mark.parametrize("way", ["receive", "pull", "peek"])
    def test_that_can_not_be_listed_are_told_and_switch_nothing_off(self, on, way):
        signers = {"found": [], "unlisted": {"main": "permission denied"}}
        machine = on(look=[NOTHING], wait=[{"end": "over"}], signers=[signers])
        digest = machine.target.digest[:12]
        ask = {
            "receive": lambda: machine.receive(have=2),
            "pull": lambda: machine.store.pull(machine.chain, machine.fits),
            "peek": lambda: machine.store.peek(machine.target, machine.fits),
        }

        assert ask[way]() is None

        assert machine.warnings == [
            f"whether others have put {digest} into main is not known, since that can't be listed: "
            "permission denied"
        ]
        assert machine.report.failed == []
        assert machine.store.is_reached()

    def test_that_nobody_answers_for_leave_what_came(self, on, there):
        machine = on(
            look=[NOTHING, looked(record_of(there.below))],
            wait=[{"end": "free"}],
            fetch=[fetching(there.below)],
            signers=[Failed("no answer within 10 s")],
        )

        assert machine.receive().manifest.digest == there.below.manifest.digest
        assert machine.report.got == "ancestor"
        assert machine.report.failed == machine.lines
        assert machine.warnings == [OFF.format("no answer within 10 s")]


class TestAStateBelow:
    def test_is_taken_where_the_snapshot_is_not_there(self, on, there, shared):
        machine = on(
            look=[NOTHING, looked(record_of(there.below))],
            wait=[{"end": "free"}],
            fetch=[fetching(there.below)],
        )

        entry = machine.receive()

        assert entry.manifest.digest == there.below.manifest.digest
        assert machine.process.words == ["look", "look", "wait", "fetch", "signers"]
        below = [state.digest for state in states_below(machine.chain, 0)]
        assert machine.process.asked[1][2] == {"digests": below, "scopes": ["main"]}
        assert machine.report.got == "ancestor"

    def test_that_the_machine_has_is_not_looked_for(self, on):
        machine = on(look=[NOTHING], wait=[{"end": "over"}])

        assert machine.receive(have=2) is None
        assert machine.process.words == ["look", "wait", "signers"]
        assert machine.report.got == "miss"

    def test_is_looked_for_eight_at_a_time_until_one_fits(self, on, there):
        states = [State({}, (), (), f"{n:064}") for n in range(20)]
        strange = record_of(there.whole, observed=Observed(files={"more.txt": "1"}))
        machine = on(look=[looked(strange), looked(record_of(there.whole))])

        some, records = machine.store._look_below(states, machine.fits)

        assert [len(arguments["digests"]) for _, _, arguments in machine.process.asked] == [8, 8]
        assert (some, records) == (states[8:16], [record_of(there.whole)])

    def test_is_none_where_none_fits(self, on):
        states = [State({}, (), (), f"{n:064}") for n in range(9)]
        machine = on(look=[NOTHING])

        assert machine.store._look_below(states, machine.fits) == ((), [])
        assert [len(arguments["digests"]) for _, _, arguments in machine.process.asked] == [8, 1]


class TestWhoWaits:
    @pytest.mark.parametrize("end", ["free", "over"])
    def test_and_only_reads_waits_once(self, on, end):
        machine = on(look=[NOTHING], wait=[{"end": end}])

        assert machine.receive(have=2) is None

        do, seconds, arguments = machine.process.asked[-2]
        left = arguments["patience"]
        assert do == "wait"
        assert seconds == left + 10.0
        assert 70.0 < left <= 75.0
        assert arguments == {
            "digest": machine.target.digest, "scopes": ["main"], "patience": left,
        }  # fmt: skip

    def test_waits_as_long_as_the_records_below_tell(self, on, there):
        record = record_of(there.below, timings={"0001": 20.0})
        machine = on(look=[NOTHING, looked(record)], wait=[{"end": "over"}], fetch=[{"why": "no"}])

        assert machine.receive() is None

        patience = next(a["patience"] for do, _, a in machine.process.asked if do == "wait")
        assert 56.0 < patience <= 2.0 + 2 * 20.0 + 15.0
        assert machine.report.got == "miss"

    def test_has_the_snapshot_when_it_is_there(self, on, there):
        machine = on(
            look=[NOTHING, looked(record_of(there.whole))],
            wait=[{"end": "there"}],
            fetch=[fetching(there.whole)],
        )

        assert machine.receive(have=2).manifest.digest == machine.target.digest
        assert machine.report.got == "hit"

    def test_and_writes_takes_the_lease_and_looks_again(self, on, there):
        machine = on(
            write=True,
            look=[NOTHING, looked(record_of(there.whole))],
            take=[{"is_held": True}],
            fetch=[fetching(there.whole)],
            release=[{}],
        )

        entry = machine.receive(have=2)

        assert entry is not None
        assert machine.process.words == ["look", "take", "look", "fetch"]
        assert machine.process.asked[1] == ("take", 10.0, {"digest": machine.target.digest})
        machine.store.release()
        machine.store.release()
        assert machine.process.asked[4:] == [("release", 10.0, {"digest": machine.target.digest})]

    def test_and_writes_takes_it_when_another_one_has_left_it(self, on):
        machine = on(
            write=True,
            look=[NOTHING],
            take=[{"is_held": False}, {"is_held": True}],
            wait=[{"end": "free"}],
        )

        assert machine.receive(have=2) is None
        assert machine.process.words == ["look", "take", "wait", "take", "look", "signers"]

    def test_and_writes_builds_without_it_when_time_is_over(self, on):
        machine = on(write=True, look=[NOTHING], take=[{"is_held": False}], wait=[{"end": "over"}])

        assert machine.receive(have=2) is None
        machine.store.release()
        assert machine.process.words == ["look", "take", "wait", "signers"]

    def test_closes_what_it_has_taken(self, on):
        machine = on(write=True, look=[NOTHING], take=[{"is_held": True}], release=[{}])
        machine.receive(have=2)

        machine.store.close()

        assert machine.process.words[-1] == "release"
        assert machine.process.is_closed


class TestWhoSends:
    @pytest.fixture
    def sender(self, on):
        return lambda **answers: on("of the builder", write=True, **answers)

    def send(self, machine, **options):
        entries = built(machine.status.store, machine.target.digest)
        machine.store.send(entries, machine.chain, **options)
        return entries

    def test_puts_each_there_once(self, sender):
        machine = sender(publish=[{"is_new": True}, {"is_new": False}])

        entries = self.send(machine)
        self.send(machine)

        assert machine.process.words == ["publish", "publish"]
        for entry, (_, seconds, arguments) in zip(entries, machine.process.asked, strict=True):
            assert seconds == 60.0
            assert arguments["manifest"] == entry.manifest.to_json()
            assert set(arguments) == {"manifest", "file", "workspace"}
        assert machine.report.sent == 1
        assert all(machine.store.is_sent(entry) for entry in entries)

    def test_says_of_each_why_it_is_not_there(self, sender):
        machine = sender(publish=[{"is_new": False, "why": "there is no place"}])

        entries = self.send(machine)

        said = "shared store {}: the snapshot {} is not shared: there is no place"
        names = [entry.manifest.digest[:12] for entry in entries]
        assert machine.report.failed == [said.format(machine.report.name, one) for one in names]
        assert machine.report.sent == 0
        assert not any(machine.store.is_sent(entry) for entry in entries)

    def test_says_of_one_that_is_gone_that_it_is_not_there(self, sender):
        machine = sender(publish=[{"is_new": True}])
        (entry, *_) = built(machine.status.store, machine.target.digest)
        entry.database.path.unlink()

        machine.store.send([entry], machine.chain)

        assert machine.process.words == []
        assert "is not shared: its database is gone" in machine.report.failed[0]
        assert not machine.store.is_sent(entry)

    def test_puts_it_there_again_if_asked(self, sender):
        machine = sender(publish=[{"is_new": True}])
        self.send(machine)

        self.send(machine, again=True)

        assert machine.report.sent == 4
        sent = json.loads((machine.status.store.root / "sent.json").read_bytes())
        assert [len(one) for one in sent] == [32] * 4
        assert len(set(sent)) == 2

    def test_knows_by_url_and_scope_what_it_has_sent(self, sender, shared):
        machine = sender(publish=[{"is_new": True}])
        (entry, *_) = self.send(machine)
        assert machine.store.is_sent(entry)

        plain = machine.store.settings
        for changes in ({"url": "s3://other"}, {"scope": "pr/1"}):
            machine.store.settings = dataclasses.replace(plain, **changes)
            assert not machine.store.is_sent(entry)
        machine.store.settings = plain
        for changes in ({"digest": "0" * 64}, {"sha256": "0" * 64}, {"sha256": ""}):
            other = dataclasses.replace(entry.manifest, **changes)
            assert not machine.store.is_sent(dataclasses.replace(entry, manifest=other))

    @pytest.mark.parametrize("text", ["", "{}", "x", "5"])
    def test_takes_a_damaged_list_for_none(self, sender, text):
        machine = sender(publish=[{"is_new": True}])
        (machine.status.store.root / "sent.json").write_text(text)

        self.send(machine)

        assert machine.report.sent == 2

    def test_forgets_what_was_sent_long_ago(self, sender):
        machine = sender(publish=[{"is_new": True}])
        before = [f"{n:032}" for n in range(1000)]
        (machine.status.store.root / "sent.json").write_text(json.dumps(before))

        self.send(machine)

        after = json.loads((machine.status.store.root / "sent.json").read_bytes())
        assert after[:-2] == before[2:]

    def test_sends_nothing_that_came_from_there(self, sender):
        machine = sender(publish=[{"is_new": True}])
        entries = [
            dataclasses.replace(e, manifest=dataclasses.replace(e.manifest, received=True))
            for e in built(machine.status.store, machine.target.digest)
        ]

        machine.store.send(entries, machine.chain)
        machine.store.send(entries, machine.chain, again=True)

        assert machine.process.asked == []

    @pytest.mark.parametrize("again", [False, True])
    def test_does_not_sign_what_stands_on_what_it_does_not_believe(self, sender, again):
        machine = sender(publish=[{"is_new": True}])
        (entry, *_) = built(machine.status.store, machine.target.digest)
        origins = ({"scope": "pr/1", "signer": MAIN},)
        stands = dataclasses.replace(entry.manifest, origins=origins)
        stood = dataclasses.replace(entry, manifest=stands)

        machine.store.send([stood], machine.chain, again=again)

        assert machine.process.asked == []
        (line,) = machine.warnings
        assert line.startswith(f"the snapshot {entry.manifest.digest[:12]} is not put there: ")
        assert "scope pr/1" in line

    def test_says_nothing_of_where_it_stands_on(self, sender):
        machine = sender(publish=[{"is_new": True}])
        (entry, *_) = built(machine.status.store, machine.target.digest)
        origins = ({"scope": "main", "signer": MAIN},)
        stands = dataclasses.replace(entry.manifest, origins=origins)

        machine.store.send([dataclasses.replace(entry, manifest=stands)], machine.chain)

        assert machine.process.asked[0][2]["manifest"] == entry.manifest.to_json()

    def test_keeps_private_layers_here(self, sender):
        machine = sender(publish=[{"is_new": True}])
        machine.store.settings = dataclasses.replace(machine.store.settings, private=("0002",))

        whole = built(machine.status.store, machine.target.digest)[-1]
        self.send(machine)

        assert machine.store.private_in(whole.manifest, machine.chain) == "0002"
        digests = [json.loads(a["manifest"])["digest"] for _, _, a in machine.process.asked]
        assert len(digests) == 1
        assert whole.manifest.digest not in digests

    def test_knows_a_private_layer_by_its_name_or_by_its_seeds(self, sender):
        machine = sender()
        project = SimpleNamespace(layers={"demo": ("seed:demo", "seed:more")})
        chain = SimpleNamespace(layers=[SimpleNamespace(digest="d", name="seed:more")])
        made = SimpleNamespace(revisions={"0001": "x"}, seeds=["d", "unknown"])
        machine.store._project = project

        def private(*names):
            machine.store.settings = dataclasses.replace(machine.store.settings, private=names)
            return machine.store.private_in(made, chain)

        assert private() is None
        assert private("0002", "seed:demo") is None
        assert private("demo") == "seed:more"
        assert private("seed:more") == "seed:more"
        assert private("unknown") == "unknown"
        assert private("0001", "demo") == "0001"

    def test_says_why_one_is_not_shared_and_goes_on(self, sender):
        def as_file(entry, workspace):
            raise StoreError("pg_dump failed", hint="none")

        machine = sender(publish=[{"is_new": True}])
        machine.store._backend = SimpleNamespace(as_file=as_file)

        entries = self.send(machine)

        assert machine.warnings == [
            f"the snapshot {entry.manifest.digest[:12]} is not shared: pg_dump failed"
            for entry in entries
        ]
        assert machine.report.sent == 0

    def test_says_once_that_its_own_store_can_not_be_written(self, sender):
        def prepare():
            raise StoreError("read-only", hint="none")

        machine = sender(publish=[{"is_new": True}])
        machine.store._store.prepare = prepare

        self.send(machine)

        assert machine.warnings == ["nothing is put there: read-only"]
        assert machine.process.asked == []

    def test_leaves_out_what_is_gone_by_now(self, sender):
        machine = sender(publish=[{"is_new": True}])
        entries = built(machine.status.store, machine.target.digest)
        entries[0].database.path.unlink()

        machine.store.send(entries, machine.chain)

        assert len(machine.process.asked) == 1


OFF = "not used for the rest of this run: {}"


class TestAStoreThatFails:
    def test_is_not_asked_again_in_this_process(self, on):
        machine = on(look=[Failed("it is gone")])

        assert machine.receive() is None
        assert machine.store.pull(machine.chain, machine.fits) is None
        assert machine.store.listed() == []
        assert not machine.store.is_reached()
        machine.store.start()

        assert machine.process.words == ["look"]
        assert machine.process.is_closed
        assert machine.warnings == [OFF.format("it is gone")]
        assert machine.report.got is None, "whether it has the snapshot, nobody knows"
        assert not on("another", look=[NOTHING]).store.is_reached()

    def test_is_asked_for_no_lease_any_more(self, on):
        machine = on(write=True, look=[NOTHING, Failed("gone")], take=[{"is_held": True}])

        machine.receive(have=2)
        machine.store.release()

        assert machine.process.words == ["look", "take", "look"]

    @pytest.mark.parametrize("is_other", [False, True])
    def test_is_not_asked_by_other_processes_of_the_run(self, on, monkeypatch, is_other):
        monkeypatch.setenv("PYTEST_XDIST_TESTRUNUID", "run 1")
        machine = on(look=[Failed("gone")])
        machine.store.is_reached()
        record = json.loads((machine.status.store.root / "remote-off.json").read_bytes())
        assert record == {"run": "run 1", "url": machine.store.settings.url}

        monkeypatch.setattr("alembic_snapshot.remote.shared._off_for", {})
        if is_other:
            monkeypatch.setenv("PYTEST_XDIST_TESTRUNUID", "run 2")
        again = on(look=[NOTHING])

        assert again.store.is_reached() is is_other

    def test_of_another_address_is_asked_by_other_processes(self, on, monkeypatch):
        monkeypatch.setenv("PYTEST_XDIST_TESTRUNUID", "run 1")
        machine = on(look=[NOTHING])
        machine.status.store.prepare()
        record = {"run": "run 1", "url": "s3://other"}
        (machine.status.store.root / "remote-off.json").write_text(json.dumps(record))

        assert machine.store.is_reached()

    def test_is_forgotten_by_a_run_of_one_process(self, on):
        machine = on(look=[Failed("gone")])
        machine.store.is_reached()

        assert not (machine.status.store.root / "remote-off.json").exists()

    def test_for_want_of_a_library_says_which(self, on):
        machine = on(look=[Missing("obstore")])

        assert not machine.store.is_reached()
        assert machine.warnings == [
            OFF.format("obstore is not installed (pip install 'alembic-snapshot[remote]')")
        ]

    def test_for_want_of_a_library_is_an_error_for_who_writes(self, on):
        machine = on(write=True, look=[Missing("obstore")])

        with pytest.raises(ConfigError) as caught:
            machine.store.is_reached()

        assert caught.value.message == "the shared store needs obstore"
        assert caught.value.hint == "pip install 'alembic-snapshot[remote]'"

    @pytest.mark.parametrize("scope", ["main", "pr/1"])
    def test_a_key_of_another_scope_is_an_error(self, on, scope):
        other = PR if scope == "main" else MAIN
        machine = on(write=True, scope=scope, signer=other, look=[NOTHING])

        with pytest.raises(ConfigError) as caught:
            machine.store.is_reached()

        assert caught.value.message == (
            "ALEMBIC_SNAPSHOT_REMOTE_SIGNING_KEY is a key that remote_keys in "
            f"[tool.alembic-snapshot] has not for the scope {scope}"
        )
        assert caught.value.hint == (
            "nobody would believe what it signs: use the scope's own key, or set "
            "ALEMBIC_SNAPSHOT_REMOTE_SCOPE to the scope that this one is for"
        )
        assert machine.process.asked == []

    def test_whose_reader_has_no_key_is_read(self, on):
        assert on(signer="unsigned", look=[NOTHING]).store.is_reached()


class TestWhatIsThere:
    def test_is_listed_as_far_as_it_is_believed(self, on, there):
        records = [record_of(there.whole), record_of(there.below, signer=PR)]
        machine = on(scope="pr/1", listed=[looked(*records, rejected=["the record x"])])

        assert machine.store.listed() == records[:1]

        assert machine.process.asked == [("listed", 60.0, {"scopes": ["pr/1", "main"]})]
        assert machine.warnings == ["ignored the record x"]

    def test_is_writable_where_a_lease_is_taken_and_given_back(self, on):
        machine = on(write=True, take=[{"is_held": True}], release=[{}])

        assert machine.store.is_writable()
        assert machine.store.is_writable()

        assert machine.process.words == ["take", "release"] * 2
        first, same, second, _ = (arguments["digest"] for _, _, arguments in machine.process.asked)
        assert first == same != second
        assert len(first) == 64
        machine.store.release()
        assert len(machine.process.asked) == 4

    @pytest.mark.parametrize(
        ("answers", "words", "why"),
        [
            ({"take": [Failed("read-only")]}, ["take"], OFF.format("read-only")),
            (
                {"take": [{"is_held": True}], "release": [Failed("no right")]},
                ["take", "release"],
                OFF.format("no right"),
            ),
            (
                {"take": [{"is_held": False}]},
                ["take"],
                "it says of a lease that nobody can have that another one has it",
            ),
        ],
    )
    def test_is_not_writable_where_one_of_both_fails(self, on, answers, words, why):
        machine = on(write=True, **answers)

        assert not machine.store.is_writable()

        assert machine.process.words == words
        assert machine.warnings == [why]

    def test_is_asked_for_with_a_snapshot_that_nobody_has(self, on):
        machine = on(look=[NOTHING])

        assert machine.store.is_reached()
        assert machine.process.asked == [
            ("look", 10.0, {"digests": ["0" * 64], "scopes": ["main"]}),
        ]


class TestAReport:
    @pytest.mark.parametrize(
        ("values", "words"),
        [
            ({}, "it was not asked for the snapshot"),
            ({"sent": 2}, "it was not asked for the snapshot; 2 snapshots put there"),
            ({"got": "miss"}, "it has not the snapshot"),
            ({"got": "hit", "scope": "main"}, "the snapshot came from the scope main"),
            (
                {"got": "ancestor", "scope": "pr/1"},
                "built on a state that came from the scope pr/1",
            ),
            (
                {"got": "miss", "found": 3, "rejected": 2},
                "it has not the snapshot, 2 of 3 rejected",
            ),
            (
                {"got": "miss", "found": 3, "sent": 1},
                "it has not the snapshot; 1 snapshot put there",
            ),
            (
                {"got": "hit", "scope": "a", "found": 2, "rejected": 1, "sent": 2},
                "the snapshot came from the scope a, 1 of 2 rejected; 2 snapshots put there",
            ),
        ],
    )
    def test_says_what_came_and_what_was_put_there(self, values, words):
        assert Report("s3://b", **values).in_words() == words

    def test_has_its_numbers_as_values(self):
        report = Report("s3://b", "hit", "main", 4, 3, 1, 2, ["a line", "b"], ["b"])

        assert report.to_record() == {
            "name": "s3://b",
            "got": "hit",
            "scope": "main",
            "found": 4,
            "verified": 3,
            "rejected": 1,
            "sent": 2,
            "warnings": ["a line", "b"],
            "failed": ["b"],
        }


@pytest.mark.parametrize("part", ["files", "folders", "stats"])
@pytest.mark.parametrize("where", ["observed", "through_env"])
@pytest.mark.parametrize(
    ("name", "is_outside"),
    [("a.txt", False), ("deep/a.txt", False), ("../a.txt", True), ("/etc/passwd", True)],
)
def test_what_lies_outside_of_the_project_is_named(project, where, part, name, is_outside):
    read = {"observed": Observed(), "through_env": Observed()}
    read[where] = Observed(**{part: {"inside.txt": "1", name: "1"}})

    outside = names_outside(SimpleNamespace(**read), project.load())

    assert outside == (name if is_outside else None)


@pytest.mark.parametrize(
    ("name", "is_outside"),
    [
        ("<others>/a.txt", False),
        ("<others>/deep/../a.txt", False),
        ("<others>/../a.txt", True),
        ("<others>/deep/../../../etc/passwd", True),
        ("<others>/..", True),
    ],
)
def test_nothing_climbs_out_of_scripts_that_lie_elsewhere(tmp_path, name, is_outside):
    project = SampleProject(tmp_path / "project")
    (project.root / "migrations").rename(tmp_path / "others")
    project.write("alembic.ini", "[alembic]\nscript_location = ../others\n")
    read = SimpleNamespace(observed=Observed(files={name: "1"}), through_env=Observed())

    assert names_outside(read, project.load()) == (name if is_outside else None)


def test_variables_are_no_files(project):
    read = SimpleNamespace(observed=Observed(environment={"/x": "1"}), through_env=Observed())

    assert names_outside(read, project.load()) is None


def chain_of(revisions=4, opaque=(), seeds=()):
    """A line of revisions, of which a build publishes the snapshot and the state before it."""
    names = [f"{n:04}" for n in range(revisions)]

    def state(some, count=0):
        digest = hashlib.sha256(repr((sorted(some), count)).encode()).hexdigest()
        return State(dict.fromkeys(some, "d"), (), tuple(seeds[:count]), digest)

    return SimpleNamespace(
        revisions=dict.fromkeys(names),
        seeds=[SimpleNamespace(name=name) for name in seeds],
        opaque=opaque,
        target=state(names, len(seeds)),
        published_states=lambda: [state(names[:-1]), state(names), state(names, len(seeds))],
        below=lambda some: names[: names.index(some[0]) + 1],
        state=state,
    )


class TestStatesBelow:
    def depths(self, chain, have):
        return [(len(s.revisions), len(s.seeds)) for s in states_below(chain, have)]

    def test_are_those_that_are_deeper_than_what_is_here_the_deepest_first(self):
        assert self.depths(chain_of(4), 0) == [(3, 0), (2, 0), (1, 0)]
        assert self.depths(chain_of(4), 2) == [(3, 0)]
        assert self.depths(chain_of(4), 3) == []
        assert self.depths(chain_of(2, seeds=("s",)), 1) == [(2, 0)]

    def test_are_the_published_ones_where_no_revision_is_known_before_it_ran(self):
        assert self.depths(chain_of(4, opaque=["it is"], seeds=("s",)), 0) == [(4, 0), (3, 0)]

    def test_are_sixty_four_at_most(self):
        assert self.depths(chain_of(100), 0) == [(n, 0) for n in range(99, 35, -1)]


@pytest.mark.parametrize(
    ("timings", "seconds"),
    [
        ([], 60.0),
        ([{"other": 5.0}], 60.0),
        ([{"0000": 5.0}], 2.0 + 5.0 * 5),
        ([{"0000": 5.0, "0001": 1.0, "other": 99.0}], 2.0 + 3.0 * 5),
        ([{"0000": 5.0}, {"0000": 3.0, "s": 5.0}], 2.0 + 4.0 * 5),
        ([{"0000": 0.0}], 3.0),
        ([{"0000": 0.2}], 3.0),
        ([{"0000": 0.25}], 3.25),
        ([{"0000": 119.5}], 599.5),
        ([{"0000": 1e9}], 600.0),
    ],
)
def test_a_build_takes_as_long_as_earlier_ones_tell(timings, seconds):
    known = [SimpleNamespace(timings=one) for one in timings]

    assert expected_seconds(chain_of(4, seeds=("s",)), known) == seconds


def test_a_manifest_is_of_a_state_with_the_same_layers_in_their_order():
    state = State({"a": "1", "b": "2"}, (), ("s", "t"), "d")

    def is_ours(revisions, seeds):
        return is_of(SimpleNamespace(revisions=revisions, seeds=seeds), state)

    assert is_ours({"b": "2", "a": "1"}, ["s", "t"])
    assert not is_ours({"a": "1"}, ["s", "t"])
    assert not is_ours({"a": "1", "b": "3"}, ["s", "t"])
    assert not is_ours({"a": "1", "b": "2"}, ["t", "s"])
    assert not is_ours({"a": "1", "b": "2"}, ["s"])
