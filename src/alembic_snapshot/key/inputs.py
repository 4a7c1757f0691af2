"""The files that a layer depends on: imports followed and file names found, by reading alone.

Nothing is imported or run. What only a run can tell (a file opened under a computed name) is seen
by the builder and kept in the manifest. Paths are plain text: there are hundreds of them.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import json
import os
import stat
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from alembic_snapshot.project.places import STORE_FOLDER

_FACTS_VERSION = 5
_FACTS_KEPT = 10_000
# What running leaves: logs, and databases, which the guard keeps shut.
_LOGS_AND_DATABASES = (".log", ".db", ".sqlite", ".sqlite3", "-journal", "-wal", "-shm")
_NO_INPUTS = (".pyc", ".mako", "~", *_LOGS_AND_DATABASES)
_IGNORED_FOLDERS = frozenset({"__pycache__", "node_modules", "site-packages"})
# What desktops, editors and tools leave in any folder.
_LITTER = frozenset(
    {".DS_Store", "desktop.ini", ".directory", "__pycache__", ".git", ".hypothesis"}
    | {".pytest_cache", ".mypy_cache", ".ruff_cache", ".coverage", ".idea", ".vscode", STORE_FOLDER}
    | {".tox", ".nox", ".venv", ".ipynb_checkpoints", "htmlcov", "coverage.xml", "node_modules"}
)
_LITTER_BEGINS = (".#", ".coverage.")
_PART = 1 << 16
_DATABASE = b"SQLite format 3\0"
_LITTER_ENDS = (".pyc", ".swp", ".swo", ".swx", ".orig", "~", "#", *_LOGS_AND_DATABASES)


def is_litter(name: str) -> bool:
    """Whether a name in a folder says nothing of the project: a run or a tool left it."""
    return name in _LITTER or name.endswith(_LITTER_ENDS) or name.startswith(_LITTER_BEGINS)


def is_log_or_database(name: str) -> bool:
    """Whether a file's name is that of a log or of a database, which are never inputs."""
    return name.endswith(_LOGS_AND_DATABASES)


def content_digest(content: bytes) -> str:
    """The SHA-256 of a file's content; line endings of text don't count."""
    if b"\r\n" in content and b"\0" not in content:
        content = content.replace(b"\r\n", b"\n")
    return hashlib.sha256(content).hexdigest()


