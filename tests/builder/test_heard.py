"""G3: what is told of each read, exactly: one process hears all of it, and each test one thing."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest

# What is done in a folder, and all that is told of it: paths of the folder, and no others.
FILES = {
    "open('a.txt').close()": [["file", "a.txt", False]],
    "open('a.txt', 'a').close()": [["change", "a.txt", True]],
    "open('a.txt', 'w').close()": [["change", "a.txt", False]],
    "open('a.txt', 'r+').close()": [["file", "a.txt", False], ["change", "a.txt", True]],
    "open('a.txt', 'w+').close()": [["change", "a.txt", False]],
    "os.close(os.open('a.txt', os.O_RDONLY))": [["file", "a.txt", False]],
    "os.close(os.open('a.txt', os.O_RDONLY, dir_fd=BELOW))": [
        ["file", "{below}/a.txt", False], ["file", "a.txt", False]],
    "os.close(os.open('a.txt', os.O_WRONLY, dir_fd=BELOW))": [
        ["change", "{below}/a.txt", True], ["change", "a.txt", True]],
    "exec(open('pkg/mod.py').read())": [["file", "pkg/mod.py", False]],
    "import fresh": [["file", "{folder}/fresh.py", True]],
    "with reads.unheard():\n    open('a.txt')\n    os.stat('a.txt')\n    os.listdir('.')\n"
    "    os.environ.get('MY_A')\n    os.close(os.open('a.txt', os.O_RDONLY, dir_fd=BELOW))": [],
    "with reads.unheard():\n    with reads.unheard():\n        pass\n    open('a.txt')\n"
    "os.stat('a.txt')": [["question", "a.txt"]],
}  # fmt: skip
FOLDERS = {
    "os.listdir('below')": [["folder", "below"]],
    "os.listdir()": [["folder", "."]],
    "list(os.scandir('below'))": [["folder", "below"]],
    "list(os.scandir())": [["folder", "."]],
    # What a module does is the project's, although it is Python that runs it.
    "import pkg.reads": [["file", "{folder}/pkg/reads.py", True],
                         ["folder", "below"], ["file", "pkg/mod.py", False]],
    # Python's own look for modules is none of the project.
    "import pkg.listed.one": [["file", "{folder}/pkg/listed/__init__.py", True],
                              ["question", "{folder}/pkg/listed"],
                              ["file", "{folder}/pkg/listed/one.py", True]],
}  # fmt: skip
CHANGES = {
    "os.rename('old', 'new')": [["move", "old", "new", False]],
    "os.replace('new', 'old')": [["move", "new", "old", False]],
    "os.link('a.txt', 'linked')": [["question", "linked"], ["move", "a.txt", "linked", True]],
    "os.remove('linked')": [["question", "linked"], ["change", "linked", False]],
    "os.symlink('a.txt', 'below/sym')": [
        ["question", "below/sym"],
        ["move", "below/a.txt", "below/sym", True],
    ],
    "os.remove('sym', dir_fd=BELOW)": [
        ["question", "{below}/sym"],
        ["change", "{below}/sym", False],
    ],
    "os.unlink('gone')": [["question", "gone"], ["change", "gone", False]],
    "os.mkdir('made')": [["question", "made"], ["change", "made", False]],
    "os.rmdir('made')": [["question", "made"], ["change", "made", False]],
    "os.truncate('a.txt', 0)": [["question", "a.txt"], ["change", "a.txt", True]],
}
QUESTIONS = {
    "os.stat('a.txt')": [["question", "a.txt"]],
    "os.lstat('a.txt')": [["question", "a.txt"]],
    "os.access('a.txt', os.R_OK)": [["question", "a.txt"]],
    "os.readlink('link')": [["question", "link"]],
    "os.path.exists('nowhere')": [["question", "nowhere"]],
    "os.stat('a.txt', dir_fd=BELOW)": [["question", "{below}/a.txt"]],
    "os.stat(b'a.txt', dir_fd=BELOW)": [["question", "{below}/a.txt"]],
    "result = stat.S_ISLNK(os.stat('link', follow_symlinks=False).st_mode)": [["question", "link"]],
    "os.stat(BELOW)": [["question", "BELOW"]],
    "os.stat('a.txt', dir_fd=999)": [["question", "a.txt"]],
"zipimport.zipimporter('pack.zip')": [["question", "pack.zip"], ["file", "pack.zip", False]],
    "sys.path.append('new_place')\nimport fresh_too": [
        ["file", "{folder}/fresh_too.py", True]],
    "sys.path[:0] = ['new_place']\nimport found_there": [
        ["question", "new_place"], ["file", "{folder}/new_place/found_there.py", True]],
}  # fmt: skip
VARIABLES = {
    "result = os.environ['MY_A']": ["MY_A"],
    "result = os.environb[b'MY_A'].decode()": ["MY_A"],
    "os.environ.get(7)": ["7"],
    "os.environ[('a', 1)]": ["('a', 1)"],
    "result = 'MY_A' in list(os.environ)": ["*", "*"],
    "result = len(os.environ) > 1": ["*"],
    "result = 'MY_A' in repr(os.environ)": ["*"],
    "len(os.environ); os.environ.get(''.join(['MY_', 'A']))": ["*", "MY_A"],
    "[n for n in os.environ]; os.environ[''.join(['MY_', 'A'])]": ["*", "MY_A"],
    "[n for n in os.environ]; [os.environ[n] for n in ['MY_A']]": ["*", "MY_A"],
    "names = {*os.environ} - {''}; [os.environ[n] for n in names if n == 'MY_A']": [
        "*",
        "MY_A of all",
    ],
    "for n in sorted(os.environ):\n    if n == 'MY_A': os.environ[n]": ["*", "*", "MY_A of all"],
    "for n in os.environ:\n    if n == 'MY_A': [[*os.environ], os.environ[n]]": [
        "*",
        "*",
        "*",
        "MY_A of all",
    ],
    "[v for n, v in os.environ.items() if n == 'MY_A']": ["*"],
    "{**os.environ}, dict(os.environb), os.environ.copy(), os.environ | {}": ["*"],
    "[os.environb[n] for n in os.environb if n == b'MY_A']": ["*", "MY_A of all"],
    "[os.environb[n] for n in map(os.fsencode, os.environ) if n == b'MY_A']": ["*", "MY_A"],
}
RESULTS = {
    "result = os.environ['MY_A']": "a",
    "result = os.environb[b'MY_A'].decode()": "a",
}
IMPORTS = {
    "import pkg.mod": ["pkg.mod", []],
    "from pkg import mod, NAME": ["pkg", ["mod", "NAME"]],
    "importlib.import_module('pkg.mod')": ["pkg.mod", []],
    "importlib.import_module('.mod', 'pkg')": ["pkg.mod", []],
    "__import__('pkg.mod')": ["pkg.mod", []],
    "__import__('pkg.mod', None, None, None)": ["pkg.mod", []],
    "from . import leaf": ["pkg.sub", ["leaf"]],
    "from .leaf import NAME": ["pkg.sub.leaf", ["NAME"]],
    "from .. import mod": ["pkg", ["mod"]],
    "from ..mod import NAME": ["pkg.mod", ["NAME"]],
    "from ..mod import *": ["pkg.mod", ["*"]],
}
MISSING = {
    "import nowhere": ["nowhere", True],
    "import pkg.nowhere": ["pkg.nowhere", ["{folder}/pkg"]],
    "importlib.import_module('pkg.sub.nowhere')": ["pkg.sub.nowhere", ["{folder}/pkg/sub"]],
}
UNHEARD = {
    "subprocess.run(['true'])": "subprocess.Popen",
    "os.system('true')": "os.system",
    "os.waitpid(os.posix_spawn('/bin/true', ['true'], {}), 0)": "os.posix_spawn",
    "child = os.fork()\nif not child:\n    os._exit(0)\nos.waitpid(child, 0)": "os.fork",
    "ctypes.CDLL(None)": "ctypes.dlopen",
    "os.waitpid(spawnv_passfds(b'/bin/true', [b'true'], []), 0)": "fork_exec",
}
ACTIONS = [*FILES, *FOLDERS, *CHANGES, *QUESTIONS, *VARIABLES, *IMPORTS, *MISSING, *UNHEARD]
HEARS = """
import ctypes, importlib, json, os, stat, subprocess, sys, zipimport
from multiprocessing.util import spawnv_passfds

