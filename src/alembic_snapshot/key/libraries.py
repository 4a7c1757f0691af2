"""The libraries that a snapshot depends on: their versions, and the oldest that will do."""

from __future__ import annotations

import contextlib
import os
import re
import sys

from alembic_snapshot.errors import ConfigError

# As pyproject.toml requires them. Another package's pin can keep an older one in place.
OLDEST = {"SQLAlchemy": "2.0.30", "Alembic": "1.13"}


def library_versions() -> dict[str, str]:
    """The versions of the libraries that a snapshot depends on, by name."""
    return {name: _installed_version(name.lower()) for name in sorted(OLDEST)}


def refuse_old() -> None:
    """Refuse libraries that are too old to work with, before anything of them is imported.

    Raises:
        ConfigError: it names the library, its version and the oldest that will do.
    """
    for name, version in library_versions().items():
        if numbers(version) < numbers(OLDEST[name]):
            raise ConfigError(
                f"{name} {version} is not supported: {OLDEST[name]} is the oldest that is",
                hint=f'pip install "{name}>={OLDEST[name]}"{_MOVING.get(name, "")}',
            )


_MOVING = {"SQLAlchemy": "; moving from 1.4: docs.sqlalchemy.org/en/20/changelog/migration_20.html"}


def numbers(version: str) -> tuple[int, ...]:
    """A version as numbers to compare, without what stands after them."""
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def _installed_version(name: str) -> str:
    # The name of the folder with the metadata tells it; importlib.metadata takes longer to import
    # than a whole look-up takes.
    for folder in sys.path:
        with contextlib.suppress(OSError):
            for entry in os.listdir(folder or "."):
                stem = entry.removesuffix(".dist-info")
                project, _, version = stem.partition("-")
                if stem != entry and project.lower() == name:
                    return version
    from importlib import metadata

    return str(metadata.version(name))
