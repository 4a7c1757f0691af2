"""What ``env.py`` gives to ``configure()`` is told in words that are the same in every run."""

from __future__ import annotations

import datetime
import decimal
import enum
import functools
import pathlib
import types
import uuid

import pytest
import sqlalchemy as sa

from alembic_snapshot.builder.options import (
    called_by_alembic,
    is_comparable,
    metadata_in,
    no_metadata_in,
    option_fingerprint,
    spelled,
)

HERE = __name__
PLAIN = {
    "'a'": "a",
    "True": True,
    "7": 7,
    "1.5": 1.5,
    "b'a'": b"a",
    "datetime.datetime(2026, 1, 2, 3, 4)": datetime.datetime(2026, 1, 2, 3, 4),
    "datetime.date(2026, 1, 2)": datetime.date(2026, 1, 2),
    "datetime.time(3, 4)": datetime.time(3, 4),
    "datetime.timedelta(days=1)": datetime.timedelta(days=1),
    "Decimal('1.50')": decimal.Decimal("1.50"),
    "PosixPath('a/b')": pathlib.Path("a/b"),
    "PurePosixPath('a/b')": pathlib.PurePath("a/b"),
    "UUID('00000000-0000-0000-0000-000000000007')": uuid.UUID(int=7),
}


class Colour(enum.Enum):
    RED = 1


class Level(enum.IntEnum):
    HIGH = 1


class Hiding(str):
    __slots__ = ()

    def __repr__(self):
        return "***"


class Holder:
    def method(self): ...


TOLD = {
    **PLAIN,
    "None": None,
    f"{HERE}.Colour.RED": Colour.RED,
    f"{HERE}.Level.HIGH": Level.HIGH,
    "['a', 1, None]": ["a", 1, None],
    "['b', 'a']": ("b", "a"),
    "{'a', 'b'}": {"b", "a"},
    "{1, 2}": frozenset({2, 1}),
    "{'a': [1], 'b': 2}": {"b": 2, "a": [1]},
    "{'k': 'v'}": types.MappingProxyType({"k": "v"}),
    f"{HERE}.Holder": Holder,
    f"{HERE}.Holder.method": Holder.method,
    "functools.partial": functools.partial(print),
    "builtins.len": len,
}


@pytest.mark.parametrize("words", TOLD)
def test_a_value_is_spelled(words):
    assert spelled(TOLD[words]) == words


def test_an_object_is_spelled_by_its_type_and_a_text_as_texts_are():
    assert spelled(Holder()) == f"{HERE}.Holder"
    assert spelled(Hiding("a")) == "'a'"


@pytest.mark.parametrize("value", [*PLAIN.values(), None])
def test_plain_values_can_be_compared_wherever_they_are_and_others_nowhere(value):
    for own in (Hiding("own"), Colour.RED, Holder(), print):
        for around in (
            lambda one: one,
            lambda one, beside=value: [beside, one],
            lambda one, beside=value: (one, beside),
            lambda one, beside=value: {beside, one},
            lambda one, beside=value: frozenset({beside, one}),
            lambda one, beside=value: {1: beside, 2: one},
            lambda one, beside=value: {beside: 1, one: 2},
            lambda one, beside=value: {"a": [(beside, one)]},
        ):
            assert is_comparable(around(value))
            assert not is_comparable(around(own))


def test_a_container_of_an_own_kind_can_not_be_compared():
    class Own(dict):
        pass

    assert not is_comparable(Own())
    assert not is_comparable(types.MappingProxyType({}))


class TestTheFingerprint:
    def test_has_each_option_but_what_is_compared_otherwise(self):
        options = {
            "tenant": "a", "compare_type": True, "connection": object(), "url": "sqlite://",
            "target_metadata": None, "dialect_name": "sqlite", "dialect_opts": {"a": 1},
        }  # fmt: skip

        assert option_fingerprint(options) == {"compare_type": "True", "tenant": "'a'"}

    def test_tells_of_each_metadata_its_schema_and_its_convention(self):
        plain = "[('fk', \"'f_%(table_name)s'\"), ('short', 'builtins.len')]"
        convention = {"short": len, "fk": "f_%(table_name)s"}
        several = [sa.MetaData(schema="a", naming_convention=convention), None, Holder]

        found = option_fingerprint({"target_metadata": several})

        assert found == {
            "target_metadata[0]": f"a {plain}",
            "target_metadata[1]": f"{HERE}.Holder",
        }

    def test_of_a_set_is_in_the_order_of_what_it_tells(self):
        schemas = {sa.MetaData(schema=name) for name in "dbca"}

        for given in (schemas, frozenset(schemas)):
            found = option_fingerprint({"target_metadata": given})

            assert [text[0] for text in found.values()] == ["a", "b", "c", "d"]
            assert [one.schema for one in metadata_in({"target_metadata": given})] == [*"abcd"]

    def test_of_a_set_of_other_things_is_so_too(self):
        found = option_fingerprint({"target_metadata": {Colour, Holder, Level, Hiding, len}})

        names = ("Colour", "Hiding", "Holder", "Level")
        assert list(found.values()) == ["builtins.len", *(f"{HERE}.{name}" for name in names)]


class TestTheMetadata:
    @pytest.mark.parametrize("around", [list, tuple, set])
    def test_is_what_has_a_convention_of_names(self, around):
        one = sa.MetaData()

        assert metadata_in({"target_metadata": around([one, Holder])}) == [one]
        assert metadata_in({"target_metadata": one}) == [one]
        assert metadata_in({"target_metadata": None}) == metadata_in({}) == []

    def test_that_is_none_is_named(self):
        class Base:
            metadata = sa.MetaData()

        given = "env.py's target_metadata has {}, which is no MetaData{}"

        assert no_metadata_in({"target_metadata": sa.MetaData()}) is None
        assert no_metadata_in({}) is None
        for one, said in [
            (Base, (Base.__qualname__, ", and its metadata is one")),
            (Base(), (f"a {Base.__name__}", ", and its metadata is one")),
            (Holder, ("Holder", "")),
            (Holder(), ("a Holder", "")),
            (len, ("len", "")),
            ("models", ("a str", "")),
        ]:
            assert no_metadata_in({"target_metadata": [sa.MetaData(), one]}) == given.format(*said)


def test_what_alembic_calls_are_hooks_and_functions_of_conventions():
    def short(constraint, table): ...

    metadata = sa.MetaData(naming_convention={"short": short, "uq": "u_%(short)s"})

    for hooks, called in [(None, []), (print, [print]), ([print, len], [print, len])]:
        options = {"on_version_apply": hooks, "target_metadata": [Holder(), metadata]}
        found = [("on_version_apply", hook) for hook in called]
        assert list(called_by_alembic(options)) == [*found, ("target_metadata[1]", short)]
        assert {name for name, _ in found} <= option_fingerprint(options).keys()
    assert list(called_by_alembic({})) == []
