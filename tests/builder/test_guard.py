"""G2: while a snapshot is built, nothing reaches any other database."""

from __future__ import annotations

import hashlib
import sqlite3
import textwrap

import pytest

from alembic_snapshot import BuildError, GuardError

OWN_URL = """
    import pathlib
    from alembic import context
    from sqlalchemy import create_engine

    URL = "sqlite:///" + str(pathlib.Path(__file__).parents[1] / "real.db")

    def run(connection):
        context.configure(connection=connection)
        with context.begin_transaction():
            context.run_migrations()
"""
SYNC = (
    OWN_URL
    + """
    with create_engine(URL).connect() as c:  # HERE
        run(c)
"""
)
ASYNC = (
    OWN_URL
    + """
    import asyncio
    from sqlalchemy.ext.asyncio import create_async_engine

    async def main():
        engine = create_async_engine(URL.replace("sqlite:", "sqlite+aiosqlite:"))
        async with engine.connect() as connection:  # HERE
            await connection.run_sync(run)
            await connection.commit()
        await engine.dispose()

    asyncio.run(main())
"""
)
AT_IMPORT = (
    OWN_URL
    + """
    from app import engine
    with engine.connect() as c:  # HERE
        run(c)
"""
)
SETS_URL = (
    OWN_URL
    + """
    from sqlalchemy import engine_from_config
    context.config.set_main_option("sqlalchemy.url", URL)
    engine = engine_from_config(context.config.get_section("alembic"), prefix="sqlalchemy.")
    with engine.connect() as c:  # HERE
        run(c)
"""
)
CREATOR = (
    OWN_URL
    + """
    import sqlite3
    def creator():
        return sqlite3.connect(pathlib.Path(__file__).parents[1] / "real.db")  # HERE
    with create_engine("sqlite://", creator=creator).connect() as c:
        run(c)
"""
)
RAW = (
    OWN_URL
    + """
    import sqlite3
    sqlite3.connect(pathlib.Path(__file__).parents[1] / "real.db").execute("x")  # HERE
"""
)
RAW_ASYNC = (
    OWN_URL
    + """
    import aiosqlite, asyncio
    async def main():
        async with aiosqlite.connect(pathlib.Path(__file__).parents[1] / "real.db") as c:
            await c.execute("create table x (y)")
    asyncio.run(main())  # HERE
"""
)
ATTACHES = (
    OWN_URL
    + """
    from sqlalchemy import engine_from_config, text
    engine = engine_from_config(context.config.get_section("alembic"), prefix="sqlalchemy.")
    with engine.connect() as c:
        c.execute(text("attach :f as other"), {"f": URL.removeprefix("sqlite:///")})  # HERE
        run(c)
"""
)
SWALLOWS = (
    OWN_URL
    + """
    import sqlite3
    try:
        sqlite3.connect(pathlib.Path(__file__).parents[1] / "real.db")  # HERE
    except Exception:
        pass
    with create_engine(context.config.get_main_option("sqlalchemy.url")).connect() as c:
        run(c)
"""
)


FROM_MODULE = """
from alembic import context
from opened import engine

with engine.connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
"""


@pytest.fixture(params=["there", "not there"])
def real(project, request):
    """The application's own database, which must stay as it is; as a digest, or None."""
    path = project.root / "real.db"
    if request.param == "there":
        connection = sqlite3.connect(path)
        connection.execute("create table precious (x)")
        connection.execute("insert into precious values (1)")
        connection.commit()
        connection.close()
    project.write(
        "app.py",
        "import pathlib\nfrom sqlalchemy import create_engine\n"
        f"engine = create_engine('sqlite:///{path}')\n",
    )
    before = fingerprint(path)
    yield path
    assert fingerprint(path) == before


def fingerprint(path):
    beside = sorted(other.name for other in path.parent.glob(path.name + "*"))
    return beside, hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else None


def line_of(path):
    """The number of the line that is marked."""
    lines = path.read_text().splitlines()
    return next(number for number, line in enumerate(lines, 1) if line.endswith("# HERE"))


