"""G3: each setting says of itself whether it counts in the key, and no two values collide there."""

from __future__ import annotations

import dataclasses
import itertools
import json

import pytest

from alembic_snapshot import GuardError
from alembic_snapshot.project import config
from alembic_snapshot.project.config import Counts, Project

FIELDS = {one.name: one for one in dataclasses.fields(Project)}
# Values that are different, and that a careless spelling would make the same.
VALUES = {
    "text": ["a", "b", "a b", "a\\nb"],
    "flag": [True, False],
    "texts": [["a b"], ["a", "b"], ["a,b"], ["a", "b", "c c"], ["b", "a", "c"]],
    "mapping": [{"A": "1"}, {"A": "1 B=2"}, {"A": "1", "B": "2"}, {"A B": "1"}],
}
# Of a value that has to fit the project: two that do.
FITTING = {
    "section": ["alembic", "other"],
    "config": ["alembic.ini", "another.ini"],
    "migrate": ["app.seeds:one", "app.seeds:two"],
    "context": ["app.seeds:one", "app.seeds:one()", "app.seeds:two"],
    "engine": ["app.seeds:one", "app.seeds:two"],
    "sessionmaker": ["app.seeds:one", "app.seeds:two"],
    "seeds": [["app.seeds:one"], ["app.seeds:one", "app.seeds:two"], ["app.seeds:two"]],
    "layers": [{"demo": ["app.seeds:one"]}, {"demo": ["app.seeds:two"]}],
    "inputs": [["data/a.txt"], ["data/*.txt"]],
    "backend": ["sqlite"],
    "remote_keys": [
        {"main": ["ed25519:" + "A" * 43 + "="]},
        {"main": ["ed25519:" + "B" * 42 + "A="]},
    ],
    "remote_private": [["0001"], ["0001", "0002"], ["0002", "0001"]],
    "max_size": ["1 GB", "2 GB"],
}
# An order that has no meaning makes no difference.
SETS = ("ignore_inputs", "inherit_environment", "ignore_environment")


@pytest.fixture
def fitted(project):
    """A project in which every value of FITTING makes sense."""
    ini = (project.root / "alembic.ini").read_text()
    for name in ("alembic.ini", "another.ini"):
        project.write(name, ini + "[other]\nscript_location = %(here)s/migrations\n")
    project.write("app/__init__.py", "")
    project.write("app/seeds.py", "def one(x): pass\ndef two(x): pass\n")
    project.write("data/a.txt", "")
    project.write("data/b.txt", "")
    for folder in ("a", "b", "c", "a b", "a,b", "c c"):
        (project.root / folder).mkdir()
    project.history(2)
    return project


def values_of(one):
    if one.name in FITTING:
        return FITTING[one.name]
    return list(one.metadata["choices"]) or VALUES[one.metadata["kind"]]


def key_with(project, one, value):
    if isinstance(value, dict):
        items = (f"{json.dumps(name)} = {json.dumps(item)}" for name, item in value.items())
        project.configure(f"{one.name} = {{ {', '.join(items)} }}")
    else:
        project.configure(f"{one.name} = {json.dumps(value)}")
    layer = "demo" if one.name == "layers" else None
    return project.chain(layer=layer).target.digest


@pytest.mark.parametrize("name", FIELDS)
def test_each_field_says_whether_it_counts(name):
    assert isinstance(FIELDS[name].metadata["counts"], Counts)


def test_a_field_that_says_nothing_is_an_error():
    silent = dataclasses.make_dataclass("Silent", [("x", str, "a")], bases=(Project,), frozen=True)

    with pytest.raises(KeyError, match="counts"):
        silent(root=config.Path("/"), x="b").base_inputs()


@pytest.mark.parametrize(
    "name",
    [n for n, one in FIELDS.items() if one.metadata["counts"] in (Counts.BASE, Counts.NAMED)],
)
def test_one_that_counts_makes_another_key_of_each_value(fitted, name):
    if name == "backend":
        pytest.skip("another backend has another store and other versions")
    keys = [key_with(fitted, FIELDS[name], value) for value in values_of(FIELDS[name])]

    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("name", SETS)
