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
