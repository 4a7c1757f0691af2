"""G3: whatever the builder's process reads below the project counts, however it is read.

One project has a revision for each way to read, under a name that no reading of the files tells;
each test changes what one of them read, and looks.
"""

from __future__ import annotations

import os
import textwrap

import pytest

from alembic_snapshot import load_project
from alembic_snapshot.build.lookup import look_up
from tests.sample import SampleProject

# What reads the file PATH, a path without a constant that names it.
FILES = {
    "open": "open(PATH).read()",
    "pathlib": "Path(PATH).read_text()",
    "low_level": "os.close(os.open(PATH, os.O_RDONLY))",
    "read_write": "open(PATH, 'r+b').close()",
    "append_and_read": "open(PATH, 'a+').close()",
    "mapped": "mapped(PATH)",
    "executor": "list(ThreadPoolExecutor().map(Path.read_text, [Path(PATH)]))",
    "to_thread": "asyncio.run(asyncio.to_thread(Path(PATH).read_text))",
    "thread": "run(threading.Thread(target=Path(PATH).read_text))",
    "aiofiles_like": "asyncio.run(in_loop(PATH))",
    "source": "exec(tokenize.open(PATH).read())",
    "line": "linecache.getline(PATH, 1)",
    "package_data": "pkgutil.get_data('app', os.path.relpath(PATH, ROOT / 'app'))",
    "resources": "(resources.files('app') / '..' / os.path.relpath(PATH, ROOT)).read_text()",
    "copied": "shutil.copyfile(PATH, os.devnull)",
    "configparser": "configparser.ConfigParser().read_string('[a]\\n' + open(PATH).read())",
    "from_env_py": None,
    "in_an_open_folder": "in_folder(PATH)",
    "not_there": "suppressed(PATH)",
}
STATS = {
    "size": "os.stat(PATH).st_size",
    "getsize": "os.path.getsize(PATH)",
    "pathlib_size": "Path(PATH).stat().st_size",
    "exists": "os.path.exists(PATH)",
    "is_file": "Path(PATH).is_file()",
    "access": "os.access(PATH, os.R_OK)",
}
FOLDERS = {
    "listdir": "os.listdir(PATH)",
    "scandir": "list(os.scandir(PATH))",
    "walk": "list(os.walk(PATH))",
    "iterdir": "list(Path(PATH).iterdir())",
    "glob": "glob.glob(PATH + '/*')",
    "pathlib_glob": "list(Path(PATH).glob('*'))",
    "pkgutil": "list(pkgutil.iter_modules([PATH]))",
    "threads_listing": "list(ThreadPoolExecutor().map(os.listdir, [PATH]))",
    "by_number": "os.listdir(os.open(PATH, os.O_RDONLY))",
    "walked_by_number": "list(os.fwalk(PATH))",
}
# How a module is looked for that is not there; NAME is an expression for its name.
MODULES = {
    "import_module": "import_module(NAME)",
    "dunder_import": "__import__(NAME)",
    "find_spec": "find_spec(NAME) or import_module(NAME)",
    "resolve_name": "pkgutil.resolve_name(NAME + ':X')",
    "run_module": "runpy.run_module(NAME)",
    "in_a_thread": "ThreadPoolExecutor().submit(import_module, NAME).result()",
    "below_a_package": "import_module('app.' + NAME)",
}
HEADER = """
import asyncio, configparser, glob, linecache, mmap, os, pkgutil, runpy, shutil, threading, tokenize
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module, resources
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def run(thread):
    thread.start()
    thread.join()


def mapped(path):
    with open(path, "r+b") as file:
        mmap.mmap(file.fileno(), 0).close()


def in_folder(path):
    folder = os.open(os.path.dirname(path), os.O_RDONLY)
    os.close(os.open(os.path.basename(path), os.O_RDONLY, dir_fd=folder))


def suppressed(path):
    try:
        open(path)
    except OSError:
        pass


async def in_loop(path):
    return await asyncio.get_running_loop().run_in_executor(None, Path(path).read_bytes)
"""


def below(project, kind, way):
    """The file or folder that a way reads, and an expression for it without its name."""
    parts = [kind[:2], kind[2:], way[:2], way[2:]]
    expression = f"str(ROOT / ({parts[0]!r} + {parts[1]!r}) / ({parts[2]!r} + {parts[3]!r}))"
    return project.root / kind / way, expression


@pytest.fixture(scope="module")
def readers(tmp_path_factory):
    """A project in which each revision reads one thing in one way; its snapshot is built."""
    project = SampleProject(tmp_path_factory.mktemp("readers") / "project")
    project.write("app/__init__.py", "")
    before = None
    for kind, ways in (("files", FILES), ("stats", STATS), ("folders", FOLDERS)):
        for way, code in ways.items():
            _, expression = below(project, kind, way)
            if kind == "folders":
                project.write(f"folders/{way}/one", "1")
            elif way != "not_there":
                project.write(f"{kind}/{way}", "a = 1\n")
            if code is not None:
                body = f"PATH = {expression}\n{code}\nop.execute('select 1')"
                project.revision(way, before, header=HEADER, upgrade=body)
                before = way
    for way, code in MODULES.items():
        body = f"try:\n    NAME = 'mo' + {way!r}\n    {code}\nexcept ImportError:\n    pass"
        project.revision(
            f"no_{way}", before, header=HEADER, upgrade=f"{body}\nop.execute('select 1')"
        )
        before = f"no_{way}"
    _, expression = below(project, "files", "from_env_py")
    project.append("migrations/env.py", textwrap.dedent(f"""
        from pathlib import Path
        ROOT = Path(__file__).parents[1]
        open({expression}).close()
        """))  # fmt: skip
    project.ensure()
    assert project.look_up().entry
    return project


