"""``context``: what env.py needs around it, as an application of Flask does."""

from __future__ import annotations

import pytest

from alembic_snapshot import ConfigError
from alembic_snapshot.build.stairway import run_stairway
from alembic_snapshot.errors import BuildError

APP = """
    import json
    import os
    from pathlib import Path
    import sqlalchemy as sa
    from flask import Flask

    metadata = sa.MetaData()
    sa.Table("t_0001", metadata, sa.Column("id", sa.Integer, primary_key=True))
    engine = sa.create_engine("sqlite:///app.db")

    def create_app():
        app = Flask(__name__)
        app.config.update(ROLE="reader", **json.loads(Path("config.json").read_text()))
        app.config["REGION"] = os.environ.get("REGION")
        app.extensions["database"] = engine, metadata
        return app

    app = create_app()

    def with_argument(name): ...
    def raises():
        raise TypeError("no such thing")
    def makes_tables():
        metadata.create_all(engine)
        return create_app().app_context()
"""
ENV = """
    from alembic import context
    from flask import current_app

    engine, metadata = current_app.extensions["database"]
    with engine.connect() as connection:
        context.configure(
            connection=connection, target_metadata=metadata, tenant=current_app.config.get("TENANT")
        )
        with context.begin_transaction():
            context.run_migrations()
"""
CONTEXT = 'context = "blog:create_app().app_context()"\n'
INSERTS = """
    op.create_table("t_0001", sa.Column("id", sa.String, primary_key=True))
    op.get_bind().execute(sa.text("INSERT INTO t_0001 VALUES (:v)"), {"v": value()})
"""


@pytest.fixture
def flask(project):
    """A project whose env.py asks for Flask's application; its file is Flask-Migrate's."""
    project.write("blog.py", APP)
    project.write("config.json", "{}")
    project.write("migrations/env.py", ENV)
    (project.root / "alembic.ini").unlink()
    project.write("migrations/alembic.ini", "[alembic]\n[loggers]\nkeys = root\n")
    project.settings = 'config = "migrations/alembic.ini"\n'
    project.configure(project.settings + CONTEXT)
    return project


def value_of(rows, snapshot):
    return rows(snapshot.path, "SELECT id FROM t_0001")[0][0]


def test_env_py_runs_inside_it_and_so_do_the_checks_and_the_stairway(flask):
    flask.revision("0001")

    snapshot, ran = flask.build()
    result = run_stairway(flask.load(), snapshot=snapshot)

    assert ran == ["0001"]
    assert snapshot.manifest.checks["drift"] == []
    assert snapshot.manifest.checks["drift_error"] is None
    assert result.tried == 1
    assert not result.findings
    assert not (flask.root / "app.db").exists()


def test_a_seed_and_migrate_run_inside_it(flask, rows):
    flask.write(
        "setup_db.py",
        """
        import sqlalchemy as sa
        from alembic import command
        from alembic.config import Config
        from flask import current_app

        def migrate(url):
            config = Config("migrations/alembic.ini")
            config.set_main_option("script_location", "migrations")
            config.set_main_option("sqlalchemy.url", url)
            assert current_app.name == "blog"
            command.upgrade(config, "heads")

        def role(connection):
            connection.execute(
                sa.text("INSERT INTO t_0001 VALUES (:v)"), {"v": len(current_app.config["ROLE"])}
            )
        """,
    )
    flask.revision("0001")
    flask.configure(flask.settings + CONTEXT + 'migrate = "setup_db:migrate"\n'
                    'seeds = ["setup_db:role"]\n')  # fmt: skip

    snapshot = flask.ensure()

    assert value_of(rows, snapshot) == len("reader")
    assert snapshot.manifest.checks["drift"] == []


def test_a_changed_model_is_a_hit_and_is_compared_again(flask):
    flask.revision("0001")
    flask.ensure()
    flask.write("blog.py", APP + '    sa.Table("more", metadata, sa.Column("id", sa.Integer))\n')

    snapshot, ran = flask.build()

    assert ran == []
    assert snapshot.manifest.checks["drift"] == ["add table more"]


TAKES = {
    "an option": ("", "context.get_context().opts['tenant']"),
    "flask": ("from flask import current_app", "current_app.config['KEY']"),
    "flask by a name": ("", "importlib.import_module('flask').current_app.config['KEY']"),
    "the application": ("import blog", "blog.app.config['KEY']"),
    "a library that uses flask": ("from flask_sqlalchemy import extension",
                                  "extension.current_app.config['KEY']"),
}  # fmt: skip


@pytest.mark.parametrize(("header", "taken"), TAKES.values(), ids=TAKES)
def test_what_a_revision_takes_from_the_application_is_never_stale(flask, rows, header, taken):
    if "extension" in header:
        pytest.importorskip("flask_sqlalchemy")
    flask.write("config.json", '{"TENANT": "a", "KEY": "a"}')
    header += f"\nimport importlib\nfrom alembic import context\ndef value():\n    return {taken}\n"
    flask.revision("0001", upgrade=INSERTS, header=header)
    before = value_of(rows, flask.ensure())
    flask.write("config.json", '{"TENANT": "%s", "KEY": "b"}' % ("b" if "tenant" in taken else "a"))

    after = value_of(rows, flask.ensure())

    assert (before, after) == ("a", "b")