class TestWhatEnvPyOpens:
    @pytest.mark.parametrize("env", [SYNC, ASYNC, AT_IMPORT, SETS_URL])
    def test_is_redirected_to_the_snapshot_with_a_warning_that_names_the_line(
        self, project, real, tables, env
    ):
        project.history(2)
        line = line_of(project.write("migrations/env.py", env))

        snapshot = project.ensure()

        assert "t_0002" in tables(snapshot.path)
        (warning,) = snapshot.manifest.warnings
        assert warning.startswith(f"migrations/env.py line {line} connects to")
        assert "real.db" in warning
        assert list(snapshot.manifest.databases) == [{"kind": "sqlite", "file": "real.db"}]

    def test_is_warned_of_as_it_is_now_where_env_py_has_run_again(self, project):
        project.configure('environment = { APP_URL = "{url}" }')
        project.history(1)
        project.write("migrations/env.py", FROM_MODULE)
        told = []

        for url in (
            'os.environ["APP_URL"]', '"sqlite:///old.db"', '"sqlite:///new.db"',
            '"sqlite:///new.db" "?timeout=9"', 'os.environ["APP_URL"] + ""',
        ):  # fmt: skip
            made = f"import os\nfrom sqlalchemy import create_engine\nengine = create_engine({url})"
            project.write("opened.py", made)
            snapshot = project.ensure()
            assert snapshot.built == (not told)
            assert [*project.look_up().entry.manifest.warnings] == [*snapshot.manifest.warnings]
            told.append([line.rpartition("/")[2] for line in snapshot.manifest.warnings])

        old, new = (f"{name}.db', which was redirected to the snapshot" for name in ("old", "new"))
        assert told == [[], [old], [new], [new], []]

    def test_is_kept_as_it_is_named_if_it_is_outside_of_the_project(self, project, tmp_path):
        project.history(1)
        elsewhere = tmp_path.parent / "elsewhere.db"
        project.append(
            "migrations/env.py",
            f"\nimport sqlalchemy as sa\nsa.create_engine('sqlite:///{elsewhere}').connect().close()\n",
        )

        snapshot = project.ensure()

        assert list(snapshot.manifest.databases) == [{"kind": "sqlite", "file": str(elsewhere)}]
        assert not elsewhere.exists()

    @pytest.mark.parametrize("env", [SYNC, ASYNC, AT_IMPORT, SETS_URL])
    def test_is_refused_if_the_project_wants_so(self, project, real, env):
        project.configure('foreign = "refuse"')
        project.history(2)
        project.write("migrations/env.py", env)

        with pytest.raises(GuardError, match=r"migrations/env.py line \d+ tried to connect to"):
            project.ensure()

    @pytest.mark.parametrize("env", [RAW, RAW_ASYNC, CREATOR, SWALLOWS])
    def test_is_refused_where_it_cannot_be_redirected(self, project, real, env):
        project.history(2)
        line = line_of(project.write("migrations/env.py", env))

        with pytest.raises(GuardError, match=rf"migrations/env.py line {line} tried to connect"):
            project.ensure()

    def test_is_refused_when_it_is_attached(self, project, real):
        project.history(2)
        line = line_of(project.write("migrations/env.py", ATTACHES))

        with pytest.raises(GuardError, match=rf"env.py line {line} tried to attach a database"):
            project.ensure()

    def test_is_refused_when_it_is_another_kind_of_database(self, project):
        project.history(1)
        project.write(
            "migrations/env.py",
            """
            import types
            from sqlalchemy import create_engine
            driver = types.SimpleNamespace(paramstyle="format", __version__="1.30")
            create_engine("postgresql+pg8000://localhost/real", module=driver).connect()
            """,
        )

        with pytest.raises(GuardError, match=r"line 4 tried to connect to a postgresql database"):
            project.ensure()

    def test_may_be_a_database_in_memory(self, project):
        env = (project.root / "migrations/env.py").read_text()
        extra = "import sqlite3\nsqlite3.connect(':memory:').close()\n"
        project.write("migrations/env.py", extra + env)
        project.history(1)

        assert project.ensure().built

    def test_is_an_error_when_the_snapshot_was_not_upgraded(self, project):
        project.history(1)
        project.write("migrations/env.py", SYNC.replace('"sqlite:///" + str(', '"sqlite://" or ('))

        with pytest.raises(BuildError, match="alembic upgraded to 0001, but the snapshot is at no"):
            project.ensure()

    def test_is_an_error_when_env_py_swallows_every_error(self, project):
        env = (project.root / "migrations/env.py").read_text()
        project.write("migrations/env.py", env.replace(
            "        context.run_migrations()",
            "        try:\n            context.run_migrations()\n"
            "        except Exception:\n            pass",
        ))  # fmt: skip
        project.history(1)
        project.revision("0002", "0001", "op.execute('select * from nowhere')")

        with pytest.raises(BuildError, match="no such table: nowhere"):
            project.ensure()


