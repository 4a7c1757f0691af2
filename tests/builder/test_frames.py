"""Whose code runs is told by the files of the frames, in whichever thread and through whatever."""

from __future__ import annotations

import _thread
import collections
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from queue import SimpleQueue

import alembic
import pytest

from alembic_snapshot.builder import frames as watched
from alembic_snapshot.builder.frames import Frames, asker
from alembic_snapshot.project.callsite import Callsites
from tests.running import inside, within

OWN = Path(watched.__file__).parents[1]
LIBRARY = "/elsewhere/library.py"
ALEMBIC = f"{Path(alembic.__file__).parent}/script/base.py"
HEARING = [OWN / f"builder/{name}.py" for name in ("reads", "watch", "record", "frames")]
STARTING = [OWN / f"builder/{name}.py" for name in ("upgrade", "seeds")]
PASSING = ["genericpath", "os", "pathlib", "pathlib._abc", "pathlib._local", "posixpath"]
PASSING += [f"alembic_snapshot.builder.{path.stem}" for path in HEARING]


@pytest.fixture
def root(tmp_path):
    return tmp_path


@pytest.fixture
def frames(root):
    return Frames(Callsites(root))


def in_thread(ask):
    """The answer from a thread, while this one waits for it."""
    answers = SimpleQueue()
    thread = threading.Thread(target=lambda: answers.put(ask()))
    thread.start()
    thread.join()
    return answers.get()


def in_bare_thread(file, ask, module="code"):
    """The answer from a thread in which nothing but a function of this file runs."""
    answers = SimpleQueue()
    scope = {"put": answers.put, "ask": ask, "__name__": module}
    code = "def run():\n try:\n  put(ask())\n except Exception as error:\n  put(error)\n"
    exec(compile(code, file, "exec"), scope)
    _thread.start_new_thread(scope["run"], ())
    return answers.get(timeout=60)


class TestWhoAsks:
    @pytest.mark.parametrize(
        ("files", "who"),
        [
            (["{root}/a.py"], "project"),
            (["{root}/a.py", LIBRARY], "project"),
            (["{root}/a.py", ALEMBIC], "alembic"),
            ([ALEMBIC, "{root}/a.py"], "project"),
            ([ALEMBIC, LIBRARY], "alembic"),
            *((["{root}/a.py", path], "project") for path in HEARING),
            *((["{root}/a.py", path, LIBRARY], "") for path in STARTING),
            (["{root}/a.py", OWN / "builder/target.py"], ""),
            ([ALEMBIC, OWN / "builder/target.py"], ""),
            (["{root}/a.py", OWN / "builder/target.py", ALEMBIC], "alembic"),
            ([LIBRARY], ""),
        ],
    )
    def test_is_the_innermost_that_is_the_projects_or_alembics(self, frames, root, files, who):
        files = [str(file).format(root=root) for file in files]

        assert inside(files, lambda: frames.asks()) == who
        # What was found of a file is found again.
        assert inside(files, lambda: frames.asks()) == who

    def test_is_the_project_where_a_thread_runs_code_of_nobody(self, frames):
        assert in_thread(frames.asks) == "project"

    def test_is_not_the_project_where_the_builder_made_the_thread(self, frames):
        for path in (OWN / "builder/target.py", *STARTING):
            assert in_thread(lambda path=path: inside([path], frames.asks)) == ""


class TestAlembicIsNear:
    @pytest.mark.parametrize("module", PASSING)
    def test_where_it_asks_through_what_passes_on(self, frames, root, module):
        ask = within("passing.py", frames.is_alembic_near, module)

        assert inside([root / "a.py", ALEMBIC], ask)
        assert not inside([ALEMBIC, root / "a.py"], ask)

    def test_but_not_where_others_ask_for_it(self, frames):
        assert not inside([ALEMBIC], within(LIBRARY, frames.is_alembic_near, "json"))

    def test_nor_where_nothing_else_runs(self, frames):
        assert in_bare_thread("os.py", frames.is_alembic_near, "os") is False


