"""G3: what desktops, terminals, tools and CI leave and say is no input; what is like it is."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from alembic_snapshot.key.layers import library_versions
from alembic_snapshot.key.observed import Reading, fits, is_of_surroundings, without_effect

# Names as they are found, by who leaves them; the code has the patterns.
LEFT = {
    "desktops": ".DS_Store Thumbs.db desktop.ini .directory",
    "editors": ".idea .vscode a.py~ #a.py# .#a.py .a.py.swp .a.py.swo .a.py.swx",
    "git": ".git a.py.orig",
    "python": "__pycache__ a.pyc .venv .ipynb_checkpoints",
    "tools": ".hypothesis .pytest_cache .mypy_cache .ruff_cache .tox .nox node_modules",
    "coverage": ".coverage .coverage.host.1.x htmlcov coverage.xml",
    "running": "app.log a.db a.sqlite a.sqlite3 a.db-journal a.db-wal a.db-shm",
    "this library": ".alembic-snapshot",
}
COUNT = (
    ".env .gitignore .coveragerc .venvs a.csv a.sql a.py log db sqlite journal a.logs a.dbf "
    "a.origin coverage.json node_module DS_Store a#b a~b .git-blame"
)
SAID = {
    "terminals": "TERM TERMINFO TERM_PROGRAM TERM_PROGRAM_VERSION TERM_SESSION_ID COLORTERM "
    "COLUMNS LINES LS_COLORS NO_COLOR FORCE_COLOR PY_COLORS ALACRITTY_LOG ITERM_PROFILE KITTY_PID "
    "KONSOLE_VERSION VTE_VERSION WEZTERM_PANE WINDOWID TMUX TMUX_PANE WT_SESSION",
    "desktops": "DISPLAY DESKTOP_SESSION DBUS_SESSION_BUS_ADDRESS GNOME_SHELL_SESSION_MODE "
    "WAYLAND_DISPLAY XDG_RUNTIME_DIR WSLENV WSL_DISTRO_NAME WSL_INTEROP",
    "shells": "PATH HOME PWD OLDPWD SHELL SHLVL _ PS1 PS2 PROMPT_COMMAND HISTCONTROL HISTFILE "
    "HISTFILESIZE HISTSIZE USER LOGNAME HOSTNAME LANG LANGUAGE LC_ALL TZ TMP TEMP TMPDIR ZSH "
    "ZSH_VERSION DIRENV_DIR GPG_TTY GPG_AGENT_INFO SSH_AUTH_SOCK SUDO_USER",
    "pagers and editors": "EDITOR PAGER LESS LESSOPEN LESSCLOSE INSIDE_EMACS VSCODE_PID",
    "systemd": "INVOCATION_ID JOURNAL_STREAM SYSTEMD_EXEC_PID",
    "make": "MAKEFLAGS MAKELEVEL MAKEOVERRIDES MAKE_TERMERR MAKE_TERMOUT MFLAGS",
    "python": "PYTHONBREAKPOINT PYTHONDEVMODE PYTHONDONTWRITEBYTECODE PYTHONFAULTHANDLER "
    "PYTHONHASHSEED PYTHONHOME PYTHONIOENCODING PYTHONPATH PYTHONSAFEPATH PYTHONUNBUFFERED "
    "PYTHONUTF8 PYTHONWARNINGS",
    "environments": "VIRTUAL_ENV VIRTUAL_ENV_PROMPT CONDA_DEFAULT_ENV CONDA_EXE CONDA_PREFIX "
    "CONDA_PROMPT_MODIFIER CONDA_PYTHON_EXE CONDA_SHLVL PIPENV_ACTIVE POETRY_ACTIVE PYENV_VERSION "
    "NOX_CURRENT_SESSION TOX_ENV_NAME UV UV_PYTHON",
    "clouds": "AWS_ACCESS_KEY_ID AWS_ROLE_ARN AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN "
    "AWS_WEB_IDENTITY_TOKEN_FILE AZURE_FEDERATED_TOKEN_FILE GOOGLE_APPLICATION_CREDENTIALS "
    "GOOGLE_GHA_CREDS_PATH ACTIONS_RUNTIME_TOKEN",
    "CI": "CI CI_COMMIT_SHA BITBUCKET_COMMIT BUILDKITE BUILDKITE_JOB_ID BUILD_ID BUILD_NUMBER "
    "BUILD_TAG BUILD_URL CIRCLECI CIRCLE_SHA1 CODEBUILD_BUILD_ID DRONE DRONE_COMMIT "
    "EXECUTOR_NUMBER GITHUB_SHA GITLAB_CI HUDSON_URL JENKINS_URL RUNNER_OS TEAMCITY_VERSION "
    "TF_BUILD TRAVIS TRAVIS_BUILD_ID",
    "coverage and pytest": "COVERAGE_RUN COV_CORE_SOURCE PYTEST_CURRENT_TEST",
    "this library": "ALEMBIC_SNAPSHOT_DIR SNAPSHOT_POSTGRES_URL",
}
OWN = (
    "DATABASE_URL REGION BUILD CIRCLE CIVIL HOMEPAGE PATHS PYTHON TERMS TRAVISTOCK USERS PG PYTEST "
    "PGHOST PGUSER PGPASSWORD PGSSLMODE"
)


def listings(project, tmp_path, name):
    """The digests of a folder's listing without a file, and with it."""
    reading = Reading(project.load().spelling, (), str(project.root / ".alembic-snapshot"))
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a.txt").touch()
    before = reading.of_folder(str(folder))
    (folder / name).touch()
    return before, reading.of_folder(str(folder))


