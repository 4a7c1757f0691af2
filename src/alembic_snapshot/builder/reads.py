"""Every read of this process, heard: files, folders, questions about files, variables.

Python's audit events (PEP 578) tell of what is opened and listed, from whichever thread and by
whichever library. Nothing tells of ``os.stat`` and of variables: those are replaced.
"""

from __future__ import annotations

import _posixsubprocess
import builtins
import contextlib
import functools
import importlib
import importlib.util
import os
import sys
import threading
import zipimport
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from alembic_snapshot.key.observed import ALL

_LISTED = frozenset({"os.listdir", "os.scandir"})
# They fail where something is there, or nothing: whoever calls them has asked for that.
_CHANGED = frozenset({"os.remove", "os.mkdir", "os.rmdir", "os.truncate"})
_MOVED = frozenset({"os.rename", "os.link", "os.symlink"})
# What a process that the project starts reads, or a library loaded past Python, nobody hears of.
_UNHEARD = frozenset(
    {"subprocess.Popen", "os.system", "os.posix_spawn", "os.fork", "os.forkpty", "ctypes.dlopen"}
    # Another interpreter has hooks of its own.
    | {"cpython.PyInterpreterState_New"}
)
_HEARD = frozenset({"open", *_LISTED, *_CHANGED, *_MOVED, *_UNHEARD})
_ASKED = ("stat", "lstat", "access", "readlink")


class Listener(Protocol):
    """Is told of each read. ``is_import`` says that Python reads a module to run it.

    Of imports of what is imported already it is told only while it is ``recording``, but of what
    each took always: names from a module, or, with None, the module that a call returned.
    """

    @property
    def is_recording(self) -> bool: ...

    def on_file(self, path: Any, *, is_import: bool) -> None: ...
    def on_folder(self, path: Any) -> None: ...
    def on_question(self, path: Any) -> None: ...
    def on_variable(self, name: str, *, is_scanned: bool = False) -> None: ...
    def on_change(self, path: Any, *, is_read: bool = False) -> None: ...
    def on_move(self, path: Any, target: Any, *, stays: bool = False) -> None: ...
    def on_import(self, dotted: str, taken: Sequence[str], importer: str) -> None: ...
    def on_taken(self, dotted: str, taken: Sequence[str] | None, importer: Any) -> None: ...
    def on_missing_module(self, dotted: str, places: Sequence[str]) -> None: ...
    def on_unheard(self, what: str) -> None: ...


