"""The address of a shared store: what is no address is an error, and makes no folder."""

from __future__ import annotations

import pytest

from alembic_snapshot import ConfigError
from alembic_snapshot.remote.settings import settings_of


@pytest.fixture
def of(project, monkeypatch):
    """What a project makes of an address, which a variable has."""

    def settings(address):
        monkeypatch.setenv("ALEMBIC_SNAPSHOT_REMOTE", address)
        return settings_of(project.load())

    return settings


class TestAnAddress:
    @pytest.mark.parametrize(
        ("address", "message", "hint"),
        [
            ("nonsense", "neither a URL nor a folder in ", "make the folder, or"),
            ("a/b", "neither a URL nor a folder in ", "make the folder, or"),
            ("s3:/b/x", "neither a URL nor a folder's path", "did you mean s3://b/x?"),
            ("s3:b/x", "neither a URL nor a folder's path", "did you mean s3://b/x?"),
            ("GS:///b", "names no bucket", "gs://"),
            ("ftp:/b", "neither a URL nor a folder's path", "https://HOST/PREFIX"),
            ("ftp://b", "for which there is no store", "https://HOST/PREFIX"),
            ("http://h/x", "plain http:// works on this machine only", "write https://"),
            ("http://10.0.0.1/x", "plain http:// works on this machine only", "write https://"),
            ("alembic.ini", "is no folder", "path of a folder"),
        ],
    )
    def test_that_is_none_is_an_error(self, of, project, address, message, hint):
        before = sorted(project.root.rglob("*"))

        with pytest.raises(ConfigError, match=message) as failed:
            of(address)

        assert hint in failed.value.hint
        assert sorted(project.root.rglob("*")) == before

    @pytest.mark.parametrize("address", ["./new", "../new", "/tmp/new", "there", "~/new", "."])
    def test_of_a_folder_is_one_that_is_meant_or_is_there(self, of, project, address):
        (project.root / "there").mkdir()

        assert of(address).url.startswith("file:///")

    @pytest.mark.parametrize("address", ["http://127.0.0.1:1/x", "http://localhost/x"])
    def test_of_this_machine_may_be_plain_http(self, of, address):
        assert of(address).url == address

    def test_that_is_a_word_is_one_line_of_a_command(self, project):
        project.history(1)

        ran = project.command("status", variables={"ALEMBIC_SNAPSHOT_REMOTE": "nonsense"})

        assert (ran.returncode, ran.stdout) == (2, "")
        assert ran.stderr.startswith("error: remote nonsense is neither")
        assert not (project.root / "nonsense").exists()