def changes(project):
    status = look_up(load_project(project.root))
    return status.reasons if status.entry is None else ()


@pytest.fixture
def restored():
    """Undo what a test does to the project that all of them share."""
    undo = []
    yield undo
    for action in undo:
        action()


@pytest.mark.parametrize("way", FILES)
def test_a_file_counts_however_it_is_read(readers, restored, way):
    path, _ = below(readers, "files", way)
    before = path.read_text() if path.exists() else None
    restored.append(lambda: path.unlink() if before is None else path.write_text(before))

    path.write_text("a = 2\n")

    assert f"files/{way} changed (read while it ran)" in changes(readers)


@pytest.mark.parametrize("way", STATS)
def test_a_file_that_is_only_asked_for_counts(readers, restored, way):
    path, _ = below(readers, "stats", way)
    restored.append(lambda: path.write_text("a = 1\n"))

    path.unlink()

    assert changes(readers) == (f"stats/{way} changed (asked for while it ran)",)


@pytest.mark.parametrize("way", FOLDERS)
def test_a_folder_counts_however_it_is_listed(readers, restored, way):
    path, _ = below(readers, "folders", way)
    restored.append((path / "two").unlink)

    (path / "two").write_text("")

    told = f"the list of files in folders/{way} changed: two is new (read while it ran)"
    assert changes(readers) == (told,)


@pytest.mark.parametrize("way", MODULES)
def test_a_module_that_was_looked_for_counts_when_it_appears(readers, restored, way):
    folder = readers.root / ("app" if way == "below_a_package" else "")
    restored.append((folder / f"mo{way}.py").unlink)

    (folder / f"mo{way}.py").write_text("X = 1\n")

    name = (folder / f"mo{way}.py").relative_to(readers.root)
    assert f"{name} changed (asked for while it ran)" in changes(readers)


LITTER = [
    ".DS_Store", "Thumbs.db", "app.log", "dev.db", "a.pyc", "x~", "#a.csv#", ".#a.csv",
    ".a.csv.swx", "a.csv.orig", ".tox", ".nox", ".venv", ".ipynb_checkpoints", "htmlcov",
    ".coverage.host.1",
]  # fmt: skip


@pytest.mark.parametrize("name", LITTER)
def test_what_desktops_and_runs_leave_in_a_folder_does_not_count(readers, restored, name):
    path = readers.root / "folders/listdir" / name
    restored.append(path.unlink)

    path.write_text("")

    assert changes(readers) == ()


def test_nothing_else_counts(readers, restored):
    unrelated = readers.root / "unrelated.txt"
    restored.append(unrelated.unlink)

    unrelated.write_text("")
    os.utime(readers.root / "files/open", (1, 1))

    assert changes(readers) == ()


# The ways to start something whose reads nobody hears.
STARTS = {
    "subprocess": "subprocess.run(['true'], check=True)",
    "system": "assert os.system('true') == 0",
    "popen": "os.popen('true').close()",
    "spawn": "assert os.spawnlp(os.P_WAIT, 'true', 'true') == 0",
    "posix_spawn": "os.waitpid(os.posix_spawnp('true', ['true'], {}), 0)",
    "fork": "child = os.fork()\nif not child:\n    os._exit(0)\nos.waitpid(child, 0)",
    "forkpty": "child, end = os.forkpty()\nif not child:\n    os._exit(0)\nos.waitpid(child, 0)\n"
               "os.close(end)",
    "a library": "import ctypes.util\nctypes.CDLL(ctypes.util.find_library('m'))",
    "a process of multiprocessing's": "made = multiprocessing.get_context('spawn')\n"
               "one = made.Process(target=int)\none.start()\none.join()",
    "its server of processes": "made = multiprocessing.get_context('forkserver')\n"
               "one = made.Process(target=int)\none.start()\none.join()",
    "past it all": "from multiprocessing.util import spawnv_passfds\n"
               "os.waitpid(spawnv_passfds(b'/bin/true', [b'true'], []), 0)",
    "an interpreter": "is_new = sys.version_info >= (3, 13)\n"
               "own = __import__('_interpreters' if is_new else '_xxsubinterpreters')\n"
               "own.destroy(own.create())",
    "nothing": "",
}  # fmt: skip


@pytest.mark.parametrize("start", STARTS)
def test_a_file_that_a_constant_names_counts_where_something_may_have_read_it_unheard(
    project, start
):
    data = project.write("data/rows.csv", "1")
    project.revision(
        "a",
        header="import multiprocessing, os, subprocess, sys",
        upgrade=f"name = 'data/rows.csv'\n{STARTS[start]}\nop.execute('create table t (x)')",
    )
    project.ensure()

    data.write_text("2")

    assert project.ensure().built == (start != "nothing")


def test_the_functions_that_are_heard_look_as_they_did(project):
    names = ("stat", "lstat", "access", "readlink")
    project.revision(
        "a",
        header="import os",
        upgrade=f"assert [getattr(os, n).__name__ for n in {names}] == list({names})\n"
        "assert os.stat.__doc__\nop.execute('create table t (x)')",
    )

    assert project.ensure().built