class Reads:
    """Tells a listener of each read, but for those that are made in :meth:`unheard`."""

    def __init__(self, listener: Listener):
        self._listener = listener
        self._own = threading.local()

    def install(self) -> None:
        """Hear everything from now on; it can't be undone."""
        self._watch_variables()
        self._watch_questions()
        self._watch_folders_that_are_open()
        self._watch_imports()
        self._watch_processes()
        sys.addaudithook(self._on_audit)

    @contextlib.contextmanager
    def unheard(self) -> Iterator[None]:
        """While this thread reads for the builder itself."""
        before = self._is_own
        self._own.value = True
        try:
            yield
        finally:
            self._own.value = before

    @contextlib.contextmanager
    def heard(self) -> Iterator[None]:
        """While the project's code runs, for whatever it be: as without :meth:`unheard`."""
        before = self._is_own
        self._own.value = False
        try:
            yield
        finally:
            self._own.value = before

    @property
    def _is_own(self) -> bool:
        return getattr(self._own, "value", False)

    def _on_audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        # Nearly all events are others, a hundred thousand of them in a build.
        if event not in _HEARD or self._is_own:
            return
        if event == "open":
            self._opened(*arguments)
        elif event in _LISTED:
            if not _is_import(sys._getframe(1)):
                self._tell(self._listener.on_folder, arguments[0] or ".")
        elif event in _CHANGED:
            self._changed(event, *arguments)
        elif event in _MOVED:
            self._moved(event, *arguments)
        else:
            self._tell(self._listener.on_unheard, event)

    def _changed(self, event: str, path: Any, *numbers: Any) -> None:
        is_truncated = event == "os.truncate"
        whole = path if is_truncated else _inside(_folder(numbers[-1]), path)
        self._tell(self._listener.on_question, whole)
        keeps = functools.partial(self._listener.on_change, is_read=is_truncated)
        self._tell(keeps, whole)

    def _moved(self, event: str, path: Any, target: Any, *folders: int) -> None:
        to = _inside(_folder(folders[-1]), target)
        if event == "os.symlink":
            path = os.path.join(os.path.dirname(os.fsdecode(to)), os.fsdecode(path))
        else:
            path = _inside(_folder(folders[0]), path)
        if event != "os.rename":
            self._tell(self._listener.on_question, to)
        stays = event != "os.rename"
        self._tell(functools.partial(self._listener.on_move, stays=stays), path, to)

    def _opened(self, path: Any, _mode: Any, flags: int) -> None:
        access = flags & (os.O_RDONLY | os.O_WRONLY | os.O_RDWR)
        reads = access == os.O_RDONLY or (access == os.O_RDWR and not flags & os.O_TRUNC)
        if reads:
            is_import = str(path).endswith(".py") and _is_import(sys._getframe(2))
            self._tell(functools.partial(self._listener.on_file, is_import=is_import), path)
        if access != os.O_RDONLY:
            if flags & os.O_EXCL:
                self._tell(self._listener.on_question, path)
            # What is appended to keeps what was in it.
            keeps = not flags & os.O_TRUNC
            self._tell(functools.partial(self._listener.on_change, is_read=keeps), path)

    def _tell(self, listener: Callable[..., None], *what: Any) -> None:
        # As unheard(), without what a generator costs at each of thousands of calls.
        self._own.value = True
        try:
            listener(*what)
        finally:
            self._own.value = False

    def _watch_variables(self) -> None:
        reads = self

        # What is asked for by the very object is one of those that somebody read.
        scanned: dict[Any, Any] = {}

        def told(name: str, *, is_scanned: bool = False) -> None:
            if not reads._is_own:
                hear = functools.partial(reads._listener.on_variable, is_scanned=is_scanned)
                reads._tell(hear, name)

        def asked(key: Any) -> None:
            is_name = isinstance(key, str | bytes)
            told(
                os.fsdecode(key) if is_name else str(key),
                is_scanned=is_name and scanned.get(key) is key,
            )

        class RecordingEnviron(type(os.environ)):  # type: ignore[misc]
            def __getitem__(self, key: Any) -> Any:
                asked(key)
                return super().__getitem__(key)

            def __delitem__(self, key: Any) -> None:
                # It fails if there is none.
                asked(key)
                super().__delitem__(key)

            def __iter__(self) -> Iterator[Any]:
                told(ALL)
                keys = super().__iter__()
                return iter([scanned.setdefault(key, key) for key in keys])

            def __len__(self) -> int:
                told(ALL)
                return int(super().__len__())

            def __repr__(self) -> str:
                told(ALL)
                return str(super().__repr__())

        os.environ.__class__ = RecordingEnviron
        os.environb.__class__ = RecordingEnviron

    def _watch_questions(self) -> None:
        able = (os.supports_dir_fd, os.supports_effective_ids, os.supports_fd)
        for name in _ASKED:
            original = getattr(os, name)
            asked = self._asking(original)
            for functions in (*able, os.supports_follow_symlinks):
                if original in functions:
                    functions.add(asked)
            setattr(os, name, asked)

    def _asking(self, original: Callable[..., Any]) -> Callable[..., Any]:
        listener = self._listener.on_question

        @functools.wraps(original)
        def asked(path: Any, *arguments: Any, **options: Any) -> Any:
            if not self._is_own:
                self._tell(listener, _inside(options.get("dir_fd"), path))
            return original(path, *arguments, **options)

        return asked

    def _watch_folders_that_are_open(self) -> None:
        """Tell of files opened below a folder's descriptor: the audit event has only the name."""
        original = os.open

        @functools.wraps(original)
        def opened(path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
            if dir_fd is not None and not self._is_own:
                self._opened(_inside(dir_fd, path), None, flags)
            return original(path, flags, mode, dir_fd=dir_fd)

        os.supports_dir_fd.add(opened)
        os.open = opened

    def _watch_processes(self) -> None:
        """Tell of each process that is started, also past ``subprocess``: no event tells of it."""
        original = _posixsubprocess.fork_exec

        @functools.wraps(original)
        def started(*arguments: Any) -> int:
            if not self._is_own:
                self._tell(self._listener.on_unheard, "fork_exec")
            return original(*arguments)

        _posixsubprocess.fork_exec = started

    def _on_place(self, place: str) -> Any:
        """A place was asked for modules, which may not be there."""
        if not self._is_own:
            self._tell(self._listener.on_question, place)
        raise ImportError("somebody else knows")

    def _watch_imports(self) -> None:
        """Tell of imports of modules that were imported before, too."""
        import_module, import_ = importlib.import_module, builtins.__import__

        def by_name(name: str, package: str | None = None) -> Any:
            module = import_module(name, package)
            if not self._is_own:
                importer = sys._getframe(1).f_code.co_filename
                # A module may have put any object in its place.
                dotted = importlib.util.resolve_name(name, package)
                self._tell(self._listener.on_taken, dotted, None, importer)
                if self._listener.is_recording:
                    self._tell(self._listener.on_import, dotted, (), importer)
            return module

        def by_statement(
            name: str,
            globals: Mapping[str, Any] | None = None,
            locals: Mapping[str, Any] | None = None,
            fromlist: Sequence[str] | None = (),
            level: int = 0,
        ) -> Any:
            module = import_(name, globals, locals, fromlist, level)
            if not self._is_own:
                base = (globals or {}).get("__package__") or ""
                above = base.split(".")[: len(base.split(".")) - level + 1] if level else []
                dotted = ".".join([*above, *filter(None, [name])])
                taken = fromlist or ()
                # A look at a frame is an audit event of its own.
                if globals:
                    self._tell(self._listener.on_taken, dotted, taken, globals.get("__file__"))
                else:
                    caller = sys._getframe(1).f_code.co_filename
                    returned = dotted if taken else dotted.partition(".")[0]
                    self._tell(self._listener.on_taken, returned, None, caller)
                if self._listener.is_recording:
                    importer = sys._getframe(1).f_code.co_filename
                    self._tell(self._listener.on_import, dotted, taken, importer)
            return module

        sys.meta_path.append(_NotFound(self))
        sys.path_hooks.insert(0, self._on_place)
        original_init = zipimport.zipimporter.__init__

        def opened(archive: zipimport.zipimporter, path: str) -> None:
            if not self._is_own:
                self._tell(self._listener.on_question, path)
            original_init(archive, path)

        zipimport.zipimporter.__init__ = opened  # type: ignore[method-assign,assignment]
        importlib.import_module = by_name
        builtins.__import__ = by_statement


class _NotFound:
    """The last of the finders: it is asked for the modules that none of the others found."""

    def __init__(self, reads: Reads):
        self._reads = reads

    def find_spec(self, name: str, path: Sequence[str] | None = None, _target: Any = None) -> None:
        """Tell where it would have been."""
        reads = self._reads
        if not reads._is_own:
            places = sys.path if path is None else path
            reads._tell(reads._listener.on_missing_module, name, list(places))


def _folder(number: int) -> int | None:
    """An open folder's number, as events have it; None for the current one."""
    return None if number == -1 else number


def _inside(folder: int | None, path: Any) -> Any:
    """The path below an open folder."""
    try:
        above = os.readlink(f"/proc/self/fd/{folder}") if folder is not None else ""
        return os.path.join(above, os.fsdecode(path))
    except (OSError, TypeError):
        return path


def _is_import(frame: Any) -> bool:
    """Whether it is Python's import system that runs in a frame."""
    name: str = frame.f_code.co_filename
    return name.startswith("<frozen importlib")
