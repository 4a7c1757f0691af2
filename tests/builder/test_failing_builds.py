"""A first build that fails: the error names the user's file and line, and nobody else's."""

from __future__ import annotations

import re
import textwrap

import pytest

from alembic_snapshot import BuildError, SnapshotError
from alembic_snapshot.postgres.private.binaries import WHEEL, find

# What goes wrong in a line of Python, wherever it stands, and what is told of it.
RAISES = {
    "name": ("undefined_name", "NameError: name 'undefined_name' is not defined"),
    "attribute": ("None.nothing", "AttributeError: 'NoneType' object has no attribute"),
    "division": ("1 / 0", "ZeroDivisionError: division by zero"),
    "module": ("import nowhere_at_all", "ModuleNotFoundError: No module named 'nowhere_at_all'"),
    "import": ("from json import nowhere", "ImportError: cannot import name 'nowhere'"),
    "key": ("{}['a key']", "KeyError: 'a key'"),
    "variable": ("import os; os.environ['SHOP_KEY']", "KeyError: 'SHOP_KEY'"),
    "assertion": ("assert not 'asserted'", "AssertionError"),
    "exit": ("raise SystemExit('set it up first')", "SystemExit: set it up first"),
    "file": ("open('nowhere.csv')", "FileNotFoundError"),
    "empty": ("raise RuntimeError", "RuntimeError"),
    "chained": (
        "try:\n    1 / 0\nexcept ZeroDivisionError as e:\n    raise ValueError('chained') from e",
        "ValueError: chained",
    ),
    "group": (
        "raise ExceptionGroup('several', [ValueError('one'), TypeError('two')])",
        "ExceptionGroup: several",
    ),
    "odd": ("raise type('Odd', (Exception,), {})('odd')", "Odd: odd"),
    "unprintable": ("raise ValueError('red \\x1b[31m')", r"ValueError: red \x1b[31m"),
    "recursion": ("def f(): f()\nf()", "RecursionError"),
    "database": (
        "import sqlalchemy as sa; sa.create_engine('sqlite://').connect().execute("
        "sa.text('select * from nowhere'))",
        "OperationalError: no such table: nowhere",
    ),
    "argument": (
        "import sqlalchemy as sa; sa.create_engine('sqlite://', nonsense=1)",
        "TypeError: Invalid argument",
    ),
    "url": (
        "import sqlalchemy as sa; sa.create_engine('nonsense')",
        "ArgumentError: Could not parse SQLAlchemy URL",
    ),
    "mapped": (
        "import sqlalchemy.orm as o; o.class_mapper(int)",
        "UnmappedClassError",
    ),
}
# What does not parse.
UNREADABLE = {
    "syntax": (b"def broken(:\n", "SyntaxError"),
    "indentation": (b"if True:\nx = 1\n", "IndentationError"),
    "tabs": (b"if True:\n        x = 1\n\tx = 2\n", "TabError"),
    "null": (b"x = 1\0\n", "SyntaxError: source code string cannot contain null bytes"),
    "encoding": (b"x = '\xe9'\n", "SyntaxError"),
    "coding": (b"# -*- coding: nonsense -*-\n", "SyntaxError: "),
}


# Those that are generated for each place; a few of them run always.
_ALWAYS = ("name", "chained", "database")
every_mistake = pytest.mark.parametrize(
    "mistake",
    [pytest.param(one, marks=() if one in _ALWAYS else pytest.mark.campaign) for one in RAISES],
)


def fails(project):
    """The error of a first build, which publishes no snapshot."""
    with pytest.raises(BuildError) as raised:
        project.ensure()
    assert raised.value.hint
    assert project.look_up().entry is None
    return raised.value


def frames(error):
    """The files in an error's traceback."""
    return re.findall(r'^\s*\|? *File "(.*)", line', error.details or "", re.MULTILINE)


def assert_nobody_elses(error, project):
    """No frame of this library's, of Alembic's or of SQLAlchemy's, and some of the project's."""
    found = frames(error)
    assert any(name.startswith(str(project.root)) for name in found), error.details
    for name in found:
        assert not re.search(r"alembic_snapshot|site-packages/(alembic|sqlalchemy)/|<frozen", name)


def lines(code, indent=""):
    return textwrap.indent(code, indent)


def raising_line(text, code):
    """The last line of a snippet in a file, which is the one that is told."""
    return text.splitlines().index(code.splitlines()[-1]) + 1


