"""Async engines: pointed, emptied and closed, whatever event loop a test runs in."""

from __future__ import annotations

import pytest


@pytest.fixture
def notes(new_sample):
    """A FastAPI application with an async engine made at import."""
    return new_sample("notes")


def test_a_fastapi_application_is_tested_as_it_is(notes, mode):
    result = notes.run(mode=mode)

    assert result.parseoutcomes().keys() == {"passed"}
    assert not (notes.root / "real.db").exists()