def test_what_a_seed_takes_from_it_is_never_stale_though_env_py_imported_the_seed(flask, rows):
    flask.write(
        "fill.py",
        """
        import sqlalchemy as sa
        from flask import current_app

        def fill(connection):
            connection.execute(
                sa.text("INSERT INTO t_0001 VALUES (:v)"), {"v": current_app.config["KEY"]}
            )
        """,
    )
    flask.write("migrations/env.py", f"    import fill\n{ENV}")
    flask.configure(flask.settings + CONTEXT + 'seeds = ["fill:fill"]\n')
    flask.revision("0001", upgrade="op.create_table('t_0001', sa.Column('id', sa.String))")
    flask.write("config.json", '{"KEY": "a"}')
    before = value_of(rows, flask.ensure())
    flask.write("config.json", '{"KEY": "b"}')

    assert (before, value_of(rows, flask.ensure())) == ("a", "b")


def test_a_variable_that_only_the_application_reads_counts_for_who_takes_it(
    flask, rows, monkeypatch
):
    header = (
        "from flask import current_app\ndef value():\n    return current_app.config['REGION']\n"
    )
    flask.revision("0001", upgrade=INSERTS, header=header)
    monkeypatch.setenv("REGION", "north")
    before = value_of(rows, flask.ensure())
    monkeypatch.setenv("REGION", "south")

    assert (before, value_of(rows, flask.ensure())) == ("north", "south")


def test_a_revision_that_takes_nothing_of_it_does_not_depend_on_the_application(flask):
    flask.revision("0001", header="import click\n")
    flask.ensure()
    flask.write("config.json", '{"ROLES": 2}')

    assert flask.build()[1] == []


def test_the_reference_is_in_the_key_and_its_module_is_what_checks_depend_on(flask):
    flask.revision("0001")
    before = flask.chain()
    flask.configure(flask.settings + 'context = "blog:app.app_context()"\n')
    after = flask.chain()

    assert before.target.digest != after.target.digest
    assert "blog.py" in before.models


WRONG = {
    "blgo:app.app_context()": ("no module 'blgo' for context", "correct the name"),
    "blog:creat_app().app_context()": (
        "context 'blog:creat_app().app_context()' failed", "did you mean 'create_app'?"),
    "blog:create_app()": ("it is a Flask, no context manager",
                          'write context = "blog:create_app().app_context()"'),
    "blog:app.app_context": ("it is a function, no context manager",
                             'write context = "blog:app.app_context()"'),
    "blog:with_argument()": ("missing 1 required positional argument",
                             "calls have no arguments: name a function that needs none"),
    "blog:raises()": ("failed at blog.py line 22: TypeError: no such thing", "set the variables"),
    "blog:makes_tables()": (
        "blog.py line 24 calls create_all(), and the migrations are to make tables",
        "leave it out where Alembic migrates",
    ),
    "blog": ("is not of the form module:name", "blog:create_app().app_context()"),
}  # fmt: skip


@pytest.mark.parametrize("reference", WRONG)
def test_what_is_wrong_with_a_reference_is_said_and_what_would_be_right(flask, reference):
    flask.revision("0001")
    flask.configure(flask.settings + f'context = "{reference}"\n')

    with pytest.raises((ConfigError, BuildError)) as caught:
        flask.ensure()

    message, hint = WRONG[reference]
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_without_it_the_hint_is_to_name_it(flask):
    flask.revision("0001")
    flask.configure(flask.settings)

    with pytest.raises(BuildError) as caught:
        flask.ensure()

    assert "env.py failed at migrations/env.py line 4: RuntimeError" in caught.value.message
    assert 'context = "blog:create_app().app_context()"' in caught.value.hint


def test_it_is_entered_for_each_run_and_left_after_it(flask):
    flask.write(
        "blog.py",
        APP
        + """
    import contextlib

    @contextlib.contextmanager
    def surroundings():
        with open("log.txt", "a") as log, app.app_context():
            log.write("(")
            log.flush()
            yield
            log.write(")")
    """,
    )
    flask.configure(flask.settings + 'context = "blog:surroundings()"\n')
    flask.revision("0001")
    flask.ensure()

    # One run of env.py makes the database, another compares the models.
    assert (flask.root / "log.txt").read_text() == "()()"


UPGRADES = """
    import sqlalchemy as sa
    from alembic import command
    from alembic.config import Config

    from blog import engine, create_app as create

    def create_app():
        app = create()
        with app.app_context():
            config = Config("migrations/alembic.ini")
            config.set_main_option("script_location", "migrations")
            command.upgrade(config, "heads")
        return app
"""


def test_an_application_that_upgrades_by_itself_is_told_and_the_hint_mends_it(flask):
    flask.write("site_of.py", UPGRADES)
    flask.configure(flask.settings + CONTEXT.replace("blog:", "site_of:"))
    flask.revision("0001")
    flask.revision("0002", "0001")

    with pytest.raises(BuildError, match="upgraded to 0001, but the snapshot is at 0002: ") as told:
        flask.ensure()
    hint = told.value.hint
    flask.write("made.py", "from site_of import create_app\ndef migrate(url):\n    create_app()\n")
    line = 'migrate = "module:migrate"'
    flask.configure(
        flask.settings + CONTEXT.replace("blog:", "site_of:") + line.replace("module", "made")
    )
    snapshot, _ = flask.build()

    assert "no script is" not in str(told.value)
    assert "Write a function migrate(url)" in hint
    assert line in hint
    assert snapshot.manifest.heads == ("0002",)
    assert snapshot.manifest.checks["drift_error"] is None
