"""The database that a connection's arguments lead to, as a value to compare and to keep."""

from __future__ import annotations

import functools
import getpass
import ipaddress
import itertools
import os
import re
import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from alembic_snapshot.project.spelling import beginning

_PORT = 5432
# What SQLAlchemy gives to the driver of a URL's options, and not to SQLite; what it takes for yes.
_OF_THE_DRIVER = frozenset(
    {"cached_statements", "check_same_thread", "detect_types", "isolation_level", "timeout", "uri"}
)
# How the host of a database begins that a service names, and nobody knows the service.
_SERVICE = "service "
_YES = ("true", "yes", "on", "y", "t", "1")
_NO_FILE = ("", ":memory:")
# What says to libpq where a connection goes, in its words.
_LEADING = ("service", "servicefile", "host", "hostaddr", "port", "dbname", "user")
# Where PostgreSQL listens on the machine itself, as drivers and their configuration spell it.
_HERE = ("", "127.0.0.1", "::1", "/var/run/postgresql", "/run/postgresql", "/tmp")


@dataclass(frozen=True)
class Place:
    """A database, wherever it is: a SQLite file by its real path, "" in memory, or one on a server.

    Two are equal if their names are; :meth:`is_same` asks what the names of servers stand for.
    """

    kind: str
    name: str
    host: str = ""
    port: int = 0

    @property
    def is_unknown(self) -> bool:
        """Whether it is named by a service of libpq's that is not known here."""
        return self.host.startswith(_SERVICE)

    @property
    def is_memory(self) -> bool:
        """Whether it is in the memory of the process that opened it."""
        return self.kind == "sqlite" and not self.name

    def is_same(self, other: Place | None) -> bool:
        """Whether both are the same database, if the names of their servers are resolved."""
        if other is None or self == other:
            return self == other
        if (self.kind, self.name, self.port) != (other.kind, other.name, other.port):
            return False
        return not _addresses(self.host).isdisjoint(_addresses(other.host))

    def below(self, folder: Path | str | None) -> bool:
        """Whether it is a file in a folder, or in one below it."""
        if self.kind != "sqlite" or folder is None or not self.name:
            return False
        return _is_below(self.name, folder)

    def is_passing(self, root: Path, folders: Iterable[Path | str | None]) -> bool:
        """Whether it is in a folder of temporary files, and the project is not.

        Of a server it is the folder of its sockets.
        """
        path = self.name if self.kind == "sqlite" else self.host
        return any(
            folder is not None and _is_below(path, folder) and not _is_below(root, folder)
            for folder in folders
        )

    def text(self, root: Path) -> str:
        """The place as messages spell it: a file relative to the root if it is below."""
        if self.is_memory:
            return "a database in memory"
        if self.kind == "sqlite":
            return repr(self._relative(root))
        if self.is_unknown:
            return f"the PostgreSQL database of {self.host}, which is not known here"
        return f"the PostgreSQL database {self.name!r} on {self.host}:{self.port}"

    def url(self, root: Path) -> str:
        """The place as a URL for ``engine`` in the configuration."""
        if self.kind == "sqlite":
            return f"sqlite:///{self._relative(root)}" if self.name else "sqlite://"
        if self.host.startswith("/"):
            return f"postgresql+psycopg:///{self.name}?host={self.host}&port={self.port}"
        return f"postgresql+psycopg://{self.host}:{self.port}/{self.name}"

    def to_record(self, root: Path) -> dict[str, Any]:
        """The place as JSON, without secrets; a file below the root is relative to it."""
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


def _is_below(path: Path | str, folder: Path | str) -> bool:
    """Whether a path is in a folder, or in one below it; a name that is no path is in none."""
    start = beginning(os.path.realpath(folder))
    return os.path.isabs(path) and os.path.realpath(path).startswith(start)


