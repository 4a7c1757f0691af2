"""G3: what reaches a revision through ``env.py`` counts, whatever ``env.py`` has it from.

A changed model is a hit; a changed value that a module of ``env.py`` hands on is a miss.
"""

from __future__ import annotations

import contextlib
import copy
import json
import pickle

import pytest

from alembic_snapshot.builder.left import _Heard

TABLES = "op.get_bind().exec_driver_sql"
SET = "import os\nos.environ['T'] = str(cfg.VALUE)"
GIVEN = "context.config.attributes"
# How a value gets from a module of env.py into env.py's hands, and from there to a revision.
WAYS = {
    "option": ("tenant=cfg.VALUE", "", "op.get_context().opts['tenant']"),
    "option_read_by_get": ("tenant=cfg.VALUE", "", "op.get_context().opts.get('tenant')"),
    "attribute": ("", "config.attributes['t'] = cfg.VALUE", f"op.get_context().{GIVEN[8:]}['t']"),
    "attribute_read_by_get": ("", "config.attributes['t'] = cfg.VALUE", f"{GIVEN}.get('t')"),
    "attribute_in_a_list": ("", "config.attributes.update(t=[cfg.VALUE])", f"{GIVEN}['t'][0]"),
    "opaque_attribute": ("", "config.attributes['t'] = cfg.Holder()", f"{GIVEN}['t'].value"),
    "opaque_option": ("tenant=cfg.Holder()", "", "op.get_context().opts['tenant'].value"),
    "attribute_with_a_default": ("", "config.attributes['t'] = cfg.VALUE",
                                 f"{GIVEN}.setdefault('t', 'none')"),
    "attributes_listed": ("", "config.attributes[cfg.VALUE] = 1", f"sorted({GIVEN})[0]"),
    "attributes_counted": ("", "config.attributes.update(dict.fromkeys(cfg.VALUE.strip('a')))",
                           f"'ab'[len({GIVEN})]"),
    "setting": ("", "config.set_main_option('t', cfg.VALUE)",
                "context.config.get_main_option('t')"),
    "setting_of_a_section": ("", "config.set_section_option('own', 't', cfg.VALUE)",
                             "context.config.get_section('own')['t']"),
    "variable": ("", SET, "os.environ['T']"),
    "variable_in_a_copy": ("", SET, "dict(os.environ)['T']"),
    "variable_that_may_be_set": ("", "import os\nos.environ.setdefault('T', str(cfg.VALUE))",
                                 "os.getenv('T')"),
}  # fmt: skip
BY_NAME = "from importlib import import_module\nVALUE = import_module('app.de' + 'ep').VALUE"
# Where the module has the value from, and how that is changed.
SOURCES = {
    "its_source": ("VALUE = 'a'", "app/cfg.py", None),
    "a_file": ("VALUE = open('data/va' + 'lue').read()", "data/value", "a"),
    "another_module": (BY_NAME, "app/deep.py", "VALUE = 'a'"),
    "json": ("import json\nVALUE = json.load(open('v' + '.json'))['v']", "v.json", '{"v": "a"}'),
}
HOLDER = "\nclass Holder:\n    value = VALUE\n"


def write(project, way, source):
    """A project whose revision keeps a value that came through ``env.py``."""
    option, line, expression = WAYS[way]
    code, path, content = SOURCES[source]
    project.write("app/__init__.py", "")
    if content is not None:
        project.write(path, content)
    project.write("app/cfg.py", code + HOLDER)
    env = project.root / "migrations/env.py"
    text = env.read_text().replace("config = context.config", "config = context.config\n" + line)
    if option:
        text = text.replace("connection=connection,", f"connection=connection, {option},")
    env.write_text("from app import cfg\n" + text)
    project.revision(
        "a",
        header="import os\nfrom alembic import context",
        upgrade=f"op.execute('create table t (v)')\n{TABLES}('insert into t values (?)', "
        f"({expression},))",
    )
    return project.root / path


@pytest.mark.parametrize("way", WAYS)
def test_a_value_that_a_module_of_env_py_hands_on_is_compared(project, rows, way):
    path = write(project, way, "its_source")
    project.ensure()

    path.write_text(path.read_text().replace("'a'", "'b'"))

    assert rows(project.ensure().path, "select v from t") == [("b",)]


