"""Copies of the work tree in which mistakes are made and tests are run; the tree is left alone."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

QUIET = ("-q", "--tb=short", "-rfE", "-p", "no:randomly", "-p", "no:cacheprovider")


class Outcome:
    """What pytest's exit status and output say; the status is None when time was over."""

    def __init__(self, status: int | None, output: str):
        self.status = status
        self.output = output

    @property
    def passed(self) -> bool:
        return self.status == 0

    @property
    def failed(self) -> str | None:
        """The first test that failed."""
        # Before it stands what inner runs have printed, with summaries of their own.
        summary = self.output.rpartition("short test summary info")[2]
        found = re.search(r"^(?:FAILED|ERROR) (.*?)(?: - .*)?$", summary, re.MULTILINE)
        return found[1] if found else None


class Copy:
    """What git knows of the tree, with an environment of its own that imports this copy."""

    def __init__(self, root: Path, folder: Path):
        self.root = folder / "tree"
        self._scratch = folder / "tests"
        self._changes = 0
        subprocess.run(["git", "clone", "--quiet", root, self.root], check=True)
        _lay(root, self.root)
        _environment(root, self.root)
        if (root / ".alembic-snapshot").is_dir():
            shutil.copytree(root / ".alembic-snapshot", self.root / ".alembic-snapshot")

    @contextmanager
    def changed(self, path: str, code: str) -> Iterator[None]:
        """With other code in a module, which no compiled copy of it is taken for."""
        module = self.root / path
        before = module.read_bytes()
        self._write(module, code.encode())
        try:
            yield
        finally:
            self._write(module, before)

    def _write(self, module: Path, code: bytes) -> None:
        self._changes += 1
        seen = module.stat().st_mtime
        module.write_bytes(code)
        # Python compares whole seconds, and the size.
        os.utime(module, (seen + 1, seen + 1))

    def test(self, names: Sequence[str], limit: float, *options: str) -> Outcome:
        """Run tests until one fails, or the time is over."""
        python = self.root / ".venv/bin/python"
        command = [python, self.root / ".venv/bin/pytest", *QUIET, f"--basetemp={self._scratch}"]
        process = subprocess.Popen(
            [*map(str, command), *options, *names],
            cwd=self.root,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            text=True,
            errors="replace",
        )
        try:
            output, _ = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            return Outcome(None, "")
        return Outcome(process.returncode, output)


def _lay(root: Path, copy: Path) -> None:
    """The tree as it is, uncommitted changes and new files included."""
    known = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(known, cwd=root, check=True, capture_output=True, text=True).stdout
    for name in filter(None, listed.split("\0")):
        if (root / name).exists():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root / name, copy / name, follow_symlinks=False)
        else:
            (copy / name).unlink(missing_ok=True)


def _environment(root: Path, copy: Path) -> None:
    """The running environment, linked file by file; what names the tree names the copy."""
    there, here = Path(sys.prefix), copy / ".venv"
    shutil.copytree(there, here, symlinks=True, copy_function=_link)
    scripts = [
        path for path in (here / "bin").iterdir() if path.is_file() and not path.is_symlink()
    ]
    for path in [*scripts, *here.glob("lib/*/site-packages/*.pth")]:
        text = path.read_bytes()
        changed = text.replace(bytes(there), bytes(here)).replace(bytes(root / "src"), b"%s/src")
        if changed != text:
            mode = path.stat().st_mode
            # Never through a link: the other end is the tree's own.
            path.unlink()
            path.write_bytes(changed.replace(b"%s/src", bytes(copy / "src")))
            path.chmod(mode)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
