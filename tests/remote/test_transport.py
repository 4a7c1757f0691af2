"""Servers of each protocol answer alike, and what they refuse is said."""

from __future__ import annotations

import json
import os
import random
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from alembic_snapshot.errors import StoreError
from alembic_snapshot.remote.exchange import Exchange
from alembic_snapshot.remote.transport import TooLarge, Transport

from .conftest import MAIN_KEY, OTHER_KEY

LIMIT = 100


def answers(transport, seed):
    """What a store says to generated questions, and what a dictionary would say."""
    chance = random.Random(seed)
    objects, versions, said, expected = {}, {}, [], []
    for n in range(40):
        path = chance.choice(["a", "b/c", "b/d", "main/-/e.json"])
        do = chance.choice(["read", "size", "create", "write", "replace", "delete", "list"])
        content = b"%d" % n
        if do == "list":
            below = {p: len(content) for p, content in objects.items() if p.startswith("b/")}
            said.append((do, transport.list("b/"), transport.sizes("b/")))
            expected.append((do, sorted(below), below))
        elif do == "read":
            found = transport.read(path, LIMIT)
            if found is not None:
                versions[path] = found.version, objects[path]
            said.append((do, path, found and found.content))
            expected.append((do, path, objects.get(path)))
        elif do == "size":
            said.append((do, path, transport.size(path)))
            expected.append((do, path, len(objects[path]) if path in objects else None))
        elif do == "create":
            said.append((do, path, transport.create(path, content)))
            expected.append((do, path, path not in objects))
            objects.setdefault(path, content)
        elif do == "write":
            transport.write(path, content)
            objects[path] = content
        elif do == "delete":
            transport.delete(path)
            objects.pop(path, None)
        elif path in versions:
            version, read = versions[path]
            said.append((do, path, transport.replace(path, content, version)))
            # No two contents are the same: it is the version that was read, or it is not.
            expected.append((do, path, objects.get(path) == read))
            if objects.get(path) == read:
                objects[path] = content
    return said, expected


class TestAServer:
    @pytest.mark.parametrize("seed", range(4))
    def test_it_answers_as_a_dictionary_would(self, served, seed):
        with served.transport() as transport:
            said, expected = answers(transport, seed)

        assert said == expected
        assert any(one[0] == "replace" for one in said)

    def test_of_many_that_create_one_object_one_does(self, served):
        with served.transport() as transport, ThreadPoolExecutor(8) as pool:
            for n in range(5):
                paths = [f"lease-{n}"] * 8
                done = list(pool.map(lambda path: transport.create(path, os.urandom(8)), paths))
                assert sorted(done) == [False] * 7 + [True]

    def test_of_many_that_replace_one_version_one_does(self, served):
        with served.transport() as transport, ThreadPoolExecutor(8) as pool:
            transport.write("lease", b"")
            version = transport.read("lease", LIMIT).version
            contents = [b"%d" % n for n in range(8)]
            done = list(pool.map(lambda c: transport.replace("lease", c, version), contents))

            assert sorted(done) == [False] * 7 + [True]
            assert transport.read("lease", LIMIT).content == contents[done.index(True)]

    def test_a_large_object_comes_back_in_parts(self, served, tmp_path):
        content = random.Random(1).randbytes(9 << 20)
        (tmp_path / "large").write_bytes(content)
        with served.transport() as transport:
            assert transport.create("large", tmp_path / "large")
            transport.write("again", tmp_path / "large")
            parts = [list(transport.stream(path, len(content))) for path in ("large", "again")]

        assert [b"".join(one) for one in parts] == [content, content]
        assert all(len(one) > 1 for one in parts)

    def test_a_bucket_that_does_not_exist_is_an_error_and_no_miss(self, served):
        served.url = served.url.replace("bucket", "bocket")
        served.configure()

        with served.transport() as transport:
            for ask in (
                lambda: transport.read("x", LIMIT),
                lambda: transport.stream("x", LIMIT),
                lambda: transport.create("x", b""),
                lambda: transport.list(""),
            ):
                with pytest.raises(StoreError, match="its bucket or container does not exist"):
                    ask()
        pulled = served.run("reader", "pull")
        made = served.build("reader")

        assert pulled.returncode == 2
        assert pulled.stderr.startswith(f"error: shared store {served.url}: ")
        assert made["built"]
        assert len(made["warned"]) == 1
        assert "its bucket or container does not exist" in made["warned"][0]


