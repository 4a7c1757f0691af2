"""Which files a layer depends on: imports followed and file names found, by reading alone.

Nothing is imported or run. What only a run can tell (a file opened under a computed name) is seen
by the builder and kept in the manifest.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

_FACTS_VERSION = 2
_FACTS_KEPT = 10_000
_FILE_NAME = re.compile(r"[\w\-. /+@]{1,200}")
_IGNORED_FOLDERS = frozenset({"__pycache__", "node_modules", "site-packages"})


def content_digest(content: bytes) -> str:
    """The SHA-256 of a file's content; line endings of text don't count."""
    if b"\r\n" in content and b"\0" not in content:
        content = content.replace(b"\r\n", b"\n")
    return hashlib.sha256(content).hexdigest()


class Facts:
    """What reading one Python file tells.

    ``imports`` are pairs of a dotted module and the names taken from it, relative ones with
    leading dots. ``names`` are string constants that could be a file's name. ``revision`` has the
    literal values of the assignments that make a revision script, ``error`` is a syntax error.
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

    def to_record(self) -> list[Any]:
        return [self.imports, self.names, self.revision, self.error]


class Files:
    """The project's files during one computation of a key: each is read, and parsed, once.

    ``cache`` remembers what was parsed by the content's digest, so that a warm run parses
    nothing; times and inodes are never trusted. It may be missing, stale or unwritable.
    """

    def __init__(self, root: Path, search_path: Sequence[Path], cache: Path | None = None):
        self.root = root
        self.search_path = tuple(search_path)
        self._cache = cache
        self._digests: dict[Path, str] = {}
        self._facts: dict[Path, Facts] = {}
        self._listings: dict[Path, frozenset[str]] = {}
        self._direct: dict[Path, frozenset[Path]] = {}

    def digest(self, path: Path) -> str:
        """The digest of a file's content; of a missing file, a word that says so."""
        if path not in self._digests:
            self._read(path)
        return self._digests[path]

    def facts(self, path: Path) -> Facts:
        """What parsing the Python file tells."""
        if path not in self._facts:
            digest = self.digest(path)
            known = self._known.get(digest)
            if known is None:
                known = parse(path.read_bytes()).to_record()
                self._known[digest] = known
                self._new = True
            self._facts[path] = Facts(*known)
        return self._facts[path]

    def closure(self, path: Path) -> frozenset[Path]:
        """The file, the project's files that it imports, transitively, and those that they name."""
        found: set[Path] = set()
        waiting = [path]
        while waiting:
            current = waiting.pop()
            if current not in found:
                found.add(current)
                waiting.extend(self._neighbours(current) - found)
        return frozenset(found)

    def find_module(self, dotted: str) -> Path | None:
        """The file of a module of the project, or None if it is not the project's."""
        found = self._module_files(dotted)
        return found[-1] if found and _stands_for(found[-1], dotted) else None

    def save(self) -> None:
        """Keep what was parsed for the next time; failing to is no error."""
        if not self._new or self._cache is None or not self._cache.parent.is_dir():
            return
        # Several projects may share a store; what is old goes when there is too much.
        kept = dict(list(self._known.items())[-_FACTS_KEPT:])
        with contextlib.suppress(OSError):
            handle, name = tempfile.mkstemp(dir=self._cache.parent, prefix=".facts")
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump({"version": _FACTS_VERSION, "facts": kept}, file)
            os.replace(name, self._cache)
            self._new = False

    _new = False

    @functools.cached_property
    def _known(self) -> dict[str, Any]:
        with contextlib.suppress(OSError, ValueError, AttributeError):
            record = json.loads((self._cache or Path(os.devnull)).read_bytes())
            if record.get("version") == _FACTS_VERSION:
                return dict(record["facts"])
        return {}

    def _read(self, path: Path) -> None:
        try:
            with open(path, "rb", buffering=0) as file:
                self._digests[path] = content_digest(file.read())
        except OSError:
            self._digests[path] = "missing"

    def _neighbours(self, path: Path) -> frozenset[Path]:
        if path not in self._direct:
            found: set[Path] = set()
            if path.suffix == ".py" and self.digest(path) != "missing":
                facts = self.facts(path)
                found.update(self._imported(path, facts))
                found.update(self._named(path, facts))
            self._direct[path] = frozenset(found)
        return self._direct[path]

    def _imported(self, path: Path, facts: Facts) -> Iterator[Path]:
        for module, names in facts.imports:
            if module.startswith("."):
                yield from self._relative(path, module, names)
                continue
            yield from self._module_files(module)
            for name in names:
                yield from self._module_files(f"{module}.{name}")

    def _relative(self, path: Path, module: str, names: Sequence[str]) -> Iterator[Path]:
        rest = module.lstrip(".")
        folder = path.parents[len(module) - len(rest) - 1]
        for dotted in (rest, *(f"{rest}.{name}".strip(".") for name in names)):
            if dotted:
                yield from self._files_below(folder, dotted.split("."))

    def _module_files(self, dotted: str) -> list[Path]:
        parts = dotted.split(".")
        for folder in self.search_path:
            listing = self._listing(folder)
            if f"{parts[0]}.py" in listing or parts[0] in listing:
                found = self._files_below(folder, parts)
                if found:
                    return found
        return []

    def _files_below(self, folder: Path, parts: Sequence[str]) -> list[Path]:
        """The files that importing the dotted name runs: each package's, then the module's."""
        found = []
        for index, part in enumerate(parts):
            listing = self._listing(folder)
            package = folder / part
            if part in listing and "__init__.py" in self._listing(package):
                found.append(package / "__init__.py")
            elif f"{part}.py" in listing:
                found.append(folder / f"{part}.py")
                return found
            elif part not in listing or (index == len(parts) - 1):
                return found
            folder = package
        return found

    def _named(self, path: Path, facts: Facts) -> Iterator[Path]:
        for name in facts.names:
            for folder in (path.parent, self.root):
                first = name.split("/", 1)[0]
                if first in self._listing(folder) or first in ("..", "."):
                    candidate = Path(os.path.normpath(folder / name))
                    if candidate.suffix != ".py" and candidate.is_file():
                        yield candidate

    def _listing(self, folder: Path) -> frozenset[str]:
        if folder not in self._listings:
            try:
                self._listings[folder] = frozenset(os.listdir(folder))
            except OSError:
                self._listings[folder] = frozenset()
        return self._listings[folder]


