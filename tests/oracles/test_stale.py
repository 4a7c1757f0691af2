"""G3: whatever is changed, a build on the old store gives what a build on an empty one gives.

With ``ORACLE_CASES`` so many random cases are tried, from the seed ``ORACLE_SEED`` on, and every
source is changed for every reader, and built. Without it there are few, and of most sources a look
at the store alone has to see that they changed. ``ORACLE_ONLY`` tries those sources alone whose
name has it in it.
"""

from __future__ import annotations

import os
from itertools import chain

import pytest

from .stale import Probe, World
from .stale_cases import FAMILIES, WrongBuildError, check, fits, random_case, verdict
from .stale_readers import LATER, READERS

pytestmark = pytest.mark.campaign

FIRST = int(os.environ.get("ORACLE_SEED", "0"))
CASES = int(os.environ.get("ORACLE_CASES", "5"))
ALL = "ORACLE_CASES" in os.environ
ONLY = os.environ.get("ORACLE_ONLY", "")
SOURCES = [source for source in chain(*FAMILIES.values()) if ONLY in source.name]
TOGETHER = [source for source in SOURCES if not source.scans]
ALONE = [source for source in SOURCES if source.scans]
FEW_READERS = ("an early revision", "env.py, options", "a module of env.py, options", "a seed")


def by_name(subject):
    return subject.name


def world_of(reader, sources, folder, absent=1, **more):
    """Every source that the reader can ask; of every second there is nothing yet."""
    fitting = [source for source in sources if fits(source, reader)]
    probes = [Probe(number, source, reader, **more) for number, source in enumerate(fitting)]
    words = {
        probe.number: None if probe.number % 2 == absent and not probe.source.static else "red"
        for probe in probes
    }
    world = World(folder, probes, words)
    world.write()
    check(world, reader.layer, "nothing", anew=False)
    return world


def some(many, reader, every):
    """Those that are tried where there is no time for all, others for each reader."""
    return many if ALL or ONLY else many[READERS.index(reader) % every :: every]


def changed_one_by_one(world, probes, layer):
    """What goes wrong when one source after another says something else, and is built."""
    for probe in probes:
        world.words[probe.number] = "purple"
        world.write()
        try:
            check(world, layer, str(probe), anew=probe is probes[-1])
        except WrongBuildError as error:
            yield str(error)
            # What is stale stays so: go on with a store that knows nothing.
            world.forget()
            check(world, layer, "nothing", anew=False)


def fail_for(wrong):
    wrong = list(wrong)
    if wrong:
        pytest.fail("\n".join(wrong), pytrace=False)


@pytest.mark.parametrize("seed", range(FIRST, FIRST + CASES))
def test_an_old_store_gives_what_an_empty_one_gives(seed, tmp_path):
    wrong = verdict(random_case(seed), tmp_path / "case")

    rerun = f"ORACLE_SEED={seed} ORACLE_CASES=1 pytest tests/oracles -k an_old_store"
    fail_for([f"{wrong}\nrerun: {rerun}"] if wrong else [])


@pytest.mark.parametrize(
    "reader", [one for one in READERS if not one.is_imported_by_env_py], ids=by_name
)
def test_what_was_read_is_a_miss_when_it_says_something_else(reader, tmp_path):
    world = world_of(reader, TOGETHER, tmp_path)
    wrong = []

    for probe in some(world.probes, reader, every=3):
        before = world.words[probe.number]
        for word in ("green", "red" if probe.source.static else None):
            differs = probe.source.shows(before) != probe.source.shows(word)
            world.words[probe.number] = word
            world.write()
            if differs and not probe.is_told_by_env_py and world.is_hit(reader.layer):
                wrong.append(f"stale: {probe}: from {before} to {word}")
        world.words[probe.number] = before
        world.write()

    assert world.is_hit(reader.layer)
    fail_for(wrong)


@pytest.mark.parametrize("absent", [0, 1] if ALL else [1], ids=["odd", "even"][: 1 + ALL])
@pytest.mark.parametrize("reader", READERS if ALL else READERS[::3], ids=by_name)
def test_a_build_reads_again_what_says_something_else(reader, absent, tmp_path):
    world = world_of(reader, some(TOGETHER, reader, every=40), tmp_path, absent)

    fail_for(changed_one_by_one(world, world.probes, reader.layer))


@pytest.mark.skipif(not ALL, reason="random cases have some of it")
@pytest.mark.parametrize("later", LATER)
@pytest.mark.parametrize("layer", [None, "demo"])
def test_what_an_early_revision_reads_is_its_own_whoever_names_it_later(later, layer, tmp_path):
    named = [source for source in TOGETHER if source.named]
    world = world_of(READERS[0], named, tmp_path, later=later)
    check(world, layer, "nothing", anew=False)

    fail_for(changed_one_by_one(world, world.probes, layer))


@pytest.mark.parametrize("source", ALONE, ids=by_name)
@pytest.mark.parametrize("reader", [one for one in READERS if one.name in FEW_READERS], ids=by_name)
@pytest.mark.skipif(not ALL, reason="random cases have some of it")
def test_what_is_read_as_a_whole_is_built_again(source, reader, tmp_path):
    world = world_of(reader, [source], tmp_path, absent=READERS.index(reader) % 2)

    fail_for(changed_one_by_one(world, world.probes, reader.layer))
