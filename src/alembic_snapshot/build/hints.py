"""What to do about an error of a build, by what it says and where it was raised."""

from __future__ import annotations

import contextlib
import errno
import os
import re

from alembic_snapshot.backend import backend_of
from alembic_snapshot.builder.protocol import Failure
from alembic_snapshot.database.target import Target
from alembic_snapshot.key.layers import Chain
from alembic_snapshot.project import unsupported
from alembic_snapshot.project.alembic_settings import unsupported_url
from alembic_snapshot.project.commands import alembic_command
from alembic_snapshot.project.config import Project
from alembic_snapshot.project.places import TABLE

# Errors that no setting of ours mends.
_MISTAKES = ("SyntaxError", "IndentationError", "TabError", "NameError", "UnboundLocalError")
_MAKES_TABLES = re.compile(r"create_table|create_all|create\s+table", re.IGNORECASE)
_THING = r"(table|relation|index|constraint|column|view|sequence|type|trigger)"
_NOT_THERE = re.compile(rf'no such {_THING}|\b{_THING} ".*" does not exist', re.IGNORECASE)
# What pydantic says of a URL of another database.
_POSTGRESQL_ONLY = re.compile(r"URL scheme should be 'postgres")
# What SQLite says of SQL that only listeners of the application's engine give to a connection.
_NO_OWN_SQL = re.compile(r"(no such|unknown) function|no such collation sequence")
# What Flask says of code that needs an application.
_NO_CONTEXT = re.compile(r"outside of (the )?application context")


def hint_for(failed: Failure, project: Project, chain: Chain, kept: Target | None) -> str:
    """The hint; ``kept`` is where the half-built database is going to be, if it is kept."""
    if is_full(failed):
        other = "choose another store with ALEMBIC_SNAPSHOT_DIR"
        return f"is the disk full? make room, or {other}"
    if failed.hint:
        return failed.hint
    if _POSTGRESQL_ONLY.search(failed.text) and "host" not in backend_of(project).nowhere():
        return f'write backend = "postgresql" in [{TABLE}]: the application takes no other URL'
    if failed.type in _MISTAKES:
        return "correct the file"
    if failed.type.startswith("Interpolation"):
        return "correct that option in Alembic's configuration"
    sync = [n for n, value in project.environment.items() if "{url}" in value]
    if failed.wants_async and sync and "requires an async driver" in failed.text:
        return f'write {sync[0]} = "{{async_url}}" in environment: the engine is an async one'
    if failed.type == "ValueError" and "interpolation syntax" in failed.text:
        return 'write url.replace("%", "%%") where a URL is put into Alembic\'s configuration'
    kind = unsupported.of_error(failed.text)
    if kind:
        return f"{kind} is not supported: {unsupported.HINT}"
    kind = unsupported_url(project.alembic) if failed.current else None
    if kind:
        return f"sqlalchemy.url is for {kind}, which is not supported: {unsupported.HINT}"
    own = backend_of(project).hint_for(failed.text)
    if own:
        return own
    lacks = failed.facts.async_lacks
    if lacks and (failed.wants_async or any(name in failed.text for name in lacks)):
        extras = backend_of(project).async_extras
        return f'env.py needs an async driver: pip install "alembic-snapshot[{extras}]"'
    if failed.type == "ImportError":
        return "correct the import, or install the version that has it"
    if failed.is_import:
        return "install it, or add its folder to pythonpath in [tool.alembic-snapshot]"
    if failed.facts.caught_by:
        return f"{failed.facts.caught_by} caught this error and went on: let it end the run"
    if failed.current and _NO_OWN_SQL.search(failed.text):
        return (
            "let env.py connect with the engine whose listener has it, or give it to every "
            'engine: @event.listens_for(Engine, "connect")'
        )
    if failed.argument is not None:
        return f'is it an argument of -x? set x = ["{failed.argument}=…"] in [{TABLE}]'
    if failed.variable:
        return f'is it a variable? set environment = {{ {failed.variable} = "…" }}'
    if failed.who == "a revision script":
        return "correct the file; --traceback shows how it came to be loaded"
    if failed.who == "the revisions' history":
        same = alembic_command(project, "history")
        return f"correct the fields of the script that it names; `{same}` says the same"
    if failed.who.startswith("migrate"):
        return "correct it; --traceback shows all lines"
    if failed.current:
        return _of_a_revision(failed, project, chain, kept)
    if _NO_CONTEXT.search(failed.text) and not project.context:
        return (
            f"name what makes the application in [{TABLE}], for example "
            'context = "blog:create_app().app_context()"'
        )
    if failed.is_context:
        return (
            "it is made as a command would, in the project's folder: set the variables that "
            f"it needs with environment in [{TABLE}]"
        )
    return (
        "env.py may need a variable (environment), an argument (x) or a function that makes "
        "the database (migrate): set it in [tool.alembic-snapshot]"
    )


def _of_a_revision(failed: Failure, project: Project, chain: Chain, kept: Target | None) -> str:
    """The hint for an error of a revision or a seed: where its database can be looked at."""
    if kept is None:
        return "correct it, or what was in the database before it"
    opened = "" if kept.file else f"; open it: {kept.opening}"
    missing = ""
    if _NOT_THERE.search(failed.text) and not _tables_are_made(failed, project, chain):
        missing = "; are its first tables not made by Alembic? then set migrate"
    return f"the half-built database is kept at {kept}{opened}{missing}"


def _tables_are_made(failed: Failure, project: Project, chain: Chain) -> bool:
    """Whether revisions before the one that failed make tables: then a name is a wrong one."""
    if failed.current is None or failed.current not in chain.revisions:
        return True
    before = chain.below(chain.revisions[failed.current].parents)
    names = {name for one in before for name in chain.revisions[one].inputs}
    for name in names:
        with contextlib.suppress(OSError):
            text = (project.root / name).read_text(encoding="utf-8", errors="replace")
            if _MAKES_TABLES.search(text):
                return True
    return False


def is_full(failed: Failure) -> bool:
    """Whether a disk is full."""
    said = ("disk is full", "disk I/O error", os.strerror(errno.ENOSPC))
    return any(words in failed.text for words in said)
