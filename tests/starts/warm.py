"""Modules that were imported before, kept aside until somebody imports them.

A process that is forked from one with these has no module but those of a bare interpreter. Its
imports go the usual way: finders are asked, files are looked for along its own ``sys.path``. Only
where that leads to the file of a module that is kept is the file not run once more.
"""

from __future__ import annotations

import builtins
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    # What this module itself imports is not seen to be imported.
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any


class Warm:
    """The modules that are imported within :meth:`gathered`, and which of them import which.

    ``bare`` are the names of those that every interpreter has. ``variables`` are what the modules
    asked of the environment: where that is another, they might have become others.
    """

    def __init__(self, bare: Iterable[str]):
        self.bare = frozenset(bare)
        self.modules: dict[str, Any] = {}
        self.variables: set[str] = set()
        self._specs: dict[str, Any] = {}
        self._order: dict[str, int] = {}
        self._imports: dict[str, set[str]] = {}
        self._is_attribute: set[str] = set()
        self._rewriting: tuple[type, ...] = ()
        # What a module adds to those that are asked for modules.
        self._bare_finders = list(sys.meta_path)
        self._added: dict[str, list[Any]] = {}

    def gather(self, work: Callable[[], Any]) -> Any:
        """Do ``work``, which imports modules."""
        import_, environ, noted = builtins.__import__, os.environ, self.variables

        class Environ(type(environ)):
            def __getitem__(self, name: str) -> str:
                noted.add(name)
                return str(super().__getitem__(name))

        def by_statement(
            name: str, globals: Any = None, locals: Any = None, fromlist: Any = (), level: int = 0
        ) -> Any:
            before = len(sys.modules)
            found = import_(name, globals, locals, fromlist or (), level)
            package = (globals or {}).get("__package__") or ""
            above = package.split(".")[: len(package.split(".")) - level + 1] if level else []
            dotted = ".".join([*above, *filter(None, [name])])
            taken = [f"{dotted}.{item}" for item in fromlist or ()]
            self._note([dotted, *taken], before)
            return found

        def by_name(name: str, package: str | None = None) -> Any:
            before = len(sys.modules)
            found = import_module(name, package)
            self._note([found.__name__], before)
            return found

        original = type(environ)
        environ.__class__ = Environ
        builtins.__import__ = by_statement
        import importlib

        import_module, importlib.import_module = importlib.import_module, by_name
        try:
            return work()
        finally:
            builtins.__import__, importlib.import_module = import_, import_module
            environ.__class__ = original

    def put_aside(self) -> None:
        """Take all modules but the bare ones away, to be given back when they are imported."""
        for finder in [one for one in sys.meta_path if one not in self._bare_finders]:
            name = finder.__module__ if isinstance(finder, type) else type(finder).__module__
            self._added.setdefault(name, []).append(finder)
            sys.meta_path.remove(finder)
        for name in [name for name in sys.modules if name not in self.bare]:
            self.modules[name] = sys.modules.pop(name)
            self._specs[name] = _of(self.modules[name], "__spec__")
        self._order = {name: index for index, name in enumerate(self.modules)}
        for name, module in self.modules.items():
            above, _, last = name.rpartition(".")
            parent = self.modules.get(above) or sys.modules.get(above)
            if above and _of(parent, last) is module:
                self._is_attribute.add(name)
                delattr(parent, last)
            if above and getattr(self._specs[name], "name", None) != name:
                # It has no file, or is another module's: the one above has put it there.
                self._imports.setdefault(above, set()).add(name)
        for found in self._imports.values():
            found.intersection_update(self.modules)
        self._take_the_loaders_place()

    def _note(self, names: Iterable[str], before: int) -> None:
        """Note an import for the module that is being run, through whatever function it came."""
        frame = sys._getframe(2)
        while frame.f_back is not None and frame.f_code.co_name != "<module>":
            frame = frame.f_back
        found = self._imports.setdefault(frame.f_globals["__name__"], set())
        for name in names:
            parts = name.split(".")
            found.update(".".join(parts[:count]) for count in range(1, len(parts) + 1))
        # A module may have put others there beside itself.
        found.update(list(sys.modules)[before:])

    def _is_kept(self, spec: Any) -> bool:
        known = self._specs.get(spec.name)
        return known is not None and known.origin == spec.origin

    def _give(self, name: str) -> None:
        """Give a module back, with all that importing it imports."""
        self.modules[name].__spec__ = self._specs[name]
        wanted = self._closure(name)
        asked: list[tuple[str, Any]] = []
        for one in sorted(wanted, key=self._order.__getitem__):
            if one not in sys.modules:
                # Some have no finder: another module has put them there.
                is_found = getattr(self._specs[one], "name", "") == one
                spec = self._found(one) if is_found else None
                sys.modules[one] = self.modules[one]
                if spec is not None:
                    asked.append((one, spec))
                sys.meta_path.extend(self._added.get(one, ()))
        for one in wanted & self._is_attribute:
            above, _, last = one.rpartition(".")
            if above in sys.modules:
                setattr(sys.modules[above], last, self.modules[one])
        # Whoever hears of one finds all of it: a package comes before what is in it.
        for one, spec in asked:
            spec.loader.create_module(spec)
            spec.loader.exec_module(self.modules[one])

    def _found(self, name: str) -> Any:
        """What finders make of a module that have come before Python's own and want to hear."""
        for finder in sys.meta_path[: sys.meta_path.index(self._last_finder)]:
            # Pytest's only asks whether to rewrite a file, which is not run once more.
            if finder not in self._finders and not isinstance(finder, self._rewriting):
                above = self.modules.get(name.rpartition(".")[0])
                spec = finder.find_spec(name, getattr(above, "__path__", None))
                if spec is not None and self._is_kept(spec):
                    self.modules[name].__spec__ = spec
                    return spec
        return None

    def _closure(self, name: str) -> set[str]:
        """The module and all that it brings along; one that is there already brings nothing."""
        found: set[str] = set()
        ahead = [name]
        while ahead:
            one = ahead.pop()
            is_there = one != name and one in sys.modules
            if one not in found and not is_there:
                found.add(one)
                ahead += self._imports.get(one, ())
        return found

    def _take_the_loaders_place(self) -> None:
        import _frozen_importlib as bootstrap
        import _frozen_importlib_external as external

        self._last_finder = external.PathFinder
        self._finders = list(sys.meta_path)
        if rewrite := self.modules.get("_pytest.assertion.rewrite"):
            # What loads pytest's plugins, so that their assertions tell more.
            self._rewriting = (rewrite.AssertionRewritingHook,)
        for kind in (
            external.SourceFileLoader,
            external.ExtensionFileLoader,
            *self._rewriting,
        ):
            kind.create_module = self._creating(kind)
        for importer in (bootstrap.BuiltinImporter, bootstrap.FrozenImporter):
            self._take_the_importers_place(importer)

    def _creating(self, kind: Any) -> Callable[..., Any]:
        warm, create = self, kind.create_module

        class Kept(kind):
            def exec_module(self, module: Any) -> None:
                name = module.__spec__.name
                # Pytest has one loader for many, some of which are not kept.
                if module is warm.modules.get(name):
                    warm._give(name)
                else:
                    super().exec_module(module)

        def create_module(loader: Any, spec: Any) -> Any:
            if not warm._is_kept(spec):
                return create(loader, spec)
            # Whoever wants to hear that it is executed has written that into the loader.
            loader.__class__ = Kept
            return warm.modules[spec.name]

        return create_module

    def _take_the_importers_place(self, importer: Any) -> None:
        create, execute = importer.create_module, importer.exec_module

        def create_module(spec: Any) -> Any:
            return self.modules[spec.name] if self._is_kept(spec) else create(spec)

        def exec_module(module: Any) -> None:
            if module is self.modules.get(module.__spec__.name):
                self._give(module.__spec__.name)
            else:
                execute(module)

        importer.create_module = staticmethod(create_module)
        importer.exec_module = staticmethod(exec_module)


def _of(module: Any, name: str) -> Any:
    """What a module has of itself; some are none, and make what they are asked for."""
    return getattr(module, "__dict__", {}).get(name)


def shadowed(folders: Iterable[str], names: Iterable[str]) -> Iterator[str]:
    """What in these folders would be imported in the place of one of the modules."""
    known = {name.partition(".")[0] for name in names}
    for folder in folders:
        for one in os.listdir(folder) if os.path.isdir(folder) else ():
            name, _, ending = one.partition(".")
            path = os.path.join(folder, one)
            if name in known and (
                ending.endswith(("py", "pyc", "so"))
                or os.path.exists(os.path.join(path, "__init__.py"))
            ):
                yield path