def test_an_order_without_a_meaning_makes_no_difference(fitted, name):
    one = FIELDS[name]

    assert key_with(fitted, one, ["a", "b"]) == key_with(fitted, one, ["b", "a"])


@pytest.mark.parametrize(
    "name",
    [
        n
        for n, one in FIELDS.items()
        if one.metadata["counts"] in (Counts.NO, Counts.HIT) and one.metadata["kind"]
    ],
)
def test_one_that_does_not_count_makes_no_difference(fitted, name):
    keys = {key_with(fitted, FIELDS[name], value) for value in values_of(FIELDS[name])}

    assert len(keys) == 1


def test_no_two_of_several_settings_are_taken_for_one_another(fitted):
    tables = [
        'x = ["a"]\nignore_environment = ["b"]',
        'x = ["a", "ignore_environment", "b"]',
        'environment = { x = "a" }',
        'ignore_environment = ["a"]\nx = ["b"]',
        'ignore_inputs = ["a"]',
        "inherit_environment = []",
        'pythonpath = ["a"]',
    ]
    keys = []
    for table in tables:
        fitted.configure(table)
        keys.append(fitted.key())

    assert all(one != other for one, other in itertools.combinations(keys, 2))


@pytest.mark.parametrize(
    "ini",
    [
        "[own]\ntimezone = UTC\n",
        "[own]\nfile_template = x\n",
        "[own.alembic]\nhooks = x\n",
        "[a]\nb.c = 1\n",
        "[a.b]\nc = 1\n",
        "[logger_x]\nlevel = 1\n",
        "[hooks]\nx = 1\n",
    ],
)
def test_each_option_of_a_section_of_ones_own_counts_whatever_it_is_called(fitted, ini):
    before = fitted.key()
    text = (fitted.root / "alembic.ini").read_text()

    fitted.write("alembic.ini", text + ini)
    with_it = fitted.key()
    fitted.write("alembic.ini", text + ini.replace("= ", "= 2"))

    assert len({before, with_it, fitted.key()}) == 3


def test_two_options_whose_names_join_alike_are_two(fitted):
    text = (fitted.root / "alembic.ini").read_text()
    fitted.write("alembic.ini", text + "[a]\nb.c = 1\n")
    one = fitted.key()
    fitted.write("alembic.ini", text + "[a.b]\nc = 1\n")

    assert fitted.key() != one


def test_two_databases_that_differ_by_their_section_are_two(fitted, tables):
    ini = (fitted.root / "alembic.ini").read_text()
    for section in ("alembic", "other"):
        ini = ini.replace(f"[{section}]\n", f"[{section}]\nname = {section}_table\n")
    fitted.write("alembic.ini", ini)
    name = "context.config.get_main_option('name')"
    fitted.revision(
        "0001",
        header="from alembic import context",
        upgrade=f"op.execute('create table ' + {name} + ' (x)')",
    )
    made = []
    for section in ("alembic", "other"):
        fitted.configure(f'section = "{section}"')
        made.append(tables(fitted.ensure().path))

    assert "alembic_table" in made[0]
    assert "other_table" in made[1]


class TestForeign:
    def test_refuse_is_not_satisfied_by_a_snapshot_that_was_built_with_redirects(self, project):
        env = project.root / "migrations/env.py"
        text = env.read_text()
        start = text.index("engine = engine_from_config(")
        end = text.index("with engine.connect()")
        made = "from sqlalchemy import create_engine\nengine = create_engine('sqlite:///dev.db')\n"
        env.write_text(text[:start] + made + text[end:])
        project.history(2)
        assert project.ensure().manifest.databases

        project.configure('foreign = "refuse"')

        assert project.look_up().entry is None
        assert 'foreign = "refuse"' in project.look_up().reasons[0]
        with pytest.raises(GuardError):
            project.ensure()
