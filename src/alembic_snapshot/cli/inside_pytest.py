"""A project's engines as its tests find them. A run of pytest in its own process reports them.

The application may hang, crash or exit: then the answer says so.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alembic_snapshot.project.config import Project
from alembic_snapshot.project.spelling import beginning, is_librarys
from alembic_snapshot.project.variables import PROBE, PROBE_SECONDS

_GRACE = 5.0
_FRAME = re.compile(r'File "(.+)", line (\d+)')
_MISSING = re.compile(r"No module named '([\w.]+)'")
# Reports of coverage would be written for a run without tests.
_WITHOUT = {"pytest-cov": "--no-cov"}


@dataclass(frozen=True)
class Answer:
    """The report of the process; or None, how the process ended, and a hint.

    ``missing`` are the modules that could not be imported, where that ended it.
    """

    report: dict[str, Any] | None
    seen: str = ""
    hint: str = ""
    missing: tuple[str, ...] = ()


def ask(project: Project, timeout: float) -> Answer:
    """Start pytest in the project's folder, as its program does, and have it look."""
    with tempfile.TemporaryDirectory(prefix="alembic-snapshot-") as folder:
        report, output = Path(folder, "report"), Path(folder, "output")
        variables = {
            **os.environ,
            PROBE: str(report),
            PROBE_SECONDS: str(timeout),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        options = [option for name, option in _WITHOUT.items() if _has(name)]
        command = [sys.executable, "-P", "-m", "pytest", "-p", "no:cacheprovider"]
        command += ["-p", "alembic_snapshot.plugin.probe", *options]
        with output.open("wb") as file:
            process = subprocess.Popen(
                command,
                cwd=project.root,
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            _wait(process, timeout + _GRACE)
        with contextlib.suppress(OSError, ValueError):
            return Answer(json.loads(report.read_text(encoding="utf-8")))
        said = output.read_text(encoding="utf-8", errors="replace")
        with contextlib.suppress(OSError):
            hung = Path(f"{report}.stack").read_text(encoding="utf-8", errors="replace")
            if hung or process.returncode == -signal.SIGKILL:
                return _hangs(hung, project, timeout)
    return _ended(process.returncode, said)


def _wait(process: subprocess.Popen[bytes], seconds: float) -> None:
    """Wait for the process to end; if it does not, end it and what it started."""
    try:
        process.wait(seconds)
    except BaseException as error:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if not isinstance(error, subprocess.TimeoutExpired):
            raise


def _hangs(stack: str, project: Project, timeout: float) -> Answer:
    """The answer for an application that does not end, with the line that runs."""
    root = beginning(os.path.realpath(project.root))
    where = ""
    for path, line in _FRAME.findall(stack):
        real = os.path.realpath(path)
        inside = real.removeprefix(root)
        if real.startswith(root) and not is_librarys(inside):
            where = f": it is at {inside} line {line}"
            break
    return Answer(
        None,
        f"importing the application did not end within {timeout:g} s{where}",
        "have a function do what takes so long there; or give it longer: doctor --timeout SECONDS",
    )


def _ended(status: int, said: str) -> Answer:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    errors = [line.removeprefix("E ").strip() for line in lines if line.startswith("E ")]
    told = [line for line in lines if "rror:" in line or line.startswith("ERROR: ")]
    errors += told or lines[-1:]
    seen = f"pytest does not start: {errors[0] if errors else f'it ended with status {status}'}"
    if status < 0:
        name = signal.Signals(-status).name
        seen = f"pytest was ended by {name} while the application was imported"
    elif not errors:
        seen = f"pytest ended with status {status} while the application was imported"
    hint = "run `pytest --collect-only`, and correct what it says"
    return Answer(None, seen, hint, tuple(dict.fromkeys(_MISSING.findall("\n".join(errors)))))


def _has(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
