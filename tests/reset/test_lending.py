"""One database that is lent to test after test: when it is put back, renewed, kept, and let go."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from alembic_snapshot.plugin.marker import CloneOptions
from alembic_snapshot.plugin.reset import Reset
from alembic_snapshot.plugin.summary import Tally

PLAIN = CloneOptions()
TOLD = "a test was told where its database is"


class Redirect:
    """The application's engines: they say what was done with them."""

    def __init__(self, done):
        self.done = done
        self.was_used = self.was_told = self.is_elsewhere = False
        self.unknown = None

    def point(self, clone, durable=None):
        self.done.append(f"point {clone}")

    def resume(self, clone):
        self.done.append(f"resume {clone}")

    def rest(self):
        self.done.append("rest")
        return ["a line"]

    def release(self):
        self.done.append("release")
        return ["another line"]

    def close_idle(self, *, synchronous):
        self.done.append(f"close idle {synchronous}")


class Lasting:
    """A database that is put back, or not, as a test says."""

    def __init__(self, name, done):
        self.name, self.done = name, done
        self.resets, self.reason, self.is_guarded = 0, None, True

    def put_back(self):
        self.done.append(f"put back {self.name}")
        self.resets += 1
        if isinstance(self.reason, BaseException):
            raise self.reason
        return self.reason

    def expose(self, why):
        self.done.append(f"expose {self.name}: {why}")

    def close(self):
        self.done.append(f"close {self.name}")

    def remove(self):
        self.done.append(f"remove {self.name}")


class Lent:
    """A clone, lent or fresh."""

    is_known = False
    durable = None
    made = True

    def __init__(self, name, done):
        self.name, self.done = name, done

    def __str__(self):
        return self.name

    def close(self):
        self.done.append(f"end {self.name}")

    def keep(self, path):
        self.done.append(f"keep {self.name} as {path}")

    def delete(self):
        self.done.append(f"delete {self.name}")


class Source:
    """Where databases that last come from, and fresh clones."""

    def __init__(self, done):
        self.done, self.count = done, 0
        self.why, self.detour = None, None

    def obstacle(self):
        return self.why

    def lend(self, snapshot, lender):
        self.count += 1
        return Lent(f"lent {self.count}", self.done)

    def take(self, snapshot, *, read_only):
        return Lent(f"fresh {read_only}", self.done)

    def close(self):
        self.done.append("source closed")


class Run:
    """The strategy, and what it has done so far."""

    def __init__(self):
        self.done = []
        self.redirect, self.source, self.tally = Redirect(self.done), Source(self.done), Tally()
        self.strategy = Reset(self.redirect, self.source, self.source, self.tally)
        self.snapshot = SimpleNamespace(entry=object())
        self.made = 0

    def begin(self, options=PLAIN, snapshot=None):
        clone = self.strategy.begin(snapshot or self.snapshot, options)
        if str(clone).startswith("lent") and self.strategy.lasting is None:
            self.made += 1
            self.strategy.start(Lasting(f"file {self.made}", self.done))
        return clone

    def test(self, kept=None, reason=None):
        """One test from its beginning to its end, and what was done for it."""
        clone = self.begin()
        self.strategy.lasting.reason = reason
        return clone, self.finish(clone, kept)

    def finish(self, clone, kept=None):
        self.done.clear()
        self.strategy.end(clone)
        self.strategy.dispose(clone, kept)
        return list(self.done)


@pytest.fixture
def run():
    return Run()


def test_the_first_is_pointed_at_it_and_the_next_one_resumes(run):
    first, _ = run.test()
    begun = list(run.done)
    second = run.begin()

    assert (str(first), str(second)) == ("lent 1", "lent 2")
    assert begun == ["rest", "end lent 1", "put back file 1"]
    assert run.done == [*begun, "resume lent 2"]
    assert run.tally.resets == 1
    assert run.tally.renewed == {}


def test_what_a_test_held_is_said(run):
    clone = run.begin()

    assert run.done == ["point lent 1"]
    assert run.strategy.end(clone) == ["a line"]
    fresh = run.strategy.begin(run.snapshot, CloneOptions(durable=True))
    assert run.strategy.end(fresh) == ["another line"]


@pytest.mark.parametrize("options", ["durable", "readonly", "empty"])
def test_what_can_not_be_lent_is_fresh(run, options):
    fresh = run.begin(CloneOptions(**{options: True}))

    assert str(fresh) == f"fresh {options == 'readonly'}"
    assert run.finish(fresh) == ["release", f"end {fresh}", f"delete {fresh}"]
    assert run.strategy.lasting is None


def test_a_second_one_at_the_same_time_is_fresh(run):
    first = run.begin()
    apart = run.strategy.begin_apart(run.snapshot, PLAIN)

    assert str(run.begin()) == str(apart) == "fresh False"
    assert run.finish(apart) == ["release", "end fresh False", "delete fresh False"]
    assert run.finish(first) == ["rest", "end lent 1", "put back file 1"]
    assert str(run.begin()) == "lent 2"


@pytest.mark.parametrize("why", ["known", "told"])
def test_one_whose_place_is_known_is_renewed(run, why):
    clone = run.begin()
    if why == "known":
        clone.is_known = True
    else:
        run.redirect.was_told = True

    done = run.finish(clone)

    assert done == ["rest", "end lent 1", "release", "close file 1", "remove file 1"]
    assert run.tally.renewed == {TOLD: 1}
    assert run.strategy.lasting is None
    run.done.clear()
    run.begin()
    assert run.done == ["point lent 2"]


def test_one_with_unknown_connections_is_renewed(run):
    run.redirect.unknown = "they are strange"

    _, done = run.test()

    assert done == ["rest", "end lent 1", "release", "close file 1", "remove file 1"]
    assert run.tally.renewed == {"they are strange": 1}
    assert run.tally.resets is None


