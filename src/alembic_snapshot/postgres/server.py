"""The PostgreSQL server that snapshots are on: the user's, or a private one."""

from __future__ import annotations

import functools
import getpass
import hashlib
import os
import re
import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alembic_snapshot.errors import ServerError
from alembic_snapshot.masking import keep_secret
from alembic_snapshot.project import unsupported

if TYPE_CHECKING:
    import psycopg
    from sqlalchemy import URL

VARIABLE = "SNAPSHOT_POSTGRES_URL"
# How our own connections are called on the server.
APPLICATION = "alembic-snapshot"
# Session-level settings of ours only: a server may end statements, transactions or sessions that
# take long or wait for a lock, and each version has another way to. And rows that policies hide
# from our role are an error, instead of none.
_OWN = (
    "SELECT current_database(), set_config('row_security', 'off', false), ("
    "SELECT array_agg(set_config(name, '0', false)) FROM pg_settings WHERE name ~ '_timeout$' "
    "AND context = 'user' AND category ~ '^Client Connection Defaults')"
)
# What SQLAlchemy writes into the query of a URL, and what everybody reads there.
_NEEDLESS = {"+": "%20", "%2F": "/", "%3A": ":", "%2C": ","}
_HAS_STRATEGY = 15_00_00
_HAS_COPY_METHOD = 18_00_00
# Seconds for which a server is waited for that recovers, and what it says meanwhile.
_STARTING = 30.0
_IS_STARTING = re.compile("starting up|in recovery mode|not yet accepting")
# What libpq takes where nobody says otherwise; the user is the system's.
_PARTS = {"host": "localhost", "port": "5432", "user": "", "password": ""}


