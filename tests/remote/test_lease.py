"""Who builds: one holder at a time, and another one when it is dead."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from alembic_snapshot.remote import lease as leases
from alembic_snapshot.remote.lease import Lease
from alembic_snapshot.remote.record import lease_path
from alembic_snapshot.remote.transport import Found

DIGEST = "0" * 64
PATH = lease_path("main", DIGEST)


class Objects:
    """A store in memory, whose clock stands still until a test moves it."""

    def __init__(self):
        self.now = datetime(2026, 1, 1)
        self.found = {}
        self.count = 0

    def read(self, path, _limit):
        return self.found.get(path)

    def write(self, path, content):
        self.count += 1
        self.found[path] = Found(content, self.now, str(self.count))

    def create(self, path, content):
        return path not in self.found and self.write(path, content) is None

    def replace(self, path, content, version):
        there = self.found.get(path)
        if there is None or there.version != version:
            return False
        return self.write(path, content) is None

    def delete(self, path):
        self.found.pop(path, None)


@pytest.fixture
def objects():
    return Objects()


@pytest.fixture
def new(objects):
    made = []

    def new():
        made.append(Lease(objects, "main", DIGEST))
        return made[-1]

    yield new
    for lease in made:
        lease.release()


def test_one_holds_it_until_it_is_released(new):
    first, second = new(), new()

    assert first.take()
    assert first.take()
    assert not second.take()
    assert second.is_held_by_another()
    first.release()
    assert not second.is_held_by_another()
    assert second.take()
    assert not first.take()


def test_one_that_was_written_long_ago_is_taken_over_by_one_alone(objects, new):
    objects.write(PATH, b"of a machine that is gone")
    objects.now += timedelta(seconds=leases.STALE + 1)
    taken = [new().take() for _ in range(3)]

    assert taken == [True, False, False]
    assert set(objects.found) == {PATH}


def test_one_that_was_written_just_now_is_not(objects, new):
    objects.write(PATH, b"of a machine that lives")
    objects.now += timedelta(seconds=leases.STALE - 1)

    assert not new().take()


def test_who_comes_too_late_to_take_it_over_has_it_not(objects, new, monkeypatch):
    objects.write(PATH, b"of a machine that is gone")
    objects.now += timedelta(seconds=leases.STALE + 1)
    replace = objects.replace

    def after_another(path, content, version):
        objects.write(path, b"of one that was quicker")
        return replace(path, content, version)

    monkeypatch.setattr(objects, "replace", after_another)

    assert not new().take()
    assert objects.found[PATH].content == b"of one that was quicker"


def test_one_that_does_not_change_while_it_is_watched_is_dead(objects, new, monkeypatch):
    monkeypatch.setattr(leases, "STALE", -1)
    objects.write(PATH, b"of a machine that is gone")

    assert not new().is_held_by_another()
    assert new().wait(0, lambda: False) == "free"


def test_whoever_waits_is_told_how_that_ended(objects, new):
    objects.write(PATH, b"of a machine that lives")

    assert new().wait(0, lambda: True) == "there"
    assert new().wait(0, lambda: False) == "over"
    objects.delete(PATH)
    assert new().wait(0, lambda: False) == "free"


def test_a_release_leaves_what_is_another_ones(objects, new):
    mine = new()
    mine.take()
    objects.write(PATH, b"of another one by now")

    mine.release()

    assert objects.found[PATH].content == b"of another one by now"
