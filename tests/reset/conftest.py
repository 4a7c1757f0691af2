"""What the tests of a file that is put back share, whichever way it is: each has a ``file``."""

from __future__ import annotations

import sqlite3

import pytest


@pytest.fixture
def connect(file):
    """Opens connections to the file, which are closed at the end."""
    made = []

    def connect(factory=sqlite3.Connection):
        made.append(sqlite3.connect(file.path, isolation_level=None, timeout=0, factory=factory))
        made[-1].execute("PRAGMA synchronous=OFF")
        return made[-1]

    yield connect
    for connection in made:
        connection.close()