class TestWhatIsThere:
    def test_it_is_listed_with_its_scope(self, served):
        served.fill()
        served.fill("pr/1")

        listed = served.run("reader", "list", "--remote", "--json")

        assert listed.returncode == 0
        assert [one["scope"] for one in json.loads(listed.stdout)] == ["main", "main"]

    @pytest.mark.parametrize("what", ["records", "content"])
    def test_what_is_damaged_is_said_ignored_and_put_right(self, served, what):
        served.fill()
        with served.transport() as transport:
            paths = transport.list(f"v1/main/-/{what}/")
            for path in paths:
                transport.write(path, transport.read(path, 1 << 20).content[:-20])

        made = served.build("another")

        assert len(paths) == 2
        assert made["built"]
        assert "ignored the " in made["warned"][0]
        assert made["remote"]["rejected"] > 0
        assert served.run("of the builder", "push", **served.as_writer()).returncode == 0
        assert served.pull("reader")[0] is not None


class TestAzure:
    @pytest.mark.parametrize(
        "key", [OTHER_KEY, "not base64!", ""], ids=["other", "no key", "empty"]
    )
    def test_a_wrong_key_of_the_account_is_one_line_and_a_build(self, azure, key):
        azure.fill()
        azure.variables["AZURE_STORAGE_ACCOUNT_KEY"] = key

        made = azure.build("reader")
        wrote = azure.build("writer", **azure.as_writer())

        for one in (made, wrote):
            assert one["built"]
            assert len(one["warned"]) == 1
            assert "not used for the rest of this run: " in one["warned"][0]
            assert not key or key not in one["warned"][0]

    def test_a_wrong_token_is_in_no_message(self, azure):
        del azure.variables["AZURE_STORAGE_ACCOUNT_KEY"]
        azure.variables["AZURE_STORAGE_SAS_TOKEN"] = "sv=2021-12-02&sp=r&sig=c2VjcmV0"

        made = azure.build("reader")

        assert made["built"]
        assert len(made["warned"]) == 1
        assert "permission denied" in made["warned"][0]
        assert "c2VjcmV0" not in made["warned"][0]

    @pytest.mark.parametrize(
        "address", ["azure://bucket/{}", "abfs://bucket@shop.dfs.core.windows.net/{}"]
    )
    def test_its_other_addresses_lead_to_the_same(self, azure, address):
        azure.fill()
        azure.url = address.format(azure.url.rpartition("/")[2])
        azure.configure()

        entry, report = azure.pull("reader")

        assert entry is not None
        assert report.warnings == []

    def test_the_emulator_is_found_by_its_own_variables(self, azure):
        azure.fill()
        endpoint = azure.variables.pop("AZURE_STORAGE_ENDPOINT")
        azure.variables["AZURE_STORAGE_USE_EMULATOR"] = "1"
        azure.variables["AZURITE_BLOB_STORAGE_URL"] = endpoint.rpartition("/")[0]

        assert azure.pull("reader")[0] is not None

    def test_without_keys_it_is_believed_on_this_machine(self, azure):
        azure.configure(keys={})
        azure.fill()

        made = azure.build("reader")

        assert not made["built"]
        assert made["warned"] == []


class TestPlainHttp:
    @pytest.mark.parametrize(("kind", "prefix"), [("s3", "AWS"), ("azure", "AZURE")])
    def test_elsewhere_it_needs_the_variable(self, request, kind, prefix):
        shared = request.getfixturevalue(kind)
        shared.fill()
        for name, value in shared.variables.items():
            # An address of this machine that is not known for one.
            shared.variables[name] = value.replace("//127.0.0.1:", "//127.1:")

        refused = shared.run("reader", "pull")
        allowed = shared.run("reader", "pull", **{f"{prefix}_ALLOW_HTTP": "true"})

        assert refused.returncode == 2
        assert refused.stderr.startswith("error: shared store ")
        assert allowed.returncode == 0, allowed.stderr


class Questions:
    """An empty store that remembers what it was asked for."""

    def __init__(self):
        self.asked = []

    def read(self, path, _limit):
        self.asked.append(path)


def test_what_is_not_there_is_one_question():
    questions = Questions()
    exchange = Exchange(questions, "pr/1", {"main": [MAIN_KEY[1]]})

    looked = exchange.look(["0" * 64], ["pr/1", "main"])

    exchange.close()
    assert looked == ([], [])
    assert [path.split("/")[1] for path in questions.asked] == ["main"], "it has no key of pr/1"


@pytest.fixture(params=["a folder", "memory"])
def own(request, tmp_path):
    """A store that no server has."""
    folder = tmp_path / "a folder"
    folder.mkdir()
    return Transport(folder.as_uri() if request.param == "a folder" else "memory:///")


