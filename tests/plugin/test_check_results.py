"""What the items of the checks make of a snapshot's findings, without a run of pytest for each."""

from __future__ import annotations

import re
from types import SimpleNamespace

import pytest

from alembic_snapshot.build.stairway_cache import Finding
from alembic_snapshot.errors import BuildError, CheckError
from alembic_snapshot.plugin.items import CheckFailed, Checks, Stairway, is_allowed

NOTHING = {"integrity": [], "foreign_keys": [], "create_all": [], "heads": ["a"], "drift": []}


@pytest.fixture
def checks(request, project):
    """Makes the checks of a project whose snapshot has these findings."""
    project.history(2)

    def make(table="", **found):
        project.configure(table)
        built = SimpleNamespace(manifest=SimpleNamespace(checks={**NOTHING, **found}))
        database = SimpleNamespace(project=project.load(), built=lambda: built)
        title = "alembic-snapshot[shop]"
        return Checks.from_parent(request.session, name=title, nodeid=title, database=database)

    return make


@pytest.fixture
def with_layer(request, project):
    """Makes the checks of a project that has other findings in a named layer."""
    project.history(1)
    project.configure('layers = { demo = ["shop:demo"] }')

    def make(base, layer):
        found = {None: {**NOTHING, **base}, "demo": {**NOTHING, **base, **layer}}

        def built(options=None):
            return SimpleNamespace(
                manifest=SimpleNamespace(checks=found[options and options.layer])
            )

        database = SimpleNamespace(project=project.load(), built=built)
        return Checks.from_parent(request.session, name="a", nodeid="a", database=database)

    return make


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        ({}, {}),
        (
            {"foreign_keys": ["t row 1", "t row 2"]},
            {"sound_data": "failed: foreign key: t row 1\nlayer demo: foreign key: t row 2"},
        ),
        (
            {"create_all": ["shop:demo"]},
            {
                "drift": "failed: drift: add table t\n"
                "layer demo: seed shop:demo calls create_all: the models' drift can't show"
            },
        ),
        ({"mappers": "no U"}, {"mappers": "failed: layer demo: mappers don't configure: no U"}),
        (
            {"unchecked": {"mappers": "it fails"}},
            {"mappers": "failed: not checked, because layer demo: it fails"},
        ),
    ],
    ids=["nothing", "rows", "schema", "mappers", "unchecked"],
)
def test_what_a_named_layer_adds_is_a_result_of_the_check(with_layer, layer, expected):
    found = results(with_layer({"foreign_keys": ["t row 1"], "drift": ["add table t"]}, layer))

    base = {
        "sound_data": "failed: foreign key: t row 1",
        "one_head": "passed",
        "drift": "failed: drift: add table t",
        "mappers": "passed",
    }
    assert found == {**base, **expected}


def result(item):
    """What an item ends with: "passed", or the kind and the text of what it raises."""
    try:
        item.runtest()
    except CheckFailed as failed:
        return f"failed: {failed}"
    except pytest.skip.Exception as skipped:
        return f"skipped: {skipped.msg}"
    return "passed"


def results(checks):
    facts = [item for item in checks.collect() if not isinstance(item, Stairway)]
    return {item.name: result(item) for item in facts}


def test_they_are_the_facts_and_then_each_revision(checks):
    items = list(checks().collect())

    names = ["sound_data", "one_head", "drift", "mappers", "stairway[0001]", "stairway[0002]"]
    assert [item.name for item in items] == names
    assert [item.nodeid for item in items] == [f"alembic-snapshot[shop]::{name}" for name in names]
    assert [item.revision for item in items[4:]] == ["0001", "0002"]
    assert all(item.needs_snapshot for item in items)
    for item in items:
        folder = item.config.rootpath / "alembic-snapshot[shop]"
        assert item.reportinfo() == (folder, None, item.name)


def test_where_only_a_run_tells_the_revisions_the_stairway_is_one(checks, project):
    path = project.versions / "0002_made.py"
    path.write_text(path.read_text().replace("'0001'", "str('0001')"))

    (*_, last) = checks().collect()

    assert (last.name, last.revision) == ("stairway", None)
    assert last.nodeid == "alembic-snapshot[shop]::stairway"