@pytest.mark.parametrize("source", SOURCES)
def test_it_does_not_matter_where_the_module_has_it_from(project, rows, source):
    path = write(project, "attribute", source)
    project.ensure()

    path.write_text(path.read_text().replace("a", "b") if path.suffix != ".py" else
                    path.read_text().replace("'a'", "'b'"))  # fmt: skip

    assert rows(project.ensure().path, "select v from t") == [("b",)]


@pytest.mark.parametrize("way", [way for way in WAYS if not way.startswith("opaque")])
def test_a_module_of_env_py_that_hands_on_the_same_is_a_hit(project, way):
    path = write(project, way, "its_source")
    before = project.ensure()

    path.write_text(path.read_text() + "# a comment, or a column of a model\n")
    _, ran = project.build()

    assert ran == []
    assert project.ensure().path == before.path


def test_a_revision_that_uses_the_models_of_env_py_depends_on_them(project, tables):
    project.write("models.py", "import sqlalchemy as sa\nM = sa.MetaData()\nsa.Table('one', M)\n")
    env = project.root / "migrations/env.py"
    text = env.read_text().replace("target_metadata = None", "target_metadata = models.M")
    env.write_text("import models\n" + text)
    project.write("models.py", "import sqlalchemy as sa\nM = sa.MetaData()\n"
                  "sa.Table('one', M, sa.Column('id', sa.Integer))\n")  # fmt: skip
    project.revision(
        "a", upgrade="op.get_context().opts['target_metadata'].create_all(op.get_bind())"
    )
    project.ensure()

    project.append("models.py", "sa.Table('two', M, sa.Column('id', sa.Integer))\n")

    assert "two" in tables(project.ensure().path)


def test_a_variable_that_env_py_begins_to_set_is_noticed(project, rows):
    project.write("cfg.py", "")
    env = project.root / "migrations/env.py"
    env.write_text("import cfg\n" + env.read_text())
    project.revision(
        "a",
        header="import os",
        upgrade=f"op.execute('create table t (v)')\n"
        f"{TABLES}('insert into t values (?)', (os.getenv('REGION', 'none'),))",
    )
    project.ensure()

    project.write("cfg.py", "import os\nos.environ['REGION'] = 'us'\n")

    assert rows(project.ensure().path, "select v from t") == [("us",)]


def test_status_says_what_env_py_is_going_to_be_asked_again_about(project):
    path = write(project, "attribute", "a_file")
    project.ensure()

    path.write_text("b")
    status = project.command("status").stdout

    assert "the next build runs env.py again: data/value changed" in status


def test_settings_whose_percent_signs_are_for_others_are_compared_as_they_stand(project):
    project.append(
        "alembic.ini", "[formatter_generic]\nformat = %(levelname)-5.5s [%(name)s] %(message)s\n"
    )
    project.history(1)

    assert project.ensure().built
    assert not project.ensure().built


# What tells nothing of a dictionary's content, but for its size in memory.
TELLS_NOTHING = {
    "__init__", "__new__", "__getattribute__", "__class_getitem__", "__sizeof__", "__lt__",
    "__le__", "__gt__", "__ge__", "__setitem__", "__delitem__", "__ior__", "clear", "update",
    "fromkeys",
}  # fmt: skip


@pytest.mark.parametrize(
    "name", [n for n in vars(dict) if callable(getattr(dict, n)) and n not in TELLS_NOTHING]
)
def test_whoever_asks_a_dictionary_is_heard(name):
    heard = []
    values = _Heard(lambda key, value: heard.append((key, value)), {"t": 1})

    for arguments in ((), ("t",), ({"t": 2},)):
        with contextlib.suppress(TypeError, KeyError):
            getattr(values, name)(*arguments)

    assert ("t", 1) in heard


@pytest.mark.parametrize(
    "ask",
    [dict, list, str, bool, sorted, copy.copy, json.dumps, pickle.dumps,
     lambda values: values == {}, lambda values: values != {}, lambda values: {**values},
     lambda values: "t" in values, lambda values: dict(**values), lambda values: values | {}],
)  # fmt: skip
def test_however_python_asks_a_dictionary_it_is_heard(ask):
    heard = []
    values = _Heard(lambda key, value: heard.append((key, value)), {"t": 1})

    with contextlib.suppress(pickle.PicklingError, AttributeError, TypeError):
        ask(values)

    assert ("t", 1) in heard
