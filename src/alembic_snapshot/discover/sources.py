"""A project's Python files: the module's name of each, and the names in it."""

from __future__ import annotations

import ast
import os
import re
import sys
from collections.abc import Iterator, Sequence
from importlib.machinery import PathFinder
from pathlib import Path

from alembic_snapshot.project.spelling import beginning

_NOT_THE_APPLICATION = frozenset({"node_modules", "site-packages", "build", "dist"})
_TESTS = re.compile(r"tests?(\.py)?|test_.*\.py|.*_tests?\.py|conftest\.py")
# Names of what is there for tests, wherever it stands: TestConfig, TestingSettings, test_engine.
_OF_TESTS = re.compile(r"(^|_)test(s|ing)?(_|$)|(^|_)TEST(S|ING)?(_|$)|Test(s|ing)?(?![a-z])")
_FROM = re.compile(
    r"^[ \t]*from[ \t]+(\w[\w.]*)[ \t]+import[ \t]+\(?\s*([\w, \t\n]*)", re.MULTILINE
)
_IMPORT = re.compile(r"^[ \t]*import[ \t]+(\w[\w., \t]*)", re.MULTILINE)
_MAX_SIZE = 2_000_000
Function = ast.FunctionDef | ast.AsyncFunctionDef


def is_of_tests(name: str) -> bool:
    """Whether a class, a function or an object is there for tests, by its name."""
    return _OF_TESTS.search(name) is not None


class Source:
    """One parsed file, with the meaning of its module-level names."""

    def __init__(self, path: Path, module: str, tree: ast.Module):
        self.path = path
        self.module = module
        self.tree = tree
        self.assigned: dict[str, list[ast.expr]] = {}
        self.functions: dict[str, Function] = {}
        self.classes: dict[str, ast.ClassDef] = {}
        self.methods: dict[Function, ast.ClassDef] = {}
        # The name here, and where it is from: a module, and a name in it if it is not the module.
        # ``modules`` are all that could be one.
        self.imports: dict[str, tuple[str, str | None]] = {}
        self.modules: set[str] = set()
        self.owners: dict[ast.AST, Function] = {}
        self._read(tree.body)
        self._own(tree, None)

    def dotted(self, node: ast.AST) -> str:
        """The dotted name of an expression such as ``sa.create_engine``, by its imports; or ""."""
        if isinstance(node, ast.Subscript):
            return self.dotted(node.value)
        if isinstance(node, ast.Attribute):
            inner = self.dotted(node.value)
            return f"{inner}.{node.attr}" if inner else ""
        if not isinstance(node, ast.Name):
            return ""
        module, name = self.imports.get(node.id, ("", node.id))
        return ".".join(filter(None, (module, name)))

    def of_the_application(self) -> Iterator[ast.AST]:
        """Every node but those of classes and functions that are there for tests."""
        waiting: list[ast.AST] = [self.tree]
        while waiting:
            node = waiting.pop(0)
            if isinstance(node, ast.ClassDef | Function) and is_of_tests(node.name):
                continue
            yield node
            waiting.extend(ast.iter_child_nodes(node))

    def is_for_tests(self, line: int) -> bool:
        """Whether a line is in a class or a function that is there for tests."""
        return any(
            isinstance(node, ast.ClassDef | Function)
            and is_of_tests(node.name)
            and node.lineno <= line <= (node.end_lineno or line)
            for node in ast.walk(self.tree)
        )

    def _read(self, body: Sequence[ast.stmt]) -> None:
        for node in body:
            if isinstance(node, ast.Assign):
                for target in node.targets:
                    self._note(target, node.value)
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                if node.value is not None:
                    self.assigned.setdefault(node.target.id, []).append(node.value)
            elif isinstance(node, Function):
                self.functions[node.name] = node
                self._note_globals(node)
            elif isinstance(node, ast.ClassDef):
                self.classes[node.name] = node
                methods = (child for child in node.body if isinstance(child, Function))
                self.methods |= dict.fromkeys(methods, node)
            else:
                if isinstance(node, ast.For) and isinstance(node.iter, ast.Tuple | ast.List):
                    for item in node.iter.elts:
                        self._note(node.target, item)
                for field in ("body", "orelse", "finalbody"):
                    self._read(getattr(node, field, []))
                for handler in getattr(node, "handlers", []):
                    self._read(handler.body)

    def _note(self, target: ast.expr, value: ast.expr) -> None:
        """Note what a name, or each of several, is given."""
        if isinstance(target, ast.Name):
            self.assigned.setdefault(target.id, []).append(value)
        elif isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
            for one, given in zip(target.elts, value.elts, strict=False):
                self._note(one, given)

    def _note_globals(self, function: Function) -> None:
        """Note what a function gives to names of its module."""
        inside = list(ast.walk(function))
        names = {name for node in inside if isinstance(node, ast.Global) for name in node.names}
        for node in inside if names else ():
            if isinstance(node, ast.Assign):
                for target in node.targets:
                    if isinstance(target, ast.Name) and target.id in names:
                        self._note(target, node.value)

    def _own(self, node: ast.AST, function: Function | None) -> None:
        for child in ast.iter_child_nodes(node):
            if function is not None:
                self.owners[child] = function
            if isinstance(child, ast.Import | ast.ImportFrom):
                self._note_import(child)
            elif isinstance(child, ast.NamedExpr) and function is None:
                self._note(child.target, child.value)
            self._own(child, child if isinstance(child, Function) else function)

    def _note_import(self, node: ast.Import | ast.ImportFrom) -> None:
        if isinstance(node, ast.Import):
            for alias in node.names:
                name = alias.name if alias.asname else alias.name.partition(".")[0]
                self.imports[alias.asname or name] = (name, None)
                self.modules.add(alias.name)
            return
        module = node.module or ""
        if node.level:
            parts = self.module.split(".")
            is_package = self.path.name == "__init__.py"
            above = parts[: len(parts) - node.level + is_package]
            module = ".".join([*above, *filter(None, [module])])
        for alias in node.names:
            self.imports[alias.asname or alias.name] = (module, alias.name)
            self.modules |= {module, f"{module}.{alias.name}"}


