"""Which test a refusal belongs to: that of the thread in which it was raised."""

from __future__ import annotations

import threading

import pytest

from alembic_snapshot.engines.notices import Notices
from alembic_snapshot.errors import EngineError
from alembic_snapshot.project.callsite import Callsites


def refused_in(notices):
    """A thread in which something is refused."""

    def work():
        with pytest.raises(EngineError), notices.noting():
            raise EngineError("no", hint="none")

    return threading.Thread(target=work)


def test_a_thread_with_the_number_of_one_that_has_ended_is_the_tests_own(tmp_path):
    notices = Notices(Callsites(tmp_path))
    for _ in range(1000):
        goes_on = threading.Event()
        before = threading.Thread(target=goes_on.wait)
        before.start()
        notices.begin()
        goes_on.set()
        before.join()
        number = before.ident
        del before
        after = refused_in(notices)
        after.start()
        after.join()
        assert notices.outside == []
        if after.ident == number:
            break
    else:
        pytest.skip("this system gives no number twice")

    assert notices.refused


def test_a_thread_that_was_there_before_the_test_is_nobodys(tmp_path):
    notices = Notices(Callsites(tmp_path))
    goes_on = threading.Event()
    thread = refused_in(notices)
    run = thread.run
    thread.run = lambda: (goes_on.wait(), run())
    thread.start()
    notices.begin()
    goes_on.set()
    thread.join()

    assert notices.refused == []
    assert len(notices.outside) == 1
