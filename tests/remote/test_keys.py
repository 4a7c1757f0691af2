"""Addresses, scopes and public keys in a table: what is one, and what an error says."""

from __future__ import annotations

import base64
import subprocess
import textwrap
from pathlib import Path

import pytest

from alembic_snapshot import ConfigError
from alembic_snapshot.project.remote import (
    PUBLIC,
    SECRET,
    check_keys,
    check_scope,
    check_url,
    fingerprint,
    keys_for,
    raw_of,
    without_secrets,
)

from .conftest import MAIN_KEY, PR_KEY, STRANGER

KINDS = (
    "write s3://BUCKET/PREFIX, gs://BUCKET/PREFIX, az://CONTAINER/PREFIX, "
    "https://HOST/PREFIX (http:// on this machine only), file:///FOLDER or the path of a folder"
)
SCHEMES = [
    "s3", "s3a", "gs", "az", "azure", "adl", "abfs", "abfss", "http", "https",
]  # fmt: skip


class TestAnAddress:
    @pytest.mark.parametrize("scheme", SCHEMES)
    def test_of_each_provider_is_one(self, scheme):
        check_url(f"{scheme}://bucket/prefix", "remote")
        with pytest.raises(ConfigError) as caught:
            check_url(f"{scheme}:///prefix", "remote")

        assert caught.value.message == f"remote {scheme}:///prefix names no bucket"
        assert caught.value.hint == f"write {scheme}://BUCKET/PREFIX"

    @pytest.mark.parametrize(
        "url", ["file:///a/b", "memory:///", "memory://x", "a", "./a:b", "/a/b", "1:2"]
    )
    def test_of_a_folder_or_of_memory_is_one(self, url):
        check_url(url, "remote")

    @pytest.mark.parametrize(
        ("url", "message", "hint"),
        [
            ("s3:/b/x", "s3:/b/x is neither a URL nor a folder's path",
             "did you mean s3://b/x?"),
            ("S3A:b", "S3A:b is neither a URL nor a folder's path", "did you mean s3a://b?"),
            ("ftp:/b", "ftp:/b is neither a URL nor a folder's path", KINDS),
            ("ftp://b", "ftp://b begins with ftp://, for which there is no store", KINDS),
            ("file://host/a", "file://host/a names a host",
             "a folder's URL has three slashes: file:///host/a"),
            ("ftp://me:pass@b/x?y=z", "ftp://b/x begins with ftp://, for which there is no store",
             KINDS),
        ],
    )  # fmt: skip
    def test_that_is_none_is_told_with_what_is_meant(self, url, message, hint):
        with pytest.raises(ConfigError) as caught:
            check_url(url, "remote")

        assert (caught.value.message, caught.value.hint) == (f"remote {message}", hint)

    @pytest.mark.parametrize(
        ("url", "shown"),
        [
            ("s3://b/x", "s3://b/x"),
            ("https://me@h/x", "https://h/x"),
            ("https://me:p@ss@h/x", "https://h/x"),
            ("https://h/x?sig=1?2", "https://h/x"),
            ("https://h/x@y", "https://h/x@y"),
        ],
    )
    def test_is_shown_without_what_is_secret(self, url, shown):
        assert without_secrets(url) == shown


SCOPES = ["main", "pr/123", "a", "a.b@c+d-e_f", "1/2/3", "x" * 200, "pr/main"]
NO_SCOPES = [
    " ", "/a", "a/", "a//b", "..", "a/..", "a..b", "main/x", "-a", "a/-b", ".a", "a/.b", "a b",
    "ü", "a\n", "x" * 201,
]  # fmt: skip


