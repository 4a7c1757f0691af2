"""G3: two configurations that make two databases never share one; what can't matter is a hit."""

from __future__ import annotations

import pytest

from .stale import Probe, World
from .stale_readers import READERS
from .stale_sources import Source

pytestmark = pytest.mark.campaign

_EARLY, _ENV = (one for one in READERS if one.name in ("an early revision", "env.py, options"))
# What a revision is told, by whatever way.
TOLD = [
    Source("x", "value = repr(context.get_x_argument())"),
    Source("section", "value = context.config.config_ini_section"),
    Source("option", "value = context.config.get_main_option('own', 'none')"),
    Source("variables", "value = repr([os.environ.get(name) for name in ('A', 'B', 'OWN')])"),
    Source("search path", "import where\nvalue = where.VALUE"),
    Source("search path, computed", "value = __import__('whe' + 're').VALUE"),
    Source("home", "value = str(os.environ.get('HOME') == '/given')"),
]
_MORE = """
import sqlalchemy as sa

def put(connection, name):
    count = connection.execute(sa.text("select count(*) from facts")).scalar()
    connection.execute(sa.text(f"insert into facts values ('seed {count}', '{name}')"))

def a(connection):
    put(connection, "a")

def b(connection):
    put(connection, "b")
"""
_OWN_ENGINE = """
import sqlalchemy as sa
from alembic import context

with sa.create_engine("sqlite:///of_the_application.db").connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
"""
_INI = "script_location = %(here)s/migrations\nown = {0}\n"
_LOGGING = (
    "[loggers]\nkeys = root\n[handlers]\nkeys =\n[formatters]\nkeys =\n"
    "[logger_root]\nlevel = WARNING\nhandlers =\n"
)
EXTRA = {
    "one/where.py": "VALUE = 1\n",
    "two/where.py": "VALUE = 2\n",
    "more.py": _MORE,
    "other.ini": f"[alembic]\n{_INI.format('other')}{_LOGGING}",
    "alembic.ini": "\n".join(f"[{name}]\n{_INI.format(name)}" for name in "pq"),
}
MATTERS = {
    "x in one piece or two": ("x", '["a b"]', '["a", "b"]'),
    "x in another order": ("x", '["a", "b"]', '["b", "a"]'),
    "x with an argument or none": ("x", "[]", '["a"]'),
    "x with a quote": ("x", """['a", "b']""", '["a", "b"]'),
    "section": ("section", '"p"', '"q"'),
    "config": ("config", '"alembic.ini"', '"other.ini"'),
    "a variable's value": ("environment", '{ A = "1" }', '{ A = "2" }'),
    "a variable more": ("environment", '{ A = "1" }', '{ A = "1", B = "" }'),
    "another variable": ("environment", '{ A = "1" }', '{ B = "1" }'),
    "a variable that is not inherited": ("inherit_environment", '["OWN"]', "[]"),
    "one name or two": ("inherit_environment", '["OWN", "A"]', '["OWN A"]'),
    "home": ("private_home", "false", "true"),
    "search path": ("pythonpath", '["one", "two"]', '["two", "one"]'),
    "a seed less": ("seeds", '["more:a", "more:b"]', '["more:a"]'),
    "another function": ("seeds", '["more:a"]', '["more:b"]'),
    "a seed twice": ("seeds", '["more:a"]', '["more:a", "more:a"]'),
    "seeds in another order": ("seeds", '["more:a", "more:b"]', '["more:b", "more:a"]'),
    "a named layer's seed": ("layers", '{ demo = ["more:a"] }', '{ demo = ["more:b"] }'),
    "migrate": ("migrate", '"setup_db:create"', '"setup_db:other"'),
    "no connection of its own": ("foreign", '"redirect"', '"refuse"'),
}
DOES_NOT = {
    "drift": ("drift", '"warn"', '"ignore"'),
    "clones": ("clones", '"fresh"', '"reset"'),
    "engine": ("engine", '"app.a:engine"', '"app.b:engine"'),
    "sessionmaker": ("sessionmaker", '"app.a:Session"', '"app.b:Session"'),
    "guard": ("guard", '"on"', '"off"'),
    "heads of a tree with one": ("heads", '"one"', '"many"'),
    "names in another order": ("inherit_environment", '["OWN", "A"]', '["A", "OWN"]'),
    "a layer that is not asked for": ("layers", "{ x = ['more:a'] }", "{ x = ['more:b'] }"),
    "a connection of its own": ("foreign", '"refuse"', '"redirect"'),
}
# A key, and a variable or a file that does not count with it.
LEFT_OUT = {
    "a variable that is ignored": ("ignore_environment", '["OWN"]', "OWN"),
    "a variable that begins so": ("ignore_environment", '["OW*"]', "OWN"),
    "a variable that nobody inherits": ("inherit_environment", '["A"]', "OWN"),
    "a variable that is given": ("environment", '{ OWN = "1" }', "OWN"),
    "home": ("private_home", "true", "HOME"),
    "a file that is ignored": ("ignore_inputs", '["data/*.txt"]', "data/read.txt"),
}


