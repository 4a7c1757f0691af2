"""Who builds: one holder at a time, and another one when it is dead."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from types import SimpleNamespace

import pytest

from alembic_snapshot.errors import StoreError
from alembic_snapshot.remote import lease as leases
from alembic_snapshot.remote.lease import Lease
from alembic_snapshot.remote.record import lease_path
from alembic_snapshot.remote.transport import Found, TooLarge

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


def at(objects, seconds):
    """Somebody's lease, and the server's clock so many seconds after it was written."""
    objects.write(PATH, b"of another machine")
    objects.now += timedelta(seconds=seconds)


def test_it_is_old_after_ten_seconds_and_no_sooner(objects, new):
    at(objects, 10)
    assert not new().take()
    objects.now += timedelta(microseconds=1)
    assert new().take()


def test_the_servers_clock_is_asked_once(objects, new):
    at(objects, 0)
    lease = new()
    assert not lease.take()
    count = objects.count
    objects.now += timedelta(seconds=60)

    assert not lease.take()

    assert objects.count == count


def test_a_clock_that_is_gone_says_nothing(objects, new, monkeypatch):
    at(objects, 60)
    read = objects.read
    monkeypatch.setattr(objects, "read", lambda path, _: read(path, _) if path == PATH else None)

    assert not new().take()
    assert set(objects.found) == {PATH}


def test_one_that_vanished_between_two_looks_is_not_held(objects, new, monkeypatch):
    at(objects, 60)
    monkeypatch.setattr(objects, "read", lambda path, limit: None)

    assert not new().take()


def test_one_that_is_too_large_is_nobodys(objects, new, monkeypatch):
    def read(path, limit):
        assert limit == 4096
        raise TooLarge

    objects.write(PATH, b"x")
    monkeypatch.setattr(objects, "read", read)

    assert not new().is_held_by_another()
    assert not new().take()


def test_one_that_changes_is_alive_and_one_that_does_not_is_dead(objects, new, monkeypatch):
    clock = [100.0]
    monkeypatch.setattr(leases.time, "monotonic", lambda: clock[0])
    lease = new()
    objects.write(PATH, b"1")
    assert lease.is_held_by_another()
    clock[0] += 10.0
    assert lease.is_held_by_another()
    objects.write(PATH, b"1")
    clock[0] += 0.5
    assert lease.is_held_by_another()
    clock[0] += 10.0
    assert lease.is_held_by_another()
    clock[0] += 0.5

    assert not lease.is_held_by_another()
    monkeypatch.undo()


class Ended:
    """It is over after so many times."""

    def __init__(self, times):
        self.times, self.waited = times, []

    def wait(self, seconds):
        self.waited.append(seconds)
        return len(self.waited) > self.times


@pytest.fixture
def kept(objects, new):
    """A lease that nobody keeps but the test, by so many turns."""

    def kept(times):
        lease = new()
        objects.write(PATH, lease._content())
        lease._ended = Ended(times)
        return lease

    return kept


def test_it_is_written_again_with_another_text_every_two_seconds(objects, kept):
    lease = kept(3)
    first = json.loads(objects.found[PATH].content)

    lease._keep()

    later = json.loads(objects.found[PATH].content)
    assert lease._ended.waited == [2.0] * 4
    assert (first["count"], later["count"], objects.count) == (1, 4, 4)
    assert first["nonce"] == later["nonce"]
    assert len(first["nonce"]) == 32


@pytest.mark.parametrize("error", [StoreError("gone", hint="none"), TooLarge()])
def test_a_store_that_fails_ends_what_keeps_it(objects, kept, monkeypatch, error):
    def write(path, content):
        raise error

    lease = kept(3)
    monkeypatch.setattr(objects, "write", write)

    lease._keep()

    assert len(lease._ended.waited) == 1


@pytest.mark.parametrize("other", [None, b"\xff of another one"])
def test_what_is_not_its_own_is_not_written_again(objects, kept, other):
    lease = kept(3)
    objects.delete(PATH)
    if other is not None:
        objects.write(PATH, other)

    lease._keep()

    assert len(lease._ended.waited) == 1
    assert objects.found.get(PATH, SimpleNamespace(content=None)).content == other


def test_who_has_it_keeps_it_until_it_is_released(objects, new):
    lease = new()
    lease.release()
    assert lease.take()
    keeper = lease._keeper
    assert (keeper.name, keeper.daemon, keeper.is_alive()) == ("lease", True, True)

    lease.release()

    assert not keeper.is_alive()
    assert PATH not in objects.found


def test_who_waits_looks_until_the_time_is_over(objects, new, monkeypatch):
    clock, slept = [0.0], []

    def sleep(seconds):
        slept.append(seconds)
        clock[0] += seconds

    monkeypatch.setattr(leases, "time", SimpleNamespace(monotonic=lambda: clock[0], sleep=sleep))
    objects.write(PATH, b"of a machine that lives")
    looks = []

    assert new().wait(1.0, lambda: looks.append(1)) == "over"

    assert len(looks) == 5
    assert slept == pytest.approx([0.3, 0.3, 0.3, 0.1])


def test_every_version_writes_and_waits_alike():
    assert (leases.EVERY, leases.STALE) == (2.0, 10.0)
