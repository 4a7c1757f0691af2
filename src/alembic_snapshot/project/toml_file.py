"""A ``pyproject.toml``, read once; light enough for every run of pytest."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alembic_snapshot.errors import ConfigError


@dataclass(frozen=True)
class TomlFile:
    """A TOML file as it was when it was read; it is parsed when somebody asks for its values."""

    path: Path
    content: bytes

    @classmethod
    def read(cls, path: Path) -> TomlFile | None:
        """The file; None if there is none.

        Raises:
            ConfigError: it can't be read.
        """
        if not path.is_file():
            return None
        try:
            return cls(path, path.read_bytes())
        except OSError as error:
            raise ConfigError(
                f"can't read {path}: {error.strerror}", hint="let whoever runs this read it"
            ) from error

    @functools.cached_property
    def values(self) -> dict[str, Any]:
        """The file's values.

        Raises:
            ConfigError: it is not TOML.
        """
        import tomllib

        try:
            text = self.content.decode()
            if text.startswith("\ufeff"):
                raise ConfigError(
                    f"{self.path} begins with a byte order mark, which is no TOML",
                    hint="save it as UTF-8 without one",
                )
            return tomllib.loads(text)
        except UnicodeDecodeError as error:
            what = f"{self.path} is not UTF-8: {error}"
            raise ConfigError(what, hint="save it as UTF-8") from error
        except (tomllib.TOMLDecodeError, RecursionError) as error:
            what = f"{self.path} is not TOML: {error}"
            raise ConfigError(what, hint="correct the file") from error

    def table(self, name: str) -> dict[str, Any] | None:
        """The table ``[tool.NAME]``, or None.

        Raises:
            ConfigError: the file is not TOML, or that is something else than a table.
        """
        return tool_table(self.values, name)


def tool_table(toml: Mapping[str, Any], name: str) -> dict[str, Any] | None:
    """The table ``[tool.NAME]`` in the values of a ``pyproject.toml``, or None.

    Raises:
        ConfigError: it is something else than a table.
    """
    tool = toml.get("tool")
    table = tool.get(name) if isinstance(tool, dict) else None
    if table is None or isinstance(table, dict):
        return table
    raise ConfigError(f"tool.{name} is {table!r}, no table", hint=f"write [tool.{name}]")
