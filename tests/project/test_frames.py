"""Another thread's frames can be looked at while it runs, and while garbage is collected."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading

import pytest

from alembic_snapshot.project import frames

# A thread calls functions of several sizes. Garbage that lets it run when it is freed is collected
# wherever an object is made.
WALKS = """
import gc, sys, threading, time
from alembic_snapshot.project import frames

class Garbage:
    def __init__(self):
        self.itself = self

    def __del__(self):
        time.sleep(0)

def narrow(depth):
    if depth > 0:
        wide(depth - 1) if depth % 3 else narrow(depth - 2)

def wide(depth):
    a = b = c = d = e = f = g = h = i = j = depth
    narrow(depth - 1)

def work():
    while not is_over:
        [narrow(depth) for depth in range(0, 60, 7)]

def looks(number):
    [Garbage() for _ in range(number % 7)]
    return {LOOK}

is_over = False
thread = threading.Thread(target=work)
thread.start()
while not thread.ident in frames.threads():
    pass
names = set()
sys.setswitchinterval(1e-5)
gc.set_threshold(5, 1000, 1000)
for number in range(1500):
    looks(number)
is_over = True
thread.join()
assert gc.isenabled()
"""
LOOKS = {
    "frames": "[frame.f_lineno for frame in frames.of_thread(thread.ident)]",
    "threads": "frames.threads()",
    "variables": "[frames.variable(frame, 'depth') for frame in frames.of_thread(thread.ident)]",
}


@pytest.mark.parametrize("look", LOOKS)
def test_a_thread_may_return_from_what_is_looked_at(look):
    script = WALKS.replace("{LOOK}", LOOKS[look])

    command = [sys.executable, "-X", "faulthandler", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)

    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("is_on", [True, False])
def test_collection_is_on_or_off_as_before(is_on):
    (gc.enable if is_on else gc.disable)()
    try:
        frames.of_thread(frames.threads()[0])

        assert frames.variable(sys._getframe(), "is_on") is is_on
        assert gc.isenabled() is is_on
    finally:
        gc.enable()


def test_the_frames_of_a_thread_are_those_that_run_the_innermost_first():
    begun, go = threading.Event(), threading.Event()

    def inner():
        begun.set()
        go.wait()

    def outer():
        inner()

    thread = threading.Thread(target=outer)
    thread.start()
    begun.wait()
    names = [frame.f_code.co_name for frame in frames.of_thread(thread.ident)]
    is_running = thread.ident in frames.threads()
    go.set()
    thread.join()

    assert names.index("inner") + 1 == names.index("outer")
    assert is_running
    assert frames.of_thread(thread.ident) == []
    assert thread.ident not in frames.threads()


# Python 3.12 and newer warn of a fork beside threads.
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_child_that_is_forked_while_a_thread_looks_can_look_and_collects():
    inside, go = threading.Event(), threading.Event()

    def look():
        with frames._pause:
            inside.set()
            go.wait()

    thread = threading.Thread(target=look)
    thread.start()
    inside.wait()
    child = os.fork()
    if not child:
        signal.alarm(20)
        is_right = gc.isenabled() and frames.threads() == [threading.get_ident()]
        os._exit(0 if is_right else 1)
    go.set()
    thread.join()

    assert os.waitpid(child, 0)[1] == 0
    assert gc.isenabled()
