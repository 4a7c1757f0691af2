"""What an ``env.py`` may do besides migrating, without harm."""

from __future__ import annotations


def test_it_may_read_another_section_of_the_ini_file(project, tables):
    project.write("alembic.ini", """
        [reports]
        script_location = %(here)s/migrations
        """)  # fmt: skip
    project.configure('section = "reports"')
    project.history(1)

    assert "t_0001" in tables(project.ensure().path)


def test_what_it_writes_beside_the_database_goes_with_the_build(project):
    project.append(
        "migrations/env.py",
        "\nimport pathlib\n"
        "pathlib.Path(engine.url.database).with_name('report.txt').write_text('x')\n",
    )
    project.history(2)

    snapshot = project.ensure()

    assert "report.txt" not in {path.name for path in snapshot.path.parent.iterdir()}
    assert list((project.root / ".alembic-snapshot/building").iterdir()) == []


def test_an_engine_that_still_has_the_database_open_loses_nothing(project, rows):
    project.append(
        "migrations/env.py",
        """
from sqlalchemy import create_engine
pooled = create_engine(engine.url)
kept = pooled.connect()
kept.exec_driver_sql("PRAGMA journal_mode=WAL")
kept.exec_driver_sql("CREATE TABLE IF NOT EXISTS late (x)")
kept.exec_driver_sql("INSERT INTO late VALUES (7)")
kept.commit()
kept.exec_driver_sql("SELECT * FROM late")
""",
    )
    project.history(1)

    snapshot = project.ensure()

    assert (7,) in rows(snapshot.path, "SELECT x FROM late")
    assert rows(snapshot.path, "PRAGMA journal_mode") == [("delete",)]


def test_its_changes_to_the_environment_are_gone_with_it(project, monkeypatch):
    project.append("migrations/env.py", "\nimport os\nos.environ['REGION'] = 'there'\n")
    project.revision("a", upgrade="import os\nos.getenv('REGION')\nop.execute('select 1')")
    monkeypatch.setenv("REGION", "here")

    assert project.ensure().built
    assert not project.ensure().built


def test_what_stands_for_a_module_and_is_none_is_left_alone(project):
    project.append(
        "migrations/env.py",
        """
import sys

class Lazy:
    def __getattr__(self, name):
        raise ImportError(name)

sys.modules["lazy"] = Lazy()
""",
    )
    project.write("late.py", "")
    imported = "import importlib\nimportlib.import_module('la' + 'te')\nop.execute('select 1')"
    project.revision("a", upgrade=imported)
    project.revision("b", "a")

    assert project.ensure().manifest.observed.files.keys() == {"late.py"}
