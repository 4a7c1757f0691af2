"""The inputs that only a run reveals: files read, folders listed, environment variables.

The builder records them, the manifest keeps them, and every hit compares them.
"""

from __future__ import annotations

import fnmatch
import functools
import hashlib
import json
import os
import re
import stat
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from alembic_snapshot.errors import printable
from alembic_snapshot.key.inputs import Files, is_litter, is_log_or_database
from alembic_snapshot.project.config import Project
from alembic_snapshot.project.placeholders import originals
from alembic_snapshot.project.places import is_in_store
from alembic_snapshot.project.spelling import Spelling, is_ignored

# Stands for the names of all variables, where the environment was copied or scanned.
ALL = "*"
# What tells of a terminal, a shell, a machine or a job of CI, what coverage and pytest say of
# themselves, and what this library is told, count only if code asks for them by name.
_SURROUNDINGS = (
    "ACTIONS_*", "ALACRITTY_*", "ALEMBIC_SNAPSHOT_*", "AWS_ACCESS_KEY_ID", "AWS_ROLE_*",
    "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AZURE_FEDERATED_TOKEN*", "BITBUCKET_*", "BUILDKITE", "BUILDKITE_*", "BUILD_ID", "BUILD_NUMBER",
    "BUILD_TAG", "BUILD_URL", "CI", "CIRCLECI", "CIRCLE_*", "CI_*", "CODEBUILD_*", "COLORTERM",
    "COLUMNS", "CONDA_DEFAULT_ENV", "CONDA_EXE", "CONDA_PREFIX", "CONDA_PROMPT_MODIFIER",
    "CONDA_PYTHON_EXE", "CONDA_SHLVL", "COVERAGE_*", "COV_CORE_*", "DBUS_*", "DESKTOP_SESSION",
    "DIRENV_*", "DISPLAY", "DRONE", "DRONE_*", "EDITOR", "EXECUTOR_NUMBER", "FORCE_COLOR",
    "GITHUB_*", "GITLAB_*", "GNOME_*", "GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_GHA_CREDS_PATH",
    "GPG_AGENT_INFO", "GPG_TTY", "HISTCONTROL", "HISTFILE", "HISTFILESIZE", "HISTSIZE", "HOME",
    "HOSTNAME", "HUDSON_*", "INSIDE_EMACS", "INVOCATION_ID", "ITERM_*", "JENKINS_*",
    "JOURNAL_STREAM", "KITTY_*", "KONSOLE_*", "LANG", "LANGUAGE", "LC_*", "LESS", "LESSCLOSE",
    "LESSOPEN", "LINES", "LOGNAME", "LS_COLORS", "MAKEFLAGS", "MAKELEVEL", "MAKEOVERRIDES",
    "MAKE_TERMERR", "MAKE_TERMOUT", "MFLAGS", "NOX_*", "NO_COLOR", "OLDPWD", "PAGER", "PATH",
    "PIPENV_*", "POETRY_*", "PROMPT_COMMAND", "PS1", "PS2", "PWD", "PYENV_*", "PYTEST_*",
    "PYTHONASYNCIODEBUG", "PYTHONBREAKPOINT", "PYTHONCASEOK", "PYTHONCOERCECLOCALE", "PYTHONDEBUG",
    "PYTHONDEVMODE", "PYTHONDONTWRITEBYTECODE", "PYTHONEXECUTABLE", "PYTHONFAULTHANDLER",
    "PYTHONHASHSEED", "PYTHONHOME", "PYTHONINSPECT", "PYTHONINTMAXSTRDIGITS", "PYTHONIOENCODING",
    "PYTHONMALLOC", "PYTHONMALLOCSTATS", "PYTHONNODEBUGRANGES", "PYTHONNOUSERSITE", "PYTHONPATH",
    "PYTHONPERFSUPPORT", "PYTHONPLATLIBDIR", "PYTHONPROFILEIMPORTTIME", "PYTHONPYCACHEPREFIX",
    "PYTHONSAFEPATH", "PYTHONSTARTUP", "PYTHONTRACEMALLOC", "PYTHONUNBUFFERED", "PYTHONUSERBASE",
    "PYTHONUTF8", "PYTHONVERBOSE", "PYTHONWARNDEFAULTENCODING", "PYTHONWARNINGS",
    "PYTHON_BASIC_REPL", "PYTHON_COLORS", "PYTHON_CONTEXT_AWARE_WARNINGS", "PYTHON_CPU_COUNT",
    "PYTHON_DISABLE_REMOTE_DEBUG", "PYTHON_FROZEN_MODULES", "PYTHON_GIL", "PYTHON_HISTORY",
    "PYTHON_JIT", "PYTHON_PERF_JIT_SUPPORT", "PYTHON_THREAD_INHERIT_CONTEXT", "PYTHON_TLBC",
    "PY_COLORS", "RUNNER_*", "SHELL", "SHLVL", "SNAPSHOT_POSTGRES_URL", "SSH_*", "SUDO_*",
    "SYSTEMD_*", "TEAMCITY_*", "TEMP", "TERM", "TERMINFO", "TERM_PROGRAM", "TERM_PROGRAM_VERSION",
    "TERM_SESSION_ID", "TF_BUILD", "TMP", "TMPDIR", "TMUX", "TMUX_PANE", "TOX_*", "TRAVIS",
    "TRAVIS_*", "TZ", "USER", "UV", "UV_*", "VIRTUAL_ENV", "VIRTUAL_ENV_PROMPT", "VSCODE_*",
    "VTE_VERSION", "WAYLAND_DISPLAY", "WEZTERM_*", "WINDOWID", "WSLENV", "WSL_DISTRO_NAME",
    "WSL_INTEROP", "WT_*", "XDG_*", "ZSH", "ZSH_VERSION", "_",
)  # fmt: skip
# Ends the name of a folder in which only the descriptions of packages were looked for; they end so.
DESCRIPTIONS = "<descriptions of packages>"
_DESCRIBING = ("dist-info", "egg-info")
# What stands between a name and what it is.
_KIND = "\0"
# How many characters of names are kept of a folder, how many are said, and how many to ignore.
_LONGEST_LISTING, _MOST_SAID, _MOST_IGNORED = 20_000, 3, 10
_INHERITED = frozenset({"PATH", "LANG", "LC_ALL", "TMPDIR"})