sys.path.insert(0, os.getcwd())
import pkg.mod, pkg.sub.leaf
from alembic_snapshot.builder.reads import Reads

FUNCTIONS = ("stat", "lstat", "access", "readlink", "open")
SETS = ("supports_dir_fd", "supports_effective_ids", "supports_fd", "supports_follow_symlinks")

def look():
    return {
        name: [*(getattr(os, name) in getattr(os, each) for each in SETS),
               getattr(os, name).__name__, getattr(os, name).__doc__]
        for name in FUNCTIONS
    }

class Listener:
    is_recording = False
    def __init__(self):
        self.events = []
    def note(self, *event):
        # What is read to tell of a read is not told of.
        open("a.txt").close(), os.stat("a.txt"), os.environ.get("MY_OWN"), os.listdir(".")
        os.close(os.open("a.txt", os.O_RDONLY, dir_fd=BELOW))
        self.events.append(event)
    def on_file(self, path, *, is_import):
        self.note("file", path, is_import)
    def on_folder(self, path):
        self.note("folder", path)
    def on_question(self, path):
        self.note("question", path)
    def on_variable(self, name, *, is_scanned=False):
        self.note("variable", name + " of all" * is_scanned)
    def on_change(self, path, *, is_read=False):
        self.note("change", path, is_read)
    def on_move(self, path, target, *, stays=False):
        self.note("move", path, target, stays)
    def on_taken(self, dotted, taken, importer):
        pass
    def on_import(self, dotted, taken, importer):
        self.note("import", dotted, list(taken), importer)
    def on_missing_module(self, dotted, places):
        self.note("missing", dotted, places == sys.path or places)
    def on_unheard(self, what):
        self.note("unheard", what)