@dataclass(frozen=True)
class Server:
    """A server on which we may create databases. ``url`` names no database; it has the password.

    ``is_private`` says that it was started for us, and that nothing on it is worth the wait for
    a disk.
    """

    url: str
    is_private: bool = False

    def __post_init__(self) -> None:
        keep_secret(self.url)

    def __str__(self) -> str:
        from sqlalchemy import make_url

        url = make_url(self.url)
        host = url.query.get("host") or url.host or "localhost"
        port = url.query.get("port") or url.port
        return f"{host}:{port}" if port else str(host)

    @property
    def has_port(self) -> bool:
        """Whether it is reached by its URL's host and port; a private one may have only a socket.

        Who reads no more of a URL than them, as asyncpg itself does, needs that.
        """
        from sqlalchemy import make_url

        return not self.is_private or make_url(self.url).password is not None

    def address(self, database: str, driver: str = "psycopg") -> str:
        """The SQLAlchemy URL of a database on it."""
        from sqlalchemy import make_url

        url = make_url(self.url).set(drivername=f"postgresql+{driver}", database=database)
        return spelled(url)

    def parts(self) -> dict[str, str]:
        """The host, the port, the user and the password, as a driver is given them.

        Of a private server that listens on an address it is that: many who put a URL together
        take no folder for a host.
        """
        from sqlalchemy import make_url

        url = make_url(self.url)
        own = {"host": url.host, "port": url.port, "user": url.username, "password": url.password}
        query = {} if self.is_private and self.has_port else url.query
        found = {
            name: query.get(name) or own[name] or os.environ.get(f"PG{name.upper()}") or default
            for name, default in _PARTS.items()
        }
        return {name: _listed(value or getpass.getuser()) if name == "user" else _listed(value)
                for name, value in found.items()}  # fmt: skip

    def connect(self, database: str = "postgres") -> psycopg.Connection[Any]:
        """A connection that commits by itself and waits for locks as long as it takes.

        What reads a table on it reads all of its rows, or is an error.

        Raises:
            ServerError: there is no such server, or it refuses us.
        """
        _require_psycopg()
        import psycopg
        from sqlalchemy import make_url

        from alembic_snapshot.postgres.connection import OwnConnection

        url = make_url(self.url).set(drivername="postgresql", database=database)
        try:
            connection = self._connected(OwnConnection, spelled(url))
        except psycopg.OperationalError as error:
            raise self._refused(error, url) from error
        except psycopg.ProgrammingError as error:
            raise ServerError(
                f"{VARIABLE} can't be understood: {' '.join(str(error).split())}",
                hint="its options are libpq's, for example ?sslmode=require",
            ) from error
        connection.server = str(self)
        (found, *_) = connection.execute(_OWN).fetchone()
        if found != database:
            connection.close()
            raise ServerError(
                f"the server at {self} gives the database {found!r} to who asks for {database!r}",
                hint=f"does a pooler stand before it? Correct {VARIABLE}",
            )
        return connection  # type: ignore[no-any-return]

    @functools.cached_property
    def facts(self) -> Facts:
        """The server's version, and whether it waits for the disk. They are asked once.

        Raises:
            ServerError: it can't be reached, is another database that speaks as PostgreSQL does,
                or the role may not create databases.
        """
        with self.connect() as connection:
            told = connection.execute("SELECT version()").fetchone()
            other = unsupported.of_server(str(told and told[0]))
            if other:
                raise ServerError(
                    f"the server at {self} is {other}, which is not supported",
                    hint=unsupported.HINT,
                )
            row = connection.execute(
                "SELECT current_setting('server_version_num')::int, "
                "current_setting('fsync')::bool, "
                "(SELECT rolcreatedb OR rolsuper FROM pg_roles WHERE rolname = current_user), "
                "current_user"
            ).fetchone()
            assert row is not None
            version, waits, may_create, role = row
            shares = self.is_private and version >= _HAS_COPY_METHOD and _shares_blocks(connection)
        if not may_create:
            raise ServerError(
                f"role {role!r} may not create databases on {self}",
                hint=f'let it, as an administrator: ALTER ROLE "{role}" CREATEDB',
            )
        return Facts(version, waits, shares)

    def _connected(self, kind: Any, url: str) -> Any:
        """A connection, once a server that is just starting lets one in.

        A private server that has ended meanwhile is started again, once.
        """
        import psycopg

        from alembic_snapshot.postgres.connection import OwnCursor

        deadline = time.monotonic() + _STARTING
        may_start = self.is_private
        while True:
            try:
                return kind.connect(
                    url,
                    autocommit=True,
                    cursor_factory=OwnCursor,
                    application_name=APPLICATION,
                    # Without an encoding, names would come as bytes.
                    client_encoding="UTF8",
                )
            except psycopg.OperationalError as error:
                if _IS_STARTING.search(str(error)) and time.monotonic() < deadline:
                    time.sleep(0.02)
                elif may_start and ("FATAL" not in str(error) or "shutting down" in str(error)):
                    may_start = False
                    _start_again()
                else:
                    raise

    def _refused(self, error: Any, url: Any) -> ServerError:
        text = " ".join(str(error).split())
        if "too many" in text or "remaining connection slots" in text:
            return ServerError(
                f"the server at {self} has no room for one more connection: {text}",
                hint="raise max_connections there (or the role's CONNECTION LIMIT), or run fewer "
                "workers (-n)",
            )
        if any(word in text for word in ("password", "authentication", "role ", "pg_hba.conf")):
            return ServerError(
                f"the server at {self} refuses user {url.username or 'of this system'!r}: {text}",
                hint=f"correct the user and the password in {VARIABLE}{_beside()}",
            )
        if "does not exist" in text:
            return ServerError(f"the server at {self} says: {text}", hint="was it deleted?")
        if "FATAL" in text:
            return ServerError(
                f"the server at {self} refused the connection: {text}",
                hint=f"may the user connect to the database {url.database}, and are there "
                "connections to spare?",
            )
        where = f"correct {VARIABLE}, or unset it to use a private server"
        return ServerError(
            f"no PostgreSQL server at {self}: {text}",
            hint=("run it again" if self.is_private else f"is it running? Or {where}") + _beside(),
        )


@dataclass(frozen=True)
class Facts:
    """A server's version as a number (150003 is 15.3), and whether it waits for the disk.

    ``shares_blocks`` says that copies of files on our own server can share their blocks.
    """

    version: int
    waits_for_disk: bool
    shares_blocks: bool = False

    @property
    def copying(self) -> str:
        """How our own server copies a database's files on the disk."""
        if self.shares_blocks:
            return "on the disk they share the snapshot's blocks (file_copy_method = clone)"
        if self.version < _HAS_COPY_METHOD:
            return f"files are copied: PostgreSQL {self.version // 10_000} can't have them shared"
        return "files are copied: the file system does not let them share blocks"

    @property
    def strategy(self) -> str:
        """The quickest way to copy a database, as the end of a ``CREATE DATABASE``.

        Files are copied quicker than pages are logged, unless two checkpoints have to wait for
        the disk. Before version 15 there is one way only.
        """
        if self.version < _HAS_STRATEGY:
            return ""
        return " STRATEGY = WAL_LOG" if self.waits_for_disk else " STRATEGY = FILE_COPY"


