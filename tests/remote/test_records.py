"""Records and contents in a store: where they are, what is believed of them, what goes there."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import re
from datetime import UTC, datetime

import pytest

from alembic_snapshot.errors import StoreError
from alembic_snapshot.key.observed import Observed
from alembic_snapshot.project.remote import fingerprint
from alembic_snapshot.remote import packing
from alembic_snapshot.remote import record as records
from alembic_snapshot.remote.exchange import Exchange
from alembic_snapshot.remote.record import (
    NotVerified,
    Record,
    Unknown,
    content_path,
    lease_path,
    record_path,
    seal,
    signer_of,
    signers_of,
    unseal,
)
from alembic_snapshot.remote.signature import UNSIGNED, is_signed, sign
from alembic_snapshot.remote.transport import Found, TooLarge
from alembic_snapshot.store.manifest import Manifest, _sealed

from .conftest import KEYS, MAIN_KEY, PR_KEY, STRANGER

DIGEST, SHA256 = "d" * 64, "c" * 64
MAIN, PR = fingerprint(MAIN_KEY[1]), fingerprint(PR_KEY[1])
READ = Observed({"a.py": "1"}, {"folder": "2"}, {"b": "3"}, {"HOME": "4"})
MANIFEST = Manifest(
    digest=DIGEST,
    family="f" * 64,
    project="shop",
    created=1.5,
    size=3,
    sha256=SHA256,
    heads=("0002",),
    revisions={"0001": "1", "0002": "2"},
    seeds=("s",),
    layers={"base": {"env.py": "e"}, "0001": {}},
    observed=READ,
    through_env=READ,
    handover="url",
    options={"compare_type": "True"},
    tables=2,
    checks={"drift": ["a"], "heads": ["0002"], "integrity": []},
    timings={"0001": 0, "0002": 0.5},
    warnings=("w",),
    databases=({"kind": "sqlite", "file": "x.db"},),
    origins=({"scope": "main", "signer": MAIN},),
)
RECORD = Record("main", MAIN, 2.5, 100, MANIFEST)


def changed(**changes):
    return dataclasses.replace(MANIFEST, **changes)


def sealed(manifest=MANIFEST, **values):
    return seal(dataclasses.replace(RECORD, manifest=manifest, **values), MAIN_KEY[0])


def resealed(change):
    """A record with another body, signed as it should be."""
    envelope = json.loads(sealed())
    body = change(envelope["body"])
    return json.dumps(
        {**envelope, "body": body, "signature": sign(MAIN_KEY[0], body.encode())}
    ).encode()


def opened(content, scope="main", digest=DIGEST, signer=MAIN, keys=KEYS):
    return unseal(content, scope, digest, signer, keys)


def refusal(content, *place, **places):
    with pytest.raises(NotVerified) as caught:
        opened(content, *place, **places)
    return str(caught.value)


class TestPlaces:
    def test_are_the_same_in_each_version(self):
        assert record_path("pr/1", DIGEST, MAIN, 3) == f"v1/pr/1/-/records/{DIGEST}/{MAIN}-3.json"
        assert content_path("pr/1", SHA256) == f"v1/pr/1/-/content/{SHA256}.zst"
        assert lease_path("pr/1", DIGEST) == f"v1/pr/1/-/leases/{DIGEST}.json"

    def test_are_those_of_whoever_may_sign(self):
        assert signers_of("main", KEYS) == [MAIN]
        assert signers_of("pr/1", {"pr/*": [PR_KEY[1], STRANGER[1]]}) == [
            PR,
            fingerprint(STRANGER[1]),
        ]
        assert signers_of("pr/1", {}) == [UNSIGNED]
        assert signers_of("pr/1", {"main": [MAIN_KEY[1]]}) == []

    def test_are_named_by_who_signs(self):
        assert signer_of(MAIN_KEY[0]) == MAIN
        assert signer_of(None) == UNSIGNED


class TestARecord:
    def test_comes_back_as_it_was(self):
        assert opened(sealed()) == RECORD
        assert Record.from_values(RECORD.to_values()) == RECORD
        json.dumps(RECORD.to_values())

    def test_is_signed_text(self):
        envelope = json.loads(sealed())
        body = envelope.pop("body")

        assert is_signed(MAIN_KEY[1], envelope.pop("signature"), body.encode())
        assert envelope == {"format": 1, "signer": MAIN}
        assert body == json.dumps(
            {
                "format": 1,
                "manifest": MANIFEST.to_json(),
                "packed": 100,
                "scope": "main",
                "signed": 2.5,
            }
        )

    def test_is_unsigned_without_a_key(self):
        record = dataclasses.replace(RECORD, signer=UNSIGNED)
        content = seal(record, None)

        assert json.loads(content)["signature"] == ""
        assert opened(content, signer=UNSIGNED, keys={}) == record
        assert refusal(content, signer=UNSIGNED) == ("it is unsigned")

    def test_with_a_signature_is_none_where_there_are_no_keys(self):
        assert refusal(sealed(), keys={}) == (
            "it is signed, and there are no remote_keys to verify it with"
        )

    @pytest.mark.parametrize(
        ("content", "why"),
        [
            (b"", "it is no JSON"),
            (b"\xff", "it is no JSON"),
            (b"[" * 100_000, "it is no JSON"),
            (b"[]", "it is no record"),
            (b"{}", "it is no record"),
            (json.dumps({"signer": MAIN, "body": 1}).encode(), "it is no record"),
            (json.dumps({"signer": PR, "body": "{}"}).encode(), "it is no record"),
            (json.dumps({"signer": MAIN, "body": "{}"}).encode(), "its signature is wrong"),
            (
                json.dumps({"format": "2", "signer": MAIN, "body": "{}"}).encode(),
                "its signature is wrong",
            ),
            (resealed(lambda body: "x"), "it is no JSON"),
            (resealed(lambda body: "[]"), "it is no record"),
            (resealed(lambda body: "{}"), "it was signed for the scope None"),
            (
                resealed(lambda body: body.replace('"scope": "main"', '"scope": "pr/1"')),
                "it was signed for the scope 'pr/1'",
            ),
            (
                resealed(lambda body: '{"scope": "main"}'),
                "its manifest can't be read: 'manifest'",
            ),
            (
                resealed(lambda body: body.replace("w", "v", 1)),
                "its manifest can't be read: the manifest was edited",
            ),
            (
                resealed(lambda body: '{"scope": "main", "manifest": 1}'),
                "its manifest can't be read: 'int' object has no attribute 'rpartition'",
            ),
            (
                resealed(lambda body: body.replace('"signed": 2.5', '"signed": "x"')),
                "its manifest can't be read: could not convert string to float: 'x'",
            ),
        ],
    )
    def test_that_is_none_is_told(self, content, why):
        assert refusal(content) == why

    @pytest.mark.parametrize(
        ("place", "why"),
        [
            ({"scope": "pr/1", "signer": PR}, "it is no record"),
            ({"digest": "e" * 64}, "it is another snapshot's"),
            (
                {"keys": {"pr/*": [MAIN_KEY[1]]}},
                f"remote_keys has no key of its signer {MAIN} for main",
            ),
            (
                {"scope": "pr/1", "keys": {"pr/*": [MAIN_KEY[1]]}},
                "it was signed for the scope 'main'",
            ),
        ],
    )
    def test_in_another_place_is_none(self, place, why):
        assert refusal(sealed(), **place) == why

    @pytest.mark.parametrize(
        "content",
        [
            b'{"format": 2}',
            resealed(lambda body: body.replace('"signed": 2.5', '"signed": null')),
            sealed(changed(format=MANIFEST.format + 1)),
            sealed(changed(format=MANIFEST.format - 1)),
        ],
    )
    def test_of_another_version_is_none_of_our_business(self, content):
        with pytest.raises(Unknown):
            opened(content)

    def test_with_a_part_that_only_a_newer_version_knows_is_none_either(self):
        record = {**json.loads(MANIFEST.to_json()), "more": 1}
        del record["seal"]
        newer = _sealed(json.dumps(record, indent=1, sort_keys=True).removesuffix("\n}"))
        values = {"scope": "main", "signed": 1, "packed": 1, "manifest": newer}

        with pytest.raises(Unknown):
            opened(resealed(lambda _: json.dumps(values)))

    @pytest.mark.parametrize("packed", [-1, 1.5, "1", None])
    def test_has_a_size(self, packed):
        assert refusal(sealed(packed=packed)) == "its size or its time is none"

    @pytest.mark.parametrize("signed", [-1.0, 1e11, float("inf"), float("nan")])
    def test_has_a_time(self, signed):
        assert refusal(sealed(signed=signed)) == "its size or its time is none"

    @pytest.mark.parametrize("values", [{"packed": 0}, {"signed": 0.0}, {"signed": 1e11 - 1}])
    def test_may_have_the_smallest_and_the_largest(self, values):
        assert opened(sealed(**values)) == dataclasses.replace(RECORD, **values)


WRONG = {
    **{name: [5, None] for name in ("project", "version_table")},
    **{name: [5, "", "x" * 64, "a" * 63, "a" * 65] for name in ("digest", "family", "sha256")},
    **{name: [[5], ["a", None]] for name in ("heads", "seeds", "warnings")},
    "revisions": [{"a": 5}, [], "a"],
    "options": [{"a": 5}, [], "a"],
    "layers": [{}, {"0001": {}}, {"base": {"a": 1}}, {"base": {}, "0001": []}],
    "size": [-1, 1.5, "3", None],
    "tables": [1.5, "3", None],
    "created": [-1, 1e11, "1", None, float("nan")],
    "checks": [[], "x", {"drift": 5}, {"integrity": 3}],
    "timings": [{"a": "1"}, {"a": -1}, {"a": 1e11}],
    "databases": [["x"], [{"kind": "sqlite"}], [{"kind": "postgresql"}], [{}]],
    "handover": ["__import__", "", 5],
    **{
        name: [dataclasses.replace(READ, **{part: value}) for part in vars(READ) for value in BAD]
        for BAD in [({"a": 5}, ["a"], None)]
        for name in ("observed", "through_env")
    },
}


class TestAManifest:
    @pytest.mark.parametrize(
        ("name", "value"),
        [(name, value) for name, values in WRONG.items() for value in values],
    )
    def test_with_values_that_none_has_is_refused(self, name, value):
        wrong = changed(**{name: value})

        assert refusal(sealed(wrong), digest=wrong.digest) == (
            "its manifest has values that none has"
        )

    @pytest.mark.parametrize(
        "changes",
        [
            {"size": 0},
            {"created": 0},
            {"created": 1e11 - 1},
            {"heads": (), "seeds": (), "warnings": (), "databases": ()},
            {"revisions": {}, "options": {}, "timings": {}, "checks": {}},
            {"observed": Observed(), "through_env": Observed()},
            *({"handover": one} for one in (None, "connection", "engine", "async", "api")),
            {
                "databases": (
                    {"kind": "postgresql", "host": "h", "port": 1, "dbname": "d"},
                    {"kind": "sqlite", "file": "/x"},
                )
            },
        ],
    )
    def test_with_others_is_taken(self, changes):
        manifest = changed(**changes)

        assert opened(sealed(manifest)).manifest == manifest


class Objects:
    """A store in memory, as :class:`~alembic_snapshot.remote.transport.Transport` is one."""

    def __init__(self):
        self.found = {}
        self.written = []
        self.asked = []
        self.weighed = []
        self.refused = None

    def read(self, path, limit):
        content = self.found.get(path)
        if content is not None and len(content) > limit:
            raise TooLarge
        return content if content is None else Found(content, datetime.now(UTC), None)

    def stream(self, path, limit):
        self.asked.append(path)
        found = self.read(path, limit)
        return found and iter([found.content[:5], found.content[5:]])

    def size(self, path):
        return len(self.found[path]) if path in self.found else None

    def create(self, path, content):
        return path not in self.found and self.write(path, content) is None

    def write(self, path, content):
        self.written.append(path)
        self.found[path] = content if isinstance(content, bytes) else content.read_bytes()

    def list(self, prefix):
        if self.refused is not None and prefix.startswith(self.refused):
            raise StoreError("refused", hint="none")
        return sorted(path for path in self.found if path.startswith(prefix))

    def sizes(self, prefix):
        self.weighed.append(prefix)
        return {path: len(self.found[path]) for path in self.list(prefix)}


CONTENT = b"a snapshot's content"


class TestAnExchange:
    @pytest.fixture
    def objects(self):
        return Objects()

    @pytest.fixture
    def of(self, objects):
        """Whoever signs with a key, in a scope."""
        made = []

        def of(key=MAIN_KEY, scope="main", keys=KEYS):
            made.append(Exchange(objects, scope, keys, key and key[0]))
            return made[-1]

        yield of
        for one in made:
            one.close()

    @pytest.fixture
    def file(self, tmp_path):
        path = tmp_path / "snapshot.db"
        path.write_bytes(CONTENT)
        return path

    @pytest.fixture
    def manifest(self):
        return changed(sha256=hashlib.sha256(CONTENT).hexdigest(), size=len(CONTENT))

    @pytest.fixture
    def published(self, of, file, manifest):
        """A function that puts a snapshot there, as whoever is the exchange."""

        def published(exchange=None, **changes):
            made = dataclasses.replace(manifest, **changes)
            return (exchange or of()).publish(made, file, file.parent)

        return published

    def test_puts_its_content_there_and_its_record_and_leaves_nothing_else(
        self, of, objects, file, manifest, published
    ):
        assert published() is True

        content, record = (
            content_path("main", manifest.sha256),
            record_path("main", DIGEST, MAIN, 0),
        )
        assert objects.written == [content, record]
        assert packing.zstd_module().decompress(objects.found[content]) == CONTENT
        found = opened(objects.found[record])
        assert (found.manifest, found.packed) == (manifest, len(objects.found[content]))
        assert [path.name for path in file.parent.iterdir()] == ["snapshot.db"]
        assert of().look([DIGEST], ["main"]) == ([found], [])

    def test_fetches_what_it_has_put_there(self, of, tmp_path, published):
        published()
        exchange = of()
        record = exchange.look([DIGEST], ["main"]).records[0]

        assert exchange.fetch(record, tmp_path / "there") is None
        assert (tmp_path / "there").read_bytes() == CONTENT
        assert exchange.bad == set()

    @pytest.mark.parametrize(
        ("change", "why"),
        [
            (lambda content: None, "its content is gone"),
            (lambda content: content + b"x", "its content is larger than its record says"),
            (lambda content: content[:-3], "its content is cut off"),
            (lambda content: b"x" * 10, "its content can't be unpacked"),
            (
                lambda content: packing.zstd_module().compress(CONTENT[:-1] + b"T"),
                "its content is another one than its record says",
            ),
            (
                lambda content: packing.zstd_module().compress(CONTENT + b"t"),
                "its content is larger than its record says",
            ),
            (
                lambda content: packing.zstd_module().compress(CONTENT[:-1]),
                "its content is cut off",
            ),
        ],
    )
    def test_says_why_it_did_not_fetch_and_puts_it_right(
        self, of, objects, tmp_path, manifest, published, change, why
    ):
        published()
        exchange, path = of(), content_path("main", manifest.sha256)
        record = dataclasses.replace(exchange.look([DIGEST], ["main"]).records[0], packed=100)
        damaged = change(objects.found.pop(path))
        if damaged is not None:
            objects.found[path] = damaged + bytes(
                100 if damaged.endswith(b"x") and why[-4:] == "says" else 0
            )

        assert exchange.fetch(record, tmp_path / "there") == why

        assert not (tmp_path / "there").exists()
        assert exchange.bad == {manifest.sha256}
        assert published(exchange) is True
        assert of().fetch(record, tmp_path / "there") is None

    @pytest.mark.parametrize(
        ("change", "why"),
        [
            (lambda content: None, "its content is gone"),
            (lambda content: content + b"x", "its content is larger than its record says"),
            (lambda content: content[:-3], "its content is cut off"),
            (lambda content: b"", "its content is cut off"),
            (lambda content: b"x" * 10, "its content can't be unpacked"),
            (lambda content: content, None),
        ],
    )
    @pytest.mark.parametrize("scope", ["main", "pr/1"])
    def test_knows_by_its_size_that_a_content_can_not_be_fetched(
        self, of, objects, manifest, published, scope, change, why
    ):
        keys, path = {scope: [MAIN_KEY[1]]}, content_path(scope, manifest.sha256)
        published(of(scope=scope, keys=keys))
        record = of(scope=scope, keys=keys).look([DIGEST], [scope]).records[0]
        damaged = change(objects.found.pop(path))
        if damaged is not None:
            objects.found[path] = damaged
        objects.asked.clear()

        assert of().lacks(record) == why
        assert (path in objects.asked) is (damaged is not None and len(damaged) < record.packed)
        listed = of(scope=scope, keys=keys).listed([scope])
        assert listed.records == ([] if why else [record])
        assert listed.rejected == ([f"the snapshot {DIGEST[:12]} in {scope}: {why}"] if why else [])

    def test_tries_a_smaller_content_which_may_have_been_packed_anew(self, of, published):
        published()
        (record,) = of().look([DIGEST], ["main"]).records
        larger = dataclasses.replace(record, packed=record.packed + 1)

        assert of().lacks(larger) is None

    def test_lists_no_contents_of_a_scope_without_records(self, of, objects, published):
        published()
        exchange = of()

        assert len(exchange.listed(["pr/1", "main"]).records) == 1
        assert objects.weighed == ["v1/main/-/content/"]

    def test_puts_no_content_twice_and_one_of_another_size_again(
        self, objects, manifest, published
    ):
        path = content_path("main", manifest.sha256)
        published()
        published(tables=3)
        assert objects.written.count(path) == 1
        objects.found[path] = b"cut"

        published(tables=4)

        assert objects.written.count(path) == 2

    def test_puts_no_record_twice(self, objects, published):
        assert [published(), published()] == [True, False]
        assert len(objects.list("v1/main/-/records/")) == 1

    def test_keeps_as_many_that_read_something_else_and_forgets_the_oldest(
        self, objects, published, monkeypatch
    ):
        clock = itertools.count(1)
        monkeypatch.setattr(
            "alembic_snapshot.remote.exchange.time.time", lambda: float(next(clock))
        )

        def others():
            return [
                opened(objects.found[path]).manifest.observed.files["a"]
                for path in objects.list("v1/main/-/records/")
            ]

        for number in range(4):
            assert published(observed=Observed({"a": str(number)})) is True
        assert others() == ["0", "1", "2", "3"]
        assert published(observed=Observed({"a": "4"})) is True
        assert published(observed=Observed({"a": "5"})) is True
        assert others() == ["4", "5", "2", "3"]
        assert published(observed=Observed({"a": "2"})) is False

    def test_puts_its_record_beside_one_with_other_options(self, objects, published):
        published()

        assert published(options={"compare_type": "False"}) is True
        assert len(objects.list("v1/main/-/records/")) == 2

    @pytest.mark.parametrize("content", [b"", b"x", b"[]"])
    def test_puts_its_record_in_the_place_of_one_that_is_damaged(
        self, of, objects, published, content
    ):
        objects.found[record_path("main", DIGEST, MAIN, 0)] = content

        assert published() is True
        assert len(of().look([DIGEST], ["main"]).records) == 1

    def test_leaves_records_of_versions_to_come(self, of, objects, published):
        paths = [record_path("main", DIGEST, MAIN, number) for number in range(4)]
        for path in paths[:2]:
            objects.found[path] = b'{"format": 2}'

        assert published() is True
        assert objects.written[-1] == paths[2]
        objects.found |= dict.fromkeys(paths, b'{"format": 2}')
        with pytest.raises(NotVerified, match="its places have records of another version"):
            published()
        assert of().look([DIGEST], ["main"]) == ([], [])

    def test_looks_in_the_order_of_snapshots_and_of_scopes(self, of, published):
        other = "e" * 64
        keys = {"main": [MAIN_KEY[1]], "pr/*": [PR_KEY[1], MAIN_KEY[1]]}
        for scope, key, digest in (
            ("main", MAIN_KEY, DIGEST),
            ("pr/1", MAIN_KEY, DIGEST),
            ("pr/1", PR_KEY, DIGEST),
            ("main", MAIN_KEY, other),
        ):
            published(of(key, scope, keys), digest=digest)
        published(of(PR_KEY, "pr/1", keys), tables=3, options={})

        looked = of(None, "pr/1", keys).look([other, DIGEST], ["pr/1", "main"])

        found = [(one.manifest.digest, one.scope, one.signer) for one in looked.records]
        assert found == [
            (other, "main", MAIN),
            (DIGEST, "pr/1", PR),
            (DIGEST, "pr/1", PR),
            (DIGEST, "pr/1", MAIN),
            (DIGEST, "main", MAIN),
        ]

    def test_says_which_records_do_not_count(self, of, objects, published, monkeypatch):
        published()
        objects.found[record_path("main", DIGEST, MAIN, 1)] = b"x"
        objects.found[record_path("main", DIGEST, MAIN, 2)] = b"x" * 10_000

        monkeypatch.setattr("alembic_snapshot.remote.exchange.LIMIT", 9_999)
        looked = of().look([DIGEST], ["main"])
        listed = of().listed(["main"])

        assert len(looked.records) == len(listed.records) == 1
        assert (
            looked.rejected
            == listed.rejected
            == [
                f"the record {DIGEST[:12]} in main: it is no JSON",
                f"the record {DIGEST[:12]} in main: it is too large",
            ]
        )

    def test_looks_no_further_than_a_place_without_a_record(self, of, objects, published):
        published()
        objects.found[record_path("main", DIGEST, MAIN, 2)] = b"x"

        assert of().look([DIGEST], ["main"]).rejected == []

    def test_knows_by_names_who_has_signed(self, of, objects, published):
        published()
        published(of(PR_KEY, "pr/1"), digest="e" * 64)
        published(of(None, keys={}))
        objects.found[f"v1/main/-/records/{DIGEST}/x.json"] = b""
        exchange = of()
        mine = [("main", MAIN), ("main", UNSIGNED), ("main", None)]

        assert exchange.signers(["main"]) == (mine, {})
        assert exchange.signers(["pr/1", "main"]) == ([("pr/1", PR), *mine], {})
        assert exchange.signers(["pr/1", "main"], DIGEST) == (mine, {})
        assert exchange.signers(["pr/1"], "e" * 63) == ([], {})

    def test_knows_of_no_signers_in_a_scope_that_it_may_not_list(self, of, objects, published):
        published(of(PR_KEY, "pr/1"))
        objects.refused = "v1/main/"

        assert of().signers(["pr/1", "main"], DIGEST) == ([("pr/1", PR)], {"main": "refused"})

    def test_lists_all_of_the_scopes_the_latest_first(self, of, objects, published, monkeypatch):
        clock = itertools.count(1)
        monkeypatch.setattr(
            "alembic_snapshot.remote.exchange.time.time", lambda: float(next(clock))
        )
        for scope, key, digest in (
            ("main", MAIN_KEY, "1" * 64),
            ("pr/1", PR_KEY, "2" * 64),
            ("main", MAIN_KEY, "3" * 64),
            ("pr/2", PR_KEY, "4" * 64),
        ):
            published(of(key, scope), digest=digest)
        objects.found[record_path("main", "5" * 64, MAIN, 0)] = b'{"format": 2}'

        listed = of().listed(["pr/1", "main"])

        assert [one.manifest.digest[0] for one in listed.records] == ["3", "2", "1"]
        assert listed.rejected == []

    def test_puts_nothing_there_that_is_too_large(self, objects, published, file, monkeypatch):
        monkeypatch.setattr("alembic_snapshot.remote.exchange._LARGEST", 10)

        with pytest.raises(NotVerified, match=r"^it is too large for one object$"):
            published()

        assert objects.found == {}
        assert [path.name for path in file.parent.iterdir()] == ["snapshot.db"]


def test_what_is_read_of_a_record_is_bounded():
    assert records.LIMIT == 32 * 1024 * 1024
    assert re.fullmatch(records._HASH, DIGEST)


class TestPacking:
    @pytest.mark.parametrize("size", [0, 1, packing._PART - 1, packing._PART, packing._PART + 1])
    @pytest.mark.parametrize("part", [1000, 10**9])
    def test_a_file_comes_back(self, tmp_path, size, part):
        content = b"0123456789abcdef" * (size // 16) + b"x" * (size % 16)
        (tmp_path / "plain").write_bytes(content)

        packed = packing.pack(tmp_path / "plain", tmp_path / "packed")

        text = (tmp_path / "packed").read_bytes()
        parts = [text[at : at + part] for at in range(0, len(text), part)]
        packing.unpack(parts, tmp_path / "again", size, hashlib.sha256(content).hexdigest())
        assert packed == len(text)
        assert (tmp_path / "again").read_bytes() == content

    def test_a_bomb_is_not_written(self, tmp_path):
        bomb = packing.zstd_module().compress(bytes(64 * 1024 * 1024))

        with pytest.raises(packing.Damaged, match="larger than its record says"):
            packing.unpack([bomb], tmp_path / "there", 5, "")

        assert (tmp_path / "there").stat().st_size <= 5