@pytest.mark.parametrize(("name", "counts"), [("snapshots", False), ("snapshots2", True)])
def test_a_store_of_any_name_is_in_no_listing(project, tmp_path, name, counts):
    reading = Reading(project.load().spelling, (), str(tmp_path / "snapshots"))
    before = reading.of_folder(str(tmp_path))

    (tmp_path / name).mkdir()

    assert (reading.of_folder(str(tmp_path)) != before) is counts


@pytest.mark.parametrize("name", " ".join(LEFT.values()).split())
def test_what_is_left_anywhere_is_in_no_listing(project, tmp_path, name):
    before, after = listings(project, tmp_path, name)

    assert before == after


@pytest.mark.parametrize("name", COUNT.split())
def test_what_is_called_like_it_is_in_the_listing(project, tmp_path, name):
    before, after = listings(project, tmp_path, name)

    assert before != after


@pytest.mark.parametrize("name", " ".join(SAID.values()).split())
def test_what_surroundings_say_does_not_count_where_all_is_read(name):
    assert is_of_surroundings(name)


def test_what_only_python_reads_counts_as_little_as_the_docs_say():
    listed = subprocess.run(
        [sys.executable, "--help-env"], capture_output=True, text=True, check=True
    ).stdout
    names = {*re.findall(r"\bPYTHON[A-Z0-9_]+", listed), "PYTHONASYNCIODEBUG"}

    assert {name for name in names if not is_of_surroundings(name)} == {"PYTHONOPTIMIZE"}


@pytest.mark.parametrize("name", OWN.split())
def test_a_variable_of_the_projects_own_counts(project, name):
    assert not is_of_surroundings(name)
    assert not fits(name, without_effect(project.load()))


SHOWN = {
    "a warning": "import warnings\nwarnings.warn_explicit('old', UserWarning, {file}, 1)",
    "a traceback": "import traceback\nprint(traceback.StackSummary.from_list("
    "[({file}, 1, 'f', None)]).format())",
}


@pytest.mark.parametrize("kind", SHOWN)
def test_a_line_that_is_shown_is_not_read(project, kind):
    env = project.root / "migrations/env.py"
    env.write_text("import models\n" + env.read_text())
    path = project.write("models.py", "X = 1\n")
    file = "__import__('sys').modules['mod' + 'els'].__file__"
    project.revision("0001", upgrade=SHOWN[kind].format(file=file) + "\nop.execute('select 1')")
    project.ensure()

    path.write_text("X = 2\n")

    assert project.look_up().reasons == ()


def test_a_line_that_the_project_asks_for_is_read(project):
    path = project.write("models.txt", "X = 1\n")
    body = "import linecache\nlinecache.getline('models' + '.txt', 1)\nop.execute('select 1')"
    project.revision("0001", upgrade=body)
    project.ensure()

    path.write_text("X = 2\n")

    assert project.look_up().reasons == ("models.txt changed (read while it ran)",)


def test_the_versions_in_the_key_are_those_that_are_installed(monkeypatch):
    expected = {name: metadata.version(name) for name in ("Alembic", "SQLAlchemy")}

    assert library_versions() == expected
    # Folders that a path names and that are not there are no installation.
    monkeypatch.syspath_prepend("/nowhere")
    assert library_versions() == expected


@pytest.mark.parametrize("name", ["alembic", "alembic_other-9.dist-info"])
def test_what_is_called_like_a_library_is_not_its_version(tmp_path, monkeypatch, name):
    Path(tmp_path, name).mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))

    assert library_versions()["Alembic"] == metadata.version("alembic")


SEEDED_BY = """
from alembic import command
from alembic.config import Config
def make(url):
    config = Config("alembic.ini")
    config.set_main_option("sqlalchemy.url", url)
    config.attributes["mine"] = True
    command.upgrade(config, "heads")
def seed(connection): ...
"""


def test_env_py_is_not_run_for_a_seed_where_migrate_makes_the_database(project):
    env = project.root / "migrations/env.py"
    only = "if not config.attributes.get('mine'):\n    raise RuntimeError('only with ours')\n"
    env.write_text(env.read_text().replace("target_metadata = None\n", only))
    env.write_text(env.read_text().replace("target_metadata=target_metadata", ""))
    project.write("made.py", SEEDED_BY)
    project.write("later.py", "def seed(connection): ...\n")
    project.configure('migrate = "made:make"\nseeds = ["later:seed"]')
    project.history(1)
    project.ensure()

    project.append("later.py", "# changed\n")

    assert project.build()[1] == ["later:seed"]


@pytest.mark.parametrize("table", ["", 'ignore_environment = ["PYTHONOPTIMIZE"]'])
def test_whether_python_leaves_out_assert_counts(project, monkeypatch, table):
    project.configure(table)
    project.revision("a")
    before = project.key()

    monkeypatch.setenv("PYTHONOPTIMIZE", "1")

    assert (project.key() == before) is bool(table)
    assert project.chain().inputs.get("<PYTHONOPTIMIZE>", "") != "1"