os.umask(0)
sys.dont_write_bytecode = True
BELOW = os.open("below", os.O_RDONLY)
before = look()
listener = Listener()
reads = Reads(listener)
reads.install()
told = {}
for action in json.loads(sys.argv[1]):
    listener.is_recording = action in json.loads(sys.argv[2])
    scope = {**globals(), "__package__": "pkg.sub", "__name__": "pkg.sub.action", "result": None}
    listener.events = []
    try:
        exec(compile(action, "action.py", "exec"), scope)
    except (ImportError, OSError, TypeError, KeyError):
        pass
    finally:
        listener.is_recording = False
    told[action] = [listener.events, scope["result"]]
os.close(os.open("made_so", os.O_CREAT | os.O_WRONLY))
os.close(os.open("made_so", os.O_CREAT | os.O_WRONLY, 0o600, dir_fd=BELOW))
modes = [stat.S_IMODE(os.stat(name).st_mode) for name in ("made_so", "below/made_so")]
print(json.dumps([told, before == look(), modes], default=lambda path: path.decode()))
""".replace("\nimport ctypes", "import ctypes", 1)


@pytest.fixture(scope="module")
def told(tmp_path_factory, _template):
    """What was told of each action, and its result."""
    folder = tmp_path_factory.mktemp("heard")
    for name in ("below", "new_place", "pkg/sub", "pkg/listed"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for name in (
        "pkg/__init__.py", "pkg/mod.py", "pkg/sub/__init__.py", "pkg/sub/leaf.py", "fresh.py",
        "fresh_too.py", "new_place/found_there.py", "pkg/listed/__init__.py", "pkg/listed/one.py",
        "a.txt", "below/a.txt", "old", "gone",
    ):  # fmt: skip
        (folder / name).write_text("NAME = 1\n")
    (folder / "pkg/reads.py").write_text(
        "import os\nos.listdir('below')\nopen('pkg/mod.py').close()\n"
    )
    (folder / "link").symlink_to("a.txt")
    (folder / "pack.zip").write_bytes(b"PK\5\6" + 18 * b"\0")
    (folder / "hears.py").write_text(HEARS)
    ran = subprocess.run(
        [sys.executable, "hears.py", json.dumps(ACTIONS), json.dumps([*IMPORTS])],
        cwd=folder,
        env={"MY_A": "a", "MY_B": "b"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert not ran.returncode, ran.stderr
    text = ran.stdout.replace(str(folder), "{folder}")
    return json.loads(text.replace("{folder}/below", "{below}"))


READS = ("file", "folder", "change", "move", "question")
PATHS = {**FILES, **FOLDERS, **CHANGES, **QUESTIONS}


def of_folder(events):
    """What is told of the folder's paths, in order, each once, but of what is compiled."""
    others = re.compile(r"/|.*__pycache__")
    kept = [event for event in events if event[0] in READS and not others.match(str(event[1]))]
    return [event for number, event in enumerate(kept) if event not in kept[:number]]


@pytest.mark.parametrize("action", PATHS)
def test_what_is_done_to_a_path_is_told(told, action):
    events, result = told[0][action]

    found = of_folder(events)
    if action == "os.stat(BELOW)":
        found = [[kind, "BELOW"] for kind, path in found if isinstance(path, int)]
    assert found == PATHS[action]
    assert result in (None, True)
    assert {event[0] for event in events} <= {*READS, "missing"}


@pytest.mark.parametrize("action", VARIABLES)
def test_what_is_asked_of_the_environment_is_told_and_answered(told, action):
    events, result = told[0][action]

    names = [name for kind, name in events if kind == "variable"]
    each = [name for name in names if not name.endswith(" of all")]
    assert names == VARIABLES[action] or (set(each) == {"*"} == set(VARIABLES[action]))
    assert result == RESULTS.get(action, True if "result" in action else None)


@pytest.mark.parametrize("action", IMPORTS)
def test_what_is_imported_again_is_told_with_who_imports_it(told, action):
    events, _ = told[0][action]

    assert [*IMPORTS[action], "action.py"] in [
        event[1:] for event in events if event[0] == "import"
    ]


@pytest.mark.parametrize("action", MISSING)
def test_what_is_missing_is_told_with_where_it_would_be(told, action):
    events, _ = told[0][action]

    assert [event[1:] for event in events if event[0] == "missing"] == [MISSING[action]]
    assert "import" not in {event[0] for event in events}


@pytest.mark.parametrize("action", UNHEARD)
def test_what_starts_something_unheard_is_told(told, action):
    events, _ = told[0][action]

    assert UNHEARD[action] in [event[1] for event in events if event[0] == "unheard"]


def test_the_functions_that_are_heard_look_and_work_as_before(told):
    _, is_same, modes = told

    assert is_same
    assert modes == [0o777, 0o600]
