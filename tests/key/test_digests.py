"""What makes each layer's digest, each state's and the key: no more, and no less."""

from __future__ import annotations

import dataclasses

import pytest

from alembic_snapshot import ConfigError


@pytest.fixture
def shop(project):
    """Two branches and a merge; seeds, a named layer, models, and files that constants name."""
    project.write("lib/data.py", "NAME = 'rows.csv'\n")
    project.write("lib/rows.csv", "1")
    project.write("lib/models.py", "import parts\nNAME = 'rows.csv'\n")
    project.write("lib/parts.py", "")
    project.write("lib/seeds.py", "NAME = 'rows.csv'\ndef one(c): ...\ndef two(c): ...\n")
    project.write("extra/deep/a.txt", "1")
    project.append("migrations/env.py", "import models\n")
    project.revision("a", header="import data")
    project.revision("b1", "a")
    project.revision("b2", "a")
    project.revision("c", ("b1", "b2"))
    project.configure(
        'pythonpath = ["lib"]\nseeds = ["seeds:one", "seeds:two"]\n'
        'layers = { demo = ["seeds:two"] }\n'
        'inputs = ["extra/**/*.txt", "extra/*"]'
    )
    return project


def test_each_layer_has_its_own_inputs(shop):
    chain = shop.chain()
    base, layers = chain.base, {layer.name: layer for layer in chain.layers}

    assert chain.layers[0] is base
    assert [layer.name for layer in chain.layers] == [
        "base", "a", "b1", "b2", "c", "seeds:one", "seeds:two",
    ]  # fmt: skip
    files = {name for name in base.inputs if not name.startswith("<")}
    assert files == {"migrations/env.py", "extra/deep/a.txt"}
    versions = {name for name in base.inputs if name.startswith("<version of ")}
    assert versions >= {"<version of Alembic>", "<version of SQLAlchemy>", "<version of SQLite>"}
    assert base.named_files == {}
    script = "migrations/versions/{}_made.py"
    assert layers["a"].inputs.keys() == {script.format("a"), "lib/data.py"}
    assert layers["a"].named_files.keys() == {"lib/rows.csv"}
    assert layers["b1"].inputs.keys() == {script.format("b1")}
    assert layers["seeds:one"].inputs.keys() == {"lib/seeds.py", "<seed>"}
    assert layers["seeds:one"].inputs["<seed>"] == "seeds:one"
    assert layers["seeds:one"].named_files.keys() == {"lib/rows.csv"}
    assert [layers[name].parents for name in "abc" if name in layers] == [(), ("b1", "b2")]
    assert [(layer.kind, len(layer.digest)) for layer in chain.layers] == [
        ("base", 64), *[("revision", 64)] * 4, *[("seed", 64)] * 2,
    ]  # fmt: skip
    assert chain.inputs == {n: d for layer in chain.layers for n, d in layer.inputs.items()}
    assert chain.named_files.keys() == {"lib/rows.csv"}
    assert chain.models.keys() == {"lib/models.py", "lib/parts.py"}
    assert len({layer.digest for layer in chain.layers}) == len(chain.layers)
    assert not chain.is_below


def test_a_layers_digest_is_of_what_it_is_called_as_well(project):
    project.write("seeds.py", "def one(c): ...\n")
    project.history(1)
    path = project.versions / "0001_made.py"
    told = set()
    for name in ("0001", "0002"):
        path.write_text(f"X = '0001', '0002'\nrevision = '{name}'\ndown_revision = None\n")
        told.add(project.chain().target.digest)
    assert len(told) == 2


def test_a_state_is_told_by_its_revisions_and_its_last_seed(shop):
    chain = shop.chain()
    closed = ([], ["a"], ["a", "b1"], ["a", "b2"], ["a", "b1", "b2"], ["a", "b1", "b2", "c"])

    states = [chain.state(revisions) for revisions in closed]
    states += [chain.state(chain.revisions, count) for count in (1, 2)]

    assert [state.heads for state in states] == [
        (), ("a",), ("b1",), ("b2",), ("b1", "b2"), ("c",), ("c",), ("c",),
    ]  # fmt: skip
    assert [len(state.seeds) for state in states] == [0, 0, 0, 0, 0, 0, 1, 2]
    assert len({state.digest for state in states}) == len(states)
    assert chain.target == states[-1]
    assert chain.target is chain.target
    assert states[-1].revisions == {name: layer.digest for name, layer in chain.revisions.items()}
    assert [(state.heads, len(state.seeds)) for state in chain.published_states()] == [
        (("b1", "b2"), 0), (("c",), 0), (("c",), 1), (("c",), 2),
    ]  # fmt: skip


def test_a_seed_is_told_by_those_before_it(shop):
    shop.configure('pythonpath = ["lib"]\nseeds = ["seeds:one", "seeds:two", "seeds:one"]')
    one, two, three = shop.chain().seeds
    shop.configure('pythonpath = ["lib"]\nseeds = ["seeds:two", "seeds:one"]')
    swapped = shop.chain().seeds

    assert len({one.digest, two.digest, three.digest, *(seed.digest for seed in swapped)}) == 5


