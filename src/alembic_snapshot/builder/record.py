"""What was read while the builder ran, and for which states of the database each read counts."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from alembic_snapshot.builder.app_context import lead_to
from alembic_snapshot.builder.attributes import Attributes
from alembic_snapshot.key.inputs import Files
from alembic_snapshot.key.observed import Reading
from alembic_snapshot.project.spelling import beginning, is_librarys

FILES, FOLDERS, STATS, ENVIRONMENT = "files", "folders", "stats", "environment"
# The owner of what counts for every state.
EVERY_STATE = ""
_STDLIB = beginning(os.path.dirname(os.__file__))
_NOWHERE = Path()
# Compiled libraries that read no files by themselves. Others may, unheard.
_HARMLESS = frozenset(
    {"sqlalchemy", "greenlet", "markupsafe", "pydantic", "pydantic_core", "psycopg_binary"}
    | {"psycopg_c", "psycopg2", "asyncpg", "_cffi_backend", "cryptography", "bcrypt", "uvloop"}
    | {"multidict", "yarl", "frozenlist", "aiohttp", "httptools", "orjson", "msgpack", "ujson"}
    | {"zope", "charset_normalizer", "_yaml", "yaml", "regex", "rpds", "simplejson", "wrapt"}
    | {"argon2", "_argon2_cffi_bindings", "propcache", "websockets", "coverage", "psutil"}
)


class Origin(NamedTuple):
    """Why something was read. ``owner`` is the revision, its script, or the seed it was read for,
    empty for all, None while none ran. ``readers`` are the project's files that were running, or
    with an owner those of which another owner may have it as well; and ``is_own`` says that
    ``env.py`` itself read it.
    """

    owner: str | None
    readers: frozenset[str] = frozenset()
    is_own: bool = False

    @property
    def is_direct(self) -> bool:
        """Whether it was not a module of ``env.py`` that read it."""
        return self.owner is not None or self.is_own


class Record:
    """Keeps what was read, with the digest that it had then.

    ``spelled`` gives the name of a path of the project, None if it does not count.
    """

    def __init__(self, reading: Reading, spelled: Callable[[Any], str | None]):
        self.reading = reading
        self.written: set[str] = set()
        self.rewritten: set[str] = set()
        self.blind: set[str] = set()
        self.scripts: dict[str, str] = {}
        self.shares_models: set[str] = set()
        self.attributes = Attributes(spelled, reading.spelling.path)
        self._spelled = spelled
        self._origins: dict[tuple[str, str], set[Origin]] = {}
        self._as_read: dict[str, str] = {}
        self._compared: dict[str, bool] = {}
        # Of what the build changes: what it was before, which kinds of reads came before, and whose
        # code wrote it. Of a folder, its listing then.
        self._before: dict[str, str] = {}
        self._read_before: set[tuple[str, str]] = set()
        self._writers: dict[str, set[str]] = {}
        self._as_listed: dict[str, str] = {}
        # The packages that revisions and seeds have asked for, by owner, and those that keep the
        # application in a context variable.
        self.asked_for: dict[str, set[str]] = {}
        self.in_context: set[str] = set()
        # The modules into which others had put something when migrations began.
        self.filled: set[str] = set()
        # What begins no state: it may import everything, for the models.
        self.env_py: str | None = None
        # What code that was given to Alembic holds, in words.
        self.given_to_alembic: list[str] = []
        # What env.py gives as its models' metadata.
        self.metadata: list[Any] = []

    def note_change(
        self, name: str, *, is_read: bool, is_folder: bool, writers: Collection[str] = ()
    ) -> None:
        """Keep that a file is about to be changed: what is only written is no input.

        ``writers`` are the modules that are running.
        """
        self._writers.setdefault(name, set()).update(writers)
        path = self.reading.spelling.path
        folder = os.path.dirname(name) or "."
        if (FOLDERS, folder) in self._origins and folder not in self._as_listed:
            self._as_listed[folder] = self.reading.of_folder(path(folder))
        if name not in self._before:
            self._before[name] = self.reading.of_asking(path(name))
            kinds = (FILES, STATS)
            self._read_before |= {(k, name) for k in kinds if (k, name) in self._origins}
        if is_read or (FILES, name) in self._origins:
            self.rewritten.add(name)
        elif not is_folder:
            self.written.add(name)

    def note_drawn(self, name: str, owner: str) -> None:
        """Keep that a file was read which the build has written: it is as who wrote it made it."""
        for writer in self._writers.get(name, ()):
            self.note(FILES, writer, Origin(owner))

    def writers(self, name: str) -> set[str]:
        """The modules that wrote a file."""
        return self._writers.get(name, set())

    def note(self, kind: str, name: str, origin: Origin) -> None:
        """Keep that something was read, and what a file was then."""
        self._origins.setdefault((kind, name), set()).add(origin)
        if kind == FILES and name not in self._as_read:
            self._as_read[name] = self._digest(name)

    def seen(self, owners: set[str] | None, known: set[str]) -> dict[str, Any]:
        """The reads for a state, and those of ``env.py``'s modules on the way to it.

        ``owners`` are its revisions and seeds, None for whatever ran; ``known`` are the inputs of
        its own layers, which are not told again.
        """
        modules = self._modules(owners, known)
        modules |= self.attributes.reached(self._begun_by(owners) | modules)
        modules |= self._models(modules | known)
        sharing = {self._title(owner) for owner in self.shares_models}
        shared = bool(sharing) if owners is None else not owners.isdisjoint(sharing)
        shared = shared or self._reaches_context(owners)
        shared = shared or not self.filled.isdisjoint(modules | known)
        direct: set[tuple[str, str]] = {(FILES, name) for name in modules}
        through: set[tuple[str, str]] = set()
        for what, origins in list(self._origins.items()):
            if any(shared or self._counts(o, owners, modules, known) for o in origins):
                direct.add(what)
            elif any(origin.owner is None for origin in origins):
                through.add(what)
        told = {(k, n) for k, n in direct | through if k in (FILES, STATS) and n in known}
        return {
            "direct": self._digests(direct - told),
            "through_env": self._digests(through - direct - told),
            "blind": sorted(self.blind | _libraries()),
        }

    def read_by_env(self, known: set[str]) -> dict[str, Any]:
        """The reads of ``env.py`` and its modules, without the inputs that are ``known``."""
        read = {
            (kind, name)
            for (kind, name), origins in list(self._origins.items())
            if any(origin.owner is None for origin in origins)
            and not (kind in (FILES, STATS) and name in known)
        }
        return self._digests(read)

    def by_owner(self, names: set[str]) -> dict[str, dict[str, str]]:
        """The files that each revision read, of these names, with their digests."""
        files_of: dict[str, dict[str, str]] = {}
        for path, title in list(self.scripts.items()):
            script = {name for name in [self._spelled(path)] if name}
            for name in self.attributes.reached(script) & names:
                files_of.setdefault(title, {})[name] = self._as_read.get(name) or self._digest(name)
        for (kind, name), origins in list(self._origins.items()):
            for origin in origins if kind == FILES and name in names else ():
                title = self._title(origin.owner or EVERY_STATE)
                files_of.setdefault(title, {})[name] = self._as_read[name]
        return files_of

    def changed(self) -> list[str]:
        """Files that something else changed after they were read.

        Each is compared once. Later changes have no effect on this build: the next look at the
        manifest finds them.
        """
        direct = {
            name
            for (kind, name), origins in self._origins.items()
            if kind == FILES and any(origin.is_direct for origin in origins)
        }
        for name in direct & self._as_read.keys() - self._compared.keys() - self.rewritten:
            self._compared[name] = self._is_another(name)
        return sorted(name for name, is_another in self._compared.items() if is_another)

    def unlike_before(self) -> list[str]:
        """What the next build would find otherwise than this one did, by its doing: a line each."""
        lines = []
        for name in sorted({name for _, name in self._read_before}):
            origins = self._origins.get((FILES, name), set()) | self._origins.get(
                (STATS, name), set()
            )
            now = self.reading.of_asking(self.reading.spelling.path(name))
            if now == "a folder" or not any(origin.is_direct for origin in origins):
                continue
            if self._is_turned(name):
                turned = "left it there" if now != "missing" else "removed it"
                was = "not there" if now != "missing" else "there"
                lines.append(f"{name} was {was} when it was asked for, and the build {turned}")
            elif (FILES, name) in self._read_before and self._is_another(name):
                lines.append(f"{name} was read, and the build changed it")
        return lines

    def _is_turned(self, name: str) -> bool:
        """Whether a file is there by the build's doing, or is not."""
        now = self.reading.of_asking(self.reading.spelling.path(name))
        return (self._before[name] == "missing") != (now == "missing")

    def variables(self) -> set[str]:
        """The variables that revisions, seeds and ``env.py`` itself asked for."""
        return {
            name
            for (kind, name), origins in list(self._origins.items())
            if kind == ENVIRONMENT and any(origin.is_direct for origin in origins)
        }

    def _counts(
        self, origin: Origin, owners: set[str] | None, modules: set[str], known: set[str]
    ) -> bool:
        """Whether a read of this origin counts for a state that is made of these modules."""
        if origin.owner is not None and (owners is None or self._title(origin.owner) in owners):
            return True
        readers = origin.readers
        return origin.is_own or not (readers.isdisjoint(modules) and readers.isdisjoint(known))

    def _reaches_context(self, owners: set[str] | None) -> bool:
        """Whether what ran for a state has asked for what reaches the application in a context.

        Nobody hears what it takes from there: the modules of ``env.py`` may have put it in.
        """
        asked = (
            names
            for owner, names in list(self.asked_for.items())
            if owners is None or self._title(owner) in owners
        )
        return lead_to(set().union(*asked), self.in_context)

    def _title(self, owner: str) -> str:
        """The revision of a script, by its path. A script of no revision counts for every state."""
        return self.scripts.get(owner, EVERY_STATE) if os.path.isabs(owner) else owner

    def _digests(self, what: set[tuple[str, str]]) -> dict[str, Any]:
        digests: dict[str, Any] = {FILES: {}, FOLDERS: {}, STATS: {}, ENVIRONMENT: []}
        path, reading = self.reading.spelling.path, self.reading
        for kind, name in sorted(what):
            if kind == ENVIRONMENT:
                digests[kind].append(name)
            elif (kind, name) in self._read_before and self._is_turned(name):
                # The next build is not to find there what this one did not.
                was = self._as_read[name] if kind == FILES else self._before[name]
                digests[kind][name] = was
            elif name in self.written and (kind, name) not in self._read_before:
                continue
            elif kind == FOLDERS:
                digests[kind][name] = self._as_listed.get(name) or reading.of_folder(path(name))
            elif kind == STATS:
                if (FILES, name) not in what:
                    digests[kind][name] = reading.of_asking(path(name))
            elif name in self.rewritten:
                # Each build would find it changed by the one before: what that left is compared.
                digests[kind][name] = self._digest(name)
            else:
                digests[kind][name] = self._as_read.get(name) or self._digest(name)
        return digests

    def _modules(self, owners: set[str] | None, known: set[str]) -> set[str]:
        """The modules among what was read directly, with what they import."""
        modules = [
            name
            for (kind, name), origins in list(self._origins.items())
            if kind == FILES and name.endswith(".py") and name not in known
            if any(self._counts(origin, owners, set(), set()) for origin in origins)
        ]
        return self._closure(modules)

    def _begun_by(self, owners: set[str] | None) -> set[str]:
        """The modules that were run for a state: scripts, seeds, and what they asked for."""
        seeds = [owner.partition(":")[0] for owner in owners or () if ":" in owner]
        files = [attribute(sys.modules.get(module), "__file__") for module in seeds]
        return {name for name in map(self._spelled, files) if name} | {
            name
            for (kind, name), origins in list(self._origins.items())
            if kind == FILES and name.endswith(".py") and name != self.env_py
            if any(
                owners is None or self._title(o.owner) in owners
                for o in origins
                if o.owner is not None
            )
        }

    def _models(self, modules: set[str]) -> set[str]:
        """The modules in which the metadata's tables are, if one of these can reach the metadata.

        Whoever has imported a declarative base finds every model in its metadata.
        """
        homes = set()
        for module in list(sys.modules.values()) if self.metadata else ():
            name = self._spelled(attribute(module, "__file__"))
            if name and any(map(self._has_metadata, list(vars(module).values()))):
                homes.add(name)
        return set() if homes.isdisjoint(modules) else self._closure(homes)

    def _has_metadata(self, value: Any) -> bool:
        return any(
            metadata is value or metadata is attribute(value, "metadata")
            for metadata in self.metadata
        )

    def _closure(self, modules: Collection[str]) -> set[str]:
        """These modules, with what they import."""
        if not modules:
            return set()
        spelling = self.reading.spelling
        files = Files(Path(spelling.root), [Path(folder) for folder in self._search_path()])
        paths = {path for name in modules for path in files.closure(spelling.path(name))}
        return {name for name in map(self._spelled, paths) if name and name.endswith(".py")}

    def _search_path(self) -> Iterator[str]:
        """The folders of the project's modules, however these are installed."""
        for place in filter(None, sys.path):
            if self._spelled(os.path.join(place, "_")) is not None:
                yield place
        for name, module in list(sys.modules.items()):
            file = attribute(module, "__file__")
            inside = attribute(module, "__path__") or ([file] if file else [])
            for one in inside if "." not in name else ():
                if self._spelled(os.path.join(one, "_")) is not None:
                    yield os.path.dirname(one)

    def _is_another(self, name: str) -> bool:
        return self._digest(name) != self._as_read.get(name)

    def _digest(self, name: str) -> str:
        # As it is now: what was read before is not asked.
        return self.reading.of_file(self.reading.spelling.path(name), Files(_NOWHERE, ()))


def attribute(module: Any, name: str) -> Any:
    """An attribute of a module; None if it fails. Some are other objects, which import things."""
    with contextlib.suppress(Exception):
        return getattr(module, name, None)
    return None


def titled(owners: Collection[str] | None) -> set[str] | None:
    """The owners of a state, and the one that counts for every state."""
    return None if owners is None else {*owners, EVERY_STATE}


def _libraries() -> set[str]:
    """Compiled libraries that may read files unheard."""
    libraries: set[str] = set()
    for name, module in list(sys.modules.items()):
        file = attribute(module, "__file__")
        if isinstance(file, str) and file.endswith((".so", ".dylib", ".pyd")):
            is_pythons = file.startswith(_STDLIB) and not is_librarys(file)
            if not is_pythons and "__mypyc" not in name:
                libraries.add(name.partition(".")[0])
    return libraries - _HARMLESS
