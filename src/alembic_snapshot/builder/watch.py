"""Which reads of this process count, and for whom.

One rule instead of a list of ways: whatever is read below the project's folders counts. What is
left to decide is for which states of the database, and whether directly: what revisions and seeds
read is compared at every hit, and what ``env.py``'s own modules read (models, mostly) makes the
next run look whether ``env.py`` still hands the same over.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Collection, Iterator, Sequence
from types import CodeType
from typing import Any

from alembic_snapshot.builder.frames import Frames, asker, is_drivers
from alembic_snapshot.builder.protocol import DISK, PROCESS
from alembic_snapshot.builder.reads import Reads
from alembic_snapshot.builder.record import (
    ENVIRONMENT,
    EVERY_STATE,
    FILES,
    FOLDERS,
    STATS,
    Origin,
    Record,
    attribute,
    titled,
)
from alembic_snapshot.builder.registries import Registries
from alembic_snapshot.key.observed import ALL, Reading, fits, is_of_surroundings
from alembic_snapshot.project.callsite import Callsites
from alembic_snapshot.project.places import is_of_store
from alembic_snapshot.project.spelling import beginning

# What is one function to whoever reads it, and two frames to older versions of Python.
# Where systems have files that are none on any disk.
_VIRTUAL = ("/dev", "/proc", "/run", "/sys")
_COMPREHENSIONS = ("comp>", "genexpr>")


class Watch:
    """Hears of reads, and records those below the project's folders, and which variables.

    ``folders`` are Alembic's, the first of which has ``env.py``; ``settings`` the files of its
    configuration, whose values count by themselves; ``ignored`` the variables that never count;
    ``inputs`` the files that revisions and seeds import, as far as that is known.
    """

    def __init__(
        self,
        sites: Callsites,
        reading: Reading,
        folders: Sequence[str],
        settings: Collection[str],
        ignored: Sequence[str],
        inputs: Collection[str] = (),
    ):
        self.sites = sites
        self.frames = Frames(sites)
        self.reading = reading
        # As it is spelled, in the name of a module's file, and without links.
        spellings = [(one, reading.spelling.path(one), os.path.realpath(one)) for one in folders]
        self.folders = tuple(beginning(one) for each in spellings for one in each)
        self.settings = frozenset(settings)
        self.ignored = tuple(ignored)
        self.reads = Reads(self)
        self.record = Record(reading, self._spelled)
        self._registries = Registries(
            self._spelled, inputs, reading.spelling.path, folders[0], self.reads.heard
        )
        self._owner: str | None = None
        self._is_loading = False
        self._is_around = False
        self._has_run = False
        # What revisions and seeds have changed on the disk, and whether it had been there.
        self._on_disk: dict[str, bool] = {}
        # A frame by its number and code: to hold one would keep alive what the project has in it.
        self._scanning: tuple[int, CodeType] | None = None
        self._loaded: set[str] = set()
        self._begun: set[str] = set()
        self._real: dict[str, str] = {}
        self._spellings: dict[str, str | None] = {}
        self._below = sites.beginnings
        self._pythons = _below(reading.spelling.root)
        self.record.env_py = self._spelled(f"{self.folders[0]}env.py")

    @property
    def is_recording(self) -> bool:
        """Whether what is read now is read for a revision or a seed."""
        return self._owner is not None

    def install(self) -> None:
        """Watch from now on; it can't be undone."""
        self.reads.install()
        self._registries.listen()

    @contextlib.contextmanager
    def recording(self, owner: str = EVERY_STATE) -> Iterator[None]:
        """While a revision or a seed runs; modules that it imports count too."""
        before, self._owner = self._owner, owner
        self._has_run |= owner != EVERY_STATE
        count, last = len(sys.modules), next(reversed(sys.modules))
        try:
            yield
        finally:
            self._owner = before
            is_same = (len(sys.modules), next(reversed(sys.modules))) == (count, last)
            for name in () if is_same else list(sys.modules):
                file = attribute(sys.modules.get(name), "__file__")
                if name not in self._loaded and not str(file).endswith(".py"):
                    # Nobody hears of a compiled module that is loaded.
                    self.count(file, owner)
                self._loaded.add(name)

    @contextlib.contextmanager
    def loading(self) -> Iterator[None]:
        """While revision scripts are loaded: what is read is each one's own."""
        self._is_loading = True
        try:
            with self.recording():
                yield
        finally:
            self._is_loading = False
        if not self._has_run:
            with self.reads.unheard():
                self._registries.begin(anew=True)

    @contextlib.contextmanager
    def around_env(self) -> Iterator[None]:
        """While the application is made that ``env.py`` needs: it reads as the modules of that."""
        self._is_around = True
        try:
            yield
        finally:
            self._is_around = False

    def is_script(self, path: str, revision: str) -> None:
        """Note that a file turned out to be the script of a revision."""
        folder, name = os.path.split(os.path.abspath(path))
        if folder not in self._real:
            with self.reads.unheard():
                self._real[folder] = os.path.realpath(folder)
        for spelled in (path, os.path.join(folder, name), os.path.join(self._real[folder], name)):
            self.record.scripts[spelled] = revision

    def count(self, path: Any, owner: str | None = None) -> None:
        """Note a file as read, for the revision or the seed that is running."""
        name = self._spelled(path)
        if name:
            origin = Origin(self._owner_now(name) if owner is None else owner)
            with self.reads.unheard():
                self.record.note(FILES, name, origin)

    def asks_for(self, package: str) -> None:
        """Note a package that what is running asks for."""
        self.record.asked_for.setdefault(self._owner_now(), set()).add(package)

    def look_into_modules(self, *, filled: bool) -> None:
        """Note what modules have before the first revision or seed runs.

        If ``filled``, note for whom what others have put there counts, too.
        """
        with self.reads.unheard():
            if filled:
                self._look_for_others()
            self._registries.begin()

    def _look_for_others(self) -> None:
        """Note what has been put into modules, and into what every revision has without one."""
        found = self._registries.filled()
        self.record.filled |= found
        shares = PROCESS in found
        for files in self._registries.assigned().values():
            shares |= files is None
            for name in files or ():
                self.record.note(FILES, name, Origin(EVERY_STATE))
        for held in self._registries.held(self.frames.is_project):
            shares |= held.text is None
            self.record.given_to_alembic.append(str(held.text))
            for path in held.files:
                self.count(path, EVERY_STATE)
        if shares:
            self.record.shares_models.add(EVERY_STATE)

    def left_in_modules(self, reached: Collection[str]) -> set[str]:
        """Which of these modules have what revisions and seeds have left there, or the process, or
        the disk.
        """
        with self.reads.unheard():
            changed = {f"{DISK}{name}" for name in self._on_disk if self._is_left(name)}
            return changed | (self._registries.left() & {*reached, PROCESS})

    def share_models(self) -> None:
        """Note that models reached what is running in a way that can't be compared."""
        self.record.shares_models.add(self._owner_now())

    def seen(self, owners: Collection[str] | None, known: Collection[str]) -> dict[str, Any]:
        """As :meth:`Record.seen`, with what counts for every state."""
        with self.reads.unheard():
            return self.record.seen(titled(owners), set(known))

    def read_by_env(self, known: Collection[str]) -> dict[str, Any]:
        """As :meth:`Record.read_by_env`."""
        with self.reads.unheard():
            return self.record.read_by_env(set(known))

    def failed_imports(self) -> list[str]:
        """The project's modules whose import failed, and somebody caught the error."""
        files = (attribute(module, "__file__") for module in list(sys.modules.values()))
        there = {file for file in files if isinstance(file, str)}
        missing = self._begun - there
        if not missing:
            return []
        # A script is executed, and becomes no module; it may be a link to a file elsewhere.
        real = {os.path.realpath(file) for file in (*there, *self.record.scripts)}
        name = self.reading.spelling.name
        return sorted(name(path) for path in missing if os.path.realpath(path) not in real)

    def changed(self) -> list[str]:
        """As :meth:`Record.changed`."""
        with self.reads.unheard():
            return self.record.changed()

    def unlike_before(self) -> list[str]:
        """As :meth:`Record.unlike_before`."""
        with self.reads.unheard():
            return self.record.unlike_before()

    def on_file(self, path: Any, *, is_import: bool) -> None:
        """A file was opened to be read."""
        name = self._spelled(path)
        if name is None or self.frames.shows_a_line():
            return
        if name in self.record.written:
            if self._owner is not None:
                self.record.note_drawn(name, self._owner_now(name))
            return
        whole = self.reading.spelling.path(name)
        if is_import and not whole.startswith(self.folders):
            self._begun.add(whole)
        is_alembics = _absolute(path) in self.settings and self.frames.asks() == "alembic"
        if not is_alembics:
            self._read(FILES, name, is_import=is_import)

    def on_folder(self, path: Any) -> None:
        """A folder was listed."""
        name = self._spelled(path)
        if name is not None and self.frames.asks() == "project":
            # Models are found so, by whoever imports them.
            is_import = sys._getframe(3).f_code.co_filename.endswith("pkgutil.py")
            self._read(FOLDERS, name, is_import=is_import)

    def on_question(self, path: Any) -> None:
        """A file was asked for: whether it is there, or what it is."""
        name = self._spelled(path)
        if name is None or name == "." or self.frames.is_alembic_near():
            return
        if self.frames.makes_folders():
            return
        if self.frames.asks() == "project" and not self.frames.shows_a_line():
            self._read(STATS, name)

    def on_variable(self, name: str, *, is_scanned: bool = False) -> None:
        """A variable was asked for, or all of them.

        ``is_scanned`` says that its name is an object that a scan of all had given.
        """
        frame = asker()
        if frame is None or fits(name, self.ignored):
            return
        if name.startswith("PG") and is_drivers(frame):
            return
        file, around = frame.f_code.co_filename, frame
        if frame.f_code.co_name.endswith(_COMPREHENSIONS) and frame.f_back is not None:
            around = frame.f_back
        here = (id(around), around.f_code)
        if name == ALL:
            self._scanning = here
            is_told = not self.frames.is_pythons_own(frame)
        elif here == self._scanning and is_scanned:
            is_told = False  # One of all that are being read.
        else:
            is_told = not is_of_surroundings(name) or self.frames.is_project(file)
            is_told = is_told or (name == "HOME" and self.frames.asks() == "project")
        if is_told and not self.frames.is_builders(file):
            self._read(ENVIRONMENT, name)

    def on_change(self, path: Any, *, is_read: bool = False) -> None:
        """A file was opened to be written, or changed; ``is_read`` says that its content stays."""
        self._change(path, is_read=is_read)

    def on_move(self, path: Any, target: Any, *, stays: bool = False) -> None:
        """A file or a folder is given another name, under which it may be read.

        ``stays`` says that it keeps its own, too.
        """
        above, beside = _absolute(path), _absolute(target)
        if above is None or beside is None:
            return
        for one in (above, *_all_below(above)):
            other = f"{beside}{one.removeprefix(above)}"
            if not os.path.isdir(one):
                self.on_file(one, is_import=False)
            name = self._spelled(one)
            self._change(other, writers=self.record.writers(name) if name else ())
            if not stays:
                self._change(one)

    def _change(self, path: Any, *, is_read: bool = False, writers: Collection[str] = ()) -> None:
        name = self._spelled(path)
        if name is None:
            return
        whole = self.reading.spelling.path(name)
        is_folder = os.path.isdir(whole)
        if self._owner and not self._is_loading:
            self._on_disk.setdefault(name, os.path.lexists(whole))
        running, _ = self.frames.running()
        modules = (self._spelled(file) for file in running if not file.startswith(self.folders))
        made_by = {*writers, *filter(None, modules)}
        self.record.note_change(name, is_read=is_read, is_folder=is_folder, writers=made_by)

    def on_import(self, dotted: str, taken: Sequence[str], importer: str) -> None:
        """A module was asked for that may have been imported before."""
        is_asked = self.frames.is_project(importer) or self.frames.asks() == "project"
        if self.is_recording and is_asked:
            parts = dotted.split(".")
            self.asks_for(parts[0])
            packages = [".".join(parts[:count]) for count in range(1, len(parts) + 1)]
            for name in (*packages, *(f"{dotted}.{item}" for item in taken)):
                module = sys.modules.get(name)
                # An object in a module's place has no file, or says anything to each name.
                file = self._registries.files.get(name) or attribute(module, "__file__")
                self.count(file)
                if file is None and self._is_made_by_project(module):
                    self.share_models()

    def _is_made_by_project(self, module: Any) -> bool:
        """Whether a module has no file because the project's own code made it, of whatever."""
        maker = sys.modules.get(type(attribute(module, "__loader__")).__module__)
        file = attribute(maker, "__file__")
        return isinstance(file, str) and self.frames.is_project(file)

    def on_taken(self, dotted: str, taken: Sequence[str] | None, importer: Any) -> None:
        """A file imported a module; without ``taken`` a call did, on the project's behalf."""
        if taken is None and not self.frames.is_project(importer):
            running, _ = self.frames.running()
            importer = running[0] if running else importer
        self.record.attributes.note(importer, dotted, taken)

    def on_missing_module(self, dotted: str, places: Sequence[str]) -> None:
        """A missing module was asked for: it counts when it appears."""
        last = dotted.rpartition(".")[2]
        for place in places:
            for name in (last, f"{last}.py"):
                self.on_question(os.path.join(place, name))

    def on_operation(self, path: str, given: Any) -> None:
        """A file gave ``op`` a method of its own, or what that does."""
        self.count(path)
        self._registries.given.append(given)

    def on_unheard(self, what: str) -> None:
        """Something began of which nobody hears what it reads."""
        if self.is_recording:
            self.record.blind.add(what)

    def _is_left(self, name: str) -> bool:
        """Whether what was changed on the disk is there, or was: not a file that came and went."""
        path = self.reading.spelling.path(name)
        return not os.path.isdir(path) if self._on_disk[name] else os.path.lexists(path)

    def _read(self, kind: str, name: str, *, is_import: bool = False) -> None:
        running, importing = self.frames.running()
        if self._owner is not None:
            owner = self._owner_now(name, running)
            readers = self._readers(running, importing)
            self.record.note(kind, name, Origin(owner, readers))
            return
        is_own = not running or (running[0].startswith(self.folders[0]) and not is_import)
        is_own = is_own and not self._is_around
        beside = (path for path in running if not path.startswith(self.folders[0]))
        readers = frozenset(self._spelled(path) or path for path in beside)
        self.record.note(kind, name, Origin(None, readers, is_own))

    def _readers(self, running: Sequence[str], importing: Sequence[str]) -> frozenset[str]:
        """The files for whose other owners a read counts, too.

        While scripts are loaded one of a late revision may be the first that asks. What an early
        one is given afterwards, by the same functions, may be what they have kept of that.
        """
        paths = running if self._is_loading else importing
        return frozenset(self._spelled(path) or path for path in paths)

    def _owner_now(self, name: str = "", running: Sequence[str] | None = None) -> str:
        """The owner of a read: while scripts are loaded, the script that is being run."""
        if not self._is_loading:
            return self._owner or EVERY_STATE
        if running is None:
            running, _ = self.frames.running()
        script = running[-1] if running else self.reading.spelling.path(name)
        return script if script.startswith(self.folders) else EVERY_STATE

    def _spelled(self, path: Any) -> str | None:
        """The path as manifests spell it; None if it does not count."""
        if not isinstance(path, str) or not path.startswith(os.sep):
            return self._spelled_anew(path)
        # Most paths are asked for several times.
        if path not in self._spellings:
            self._spellings[path] = self._spelled_anew(path)
        return self._spellings[path]

    def _spelled_anew(self, path: Any) -> str | None:
        absolute = _absolute(path)
        if absolute is None or not beginning(absolute).startswith(self._below):
            return None
        absolute = self.sites.at_root(absolute)
        if absolute.startswith(self._pythons) or is_of_store(absolute, self.reading.store):
            return None
        inside = self.sites.inside(absolute)
        if "__pycache__" in inside or ".git" in inside[:-1]:
            return None
        is_root = absolute == self.reading.spelling.root
        if not is_root and not self.frames.is_project(absolute):
            return None
        return None if self.reading.ignores(absolute) else self.reading.spelling.name(absolute)


def _below(root: str) -> tuple[str, ...]:
    """Folders below the root that hold Python itself or are the system's, and not the project."""
    prefixes = {sys.prefix, sys.base_prefix, sys.exec_prefix, *_VIRTUAL}
    return tuple(beginning(p) for p in prefixes if p.startswith(beginning(root)))


def _all_below(path: str) -> Iterator[str]:
    """What is below a folder."""
    for folder, folders, files in os.walk(path):
        yield from (os.path.join(folder, name) for name in (*folders, *files))


def _absolute(path: Any) -> str | None:
    """The absolute path of what was opened, by its name or by its number."""
    try:
        if isinstance(path, int):
            return os.readlink(f"/proc/self/fd/{path}")
        if isinstance(path, str | bytes | os.PathLike):
            return os.path.abspath(os.fsdecode(path))
    except (OSError, ValueError):
        pass
    return None