@pytest.mark.parametrize("heads", [[], ["a"], ["b1"], ["b1", "b2"], ["c"]])
def test_what_is_below_some_revisions_is_without_those_above_and_without_seeds(shop, heads):
    chain = shop.chain()

    below = chain.up_to(heads)

    closed = {"": [], "a": ["a"], "b1": ["a", "b1"], "b1 b2": ["a", "b1", "b2"],
              "c": ["a", "b1", "b2", "c"]}[" ".join(heads)]  # fmt: skip
    assert list(below.revisions) == closed
    assert below.heads == tuple(heads)
    assert below.seeds == ()
    assert below.is_below == (heads != ["c"])
    assert below.target == chain.state(closed)
    assert below.up_to(heads).is_below == below.is_below
    if heads not in ([], ["c"]):
        asked = shop.chain(revision=heads[0])
        assert asked.is_below
        assert asked.seeds == ()
    if len(heads) == 1:
        assert shop.chain(revision=heads[0]).target == below.target


def test_the_key_has_the_files_that_constants_name(shop):
    chain = shop.chain()
    without = dataclasses.replace(
        chain,
        revisions={n: one._replace(named_files={}) for n, one in chain.revisions.items()},
        seeds=tuple(one._replace(named_files={}) for one in chain.seeds),
    )
    assert without.key == without.target.digest == chain.target.digest
    assert len({chain.key, chain.target.digest}) == 2

    shop.write("lib/rows.csv", "2")
    changed = shop.chain()
    assert changed.target.digest == chain.target.digest
    assert changed.key != chain.key
    shop.append("lib/data.py", "# changed\n")
    assert shop.chain().key != changed.key


def test_what_the_checks_depend_on_has_a_digest_of_its_own(shop):
    before = shop.chain()

    shop.append("lib/parts.py", "# changed\n")

    assert shop.chain().models_digest != before.models_digest
    assert shop.chain().key == before.key


@pytest.mark.parametrize(
    ("options", "message", "hint"),
    [
        (
            {"layer": "demo", "revision": "a"},
            "layer 'demo' and revision 'a' are two snapshots",
            "ask for one of them: a layer is on top of the newest revision",
        ),
        ({"layer": "other"}, "no layer 'other' in layers", "the configured ones: demo"),
    ],
)
def test_what_there_is_no_snapshot_of_is_said(shop, options, message, hint):
    with pytest.raises(ConfigError) as told:
        shop.chain(**options)

    assert (told.value.message, told.value.hint) == (message, hint)


def test_what_the_configuration_names_and_is_not_there_is_said(shop):
    def told(table):
        shop.configure(table)
        with pytest.raises(ConfigError) as told:
            shop.chain(**({"layer": "x"} if "layers" in table else {}))
        return told.value.message, told.value.hint

    assert told("layers = {}") == ("no layer 'x' in layers", "the configured ones: none")
    places = f"{shop.root / 'lib'}, {shop.root}"
    assert told('pythonpath = ["lib"]\nseeds = ["gone.deep:one"]') == (
        f"no module 'gone.deep' for seed 'gone.deep:one' in {places}",
        "correct the name, or add its folder to pythonpath",
    )
    assert told('inputs = ["gone/*.txt"]') == (
        f"inputs pattern 'gone/*.txt' matches no file below {shop.root}",
        "correct the pattern or remove it",
    )
    for kind in ("migrate", "seeds"):
        value = '"flask:Flask"' if kind == "migrate" else '["flask:Flask"]'
        what = "migrate" if kind == "migrate" else "seed"
        assert told(f"{kind} = {value}")[0].startswith(f"no module 'flask' for {what} ")
    assert told('context = "gone_flask.app:Flask()"')[0].startswith("no module 'gone_flask.app' ")


def test_a_context_may_be_of_an_installed_package_and_then_no_file_counts(shop):
    before = shop.chain()
    shop.configure('pythonpath = ["lib"]\ncontext = "flask.app:Flask()"')

    assert shop.chain().models == before.models


def test_a_named_layer_is_on_top_of_the_seeds(shop):
    chain = shop.chain(layer="demo")

    assert [seed.name for seed in chain.seeds] == ["seeds:one", "seeds:two", "seeds:two"]
    assert chain.seeds[:2] == shop.chain().seeds


def test_of_what_only_a_run_tells_the_base_has_all(shop):
    shop.append("migrations/versions/b1_made.py", "down_revision = str('a')\n")

    chain = shop.chain()

    scripts = {f"migrations/versions/{name}_made.py" for name in ("a", "b1", "b2", "c")}
    assert chain.revisions == {}
    assert chain.heads == ()
    assert {"lib/data.py", *scripts} <= chain.base.inputs.keys()
    assert "lib/rows.csv" in chain.base.named_files
    assert [len(state.seeds) for state in chain.published_states()] == [0, 1, 2]
