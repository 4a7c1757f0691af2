"""What ``--json`` prints has the shapes that the page for coding agents says."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from alembic_snapshot.database.diff import Diff, table_diff

PAGE = (Path(__file__).parents[2] / "docs/agents.md").read_text()
SHAPES = {
    name: json.loads(text) for name, text in re.findall(r"```json ([\w-]+)\n(.*?)```", PAGE, re.S)
}
KINDS = {"text": str, "flag": bool, "number": (int, float), "null": type(None)}


def misfits(value, shape, where="it"):
    """Where a value is not as a shape says, a line each."""
    if isinstance(shape, str):
        if not any(_is(value, kind) for kind in shape.split(" | ")):
            yield f"{where} is {value!r}, and not {shape}"
    elif isinstance(shape, list):
        if not isinstance(value, list):
            yield f"{where} is no list"
        for one in value if isinstance(value, list) else ():
            yield from misfits(one, shape[0], f"{where}[]")
    elif not isinstance(value, dict):
        yield f"{where} is no object"
    elif list(shape) == ["name"]:
        for name, one in value.items():
            yield from misfits(one, shape["name"], f"{where}.{name}")
    else:
        yield from (f"{where} lacks {name}" for name in shape.keys() - value.keys())
        yield from (f"{where} has {name}, too" for name in value.keys() - shape.keys())
        for name in shape.keys() & value.keys():
            yield from misfits(value[name], shape[name], f"{where}.{name}")


def _is(value, kind):
    if kind == "value":
        is_bytes = isinstance(value, dict) and list(value) == ["base64"]
        return is_bytes or isinstance(value, str | int | float | None)
    if kind in SHAPES:
        return not list(misfits(value, SHAPES[kind]))
    return isinstance(value, KINDS[kind]) and (kind == "flag" or not isinstance(value, bool))


@pytest.fixture
def shop(project):
    """A project with a table, and a database in which something differs."""
    project.revision(
        "0001", upgrade="op.execute('CREATE TABLE t (id INTEGER PRIMARY KEY, b BLOB)')"
    )
    project.revision("0002", "0001", "op.execute(\"INSERT INTO t VALUES (1, 'x'), (2, NULL)\")")
    return project


@pytest.fixture
def changed(shop):
    """The path of a clone with rows of each kind of difference."""
    import sqlite3
    from contextlib import closing

    clone = shop.ensure().clone(shop.root.parent / "changed.db")
    with closing(sqlite3.connect(clone.path)) as connection:
        connection.executescript(
            "INSERT INTO t VALUES (3, x'00ff'), (4, 1.5); DELETE FROM t WHERE id = 1; "
            "UPDATE t SET b = 'ü' WHERE id = 2; CREATE TABLE more (a)"
        )
    return clone.path


def printed(project, *arguments, status=0):
    done = project.command(*arguments, "--json")
    assert done.returncode == status, done.stderr
    return json.loads(done.stdout)


def test_every_shape_is_compared():
    assert sorted(SHAPES) == [
        "build",
        "diff",
        "doctor",
        "list",
        "open",
        "status-hit",
        "status-miss",
    ]


def test_build(shop):
    first = printed(shop, "build", "--from-scratch")
    again = printed(shop, "build", "--from-scratch")

    assert [list(misfits(one, SHAPES["build"])) for one in (first, again)] == [[], []]
    assert first["difference"] is None
    assert again["difference"] == {"schema": [], "tables": {}}
    assert printed(shop, "build")["difference"] is None


def test_what_is_not_compared_is_said(shop):
    said = "compared with nothing: the store had no such snapshot"

    assert said in shop.command("build", "--from-scratch", "-q").stderr.splitlines()
    assert said not in shop.command("build", "--from-scratch", "-q").stderr.splitlines()


def test_a_build_that_differs_has_the_difference(shop):
    moment = "op.execute(\"INSERT INTO t VALUES (3, strftime('%f %s', 'now') || random())\")"
    shop.revision("0003", "0002", moment)
    printed(shop, "build")

    record = printed(shop, "build", "--from-scratch", status=1)

    assert not list(misfits(record, SHAPES["build"]))
    assert record["difference"]["tables"]["t"]["changed"] == 1


def test_status(shop):
    assert not list(misfits(printed(shop, "status", status=1), SHAPES["status-miss"]))
    shop.ensure()
    assert not list(misfits(printed(shop, "status"), SHAPES["status-hit"]))


def test_doctor(shop):
    done = shop.command("doctor", "--json")

    record = json.loads(done.stdout)
    assert record["findings"]
    assert not list(misfits(record, SHAPES["doctor"]))


def test_diff(shop, changed):
    record = printed(shop, "diff", str(changed), status=1)

    assert not list(misfits(record, SHAPES["diff"]))
    table = record["tables"]["t"]
    assert table["columns"] == ["id", "b"]
    assert table["rows"] == {
        "added": [[3, {"base64": "AP8="}], [4, 1.5]],
        "removed": [[1, "x"]],
        "changed": [[[2, None], [2, "ü"]]],
    }
    assert (table["added"], table["removed"], table["changed"]) == (2, 1, 1)


def test_diff_has_as_many_rows_as_are_asked_for(shop, changed):
    record = printed(shop, "diff", str(changed), "--rows", "1", status=1)

    assert len(record["tables"]["t"]["rows"]["added"]) == 1
    assert record["tables"]["t"]["added"] == 2


def test_values_that_json_has_not_are_spelled():
    row = (1, float("inf"), float("nan"), b"\xff", object)

    difference = Diff((), [table_diff("t", list("abcde"), [0], [row], [], 5)])

    (added,) = difference.to_record()["tables"]["t"]["rows"]["added"]
    assert added == [1, "inf", "nan", {"base64": "/w=="}, str(object)]
    json.dumps(added, allow_nan=False)


def test_open(shop, changed):
    from alembic_snapshot.backend import backend_of
    from alembic_snapshot.tokens.token import Token

    snapshot = shop.ensure()
    backend = backend_of(snapshot.project)
    changes = backend.capture(snapshot.entry.database, backend.target(str(changed)))
    token = Token("sqlite", "default", "test_it", snapshot.digest, *changes)

    record = printed(shop, "open", token.to_line())
    listed = printed(shop, "list")
    assert not list(misfits(listed, SHAPES["list"]))
    assert listed["snapshots"]
    assert [one["path"] for one in listed["opened"]] == [record["path"]]
    assert not list(misfits(record, SHAPES["open"]))
    assert record["difference"] == printed(shop, "diff", str(changed), status=1)
    other = Token("sqlite", "default", "test_it", "0" * 64, *changes)
    record = printed(shop, "open", other.to_line(), status=1)
    assert not list(misfits(record, SHAPES["open"]))
    assert record["reasons"]


@pytest.mark.parametrize(
    ("value", "shape"),
    [
        ({"a": 1}, {"a": "text"}),
        ({}, {"a": "text"}),
        ({"a": "x", "b": 1}, {"a": "text"}),
        ([1, "x"], ["number"]),
        (True, "number"),
        ({"x": 1}, {"name": "text"}),
        ({"base64": "", "b": 1}, "value"),
    ],
)
def test_a_misfit_is_found(value, shape):
    assert list(misfits(value, shape))