class TestAScope:
    @pytest.mark.parametrize("scope", SCOPES)
    def test_is_one(self, scope):
        assert check_scope(scope, "a scope") == scope

    @pytest.mark.parametrize("scope", NO_SCOPES)
    def test_that_is_none_is_told(self, scope):
        with pytest.raises(ConfigError) as caught:
            check_scope(scope, "a scope")

        shown = repr(scope)
        assert caught.value.message == f"a scope {shown} is no scope"
        names = "write names of letters, digits and ._@+- with slashes between them: main, pr/123"
        assert caught.value.hint.partition(";")[0] == names

    @pytest.mark.parametrize("scope", ["pr/", "/7", "pr//7", "/", "pr/ ", "pr/7/"])
    def test_with_a_part_that_is_empty_asks_for_the_variable(self, scope):
        with pytest.raises(ConfigError) as caught:
            check_scope(scope, "a scope")

        assert caught.value.hint.endswith("; is a variable empty that it is made of?")

    @pytest.mark.parametrize(
        ("pipeline", "scope"),
        [
            ({"CI_COMMIT_BRANCH": "main", "CI_COMMIT_REF_SLUG": "main"}, "main"),
            ({"CI_COMMIT_BRANCH": "a/B", "CI_COMMIT_REF_SLUG": "a-b"}, "pr/a-b"),
            ({"CI_MERGE_REQUEST_IID": "7", "CI_COMMIT_REF_SLUG": "a-b"}, "pr/a-b"),
            ({"CI_COMMIT_TAG": "v1.2", "CI_COMMIT_REF_SLUG": "v1-2"}, "pr/v1-2"),
        ],
    )
    def test_is_one_in_every_pipeline_of_the_page(self, pipeline, scope):
        page = (Path(__file__).parents[2] / "docs/remote.md").read_text(encoding="utf-8")
        lines = page.partition("# GitLab")[2].partition("    - |\n")[2].partition("  script:")[0]
        script = f'{textwrap.dedent(lines)}\nprintf %s "$ALEMBIC_SNAPSHOT_REMOTE_SCOPE"'

        done = subprocess.run(
            ["/bin/sh", "-eu", "-c", script],
            env={
                "CI_DEFAULT_BRANCH": "main",
                "CI_COMMIT_BRANCH": "",
                "MAIN_SIGNING_KEY": "m",
                "PR_SIGNING_KEY": "p",
                **pipeline,
            },
            capture_output=True,
            text=True,
            check=True,
        )

        assert check_scope(done.stdout, "the page's") == scope

    def test_that_is_empty_is_told(self):
        with pytest.raises(ConfigError) as caught:
            check_scope("", "SCOPE")

        assert caught.value.message == "SCOPE is empty"
        assert caught.value.hint == "set it, as main or pr/123, or leave it unset"


def short(kind, size):
    return kind + base64.b64encode(b"k" * size).decode()


class TestAKey:
    @pytest.mark.parametrize("kind", [PUBLIC, SECRET])
    def test_is_its_32_bytes(self, kind):
        assert raw_of(short(kind, 32), kind) == b"k" * 32

    @pytest.mark.parametrize(
        ("key", "why"),
        [
            ("x", "it does not begin with ed25519:"),
            (MAIN_KEY[0], "it does not begin with ed25519:"),
            ("ed25519:ä", "what comes after ed25519: is not base64"),
            ("ed25519:A", "what comes after ed25519: is not base64"),
            (f"{MAIN_KEY[1]}\n", "what comes after ed25519: is not base64"),
            ("ed25519:", "it has 0 bytes instead of 32"),
            (short(PUBLIC, 31), "it has 31 bytes instead of 32"),
            (short(PUBLIC, 33), "it has 33 bytes instead of 32"),
        ],
    )
    def test_that_is_none_is_told(self, key, why):
        with pytest.raises(ValueError, match=f"^{why}$"):
            raw_of(key, PUBLIC)
        with pytest.raises(ConfigError) as caught:
            check_keys({"main": (MAIN_KEY[1],), "pr/*": (PR_KEY[1], key)}, "remote_keys")

        if key != MAIN_KEY[0]:
            assert caught.value.message.endswith(f" for pr/*, which is no public key: {why}")
            assert caught.value.hint == "`alembic-snapshot remote-key --scope 'pr/*'` makes a pair"

    def test_that_signs_is_told_without_it(self):
        with pytest.raises(ConfigError) as caught:
            check_keys({"pr/*": MAIN_KEY[0]}, "remote_keys")

        assert str(caught.value) == (
            "remote_keys has a signing key for pr/*, which must stay secret\nhint: put its public "
            "key there; make a new pair with `alembic-snapshot remote-key --scope 'pr/*'`, for "
            "this one was shown"
        )

    def test_of_a_scope_that_is_none_is_told(self):
        with pytest.raises(ConfigError, match=r"^a scope in remote_keys '/x' is no scope"):
            check_keys({"/*": MAIN_KEY[1]}, "remote_keys")

    def test_may_be_one_or_several(self):
        check_keys({"main": MAIN_KEY[1], "pr/*": [PR_KEY[1], STRANGER[1]], "*": ()}, "remote_keys")

    def test_has_a_short_name_that_stays(self):
        assert fingerprint(short(PUBLIC, 32)) == "5e318f8cf9cbe249"

    @pytest.mark.parametrize(
        ("scope", "pairs"),
        [
            ("main", [MAIN_KEY]),
            ("pr/1", [PR_KEY, STRANGER]),
            ("pr/2", [PR_KEY]),
            ("pr/*", [PR_KEY]),
            ("PR/2", []),
            ("other", []),
        ],
    )
    def test_signs_for_its_scopes(self, scope, pairs):
        keys = {
            "main": [MAIN_KEY[1]],
            "pr/*": [PR_KEY[1]],
            "pr/1": [STRANGER[1]],
            "ma*": [STRANGER[1]],
        }

        assert keys_for(scope, keys) == {fingerprint(one[1]): one[1] for one in pairs}
