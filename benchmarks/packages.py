"""Published packages that are compared with, each in a virtual environment of its own."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

# What each needs beside SQLAlchemy, Alembic and pytest, which have the versions that ours has.
_NEEDS = {
    "pytest-alembic": (),
    "pytest-postgresql": ("psycopg[binary]",),
    "pytest-sqla": (),
    "pytest-sqlalchemy-alembic": ("SQLAlchemy[asyncio]",),
}
_SAME = ("SQLAlchemy", "alembic", "pytest")


def python_of(folder: Path, package: str) -> Path:
    """The Python of a package's environment in a folder, which is made if it is not there yet.

    Raises:
        subprocess.CalledProcessError: it can't be installed; pip has said why.
    """
    place = folder / package
    python, is_whole = place / "bin" / "python", place / "installed"
    if not is_whole.exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", place], check=True)
        same = (f"{name}=={version(name)}" for name in _SAME)
        install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*install, package, *_NEEDS[package], *same], check=True)
        is_whole.touch()
    return python
