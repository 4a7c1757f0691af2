"""Snapshots as template databases: sealed, closed to connections, marked finished last.

A snapshot's manifest is its comment, beside the marks of what the server knew of the database when
it was published, of what it began with, and of the last crash if another would empty a table. So
the server alone is the store, for all who ask as the role that owns it::

    alembic_snapshot_DIGEST[_VARIANT][_ROLE]  a template; the comment has its manifest
    alembic_building_DIGEST_…                 under construction
    alembic_failed_DIGEST                     the last failed build, for a look
    alembic_clone_OWNER_NUMBER                a test's own
    alembic_kept_OWNER_NUMBER                 a failed test's

In the store's directory each may be a file, too, under the same name: its archive.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import json
import re
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from alembic_snapshot.database.target import Target
from alembic_snapshot.errors import SnapshotError, StoreError
from alembic_snapshot.key.layers import FORMAT, State
from alembic_snapshot.postgres import databases
from alembic_snapshot.postgres.database import ServerDatabase
from alembic_snapshot.postgres.databases import BUILDING, FAILED, SNAPSHOT
from alembic_snapshot.postgres.restorer import sweep
from alembic_snapshot.postgres.server import Server, lock_key, said, server_in_use
from alembic_snapshot.postgres.surroundings import surroundings
from alembic_snapshot.store.archives import Archived, Archives
from alembic_snapshot.store.manifest import Entry, Manifest
from alembic_snapshot.store.store import NAME_LENGTH, Store

if TYPE_CHECKING:
    import psycopg

# Seconds for which a snapshot that is asked for again and again is not noted as used again.
_NOTED_ANYWAY = 3600.0
# Names have 63 bytes at most, and those of what is built get longer.
_SHORT = 24
# How they go on, whatever they are: what a user names so has no digest.
_DIGEST = "[0-9a-f]{24,32}(_|$)"
# Whatever alters a database writes its row anew; who may connect is there, and settings beside it.
_MARK = (
    "concat_ws(' ', d.oid, d.xmin, (SELECT string_agg(concat_ws(' ', setrole, setconfig::text), ' '"
    " ORDER BY setrole) FROM pg_db_role_setting WHERE setdatabase = d.oid))"
)


class _Marks(NamedTuple):
    """What a snapshot's comment says, by which it is known to be what it was.

    ``crash`` is empty if nothing is in it that a crash of the server empties.
    """

    altered: str | None = None
    began: str | None = None
    crash: str | None = None


@dataclass(frozen=True)
class ServerWorkspace:
    """The place where one build works: databases on the server, and a folder for its output."""

    folder: Path
    server: Server
    prefix: str

    @property
    def database(self) -> ServerDatabase:
        """The database under construction."""
        return ServerDatabase(self.server, self.prefix)

    def state(self, index: int) -> ServerDatabase:
        """A database for a copy of a state that is passed on the way."""
        return ServerDatabase(self.server, f"{self.prefix}_{index}")

    def clear(self) -> None:
        """Drop the database and its states."""
        with self.server.connect() as connection:
            databases.drop_named(connection, self.prefix)

    def close(self) -> None:
        """Drop and delete all of it."""
        shutil.rmtree(self.folder, ignore_errors=True)
        with contextlib.suppress(SnapshotError):
            self.clear()


class ServerStore(Store):
    """The snapshots on a server; the directory has archives, failures and the parse cache."""

    archives: Archives

    def __init__(self, root: Path):
        super().__init__(root)
        self.archives = Archives(root / "archives")
        # The last crash before something was begun to be built here.
        self._crash: str | None = None

    def prepare(self) -> None:
        """Make the directory, if it can be made: no snapshot is in it."""
        with contextlib.suppress(StoreError):
            super().prepare()

    @functools.cached_property
    def server(self) -> Server:
        """The server, looked for when it is first needed."""
        server = server_in_use()
        _ = server.facts
        return server

    @contextlib.contextmanager
    def lock(self, digest: str) -> Iterator[None]:
        """Hold the lock of one digest; the server releases it if the process dies."""
        with self.server.connect() as connection:
            key = _lock_key(digest)
            connection.execute("SELECT pg_advisory_lock(%s)", (key,))
            yield

    def is_intact(self, entry: Entry) -> bool:
        """Whether it is still there, was not altered, and began as a new one would.

        Nobody can connect to it, and so nobody can change it; who lets somebody connect alters it.
        """
        return self.damage(entry) is None

    def damage(self, entry: Entry) -> str | None:
        """In words, why it can't be used; None if it can be."""
        with self.server.connect() as connection:
            row = connection.execute(
                f"SELECT shobj_description(oid, 'pg_database'), {_MARK} FROM pg_database d "
                "WHERE datname = %s AND datistemplate AND NOT datallowconn",
                (entry.name,),
            ).fetchone()
            crash = databases.last_crash(connection)
        marks = _marks_in(row[0]) if row is not None else _Marks()
        if row is None or marks.altered != row[1]:
            return f"{entry.database} is damaged or was changed"
        if marks.crash not in ("", crash):
            return f"{entry.database} has unlogged tables, which a crash of the server has emptied"
        if marks.began != self._surroundings:
            return (
                f"{entry.database} was built with another template1, or other settings, rights or "
                "extensions of the server's"
            )
        return None

    def usable_archives(self) -> Sequence[Archived]:
        """Those of snapshots that are not here, or began as a new one would."""
        began = {name: _marks_in(comment).began for name, comment in self._records(SNAPSHOT)}
        now = self._surroundings
        return [one for one in self.archives.all() if began.get(one.name, now) == now]

    @functools.cached_property
    def _surroundings(self) -> str:
        return surroundings(self.server)

    def touch(self, entry: Entry) -> None:
        """Note that a snapshot was asked for, unless that was noted within the last hour."""
        self.archives.touch(entry.name)
        if time.time() - entry.used > _NOTED_ANYWAY:
            self._rewrite(entry, entry.manifest)

    def update(self, entry: Entry, manifest: Manifest) -> Entry:
        """Replace the manifest of a snapshot; the database stays."""
        self._rewrite(entry, manifest)
        return dataclasses.replace(entry, manifest=manifest)

    def entries(self) -> list[Entry]:
        """Every finished snapshot, the latest made first."""
        entries = self._read(SNAPSHOT)
        return sorted(entries, key=lambda entry: entry.manifest.created, reverse=True)

    def unreadable(self) -> list[str]:
        """The templates and archives whose manifests are damaged, or another version's."""
        readable = {entry.name for entry in self.entries()}
        names = [name for name, _ in self._templates() if name not in readable]
        templates = [str(ServerDatabase(self.server, name)) for name in names]
        return [*templates, *map(str, self.archives.unreadable())]

    def workspace(self, digest: str, *, elsewhere: bool = False) -> ServerWorkspace:
        """Names to build under; what killed builders of this digest left is dropped."""
        prefix = BUILDING + digest[:_SHORT]
        with self.server.connect() as connection:
            databases.drop_named(connection, prefix)
            self._crash = databases.last_crash(connection)
        # Another server's builder, whose lock is another one, may be at work on the same digest.
        own = f"{digest[:NAME_LENGTH]}.{hashlib.sha256(str(self.server).encode()).hexdigest()[:8]}."
        for leftover in self.building.glob(f"{own}*"):
            shutil.rmtree(leftover, ignore_errors=True)
        folder = self._folder(own, elsewhere=elsewhere)
        return ServerWorkspace(folder, self.server, f"{prefix}_{secrets.token_hex(3)}")

    def _folder(self, prefix: str, *, elsewhere: bool) -> Path:
        """A folder to work in. Nothing of a snapshot is in it, so that a store may be read-only."""
        if not elsewhere:
            with contextlib.suppress(OSError):
                return Path(tempfile.mkdtemp(prefix=prefix, dir=self.building))
        try:
            return Path(tempfile.mkdtemp(prefix=prefix))
        except OSError as error:
            raise self.unwritable(error) from error

    def publish(self, database: Target, manifest: Manifest, *, replace: bool = True) -> Entry:
        """Make a sealed database a template under its name; it exists from the last step on.

        What is there under its name already is replaced, or else kept if it is sound.

        Raises:
            StoreError: the server refuses.
        """
        import psycopg
        from psycopg import sql

        name = SNAPSHOT + manifest.digest[:NAME_LENGTH]
        if manifest.observed:
            name += "_" + manifest.observed.digest[:8]
        name = self._ours(name)
        # A migration may have changed it.
        self.__dict__.pop("_surroundings", None)
        present = None if replace else next(self._read(name), None)
        is_same = present and present.name == name and present.manifest.stands_for(manifest)
        if present and is_same and self.is_intact(present):
            return present
        began = self._surroundings
        building = ServerDatabase(self.server, database.name)
        # A migration may have given it to another role.
        finish = ("OWNER TO CURRENT_USER", "ALLOW_CONNECTIONS false", "IS_TEMPLATE true")
        try:
            with self.server.connect() as connection:
                crash = databases.last_crash(connection)
                if crash != self._crash:
                    # Of what it had committed last, without waiting for the disk, nothing is left.
                    raise StoreError(
                        f"the server at {self.server} crashed during the build",
                        hint="build again; or did somebody reset its statistics?",
                    )
                crash = crash if building.has_unlogged() else ""
                # While this is held, nobody takes it for what a killed process left.
                connection.execute("SELECT pg_advisory_lock_shared(%s)", (lock_key(name),))
                # Nothing is finished that a killed server would not know of.
                connection.execute("SET synchronous_commit = on")
                databases.drop(connection, name)
                databases.rename(connection, database.name, name)
                with connection.transaction():
                    for option in finish:
                        statement = sql.SQL("ALTER DATABASE {} " + option)
                        connection.execute(statement.format(sql.Identifier(name)))
                    query = f"SELECT {_MARK} FROM pg_database d WHERE datname = %s"
                    (mark,) = connection.execute(query, (name,)).fetchone() or ("",)
                    self._write(connection, name, manifest, _Marks(mark, began, crash))
            self.archives.remove_other(name, manifest)
        except OSError as error:
            raise self.unwritable(error) from error
        except psycopg.Error as error:
            raise StoreError(
                f"can't make {database.name} on {self.server} a snapshot: {said(error)}",
                hint="does the role own it, and may it create databases?",
            ) from error
        return self._entry(name, time.time(), manifest)

    def failed_database(self, digest: str) -> ServerDatabase:
        """The half-built database of a failed build."""
        return ServerDatabase(self.server, FAILED + digest[:NAME_LENGTH])

    @contextlib.contextmanager
    def in_use(self, entry: Entry) -> Iterator[None]:
        """Keep a snapshot from being pruned by another process meanwhile."""
        with self.server.connect() as connection:
            connection.execute("SELECT pg_advisory_lock_shared(%s)", (lock_key(entry.name),))
            yield

    def _folders(self) -> tuple[Path, ...]:
        return (self.building, *super()._folders())

    def _candidates(self, digest: str) -> Iterator[Entry]:
        return self._read(SNAPSHOT + digest[:NAME_LENGTH])

    def _keep(self, database: Target, digest: str, owner: str) -> None:
        kept = self.failed_database(digest).name
        with self.server.connect() as connection:
            databases.rename(connection, database.name, kept)
            databases.comment(connection, kept, owner)

    def _read(self, prefix: str) -> Iterator[Entry]:
        """The finished snapshots whose names begin so."""
        for name, text in self._records(prefix):
            with contextlib.suppress(ValueError, TypeError, KeyError, AttributeError):
                record = json.loads(text or "")
                manifest = Manifest.from_json(record["manifest"])
                if manifest.format == FORMAT:
                    yield self._entry(name, float(record["used"]), manifest)

    def _damaged(self, state: State) -> Iterator[str]:
        for name, text in self._records(SNAPSHOT + state.digest[:NAME_LENGTH]):
            if _is_damaged(text):
                yield f"the comment of {name}"

    def _records(self, prefix: str) -> list[tuple[str, str | None]]:
        """The names and comments of templates that nobody can connect to."""
        with self.server.connect() as connection:
            return connection.execute(
                "SELECT datname, shobj_description(oid, 'pg_database') FROM pg_database "
                "WHERE starts_with(datname, %s) AND datistemplate AND NOT datallowconn "
                f"AND {databases.MINE} ORDER BY datname",
                (prefix,),
            ).fetchall()

    def _templates(self) -> list[tuple[str, str | None]]:
        """The names and comments of snapshots, readable or not, and of no user's own template."""
        named = re.compile(SNAPSHOT + _DIGEST)
        return [row for row in self._records(SNAPSHOT) if named.match(row[0])]

    def _rewrite(self, entry: Entry, manifest: Manifest) -> None:
        """Replace a manifest; the marks stay what they were."""
        query = "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = %s"
        with self.server.connect() as connection:
            (text,) = connection.execute(query, (entry.name,)).fetchone() or (None,)
            self._write(connection, entry.name, manifest, _marks_in(text))

    def _write(
        self,
        connection: psycopg.Connection[Any],
        name: str,
        manifest: Manifest,
        marks: _Marks,
    ) -> None:
        record = {
            "used": time.time(),
            "mark": marks.altered,
            "began": marks.began,
            "crash": marks.crash,
            "manifest": manifest.to_json(),
        }
        databases.comment(connection, name, json.dumps(record))

    def _entry(self, name: str, used: float, manifest: Manifest) -> Entry:
        return Entry(name, ServerDatabase(self.server, name), manifest, used)

    def _ours(self, name: str) -> str:
        """The name. If another role has a database of that name, a name beside it."""
        with self.server.connect() as connection:
            taken = connection.execute(
                f"SELECT current_user FROM pg_database WHERE datname = %s AND NOT {databases.MINE}",
                (name,),
            ).fetchone()
        return f"{name}_{hashlib.sha256(taken[0].encode()).hexdigest()[:4]}" if taken else name

    def _kept(self) -> list[Entry]:
        """The snapshots on the server, and those that are archives, with the bytes of both."""
        kept = {entry.name: entry for entry in self.entries()}
        for one in self.archives.all():
            there = kept.get(one.name)
            entry = there or self._entry(one.name, one.used, one.manifest)
            size = one.manifest.size + (there.manifest.size if there else 0)
            manifest = dataclasses.replace(entry.manifest, size=size)
            kept[one.name] = dataclasses.replace(entry, manifest=manifest)
        return list(kept.values())

    def _delete(self, entry: Entry) -> bool:
        with self.server.connect() as connection:
            if not _drop_if_free(connection, entry.name, lock_key(entry.name)):
                return False
        try:
            self.archives.remove(entry.name)
        except OSError as error:
            raise self.unwritable(error) from error
        return True

    def _sweep(self, owner: str | None) -> None:
        """Drop what dead builders left, and an owner's failed builds, or all of these."""
        self.archives.sweep()
        with self.server.connect() as connection:
            sweep(connection)
            rows = connection.execute(
                "SELECT datname, shobj_description(oid, 'pg_database') FROM pg_database "
                f"WHERE datname ~ %s AND {databases.OURS} AND NOT "
                "(starts_with(datname, %s) AND datistemplate AND NOT datallowconn)",
                (f"^({BUILDING}|{FAILED}|{SNAPSHOT}){_DIGEST}", SNAPSHOT),
            ).fetchall()
            damaged = [row for row in self._templates() if _is_damaged(row[1])]
            for name, comment in (*rows, *damaged):
                if owner is not None and name.startswith(FAILED) and comment != owner:
                    continue
                digest = name.split("_")[2]
                is_snapshot = name.startswith(SNAPSHOT)
                key = lock_key(name) if is_snapshot else _lock_key(digest)
                if _drop_if_free(connection, name, key) and not is_snapshot:
                    self._failure_record(digest).unlink(missing_ok=True)


def _is_damaged(comment: str | None) -> bool:
    """Whether a comment has no manifest, or one that is no JSON, which no version writes."""
    try:
        Manifest.from_json(json.loads(comment or "")["manifest"])
    except (ValueError, TypeError):
        return True
    except (KeyError, AttributeError):
        return False
    return False


def _marks_in(comment: str | None) -> _Marks:
    """The marks in a snapshot's comment, if it has them."""
    with contextlib.suppress(ValueError, TypeError, KeyError):
        record = json.loads(comment or "")
        return _Marks(str(record["mark"]), str(record["began"]), str(record["crash"]))
    return _Marks()


def _drop_if_free(connection: psycopg.Connection[Any], name: str, key: int) -> bool:
    """Drop a database unless somebody holds its lock; whether it was dropped."""
    row = connection.execute("SELECT pg_try_advisory_lock(%s)", (key,)).fetchone()
    if not row or not row[0]:
        return False
    databases.drop(connection, name)
    connection.execute("SELECT pg_advisory_unlock(%s)", (key,))
    return True


def _lock_key(digest: str) -> int:
    return lock_key(f"build {digest[:_SHORT]}")
