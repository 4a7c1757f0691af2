"""A database made from a file: statement by statement, without rights, and verified."""

from __future__ import annotations

import contextlib
import json
import re
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alembic_snapshot.database.schema import Schema, differences
from alembic_snapshot.database.target import NotForHere
from alembic_snapshot.errors import ServerError, SnapshotError, StoreError
from alembic_snapshot.postgres import archive
from alembic_snapshot.postgres.archive import Archive, Contents
from alembic_snapshot.postgres.database import ServerDatabase
from alembic_snapshot.postgres.databases import alter
from alembic_snapshot.postgres.extensions import missing_in
from alembic_snapshot.postgres.restorer import restoring
from alembic_snapshot.postgres.server import said
from alembic_snapshot.postgres.statements import NotCarried, refuse

if TYPE_CHECKING:
    import psycopg

    from alembic_snapshot.store.manifest import Manifest

_HINT = "nothing is used of it; the snapshot is built instead"
_NAME = r'"(?:[^"]|"")+"'
_FORCING = re.compile(rf"ALTER TABLE (?:ONLY )?{_NAME}\.{_NAME} FORCE ROW LEVEL SECURITY")
# Seconds for which a file is tried out.
_PATIENCE = 600.0
# How many tables are counted at a time.
_TOGETHER = 100


def restore(file: Path, manifest: Manifest, database: ServerDatabase, seconds: float) -> None:
    """Make a database of what is in a file. It is ours then, and compact.

    Nothing is there if that fails, or takes longer than ``seconds``.

    Raises:
        NotForHere: this server can't have it.
        StoreError: the file is not what the manifest says.
    """
    import psycopg

    try:
        with archive.opened(file) as opened, restoring(database) as server:
            _refuse_unfit(opened.contents, database)
            there = ServerDatabase(server, database.name)
            with _logged_in(there) as connection, _limited(database, connection, seconds):
                _fill(connection, opened)
                _verify_rows(connection, there, opened.contents, manifest)
                _run(connection, _parted(opened.contents.before)[1])
                _verify_schema(connection, opened.contents)
            # Indexes on expressions are still their owner's, and so are the functions in them.
            with database.server.connect(database.name) as connection:
                connection.execute("VACUUM (FREEZE, ANALYZE)")
        database.connect_once()
    except StoreError as error:
        raise StoreError(error.message, hint=_HINT) from error
    except (SnapshotError, psycopg.Error) as error:
        raise _refusal(error) from error


def try_out(file: Path, manifest: Manifest, database: ServerDatabase) -> None:
    """Restore a file that was just written, in the place of a database that is not needed.

    Raises:
        StoreError: it can't be restored, not even here.
    """
    try:
        restore(file, manifest, database, _PATIENCE)
    except (StoreError, NotForHere) as error:
        why = error.message if isinstance(error, StoreError) else str(error)
        raise StoreError(
            f"a file can't carry it: tried out, {why}", hint="it is built on each machine"
        ) from error


def _logged_in(database: ServerDatabase) -> psycopg.Connection[Any]:
    """A connection as who restores.

    Raises:
        NotForHere: that role is not let in.
    """
    try:
        return database.server.connect(database.name)
    except ServerError as error:
        raise NotForHere(
            "this server does not let in the role that would restore it: "
            f"{' '.join(said(error).split())}"
        ) from error


def _refusal(error: BaseException) -> StoreError | NotForHere:
    """What is said of what the server did not take."""
    text = " ".join(said(error).split())
    extension = missing_in(text)
    if extension is not None:
        return NotForHere(f"this server has no extension {extension}")
    return StoreError(f"the server refuses what is in it: {text}", hint=_HINT)


def _refuse_unfit(contents: Contents, database: ServerDatabase) -> None:
    """Refuse what is from a newer server, or would be sorted and compared otherwise here.

    Raises:
        NotForHere: it says so.
    """
    here, there = database.server.facts.version // 10_000, contents.version // 10_000
    if there > here:
        raise NotForHere(f"it is from PostgreSQL {there}, and this server is {here}")
    with database.server.connect(database.name) as connection:
        ours = archive.locale(connection)
    if ours != contents.locale:
        theirs, own = "/".join(contents.locale), "/".join(ours)
        raise NotForHere(f"its locale is {theirs}, and this server's is {own}")


@contextlib.contextmanager
def _limited(
    database: ServerDatabase, connection: psycopg.Connection[Any], seconds: float
) -> Iterator[None]:
    """End a connection that is at work for too long, whatever it has set."""
    import psycopg

    is_late = threading.Event()
    process = connection.info.backend_pid

    def end() -> None:
        is_late.set()
        with contextlib.suppress(SnapshotError), database.server.connect() as own:
            own.execute("SELECT pg_terminate_backend(%s)", (process,))

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    except (SnapshotError, psycopg.Error) as error:
        if is_late.is_set():
            raise NotForHere(f"it was not restored within {seconds:.0f} s") from error
        raise
    finally:
        timer.cancel()


