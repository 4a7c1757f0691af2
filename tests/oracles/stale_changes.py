"""Changes to a world: another word somewhere, a revision on top, and what can't matter."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .stale import SURROUNDINGS, Probe, World

_COLUMN = "    name = sa.Column(sa.Text)\n"
_LOGGING = "[formatter_plain]\nformat = %(message)s\n"


@dataclass(frozen=True)
class Change:
    """What is done to a world; ``matters`` says whether a database may be another after it.

    ``avoids`` has what a world must not read if the change can't matter to it: ``"variables"``,
    or a file's name.
    """

    name: str
    do: Callable[[World], None]
    matters: bool = False
    avoids: Sequence[str] = ()

    def __str__(self) -> str:
        return self.name

    def fits(self, world: World) -> bool:
        """Whether the world is one that the change is for."""
        return all(probe.source.scans not in self.avoids for probe in world.probes)


def another_word(probe: Probe, word: str | None) -> Change:
    """A source says another word from now on, or nothing any more."""

    def do(world: World) -> None:
        world.words[probe.number] = word

    return Change(f"p{probe.number} says {word}", do, matters=True)


def _revision_on_top(world: World) -> None:
    world.on_top += 1


ON_TOP = Change("a revision on top", _revision_on_top, matters=True)


def _append(path: str, text: str) -> Callable[[World], None]:
    def do(world: World) -> None:
        world.extra[path] = world.extra.get(path, SURROUNDINGS.get(path, "")) + text

    return do


def _variable(name: str, value: str | None) -> Callable[[World], None]:
    def do(world: World) -> None:
        world.variables[name] = value

    return do


def _key(name: str, value: str) -> Callable[[World], None]:
    def do(world: World) -> None:
        world.keys[name] = value

    return do


def _finder_was_there(world: World) -> None:
    for probe in world.probes:
        world.extra[probe.fill("$place/.DS_Store")] = "Finder was here\n"
    world.extra[".DS_Store"] = "Finder was here\n"


def _other_line_ends(world: World) -> None:
    world.line_ends = "\r\n" if world.line_ends == "\n" else "\n"


def _other_temporary_folder(world: World) -> None:
    folder = world.folder / f"tmp{len(world.variables)}"
    folder.mkdir(exist_ok=True)
    world.variables["TMPDIR"] = str(folder)


_MACHINE = {
    "TERM": "dumb",
    "COLUMNS": "77",
    "LINES": "33",
    "SHLVL": "7",
    "PATH": "/usr/local/bin:/usr/bin:/bin:/nowhere",
    "OLDPWD": "/nowhere",
    "PWD": "/nowhere",
    "_": "/usr/bin/env",
    "COLORTERM": "truecolor",
    "TERM_PROGRAM": "a terminal",
    "WINDOWID": "7",
    "SSH_AUTH_SOCK": "/nowhere/agent",
    "LS_COLORS": "di=1",
    "PYTEST_CURRENT_TEST": "another test (call)",
    "PYTEST_XDIST_WORKER": "gw7",
}
_INI, _TOML = ("alembic.ini",), ("pyproject.toml",)
_WITHOUT_EFFECT = {
    "drift": '"ignore"',
    "clones": '"reset"',
    "engine": '"app.nowhere:engine"',
    "heads": '"many"',
    "guard": '"off"',
}
WITHOUT_EFFECT = [
    Change("every file has another time", World.touch),
    Change("a line in the README", _append("README.md", "More.\n")),
    Change("a row in the application's database", _append("dev.db", "a row\n")),
    Change("a line in the application's log", _append("app.log", "stopped\n")),
    Change("a log of the database", _append("dev.db-wal", "a page\n")),
    Change("a page of notes", _append("notes.txt", "nor now\n")),
    Change("a file among the others", _append("more.txt", "new\n")),
    Change("a module that nobody imports", _append("app/unused.py", "X = 2\n")),
    Change("a new module that nobody imports", _append("app/later.py", "X = 2\n")),
    Change("a column in a model", _append("app/models.py", _COLUMN)),
    Change("Finder's files", _finder_was_there),
    Change("other line ends in code", _other_line_ends, avoids=_INI),
    Change("a comment in alembic.ini", _append("alembic.ini", "# more\n"), avoids=_INI),
    Change("sections of logging", _append("alembic.ini", _LOGGING), avoids=_INI),
    Change("another tool's table", _append("pyproject.toml", "[tool.else]\nx = 1\n"), avoids=_TOML),
    Change("another temporary folder", _other_temporary_folder),
    Change("a variable of somebody's", _variable("SOMEBODYS", "x"), avoids=("variables",)),
    *(Change(f"variable {name}", _variable(name, value)) for name, value in _MACHINE.items()),
    *(
        Change(f"key {name}", _key(name, value), avoids=_TOML)
        for name, value in _WITHOUT_EFFECT.items()
    ),
]