def parse(source: bytes) -> Facts:
    """The facts that one Python file's source tells, without running it."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None)
        return Facts([], [], None, f"line {line}: {getattr(error, 'msg', error)}")
    imports: dict[str, set[str]] = {}
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                imports.setdefault(alias.name, set())
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            imports.setdefault(module, set()).update(alias.name for alias in node.names)
        elif isinstance(node, ast.Call):
            dynamic = _dynamic_import(node)
            if dynamic:
                imports.setdefault(dynamic, set())
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            names.update([node.value] if _may_be_a_file(node.value) else [])
    listed = [(module, sorted(taken)) for module, taken in sorted(imports.items())]
    return Facts(listed, sorted(names), _revision_fields(tree), None)


def files_below(folder: Path) -> Iterator[Path]:
    """Every file below a folder that could matter to a run, hidden and compiled ones left out."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        return
    for entry in entries:
        if entry.name.startswith(".") or entry.name in _IGNORED_FOLDERS:
            continue
        if entry.is_dir():
            yield from files_below(Path(entry.path))
        elif not entry.name.endswith((".pyc", ".mako", "~")) and not _is_prose(entry.name):
            yield Path(entry.path)


def _stands_for(path: Path, dotted: str) -> bool:
    stem = path.parent.name if path.name == "__init__.py" else path.stem
    return stem == dotted.rpartition(".")[2]


def _is_prose(name: str) -> bool:
    return name.upper().startswith("README")


def _may_be_a_file(text: str) -> bool:
    if not _FILE_NAME.fullmatch(text):
        return False
    return "." in text.rpartition("/")[2].strip(".") or "/" in text.strip("/")


def _dynamic_import(node: ast.Call) -> str | None:
    """The module in ``import_module("a.b")`` or ``__import__("a.b")``."""
    function = node.func
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    if name in ("import_module", "__import__") and node.args:
        first = node.args[0]
        if isinstance(first, ast.Constant) and isinstance(first.value, str):
            return first.value if not first.value.startswith(".") else None
    return None


_FIELDS = ("revision", "down_revision", "depends_on", "branch_labels")


def _revision_fields(tree: ast.Module) -> dict[str, Any] | None:
    """The literal values that make a file a revision; ``{"dynamic": True}`` if one is computed."""
    found: dict[str, Any] = {}
    for name, value in _bindings(tree):
        try:
            literal = ast.literal_eval(value) if value else None
        except ValueError:
            value = None
        if value is None:
            return {"dynamic": True}
        found[name] = sorted(literal) if isinstance(literal, set) else literal
    return found if "revision" in found else None


def _bindings(tree: ast.Module) -> Iterator[tuple[str, ast.expr | None]]:
    """What a module binds a revision's fields to; None where it is not a plain assignment."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        pairs: list[tuple[ast.AST, ast.expr | None]] = [(node, None)]
        if isinstance(node, ast.Assign):
            pairs = [pair for target in node.targets for pair in _unpacked(target, node.value)]
        elif isinstance(node, ast.AnnAssign):
            pairs = [(node.target, node.value)] if node.value else []
        for target, value in pairs:
            for name in _bound(target):
                yield name, value if isinstance(target, ast.Name) else None


def _unpacked(target: ast.expr, value: ast.expr) -> list[tuple[ast.AST, ast.expr | None]]:
    """``a, b = 1, 2`` as two assignments."""
    sides = (target, value)
    if all(isinstance(side, ast.Tuple | ast.List) for side in sides):
        left, right = (side.elts for side in sides)  # type: ignore[attr-defined]
        if len(left) == len(right) and not any(isinstance(e, ast.Starred) for e in (*left, *right)):
            return [pair for both in zip(left, right, strict=True) for pair in _unpacked(*both)]
    return [(target, value)]


def _bound(node: ast.AST) -> Iterator[str]:
    """The fields of a revision that a statement or a target binds."""
    for part in ast.walk(node):
        name = None
        if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store):
            name = part.id
        elif isinstance(part, ast.alias):
            name = part.asname or part.name
        if name in _FIELDS:
            yield name