class TestAnEnvPyThatRaises:
    @every_mistake
    def test_is_told_with_its_line(self, project, mistake):
        code, told = RAISES[mistake]
        project.history(1)
        env = (project.root / "migrations/env.py").read_text()
        project.write("migrations/env.py", f"{code}\n{env}")

        error = fails(project)

        line = 1 if mistake == "recursion" else len(code.splitlines())
        assert error.message.startswith(f"env.py failed at migrations/env.py line {line}: {told}")
        assert_nobody_elses(error, project)

    @every_mistake
    def test_in_a_module_that_it_imports_is_told_with_that_line(self, project, mistake):
        code, told = RAISES[mistake]
        project.history(1)
        project.write("shop/__init__.py", "")
        project.write("shop/models.py", f"# the models\n{code}\n")
        env = (project.root / "migrations/env.py").read_text()
        project.write("migrations/env.py", f"import shop.models\n{env}")

        error = fails(project)

        line = 1 + (1 if mistake == "recursion" else len(code.splitlines()))
        assert error.message.startswith(f"env.py failed at shop/models.py line {line}: {told}")
        assert_nobody_elses(error, project)


class TestARevisionThatRaises:
    @every_mistake
    def test_is_named_with_its_line(self, project, mistake):
        code, told = RAISES[mistake]
        path = project.revision("0001", upgrade=code)

        error = fails(project)

        before = path.read_text().splitlines().index("def upgrade():") + 1
        line = before + (1 if mistake == "recursion" else len(code.splitlines()))
        assert error.message.startswith(
            f"revision 0001 failed at migrations/versions/0001_made.py line {line}: {told}"
        )
        assert_nobody_elses(error, project)

    @every_mistake
    def test_when_it_is_imported_is_no_mistake_of_env_py(self, project, mistake):
        code, told = RAISES[mistake]
        project.revision("0001", header=code)

        error = fails(project)

        line = 3 if mistake == "recursion" else 2 + len(code.splitlines())
        place = f"migrations/versions/0001_made.py line {line}"
        assert error.message.startswith(f"a revision script failed at {place}: {told}")
        assert_nobody_elses(error, project)

    @pytest.mark.parametrize(
        ("statement", "told"),
        [
            ("op.execute('selec 1')", 'OperationalError: near "selec": syntax error [selec 1]'),
            ("op.drop_table('nowhere')", "OperationalError: no such table: nowhere"),
            (
                "op.add_column('nowhere', sa.Column('a', sa.Text))",
                "OperationalError: no such table",
            ),
            ("op.alter_column('t', 'a', type_=sa.Text())", "near "),
            ("op.bulk_insert('t', 3)", "TypeError: "),
            ("op.create_table('t', sa.Column('a'))", "CompileError: "),
            ("op.nonsense('t')", "AttributeError: "),
            ("op.get_bind().execute('select 1')", "ObjectNotExecutableError"),
        ],
    )
    def test_in_the_database_is_told_with_its_statement(self, project, statement, told):
        project.revision("0001", upgrade=statement)

        error = fails(project)

        assert "revision 0001 failed at migrations/versions/0001_made.py line " in error.message
        assert told in error.message
        assert_nobody_elses(error, project)


class TestAHistory:
    @pytest.mark.parametrize(
        ("text", "told"),
        [
            ("revision = 5", "migrations/versions/b.py line 1: revision is 5, not a string"),
            ("revision = None", "migrations/versions/b.py line 1: revision is None, not a string"),
            ("revision = 'b'\ndown_revision = 7", "line 2: down_revision is 7, not a string, "),
            ("revision = 'b'\ndepends_on = (1,)", "line 2: depends_on is (1,), not a string, "),
        ],
    )
    def test_with_a_field_that_is_no_name_is_told_with_its_line(self, project, text, told):
        project.history(1)
        project.write("migrations/versions/b.py", f"{text}\n")

        with pytest.raises(SnapshotError) as raised:
            project.ensure()

        assert told in raised.value.message
        assert raised.value.hint

    @pytest.mark.parametrize(
        ("text", "told"),
        [
            ("revision = 'a@b'", "'@' not allowed"),
            ("revision = 'b'\nbranch_labels = ('0001',)", "Branch name '0001'"),
            ("revision = 'b'\n", "has no attribute 'upgrade'"),
            ("revision = str('b')\ndown_revision = str('zz')", "KeyError: 'zz'"),
        ],
    )
    def test_that_alembic_refuses_is_no_mistake_of_env_py(self, project, text, told):
        project.history(1)
        body = "def upgrade(): ...\n" if "upgrade" not in told else ""
        down = "" if "down_revision" in text else "down_revision = '0001'\n"
        project.write("migrations/versions/b.py", f"{text}\n{down}{body}")

        error = fails(project)

        assert error.message.startswith("the revisions' history failed: ")
        assert told in error.message
        assert "env.py" not in f"{error.message} {error.hint}"


