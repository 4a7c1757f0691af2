"""Bad input of any kind is one error with a hint: nothing is written, nothing hangs."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys

import pytest

from alembic_snapshot.cli.commands import main

from .bad_inputs import CASES, sound, write

_SECONDS = 20
_OURS = ("ALEMBIC_SNAPSHOT", "SNAPSHOT_", "PYTHONPATH", "DATABASE_URL", "NO_COLOR")


class Hangs(BaseException):
    """The command did not end."""


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A sound project, in which this process is."""
    for name in list(os.environ):
        if name.startswith(_OURS):
            monkeypatch.delenv(name)
    folder = tmp_path / "project"
    folder.mkdir()
    sound(folder)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def _no_hang():
    """An alarm rings where a command waits for something that does not come."""

    def ring(*_):
        raise Hangs

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(_SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def there(folder):
    """What there is, with its size and the time of its last change."""
    found = (path for path in folder.rglob("*") if "__pycache__" not in path.parts)
    return {path: path.lstat().st_mtime_ns for path in found if not path.is_dir()}


@pytest.mark.usefixtures("_no_hang")
@pytest.mark.parametrize("case", CASES, ids=lambda case: ascii(case.name)[1:-1][:80])
def test_is_one_error_with_a_hint(case, root, monkeypatch, capsys):
    case.spoil(root)
    for name, value in case.variables:
        monkeypatch.setenv(name, value)
    before = there(root)

    with pytest.raises(SystemExit) as ended:
        main(case.command)

    told = capsys.readouterr()
    assert ended.value.code == 2, told.out
    assert re.fullmatch(r"error: [^\n]+\nhint: [^\n]+\n", told.err), told.err
    assert told.out == ""
    assert told.err.isprintable() or not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", told.err)
    assert there(root) == before


def test_a_sound_project_is_none(root, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["key"])

    assert ended.value.code == 0
    assert capsys.readouterr().err == ""


class TestAProcess:
    """What only a process of its own can be given."""

    def run(self, root, *arguments, **options):
        command = [sys.executable, "-m", "alembic_snapshot", *arguments]
        options = {"stdout": subprocess.PIPE, "cwd": root, **options}
        done = subprocess.run(
            command, stderr=subprocess.PIPE, text=True, timeout=60, check=False, **options
        )
        assert re.fullmatch(r"error: [^\n]+\nhint: [^\n]+\n", done.stderr), done.stderr
        assert done.returncode == 2
        return done.stderr

    @pytest.mark.parametrize("arguments", [("key",), ("status",), ("list",), ("--help",)])
    def test_with_a_full_standard_output_says_so(self, root, arguments):
        with open("/dev/full", "w") as full:
            error = self.run(root, *arguments, stdout=full)

        assert "can't write to standard output: No space left on device" in error

    @pytest.mark.parametrize("arguments", [("key",), ("list",), ("--help",), ("--version",)])
    def test_whose_reader_is_gone_says_so(self, root, arguments):
        reader, writer = os.pipe()
        os.close(reader)

        error = self.run(root, *arguments, stdout=writer)

        os.close(writer)
        assert "can't write to standard output: Broken pipe" in error

    @pytest.mark.usefixtures("real_starts")
    def test_with_a_closed_standard_output_says_so(self, root):
        error = self.run(root, "key", stdout=None, preexec_fn=lambda: os.close(1))

        assert "standard output is closed" in error

    @pytest.mark.usefixtures("real_starts")
    @pytest.mark.parametrize("command", [("key",), ("build",), ("init", "--print")])
    def test_in_a_folder_that_is_gone_says_so(self, root, command):
        (root / "gone").mkdir()

        error = self.run(root, *command, preexec_fn=leaves(root / "gone"), cwd=None)

        assert "the working directory is gone" in error

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
    @pytest.mark.parametrize("name", ["pyproject.toml", "alembic.ini", "migrations"])
    def test_that_may_not_read_a_file_says_so(self, root, name):
        (root / name).chmod(0)

        error = self.run(root, "key")

        (root / name).chmod(0o755)
        assert name in error


def leaves(folder):
    """Go to a folder and delete it, as a child process does before it starts."""

    def act():
        os.chdir(folder)
        os.rmdir(folder)

    return act


def full():
    return os.open("/dev/full", os.O_WRONLY)


def gone():
    reader, writer = os.pipe()
    os.close(reader)
    return writer


@pytest.mark.usefixtures("real_starts")
@pytest.mark.parametrize("stream", [full, gone, None], ids=["full", "gone", "closed"])
class TestAStandardErrorThatTakesNothing:
    """Notes are lost with it, and nothing else: neither a result nor what the status says."""

    def run(self, root, stream, *arguments):
        descriptor = stream() if stream else None
        done = subprocess.run(
            [sys.executable, "-m", "alembic_snapshot", *arguments],
            cwd=root,
            stdout=subprocess.PIPE,
            stderr=descriptor,
            preexec_fn=None if stream else lambda: os.close(2),
            text=True,
            timeout=60,
            check=False,
        )
        if descriptor is not None:
            os.close(descriptor)
        return done.returncode, done.stdout

    def test_is_nothing_to_a_build(self, root, stream):
        (status, path), (again, same) = (
            self.run(root, stream, "build", *options) for options in ([], ["--from-scratch"])
        )

        assert (status, again, path) == (0, 0, same)
        [made] = root.glob(".alembic-snapshot/snapshots/*/snapshot.db")
        assert path == f"{made}\n"

    def test_leaves_an_error_its_status(self, root, stream):
        write(root, "pyproject.toml", "[tool.alembic-snapshot]\ndrif = 1\n")

        for command in ("build", "status", "no-such-command"):
            assert self.run(root, stream, command) == (2, "")
