"""G8: whatever is wrong in the configuration, no row is in a file that is not a clone.

``ORACLE_CASES`` says how many are tried, from the seed ``ORACLE_SEED`` on. A failure names the seed
to repeat with ``python -m tests.oracles.aim``.
"""

from __future__ import annotations

import os

import pytest

from .aim import Trial, generate

pytestmark = pytest.mark.campaign

CASES = int(os.environ.get("ORACLE_CASES", "16"))
FIRST = int(os.environ.get("ORACLE_SEED", "0"))


@pytest.fixture(scope="session")
def store(tmp_path_factory):
    """One for all cases, so that few of them build."""
    return tmp_path_factory.mktemp("store")


@pytest.mark.parametrize("seed", range(FIRST, FIRST + CASES))
def test_no_row_is_anywhere_but_in_clones_and_what_is_right_is_green(seed, tmp_path, store):
    wrong = Trial(generate(seed), tmp_path, store).run()

    assert not wrong, "\n".join([f"python -m tests.oracles.aim --seed {seed}", *wrong])
