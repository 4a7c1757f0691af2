"""Databases and versions that are not supported are told by name, wherever they turn up."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from alembic_snapshot import ConfigError, MigrationError, ServerError
from alembic_snapshot.key.libraries import OLDEST
from alembic_snapshot.postgres import server as servers
from alembic_snapshot.project.unsupported import known_title, of_error, of_server, title

URLS = {
    "mysql://localhost/shop": "MySQL",
    "mysql+pymysql://localhost/shop": "MySQL",
    "mysql+aiomysql://localhost/shop": "MySQL",
    "mariadb+mariadbconnector://localhost/shop": "MariaDB",
    "duckdb:///shop.duckdb": "DuckDB",
    "sqlite+libsql://shop.turso.io": "libSQL",
    "sqlite+pysqlcipher://:key@/shop.db": "SQLCipher",
    "oracle+oracledb://localhost/shop": "Oracle",
    "mssql+pyodbc://localhost/shop": "Microsoft SQL Server",
    "cockroachdb://localhost/shop": "CockroachDB",
    "redshift+psycopg2://localhost/shop": "Amazon Redshift",
    "snowflake://account/shop": "Snowflake",
    "bigquery://project/shop": "BigQuery",
    "clickhouse+native://localhost/shop": "ClickHouse",
    "spanner+spanner:///projects/p": "Cloud Spanner",
    "nobodysdb://localhost/shop": "nobodysdb",
}
SUPPORTED = ("sqlite://", "sqlite+aiosqlite:///a.db", "postgresql://a/b", "postgresql+asyncpg://a",
             "postgresql+psycopg2://a/b", "postgres://a/b", "SQLite://")  # fmt: skip
ERRORS = {
    "NoSuchModuleError: Can't load plugin: sqlalchemy.dialects:duckdb": "DuckDB",
    "Can't load plugin: sqlalchemy.dialects:sqlite.libsql": "libSQL",
    "No module named 'MySQLdb'": "MySQL",
    "No module named 'pymysql'": "MySQL",
    "No module named 'snowflake.sqlalchemy'": "Snowflake",
    "No module named 'psycopg2'": None,
    "No module named 'shop'": None,
}


@pytest.mark.parametrize(("url", "name"), URLS.items())
def test_a_url_in_the_table(project, url, name):
    project.configure(f'engine = "{url}"')

    with pytest.raises(ConfigError, match=f"is a URL of {name}, which is not supported") as caught:
        project.load()

    assert "SQLite files or databases on PostgreSQL" in caught.value.hint


@pytest.mark.parametrize("url", SUPPORTED)
def test_what_is_supported_is_not_told(url):
    assert title(url) is None
    assert known_title(url) is None


@pytest.mark.parametrize(("text", "name"), ERRORS.items())
def test_a_dialect_or_a_driver_that_is_missing(text, name):
    assert of_error(text) == name


@pytest.mark.parametrize(
    ("version", "name"),
    [
        ("CockroachDB CCL v24.1.1 (x86_64-pc-linux-gnu, built 2024/06/14)", "CockroachDB"),
        ("PostgreSQL 8.0.2 on i686-pc-linux-gnu, compiled by GCC, Redshift 1.0.68205",
         "Amazon Redshift"),
        ("PostgreSQL 11.2-YB-2.21.0.0-b0 on x86_64-pc-linux-gnu", "YugabyteDB"),
        ("PostgreSQL 15.18 (Debian 15.18-0+deb12u1) on x86_64-pc-linux-gnu", None),
        ("PostgreSQL 16.4 on aarch64-apple-darwin, compiled by Apple clang", None),
    ],
)  # fmt: skip
def test_a_server_that_speaks_as_postgresql_does(version, name):
    assert of_server(version) == name


@pytest.mark.parametrize("name", ["mysql", "MariaDB", "duckdb", "oracle", "mssql", "cockroachdb"])
def test_a_backend(project, monkeypatch, name):
    project.configure(f'backend = "{name}"')
    with pytest.raises(ConfigError, match=f"{title(name)} is not supported"):
        project.load()

    project.configure()
    monkeypatch.setenv("ALEMBIC_SNAPSHOT_BACKEND", name)
    with pytest.raises(ConfigError, match=f"{title(name)} is not supported"):
        project.load()


def test_a_mistake_in_a_backend_is_no_database(project):
    project.configure('backend = "postgresq"')

    with pytest.raises(ConfigError, match="must be one of sqlite, postgresql") as caught:
        project.load()

    assert "did you mean 'postgresql'?" in caught.value.hint


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("mysql://localhost/", "is a URL of MySQL, which is not supported"),
        ("cockroachdb://localhost/", "is a URL of CockroachDB, which is not supported"),
        ("nonsense", "is not the URL of a PostgreSQL server"),
        ("sqlite:///a.db", "is not the URL of a PostgreSQL server"),
    ],
)
def test_the_servers_url(project, monkeypatch, url, message):
    project.configure('backend = "postgresql"')
    monkeypatch.setenv(servers.VARIABLE, url)

    with pytest.raises(ServerError, match=message):
        project.key()


def test_sqlalchemy_url_is_told_and_runs_on_what_is_supported(project):
    project.append("alembic.ini", "sqlalchemy.url = mysql+pymysql://localhost/shop\n")
    project.revision("0001", upgrade="op.execute('create table a (id int auto_increment) x')")
    failed = project.command("build")
    project.revision("0001")

    built = project.command("build")
    again = project.command("build")

    assert failed.returncode == 2
    assert "hint: sqlalchemy.url is for MySQL, which is not supported" in failed.stderr
    assert built.returncode == 0
    said = "sqlalchemy.url: it is for MySQL, which is not supported: the migrations run on SQLite"
    assert f"warning: {said}" in built.stderr
    assert "MySQL" not in again.stderr


def test_the_url_of_alembics_template_is_nobodys(project):
    project.append("alembic.ini", "sqlalchemy.url = driver://user:pass@localhost/dbname\n")
    project.history(1)

    assert "not supported" not in project.command("build").stderr


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("sa.create_engine('mysql+nodriver://x/y')", "MySQL"),
        ("sa.create_engine('duckdb:///x')", "DuckDB"),
        ("__import__('pymssql')", "Microsoft SQL Server"),
    ],
)
def test_what_env_py_asks_for(project, line, name):
    project.history(1)
    env = (project.root / "migrations/env.py").read_text()
    project.write("migrations/env.py", f"import sqlalchemy as sa\n{line}\n{env}")

    with pytest.raises(MigrationError) as caught:
        project.ensure()

    assert caught.value.hint.startswith(f"{name} is not supported: ")


class TestOldLibraries:
    @pytest.fixture
    def old(self, project, tmp_path):
        """Makes a folder in which a library says that it is an older one."""
        project.history(1)
        project.write("shop.py", "import sqlalchemy\n")

        def make(name, version):
            folder = tmp_path / "old" / f"{name}-{version}.dist-info"
            folder.mkdir(parents=True)
            text = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
            folder.joinpath("METADATA").write_text(text)
            return {"PYTHONPATH": str(folder.parent)}

        return make

    @pytest.mark.parametrize(
        ("name", "version", "oldest"),
        [("SQLAlchemy", "1.4.54", "2.0.30"), ("SQLAlchemy", "2.0.29", "2.0.30"),
         ("alembic", "1.12.1", "1.13")],
    )  # fmt: skip
    @pytest.mark.parametrize("command", ["build", "status", "key", "check"])
    def test_are_told_by_commands(self, project, old, name, version, oldest, command):
        done = project.command(command, variables=old(name, version))

        assert done.returncode == 2
        said = f"error: {name.capitalize() if name == 'alembic' else name} {version} is not "
        assert done.stderr.startswith(f"{said}supported: {oldest} is the oldest that is\nhint: pip")
        assert done.stdout == ""

    def test_are_told_by_doctor(self, project, old):
        done = project.command("doctor", variables=old("SQLAlchemy", "1.4.54"))

        assert done.returncode == 1
        assert "✗ SQLAlchemy: 1.4.54 is not supported: 2.0.30 is the oldest that is" in done.stdout

    def test_are_told_by_pytest(self, project, old):
        project.write("test_it.py", "import shop\n\ndef test_it(db_clone):\n    pass\n")

        done = project.pytest("-q", "-p", "no:randomly", variables=old("SQLAlchemy", "1.4.54"))

        assert done.returncode == 4
        assert "SQLAlchemy 1.4.54 is not supported: 2.0.30 is the oldest that is" in done.stderr
        assert "Traceback" not in done.stdout + done.stderr

    def test_are_those_that_the_package_requires(self):
        text = (Path(__file__).parents[2] / "pyproject.toml").read_text()
        required = tomllib.loads(text)["project"]["dependencies"]
        least = dict(re.findall(r"([\w-]+)>=([\d.]+)", " ".join(required)))

        assert {least.get(name) or least[name.lower()] for name in OLDEST} == set(OLDEST.values())
