"""Where the variables of ``environment`` lead in a process of tests: nowhere, until it is a clone.

So nothing that the application makes of them, when it is imported or later, is the developer's
database. Those that they led to are remembered, as databases that the migrations are for.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from alembic_snapshot.database.identity import Place, file_of, file_place, server_places, url_places
from alembic_snapshot.project import env_files, placeholders
from alembic_snapshot.project.placeholders import NOWHERE, Placeholder
from alembic_snapshot.project.table import PLACEHOLDER

if TYPE_CHECKING:
    from pathlib import Path

    from alembic_snapshot.project.config import Project

_URLS = ("url", "async_url")
# What stays of what is set: it does not lead anywhere.
_KEPT = ("user", "password")
_URL = re.compile(
    r"(?P<scheme>(?P<kind>\w+?)(?:ql)?(?:\+\w+)?)://(?P<rest>[^?]*)(?P<query>(?:\?.*)?)"
)
# The options of a URL for a server that say where it leads, and as whom.
_LEADING = re.compile(
    r"(?<=[?&])(?:host|hostaddr|port|dbname|database|service|servicefile|user|password)=[^&]*&?"
)


class Nowhere:
    """One project's variables in this process: whether they lead nowhere, and where they led."""

    def __init__(self, project: Project):
        self._project = project

    @functools.cached_property
    def variables(self) -> list[str]:
        """The variables that lead nowhere."""
        return [name for name, one in self._noted.items() if one.is_put]

    @property
    def place(self) -> Place:
        """A database that the placeholders name."""
        return Place(self._project.backend, f"{NOWHERE}-{self._project.name}")

    @property
    def text(self) -> str:
        """What the placeholders stand for, in words."""
        return f"what {' and '.join(self.variables)} says"

    def is_at(self, place: Place) -> bool:
        """Whether a database is what the placeholders name; there is none."""
        name = os.path.basename(place.name).removesuffix(".db")
        return bool(self.variables) and name == f"{NOWHERE}-{self._project.name}"

    def has(self, place: Place) -> bool:
        """Whether the variables name a database here, or named it outside of the tests."""
        if not self.variables:
            return False
        return self.is_at(place) or any(place.is_same(one) for one in self.former)

    @functools.cached_property
    def _noted(self) -> Mapping[str, Placeholder]:
        noted = placeholders.read(os.environ)
        return {name: noted[name] for name in _variables(self._project) if name in noted}

    @functools.cached_property
    def former(self) -> dict[Place, str]:
        """The databases that the variables led to, and how that is known."""
        set_ = {name: one.before or one.written for name, one in self._noted.items()}
        written = {name: one.written for name, one in self._noted.items()}
        found: dict[Place, str] = {}
        for values in (written, set_):
            given = {name: value for name, value in values.items() if value}
            why = f"what {' and '.join(given)} says outside of the tests"
            found |= dict.fromkeys(_places(self._project, given), why)
        return {place: why for place, why in found.items() if not place.is_memory}


def lead_nowhere(projects: Iterable[tuple[Project, Mapping[str, str]]]) -> Callable[[], None]:
    """Have the variables lead nowhere; each project is with the parts of a database that is not.

    The result puts back what was there.
    """
    given = placeholders.originals(os.environ)
    found: dict[str, Placeholder] = {}
    for project, nowhere in projects:
        names = [name for name in _variables(project) if name not in found]
        written = env_files.values(project.root, given) if names else {}
        for name in names:
            before, in_file = given.get(name), written.get(name)
            value = _value(project, name, before, in_file, nowhere)
            found[name] = Placeholder(value, before, in_file)
    return placeholders.put(found) if found else lambda: None


def _value(
    project: Project, name: str, before: str | None, written: str | None, nowhere: Mapping[str, str]
) -> str | None:
    """A variable's value in the tests: of the form of what is set, where that fits."""
    pieces = _pieces(project.environment[name])
    led = [_led(place, text, nowhere) for place, text in _parts(pieces, before or written or "")]
    fits = bool(led) and None not in led
    if project.guard == "off" and ("host" not in nowhere or (before and fits)):
        # Tests that do not ask yet have it as it is.
        return before
    parts = iter(led if fits else [nowhere[text] for text, is_place in pieces if is_place])
    return "".join((next(parts) or "") if is_place else text for text, is_place in pieces)


def _led(place: str, text: str, nowhere: Mapping[str, str]) -> str | None:
    """A part of what is set, so that it leads nowhere; None if it is another kind of database's."""
    if place in _KEPT:
        return text
    if place not in (*_URLS, "path"):
        return nowhere[place]
    is_server = "host" in nowhere
    if place == "path":
        return nowhere[place] if is_server else _file(text, nowhere["path"])
    found, own = _URL.fullmatch(text), _URL.fullmatch(nowhere[place])
    if found is None or own is None or found["kind"] != own["kind"]:
        return None
    if is_server:
        query = _LEADING.sub("", found["query"]).rstrip("?&")
        return f"{found['scheme']}://{own['rest']}{query}"
    name = found["rest"][1:] + found["query"]
    led = _file(name, nowhere["path"])
    return text if led == name else f"{found['scheme']}:///{led}"


def _file(name: str, nowhere: str) -> str:
    """A file's name, or a URI, with another path; what is in memory leads nowhere already."""
    path, mark, query = name.partition("?")
    is_uri = path.startswith("file:")
    if not file_of(name if is_uri else path, "/"):
        return name
    return f"{'file:' if is_uri else ''}{nowhere}{mark}{query}"


def _variables(project: Project) -> list[str]:
    """The variables that have the database, or a part of where it is."""
    found = project.environment.items()
    return [name for name, text in found if any(is_place for _, is_place in _pieces(text))]


def _pieces(template: str) -> list[tuple[str, bool]]:
    """A template's texts and its places in their order; of each, whether it is a place."""
    pieces, end = [], 0
    for found in PLACEHOLDER.finditer(template):
        pieces.append((template[end : found.start()], False))
        pieces.append((f"{{{found[1]}}}", False) if found[1] else (found[2], True))
        end = found.end()
    return [*pieces, (template[end:], False)]


def _parts(pieces: Iterable[tuple[str, bool]], value: str) -> Iterator[tuple[str, str]]:
    """The places of a template, each with what stands there in a value; none if it is another."""
    pattern = "".join("(.*)" if is_place else re.escape(text) for text, is_place in pieces)
    found = re.fullmatch(pattern, value, re.DOTALL) if value else None
    if found is not None:
        yield from zip((text for text, is_place in pieces if is_place), found.groups(), strict=True)


def _places(project: Project, values: Mapping[str, str]) -> Iterator[Place]:
    """The databases to which values of the variables lead; what is no such value leads nowhere."""
    server: dict[str, str] = {}
    for name, value in values.items():
        for place, text in _parts(_pieces(project.environment[name]), value):
            if place not in (*_URLS, "path"):
                server[place] = text
                continue
            # A relative name starts from where the tests run, or from the project.
            for base in (project.root, ""):
                with contextlib.suppress(Exception):
                    yield from _named(place, text, base)
    if "database" in server:
        yield from server_places(server)


def _named(place: str, text: str, base: Path | str) -> Iterator[Place]:
    from sqlalchemy import make_url

    if place == "path":
        yield file_place(file_of(text, base))
    else:
        # As those spell it who write it for others than SQLAlchemy.
        yield from url_places(make_url(re.sub(r"^postgres(?=[:+])", "postgresql", text)), base)
