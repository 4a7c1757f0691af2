"""What modules of the project have in them: what others put there, and what migrations leave there.

Who imports a module finds what the application's other modules have put into it (a registry, a
setting), and what revisions before have left (a counter, a generator's next number). Nobody hears
of that. So the data of each module are noted when its own code has run, and compared when
migrations begin, and where a state of the database is kept.
"""

from __future__ import annotations

import builtins
import contextlib
import decimal
import locale
import logging
import os
import random
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import FunctionType, MethodType, ModuleType
from typing import Any

from alembic_snapshot.builder.alembics import AlembicsNames
from alembic_snapshot.builder.held import Held
from alembic_snapshot.builder.protocol import PROCESS
from alembic_snapshot.builder.reach import code_reached
from alembic_snapshot.builder.record import attribute
from alembic_snapshot.builder.values import Differences, Reader, TooMany

# Whose objects those are that Alembic itself puts into its modules while env.py runs.
_BY_ALEMBIC = ("alembic", "alembic_snapshot")


class Registries:
    """Hears of the project's modules; ``spelled`` gives a file's name, None if it is another's.

    ``inputs`` are the files that revisions and seeds import, as far as that is known; ``path``
    gives where a file of such a name is, and ``scripts`` is where Alembic's are.
    """

    def __init__(
        self,
        spelled: Callable[[Any], str | None],
        inputs: Collection[str] = (),
        path: Callable[[str], str] = str,
        scripts: str = "alembic",
        heard: Callable[[], contextlib.AbstractContextManager[None]] = contextlib.nullcontext,
    ):
        self._spelled = spelled
        self._inputs = frozenset(inputs)
        self._path = path
        self._scripts = scripts
        self._heard = heard
        self._names: set[str] = set()
        self._imported: dict[str, tuple[ModuleType, Any]] = {}
        # The files of the project's modules, which may have put other objects in their place.
        self.files: dict[str, str] = {}
        self._builtins: Any = None
        self._alembics = AlembicsNames()
        self._begun: dict[str, Any] | None = None
        self._process: Any = None
        self._levels: dict[str, int] = {}
        # What the project gave to op, beside what it assigned to names.
        self.given: list[Any] = []

    def listen(self) -> None:
        """Listen from now on; it can't be undone."""
        original = SourceFileLoader.exec_module

        def exec_module(loader: SourceFileLoader, module: ModuleType) -> None:
            name = self._spelled(attribute(module, "__file__"))
            if name is not None:
                self._names.add(module.__name__)
                self.files[module.__name__] = str(module.__file__)
            # Also where what imports it is unheard: others may have from it what it reads.
            with self._heard() if name is not None else contextlib.nullcontext():
                original(loader, module)
            self._alembics.note(module)
            if name is not None:
                self._imported[name] = (module, self._data(module))

        SourceFileLoader.exec_module = exec_module  # type: ignore[assignment,method-assign]
        self._builtins = _builtins()
        self._alembics.note_all()

    def assigned(self) -> Mapping[Any, set[str] | None]:
        """What code of the project has assigned to names of Alembic's own: the files of code, None
        for what is none.
        """
        found: dict[Any, set[str] | None] = {}
        for name, value in self._alembics.assigned().items():
            if callable(value) or isinstance(value, classmethod):
                reached = map(
                    self._spelled, filter(os.path.isabs, code_reached(value, self._scripts))
                )
                if files := {name for name in reached if name}:
                    found[(*name, id(value))] = files
            elif type(value).__module__.partition(".")[0] not in _BY_ALEMBIC:
                found[(*name, id(value))] = None
        return found

    def held(self, is_project: Callable[[str], bool]) -> Iterator[Held]:
        """What code holds that was given to Alembic, or assigned to its names, by whom it be.

        What a library defines, and has nothing of the project's, is not looked into.
        """
        for value in [*self.given, *self._alembics.assigned().values()]:
            value = value.__func__ if isinstance(value, staticmethod | classmethod) else value
            if not callable(value):
                continue
            files = code_reached(value, self._scripts)
            is_defined = isinstance(value, FunctionType | MethodType | type)
            if not is_defined or any(map(is_project, files)):
                yield Held(value, self._scripts, is_project)

    def filled(self) -> set[str]:
        """The files of the modules whose data are others than those that their own code left;
        ``PROCESS`` for what every module has.
        """
        imported = {name: data for name, (_, data) in self._imported.items()}
        found = self._other_than(imported, is_left=False)
        has_more = _differs(self._builtins, _builtins())
        return {*found, PROCESS} if has_more else found

    def begin(self, *, anew: bool = False) -> None:
        """Note what all have before the first revision or seed runs; later calls note nothing.

        ``anew`` notes it again: what scripts do when they are loaded, they do in every process.
        """
        if self._begun is None or anew:
            self._begun = {name: self._data(module) for name, (module, _) in self._there()}
            self._process, self._levels = self._of_process(), _levels()

    def left(self) -> set[str]:
        """The files of the modules whose data are others than when revisions began, or than when
        these were imported by one; ``PROCESS`` for what the process has beside.
        """
        imported = {name: data for name, (_, data) in self._imported.items()}
        found = self._other_than({**imported, **(self._begun or {})}, is_left=True)
        if self._begun is None:
            return found
        levels = _levels()
        is_same = all(levels.get(name, level) == level for name, level in self._levels.items())
        is_same = is_same and self._process == self._of_process()
        return found if is_same else {*found, PROCESS}

    def _of_process(self) -> Any:
        return _of_process(), _builtins(), self.assigned().keys()

    def _other_than(self, before: Mapping[str, Any], *, is_left: bool) -> set[str]:
        now = {name: self._data(module) for name, (module, _) in self._there()}

        def differing(names: Collection[str], *, has_subclasses: bool) -> set[str]:
            differs = Differences(is_left=is_left, has_subclasses=has_subclasses).between
            return {
                name for name in names if before[name] is None or differs(before[name], now[name])
            }

        found = differing(now, has_subclasses=False)
        below = differing(now.keys() - found, has_subclasses=True)
        return found | below if below and self._asks_for_subclasses() else found

    def _asks_for_subclasses(self) -> bool:
        """Whether code of the project asks for a class's subclasses, which every one has."""
        for name in {*self._inputs, *self._imported}:
            with contextlib.suppress(OSError):
                if (
                    name.endswith(".py")
                    and b"__subclasses__" in Path(self._path(name)).read_bytes()
                ):
                    return True
        return False

    def _there(self) -> list[tuple[str, tuple[ModuleType, Any]]]:
        """The modules that others can import: no script, which Alembic loads by itself."""
        modules = list(self._imported.items())
        return [one for one in modules if sys.modules.get(one[1][0].__name__) is one[1][0]]

    def _data(self, module: ModuleType) -> Any:
        """The data of a module, None if they are too many."""
        name = self._spelled(attribute(module, "__file__"))
        with contextlib.suppress(TooMany):
            return Reader(module.__name__, self._names, name in self._inputs).named(vars(module))
        return None


def _differs(before: Any, now: Any) -> bool:
    return Differences(is_left=True, has_subclasses=False).between(before, now)


def _of_process() -> Any:
    """What a process has beside its modules, as far as code of the project may ask for it."""
    sqlite = sys.modules.get("sqlite3")
    numbers = decimal.getcontext()
    return [
        dict(os.environ._data),  # type: ignore[attr-defined]
        os.getcwd(),
        list(sys.path),
        locale.setlocale(locale.LC_ALL),
        random.getstate(),
        # Not its flags: calculations set them.
        [getattr(numbers, name) for name in ("prec", "rounding", "Emin", "Emax", "capitals")],
        [numbers.clamp, dict(numbers.traps)],
        [dict(attribute(sqlite, name) or {}) for name in ("adapters", "converters")],
    ]


def _levels() -> dict[str, int]:
    """The levels of the loggers that there are."""
    loggers = {"": logging.root, **logging.root.manager.loggerDict}
    return {name: one.level for name, one in loggers.items() if isinstance(one, logging.Logger)}


def _builtins() -> Any:
    """The names that every module has."""
    return Reader("", (), deep=False).named(vars(builtins))
