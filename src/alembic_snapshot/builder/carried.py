"""What one run of ``env.py`` carries from revision to revision, and another run has not.

Alembic runs it once for all revisions. Where it runs again for the later ones, in this process or
in one that begins from a stored state, they find a new connection, a new configuration and new
names in ``env.py``.
"""

from __future__ import annotations

import os
import sys
import types
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from alembic_snapshot.builder.options import spelled
from alembic_snapshot.builder.target import BuilderTarget, left_in

# What a name in a module may stand for that is no data.
_NO_DATA = (types.ModuleType, types.FunctionType, types.BuiltinFunctionType, type)


class Carried(NamedTuple):
    """The values of one moment; of two moments they differ by what revisions left between them."""

    connection: Any
    run: Any


def carried(config: Any, context: Any, target: BuilderTarget, env: str) -> Carried:
    """What the run of ``env``, a path, carries now; it is called from within that run."""
    run = (
        _of_config(config),
        {name: (spelled(value), id(value)) for name, value in context.opts.items()},
        {name: spelled(value) for name, value in _names_of(env)},
    )
    return Carried(left_in(context.connection, target), run)


def _of_config(config: Any) -> Mapping[str, Any]:
    attributes = {name: (spelled(value), id(value)) for name, value in config.attributes.items()}
    parser = config.file_config
    options = {name: dict(parser.items(name, raw=True)) for name in parser.sections()}
    return {"attributes": attributes, "options": options}


def _names_of(env: str) -> Iterator[tuple[str, Any]]:
    """The data in the names of ``env.py``, which runs below us."""
    frame = sys._getframe()
    while frame is not None and os.path.realpath(frame.f_code.co_filename) != env:
        frame = frame.f_back  # type: ignore[assignment]
    if frame is not None:
        for name, value in list(frame.f_globals.items()):
            if not name.startswith("__") and not isinstance(value, _NO_DATA):
                yield name, value
