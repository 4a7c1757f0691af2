"""What checks found, in words: the sizes, the lines, the order, and the errors in full."""

from __future__ import annotations

import sys

import pytest

from alembic_snapshot import CheckError
from alembic_snapshot.checks import (
    CHECKS,
    NO_METADATA,
    by_check,
    raise_for_checks,
    shortened,
    size,
    unchecked,
    unconfigured_mappers,
)


def spelled(*words):
    return f"alembic -n one {' '.join(words)}"


FINDINGS = {
    "integrity": ["page 3 is never used"],
    "foreign_keys": ["t row 1 refers to a row of u that is not there"],
    "heads": ["a", "b"],
    "create_all": ["a", "b", "a"],
    "from_models": ["b", "c", "c"],
    "drift": ["add_table t"],
    "mappers": "InvalidRequestError: no U",
}


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (999, "999 bytes"),
        (1000, "1.0 kB"),
        (9_949, "9.9 kB"),
        (9_950, "10 kB"),
        (20_480, "20 kB"),
        (999_499, "999 kB"),
        (999_500, "1.0 MB"),
        (3_100_000, "3.1 MB"),
        (4 * 10**9, "4.0 GB"),
        (5 * 10**12, "5.0 TB"),
        (6 * 10**15, "6000 TB"),
    ],
)
def test_a_size_has_the_unit_that_fits(count, text):
    assert size(count) == text


@pytest.mark.parametrize("count", [0, 1, 9, 10])
def test_ten_lines_are_not_shortened(count):
    lines = [str(number) for number in range(count)]

    assert shortened(lines, "x") == lines


def test_of_more_the_first_ten_are_shown_and_the_command_that_lists_the_rest():
    lines = [str(number) for number in range(12)]

    assert shortened(lines, "x y") == [*lines[:10], "and 2 more: `x y` lists them"]


def test_each_check_has_its_findings_in_the_order_of_the_checks():
    found = by_check(FINDINGS, drift="warn", heads="one", spell=spelled)

    assert list(found) == list(CHECKS)
    assert found == {
        "sound_data": [
            "integrity: page 3 is never used",
            "foreign key: t row 1 refers to a row of u that is not there",
        ],
        "one_head": [
            "there are 2 heads, a and b: join them with `alembic -n one merge heads`, "
            'or set heads = "many"'
        ],
        "drift": [
            "revision a calls create_all: the models' drift can't show",
            "revision b calls create_all: the models' drift can't show",
            "revision c takes its schema from the models: their drift can't show",
            "drift: add_table t",
        ],
        "mappers": ["mappers don't configure: InvalidRequestError: no U"],
    }


def test_several_heads_are_a_finding_only_where_one_is_wanted():
    assert by_check(FINDINGS, drift="warn", heads="many", spell=spelled)["one_head"] == []
    assert by_check({"heads": ["a"]}, drift="warn", heads="one", spell=spelled)["one_head"] == []


def test_of_what_a_manifest_does_not_have_nothing_is_found():
    assert by_check({}, drift="warn", heads="one", spell=spelled) == {name: [] for name in CHECKS}


def test_each_check_that_was_not_made_has_its_own_reason_by_name():
    checks = {
        "heads": [],
        "integrity": [],
        "unchecked": {"mappers": "m"},
        "heads_error": "h",
        "integrity_error": "i",
        "drift_error": "d",
    }

    assert list(unchecked(checks, drift="warn").items()) == [
        ("drift", "d"),
        ("mappers", "m"),
        ("one_head", "h"),
        ("sound_data", "i"),
    ]
    assert unchecked({**checks, "drift_error": None}, drift="ignore").keys() == {
        "mappers",
        "one_head",
        "sound_data",
    }


def test_what_a_manifest_does_not_say_is_said_unless_it_says_why():
    silent = "its manifest does not say what was found"

    assert unchecked({}, drift="warn") == {"one_head": silent, "sound_data": silent}
    assert unchecked({"heads_error": "h"}, drift="warn")["one_head"] == "h"


METADATA = "import every module with mapped classes where env.py gets its metadata"
RAISED = {
    "mappers": (
        {"mappers": "no U", "drift": ["x"]},
        "the models' mappers don't configure: no U",
        METADATA,
    ),
    "drift": (
        {"drift": [str(number) for number in range(11)], "drift_error": "d"},
        "the models differ from the migrated schema:\n  0\n  1\n  2\n  3\n  4\n  5\n  6\n  7\n  8\n"
        "  9\n  and 1 more: `x` lists them",
        "make the missing revision with `alembic -n one revision --autogenerate`, or set "
        'drift = "warn"',
    ),
    "no drift to find": (
        {"drift_error": NO_METADATA, "unchecked": {"mappers": "m"}},
        f"drift: not checked, because {NO_METADATA}",
        "run `alembic -n one check` to see it alone; env.py has to give the models' metadata to "
        'context.configure(); or set drift = "warn"',
    ),
    "no mappers to configure": (
        {"unchecked": {"mappers": "m"}},
        "mappers: not checked, because m",
        f'{METADATA}, or set drift = "warn"',
    ),
}


@pytest.mark.parametrize(("checks", "message", "hint"), RAISED.values(), ids=RAISED)
def test_what_is_wrong_with_the_models_is_an_error_only_where_drift_is_one(checks, message, hint):
    with pytest.raises(CheckError) as raised:
        raise_for_checks(checks, drift="error", command=lambda: "x", spell=spelled)

    assert (raised.value.message, raised.value.hint) == (message, hint)
    for drift in ("warn", "ignore"):
        raise_for_checks(checks, drift=drift, command=lambda: "x", spell=spelled)


@pytest.mark.parametrize("checks", [{}, {"integrity_error": "i", "heads_error": "h"}, FINDINGS])
def test_what_is_not_about_the_models_is_no_such_error(checks):
    about_data = {k: v for k, v in checks.items() if k not in ("drift", "mappers")}

    raise_for_checks(about_data, drift="error", command=lambda: "x", spell=spelled)


def test_mappers_that_do_not_configure_are_told_and_those_of_nobody_are_not(monkeypatch):
    from sqlalchemy import Column, Integer
    from sqlalchemy.orm import registry, relationship

    models = registry()
    assert unconfigured_mappers() is None

    class Parent:
        __tablename__ = "parent"
        id = Column(Integer, primary_key=True)
        children = relationship("Nobody")

    models.mapped(Parent)
    try:
        assert unconfigured_mappers().startswith("InvalidRequestError: When initializing mapper")
        monkeypatch.delitem(sys.modules, "sqlalchemy.orm")
        assert unconfigured_mappers() is None
    finally:
        models.dispose()
