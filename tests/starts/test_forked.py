"""A process that is forked from a template is what one that is started would be."""

from __future__ import annotations

import ast
import contextlib
import json
import os
import resource
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from . import forked, owned

# What a process sees of itself.
SEEN = """
import sys
before = sorted(sys.modules)
import json, os, resource, signal, warnings
{imports}
stream = lambda s: [s.name, s.mode, s.encoding, s.errors, s.line_buffering, s.write_through,
                    type(s.buffer).__name__, s.isatty(), s.newlines]
main = sys.modules["__main__"]
print(json.dumps({{
    "modules": before,
    "imported": sorted(sys.modules),
    "attributes": {{n: sorted(k for k, v in vars(m).items() if type(v) is type(sys))
                   for n, m in sys.modules.items() if hasattr(m, "__path__")}},
    "specs": {{n: [s.name, s.origin, s.has_location] for n, m in sys.modules.items()
              if (s := getattr(m, "__spec__", None))}},
    "argv": sys.argv, "original": sys.orig_argv, "path": sys.path, "cwd": os.getcwd(),
    "prefix": [sys.prefix, sys.executable], "variables": dict(os.environ),
    "group": os.getpgrp(), "session": os.getsid(0), "mask": os.umask(0o22),
    "user": [os.getuid(), os.getgid(), os.getgroups()],
    "signals": {{str(s): str(signal.getsignal(s)) for s in signal.valid_signals()}},
    "blocked": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
    "limits": [resource.getrlimit(n) for n in range(16)],
    "files": sorted(set(os.listdir("/proc/self/fd"))), "warnings": len(warnings.filters),
    "streams": [stream(sys.stdin), stream(sys.stdout), stream(sys.stderr)],
    "main": sorted(vars(main)), "name": __name__, "finders": len(sys.meta_path),
    "hooks": len(sys.path_hooks), "nested": sys.stdin.read(),
}}))
"""


# Since Python 3.13 a command's source is kept for tracebacks: the template, which is one, has that.
OF_A_COMMAND = {"linecache"} if sys.version_info >= (3, 13) else set()


@pytest.fixture(scope="module")
def template():
    """The template that all tests have, or one for these tests where the others start."""
    with contextlib.ExitStack() as stack:
        yield forked.Popen.socket_path or stack.enter_context(owned.template())


@pytest.fixture
def popen(template):
    return type("Popen", (forked.Popen,), {"socket_path": template})


@pytest.fixture(params=["forked", "real"])
def either(request, popen):
    return popen if request.param == "forked" else forked.Real


def outcome(kind, command, **options):
    process = kind(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)
    output, errors = process.communicate(timeout=60)
    return process, output.decode(), errors.decode()


def is_forked(process):
    return getattr(process, "_link", None) is not None


@pytest.mark.parametrize(
    ("how", "flags", "imports"),
    [
        ("a command", [], ""),
        ("a command", ["-u"], "import sqlalchemy"),
        ("a command", ["-P"], "import alembic_snapshot.builder.__main__"),
        ("a command", [], "import alembic_snapshot.cli.commands"),
        ("a module", [], "import pytest"),
        ("a module", ["-P"], "import sqlalchemy.ext.asyncio, aiosqlite"),
        ("a module", ["-u"], "import email.mime.text, asyncio, logging.config"),
    ],
)
def test_it_sees_of_itself_what_a_started_one_sees(popen, tmp_path, imports, flags, how):
    (tmp_path / "seen.py").write_text(SEEN.format(imports=imports))
    what = ["-c", SEEN.format(imports=imports)] if how == "a command" else ["-m", "seen"]
    variables = {**os.environ, "PYTHONPATH": f"{tmp_path}:{tmp_path}/b", "SOME": "größe"}
    variables["PYTHONIOENCODING"] = "latin-1:replace" if flags else ""
    options = {"env": variables, "cwd": tmp_path, "stdin": subprocess.DEVNULL}
    command = [sys.executable, *flags, *what, "an argument", "--more"]
    real, expected, errors = outcome(forked.Real, command, **options)
    process, found, more = outcome(popen, command, **options)

    assert is_forked(process)
    assert not is_forked(real)
    seen, real_ones = json.loads(found), json.loads(expected)
    seen["modules"] = sorted({*seen["modules"]} - (set() if how == "a command" else OF_A_COMMAND))
    assert seen == real_ones
    assert (process.returncode, more) == (real.returncode, errors) == (0, "")


@pytest.mark.parametrize(
    "code",
    [
        "pass",
        "raise SystemExit(7)",
        "import sys; sys.exit('so it ends')",
        "import os; os._exit(5)",
        "import atexit; atexit.register(print, 'at the end')",
        "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
        "import threading; threading.Thread(target=print, args=('a thread',)).start()",
        "import os; print('größe', os.fork() and os.wait()[1])",
    ],
)
def test_it_ends_as_a_started_one_ends(popen, code):
    real, output, errors = outcome(forked.Real, [sys.executable, "-c", code])

    process, found, told = outcome(popen, [sys.executable, "-c", code])

    assert is_forked(process)
    assert (process.returncode, found, told) == (real.returncode, output, errors)


