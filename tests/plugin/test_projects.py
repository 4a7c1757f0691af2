"""Whole projects, untouched, with the tests that their developers would write."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize("project", ["board", "script"])
def test_a_project_is_tested_as_it_is(new_sample, project, mode):
    sample = new_sample(project)

    result = sample.run(mode=mode)

    assert result.parseoutcomes().keys() == {"passed"}
    assert not list(sample.root.glob("*.db"))
