"""What belongs to one state of the code is one build: for `prune --keep`, and for `max_size`."""

from __future__ import annotations

import json
import os

import pytest

from alembic_snapshot.build.lookup import look_up
from alembic_snapshot.sqlite.store import FileStore

LAYERS = 'seeds = ["seeding:base"]\nlayers = { a = ["seeding:a"], b = ["other:b"] }\n'


@pytest.fixture
def seeded(project):
    """Three revisions, a seed and two layers, each in a file of its own."""
    project.history(3)
    project.write("seeding.py", "def base(c): ...\ndef a(c): ...\n")
    project.write("other.py", "def b(c): ...\n")
    project.configure(LAYERS)
    return project


@pytest.fixture
def store(project):
    return FileStore(project.root / ".alembic-snapshot")


def every(project):
    """All that the tests of this state of the code ask for, and what was built for it."""
    wanted = [{}, {"layer": "a"}, {"layer": "b"}, {"revision": "0001"}, {"revision": "0002"}]
    return [project.build(**one)[0] for one in wanted]


def is_there(project, **which):
    return look_up(project.load(), **which).entry is not None


def aged(store, seconds=10_000):
    """Let all that there is be asked for so long ago."""
    for entry in store.entries():
        folder = os.path.dirname(entry.database.name)
        there = os.stat(folder)
        os.utime(folder, (there.st_atime, there.st_mtime - seconds))


def test_layers_and_revisions_of_one_state_stay_together(seeded, store):
    for _ in range(2):
        every(seeded)
        assert store.prune(keep=1) == []

    assert not any(one.built for one in every(seeded))


def test_whichever_of_them_was_asked_for_last(seeded, store):
    every(seeded)
    aged(store)
    seeded.ensure(revision="0001")

    assert store.prune(keep=1) == []
    assert store.prune(older_than=5_000) == []


@pytest.mark.parametrize("name", ["seeding.py", "other.py"])
def test_what_an_edited_seed_leaves_is_another_build(seeded, store, name):
    before = {one.digest for one in every(seeded)}
    aged(store)
    seeded.append(name, "# edited\n")
    after = {one.digest for one in every(seeded)}

    gone = {entry.manifest.digest for entry in store.prune(keep=1)}

    assert gone
    assert gone <= before - after
    assert not any(one.built for one in every(seeded))
    assert not is_there_any(store, before - after)


def is_there_any(store, digests):
    return any(entry.manifest.digest in digests for entry in store.entries())


def test_what_an_edited_revision_leaves_is_another_build(seeded, store):
    before = {one.digest for one in every(seeded)}
    aged(store)
    seeded.revision("0002", "0001", upgrade="op.execute('create table edited (x)')")
    after = {one.digest for one in every(seeded)}

    store.prune(keep=1)

    assert not any(one.built for one in every(seeded))
    assert not is_there_any(store, before - after)


def test_what_was_the_head_before_a_new_revision_is_another_build(seeded, store):
    seeded.configure()
    old = seeded.ensure()
    aged(store)
    seeded.revision("0004", "0003")
    seeded.revision("0005", "0004")
    seeded.ensure()

    store.prune(keep=1)

    assert not old.path.exists()


def test_a_state_at_a_revision_is_of_the_newest_code_that_has_it(seeded, store):
    seeded.ensure()
    early = seeded.ensure(revision="0001")
    aged(store)
    seeded.revision("0003", "0002", upgrade="op.execute('create table edited (x)')")
    seeded.ensure()

    store.prune(keep=1)

    assert early.path.exists()


def test_of_another_base_nothing_is_joined(seeded, store):
    before = every(seeded)
    aged(store)
    seeded.append("migrations/env.py", "\n# another\n")
    every(seeded)

    store.prune(keep=1)

    assert not any(one.path.exists() for one in before)
    assert not any(one.built for one in every(seeded))


def test_what_stays_is_whole_where_the_store_is_too_large(seeded, store):
    old = every(seeded)
    seeded.append("migrations/env.py", "\n# another\n")
    new = every(seeded)
    aged(store)
    seeded.ensure()  # Of all that is new, this alone was asked for in the last minutes.
    limit = sum(entry.manifest.size for entry in store.entries())

    deleted, _ = store.trim(limit - 1)

    assert {entry.manifest.digest for entry in deleted} >= {one.digest for one in old}
    assert all(one.path.exists() for one in new)


def test_a_ci_run_after_run_finds_what_the_one_before_it_built(seeded):
    """A pipeline's commands, as docs/ci.md has them, and tests that ask for all."""
    for run in range(3):
        made = json.loads(seeded.command("build", "--json").stdout)
        pruned = seeded.command("prune", "--keep", "1").stdout
        assert seeded.command("status").returncode == 0
        assert (made["built"], pruned.startswith("deleted 0 ")) == (run == 0, True)
        assert {name: one["built"] for name, one in made["layers"].items()} == {
            "a": run == 0,
            "b": run == 0,
        }
        assert seeded.ensure(revision="0001").built == (run == 0)