@dataclass(frozen=True)
class Observed:
    """The reads of a build beside its layers' inputs; values are digests, or words.

    ``files``, ``folders`` and ``stats`` (what was asked of a file without opening it) are spelled
    as inputs are. A folder's value is the names in it, or their digest if they are many. Values of
    ``environment`` are salted with the snapshot's digest, so that a manifest does not carry
    secrets; ``*`` in it stands for the names of all variables.
    """

    files: Mapping[str, str] = field(default_factory=dict)
    folders: Mapping[str, str] = field(default_factory=dict)
    stats: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return any(vars(self).values())

    @property
    def digest(self) -> str:
        """One digest for all of it."""
        parts = [sorted(part.items()) for part in vars(self).values()]
        return hashlib.sha256(repr(parts).encode()).hexdigest()

    def joined(self, other: Observed) -> Observed:
        """Both together; where both have a value, ``other``'s counts."""
        pairs = zip(vars(self).values(), vars(other).values(), strict=True)
        return Observed(*({**mine, **theirs} for mine, theirs in pairs))


@dataclass(frozen=True)
class Change:
    """Something is different now: in words, which file if it is one, what would ignore it."""

    text: str
    file: str = ""
    cure: str = ""

    def __str__(self) -> str:
        return self.text


class Present:
    """The project's files and variables as they are now, and as a builder would be given them."""

    def __init__(self, project: Project, files: Files):
        self._project = project
        self._files = files
        self._reading = Reading(project.spelling, project.ignore_inputs, str(project.store))

    @functools.cached_property
    def environment(self) -> dict[str, str]:
        """The variables that a builder inherits, with ``HOME`` even where it is private."""
        return inherited(self._project, os.environ)

    def changes(self, observed: Observed, salt: str) -> Iterator[Change]:
        """The differences between what was read and what is there now, a line each."""
        path, reading = self._project.spelling.path, self._reading
        for name, before in observed.files.items():
            now = reading.of_file(path(name), self._files)
            if now != before:
                text = f"{name} changed (read while it ran)"
                yield Change(text, name, _ignoring_file(name, before, now))
        for name, before in observed.folders.items():
            now = reading.of_folder(path(name))
            if now != before:
                yield self._of_listing(name, before, now)
        for name, before in observed.stats.items():
            now = reading.of_asking(path(name))
            if now != before:
                text = f"{name} changed (asked for while it ran)"
                yield Change(text, cure=_ignoring_file(name, before, now))
        if ALL in observed.environment:
            yield from self._new_variables(observed)
        for name, digest in observed.environment.items():
            if name != ALL and self.variable(name, salt) != digest:
                cure = _setting("ignore_environment", [name])
                yield Change(f"the environment variable {name} changed", cure=cure)

    def _of_listing(self, folder: str, before: str, now: str) -> Change:
        """What came into a folder, or went; ignoring it leaves the rest of the folder compared."""
        listed = "package descriptions" if folder.endswith(DESCRIPTIONS) else "files"
        folder = folder.removesuffix(f"/{DESCRIPTIONS}")
        text = f"the list of {listed} in {folder} changed"
        if not (before.startswith("/") and now.startswith("/")):
            what = {before: ": it is new", now: ": it is gone"}.get("missing", "")
            return Change(f"{text}{what} (read while it ran)")
        old, new = _kinds_in(before), _kinds_in(now)
        came, went = sorted(new.keys() - old.keys()), sorted(old.keys() - new.keys())
        other = sorted(name for name in old.keys() & new.keys() if old[name] != new[name])
        said = [*(f"{name} is new" for name in came), *(f"{name} is gone" for name in went)]
        said += [f"{name} is something else" for name in other]
        more = f" and {len(said) - _MOST_SAID} more" if said[_MOST_SAID:] else ""
        path, name_of = self._project.spelling.path(folder), self._project.spelling.name
        names = [name_of(os.path.join(path, name)) for name in (*came, *went)]
        is_curable = not other and len(names) <= _MOST_IGNORED
        cure = _setting("ignore_inputs", names) if is_curable else ""
        text = f"{text}: {', '.join(said[:_MOST_SAID])}{more} (read while it ran)"
        return Change(printable(text), cure=cure)

    def variable(self, name: str, salt: str) -> str:
        """The salted digest of a variable's value."""
        return variable_digest(name, self.environment.get(name), salt)

    def variables(self, names: Collection[str], salt: str) -> dict[str, str]:
        """The salted digests of these variables; of all that can matter, for ``*``."""
        wanted = set(names)
        if ALL in wanted:
            wanted |= self._all()
        return {n: "" if n == ALL else self.variable(n, salt) for n in sorted(wanted)}

    def _all(self) -> set[str]:
        """The variables that count where all of them are read."""
        never = (*_SURROUNDINGS, *without_effect(self._project))
        return {name for name in self.environment if not fits(name, never)}

    def _new_variables(self, observed: Observed) -> Iterator[Change]:
        for name in sorted(self._all() - observed.environment.keys()):
            cure = _setting("ignore_environment", [name])
            yield Change(f"the environment variable {name} is new", cure=cure)