def test_an_error_is_told_with_its_traceback(popen):
    process, _, errors = outcome(popen, [sys.executable, "-c", "import nothing_of_that_name"])

    assert process.returncode == 1
    assert errors.endswith("ModuleNotFoundError: No module named 'nothing_of_that_name'\n")


def test_two_have_no_random_numbers_in_common(popen):
    code = "import random, uuid; print(random.random(), uuid.uuid4())"
    command = [sys.executable, "-c", code]

    assert outcome(popen, command)[1] != outcome(popen, command)[1]


def test_it_has_the_files_it_was_given_and_no_others(popen, tmp_path):
    reading, writing = os.pipe()
    code = f"import os; os.write({writing}, b'heard'); print(sorted(os.listdir('/proc/self/fd')))"

    process = popen([sys.executable, "-c", code], pass_fds=[writing], stdout=subprocess.PIPE)
    os.close(writing)

    with os.fdopen(reading) as heard:
        # It comes to its end: nobody else holds the other one.
        assert heard.read() == "heard"
    output, _ = process.communicate()
    # The last is the listing's own.
    assert len(json.loads(output.decode().replace("'", '"'))) == 5
    assert is_forked(process)


def test_it_is_killed_and_waited_for_as_a_started_one(either):
    process = either(
        [sys.executable, "-c", "print('here', flush=True); input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with process:
        assert process.stdout.readline() == b"here\n"
        assert process.poll() is None
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.01)

        process.send_signal(signal.SIGTERM)

        assert process.wait(60) == process.poll() == -signal.SIGTERM
    process.kill()


def test_it_leads_a_session_where_that_is_asked_for(either):
    code = "import os; print(len({os.getsid(0), os.getpgid(0), os.getpid()}), flush=True); input()"
    given = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "start_new_session": True}

    with either([sys.executable, "-c", code], **given) as process:
        # By the time that its number is known.
        assert os.getpgid(process.pid) == process.pid
        assert process.stdout.readline() == b"1\n"
        os.killpg(process.pid, signal.SIGKILL)
        assert process.wait(60) == -signal.SIGKILL
        assert is_forked(process) is issubclass(either, forked.Popen)


@pytest.mark.parametrize("variable", ["", "1"])
def test_it_compiles_what_it_imports_unless_that_is_forbidden(popen, tmp_path, variable):
    (tmp_path / "imported.py").touch()
    variables = {**os.environ, "PYTHONDONTWRITEBYTECODE": variable}

    process, _, _ = outcome(
        popen, [sys.executable, "-c", "import imported"], cwd=tmp_path, env=variables
    )

    assert is_forked(process)
    assert (tmp_path / "__pycache__").exists() is not bool(variable)


def started(popen, arguments, **options):
    """Whether a real start was made of it; it is not waited for long."""
    process, _, _ = outcome(popen, [sys.executable, *arguments], **options)
    assert process.returncode == 0
    return not is_forked(process)


@pytest.mark.parametrize("name", ["PYTHONHASHSEED", "LC_ALL", "COVERAGE_X", "PSYCOPG_IMPL"])
def test_a_variable_that_is_read_at_the_start_is_a_reason_to_start(popen, name):
    command = ["-c", "pass"]

    assert started(popen, command, env={**os.environ, name: "1" if "HASH" in name else "C"})
    assert not started(popen, command, env={**os.environ, "ANY": "1"})


@pytest.mark.parametrize(
    "name",
    ["sitecustomize.py", "usercustomize/__init__.py", "sqlalchemy/__init__.py", "json.so"],
)
@pytest.mark.parametrize("by", ["PYTHONPATH", "the working folder"])
def test_a_module_that_comes_before_a_ready_one_is_a_reason_to_start(popen, tmp_path, name, by):
    path = tmp_path / "a" / name
    path.parent.mkdir(parents=True)
    path.touch()
    variables = {**os.environ, "PYTHONPATH": f"{tmp_path}/none:{tmp_path}/a"}
    given = {"env": variables} if by == "PYTHONPATH" else {"cwd": tmp_path / "a"}
    # What is there must not keep it from running.
    asked = popen([sys.executable, "-c", "pass"], stderr=subprocess.DEVNULL, **given)

    asked.wait()

    assert not is_forked(asked)


def test_a_folder_without_modules_is_none(popen, tmp_path):
    (tmp_path / "alembic/versions").mkdir(parents=True)
    (tmp_path / "alembic.ini").touch()

    assert not started(popen, ["-c", "import alembic.command"], cwd=tmp_path)


@pytest.mark.parametrize(
    "options",
    [
        {"umask": 0o77},
        {"process_group": 0},
        {"close_fds": False},
        {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_CORE, (0, 0))},
    ],
)
def test_what_is_asked_for_beyond_is_a_reason_to_start(popen, options):
    assert started(popen, ["-c", "pass"], **options)


@pytest.mark.parametrize("arguments", [["-I", "-c", "pass"], ["-B", "-c", "pass"], ["a.py"]])
def test_other_flags_and_scripts_are_started(popen, tmp_path, arguments):
    (tmp_path / "a.py").touch()

    assert started(popen, arguments, cwd=tmp_path)


