"""The builder's record of what revisions and seeds read while they run."""

from __future__ import annotations

import builtins
import contextlib
import importlib
import os
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from alembic_snapshot.callsite import Callsites
from alembic_snapshot.key.inputs import Files
from alembic_snapshot.key.observed import folder_digest

_IMPORTERS = ("<frozen importlib", "<frozen zipimport")
_OWN_READERS = ("linecache.py", "tokenize.py")
_FILES, _FOLDERS, _ENVIRONMENT = "files", "folders", "environment"


class Watch:
    """Sees files opened, folders listed and environment variables read by project code.

    ``known`` are the inputs that reading the files already told, ``ignored`` the variables that
    don't count; ``NAME*`` stands for all that begin so. Of ``folders``, the first of which has
    ``env.py``, every file is an input already. What counts is read in :meth:`recording`, or by
    ``env.py``, or by a module that an input or a module used in :meth:`recording` stands for,
    whoever imported it first. ``written`` are the project's files that were opened to be written.
    """

    def __init__(
        self,
        root: Path,
        sites: Callsites,
        folders: Sequence[str],
        store: Path,
        *,
        known: Collection[str],
        ignored: Collection[str],
    ):
        self.root = root
        self.sites = sites
        self.folders = tuple(f"{folder}{os.sep}" for folder in folders)
        self.store = store
        self.known = frozenset(known)
        self.ignored = frozenset(name for name in ignored if not name.endswith("*"))
        self.written: set[str] = set()
        self._ignored_beginnings = tuple(name[:-1] for name in ignored if name.endswith("*"))
        self._active = False
        self._counted: set[tuple[str, str]] = set()
        self._read: dict[str, str] = {}
        self._by_reader: dict[str, set[tuple[str, str]]] = {}

    def install(self) -> None:
        """Watch from now on; it can't be undone."""
        sys.addaudithook(self._on_audit)
        self._watch_imports()
        watch = self

        class RecordingEnviron(type(os.environ)):  # type: ignore[misc]
            def __getitem__(self, key: str) -> str:
                watch._on_variable(key)
                return str(super().__getitem__(key))

        os.environ.__class__ = RecordingEnviron

    @contextlib.contextmanager
    def recording(self) -> Iterator[None]:
        """While revisions are loaded or run, or seeds; modules that they import count too."""
        before, self._active = self._active, True
        loaded = set(sys.modules)
        try:
            yield
        finally:
            self._active = before
            for name in set(sys.modules) - loaded:
                self.count(_attribute(sys.modules.get(name), "__file__"))

    def count(self, path: Any) -> None:
        """Note a file as read."""
        name = self._spelled(_FILES, path)
        if name:
            self._count(_FILES, name)

    def seen(self) -> dict[str, Any]:
        """What was seen so far: digests of files and listings, names of variables."""
        modules = self._closure()
        read = self._counted | {(_FILES, name) for name in modules}
        for reader, theirs in list(self._by_reader.items()):
            if reader in self.known or reader in modules:
                read |= theirs
        names = {kind: sorted(n for k, n in read if k == kind) for kind, _ in read}
        return {
            "files": {n: _digest(self.root / n) for n in names.get(_FILES, ())},
            "folders": {n: folder_digest(self.root / n) for n in names.get(_FOLDERS, ())},
            "environment": names.get(_ENVIRONMENT, []),
        }

    def changed(self) -> list[str]:
        """Files that are not any more what they were when they were read, for another's doing."""
        now = {name: _digest(self.root / name) for name in self._read.keys() - self.written}
        return sorted(name for name, digest in now.items() if digest != self._read[name])

    def _count(self, kind: str, name: str) -> None:
        if (kind, name) not in self._counted:
            self._counted.add((kind, name))
            if kind == _FILES and (self.root / name).is_file():
                self._read[name] = _digest(self.root / name)

    def _closure(self) -> set[str]:
        """The modules among what counts, with what they import."""
        modules = [
            name for kind, name in list(self._counted) if kind == _FILES and name[-3:] == ".py"
        ]
        files = Files(self.root, [Path(folder) for folder in self._search_path()])
        paths = {path for name in modules for path in files.closure(str(self.root / name))}
        found = (self._spelled(_FILES, path) for path in paths)
        return {name for name in found if name}

    def _search_path(self) -> Iterator[str]:
        """Where the project's modules were found, however they are installed."""
        yield from (folder for folder in sys.path if self.sites.is_ours(f"{folder}{os.sep}_"))
        for name, module in list(sys.modules.items()):
            if "." not in name:
                file = _attribute(module, "__file__")
                places = list(_attribute(module, "__path__") or ()) or ([file] if file else [])
                yield from (os.path.dirname(place) for place in places if self.sites.is_ours(place))

    def _watch_imports(self) -> None:
        """Note modules that were imported before, too, when they are asked for again."""
        import_module, import_ = importlib.import_module, builtins.__import__

        def by_name(name: str, package: str | None = None) -> Any:
            found = import_module(name, package)
            self._on_import(found.__name__, ())
            return found

        def by_statement(
            name: str,
            globals: Mapping[str, Any] | None = None,
            locals: Mapping[str, Any] | None = None,
            fromlist: Sequence[str] | None = (),
            level: int = 0,
        ) -> Any:
            found = import_(name, globals, locals, fromlist or (), level)
            if self._active:
                base = (globals or {}).get("__package__") or ""
                above = base.split(".")[: len(base.split(".")) - level + 1] if level else []
                self._on_import(".".join([*above, *filter(None, [name])]), fromlist or ())
            return found

        importlib.import_module = by_name
        builtins.__import__ = by_statement

    def _on_import(self, dotted: str, taken: Sequence[str]) -> None:
        if not self._active or not self.sites.is_ours(sys._getframe(2).f_code.co_filename):
            return
        parts = dotted.split(".")
        packages = [".".join(parts[:count]) for count in range(1, len(parts) + 1)]
        for name in (*packages, *(f"{dotted}.{item}" for item in taken)):
            self.count(_attribute(sys.modules.get(name), "__file__"))

    def _on_audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            if _reads(arguments[1], arguments[2]):
                self._on_read(_FILES, arguments[0])
            else:
                self.written.add(self._spelled(_FILES, arguments[0], known=True) or "")
        elif event in ("os.listdir", "os.scandir"):
            self._on_read(_FOLDERS, "." if arguments[0] is None else arguments[0])

    def _on_variable(self, name: str) -> None:
        if name not in self.ignored and not name.startswith(self._ignored_beginnings):
            self._on_read(_ENVIRONMENT, name)

    def _on_read(self, kind: str, what: Any) -> None:
        reader = self._reader(kind)
        name = (what if kind == _ENVIRONMENT else self._spelled(kind, what)) if reader else None
        if reader is None or name is None:
            return
        if self._active or reader.startswith(self.folders[0]):
            self._count(kind, name)
        else:
            spelled = self._spelled(_FILES, reader, known=True)
            self._by_reader.setdefault(spelled or reader, set()).add((kind, name))

    def _reader(self, kind: str) -> str | None:
        """The nearest project file that is running; none where Python reads a module itself."""
        frame = sys._getframe(3)
        importing = False
        while frame is not None:
            name = frame.f_code.co_filename
            if name.startswith(_IMPORTERS):
                importing = True
            elif name.endswith(_OWN_READERS):
                return None
            elif self.sites.is_ours(name):
                # A module that is run by its path is in no list of modules.
                return name if not importing or (self._active and kind == _FILES) else None
            frame = frame.f_back  # type: ignore[assignment]
        return None

    def _spelled(self, kind: str, path: Any, *, known: bool = False) -> str | None:
        """The path as manifests spell it; None if it does not count, for one that it is known."""
        if not isinstance(path, str | bytes | os.PathLike):
            return None
        absolute = self.sites.at_root(os.path.abspath(os.fsdecode(path)))
        name = os.path.relpath(absolute, self.root).replace(os.sep, "/")
        listed = f"{absolute}{os.sep}".startswith(self.folders)
        if listed and (kind == _FOLDERS or name.startswith("..")):
            return None  # Every file in there is an input already.
        if name.startswith(".git/") or "__pycache__" in name:
            return None
        if absolute.startswith(f"{self.store}{os.sep}") or not self.sites.is_ours(absolute):
            return None
        return name if known or name not in self.known else None


def _attribute(module: Any, name: str) -> Any:
    """What a module has of itself; some are not modules and import things when they are asked."""
    with contextlib.suppress(Exception):
        return getattr(module, name, None)
    return None


def _digest(path: Path) -> str:
    return Files(path.parent, ()).digest(str(path))


def _reads(mode: str | None, flags: int) -> bool:
    if mode is None:
        return flags & (os.O_WRONLY | os.O_RDWR) == 0
    return "r" in mode and "+" not in mode