def inherited(project: Project, environ: Mapping[str, str]) -> dict[str, str]:
    """The variables that a builder inherits.

    ``PYTHONPATH`` is not one: it is configured. What signs for a shared store is no revision's.
    Whether pytest builds, nobody is to see: what is a placeholder in tests is as it was before.
    """
    kept_out = ("PYTHONPATH", "ALEMBIC_SNAPSHOT_REMOTE_SIGNING_KEY", "PYTEST_*")
    given = originals(environ).items()
    variables = {name: value for name, value in given if not fits(name, kept_out)}
    if project.inherit_environment is not None:
        allowed = _INHERITED.union(project.inherit_environment)
        variables = {name: value for name, value in variables.items() if name in allowed}
    if project.private_home:
        # Whatever its path is, it is new and empty.
        variables["HOME"] = ""
    return variables


def without_effect(project: Project) -> list[str]:
    """The variables that are no input, even if code asks for them by name."""
    return sorted({*project.ignore_environment, *project.environment})


def is_of_surroundings(name: str) -> bool:
    """Whether a variable tells of the terminal, the shell, the machine or the tools."""
    return fits(name, _SURROUNDINGS)


def fits(name: str, patterns: Sequence[str]) -> bool:
    """Whether a variable is one of these; ``NAME*`` stands for all that begin so."""
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


