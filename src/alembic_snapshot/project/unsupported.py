"""Databases that are not supported, by the names that people know them by."""

from __future__ import annotations

import re

# What snapshots can be of, as SQLAlchemy calls it.
SUPPORTED = {"sqlite": "sqlite", "postgresql": "postgresql", "postgres": "postgresql"}
# SQLAlchemy's names for dialects, and for drivers of a supported dialect that lead elsewhere.
_TITLES = {
    "access": "Microsoft Access",
    "awsathena": "Amazon Athena",
    "bigquery": "BigQuery",
    "clickhouse": "ClickHouse",
    "clickhousedb": "ClickHouse",
    "cockroach": "CockroachDB",
    "cockroachdb": "CockroachDB",
    "cratedb": "CrateDB",
    "crate": "CrateDB",
    "databricks": "Databricks",
    "db2": "Db2",
    "drill": "Apache Drill",
    "druid": "Apache Druid",
    "duckdb": "DuckDB",
    "exa": "Exasol",
    "firebird": "Firebird",
    "gsheets": "Google Sheets",
    "hana": "SAP HANA",
    "hive": "Apache Hive",
    "ibm_db_sa": "Db2",
    "ibmi": "Db2 for i",
    "impala": "Apache Impala",
    "informix": "Informix",
    "libsql": "libSQL",
    "mariadb": "MariaDB",
    "monetdb": "MonetDB",
    "mongodb": "MongoDB",
    "mssql": "Microsoft SQL Server",
    "mysql": "MySQL",
    "netezza": "Netezza",
    "oceanbase": "OceanBase",
    "oracle": "Oracle",
    "presto": "Presto",
    "pysqlcipher": "SQLCipher",
    "redshift": "Amazon Redshift",
    "rqlite": "rqlite",
    "singlestoredb": "SingleStore",
    "snowflake": "Snowflake",
    "spanner": "Cloud Spanner",
    "sqlserver": "Microsoft SQL Server",
    "starrocks": "StarRocks",
    "sybase": "Sybase",
    "teradatasql": "Teradata",
    "tidb": "TiDB",
    "trino": "Trino",
    "turso": "libSQL",
    "vertica": "Vertica",
    "yugabytedb": "YugabyteDB",
    "ydb": "YDB",
}
# The modules that drivers are, and dialects that are packages of their own.
_DRIVERS = {
    "MySQLdb": "MySQL",
    "aiomysql": "MySQL",
    "aioodbc": "Microsoft SQL Server",
    "asyncmy": "MySQL",
    "clickhouse_connect": "ClickHouse",
    "clickhouse_driver": "ClickHouse",
    "cx_Oracle": "Oracle",
    "duckdb": "DuckDB",
    "duckdb_engine": "DuckDB",
    "fdb": "Firebird",
    "ibm_db": "Db2",
    "libsql": "libSQL",
    "libsql_experimental": "libSQL",
    "mariadb": "MariaDB",
    "mysql": "MySQL",
    "oracledb": "Oracle",
    "pymssql": "Microsoft SQL Server",
    "pymysql": "MySQL",
    "pyodbc": "Microsoft SQL Server",
    "redshift_connector": "Amazon Redshift",
    "snowflake": "Snowflake",
    "sqlalchemy_cockroachdb": "CockroachDB",
    "sqlalchemy_libsql": "libSQL",
    "sqlalchemy_redshift": "Amazon Redshift",
    "sqlcipher3": "SQLCipher",
    "trino": "Trino",
}
# What servers that speak PostgreSQL's protocol say of themselves, of those that are not it.
_SERVERS = {
    "CockroachDB": "CockroachDB",
    "CrateDB": "CrateDB",
    "Greenplum": "Greenplum",
    "Materialize": "Materialize",
    "QuestDB": "QuestDB",
    "Redshift": "Amazon Redshift",
    "RisingWave": "RisingWave",
    "-YB-": "YugabyteDB",
}
HINT = (
    "snapshots are SQLite files or databases on PostgreSQL: migrations that run on one of these "
    "can be tested there"
)


def title(name: str) -> str | None:
    """The title of a database that is not supported; None for one that is.

    ``name`` is a dialect's name, or what stands before ``://`` in a URL, or the URL.
    """
    scheme = name.partition("://")[0].strip().lower()
    dialect, _, driver = scheme.partition("+")
    # A URL that is mistyped is of no database.
    if dialect in SUPPORTED or not re.fullmatch(r"\w+", dialect):
        return _TITLES.get(driver)
    return _TITLES.get(dialect, dialect or None)


def known_title(name: str) -> str | None:
    """As :func:`title`, but None also for a name that no database has that we know."""
    found = title(name)
    return found if found in _TITLES.values() else None


def of_error(text: str) -> str | None:
    """The title of the one whose dialect or driver is missing, if an error says so."""
    found = re.search(r"sqlalchemy\.dialects:([\w.]+)", text)
    if found:
        return title(found[1].replace(".", "+"))
    found = re.search(r"No module named '([\w.]+)'", text)
    return _DRIVERS.get(found[1].partition(".")[0]) if found else None


def of_server(version: str) -> str | None:
    """The title of a server that speaks as PostgreSQL does and is not it, by its ``version()``."""
    return next((name for word, name in _SERVERS.items() if word in version), None)
