"""The builder's record of what revisions and seeds read while they run."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from alembic_snapshot.callsite import Callsites
from alembic_snapshot.key.inputs import content_digest
from alembic_snapshot.key.observed import folder_digest

_IMPORTERS = ("<frozen importlib", "<frozen zipimport")
_OWN_READERS = ("linecache.py", "tokenize.py")


class Watch:
    """Sees files opened, folders listed and environment variables read by project code.

    ``known`` are the inputs that reading the files already told, ``ignored`` the variables that
    don't count; ``NAME*`` stands for all that begin so. Nothing is recorded outside
    :meth:`recording`, but for what ``env.py`` does.
    """

    def __init__(
        self,
        root: Path,
        sites: Callsites,
        scripts: Path,
        store: Path,
        *,
        known: Collection[str],
        ignored: Collection[str],
    ):
        self.root = root
        self.sites = sites
        self.scripts = scripts
        self.store = store
        self.known = frozenset(known)
        self.ignored = frozenset(name for name in ignored if not name.endswith("*"))
        self._ignored_beginnings = tuple(name[:-1] for name in ignored if name.endswith("*"))
        self._active = False
        self._files: set[str] = set()
        self._folders: set[str] = set()
        self._environment: set[str] = set()

    def install(self) -> None:
        """Watch from now on; it can't be undone."""
        sys.addaudithook(self._on_audit)
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
                self._note(self._files, getattr(sys.modules.get(name), "__file__", None))

    def seen(self) -> dict[str, Any]:
        """What was seen so far: digests of files and listings, names of variables."""
        files = {}
        for name in sorted(self._files):
            with contextlib.suppress(OSError):
                files[name] = content_digest((self.root / name).read_bytes())
        folders = {name: folder_digest(self.root / name) for name in sorted(self._folders)}
        return {"files": files, "folders": folders, "environment": sorted(self._environment)}

    def _on_audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and _reads(arguments[1], arguments[2]) and self._counts():
            self._note(self._files, arguments[0])
        elif event in ("os.listdir", "os.scandir") and self._counts():
            self._note(self._folders, "." if arguments[0] is None else arguments[0])

    def _on_variable(self, name: str) -> None:
        if name in self.ignored or name.startswith(self._ignored_beginnings):
            return
        if name not in self._environment and self._counts():
            self._environment.add(name)

    def _counts(self) -> bool:
        """Whether the nearest project code is a revision's or a seed's, or is ``env.py`` itself."""
        frame = sys._getframe(2)
        while frame is not None:
            name = frame.f_code.co_filename
            if name.startswith(_IMPORTERS) or name.endswith(_OWN_READERS):
                return False
            if self.sites.is_ours(name):
                return self._active or name.startswith(f"{self.scripts}{os.sep}")
            frame = frame.f_back  # type: ignore[assignment]
        return False

    def _note(self, found: set[str], path: Any) -> None:
        if path is None or isinstance(path, int):
            return
        absolute = os.path.abspath(os.fsdecode(path))
        name = os.path.relpath(absolute, self.root).replace(os.sep, "/")
        if found is self._folders and absolute.startswith(str(self.scripts)):
            return  # Every file in there is an input already.
        own = name.startswith(".git/") or absolute.startswith(f"{self.store}{os.sep}")
        if self.sites.is_ours(absolute) and name not in self.known and not own:
            found.add(name)


def _reads(mode: str | None, flags: int) -> bool:
    if mode is None:
        return flags & (os.O_WRONLY | os.O_RDWR) == 0
    return "r" in mode and "+" not in mode