def places_of(kind: str, cargs: Sequence[Any], cparams: Mapping[str, Any]) -> list[Place]:
    """The databases that a dialect of that name would connect to, the first that answers.

    There are several only where several servers are named, and none for other kinds.
    """
    if kind == "sqlite":
        return [file_place(cargs[0] if cargs else cparams.get("database", ""))]
    return server_places(cparams) if kind == "postgresql" else []


def file_place(database: Any) -> Place:
    """The database that a name or URI for SQLite stands for."""
    path = file_of(database)
    return Place("sqlite", os.path.realpath(path) if path else "")


def server_places(place: Mapping[str, Any]) -> list[Place]:
    """The databases that the arguments of a driver for PostgreSQL lead to, one for each host.

    Where a service names them that is not known here, it is one that equals no other.
    """
    service = place.get("service") or os.environ.get("PGSERVICE")
    if service:
        resolved = _resolved(place)
        if resolved is None:
            name, port = place.get("dbname") or place.get("database"), str(place.get("port") or 0)
            return [Place("postgresql", str(name or ""), f"{_SERVICE}{service!r}", _number(port))]
        place = resolved
    # It is the address that counts where both are given.
    hosts = _all(place.get("hostaddr") or place.get("host") or os.environ.get("PGHOST"))
    ports = _all(place.get("port") or os.environ.get("PGPORT"))
    name = place.get("dbname") or place.get("database") or os.environ.get("PGDATABASE")
    name = name or place.get("user") or os.environ.get("PGUSER") or _user()
    places = []
    for host, port in itertools.zip_longest(hosts, ports, fillvalue=ports[-1]):
        places.append(Place("postgresql", str(name), _host(host), _number(port)))
    return places[: len(hosts)]


def _resolved(place: Mapping[str, Any]) -> dict[str, str] | None:
    """What libpq makes of arguments with a service's; None if it does not know the service.

    Of the same option, what is given counts before the service's, and that before a variable's.
    """
    try:
        from psycopg import pq
        from psycopg.conninfo import make_conninfo

        given = {"dbname": place.get("database"), **place}
        told = {name: ",".join(_all(given[name])) for name in _LEADING if given.get(name)}
        # libpq puts its options together, and then refuses this one before it connects.
        asked = pq.PGconn.connect_start(make_conninfo(**told, sslmode="unknown").encode())
    except Exception:
        # There is no psycopg, or an older libpq without one of the options.
        return None
    try:
        found = {one.keyword.decode(): one.val.decode() for one in asked.info if one.val}
    finally:
        asked.finish()
    return found if "dbname" in found else None


def _number(port: str) -> int:
    return int(port) if port.isdigit() else _PORT


def server_place_at(host: str, port: int, name: str) -> Place:
    """The database of that name on a server that is known by where it is."""
    return Place("postgresql", name, _host(host), port or _PORT)


def server_place(place: Mapping[str, Any]) -> Place:
    """The first of :func:`server_places`."""
    return server_places(place)[0]


def url_places(url: Any, base: Path | str = "") -> list[Place]:
    """The databases of an SQLAlchemy URL; a relative file starts from ``base``."""
    kind = url.get_backend_name()
    if kind == "sqlite":
        path = url_file(url, base)
        return [Place("sqlite", os.path.realpath(path) if path else "")]
    if kind != "postgresql":
        return []
    try:
        _, arguments = url.get_dialect()().create_connect_args(url)
    except Exception:
        # Its driver may not be installed, or not like it.
        arguments = {"host": url.host, "port": url.port, "dbname": url.database}
        arguments |= {"user": url.username}
    return server_places({name: value for name, value in arguments.items() if value})


def variables_for(
    places: Sequence[Place], environ: Mapping[str, str]
) -> Iterator[tuple[str, bool]]:
    """The variables whose value is one of these databases, and whether it is a URL or a path."""
    for name, value in environ.items():
        if "://" in value:
            if any(own.is_same(one) for own in _places_of_text(value) for one in places):
                yield name, True
        elif file_of(value) and file_place(value) in places:
            yield name, False


