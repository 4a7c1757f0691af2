"""Lines are added to a ``pyproject.toml``; everything else in it stays as it is."""

from __future__ import annotations

import os
import stat
import tempfile
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomlkit

from alembic_snapshot.errors import ConfigError

# Beyond this the reason stands above the line.
_WIDE = 60


class PyProject:
    """A ``pyproject.toml``, which may not be there yet.

    Raises:
        ConfigError: it can't be read, or is no TOML.
    """

    def __init__(self, path: Path):
        self.path = path
        self.before = _content(path)
        try:
            self._text = self.before.decode("utf-8") if self.before is not None else ""
            self.values: dict[str, Any] = tomllib.loads(self._text)
        except ValueError as error:
            raise ConfigError(f"{path} is not TOML: {error}", hint="correct the file") from error

    def with_values(self, tables: Mapping[str, Mapping[str, Any]]) -> str:
        """The file's text with values added to tables, which are made if they are not there.

        Raises:
            ConfigError: what stands there leaves no place for them.
        """
        expected = tomllib.loads(self._text)
        try:
            text = self._text.replace("\r\n", "\n")
            for name, values in tables.items():
                text = _added(text, name, values)
                _merge(expected, name, values)
            is_right = tomllib.loads(text) == expected
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            raise self._no_place(tables) from error
        if not is_right:
            raise self._no_place(tables)
        return text.replace("\n", "\r\n") if "\r\n" in self._text else text

    def write(self, text: str) -> None:
        """Replace the file's text, whole or not at all.

        Raises:
            ConfigError: it can't be written, or somebody else has written it meanwhile.
        """
        path = Path(os.path.realpath(self.path))
        if _content(path) != self.before:
            raise ConfigError(f"{self.path} was changed meanwhile", hint="run init again")
        mode = 0o666 & ~_umask()
        if self.before is not None:
            mode = stat.S_IMODE(path.stat().st_mode)
            # The owner of everything may write what is meant to be left alone.
            if not mode & 0o222 or not os.access(path, os.W_OK):
                raise ConfigError(
                    f"{self.path} is read-only",
                    hint="make it writable; --print only shows the lines",
                )
        try:
            handle, name = tempfile.mkstemp(dir=path.parent, prefix=".pyproject.")
            with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
                file.write(text)
            os.chmod(name, mode)
            os.replace(name, path)
        except OSError as error:
            raise ConfigError(
                f"can't write {self.path}: {error.strerror}", hint="make its folder writable"
            ) from error

    def _no_place(self, tables: Mapping[str, Mapping[str, Any]]) -> ConfigError:
        names = " and ".join(f"[{name}]" for name in tables)
        return ConfigError(
            f"can't add {names} to {self.path} without changing what stands there",
            hint="add what `alembic-snapshot init --print` shows by hand",
        )


def shown(name: str, values: Mapping[str, Any], reasons: Mapping[str, str]) -> str:
    """A table as TOML, a reason behind each line."""
    texts = {key: f"{key} = {_toml(value)}" for key, value in values.items()}
    width = max((len(text) for text in texts.values() if len(text) <= _WIDE), default=0)
    lines = [f"[{name}]"]
    for key, text in texts.items():
        if len(text) > _WIDE:
            lines += [f"# {reasons[key]}", text]
        else:
            lines.append(f"{text:{width}}  # {reasons[key]}")
    return "\n".join(lines)


def _added(text: str, name: str, values: Mapping[str, Any]) -> str:
    """A file's text with values added to one table; a new table comes last."""
    document = tomlkit.parse(text)
    table: Any = document
    for part in name.split("."):
        table = table.get(part)
        if table is None:
            break
    if table is None or getattr(table, "is_super_table", bool)():
        new = "".join(f"{tomlkit.key(key).as_string()} = {_toml(v)}\n" for key, v in values.items())
        return f"{text.rstrip()}\n\n[{name}]\n{new}".lstrip("\n")
    # What stands between this table and the next belongs to the next.
    body = table.value.body if hasattr(table.value, "body") else []
    below = []
    while body and body[-1][0] is None:
        below.append(body.pop())
    for key, value in values.items():
        table[key] = tomlkit.parse(f"_ = {_toml(value)}\n")["_"]
    body.extend(reversed(below))
    return tomlkit.dumps(document)


def _toml(value: Any) -> str:
    if isinstance(value, Mapping):
        pairs = (f"{tomlkit.key(key).as_string()} = {_toml(item)}" for key, item in value.items())
        return f"{{ {', '.join(pairs)} }}"
    return str(tomlkit.item(value).as_string())


def _merge(expected: dict[str, Any], name: str, values: Mapping[str, Any]) -> None:
    for part in name.split("."):
        expected = expected.setdefault(part, {})
    expected.update(values)


def _content(path: Path) -> bytes | None:
    try:
        if path.exists() and not path.is_file():
            # A pipe would be waited for.
            raise OSError(None, "it is no file")
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(
            f"can't read {path}: {error.strerror}", hint="put a file there that can be read"
        ) from error


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