@pytest.fixture
def world(tmp_path):
    """A project whose database says what its configuration told the first revision."""
    read = Source("read", "value = open('data' + '/read.txt').read()")
    sources = [*TOLD, read]
    probes = [Probe(number, source, _EARLY) for number, source in enumerate(sources)]
    found = World(tmp_path, probes, {probe.number: "" for probe in probes})
    found.extra.update(EXTRA, **{"data/read.txt": "1"})
    found.extra["setup_db.py"] = _migrating("create") + _migrating("other")
    found.keys["pythonpath"] = '["one"]'
    found.variables.update({"OWN": "own", "HOME": "/given"})
    return found


def _migrating(name):
    return f"""
def {name}(url):
    import sqlalchemy as sa
    from alembic import command
    from alembic.config import Config
    config = Config("alembic.ini")
    config.set_main_option("sqlalchemy.url", url)
    command.upgrade(config, "head")
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.text("insert into facts values ('by', '{name}')"))
    engine.dispose()
"""


def configured(world, key, value):
    world.keys[key] = value
    world.write()


def prepared(world, name, key):
    """What the case needs beside the key; the layer that shows it."""
    if key == "foreign":
        world.probes = ()
        world.extra["migrations/env.py"] = _OWN_ENGINE
        world.extra["of_the_application.db"] = ""
    return "demo" if name == "a named layer's seed" else None


@pytest.mark.parametrize("name", MATTERS)
def test_a_setting_that_makes_another_database_is_built_again(name, world):
    key, before, after = MATTERS[name]
    layer = prepared(world, name, key)
    configured(world, key, before)
    first = world.build(layer)

    configured(world, key, after)

    old, new = world.build(layer), world.build_anew(layer)
    assert not first.error
    assert (new.content, new.error) != (first.content, first.error)
    assert (old.content, old.error) == (new.content, new.error)


@pytest.mark.parametrize("name", DOES_NOT)
def test_a_setting_that_can_t_matter_is_a_hit(name, world):
    key, before, after = DOES_NOT[name]
    prepared(world, name, key)
    configured(world, key, before if key != "foreign" else after)
    first = world.build()

    configured(world, key, after)

    second = world.build()
    assert not first.error
    assert (second.content, second.ran) == (first.content, ())


@pytest.mark.parametrize("name", LEFT_OUT)
def test_what_a_setting_leaves_out_is_a_hit(name, world):
    key, value, what = LEFT_OUT[name]
    configured(world, key, value)
    first = world.build()

    world.variables |= {what: "another"} if "/" not in what else {}
    world.extra |= {what: "another"} if "/" in what else {}
    world.write()

    second = world.build()
    assert not first.error
    assert (second.content, second.ran) == (first.content, ())
