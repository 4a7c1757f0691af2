"""Variables that lead nowhere in a process of tests, and what they were before.

A variable of the tests' environment says so to processes that they start: workers, builders.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import astuple, dataclass

from alembic_snapshot.project.variables import PLACEHOLDERS

# How the databases are called that are not there.
NOWHERE = "alembic-snapshot-has-no-engine"


@dataclass(frozen=True)
class Placeholder:
    """The ``value`` of a variable in a process of tests, and what it was ``before``.

    ``written`` is what a file of variables says. None is no value.
    """

    value: str | None
    before: str | None
    written: str | None

    @property
    def is_put(self) -> bool:
        """Whether the tests are given something else than there was."""
        return self.value != self.before


def put(placeholders: Mapping[str, Placeholder]) -> Callable[[], None]:
    """Set the variables of this process. The result puts back what was there."""
    before = {name: os.environ.get(name) for name in (*placeholders, PLACEHOLDERS)}
    noted = {**read(os.environ), **placeholders}
    _set(os.environ, {name: one.value for name, one in placeholders.items()})
    os.environ[PLACEHOLDERS] = json.dumps({name: astuple(one) for name, one in noted.items()})
    return lambda: _set(os.environ, before)


def read(environ: Mapping[str, str]) -> dict[str, Placeholder]:
    """The placeholders of an environment, by their variables."""
    noted = json.loads(environ.get(PLACEHOLDERS) or "{}")
    return {name: Placeholder(*parts) for name, parts in noted.items()}


def originals(environ: Mapping[str, str]) -> dict[str, str]:
    """An environment as it is without placeholders. What was set since stays."""
    found = dict(environ)
    standing = read(environ).items()
    _set(found, {name: one.before for name, one in standing if found.get(name) == one.value})
    found.pop(PLACEHOLDERS, None)
    return found


def _set(environ: MutableMapping[str, str], values: Mapping[str, str | None]) -> None:
    for name, value in values.items():
        if value is None:
            environ.pop(name, None)
        else:
            environ[name] = value