def server_in_use() -> Server:
    """The server named by ``SNAPSHOT_POSTGRES_URL``, or else a private one, started if need be.

    Raises:
        ServerError: the variable is no URL of PostgreSQL; or there is none to start.
    """
    url = os.environ.get(VARIABLE)
    if url:
        return _named(url)
    from alembic_snapshot.postgres.private.acquire import held

    return _private(held().url)


def major_version() -> int:
    """The major version of the server in use; a private one is not started to find out.

    Raises:
        ServerError: as :func:`server_in_use` does.
    """
    if os.environ.get(VARIABLE):
        return server_in_use().facts.version // 10_000
    from alembic_snapshot.postgres.private.binaries import find

    return find().major


def spelled(url: URL) -> str:
    """A URL, with its password, as both SQLAlchemy and libpq read it.

    libpq takes no spaces, which SQLAlchemy leaves before the query, and no ``+`` for them in it. A
    percent sign that need not be is left out: ``Config.set_main_option()`` takes none.
    """
    place, mark, query = url.render_as_string(hide_password=False).partition("?")
    for escaped, plain in _NEEDLESS.items():
        query = query.replace(escaped, plain)
    return f"{place.replace(' ', '%20')}{mark}{query}"


def without_password(url: URL) -> str:
    """As :func:`spelled`, for what others can read: reports, the list of processes."""
    # URL.set() takes None for no change.
    return spelled(url._replace(password=None).difference_update_query(["password"]))


def said(error: BaseException) -> str:
    """The first line of what a driver raised, also of an error that is ours beside that."""
    return str(error.__cause__ or error).partition("\n")[0]


def lock_key(text: str) -> int:
    """A text as the key of an advisory lock: 64 bits with a sign."""
    digest = hashlib.sha256(f"alembic-snapshot {text}".encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


def new_owner(connection: psycopg.Connection[Any]) -> str:
    """An owner of clones, alive for as long as the connection is open."""
    owner = secrets.token_hex(6)
    connection.execute("SELECT pg_advisory_lock(%s)", (lock_key(f"owner {owner}"),))
    return owner


def _listed(value: object) -> str:
    """One host or port, or several as libpq has them."""
    return ",".join(value) if isinstance(value, tuple) else str(value)


def _shares_blocks(connection: psycopg.Connection[Any]) -> bool:
    """Whether the file system of our own server's data lets files share blocks."""
    from alembic_snapshot.postgres.private.cluster import shares_blocks

    row = connection.execute("SHOW data_directory").fetchone()
    return row is not None and shares_blocks(Path(row[0]).parent)


def _start_again() -> None:
    from alembic_snapshot.postgres.private.acquire import acquire

    acquire()


@functools.cache
def _named(text: str) -> Server:
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        url = None
    if url is None or url.get_backend_name() not in ("postgresql", "postgres"):
        other = unsupported.known_title(text) if "://" in text else None
        what = f"is a URL of {other}, which is not supported" if other else None
        raise ServerError(
            f"{VARIABLE} {what or 'is not the URL of a PostgreSQL server'}",
            hint="write for example postgresql://user:password@localhost:5432/",
        )
    # In the query a database's name would count more than each that we ask for.
    plain = url.set(drivername="postgresql").difference_update_query(["dbname", "database"])
    return Server(spelled(plain._replace(database=None)))


@functools.cache
def _private(text: str) -> Server:
    from sqlalchemy import make_url

    url = make_url(text)._replace(database=None)
    return Server(spelled(url), is_private=True)


def _beside() -> str:
    """The end of a hint: the variables that are set and say what a URL may leave open."""
    from psycopg import pq

    names = {one.envvar.decode() for one in pq.Conninfo.get_defaults() if one.envvar}
    found = ", ".join(sorted(names & os.environ.keys()))
    return found and f". libpq reads {found}, too: unset what does not suit the server"


def _require_psycopg() -> None:
    try:
        import psycopg  # noqa: F401
    except ImportError as error:
        raise ServerError(
            f"PostgreSQL needs psycopg: {error}",
            hint='pip install "alembic-snapshot[postgres]"',
        ) from error