class Sources:
    """The Python files below a folder; each is parsed when it is first asked for.

    ``known`` are folders in which imports are found for certain, ``scripts`` those of Alembic.
    """

    def __init__(self, root: Path, known: Sequence[Path], scripts: Sequence[Path]):
        self.root = root
        self.known = tuple(dict.fromkeys(known))
        self.unread: dict[Path, str] = {}
        self._scripts = [str(folder) for folder in scripts]
        self._parsed: dict[Path, Source | None] = {}
        self._contents = {Path(path): _read(path) for path in _files(str(root))}
        contents = self._contents.values()
        self._mentioned = frozenset(name for content in contents for name in _imports(content))
        self._modules = {
            self.module_of(path): path for path in sorted(self._contents, reverse=True)
        }

    def of_the_application(self, *words: bytes) -> Iterator[Source]:
        """The files that contain one of the words, without tests and Alembic's scripts."""
        for path, content in sorted(self._contents.items()):
            inside = path.relative_to(self.root).parts
            is_script = str(path).startswith(tuple(map(beginning, self._scripts)))
            if is_script or any(_TESTS.fullmatch(part) for part in inside):
                continue
            source = self.read(path) if any(word in content for word in words) else None
            if source is not None:
                yield source

    def mentioning(self, word: bytes) -> Iterator[Source]:
        """The files that contain a word, Alembic's scripts among them, without tests."""
        for path, content in sorted(self._contents.items()):
            inside = path.relative_to(self.root).parts
            if word in content and not any(_TESTS.fullmatch(part) for part in inside):
                source = self.read(path)
                if source is not None:
                    yield source

    def read(self, path: Path) -> Source | None:
        """A parsed file; None if it can't be parsed, and then it is in ``unread``."""
        if path not in self._parsed:
            content = self._contents[path] if path in self._contents else _read(str(path))
            try:
                tree = ast.parse(content)
            except (SyntaxError, ValueError, RecursionError) as error:
                line = getattr(error, "lineno", None)
                self.unread[path] = f"line {line}: {getattr(error, 'msg', error)}"
                self._parsed[path] = None
            else:
                self._parsed[path] = Source(path, self.module_of(path), tree)
        return self._parsed[path]

    def find(self, module: str) -> Source | None:
        """The project's module of that name. For a package it is the ``__init__.py``."""
        path = self._modules.get(module)
        return self.read(path) if path is not None else None

    def reached_from(self, start: Source) -> list[Source]:
        """A file and what it imports of the project, transitively."""
        reached: dict[Path, Source] = {}
        waiting = [start]
        while waiting:
            source = waiting.pop()
            if source.path in reached:
                continue
            reached[source.path] = source
            for dotted in source.modules:
                parts = dotted.split(".")
                names = (".".join(parts[: end + 1]) for end in range(len(parts)))
                waiting.extend(filter(None, map(self.find, names)))
        return list(reached.values())

    def folder_of(self, module: str) -> Path | None:
        """The folder in which a module of the project is found."""
        path = self._modules.get(module)
        if path is None:
            below = [name for name in self._modules if name.startswith(f"{module}.")]
            return self.folder_of(min(below)) if below and module else None
        depth = len(module.split(".")) + (path.name == "__init__.py")
        return path.parents[depth - 1]

    def module_of(self, path: Path) -> str:
        """The name under which the project imports a file.

        A folder may be a package without ``__init__.py``. Then the longest name that somebody
        imports is the right one, or else the one from a folder in which imports are found.
        """
        if not path.is_relative_to(self.root):
            return path.stem
        parts = list(path.relative_to(self.root).with_suffix("").parts)
        parts = parts[:-1] if parts[-1] == "__init__" else parts
        folder, least = path.parent, 0 if path.name == "__init__.py" else 1
        while (folder / "__init__.py") in self._contents and folder != self.root:
            folder, least = folder.parent, least + 1
        least = max(least, 1)
        names = {depth: ".".join(parts[-depth:]) for depth in range(least, len(parts) + 1)}
        mentioned = [depth for depth, name in names.items() if self._is_mentioned(path, name)]
        for start in sorted(self.known, key=lambda known: len(known.parts), reverse=True):
            if path.is_relative_to(start):
                depth = len(parts) - len(start.relative_to(self.root).parts)
                if depth in names and (depth in mentioned or not mentioned):
                    return names[depth]
        return names.get(max(mentioned, default=least), ".".join(parts))

    def _is_mentioned(self, path: Path, name: str) -> bool:
        """Whether somebody imports that name, and means this file."""
        if name not in self._mentioned:
            return False
        if "." in name:
            return True
        if name in sys.stdlib_module_names:
            return False
        spec = PathFinder.find_spec(name)
        return spec is None or spec.origin == str(path)


def _files(folder: str) -> Iterator[str]:
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        return
    if any(entry.name == "pyvenv.cfg" for entry in entries):
        return
    for entry in entries:
        if entry.name.startswith((".", "__pycache__")) or entry.name in _NOT_THE_APPLICATION:
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _files(entry.path)
        elif entry.name.endswith(".py") and entry.is_file():
            yield entry.path


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(_MAX_SIZE)
    except OSError:
        return b""


def _imports(content: bytes) -> Iterator[str]:
    """The modules that a file's text seems to import; other words do no harm."""
    text = content.decode("utf-8", "replace")
    for module, names in _FROM.findall(text):
        yield module
        yield from (f"{module}.{name.split()[0]}" for name in names.split(",") if name.split())
    for names in _IMPORT.findall(text):
        yield from (name.split()[0] for name in names.split(",") if name.split())