def text_digest(text: str) -> str:
    """The SHA-256 of a text; no two texts' are the same."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


class Facts:
    """The content of one Python file that counts for the key, by reading it.

    ``imports`` are pairs of a dotted module and the names taken from it, relative ones with
    leading dots. ``names`` are string constants that could be a file's name. ``revision`` has the
    values of a revision script's fields, ``error`` is a syntax error.
    """

    __slots__ = ("error", "imports", "names", "revision")

    def __init__(
        self,
        imports: list[tuple[str, list[str]]],
        names: list[str],
        revision: dict[str, Any] | None,
        error: str | None,
    ):
        self.imports = imports
        self.names = names
        self.revision = revision
        self.error = error


class Files:
    """The project's files during one computation of a key: each is read, and parsed, once.

    ``cache`` remembers what was parsed by the content's digest, so that a warm run parses
    nothing; times and inodes are never trusted. It may be missing, stale or unwritable.
    """

    def __init__(self, root: Path, search_path: Sequence[Path], cache: Path | None = None):
        self.root = str(root)
        self.search_path = tuple(map(str, search_path))
        self._cache = cache
        self._digests: dict[str, str] = {}
        self._databases: set[str] = set()
        self._facts: dict[str, Facts] = {}
        self._listings: dict[str, frozenset[str]] = {}
        self._direct: dict[str, frozenset[str]] = {}
        self._modules: dict[str, list[str]] = {}

    def digest(self, path: str) -> str:
        """The digest of a file's content; of a missing file, a word that says so."""
        if path not in self._digests:
            self._read(path)
        return self._digests[path]

    def is_database(self, path: str) -> bool:
        """Whether a file is a SQLite database, whatever it is called."""
        self.digest(path)
        return path in self._databases

    def facts(self, path: str) -> Facts:
        """The facts that parsing the Python file tells."""
        if path not in self._facts:
            digest = self.digest(path)
            known = self._known.get(digest)
            if known is None:
                from alembic_snapshot.key.parsing import parse

                try:
                    known = parse(_content(path))
                except OSError as error:
                    known = [[], [], None, str(error.strerror)]
                if known[-1] is None:  # Another Python may read what this one can't.
                    self._known[digest] = known
                    self._new = True
            self._facts[path] = Facts(*known)
        return self._facts[path]

    def closure(self, path: str) -> frozenset[str]:
        """The file, the project's files that it imports, transitively, and those that they name."""
        closure: set[str] = set()
        waiting = [path]
        while waiting:
            current = waiting.pop()
            if current not in closure:
                closure.add(current)
                waiting.extend(self._neighbours(current) - closure)
        return frozenset(closure)

    def listing(self, folder: str) -> frozenset[str]:
        """The names in a folder; none if there is no such folder."""
        if folder not in self._listings:
            try:
                self._listings[folder] = frozenset(os.listdir(folder))
            except OSError:
                self._listings[folder] = frozenset()
        return self._listings[folder]

    def find_module(self, dotted: str) -> str | None:
        """The file of a module of the project, or None if it is not the project's."""
        paths = self._module_files(dotted)
        return paths[-1] if paths and _stands_for(paths[-1], dotted) else None

    def save(self) -> None:
        """Keep what was parsed for the next time; failing to is no error."""
        if not self._new or self._cache is None:
            return
        # Several projects may share a store; what is old goes when there is too much.
        kept = dict(list(self._known.items())[-_FACTS_KEPT:])
        name = f"{self._cache}.{os.getpid()}.{time.monotonic_ns()}"
        with contextlib.suppress(OSError):
            try:
                with open(name, "x", encoding="utf-8") as file:
                    # In one piece: only so is it C that writes it.
                    file.write(json.dumps({"version": _FACTS_VERSION, "facts": kept}))
                os.replace(name, self._cache)
            except OSError:
                os.unlink(name)
            self._new = False

    _new = False

    @functools.cached_property
    def _known(self) -> dict[str, Any]:
        # Whatever stands there, the worst is that every file is parsed again.
        with contextlib.suppress(OSError, ValueError, AttributeError, KeyError, TypeError):
            record = json.loads(_content(str(self._cache)) if self._cache else b"")
            if record.get("version") == _FACTS_VERSION:
                facts = record["facts"].items()
                return {name: k for name, k in facts if isinstance(k, list) and len(k) == 4}
        return {}

    def _read(self, path: str) -> None:
        try:
            content = _content(path)
            self._digests[path] = content_digest(content)
            if content.startswith(_DATABASE):
                self._databases.add(path)
        except OSError:
            self._digests[path] = "missing"

    def _neighbours(self, path: str) -> frozenset[str]:
        if path not in self._direct:
            neighbours: set[str] = set()
            if path.endswith(".py") and self.digest(path) != "missing":
                parsed = self.facts(path)
                neighbours.update(self._imported(path, parsed))
                neighbours.update(self._named(path, parsed))
            self._direct[path] = frozenset(neighbours)
        return self._direct[path]

    def _imported(self, path: str, parsed: Facts) -> Iterator[str]:
        for module, names in parsed.imports:
            if module.startswith("."):
                yield from self._relative(path, module, names)
                continue
            yield from self._module_files(module)
            for name in names:
                yield from self._module_files(f"{module}.{name}")

    def _relative(self, path: str, module: str, names: Sequence[str]) -> Iterator[str]:
        rest = module.lstrip(".")
        folder = path
        for _ in range(len(module) - len(rest)):
            folder = os.path.dirname(folder)
        for dotted in (rest, *(f"{rest}.{name}".strip(".") for name in names)):
            if dotted:
                yield from self._files_below(folder, dotted.split("."))

    def _module_files(self, dotted: str) -> list[str]:
        if dotted not in self._modules:
            parts = dotted.split(".")
            every = (self._files_below(folder, parts) for folder in self.search_path)
            self._modules[dotted] = next(filter(None, every), [])
        return self._modules[dotted]

    def _files_below(self, folder: str, parts: Sequence[str]) -> list[str]:
        """The files that importing the dotted name runs: each package's, then the module's."""
        files = []
        for index, part in enumerate(parts):
            listing = self.listing(folder)
            package = os.path.join(folder, part)
            if part in listing and "__init__.py" in self.listing(package):
                files.append(os.path.join(package, "__init__.py"))
            elif f"{part}.py" in listing:
                files.append(f"{package}.py")
                return files
            elif part not in listing or (index == len(parts) - 1):
                return files
            folder = package
        return files

    def _named(self, path: str, parsed: Facts) -> Iterator[str]:
        for name in parsed.names:
            for folder in (os.path.dirname(path), self.root):
                first = name.split("/", 1)[0]
                if first in self.listing(folder) or first in ("..", "."):
                    candidate = os.path.normpath(os.path.join(folder, name))
                    is_input = not candidate.endswith((".py", *_LOGS_AND_DATABASES))
                    if is_input and os.path.isfile(candidate):
                        yield candidate


def files_below(
    folder: str | Path, above: frozenset[tuple[int, int]] = frozenset()
) -> Iterator[str]:
    """Every file below a folder that could matter to a run, hidden and compiled ones left out.

    A link to a folder ``above`` it is not followed.
    """
    try:
        found = os.stat(folder)
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        return
    here = (found.st_dev, found.st_ino)
    if here in above:
        return
    for entry in entries:
        if entry.name.startswith(".") or entry.name in _IGNORED_FOLDERS:
            continue
        if _is_folder(entry):
            yield from files_below(entry.path, above | {here})
        elif not entry.name.endswith(_NO_INPUTS) and not _is_prose(entry.name):
            yield entry.path


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False  # A link that leads in circles is as good as one that leads nowhere.


def _content(path: str) -> bytes:
    """A file's content; of a pipe what is in it, without waiting for somebody to write to it.

    Raises:
        OSError: it can't be read, or is a device, which may have no end.
    """
    # There are hundreds of them, and a file object costs more than reading one.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if stat.S_ISCHR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "it is a device", path)
        content = part = os.read(descriptor, _PART)
        while len(part) == _PART:
            part = os.read(descriptor, _PART)
            content += part
        return content
    finally:
        os.close(descriptor)


def _stands_for(path: str, dotted: str) -> bool:
    module = path.removesuffix("/__init__.py").removesuffix(".py")
    return os.path.basename(module) == dotted.rpartition(".")[2]


def _is_prose(name: str) -> bool:
    return name.upper().startswith("README")
