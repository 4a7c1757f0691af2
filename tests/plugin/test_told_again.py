"""An error that many tests have is told whole once, and in one line from then on."""

from __future__ import annotations

import types

import pytest

from alembic_snapshot.plugin.failures import Failures


def failing(failures, error, what="ada", test="test_first"):
    with pytest.raises(type(error)), failures.noting(what, test):
        raise error
    return error


DETAILS = "\nthe report of test_first has the details"
ERRORS = {
    "an error": (ValueError("no\nmore"), "ValueError: no"),
    "one without words": (ValueError(), "ValueError"),
    "a failure": (pytest.fail.Exception("no"), "no"),
}


@pytest.mark.parametrize(("error", "told"), ERRORS.values(), ids=ERRORS)
def test_a_further_test_is_told_in_one_line(error, told):
    failures = Failures()
    failing(failures, KeyError("x"), "eve", "test_other")
    failing(failures, error)

    assert failures.again(error, "test_first") is None
    assert failures.again(error, "test_second") == f"the checkpoint ada failed: {told}{DETAILS}"
    assert failures.again(type(error)("no"), "test_second") is None


def test_what_was_not_raised_is_none():
    failures = Failures()
    with failures.noting("ada", "test_first"):
        pass
    with pytest.raises(KeyboardInterrupt) as caught, failures.noting("ada", "test_first"):
        raise KeyboardInterrupt

    assert failures.again(caught.value, "test_second") is None


@pytest.mark.parametrize("error", [ValueError("no"), pytest.fail.Exception("no")])
def test_what_one_test_does_wrong_is_tried_again_for_the_next(error):
    failures, finished = Failures(), []
    request = types.SimpleNamespace(_fixturedef=types.SimpleNamespace(finish=finished.append))

    with failures.of_one_test(request):
        pass
    with pytest.raises(type(error)), failures.of_one_test(request):
        raise error
    with pytest.raises(type(error)), failures.of_one_test(types.SimpleNamespace()):
        raise error
    with pytest.raises(KeyboardInterrupt), failures.of_one_test(request):
        raise KeyboardInterrupt
    assert finished == []

    failures.forget()
    failures.forget()

    assert finished == [request]
