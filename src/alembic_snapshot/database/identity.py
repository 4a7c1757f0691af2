"""Which database a connection's arguments lead to, as a value that can be compared and kept."""

from __future__ import annotations

import getpass
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

_PORT = 5432
# Where PostgreSQL listens on the machine itself, as drivers and their configuration spell it.
_HERE = ("", "localhost", "127.0.0.1", "::1", "/var/run/postgresql", "/run/postgresql", "/tmp")


@dataclass(frozen=True)
class Place:
    """A database, wherever it is: a SQLite file by its real path, "" in memory, or one on a server.

    Two are equal if they are the same database, as far as their names can tell.
    """

    kind: str
    name: str
    host: str = ""
    port: int = 0

    @property
    def is_memory(self) -> bool:
        """Whether it is in the memory of the process that opened it."""
        return self.kind == "sqlite" and not self.name

    def below(self, folder: Path | str | None) -> bool:
        """Whether it is a file in a folder, or in one below it."""
        if self.kind != "sqlite" or folder is None or not self.name:
            return False
        return self.name.startswith(os.path.realpath(folder) + os.sep)

    def text(self, root: Path) -> str:
        """It as messages spell it: a file relative to the root if it is below."""
        if self.is_memory:
            return "a database in memory"
        if self.kind == "sqlite":
            return repr(self._relative(root))
        return f"the PostgreSQL database {self.name!r} on {self.host}:{self.port}"

    def url(self, root: Path) -> str:
        """What ``engine`` in the configuration would say to mean it."""
        if self.kind == "sqlite":
            return f"sqlite:///{self._relative(root)}" if self.name else "sqlite://"
        if self.host.startswith("/"):
            return f"postgresql+psycopg:///{self.name}?host={self.host}&port={self.port}"
        return f"postgresql+psycopg://{self.host}:{self.port}/{self.name}"

    def to_record(self, root: Path) -> dict[str, Any]:
        """It as JSON, without secrets; a file below the root relative to it."""
        if self.kind == "sqlite":
            return {"kind": self.kind, "file": self._relative(root)}
        return {"kind": self.kind, "host": self.host, "port": self.port, "dbname": self.name}

    @classmethod
    def from_record(cls, record: Mapping[str, Any], root: Path) -> Place:
        """The database that :meth:`to_record` described."""
        if record["kind"] == "sqlite":
            return cls("sqlite", os.path.realpath(root / record["file"]))
        return cls(record["kind"], record["dbname"], record["host"], record["port"])

    def _relative(self, root: Path) -> str:
        if self.below(root):
            return os.path.relpath(self.name, os.path.realpath(root)).replace(os.sep, "/")
        return self.name


def place_of(kind: str, cargs: Sequence[Any], cparams: Mapping[str, Any]) -> Place | None:
    """The database that a dialect of that name would connect to; None for other kinds."""
    if kind == "sqlite":
        return file_place(cargs[0] if cargs else cparams.get("database", ""))
    return server_place(cparams) if kind == "postgresql" else None


def file_place(database: Any) -> Place:
    """The database that a name or URI for SQLite stands for."""
    path = file_of(database)
    return Place("sqlite", os.path.realpath(path) if path else "")


def server_place(place: Mapping[str, Any]) -> Place:
    """The database that the arguments of a driver for PostgreSQL lead to."""
    host = _first(place.get("host") or place.get("hostaddr") or os.environ.get("PGHOST"))
    port = _first(place.get("port") or os.environ.get("PGPORT")) or _PORT
    name = place.get("dbname") or place.get("database") or os.environ.get("PGDATABASE")
    name = name or place.get("user") or os.environ.get("PGUSER") or _user()
    number = int(port) if str(port).isdigit() else _PORT
    return Place("postgresql", str(name), "localhost" if host in _HERE else host, number)


def url_place(url: Any, base: Path | str = "") -> Place | None:
    """The database of an SQLAlchemy URL; a relative file starts from ``base``."""
    kind = url.get_backend_name()
    if kind == "sqlite":
        path = file_of(url.database or "")
        if path and base:
            path = file_of(os.path.join(base, url.database))
        return Place("sqlite", os.path.realpath(path) if path else "")
    if kind != "postgresql":
        return None
    query = {name: url.query[name] for name in ("host", "port", "dbname") if name in url.query}
    named = {"host": url.host, "port": url.port, "dbname": url.database, "user": url.username}
    return server_place({**query, **{name: value for name, value in named.items() if value}})


def file_of(database: Any) -> str:
    """The absolute path of the file that a name or URI for SQLite stands for; "" in memory."""
    name = os.fsdecode(database) if isinstance(database, str | bytes | os.PathLike) else ""
    if name.startswith("file:"):
        # SQLite reads no further than a fragment.
        path, _, query = name.removeprefix("file:").partition("#")[0].partition("?")
        options = {_decoded(n): _decoded(value) for n, _, value in _pairs(query)}
        if options.get("mode") == "memory" or options.get("vfs") == "memdb":
            return ""
        if path.startswith("//"):
            # What is between the slashes is the machine's name, which is this one's.
            path = "/" + path[2:].partition("/")[2]
        name = _decoded(path)
    # POSIX lets two slashes mean something of their own; no system that we know does.
    return "" if name in ("", ":memory:") else re.sub("^//+", "/", os.path.abspath(name))


def _pairs(query: str) -> Iterator[tuple[str, str, str]]:
    """The options of a URI; of two of one name SQLite takes the last."""
    return (pair.partition("=") for pair in query.split("&"))


def _decoded(text: str) -> str:
    """A part of a URI as SQLite reads it: no further than a NUL."""
    return unquote(text.partition("%00")[0])


def _first(value: Any) -> str:
    """The first of several hosts or ports, however a driver spells them."""
    if isinstance(value, list | tuple):
        value = value[0] if value else ""
    return str(value or "").partition(",")[0]


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "of this user"
