"""A template of one's own, that ends with its owner."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from . import forked

HERE = Path(__file__).parent
# What a run by hand has not: the tests are without it wherever they run, and so is a template.
NOT_BY_HAND = (
    *("ALEMBIC_SNAPSHOT_DIR", "DATABASE_URL", "PYTHONPATH", "PYTEST_XDIST_TESTRUNUID"),
    *("CI", "BUILD_NUMBER", "FORCE_COLOR", "PY_COLORS"),
)


@contextlib.contextmanager
def template() -> Iterator[str]:
    """The path of a socket where a template listens while this process is here."""
    folder = tempfile.mkdtemp(prefix="as-")
    path = os.path.join(folder, "template")
    reading, writing = os.pipe()
    program = (HERE / "begin.py").read_text(encoding="utf-8")
    dropped = ("PYTHONIOENCODING", *NOT_BY_HAND)
    process = forked.Real(
        [sys.executable, "-P", "-c", program, str(HERE), path, str(reading)],
        pass_fds=[reading],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        env={name: value for name, value in os.environ.items() if name not in dropped},
        cwd=folder,
    )
    os.close(reading)
    try:
        assert process.stdout is not None
        # Its end, if it does not come to listen.
        if process.stdout.readline() != b"listening\n":
            raise RuntimeError(f"the template ended with status {process.wait()}")
        yield path
        # Without it everything would be started, slower and unnoticed.
        if process.poll() is not None:
            raise RuntimeError(f"the template ended before its owner: status {process.returncode}")
    finally:
        os.close(writing)
        process.wait()
        process.stdout.close()
        shutil.rmtree(folder, ignore_errors=True)