def _fill(connection: psycopg.Connection[Any], opened: Archive) -> None:
    """Make the schema, its rows and its sequences' values, in one transaction."""
    contents = opened.contents
    archive.prepare(connection)
    with connection.transaction():
        if "schema public" not in contents.facts:
            connection.execute("DROP SCHEMA public")
        _run(connection, _parted(contents.before)[0])
        for index, table in enumerate(contents.tables):
            if table.rows:
                _copy(connection, opened, index)
        connection.execute(
            "SELECT setval(format('%%I.%%I', s ->> 0, s ->> 1)::regclass, (s ->> 2)::bigint, "
            "(s ->> 3)::bool) FROM jsonb_array_elements(%s::jsonb) s",
            (json.dumps(contents.sequences),),
        )
        _run(connection, contents.after)
        for schema, name, _rows, _hash in contents.views:
            _refresh(connection, schema, name)
    alter(connection, connection.info.dbname, ((None, setting) for setting in contents.settings))


def _parted(statements: list[str]) -> tuple[list[str], list[str]]:
    """The statements that make tables, and those that come when their rows are there and counted.

    Who restores owns the tables, and sees all rows until policies are for the owner, too.
    """
    last = [one for one in statements if _FORCING.fullmatch(one)]
    return [one for one in statements if one not in last], last


def _run(connection: psycopg.Connection[Any], statements: list[str]) -> None:
    try:
        for statement in statements:
            refuse(statement)
    except NotCarried as error:
        raise StoreError(f"it has {error}, which makes no schema", hint=_HINT) from None
    with connection.pipeline():
        for statement in statements:
            # In a pipeline a message is one statement: the server refuses more.
            connection.execute(statement, prepare=False)


def _copy(connection: psycopg.Connection[Any], opened: Archive, index: int) -> None:
    with (
        connection.cursor() as cursor,
        cursor.copy(archive.copying(opened.contents.tables[index], "FROM STDIN")) as copy,
    ):
        for part in opened.rows(index):
            copy.write(part)


def _refresh(connection: psycopg.Connection[Any], schema: str, name: str) -> None:
    from psycopg import sql

    statement = sql.SQL("REFRESH MATERIALIZED VIEW {}")
    connection.execute(statement.format(sql.Identifier(schema, name)))


def _verify_rows(
    connection: psycopg.Connection[Any],
    database: ServerDatabase,
    contents: Contents,
    manifest: Manifest,
) -> None:
    """See that it has what was written: the number of rows, the heads.

    Raises:
        StoreError: it has not.
    """
    archive.prepare(connection)
    for first in range(0, len(contents.tables), _TOGETHER):
        _count(connection, contents.tables[first : first + _TOGETHER])
    for view in contents.views:
        if list(archive.counted_view(connection, view[0], view[1])) != list(view):
            raise StoreError(f"the materialized view {view[1]} has other rows here", hint=_HINT)
    for there, here in zip(contents.computed, archive.computed(connection), strict=True):
        if there != here:
            raise StoreError(f"generated columns of {there[1]} have other values here", hint=_HINT)
    heads = database.heads(manifest.version_table)
    if sorted(heads) != sorted(manifest.heads):
        at, told = " ".join(heads) or "no revision", " ".join(manifest.heads) or "none"
        raise StoreError(f"it is at {at}, and its manifest says {told}", hint=_HINT)


def _verify_schema(connection: psycopg.Connection[Any], contents: Contents) -> None:
    """See that its schema is what was written.

    Raises:
        StoreError: it is not.
    """
    archive.prepare(connection)
    is_newer = connection.info.server_version // 10_000 > contents.version // 10_000
    expected, found = (
        Schema(frozenset(map(_object, facts) if is_newer else facts))
        for facts in (contents.facts, archive.facts(connection))
    )
    changes = differences(expected, found)
    if changes:
        raise StoreError(f"its schema is another one here: {changes[0]}", hint=_HINT)
    listed = {
        "r": [[table.schema, table.name] for table in contents.tables],
        "S": [list(sequence[:2]) for sequence in contents.sequences],
        "m": [list(view[:2]) for view in contents.views],
    }
    for kind, names in listed.items():
        if sorted(names) != sorted(archive.relations(connection, kind)):
            raise StoreError("it has not the rows or values of all that it makes", hint=_HINT)


def _object(fact: str) -> str:
    """What a fact is about. Versions write down in other words how it is defined."""
    kind, *more = fact.split()
    return " ".join([kind, *more[: 1 if kind == "extension" else 2]])


def _count(connection: psycopg.Connection[Any], tables: Sequence[archive.Table]) -> None:
    from psycopg import sql

    counts = [
        sql.SQL("SELECT {}, count(*) FROM ONLY {}").format(
            sql.Literal(index), sql.Identifier(table.schema, table.name)
        )
        for index, table in enumerate(tables)
    ]
    for index, count in connection.execute(sql.SQL(" UNION ALL ").join(counts)):
        table = tables[index]
        if count != table.rows:
            raise StoreError(
                f"the table {table.name} has {count} rows, and {table.rows} were written",
                hint=_HINT,
            )