def _places_of_text(text: str) -> list[Place]:
    from sqlalchemy import make_url

    try:
        return url_places(make_url(text))
    except Exception:
        # It is another kind of URL, or its dialect is not installed.
        return []


def url_place(url: Any, base: Path | str = "") -> Place | None:
    """The first of :func:`url_places`."""
    return next(iter(url_places(url, base)), None)


def url_file(url: Any, base: Path | str = "") -> str:
    """The absolute path of the file of an SQLAlchemy URL for SQLite; "" in memory."""
    name = url.database or ""
    if is_uri(url):
        return file_of(url_name(url), base)
    # Without uri=true it is a file of that very name.
    return "" if name in _NO_FILE else _absolute(name, base)


def url_name(url: Any) -> str:
    """The name or URI that SQLAlchemy gives to SQLite for a URL."""
    name: str = url.database or ""
    options = sorted(set(url.query) - _OF_THE_DRIVER) if is_uri(url) else ()
    pairs = "&".join(f"{option}={url.query[option]}" for option in options)
    return f"{name}?{pairs}" if pairs else name


def is_uri(url: Any) -> bool:
    """Whether SQLAlchemy gives a URI to SQLite for a URL."""
    return str(url.query.get("uri", "")).strip().lower() in _YES


def file_of(database: Any, base: Path | str = "") -> str:
    """The absolute path of the file that a name or URI for SQLite stands for; "" in memory.

    A relative one starts from ``base``.
    """
    name = os.fsdecode(database) if isinstance(database, str | bytes | os.PathLike) else ""
    if name.startswith("file:"):
        path = uri_parts(name)[0]
        if option_of(name, "mode") == "memory" or option_of(name, "vfs") == "memdb":
            return ""
        if path.startswith("//"):
            # What is between the slashes is the machine's name, which is this one's.
            path = "/" + path[2:].partition("/")[2]
        name = _decoded(path)
    return "" if name in _NO_FILE else _absolute(name, base)


def uri_parts(uri: str) -> tuple[str, dict[str, str]]:
    """The path of a URI for SQLite, and its options as they are spelled, by their names.

    Where a name stands twice, SQLite takes the last.
    """
    # SQLite reads no further than a fragment.
    path, _, query = uri.removeprefix("file:").partition("#")[0].partition("?")
    return path, {_decoded(pair.partition("=")[0]): pair for pair in query.split("&") if pair}


def option_of(uri: str, name: str) -> str | None:
    """The value of an option of a URI for SQLite; None if it has none, or is no URI."""
    pair = uri_parts(uri)[1].get(name) if uri.startswith("file:") else None
    return None if pair is None else _decoded(pair.partition("=")[2])


def _absolute(name: str, base: Path | str) -> str:
    # POSIX lets two slashes mean something of their own; no system that we know does.
    return re.sub("^//+", "/", os.path.abspath(os.path.join(base, name)))


def _decoded(text: str) -> str:
    """A part of a URI as SQLite reads it: no further than a NUL."""
    return unquote(text.partition("%00")[0])


def _all(value: Any) -> list[str]:
    """Hosts or ports, however a driver spells several."""
    if not isinstance(value, list | tuple):
        value = str(value or "").split(",")
    return [str(item or "") for item in value] or [""]


def _host(name: str) -> str:
    """A host's name in one spelling; a folder of sockets is left as it is."""
    name = name if name.startswith("/") else name.lower()
    return "localhost" if name in _HERE else name


@functools.cache
def _addresses(host: str) -> frozenset[str]:
    """The addresses of a host's name; a name that can't be resolved stands for itself."""
    if host == "localhost" or host.startswith("/"):
        return frozenset({host})
    try:
        resolved = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return frozenset({host})
    return frozenset(address_of(str(address[0])) for *_, address in resolved)


def address_of(address: str) -> str:
    """An IP address as the host of a place: all addresses of this machine are one host."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return _host(address)
    mapped = getattr(parsed, "ipv4_mapped", None) or parsed
    return "localhost" if mapped.is_loopback or mapped.is_unspecified else str(mapped)


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "of this user"