def test_another_limit_or_an_ignored_signal_is_a_reason_to_start(popen):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000_000, before[1]))
    try:
        assert started(popen, ["-c", "pass"])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    handler = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    try:
        assert started(popen, ["-c", "pass"])
    finally:
        signal.signal(signal.SIGUSR1, handler)
    assert not started(popen, ["-c", "pass"])


def test_a_module_of_the_project_is_found_where_a_start_finds_it(popen, tmp_path):
    (tmp_path / "mine.py").write_text("import sqlalchemy; print(__file__, __name__)")
    command = [sys.executable, "-c", "import mine"]

    for text in ("import sqlalchemy", "print('changed')"):
        (tmp_path / "mine.py").write_text(f"{text}; print(__file__)")
        expected = outcome(forked.Real, command, cwd=tmp_path)[1]
        assert outcome(popen, command, cwd=tmp_path)[1] == expected


def test_what_was_kept_is_not_taken_for_another_file_of_its_name(popen, tmp_path):
    (tmp_path / "colorsys.py").touch()
    (tmp_path / "csv.py").write_text("print('mine')")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import csv"

    process, output, _ = outcome(popen, [sys.executable, "-c", code])

    assert is_forked(process)
    assert output == "mine\n"


def test_a_finder_hears_of_each_module_that_another_imports(popen):
    code = """
import sys
class Finder:
    def find_spec(self, name, path, target=None):
        asked.add((name, path is None))
asked = set()
sys.meta_path.insert(0, Finder())
import sqlalchemy.ext.asyncio
import importlib.metadata
print(sorted(pair for pair in asked if pair[0] in sys.modules))
"""
    expected = outcome(forked.Real, [sys.executable, "-c", code])[1]

    process, found, _ = outcome(popen, [sys.executable, "-c", code])

    assert is_forked(process)
    assert set(ast.literal_eval(found)) == set(ast.literal_eval(expected))
    assert "('sqlalchemy.orm', False)" in found


def test_a_finder_may_stand_in_for_the_loader_of_a_module_that_another_imports(popen):
    code = """
import sys
from alembic_snapshot.engines.importing import when_imported
when_imported("sqlalchemy.orm", lambda: print(sys.modules["sqlalchemy"].orm.Session.__name__))
import sqlalchemy.ext.asyncio
"""
    process, found, errors = outcome(popen, [sys.executable, "-c", code])

    assert is_forked(process)
    assert (found, errors) == ("Session\n", "")


def test_a_run_of_pytest_has_the_plugins_and_modules_of_a_started_one(popen, tmp_path):
    (tmp_path / "ours.py").write_text("def two(): assert 1 == 2")
    (tmp_path / "test_it.py").write_text("""
import json, sys
import hypothesis
def test_it(request):
    modules = {n: [s.name, s.origin] for n, m in sys.modules.items()
               if (s := getattr(m, "__spec__", None)) and "site-packages" in str(s.origin)}
    plugins = [getattr(m, "__name__", type(m).__name__) for m in
               request.config.pluginmanager.get_plugins()]
    print(json.dumps([modules, sorted(plugins)]))
    import ours
    ours.two()
""")
    command = [sys.executable, "-m", "pytest", "-q", "-s", "-p", "no:cacheprovider"]
    _, started, expected = outcome(forked.Real, command, cwd=tmp_path)

    process, found, errors = outcome(popen, command, cwd=tmp_path)

    assert (is_forked(process), process.returncode, errors) == (True, 1, expected)
    (real_modules, real_plugins), (modules, plugins) = (
        json.loads(next(line for line in text.splitlines() if line.startswith("[")))
        for text in (started, found)
    )
    assert plugins == real_plugins
    assert modules == real_modules
    assert "assert 1 == 2" in found


def test_only_a_builder_starts_what_it_starts(popen):
    code = "import subprocess; print(subprocess.Popen.__module__)"

    assert outcome(popen, [sys.executable, "-c", code])[1] == "starts.forked\n"
    assert forked.BUILDER == "alembic_snapshot.builder"


def test_the_template_ends_with_its_owner_however_that_ends(tmp_path):
    code = f"""
import os, signal, sys
sys.path.insert(0, {str(Path(owned.__file__).parents[1])!r})
from starts import owned
with owned.template() as path:
    print(path, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""
    with forked.Real([sys.executable, "-c", code], stdout=subprocess.PIPE) as owner:
        path = owner.stdout.readline().decode().strip()
        # While it lives, the template would wait for what this asks for.
        owner.wait()
        with socket.socket(socket.AF_UNIX) as link, contextlib.suppress(OSError):
            link.connect(path)
            # Nobody asks it anything; the connection ends when it does.
            assert select.select([link], [], [], 60)[0]

    assert owner.returncode == -signal.SIGKILL
    assert Path(path).name == "template"
    with pytest.raises(FileNotFoundError), socket.socket(socket.AF_UNIX) as link:
        link.connect(path)
