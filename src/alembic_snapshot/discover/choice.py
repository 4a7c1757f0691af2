"""The application's engine and session factory, among those that were found."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from alembic_snapshot.discover.lines import Proposal, Shown
from alembic_snapshot.discover.makers import Made, Makers
from alembic_snapshot.discover.sources import Sources


class Choice:
    """Chooses for one project; what it chooses, or why it can't, becomes a line of the proposal.

    ``table`` has the keys that are there already, which decide.
    """

    def __init__(self, result: Proposal, table: Mapping[str, Any], sources: Sources, shown: Shown):
        self._result = result
        self._table = table
        self._sources = sources
        self._shown = shown

    def engine(self, makers: Makers, reached: set[Path]) -> Made | None:
        """The application's engine. ``reached`` are the files that ``env.py`` imports."""
        referenced = [candidate for candidate in makers.engines if candidate.reference]
        given = self._table.get("engine")
        if given is not None:
            return next(
                (candidate for candidate in referenced if candidate.reference == given), None
            )
        # A function that gives what a name has, too, is no other engine.
        kept = [candidate.call for candidate in referenced if not candidate.is_call]
        objects = [
            candidate
            for candidate in referenced
            if not candidate.is_call or candidate.call not in kept
        ]
        objects = list(
            {candidate.reference: candidate for candidate in reversed(objects)}.values()
        )[::-1]
        chosen, why = _one_of(objects, makers.factories, reached)
        hidden = self._hidden(makers, objects, reached)
        if chosen is not None and hidden and chosen.source.path not in reached:
            places = ", ".join(map(self._shown.line, hidden))
            self._result.left_out.append(
                ("engine", f"a function makes the one that env.py imports ({places}); "
                 f"{chosen.reference} ({self._shown.line(chosen)}) is another one: write "
                 'engine = "module:name" with the name of the first')
            )  # fmt: skip
            return None
        if chosen is not None:
            self._result.add("engine", chosen.reference, f"made in {self._shown.line(chosen)}{why}")
            return chosen
        if objects:
            places = ", ".join(
                f"{candidate.reference} ({self._shown.line(candidate)})" for candidate in objects
            )
            self._result.left_out.append(("engine", f"{len(objects)} candidates: {places}"))
            return None
        return self._by_url(makers)

    def _hidden(self, makers: Makers, objects: Sequence[Made], reached: set[Path]) -> list[Made]:
        """The engines that no name is known to have, in files that ``env.py`` imports."""
        calls = [one.call for one in objects]
        return [
            one
            for one in makers.engines
            if not one.reference and one.source.path in reached and one.call not in calls
        ]

    def _by_url(self, makers: Makers) -> Made | None:
        """An engine that nothing names, by its URL."""
        unnamed = [*makers.flask, *makers.engines]
        urls: dict[str, Made] = {}
        places: dict[str, str] = {}
        own: set[str] = set()
        for maker in unnamed:
            for origin in maker.url:
                if origin.kind == "text" and origin.form == "url" and "://" in origin.name:
                    is_flask = maker in makers.flask
                    url = self._instance(origin.name, maker) if is_flask else origin.name
                    urls.setdefault(url, maker)
                    places.setdefault(url, self._shown.at(origin))
                    if not origin.source.is_for_tests(origin.line):
                        own.add(url)
        unread = [origin for maker in unnamed for origin in maker.url if origin.kind == "unknown"]
        if len(urls) == 1 and own and not unread:
            ((url, engine),) = urls.items()
            what = "Flask-SQLAlchemy's, of" if engine in makers.flask else "made in a function, in"
            self._result.add(
                "engine", url, f"every engine with this URL; {what} {self._shown.line(engine)}"
            )
            return engine
        if urls:
            lines = ", ".join(f'engine = "{url}" ({place})' for url, place in places.items())
            others = f", and one that can't be read ({self._shown.at(unread[0])})" if unread else ""
            many = f"are {len(urls)} URLs" if len(urls) > 1 else "is 1 URL"
            many += "" if own else ", a test's"
            why = (
                f"no name leads to it, and there {many}{others}; write the line of the one "
                f"that the application has in tests: {lines}"
            )
        elif not unnamed:
            why = "no create_engine(), create_async_engine() or SQLAlchemy() was found"
        else:
            reasons = (
                f"{self._shown.line(maker)}: {maker.why_not or 'its URL is not a text'}"
                for maker in unnamed
            )
            why = f"no name leads to it ({'; '.join(reasons)})"
        self._result.left_out.append(("engine", why))
        return None

    def _instance(self, url: str, maker: Made) -> str:
        """Flask-SQLAlchemy's relative files are in the application's instance folder."""
        before, mark, path = url.partition(":///")
        if before.partition("+")[0] != "sqlite" or not path or path.startswith(("/", ":", "file:")):
            return url
        folder = self._sources.folder_of(maker.source.module) or self._shown.root
        return f"{before}{mark}{self._shown.name(folder / 'instance' / path)}"

    def sessionmaker(self, makers: Makers, engine: Made | None) -> Made | None:
        """The session factory on that engine."""
        if "sessionmaker" in self._table:
            given = self._table["sessionmaker"]
            return next(
                (factory for factory in makers.factories if factory.reference == given), None
            )
        if not makers.factories:
            if not makers.flask:
                inside = ", ".join(map(self._shown.line, makers.inside))
                seen = (
                    f"it is made in a function ({inside})"
                    if inside
                    else "no sessionmaker() was found"
                )
                why = f"{seen}: db_session is one on the engine"
                self._result.left_out.append(("sessionmaker", why))
            return None
        wanted = engine.reference if engine else self._table.get("engine")
        fitting = [factory for factory in makers.factories if self._same(factory.bound, wanted)]
        plain = [factory for factory in fitting if not self._is_scoped(factory)] or fitting
        # A name that is given two, one after the other or in branches, is one name.
        plain = list({factory.reference: factory for factory in plain}.values())
        if len(plain) == 1:
            (chosen,) = plain
            reason = f"made in {self._shown.line(chosen)}, on {wanted}"
            self._result.add("sessionmaker", chosen.reference, reason)
            return chosen
        places = ", ".join(
            f"{factory.reference} ({self._shown.line(factory)}, on {factory.bound or 'no engine'})"
            for factory in plain or makers.factories
        )
        what = "several candidates" if plain else "none is made on the engine"
        self._result.left_out.append(("sessionmaker", f"{what}: {places}"))
        return None

    def _same(self, bound: str | None, wanted: str | None) -> bool:
        """Whether a factory's engine is that one, also through modules that re-export it."""
        for _ in range(5):
            if bound is None or bound == wanted:
                break
            module, _, name = bound.partition(":")
            source = self._sources.find(module)
            step = source.imports.get(name) if source else None
            bound = f"{step[0]}:{step[1]}" if step else None
        return bound is not None and bound == wanted

    def _is_scoped(self, factory: Made) -> bool:
        name = (factory.reference or "").partition(":")[2]
        calls = factory.source.assigned.get(name, [])
        return any("scoped_session" in factory.source.dotted(getattr(c, "func", c)) for c in calls)


def _one_of(
    candidates: Sequence[Made], factories: Sequence[Made], reached: set[Path]
) -> tuple[Made | None, str]:
    """The one engine of several that is the application's, if that can be known, and why."""
    if len(candidates) == 1:
        return candidates[0], ""
    near = [candidate for candidate in candidates if candidate.source.path in reached]
    if len(near) == 1:
        return near[0], "; of several, the one that env.py imports"
    bound = {factory.bound for factory in factories}
    used = [candidate for candidate in candidates if candidate.reference in bound]
    urls = {_database(candidate) for candidate in candidates}
    if candidates and len(urls) == 1 and None not in urls:
        return (used or list(candidates))[0], "; others have the same URL"
    if len(used) == 1 and len(factories) == 1:
        return used[0], f"; of several, the one that {factories[0].reference} is on"
    return None, ""


def _database(maker: Made) -> frozenset[tuple[str, str]] | None:
    """An engine's URL without its driver, by origins; None if that can't be read."""
    if not maker.url or any(origin.kind == "unknown" for origin in maker.url):
        return None
    return frozenset(
        (origin.kind, re.sub(r"^(\w+)\+\w+:", r"\1:", origin.name)) for origin in maker.url
    )
