"""What revisions were handed over is told by what they took, and by nothing beside it."""

from __future__ import annotations

import types

import pytest
from alembic.config import Config

from alembic_snapshot.builder.left import LeftByEnv

ALEMBIC = "/alembic/op.py"
DIGEST = 64 * "d"


class Watch:
    """The watch of a builder, as far as what is handed over asks it."""

    def __init__(self, variables=()):
        self.is_recording = True
        self.is_shared = False
        self.record = types.SimpleNamespace(variables=lambda: set(variables))
        self.frames = types.SimpleNamespace(is_alembics=lambda name: name == ALEMBIC)

    def share_models(self):
        self.is_shared = True


def begun(watch, asked=(), attributes=(), options=(), spell=str):
    """What is noted from now on, the configuration, and the options."""
    left = LeftByEnv(watch, asked, spell)
    config, context = Config(), types.SimpleNamespace(opts=dict(options))
    config.attributes.update(attributes)
    left.begin(config, context)
    return left, config.attributes, context.opts


def told(left):
    values = left.handed_over()
    assert len(values.pop("<settings>")) == len(DIGEST)
    return {
        name: "digest" if len(value) == len(DIGEST) else value for name, value in values.items()
    }


class TestAttributes:
    def test_are_those_that_were_taken_and_those_that_earlier_runs_took(self):
        asked = ["<attribute early>", "<attribute gone>", "<settings>", "<variable V>"]
        given = {"early": 1, "a b": "x", "other": 2}
        left, attributes, _ = begun(Watch(), asked, given)

        assert attributes["a b"] == "x"
        assert attributes.get("missing", default := object()) is default

        assert told(left) == {
            "<attribute early>": "1",
            "<attribute gone>": "unset",
            "<attribute a b>": "'x'",
            "<attribute missing>": "unset",
            "<variable V>": "as it was given",
        }

    @pytest.mark.parametrize("how", [len, list, repr])
    def test_are_all_where_all_were_looked_through(self, how):
        left, attributes, _ = begun(Watch(), (), {"b": 1, "a": 2})

        how(attributes)

        values = {"<attribute *>": "['a', 'b']", "<attribute a>": "2", "<attribute b>": "1"}
        assert told(left) == values

    @pytest.mark.parametrize("asks", ["attributes['a'], attributes['o']", "len(attributes)"])
    @pytest.mark.parametrize("who", ["alembic", "env.py"])
    def test_that_others_take_are_none(self, asks, who):
        watch = Watch()
        left, attributes, _ = begun(watch, (), {"a": 1, "o": object()})
        watch.is_recording = who == "alembic"

        eval(compile(asks, ALEMBIC if who == "alembic" else "env.py", "eval"), {
            "attributes": attributes
        })  # fmt: skip

        assert told(left) == {}
        assert not watch.is_shared

    @pytest.mark.parametrize(("name", "is_shared"), [("plain", False), ("opaque", True)])
    def test_that_can_not_be_compared_bring_what_made_them(self, name, is_shared):
        watch = Watch()
        _, attributes, _ = begun(watch, (), {"plain": [1], "opaque": object()})
        assert not watch.is_shared

        assert name in attributes

        assert watch.is_shared is is_shared

    def test_are_none_where_env_py_did_not_let_revisions_run(self):
        left = LeftByEnv(Watch(["V"]), ["<attribute a>", "<variable W>"], str)

        assert left.handed_over() == {}


class TestOptions:
    @pytest.mark.parametrize(
        ("name", "is_shared"), [("plain", False), ("opaque", True), ("connection", False)]
    )
    def test_that_can_not_be_compared_bring_what_made_them(self, name, is_shared):
        watch = Watch()
        given = {"plain": [1], "opaque": object(), "connection": object()}
        left, _, options = begun(watch, options=given)

        assert options[name] is given[name]

        assert watch.is_shared is is_shared
        assert told(left) == {}

    def test_that_alembic_takes_bring_nothing(self):
        watch = Watch()
        _, _, options = begun(watch, options={"opaque": object()})

        eval(compile("options['opaque']", ALEMBIC, "eval"), {"options": options})

        assert not watch.is_shared

    def test_are_taken_with_what_stands_for_them(self):
        _, attributes, _ = begun(Watch(), attributes={"a": 1})

        assert attributes.copy() == {"a": 1}
        assert attributes | {"b": 2} == {"a": 1, "b": 2}
        assert attributes.setdefault("c", 3) == attributes.pop("c") == 3