PASSED = dict.fromkeys(["sound_data", "one_head", "drift", "mappers"], "passed")
FOUND = {
    "nothing": ("", {}, {}),
    "data": (
        "",
        {"integrity": ["x"], "foreign_keys": ["y"]},
        {"sound_data": "failed: integrity: x\nforeign key: y"},
    ),
    "heads": (
        "",
        {"heads": ["a", "b"]},
        {
            "one_head": "failed: there are 2 heads, a and b: join them with `alembic merge heads`, "
            'or set heads = "many"'
        },
    ),
    "heads that may be": ('heads = "many"', {"heads": ["a", "b"]}, {}),
    "drift": ("", {"drift": ["x"]}, {"drift": "failed: drift: x"}),
    "drift that nobody minds": (
        'drift = "ignore"',
        {"drift": ["x"], "drift_error": "why"},
        {"drift": 'skipped: not checked, because drift = "ignore"'},
    ),
    "tables that models make": (
        'drift = "ignore"',
        {"create_all": ["a"]},
        {"drift": "failed: revision a calls create_all: the models' drift can't show"},
    ),
    "mappers": ("", {"mappers": "x"}, {"mappers": "failed: mappers don't configure: x"}),
    "what was not checked": (
        "",
        {"drift_error": "why", "unchecked": {"mappers": "so"}, "heads_error": "how"},
        {
            "drift": "failed: not checked, because why",
            "mappers": "failed: not checked, because so",
            "one_head": "failed: not checked, because how",
        },
    ),
    "both": (
        "",
        {"integrity": ["x"], "integrity_error": "why"},
        {"sound_data": "failed: integrity: x\nnot checked, because why"},
    ),
    "what a terminal obeys": ("", {"mappers": "\x1b[31m"}, {
        "mappers": "failed: mappers don't configure: \\x1b[31m"
    }),
}  # fmt: skip


@pytest.mark.parametrize(("table", "found", "changed"), FOUND.values(), ids=FOUND)
def test_each_fails_with_its_own_findings(checks, table, found, changed):
    told = results(checks(table, **found))

    # The project is not in the folder that the tests run in.
    plain = {name: re.sub(r"cd \S+ && (?=alembic )", "", one) for name, one in told.items()}
    assert plain == {**PASSED, **changed}


def test_what_was_not_checked_is_skipped_where_that_is_allowed(checks, request, monkeypatch):
    assert not is_allowed(request.config)
    monkeypatch.setattr(request.config.option, "snapshot_allow_unchecked", True)
    assert is_allowed(request.config)

    found = results(checks(drift_error="why", integrity=["x"], integrity_error="so"))

    assert found["drift"] == "skipped: not checked, because why"
    assert found["sound_data"] == "failed: integrity: x\nnot checked, because so"


class TestAStairway:
    FINDINGS = (
        Finding("0001", "downgrade", ("a",)),
        Finding("0002", "downgrade failed", ("b", "c")),
        Finding("0001", "second upgrade", ("d",)),
    )

    def climbed(self, checks, found):
        made = checks()
        made.__dict__["_found"] = found
        return [item for item in made.collect() if isinstance(item, Stairway)]

    def test_fails_with_what_was_found_of_its_revision(self, checks):
        first, second = self.climbed(checks, self.FINDINGS)

        assert result(first) == (
            "failed: revision 0001: downgrade\n  a\nrevision 0001: second upgrade\n  d"
        )
        assert result(second) == "failed: revision 0002: downgrade failed\n  b\n  c"
        (whole, _) = self.climbed(checks, self.FINDINGS)
        whole.revision = None
        assert result(whole).count("revision 000") == 3
        assert [result(item) for item in self.climbed(checks, [])] == ["passed", "passed"]

    def test_that_can_not_be_taken_is_not_checked_and_says_why(self, checks):
        error = CheckError("there are none", hint="so")

        assert [result(item) for item in self.climbed(checks, error)] == [
            "failed: not checked, because there are none"
        ] * 2

    def test_of_which_the_build_failed_fails_with_that(self, checks):
        error = BuildError("it broke", hint="so")
        first, _ = self.climbed(checks, error)

        with pytest.raises(BuildError) as raised:
            first.runtest()
        assert raised.value is error


@pytest.mark.parametrize(
    ("error", "shown"),
    [(CheckFailed("drift: x"), "drift: x"), (ValueError("why"), "ValueError: why")],
)
def test_what_was_found_is_its_text_and_any_other_error_is_as_pytest_shows_it(checks, error, shown):
    item = next(iter(checks().collect()))
    try:
        raise error
    except Exception:
        told = str(item.repr_failure(pytest.ExceptionInfo.from_current()))

    assert shown in told
    assert (told == shown) is isinstance(error, CheckFailed)
