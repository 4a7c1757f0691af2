"""Each kind of failure has its own hint, in full, and no other one's."""

from __future__ import annotations

import dataclasses
import errno
import os

import pytest

from alembic_snapshot.build.hints import hint_for, is_full
from alembic_snapshot.project.unsupported import HINT
from alembic_snapshot.sqlite.database import DatabaseFile
from tests.failures import FACTS, FAILED

MIGRATION = dataclasses.replace(FAILED, who="revision 0002", current="0002")
LACKING = dataclasses.replace(FACTS, async_lacks=("aiosqlite", "greenlet"))
SETTINGS = (
    "env.py may need a variable (environment), an argument (x) or a function that makes the "
    "database (migrate): set it in [tool.alembic-snapshot]"
)
FULL = "is the disk full? make room, or choose another store with ALEMBIC_SNAPSHOT_DIR"
ASYNC = 'env.py needs an async driver: pip install "alembic-snapshot[async]"'
IMPORTED = "install it, or add its folder to pythonpath in [tool.alembic-snapshot]"
OWN_SQL = (
    "let env.py connect with the engine whose listener has it, or give it to every engine: "
    '@event.listens_for(Engine, "connect")'
)
CONTEXT = (
    "name what makes the application in [tool.alembic-snapshot], for example "
    'context = "blog:create_app().app_context()"'
)
# What failed, as what differs from a plain failure in env.py, or in a revision; and the hint.
HINTS = {
    "nothing known": (FAILED, {}, SETTINGS),
    "a full disk": (MIGRATION, {"text": "database or disk is full", "hint": "x"}, FULL),
    "a broken disk": (MIGRATION, {"text": "(x) disk I/O error"}, FULL),
    "no space": (FAILED, {"text": f"[Errno 28] {os.strerror(errno.ENOSPC)}: 'a'"}, FULL),
    "one that it brings": (FAILED, {"hint": "x", "type": "NameError", "current": "a"}, "x"),
    **{
        kind: (MIGRATION, {"type": kind}, "correct the file")
        for kind in (
            "SyntaxError", "IndentationError", "TabError", "NameError", "UnboundLocalError"
        )
    },
    "an option": (
        FAILED,
        {"type": "InterpolationMissingOptionError"},
        "correct that option in Alembic's configuration",
    ),
    "a percent sign": (
        FAILED,
        {"type": "ValueError", "text": "invalid interpolation syntax in 'x' at position 3"},
        'write url.replace("%", "%%") where a URL is put into Alembic\'s configuration',
    ),
    "another interpolation": (FAILED, {"text": "invalid interpolation syntax in"}, SETTINGS),
    "another value": (FAILED, {"type": "ValueError"}, SETTINGS),
    "a URL that pydantic does not take": (
        FAILED,
        {"type": "ValidationError", "text": "URL\n  URL scheme should be 'postgres' or 'x'"},
        'write backend = "postgresql" in [tool.alembic-snapshot]: the application takes no other '
        "URL",
    ),
    "a driver that is not supported": (
        FAILED,
        {"type": "ModuleNotFoundError", "text": "No module named 'oracledb'", "is_import": True},
        f"Oracle is not supported: {HINT}",
    ),
    "an async engine": (FAILED, {"facts": LACKING, "wants_async": True}, ASYNC),
    **{
        f"without {name}": (
            FAILED,
            {"facts": LACKING, "text": f"No module named {name!r}", "is_import": True},
            ASYNC,
        )
        for name in LACKING.async_lacks
    },
    "an async engine with its driver": (FAILED, {"wants_async": True}, SETTINGS),
    "a driver that nobody asks for": (FAILED, {"facts": LACKING}, SETTINGS),
    "a name that a module lacks": (
        FAILED,
        {"type": "ImportError", "is_import": True},
        "correct the import, or install the version that has it",
    ),
    "a module": (FAILED, {"type": "ModuleNotFoundError", "is_import": True}, IMPORTED),
    "an error that was caught": (
        MIGRATION,
        {"facts": dataclasses.replace(FACTS, caught_by="env.py")},
        "env.py caught this error and went on: let it end the run",
    ),
    **{
        said: (MIGRATION, {"text": said}, OWN_SQL)
        for said in (
            "no such function: f", "unknown function: f()", "no such collation sequence: c"
        )
    },
    "a function in env.py": (FAILED, {"text": "no such function: f"}, SETTINGS),
    "an argument": (
        MIGRATION,
        {"argument": "tenant", "variable": "TENANT"},
        'is it an argument of -x? set x = ["tenant=…"] in [tool.alembic-snapshot]',
    ),
    "an argument without a name": (
        FAILED,
        {"argument": ""},
        'is it an argument of -x? set x = ["=…"] in [tool.alembic-snapshot]',
    ),
    "a variable": (
        MIGRATION, {"variable": "KEY"}, 'is it a variable? set environment = { KEY = "…" }'
    ),
    "a script": (
        FAILED,
        {"who": "a revision script"},
        "correct the file; --traceback shows how it came to be loaded",
    ),
    "a history": (
        FAILED,
        {"who": "the revisions' history"},
        "correct the fields of the script that it names; `alembic history` says the same",
    ),
    "migrate": (
        MIGRATION, {"who": "migrate shop:make"}, "correct it; --traceback shows all lines"
    ),
    "an application": (FAILED, {"text": "Working outside of application context."}, CONTEXT),
    "the application": (FAILED, {"text": "outside of the application context"}, CONTEXT),
    "what makes the application": (
        FAILED,
        {"is_context": True},
        "it is made as a command would, in the project's folder: set the variables that it needs "
        "with environment in [tool.alembic-snapshot]",
    ),
}  # fmt: skip