class TestALineIsShown:
    @pytest.mark.parametrize("shows", ["/python/warnings.py", "/python/traceback.py"])
    def test_where_linecache_is_asked_by_what_shows_it(self, frames, root, shows):
        files = [root / "a.py", shows, "/python/linecache.py", "/python/tokenize.py"]

        assert inside(files, frames.shows_a_line)
        # The project may ask in what is shown, or linecache by itself.
        assert not inside([shows, root / "a.py", "/python/linecache.py"], frames.shows_a_line)
        assert not inside([root / "a.py", "/python/linecache.py"], frames.shows_a_line)
        assert not inside([root / "a.py", shows, "/python/tokenize.py"], frames.shows_a_line)

    def test_unless_linecache_is_far(self, frames):
        shows = ["/python/warnings.py", "/python/linecache.py"]

        assert inside([*shows, *[LIBRARY] * 9], frames.shows_a_line)
        assert not inside([*shows, *[LIBRARY] * 10], frames.shows_a_line)

    def test_by_nobody_where_nothing_else_runs(self, frames):
        assert in_bare_thread(LIBRARY, frames.shows_a_line) is False
        assert in_bare_thread("/python/linecache.py", frames.shows_a_line) is False


class TestWhatRuns:
    def test_is_told_from_the_innermost_with_what_is_being_imported(self, frames, root):
        names = [f"{root}/{name}.py" for name in "abcd"]
        files = [names[0], f"{names[1]}*", LIBRARY, names[2], f"{names[3]}*"]

        running, importing = inside(files, lambda: frames.running())

        assert running == [names[3], names[2], names[1], names[0]]
        assert importing == [names[3], names[1]]

    @pytest.mark.parametrize("path", STARTING)
    def test_is_not_what_started_a_script(self, frames, root, path):
        files = [f"{root}/env.py*", path, f"{root}/script.py", LIBRARY]

        assert inside(files, frames.running) == ([f"{root}/script.py"], [])

    @pytest.mark.parametrize("path", [OWN / "builder/target.py", ALEMBIC, *HEARING])
    def test_is_what_anything_else_was_called_by(self, frames, root, path):
        assert inside([f"{root}/env.py*", path], frames.running) == ([f"{root}/env.py"],) * 2

    @pytest.mark.parametrize(
        ("here", "there", "running", "importing"),
        [
            ([], ["a", "b*"], ["b", "a"], ["b"]),
            (["c"], ["a*"], ["c"], ["a"]),
            (["c*"], ["a*"], ["c"], ["c"]),
            (["c", "d*"], ["a*"], ["d", "c"], ["d"]),
            (["c"], [], ["c"], []),
            ([], [], [], []),
        ],
    )
    def test_in_a_thread_is_its_own_and_else_what_waits_for_it(
        self, frames, root, here, there, running, importing
    ):
        def files(names):
            return [f"{root}/{name[0]}.py{name[1:]}" for name in names]

        told = inside(files(there), lambda: in_thread(lambda: inside(files(here), frames.running)))

        assert told == (files(running), files(importing))


class TestWhoseFileItIs:
    @pytest.mark.parametrize(
        ("name", "whose"),
        [
            ("{root}/a.py", {"project"}),
            (ALEMBIC, {"alembics"}),
            (f"{Path(alembic.__file__).parent}_other/a.py", set()),
            (f"{OWN}/builder/target.py", {"builders"}),
            (f"{OWN}_other/a.py", set()),
            (os.__file__, {"pythons"}),
            (f"{Path(os.__file__).parent}/site-packages/six.py", set()),
            (LIBRARY, set()),
            ("{root}/site-packages/six.py", set()),
        ],
    )
    def test_is_told_by_its_name(self, frames, root, name, whose):
        asked = ("project", "alembics", "builders", "pythons")

        found = {one for one in asked if getattr(frames, f"is_{one}")(name.format(root=root))}

        assert found == whose


class TestWhoAsksForAVariable:
    @pytest.mark.parametrize(
        "way",
        [
            *(os.getenv, Mapping.get, os.path.expandvars),
            *(within(str(path), None) for path in HEARING),
        ],
    )
    def test_is_past_the_code_of_the_mapping(self, way):
        own = way.__code__.co_filename

        frame = inside(["/project/a.py", own, own], asker)

        assert frame.f_code.co_filename == "/project/a.py"

    def test_is_whatever_else_asks(self):
        files = ["/project/a.py", collections.__file__]

        assert inside(files, asker).f_code.co_filename == collections.__file__

    def test_is_nobody_where_nothing_else_runs(self):
        assert in_bare_thread(os.getenv.__code__.co_filename, asker) is None