def test_one_that_nobody_needed_is_nothing_to_put_back(run):
    clone = run.strategy.begin(run.snapshot, PLAIN)

    assert run.finish(clone) == ["rest", "end lent 1"]
    assert run.tally.resets is None
    clone = run.strategy.begin(run.snapshot, PLAIN)
    clone.is_known = True
    assert run.finish(clone) == ["rest", "end lent 2", "release"]
    assert run.tally.renewed == {}


def test_one_that_is_kept_is_let_go_of_first(run):
    _, done = run.test(kept=Path("there"))

    assert done == ["rest", "end lent 1", "release", "close file 1", "keep lent 1 as there"]
    assert run.strategy.lasting is None


def test_one_that_was_not_made_is_not_kept(run):
    clone = run.begin()
    clone.made = False

    assert run.finish(clone, Path("there")) == ["rest", "end lent 1", "put back file 1"]


def test_a_fresh_one_is_kept_too(run):
    fresh = run.begin(CloneOptions(durable=True))

    assert run.finish(fresh, Path("there"))[-1] == "keep fresh False as there"


def test_after_five_that_can_not_be_put_back_clones_are_fresh(run):
    for number in range(1, 5):
        _, done = run.test(reason="the schema changed")
        assert done[-2:] == [f"close file {number}", f"remove file {number}"]
        assert run.tally.no_reset is None
    run.test()
    for _ in range(4):
        run.test(reason="the schema changed")
        assert run.tally.no_reset is None

    run.test(reason="it is locked")

    assert run.tally.no_reset == "5 tests in a row left what stays: it is locked"
    assert run.tally.renewed == {"the schema changed": 8, "it is locked": 1}
    assert run.tally.resets == 10
    assert str(run.begin()) == "fresh False"


def test_places_that_are_known_do_not_count_among_them(run):
    for _ in range(7):
        clone = run.begin()
        clone.is_known = True
        run.finish(clone)

    assert run.tally.no_reset is None
    assert run.tally.renewed == {TOLD: 7}


def test_where_nothing_can_be_put_back_clones_are_fresh_and_it_is_said(run):
    run.source.why = "no locks here"

    assert str(run.begin()) == "fresh False"
    assert run.tally.no_reset == "no locks here"
    run.source.why = None
    assert str(run.begin()) == "fresh False"


def test_it_is_asked_once_whether_it_can_be_done(run):
    run.test()
    run.source.why = "asked again"

    other = run.begin(snapshot=SimpleNamespace(entry=object()))

    assert str(other) == "lent 2"
    assert run.tally.no_reset is None


def test_another_snapshot_begins_with_another_database(run):
    run.test()
    run.done.clear()

    run.begin(snapshot=SimpleNamespace(entry=object()))

    assert run.done == ["release", "close file 1", "remove file 1", "point lent 2"]


def test_a_forked_process_leaves_its_parents_alone(run):
    run.test()
    child = os.fork()
    if child == 0:
        run.done.clear()
        clone = run.begin()
        run.finish(clone)
        done = ["rest", "end lent 2", "put back file 2"]
        os._exit(0 if run.done == done and run.strategy._abandoned[0].name == "file 1" else 1)

    assert os.waitpid(child, 0)[1] == 0
    child = os.fork()
    if child == 0:
        run.done.clear()
        run.strategy.close()
        os._exit(0 if run.done == ["source closed"] else 1)

    assert os.waitpid(child, 0)[1] == 0


def test_one_whose_going_back_was_interrupted_is_not_lent_again(run):
    clone = run.begin()
    run.strategy.lasting.reason = KeyboardInterrupt()

    with pytest.raises(KeyboardInterrupt):
        run.finish(clone)

    assert run.strategy.lasting is None
    assert run.done[-3:] == ["release", "close file 1", "remove file 1"]


@pytest.mark.parametrize("step", ["release", "close file 1", "remove file 1"])
def test_one_whose_removal_was_interrupted_is_not_lent_again(run, step):
    clone = run.begin()
    clone.is_known = True

    class Interrupting(list):
        def append(self, what):
            super().append(what)
            if what == step:
                raise KeyboardInterrupt

    run.redirect.done = run.strategy.lasting.done = Interrupting(run.done)
    with pytest.raises(KeyboardInterrupt):
        run.finish(clone)

    assert run.strategy.lasting is None
    run.done.clear()
    run.begin()
    assert "point lent 2" in run.redirect.done


def test_the_way_in_which_they_are_put_back_is_said(run):
    run.source.detour = "files are rewritten"

    run.test()

    assert run.tally.detour == "files are rewritten"


def test_one_that_is_guarded_is_exposed_with_its_idle_connections_closed(run):
    run.strategy.expose("a reason")
    run.begin()
    run.strategy.expose("a reason")
    run.strategy.lasting.is_guarded = False
    run.strategy.expose("another")

    assert run.done == ["point lent 1", "close idle True", "expose file 1: a reason"]


def test_at_the_end_all_is_closed(run):
    run.test()
    run.done.clear()

    run.strategy.close()

    assert run.done == [
        "release",
        "close file 1",
        "remove file 1",
        "source closed",
        "source closed",
    ]
    assert run.strategy.lasting is None


def test_whether_the_test_took_a_connection_is_the_engines_word(run):
    assert not run.strategy.was_used
    run.redirect.was_used = True
    assert run.strategy.was_used


def test_one_that_another_thread_still_has_is_renewed(run):
    clone = run.begin()
    run.redirect.is_elsewhere = True

    done = run.finish(clone)

    assert done == ["rest", "end lent 1", "release", "close file 1", "remove file 1"]
    assert run.tally.renewed == {"another thread still had a connection to it": 1}