class TestASeedThatRaises:
    @every_mistake
    def test_is_named_with_its_line(self, project, mistake):
        code, told = RAISES[mistake]
        project.history(1)
        project.write("shop.py", f"def rows(connection):\n{lines(code, '    ')}\n")
        project.configure('seeds = ["shop:rows"]')

        error = fails(project)

        line = 2 if mistake == "recursion" else 1 + len(code.splitlines())
        assert error.message.startswith(f"seed shop:rows failed at shop.py line {line}: {told}")
        assert_nobody_elses(error, project)


class TestMigrateThatRaises:
    @every_mistake
    def test_is_named_with_its_line_and_not_env_py(self, project, mistake):
        code, told = RAISES[mistake]
        project.history(1)
        project.write("shop.py", f"def create(url):\n{lines(code, '    ')}\n")
        project.configure('migrate = "shop:create"')

        error = fails(project)

        line = 2 if mistake == "recursion" else 1 + len(code.splitlines())
        assert error.message.startswith(f"migrate shop:create failed at shop.py line {line}: ")
        assert told in error.message
        assert "(migrate)" not in error.hint
        assert_nobody_elses(error, project)


class TestAFileThatDoesNotParse:
    @pytest.mark.parametrize("kind", UNREADABLE)
    @pytest.mark.parametrize(
        ("name", "who"),
        [
            ("migrations/env.py", "env.py"),
            ("shop/models.py", "env.py"),
            ("seeding.py", "seed seeding:rows"),
            ("creating.py", "migrate creating:create"),
        ],
    )
    def test_is_named_with_the_line(self, project, name, who, kind):
        source, told = UNREADABLE[kind]
        project.history(1)
        env = (project.root / "migrations/env.py").read_text()
        project.write("migrations/env.py", f"import shop.models\n{env}")
        for file in ("shop/models.py", "seeding.py", "creating.py"):
            project.write(file, "")
        (project.root / name).write_bytes(source)
        key = {"seed": 'seeds = ["seeding:rows"]', "migr": 'migrate = "creating:create"'}
        project.configure(key.get(who[:4], ""))

        error = fails(project)

        assert re.match(rf"{re.escape(who)} failed at {re.escape(name)} line \d: ", error.message)
        assert told in error.message
        assert error.hint == "correct the file"


class TestAReference:
    @pytest.mark.parametrize("key", ["migrate", "seeds"])
    @pytest.mark.parametrize(
        ("path", "told"),
        [
            ("nothing", "shop has no nothing"),
            ("number", "it is 3"),
            ("rows.more", "shop has no more"),
            ("Shop.name", "it is 'a shop'"),
        ],
    )
    def test_to_no_function_is_told_with_its_key(self, project, key, path, told):
        project.history(1)
        project.write(
            "shop.py",
            "number = 3\ndef rows(connection): ...\nclass Shop: name = 'a shop'\n",
        )
        value = f'"shop:{path}"'
        project.configure(f"{key} = {value if key == 'migrate' else f'[{value}]'}")

        error = fails(project)

        who = f"{key.removesuffix('s')} shop:{path}"
        assert error.message == f"{who} is no function: {told}"
        assert error.hint == f"correct {who} in [tool.alembic-snapshot]"