class TestWhatARevisionOrASeedOpens:
    """Always refused: what is read from another database would be wrong in silence."""

    @pytest.mark.parametrize(
        "body",
        [
            "from app import engine\nengine.connect()",
            "from app import engine\nfrom sqlalchemy.orm import Session\n"
            "Session(engine).connection()",
            "import sqlite3, app\nsqlite3.connect(app.engine.url.database)",
            "sa.create_engine('sqlite:///real.db').connect()",
            "import app\nop.get_bind().execute(sa.text('attach :f as o'),"
            " dict(f=app.engine.url.database))",
            "import sqlite3\nsqlite3.connect('file:real.db#?mode=memory', uri=True)",
            "import sqlite3\nuri = 'file:real.db?mode=memory&mode%00=rwc'\n"
            "sqlite3.connect(uri, uri=True).execute('create table x (y)')",
            "import sqlite3\nsqlite3.connect(':memory:', uri=True).execute("
            "'attach ? as o', ('file:real.db#?mode=memory',))",
        ],
    )
    def test_in_a_revision_is_refused_and_named(self, project, real, body):
        project.revision("a", upgrade=body)

        with pytest.raises(GuardError, match=r"revision a, migrations/versions/a_made.py line \d+"):
            project.ensure()

    @pytest.mark.parametrize(
        ("where", "hint"),
        [("revision", "should use the connection that it is given"), ("migrate", "hand it on")],
    )
    def test_the_hint_is_about_what_opened_it(self, project, real, where, hint):
        if where == "revision":
            project.revision("a", upgrade="import app\napp.engine.connect()")
        else:
            project.write("make.py", "import app\ndef make(url):\n    app.engine.connect()\n")
            project.configure('migrate = "make:make"\nforeign = "refuse"\n')

        with pytest.raises(GuardError) as refused:
            project.ensure()

        assert hint in refused.value.hint

    def test_at_the_import_of_a_revision_is_refused(self, project, real):
        project.revision("a", header="from app import engine\nengine.connect()")

        with pytest.raises(GuardError, match=r"a revision script, migrations/versions/a_made.py"):
            project.ensure()

    def test_in_a_seed_is_refused_and_named(self, project, real):
        project.history(1)
        project.write("seed.py", "from app import engine\ndef add(c):\n    engine.connect()\n")
        project.configure('seeds = ["seed:add"]')

        with pytest.raises(GuardError, match=r"seed seed:add, seed.py line 3 tried to connect"):
            project.ensure()

    @pytest.mark.parametrize("real", ["there"], indirect=True)
    @pytest.mark.parametrize("is_caught", [True, False], ids=["caught", "not caught"])
    @pytest.mark.parametrize("where", ["a revision", "the last revision", "a seed"])
    def test_leaves_no_state_in_the_store_caught_or_not(self, project, real, where, is_caught):
        line = "app.engine.connect()"
        body = f"try:\n    {line}\nexcept Exception:\n    pass" if is_caught else line
        reading = {"a revision": "0002", "the last revision": "0003"}.get(where)
        for below, name in enumerate(("0001", "0002", "0003")):
            upgrade = f"import app\n{body}" if name == reading else ""
            project.revision(name, f"{below:04}" if below else None, upgrade=upgrade)
        text = textwrap.indent(body if where == "a seed" else "pass", "    ")
        project.write("seed.py", f"import app\ndef first(c): ...\ndef add(c):\n{text}\n")
        project.configure('seeds = ["seed:first", "seed:add"]')

        with pytest.raises(GuardError, match="tried to connect"):
            project.ensure()

        # What it did instead may be in each of them.
        assert project.look_up().store.entries() == []

    def test_may_be_the_connection_that_it_was_given(self, project, rows):
        project.history(1)
        project.revision(
            "b", "0001", "op.get_bind().execute(sa.text('insert into t_0001 values (7)'))"
        )

        assert rows(project.ensure().path, "select id from t_0001") == [(7,)]
