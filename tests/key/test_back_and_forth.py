"""G3, G4: each state of what was read has its own snapshot, and each seed that is edited runs."""

from __future__ import annotations

import shutil

import pytest

READ = {
    "a file": "open('data/' + 'a.txt').read()",
    "a listing": "import os\nos.listdir('da' + 'ta')",
    "a question": "import os\nos.path.exists('data/b' + '.txt')",
    "a variable": "import os\nos.environ.get('REGION')",
    "all variables": "import os\ndict(os.environ)",
}


@pytest.fixture
def states(project, monkeypatch):
    """Puts the project and its surroundings into one of two states."""

    def enter(number):
        shutil.rmtree(project.root / "data", ignore_errors=True)
        project.write("data/a.txt", f"{number}\n")
        if number == 2:
            project.write("data/b.txt", "")
        monkeypatch.setenv("REGION", f"r{number}")

    return enter


@pytest.mark.parametrize("kind", READ)
def test_what_was_before_is_found_again(project, states, kind):
    project.revision("0001", upgrade=f"{READ[kind]}\nop.execute('create table a (x)')")
    built = []
    for number in (1, 2, 1, 2):
        states(number)
        built.append(project.ensure())

    assert [snapshot.built for snapshot in built] == [True, True, False, False]
    assert [s.path for s in built[:2]] == [s.path for s in built[2:]]
    assert built[0].path != built[1].path


@pytest.mark.parametrize("kind", ["a file", "a variable", "all variables"])
def test_a_change_is_said_once_however_many_states_there_are(project, states, kind):
    project.revision("0001", upgrade=f"{READ[kind]}\nop.execute('create table a (x)')")
    for number in (3, 4, 5):
        states(number)
        project.ensure()
    states(6)

    status = project.look_up()

    assert status.entry is None
    assert len(status.reasons) == len(status.cures) == 1


def test_the_state_that_is_most_alike_is_compared_with(project, states, monkeypatch):
    reads = "\n".join((READ["a file"], READ["a variable"]))
    project.revision("0001", upgrade=f"{reads}\nop.execute('create table a (x)')")
    for number in (3, 4):
        states(number)
        project.ensure()
    monkeypatch.setenv("REGION", "r5")

    assert project.look_up().reasons == ("the environment variable REGION changed",)


SEED = """
from sqlalchemy import text
def seed(connection):
    connection.execute(text("insert into t_0001 values ({number})"))
"""


@pytest.mark.parametrize("edited", [1, 2, 3])
@pytest.mark.parametrize("setting", ["seeds", "layers"])
def test_a_seed_that_is_edited_runs_with_all_that_come_after_it(project, rows, setting, edited):
    names = [f"seed_{number}:seed" for number in (1, 2, 3)]
    for number in (1, 2, 3):
        project.write(f"seed_{number}.py", SEED.format(number=number))
    table = f"seeds = {names}" if setting == "seeds" else f"layers = {{ demo = {names} }}"
    layer = {} if setting == "seeds" else {"layer": "demo"}
    project.configure(table)
    project.history(1)
    project.ensure(**layer)

    project.write(f"seed_{edited}.py", SEED.format(number=40))
    snapshot, ran = project.build(**layer)

    assert ran == names[edited - 1 :]
    found = {row[0] for row in rows(snapshot.path, "select id from t_0001")}
    assert found == {1, 2, 3} - {edited} | {40}


def test_a_changed_model_is_compared_and_no_revision_runs_again(project, tmp_path):
    env = (project.root / "migrations/env.py").read_text()
    given = env.replace("target_metadata = None", "from models import metadata as target_metadata")
    project.write("migrations/env.py", given)
    project.write("models.py", "import sqlalchemy as sa\nmetadata = sa.MetaData()\n")
    runs = tmp_path / "runs.txt"
    project.revision("0001", upgrade=f"open({str(runs)!r}, 'a').write('x')\nop.execute('select 1')")
    first = project.ensure()

    project.append("models.py", "sa.Table('extra', metadata, sa.Column('id', sa.Integer))\n")
    again = project.ensure()

    assert again.path == first.path
    assert again.manifest.checks["drift"] == ["add table extra"]
    assert runs.read_text() == "x"