class TestAHint:
    def test_for_an_argument_that_env_py_asks_for_works(self, project, tables):
        project.history(1)
        env = (project.root / "migrations/env.py").read_text()
        asks = "context.get_x_argument(as_dictionary=True)['TENANT']"
        project.write("migrations/env.py", f"from alembic import context\n{asks}\n{env}")

        error = fails(project)
        hint = re.search(r'x = \["TENANT=…"\]', error.hint)
        assert hint
        project.configure(hint[0].replace("…", "a"))

        assert "t_0001" in tables(project.ensure().path)

    @pytest.mark.parametrize("where", ["env.py", "revision", "seed", "migrate"])
    def test_for_a_variable_that_is_not_set_works_wherever_it_is_asked_for(self, project, where):
        asks = "__import__('os').environ['SHOP_KEY']"
        project.revision("0001", upgrade=asks if where == "revision" else "")
        table = ""
        if where == "env.py":
            env = (project.root / "migrations/env.py").read_text()
            project.write("migrations/env.py", f"{asks}\n{env}")
        if where == "seed":
            project.write("shop.py", f"def rows(connection): {asks}\n")
            table = 'seeds = ["shop:rows"]\n'
        if where == "migrate":
            project.write("shop.py", CREATES.format(asks=asks))
            table = 'migrate = "shop:create"\n'
        project.configure(table)

        error = fails(project)
        hint = re.search(r'environment = { SHOP_KEY = "…" }', error.hint)
        assert hint
        project.configure(table + hint[0].replace("…", "a"))

        assert project.ensure().built

    @pytest.mark.parametrize("count", [0, 1])
    def test_for_scripts_in_deeper_folders_works(self, project, tables, count):
        project.history(count)
        down = "0001" if count else None
        project.revision("0002", down, folder=project.versions / "2024")
        if count:
            project.revision("0003", "0002")
        project.versions.mkdir(exist_ok=True)

        with pytest.raises(SnapshotError) as raised:
            project.ensure()
        assert "recursive_version_locations = true" in raised.value.hint
        project.append("alembic.ini", "recursive_version_locations = true\n")

        assert "t_0002" in tables(project.ensure().path)

    def test_for_another_section_works(self, project, tables):
        project.history(1)
        ini = (project.root / "alembic.ini").read_text()
        project.write("alembic.ini", ini.replace("[alembic]", "[billing]"))

        with pytest.raises(SnapshotError) as raised:
            project.ensure()
        hint = re.search(r'section = "billing"', raised.value.hint)
        assert hint
        project.configure(hint[0])

        assert "t_0001" in tables(project.ensure().path)

    def test_for_migrate_that_does_not_use_its_url_works(self, project, tables):
        project.history(1)
        project.append("alembic.ini", "sqlalchemy.url = sqlite:///real.db\n")
        created = CREATES.format(asks="pass")
        call = 'config.set_main_option("sqlalchemy.url", url.replace("%", "%%"))'
        project.write("shop.py", created.replace(call, "pass"))
        project.configure('migrate = "shop:create"\nforeign = "refuse"')

        error = fails(project)
        assert call in error.hint
        assert not (project.root / "real.db").exists()
        project.write("shop.py", created)

        assert "t_0001" in tables(project.ensure().path)

    def test_for_another_kind_of_database_names_it(self, project):
        project.history(1)
        env = (project.root / "migrations/env.py").read_text()
        connects = "import sqlalchemy as sa; sa.create_engine('postgresql+psycopg://x/y').connect()"
        project.write("migrations/env.py", f"{connects}\n{env}")

        error = fails(project)

        assert "a postgresql database" in error.message
        assert "the snapshot is a sqlite database" in error.hint

    def test_for_an_extension_that_the_server_lacks_names_the_way_out(
        self, project, postgres, monkeypatch
    ):
        monkeypatch.setenv("ALEMBIC_SNAPSHOT_BACKEND", "postgresql")
        project.revision("0001", upgrade="op.execute('CREATE EXTENSION postgis')")
        ours = fails(project)
        monkeypatch.setenv("SNAPSHOT_POSTGRES_URL", postgres.url)
        with postgres.connect() as connection:
            names = connection.execute("SELECT name FROM pg_available_extensions").fetchall()
        name, title = "vector", "vector (pgvector)"
        if (name,) in names:
            name = title = "timescaledb"
        project.revision("0001", upgrade=f"op.execute('CREATE EXTENSION {name} CASCADE')")

        theirs = fails(project)

        where = f"for PostgreSQL {find().major} in /"
        if find().origin == WHEEL:
            where = "beside a PostgreSQL of the system's, "
        assert ours.hint.startswith(f"install postgis {where}")
        assert "a server that has it in SNAPSHOT_POSTGRES_URL, for example one of" in ours.hint
        assert ours.hint.endswith("postgis/postgis")
        assert theirs.hint.startswith(f"install {title} on /")

    def test_for_an_unknown_kind_does_not_guess(self, project):
        project.configure('backend = "nobodysdb"')

        with pytest.raises(SnapshotError) as raised:
            project.load()

        assert "must be one of sqlite, postgresql, not 'nobodysdb'" in raised.value.message
        assert raised.value.hint == 'write for example backend = "sqlite"'


CREATES = """
from alembic import command
from alembic.config import Config

def create(url):
    {asks}
    config = Config("alembic.ini")
    config.set_main_option("sqlalchemy.url", url.replace("%", "%%"))
    command.upgrade(config, "head")
"""
