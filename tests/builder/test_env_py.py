"""What an ``env.py`` may do besides migrating, without harm."""

from __future__ import annotations

import pytest

from alembic_snapshot import BuildError
from alembic_snapshot.build.stairway import run_stairway


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


@pytest.mark.parametrize("end", ["sys.exit()", "sys.exit(0)", "raise SystemExit"])
def test_it_may_end_the_process_when_it_is_done(project, tables, end):
    env = project.root / "migrations/env.py"
    env.write_text(env.read_text().replace("= None", "= __import__('sqlalchemy').MetaData()", 1))
    project.append("migrations/env.py", f"\nimport sys\n{end}\n")
    project.history(1)

    snapshot = project.ensure()

    assert "t_0001" in tables(snapshot.path)
    assert snapshot.manifest.checks["drift"] == ["remove table t_0001"]
    assert run_stairway(project.load()).findings == []


ENDS = {
    "with a failure": lambda env: f"{env}\nimport sys\nsys.exit(1)\n",
    "before it is done": lambda env: env.replace("config = ", "import sys; sys.exit(0)\nconfig = "),
}


@pytest.mark.parametrize("way", ENDS)
def test_one_that_ends_the_process_otherwise_has_failed(project, way):
    env = project.root / "migrations/env.py"
    ended = ENDS[way](env.read_text())
    assert "sys.exit" in ended
    env.write_text(ended)
    project.history(1)

    with pytest.raises(BuildError):
        project.ensure()


def test_a_revision_that_ends_the_process_has_failed(project):
    project.revision("0001", upgrade="import sys\nsys.exit(0)")

    with pytest.raises(BuildError, match="0001"):
        project.ensure()