class TestAStoreWithoutAServer:
    @pytest.mark.parametrize("seed", range(3))
    def test_it_answers_as_a_dictionary_would(self, tmp_path, seed):
        said, expected = answers(Transport("memory:///"), seed)

        assert said == expected

    def test_an_object_is_read_up_to_its_limit(self, own):
        own.write("a/b", b"12345")

        found = own.read("a/b", 5)
        assert found.content == b"12345"
        assert isinstance(found.content, bytes)
        assert found.modified.tzinfo is not None
        assert b"".join(own.stream("a/b", 5)) == b"12345"
        assert own.size("a/b") == 5
        assert own.sizes("a") == {"a/b": 5}
        for ask in (own.read, own.stream):
            with pytest.raises(TooLarge):
                ask("a/b", 4)

    def test_what_is_not_there_is_none(self, own):
        assert own.read("a", LIMIT) is own.stream("a", LIMIT) is own.size("a") is None
        own.delete("a")
        assert own.list("") == []
        assert own.sizes("") == {}

    def test_it_is_created_once_and_written_each_time(self, own, tmp_path):
        (tmp_path / "file").write_bytes(b"of a file")

        assert own.create("b", b"1")
        assert not own.create("b", b"2")
        assert own.create("a", tmp_path / "file")
        own.write("c/d", b"3")
        own.write("c/d", b"4")

        assert {path: own.read(path, LIMIT).content for path in own.list("")} == {
            "a": b"of a file",
            "b": b"1",
            "c/d": b"4",
        }
        assert own.list("c") == ["c/d"]
        own.delete("c/d")
        assert own.list("") == ["a", "b"]

    def test_it_is_replaced_by_whoever_read_it(self, own):
        own.write("a", b"1")

        assert own.replace("a", b"2", own.read("a", LIMIT).version)
        assert own.read("a", LIMIT).content == b"2"

    def test_a_folder_has_its_objects_as_files(self, tmp_path):
        folder = tmp_path / "a é folder"
        folder.mkdir()
        Transport(folder.as_uri()).write("v1/x", b"1")

        assert (folder / "v1" / "x").read_bytes() == b"1"

    @pytest.mark.parametrize("name", ["missing", "file", "file/deep", "missing é/deep"])
    def test_a_folder_that_is_not_there_is_an_error_and_is_not_made(self, tmp_path, name):
        (tmp_path / "file").touch()

        with pytest.raises(StoreError) as caught:
            Transport((tmp_path / name).as_uri())

        assert caught.value.message == f"its folder {tmp_path / name} does not exist"
        assert caught.value.hint == "make it, or mount what it is on"
        assert [path.name for path in tmp_path.iterdir()] == ["file"]


class TestHowItIsAsked:
    """What a store's library is told of a server; what it makes of it is in the servers' tests."""

    @pytest.fixture
    def told(self, monkeypatch):
        """Opens a store with these variables, and gives what its library was told."""
        monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "shop")

        def open_one(url, **variables):
            for name, value in variables.items():
                monkeypatch.setenv(name, value)
            return Transport(url)._store

        return open_one

    @pytest.mark.parametrize("url", ["s3://b/x", "s3a://b/x", "gs://b/x", "az://b/x"])
    def test_one_that_does_not_answer_is_given_up(self, told, url, tmp_path):
        key = {"client_email": "a@b", "private_key": "x", "private_key_id": "x"}
        (tmp_path / "key.json").write_text(json.dumps({**key, "disable_oauth": True}))

        store = told(url, GOOGLE_SERVICE_ACCOUNT=str(tmp_path / "key.json"))

        assert store.client_options == {"connect_timeout": "5s", "timeout": "5m"}
        retries = store.retry_config
        assert (retries["max_retries"], retries["retry_timeout"]) == (1, timedelta(seconds=5))

    @pytest.mark.parametrize("scheme", ["s3", "s3a"])
    @pytest.mark.parametrize(
        ("variables", "region"),
        [
            ({}, "us-east-1"),
            ({"AWS_DEFAULT_REGION": "eu-west-3"}, "eu-west-3"),
            # The library reads this one itself.
            ({"AWS_REGION": "eu-west-1"}, None),
            ({"AWS_REGION": "eu-west-1", "AWS_DEFAULT_REGION": "eu-west-3"}, None),
        ],
    )
    def test_a_bucket_has_the_region_of_its_variables(self, told, scheme, variables, region):
        assert told(f"{scheme}://b/x", **variables).config.get("region") == region

    def test_a_region_is_for_s3_alone(self, told):
        assert "region" not in told("az://b/x", AWS_DEFAULT_REGION="eu-west-3").config

    @pytest.mark.parametrize(
        ("variables", "is_plain"), [({}, False), ({"AWS_ALLOW_HTTP": "true"}, True)]
    )
    def test_plain_http_is_for_who_wants_it(self, told, variables, is_plain):
        options = told("s3://b/x", **variables).client_options

        assert options.get("allow_http", "false").lower() == str(is_plain).lower()