@pytest.fixture
def hint_of(project, monkeypatch):
    """The hint for a failure in a project of two revisions, and where its database is kept."""
    project.history(2)
    monkeypatch.chdir(project.root)

    def hint(failed, kept=None):
        return hint_for(failed, project.load(), project.chain(), kept)

    return hint


@pytest.mark.parametrize(("failed", "changes", "hint"), HINTS.values(), ids=HINTS)
def test_a_failure_has_its_hint(failed, changes, hint, hint_of):
    assert hint_of(dataclasses.replace(failed, **changes)) == hint


def test_only_a_full_disk_is_one():
    assert not is_full(FAILED)


@pytest.mark.parametrize(
    ("environment", "changes", "hint"),
    [
        ('{ A = "x", DB = "{url}", LATER = "{url}" }', {}, True),
        ('{ DB = "{async_url}" }', {}, False),
        ('{ DB = "{url}" }', {"wants_async": False}, False),
        ('{ DB = "{url}" }', {"text": "something else"}, False),
    ],
)
def test_a_variable_of_an_async_engine_is_to_have_an_async_url(
    project, hint_of, environment, changes, hint
):
    project.configure(f"environment = {environment}")
    failed = dataclasses.replace(
        FAILED, wants_async=True, text="The asyncio extension requires an async driver to be used."
    )
    text = 'write DB = "{async_url}" in environment: the engine is an async one'

    assert hint_of(dataclasses.replace(failed, **changes)) == (text if hint else SETTINGS)


@pytest.mark.parametrize(("current", "is_told"), [("0002", True), (None, False)])
def test_a_revision_for_another_kind_of_database_is_told_which(project, hint_of, current, is_told):
    project.append("alembic.ini", "sqlalchemy.url = mysql://db/shop\n")
    project.configure('environment = { DATABASE_URL = "{url}" }\nbackend = "sqlite"')
    hint = hint_of(dataclasses.replace(FAILED, current=current, who="env.py"))

    told = f"sqlalchemy.url is for MySQL, which is not supported: {HINT}"
    assert hint == (told if is_told else SETTINGS)


def test_who_has_named_the_application_is_not_told_to(project, hint_of):
    project.write("blog.py", "")
    project.configure('context = "blog:create_app().app_context()"')

    failed = dataclasses.replace(FAILED, text="outside of application context")
    assert hint_of(failed) == SETTINGS


KEPT = DatabaseFile("/store/failed/a.db")


class OnAServer:
    """A database that is no file."""

    file = None
    opening = "psql shop"

    def __str__(self):
        return "shop"


class TestARevision:
    def test_leaves_a_database_where_it_is_said_to_be(self, hint_of):
        assert hint_of(MIGRATION, KEPT) == f"the half-built database is kept at {KEPT}"
        assert hint_of(MIGRATION, OnAServer()) == (
            "the half-built database is kept at shop; open it: psql shop"
        )

    def test_whose_database_is_not_kept_is_to_be_corrected(self, hint_of):
        assert hint_of(MIGRATION) == "correct it, or what was in the database before it"

    @pytest.mark.parametrize(
        "said",
        [
            "no such table: t",
            "no such index: i",
            "no such column: c",
            "No such constraint: 'c'",
            *(
                f'{thing} "t" does not exist'
                for thing in ("relation", "table", "index", "column", "type", "sequence", "view")
            ),
            'constraint "c" of relation "t" does not exist',
        ],
    )
    @pytest.mark.parametrize(
        ("before", "is_asked"),
        [
            ("op.create_table('t_1', sa.Column('id', sa.Integer))", False),
            ("metadata.create_all(op.get_bind())", False),
            ("op.execute('CREATE  TABLE t_1 (a)')", False),
            ("op.execute('select 1')", True),
        ],
    )
    def test_that_misses_a_table_is_asked_about_the_first_ones(
        self, project, hint_of, said, before, is_asked
    ):
        project.revision("0001", upgrade=before)
        asked = "; are its first tables not made by Alembic? then set migrate"

        hint = hint_of(dataclasses.replace(MIGRATION, text=said), KEPT)

        kept = f"the half-built database is kept at {KEPT}"
        assert hint == kept + (asked if is_asked else "")

    @pytest.mark.parametrize(("current", "is_asked"), [("0001", True), ("seeds:run", False)])
    def test_itself_and_what_stands_on_it_make_no_first_table(self, hint_of, current, is_asked):
        failed = dataclasses.replace(MIGRATION, current=current, text="no such table: t")

        assert hint_of(failed, KEPT).endswith("then set migrate") is is_asked

    def test_with_another_error_is_asked_nothing(self, hint_of):
        failed = dataclasses.replace(MIGRATION, current="0001")

        assert hint_of(failed, KEPT) == f"the half-built database is kept at {KEPT}"

    def test_may_stand_on_a_file_in_any_encoding(self, project, hint_of):
        path = project.revision("0001", upgrade="op.create_table('t', sa.Column('é', sa.Text))")
        text = "# -*- coding: latin-1 -*-\n" + path.read_text(encoding="utf-8")
        path.write_bytes(text.encode("latin-1"))
        failed = dataclasses.replace(MIGRATION, text="no such table: u")

        assert hint_of(failed, KEPT) == f"the half-built database is kept at {KEPT}"

    def test_whose_files_are_gone_has_a_hint_all_the_same(self, project, hint_of):
        chain, loaded = project.chain(), project.load()
        (project.versions / "0001_made.py").unlink()
        failed = dataclasses.replace(MIGRATION, text="no such table: t")

        assert hint_for(failed, loaded, chain, KEPT).endswith("then set migrate")
