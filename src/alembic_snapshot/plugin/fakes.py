"""Fakes that tests put in the place of the system do not reach this library.

A fake file system (pyfakefs) replaces ``os`` and ``pathlib`` in every module that has them: clones
would be looked for in it. Within ``pathlib`` it stays the fake's, so that what runs in a test asks
``os`` for a file, and not the path.
"""

from __future__ import annotations

import contextlib
import importlib
import pkgutil
import sys

import alembic_snapshot

PATCHER = "pyfakefs.fake_filesystem_unittest"
# What works while a test runs. Whatever is imported later is imported under the fake.
_ROOMS = ("database", "engines", "sqlite", "sqlite.reset", "store", "tokens")
_MODULES = ("plugin.calls", "plugin.kept", "plugin.reset", "plugin.tokens")


def keep_out() -> None:
    """Have a fake file system leave this library's modules alone, from the first test on."""
    patcher = getattr(sys.modules.get(PATCHER), "Patcher", None)
    skipped = getattr(patcher, "SKIPMODULES", None)
    if skipped is None:
        return
    names = [f"{alembic_snapshot.__name__}.{name}" for name in _MODULES]
    for room in _ROOMS:
        package = importlib.import_module(f"{alembic_snapshot.__name__}.{room}")
        found = pkgutil.iter_modules(package.__path__, f"{package.__name__}.")
        names += [module.name for module in found]
    for name in names:
        # What can't be imported here does not run here.
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    own = (alembic_snapshot.__name__, f"pytest_{alembic_snapshot.__name__}")
    named = list(sys.modules.items())
    skipped.update(module for name, module in named if name.partition(".")[0] in own)