@dataclass(frozen=True)
class Reading:
    """Reads files and folders for a comparison: under their names, without what does not count.

    ``ignored`` are the patterns of ``ignore_inputs``; the ``store`` is in no listing, and nor is
    what it has in its folder.
    """

    spelling: Spelling
    ignored: tuple[str, ...]
    store: str

    def of_file(self, path: str, files: Files) -> str:
        """The digest of a file that was read; databases are alike, whatever they hold."""
        digest = files.digest(path)
        if files.is_database(path):
            return "a database"
        # What can't be read is another thing when it turns out to be a folder.
        return "a folder" if digest == "missing" and os.path.isdir(path) else digest

    def of_folder(self, path: str) -> str:
        """The entries of a folder, each after a slash, without what says nothing of the project.

        A listing tells of each what it is, too: a file, a folder, a link to one. Of very many
        entries it is a digest.
        """
        folder, last = os.path.split(path)
        is_narrow = last == DESCRIPTIONS
        try:
            with os.scandir(folder if is_narrow else path) as listed:
                entries = [entry for entry in listed if not is_litter(entry.name)]
        except OSError:
            return "missing"
        kept = [
            f"{entry.name}{_listed_as(entry)}"
            for entry in entries
            if entry.path != self.store
            and not is_in_store(entry.path, self.store)
            and not self.ignores(entry.path)
            and (not is_narrow or entry.name.lower().endswith(_DESCRIBING))
        ]
        listing = f"/{'/'.join(sorted(kept))}"
        if len(listing) <= _LONGEST_LISTING:
            return listing
        return hashlib.sha256(listing.encode("utf-8", "surrogateescape")).hexdigest()

    def of_asking(self, path: str) -> str:
        """The answer to asking for a file, in words: whether it is there, its kind, its size."""
        try:
            status = os.lstat(path)
            if stat.S_ISLNK(status.st_mode):
                return f"a link to {os.readlink(path)}, {_followed(path)}"
            return _kind(status)
        except (OSError, ValueError):
            return "missing"

    def ignores(self, path: str) -> bool:
        """Whether it is no input: a log, a database, or what ``ignore_inputs`` has."""
        if is_log_or_database(path):
            return True
        return is_ignored(self.spelling.name(path), self.ignored)


def _kinds_in(listing: str) -> dict[str, str]:
    """The names in a listing, each with what it is."""
    parts = (entry.partition(_KIND) for entry in listing.split("/") if entry)
    return {name: kind for name, _, kind in parts}


def _listed_as(entry: os.DirEntry[str]) -> str:
    """What a listing says that an entry is, after what no name has in it; nothing for a file."""
    link = f"{_KIND}link" if entry.is_symlink() else ""
    try:
        if entry.is_dir():
            return f"{link}{_KIND}folder"
        return link if entry.is_file() else f"{link}{_KIND}other"
    except OSError:
        return f"{link}{_KIND}circle"


def _followed(path: str) -> str:
    try:
        return _kind(os.stat(path))
    except OSError:
        return "missing"


def _kind(status: os.stat_result) -> str:
    if stat.S_ISDIR(status.st_mode):
        return "a folder"
    is_file = stat.S_ISREG(status.st_mode)
    return f"a file of {status.st_size} bytes" if is_file else "something else"


def variable_digest(name: str, value: str | None, salt: str) -> str:
    """The salted digest of an environment variable's value."""
    if value is None:
        return "unset"
    return hashlib.sha256(f"{salt}\0{name}\0{value}".encode("utf-8", "surrogateescape")).hexdigest()


def _ignoring_file(name: str, before: str, now: str) -> str:
    """The line that ignores a file; none for a folder, where it would ignore what is in it, too."""
    is_folder = any(value.endswith("a folder") for value in (before, now))
    return "" if is_folder else _setting("ignore_inputs", [name])


def _setting(key: str, names: Sequence[str]) -> str:
    """The line of configuration that ignores what has these names, and nothing else."""
    patterns = [re.sub(r"([*?[])", r"[\1]", name) for name in names]
    if any("\ud800" <= letter <= "\udfff" for name in names for letter in name):
        return ""  # No TOML has a name that is no Unicode.
    return f"{key} = {json.dumps(patterns, ensure_ascii=False)}"
