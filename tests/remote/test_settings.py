"""What a project and its environment say of the shared store: used, believed, or an error."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import pytest

from alembic_snapshot import ConfigError
from alembic_snapshot.project.remote import fingerprint
from alembic_snapshot.remote.settings import (
    RemoteSettings,
    believes,
    is_on_loopback,
    may_be_plain,
    mistrust,
    settings_of,
)
from alembic_snapshot.remote.signature import UNSIGNED

from .conftest import KEYS, MAIN_KEY, PR_KEY, STRANGER

REMOTE, WRITE, SCOPE, KEY = (
    f"ALEMBIC_SNAPSHOT_REMOTE{end}" for end in ("", "_WRITE", "_SCOPE", "_SIGNING_KEY")
)
MAIN, PR, OTHER = (fingerprint(pair[1]) for pair in (MAIN_KEY, PR_KEY, STRANGER))
URL = "s3://bucket/prefix"
SECRET_HINT = "is it a secret that did not arrive?"


@pytest.fixture
def of(project, monkeypatch):
    """The project with such values in its table, and its settings under such variables."""
    plain = project.load()

    def settings(variables=(), write=None, **values):
        for name, value in dict(variables).items():
            monkeypatch.setenv(name, value)
        return settings_of(dataclasses.replace(plain, **values), write=write)

    return settings


def error_of(*arguments, **values):
    with pytest.raises(ConfigError) as caught:
        arguments[0](*arguments[1:], **values)
    return caught.value


class TestARun:
    def test_has_what_the_table_says(self, of):
        assert of(remote=URL, remote_keys=KEYS, remote_private=("demo",)) == RemoteSettings(
            url=URL, scope="main", write=False, keys=KEYS, signing_key=None, private=("demo",)
        )

    def test_has_what_its_variables_say(self, of):
        variables = {REMOTE: "gs://other", WRITE: "1", SCOPE: "pr/7", KEY: f" {PR_KEY[0]}\n"}

        assert of(variables, remote=URL, remote_keys=KEYS) == RemoteSettings(
            url="gs://other", scope="pr/7", write=True, keys=KEYS, signing_key=PR_KEY[0]
        )

    @pytest.mark.parametrize("variables", [{}, {WRITE: "0"}])
    def test_has_none_where_none_is_named(self, of, variables):
        assert of(variables) is None

    def test_has_none_that_is_to_do_without(self, of):
        assert of({REMOTE: "", WRITE: "?", SCOPE: ""}, remote=URL, no_remote=True) is None

    def test_reads_its_own_scope_before_mains(self):
        assert RemoteSettings(URL, scope="pr/7").scopes == ("pr/7", "main")
        assert RemoteSettings(URL).scopes == ("main",)

    def test_shows_neither_a_user_nor_a_query(self):
        settings = RemoteSettings("https://me:secret@host/x?token=secret", signing_key=MAIN_KEY[0])

        assert settings.name == "https://host/x"
        assert MAIN_KEY[0] not in repr(settings)

    def test_tells_its_process_all_that_it_needs(self):
        settings = RemoteSettings(
            URL, scope="pr/7", write=True, keys=KEYS, signing_key="k", private=("demo",)
        )

        assert settings.to_job() == {
            "url": URL,
            "scope": "pr/7",
            "keys": {"main": [MAIN_KEY[1]], "pr/*": [PR_KEY[1]]},
            "signing_key": "k",
        }


class TestWhoWrites:
    @pytest.mark.parametrize("value", ["1", "true", "YES", " on "])
    def test_says_so_in_the_variable(self, of, value):
        settings = of({WRITE: value, KEY: MAIN_KEY[0]}, remote=URL, remote_keys=KEYS)

        assert (settings.write, settings.signing_key) == (True, MAIN_KEY[0])

    @pytest.mark.parametrize("value", ["", "0", "false", "No", " off "])
    def test_does_not_with_these_values(self, of, value):
        settings = of({WRITE: value, KEY: MAIN_KEY[0]}, remote=URL, remote_keys=KEYS)

        assert (settings.write, settings.signing_key) == (False, None)

    def test_has_another_value_told(self, of):
        error = error_of(of, {WRITE: "Maybe"}, remote=URL, remote_keys=KEYS)

        assert error.message == f"{WRITE} is 'maybe'"
        assert error.hint == "set it to 1, or leave it unset"

    @pytest.mark.parametrize("write", [True, False])
    def test_may_be_said_by_the_command_whatever_the_variable_has(self, of, write):
        variables = {WRITE: "?", KEY: MAIN_KEY[0]}

        settings = of(variables, write=write, remote=URL, remote_keys=KEYS)

        assert settings.write is write

    def test_needs_no_key_where_nothing_is_signed(self, of):
        settings = of({WRITE: "1"}, remote="./folder")

        assert (settings.write, settings.keys, settings.signing_key) == (True, {}, None)

    @pytest.mark.parametrize(
        ("key", "said"),
        [
            (None, "is not set, and records have to be signed"),
            ("", "is empty, and records have to be signed"),
            (" ", "is empty, and records have to be signed"),
            ("x", "is no signing key: it does not begin with ed25519-signing:"),
            ("ed25519-signing:?", "is no signing key: what comes after ed25519-signing: is not "
             "base64"),
            ("ed25519-signing:AAAA", "is no signing key: it has 3 bytes instead of 32"),
        ],
    )  # fmt: skip
    def test_needs_a_key_that_is_one(self, of, key, said):
        variables = {WRITE: "1", SCOPE: "pr/7"} | ({} if key is None else {KEY: key})

        error = error_of(of, variables, remote=URL, remote_keys=KEYS)

        assert error.message == f"{KEY} {said}"
        assert error.hint == (
            "`alembic-snapshot remote-key --scope pr/7` makes a pair; is it a secret that did not "
            f"arrive? Without {WRITE} the store is only read"
        )

    def test_needs_a_store(self, of):
        error = error_of(of, {WRITE: "1"})

        assert error.message == f"{WRITE} is set, and there is no shared store to write to"
        assert error.hint == (f"set remote in [tool.alembic-snapshot] or {REMOTE}; {SECRET_HINT}")


class TestAnError:
    @pytest.mark.parametrize("value", ["", " \n"])
    def test_is_an_empty_address(self, of, value):
        error = error_of(of, {REMOTE: value}, remote=URL, remote_keys=KEYS)

        assert error.message == f"{REMOTE} is empty"
        assert error.hint == (
            "leave it unset, or build with --no-remote; is it a secret that did not arrive?"
        )

    @pytest.mark.parametrize("url", [URL, "gs://b", "https://host/x", "az://c/x"])
    def test_is_a_store_that_others_reach_without_keys(self, of, url):
        error = error_of(of, remote=f"{url}?token=secret")

        assert error.message == (
            f"others can reach {url}, and there are no remote_keys: whoever writes to it would "
            "decide what your tests run on"
        )
        assert error.hint == (
            "`alembic-snapshot remote-key --scope main` makes a pair of keys, and prints where "
            "each of them goes; --no-remote builds without the shared store"
        )

    @pytest.mark.parametrize(
        ("url", "seen"),
        [
            ("memory:///", "memory:///"),
            ("file:///there", "file:///there"),
            ("http://127.0.0.1:1/x", "http://127.0.0.1:1/x"),
            ("https://localhost/x", "https://localhost/x"),
        ],
    )
    def test_is_none_that_only_this_machine_reaches(self, of, url, seen):
        assert of(remote=url).url == seen

    def test_is_a_scope_that_is_none(self, of):
        error = error_of(of, {SCOPE: "../x"}, remote=URL, remote_keys=KEYS)

        assert error.message == f"{SCOPE} '../x' is no scope"

    def test_is_plain_http_to_another_machine(self, of):
        error = error_of(of, remote="http://me:pass@host/x", remote_keys=KEYS)

        assert error.message == (
            "remote http://host/x is on another machine, and plain http:// works on this machine "
            "only"
        )
        assert error.hint == "write https://HOST/PREFIX"

    def test_is_a_file(self, of, project):
        (project.root / "file").touch()

        error = error_of(of, remote="./file")

        assert error.message == "remote ./file is no folder"
        assert error.hint == "write the path of a folder, or a URL"

    def test_is_a_mere_word(self, of, project):
        error = error_of(of, remote="word")

        assert error.message == f"remote word is neither a URL nor a folder in {project.root}"
        assert error.hint == ("make the folder, or write a URL as s3://BUCKET/PREFIX")


@pytest.mark.parametrize("path", [".", "..", "./new", "../new", "there", "~/new", "~"])
def test_a_folder_is_one_from_the_projects_root_on(of, project, path, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (project.root / "there").mkdir()
    meant = tmp_path / path[2:] if path.startswith("~") else project.root / path

    assert of(remote=path).url == meant.absolute().as_uri()


class TestWhatIsBelieved:
    @pytest.mark.parametrize(
        ("scope", "signer", "keys", "is_believed"),
        [
            ("main", MAIN, KEYS, True),
            ("pr/7", PR, KEYS, True),
            ("main", PR, KEYS, False),
            ("pr/7", MAIN, KEYS, False),
            ("main", UNSIGNED, KEYS, False),
            ("pr/8", PR, KEYS, False),
            ("main", UNSIGNED, {}, True),
            ("pr/7", UNSIGNED, {}, True),
            ("pr/8", UNSIGNED, {}, False),
            ("main", MAIN, {}, False),
        ],
    )
    def test_is_of_a_scope_that_is_read_by_who_may_sign_there(
        self, scope, signer, keys, is_believed
    ):
        settings = RemoteSettings(URL, scope="pr/7", keys=keys)

        assert settings.believes(scope, signer) is is_believed
        assert believes(scope, signer, keys, ("pr/7", "main")) is is_believed

    @pytest.fixture
    def why(self, project, monkeypatch):
        plain = project.load()

        def why(origins, scope="main", **values):
            monkeypatch.setenv(SCOPE, scope)
            made = SimpleNamespace(
                origins=[{"scope": where, "signer": signer} for where, signer in origins]
            )
            return mistrust(dataclasses.replace(plain, **values), made)

        return why

    def test_is_what_was_built_here(self, why):
        assert why([]) is None
        assert why([], no_remote=True) is None

    def test_is_what_came_from_there_while_that_is_so(self, why):
        both = [("main", MAIN), ("pr/7", PR)]

        assert why(both, "pr/7", remote=URL, remote_keys=KEYS) is None
        assert why(both, "pr/7", remote_keys=KEYS) is None
        assert why([("main", UNSIGNED)], remote="./folder") is None

    @pytest.mark.parametrize(
        ("origin", "values", "said"),
        [
            (("main", MAIN), {"no_remote": True, "remote": URL, "remote_keys": KEYS},
             "it came from the shared store, which --no-remote does without"),
            (("main", UNSIGNED), {},
             "it came from a shared store, and none is configured any more"),
            (("pr/7", PR), {"remote_keys": KEYS},
             "it came from the scope pr/7 of the shared store, not from main"),
            (("main", OTHER), {"remote_keys": KEYS},
             f"it came from the shared store signed by {OTHER}, which remote_keys has not for "
             "main"),
            (("main", UNSIGNED), {"remote_keys": KEYS},
             "it came from the shared store unsigned, which remote_keys has not for main"),
        ],
    )  # fmt: skip
    def test_is_nothing_else_and_why_is_said(self, why, origin, values, said):
        assert why([origin], **values) == said
        if "no_remote" not in values and "remote_keys" in values:
            assert why([("main", MAIN), origin], **values) == said

    def test_says_which_scope_it_is_that_counts(self, why):
        said = why([("pr/8", PR)], "pr/7", remote_keys=KEYS)

        assert said == "it came from the scope pr/8 of the shared store, not from pr/7"

    def test_asks_no_address_for_what_is_signed(self, why):
        assert why([("main", MAIN)], remote="no folder", remote_keys=KEYS) is None


LOCAL, THERE = "http://127.0.0.1:1", "https://example.org"


class TestAServer:
    @pytest.mark.parametrize(
        ("url", "variables", "is_here"),
        [
            ("http://localhost/x", {}, True),
            ("https://127.3.2.1/x", {}, True),
            ("http://[::1]:9/x", {}, True),
            ("https://example.org/x", {}, False),
            ("http://10.0.0.1/x", {}, False),
            ("http:///x", {}, False),
            ("s3://b", {}, False),
            ("s3://b", {"AWS_ENDPOINT_URL": LOCAL}, True),
            ("s3a://b", {"AWS_ENDPOINT_URL_S3": LOCAL}, True),
            ("s3://b", {"AWS_ENDPOINT": LOCAL}, True),
            ("s3://b", {"AWS_ENDPOINT": LOCAL, "AWS_ENDPOINT_URL": THERE}, False),
            ("s3://b", {"AWS_ENDPOINT": THERE, "AWS_ENDPOINT_URL_S3": LOCAL}, False),
            ("s3://b", {"AWS_ENDPOINT_URL": ""}, False),
            ("s3://b", {"AZURE_ENDPOINT": LOCAL}, False),
            ("s3://b", {"AZURE_STORAGE_USE_EMULATOR": "1"}, False),
            ("gs://b", {"AWS_ENDPOINT_URL": LOCAL}, False),
            ("az://c", {"AWS_ENDPOINT_URL": LOCAL}, False),
            ("az://c", {"AZURE_STORAGE_USE_EMULATOR": "off", "AZURE_ENDPOINT": LOCAL}, True),
            *(
                (f"{scheme}://c", {"AZURE_STORAGE_ENDPOINT": LOCAL}, True)
                for scheme in ("az", "azure", "adl", "abfs", "abfss")
            ),
            *(
                ("az://c", {"AZURE_STORAGE_USE_EMULATOR": flag}, True)
                for flag in ("1", "true", "yes", "ON", "y")
            ),
            *(
                ("az://c", {"AZURE_STORAGE_USE_EMULATOR": flag, "AZURE_ENDPOINT": LOCAL}, True)
                for flag in ("0", "FALSE", "no", "off", "n")
            ),
            ("az://c", {"AZURE_STORAGE_USE_EMULATOR": "2", "AZURE_ENDPOINT": LOCAL}, False),
            ("az://c", {"AZURE_STORAGE_USE_EMULATOR": "no"}, False),
        ],
    )
    def test_is_on_this_machine_or_not(self, monkeypatch, url, variables, is_here):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

        assert is_on_loopback(url) is is_here
        assert may_be_plain(url) is is_here

    @pytest.mark.parametrize(
        ("url", "variable"),
        [
            ("s3://b", "AWS_ALLOW_HTTP"),
            ("s3a://b", "AWS_ALLOW_HTTP"),
            ("az://b", "AZURE_ALLOW_HTTP"),
            ("abfss://b@c", "AZURE_ALLOW_HTTP"),
        ],
    )
    def test_elsewhere_is_asked_without_tls_if_its_variable_says_so(
        self, monkeypatch, url, variable
    ):
        for value in ("1", "true", "Yes", "on", "y"):
            monkeypatch.setenv(variable, value)
            assert may_be_plain(url)
            assert not may_be_plain("gs://b")
            assert not may_be_plain("https://example.org/x")
            assert not may_be_plain("s3://b" if url.startswith("a") else "az://b")
        for value in ("", "0", "no", "plain"):
            monkeypatch.setenv(variable, value)
            assert not may_be_plain(url)