class TestVariables:
    @pytest.fixture(autouse=True)
    def given(self, monkeypatch):
        for name in ("SAME", "CHANGED", "GONE", "EDITOR"):
            monkeypatch.setenv(name, "given")
        monkeypatch.delenv("ADDED", raising=False)

    def change(self, monkeypatch):
        monkeypatch.setenv("CHANGED", "another")
        monkeypatch.setenv("ADDED", "another")
        monkeypatch.setenv("EDITOR", "another")
        monkeypatch.delenv("GONE")

    @pytest.mark.parametrize("where", ["this run", "an earlier one"])
    def test_are_told_by_what_env_py_left(self, monkeypatch, where):
        names = ["SAME", "CHANGED", "GONE", "EDITOR", "ADDED", "NOWHERE"]
        asked = [f"<variable {name}>" for name in names] if where == "an earlier one" else []
        left = LeftByEnv(Watch([] if asked else names), asked, str)
        self.change(monkeypatch)
        left.begin(Config(), types.SimpleNamespace(opts={}))
        # What a revision does is no matter of env.py, which is asked again for another step.
        monkeypatch.setenv("SAME", "later")
        left.begin(Config(), types.SimpleNamespace(opts={}))

        assert told(left) == {
            "<variable SAME>": "as it was given",
            "<variable CHANGED>": "digest",
            "<variable GONE>": "unset",
            "<variable EDITOR>": "digest",
            "<variable ADDED>": "digest",
            "<variable NOWHERE>": "as it was given",
        }

    def test_are_told_by_name_and_value(self, monkeypatch):
        values = set()
        for name, value in [("ADDED", "a"), ("ADDED", "b"), ("SAME", "a"), ("ADDED", "a")]:
            left = LeftByEnv(Watch([name]), (), str)
            with monkeypatch.context() as patch:
                patch.setenv(name, value)
                left.begin(Config(), types.SimpleNamespace(opts={}))
            values.add(left.handed_over()[f"<variable {name}>"])

        assert len(values) == 3

    def test_are_those_that_changed_where_all_were_read_but_none_of_the_surroundings(
        self, monkeypatch
    ):
        left = LeftByEnv(Watch(["*"]), (), str)
        self.change(monkeypatch)
        left.begin(Config(), types.SimpleNamespace(opts={}))

        changed = eval(left.handed_over()["<variable *>"])

        assert list(changed) == ["ADDED", "CHANGED", "GONE"]
        assert changed["GONE"] == "unset"
        assert len({*changed.values()}) == 3


SETTINGS = "[alembic]\nscript_location = s\na = 1\n[own]\nb = /root/2\n"


class TestSettings:
    def digest(self, tmp_path, text, root="/root"):
        path = tmp_path / "alembic.ini"
        path.write_text(text)
        left = LeftByEnv(Watch(), (), lambda text: text.replace(root, "<root>"))
        config = Config(str(path))
        left.begin(config, types.SimpleNamespace(opts={}))
        first = left.handed_over()["<settings>"]
        # A revision may set more.
        config.set_main_option("more", "1")
        left.begin(config, types.SimpleNamespace(opts={}))
        assert left.handed_over()["<settings>"] == first
        return first

    @pytest.mark.parametrize(
        "other",
        [
            SETTINGS.replace("= s", "= elsewhere"),
            SETTINGS.replace("a = 1", "a = 1\nhere = x\nsqlalchemy.url = x\nversion_locations = x"),
            "[own]\nb = /root/2\n[alembic]\na = 1\nscript_location = s\n",
        ],
    )
    def test_of_where_things_are_do_not_count(self, tmp_path, other):
        assert self.digest(tmp_path, other) == self.digest(tmp_path, SETTINGS)

    @pytest.mark.parametrize(
        "other",
        [
            SETTINGS.replace("a = 1", "a = 2"),
            SETTINGS.replace("a = 1", "c = 1"),
            SETTINGS.replace("own", "other"),
            SETTINGS.replace("a = 1", "a = %(missing)s"),
            SETTINGS.replace("/root", "/another"),
            "[alembic]\nscript_location = s\nb = /root/2\n[own]\na = 1\n",
        ],
    )
    def test_of_any_other_kind_count(self, tmp_path, other):
        assert self.digest(tmp_path, other) != self.digest(tmp_path, SETTINGS)

    def test_are_the_same_wherever_the_project_lies(self, tmp_path):
        moved = SETTINGS.replace("/root", "/moved")

        assert self.digest(tmp_path, moved, "/moved") == self.digest(tmp_path, SETTINGS)
