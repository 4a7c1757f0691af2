"""What the marker's arguments come to, where several markers hold for a test."""

from __future__ import annotations

import pytest

from alembic_snapshot.errors import ConfigError
from alembic_snapshot.plugin.marker import CloneOptions


class Item:
    """A test with markers, the nearest first, as pytest has them."""

    def __init__(self, *markers):
        self.markers = markers

    def iter_markers(self, _name):
        return (pytest.mark.db_clone(**marker).mark for marker in self.markers)


LAYER, REVISION, EMPTY = {"layer": "demo"}, {"revision": "0001"}, {"empty": True}
READONLY, DURABLE = {"readonly": True}, {"durable": True}
NEARER_WINS = [
    ([REVISION, LAYER], REVISION),
    ([LAYER, REVISION], LAYER),
    ([EMPTY, LAYER], EMPTY),
    ([EMPTY, REVISION], EMPTY),
    ([LAYER, EMPTY], LAYER),
    ([REVISION, EMPTY], REVISION),
    ([EMPTY, READONLY], EMPTY),
    ([READONLY, EMPTY], READONLY),
    ([{"layer": "other"}, LAYER], {"layer": "other"}),
    ([REVISION, LAYER, EMPTY], REVISION),
    ([DURABLE, LAYER], {**DURABLE, **LAYER}),
    ([READONLY, REVISION], {**READONLY, **REVISION}),
    ([{"layer": None}, LAYER], {}),
    ([{"layer": None, "revision": "0001"}, LAYER], REVISION),
    ([{"empty": False}, EMPTY, LAYER], {}),
    ([{"empty": False}, READONLY], READONLY),
]


@pytest.mark.parametrize(("markers", "found"), NEARER_WINS)
def test_a_nearer_markers_arguments_win_over_what_contradicts_them(markers, found):
    assert CloneOptions.of_test(Item(*markers)) == CloneOptions(**found)


TOGETHER = [
    (LAYER, REVISION, "layer=… and revision=…", "a layer is on top of the newest revision; an"),
    (LAYER, EMPTY, "layer=… and empty=…", "a layer is on top of the newest revision; an"),
    (REVISION, EMPTY, "revision=… and empty=…", "a layer is on top of the newest revision; an"),
    (READONLY, EMPTY, "empty=True and readonly=True", "an empty database is there to be written"),
]


@pytest.mark.parametrize(("one", "other", "what", "hint"), TOGETHER)
@pytest.mark.parametrize("nearer", [[], [{"layer": "x"}], [EMPTY]])
def test_one_marker_that_contradicts_itself_is_refused(one, other, what, hint, nearer):
    with pytest.raises(ConfigError) as caught:
        CloneOptions.of_test(Item(*nearer, {**one, **other}))

    assert caught.value.message == f"a clone can't have {what} at once"
    assert caught.value.hint.startswith(hint)


# A fixture of a test's own, what of it comes when its clone has begun or can't any more.
MARKING = {
    "no clone": ("request", ""),
    "a read-only one": ("db_clone, request", "readonly=True"),
    "an empty one": ("db_session, request", "empty=True"),
    "another revision": ("db_clone, request", "revision='0001'"),
    "in its own setup": ("request, db_clones", "durable=True"),
}
HELPED = {
    "before it begins": ("request", "readonly=True"),
    "what it is anyway": ("db_clone, request", ""),
}


@pytest.mark.parametrize("late", [*MARKING, *HELPED])
def test_a_mark_that_comes_too_late_fails_the_test(shop, late):
    arguments, marked = {**MARKING, **HELPED}[late]
    takes = "marking, db_clone" if late in HELPED else "marking"

    result = shop.run(
        conftest="""
        import pytest

        def pytest_collection_modifyitems(items):
            for item in items:
                if item.name == "test_always":
                    item.add_marker(pytest.mark.db_clone(readonly=True))
        """,
        test_it=f"""
        import pytest

        @pytest.fixture
        def marking({arguments}):
            if {"db_clones" in arguments}:
                db_clones["default"]
            request.applymarker(pytest.mark.db_clone({marked}))

        def test_it({takes}):
            pass

        def test_always(db_session):
            pass
        """,
    )

    result.assert_outcomes(passed=1 + (late in HELPED), failed=late in MARKING)
    if late in MARKING:
        result.stdout.fnmatch_lines(
            [
                "CloneError: test_it.py::test_it was marked with db_clone while it was set up, *",
                "hint: mark the test, its class or its module; *",
            ]
        )


def test_a_mark_on_what_takes_no_fixtures_has_no_effect(shop):
    result = shop.run(
        "--snapshot-check",
        conftest="""
        import pytest

        def pytest_collection_modifyitems(items):
            for item in items:
                item.add_marker(pytest.mark.db_clone)
        """,
        test_it="def test_it(): pass",
    )

    # Its revisions do not go down.
    assert "marked" not in result.stdout.str()
    result.assert_outcomes(passed=5, failed=2)
