"""The checkpoints that tests ask for, and on which others each of them stands."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from alembic_snapshot.errors import CloneError, ConfigError
from alembic_snapshot.plugin.marker import CloneOptions

if TYPE_CHECKING:
    from alembic_snapshot.build.snapshot import Checkpoint

_DEFAULT = "default"
ATTRIBUTE = "alembic_snapshot_checkpoint"
# The fixture that begins clones of further databases.
_LENDING = "_db_begun"
_Definitions = Mapping[str, Sequence[Any]]


@dataclass(eq=False)
class Declared:
    """A fixture of ``checkpoint_fixture``; ``current`` is its checkpoint while its scope lasts.

    Modules that import one function have a fixture each: see :func:`declared_of`.
    """

    name: str
    place: str
    database: str
    options: CloneOptions
    autouse: bool
    current: Checkpoint | None = None

    def __str__(self) -> str:
        return f"{self.name} ({self.place})"


def declared_of(definition: Any, declared: Declared) -> Declared:
    """What is known of one fixture, by pytest's definition of it, as its function declares it.

    The function is that of each module that imports it, and runs once for each.
    """
    own: Declared = vars(definition).setdefault(ATTRIBUTE, dataclasses.replace(declared))
    return own


def asked_by(item: pytest.Item) -> list[Declared]:
    """The checkpoints that a test asks for, and that its fixtures do."""
    found = (_declared(one) for one in _walk(_definitions(item), item_names(item), set()))
    return [one for one in found if one is not None]


def beginning_of(item: pytest.Item, database: str) -> Checkpoint | None:
    """The checkpoint from which a test's clone of a database begins, if from any.

    Raises:
        ConfigError: it asks for two of which neither stands on the other.
        CloneError: one of them is not there.
    """
    return _newest([one for one in asked_by(item) if one.database == database], item.nodeid)


def parent_of(declared: Declared, item: pytest.Item) -> Checkpoint | None:
    """The checkpoint that another stands on, if on any: one that it asks for, or that all have.

    Raises:
        ConfigError: the test does not ask for it, or it asks for two of which neither stands on the
            other.
    """
    definitions, every = _definitions(item), asked_by(item)
    _refuse_late(declared, every)
    own = next(
        one for one in _walk(definitions, item_names(item), set()) if _declared(one) is declared
    )
    asked = [_declared(one) for one in _walk(definitions, own.argnames, set(), own)]
    found = [one for one in asked if one is not None]
    found += [one for one in every if one.autouse and one.current is not None]
    here = {one for one in found if one is not declared and one.database == declared.database}
    return _newest(list(here), f"the checkpoint {declared}")


@contextlib.contextmanager
def refusing_late(declared: Declared, definition: Any) -> Iterator[None]:
    """While a checkpoint is there, refuse a test that asks for it when it is under way.

    It would get the value and not the rows: its clone has begun from something else. ``definition``
    is pytest's of the fixture, which is asked for a value that is there, too.
    """
    execute = definition.execute

    def asked(request: Any) -> Any:
        __tracebackhide__ = True
        _refuse_late(declared, asked_by(request._pyfuncitem))
        return execute(request)

    definition.execute = asked
    try:
        yield
    finally:
        del definition.execute


def _refuse_late(declared: Declared, every: Sequence[Declared]) -> None:
    if declared not in every:
        raise ConfigError(
            f"the checkpoint {declared} was asked for while a test was under way",
            hint="make it an argument of the test or of a fixture, or name it in usefixtures; "
            "getfixturevalue() comes too late",
        )


def _newest(found: Sequence[Declared], who: str) -> Checkpoint | None:
    """The one that stands on all the others."""
    for one in found:
        if one.current is None:
            raise CloneError(
                f"the checkpoint {one} is not there yet, although {who} asks for it",
                hint="ask for it in a fixture of its scope or a wider one",
            )
    there = [one.current for one in found if one.current is not None]
    for newest in there:
        below = list(newest.checkpoints())
        if all(any(other is each for each in below) for other in there):
            return newest
    if there:
        raise _refused(found, who)
    return None


def _refused(found: Sequence[Declared], who: str) -> ConfigError:
    """The error that names those on which no other stands."""
    below = [
        one
        for each in found
        if each.current is not None
        for one in each.current.checkpoints()
        if one is not each.current
    ]
    *names, last = sorted(str(one) for one in found if all(one.current is not b for b in below))
    none = "neither stands on the other" if len(names) == 1 else "none stands on another"
    return ConfigError(
        f"{who} asks for the checkpoints {', '.join(names)} and {last}, of which {none}",
        hint="have one of their functions take the other as an argument",
    )


def item_names(item: pytest.Item) -> list[str]:
    """The names of all fixtures of a test."""
    return list(getattr(item, "fixturenames", ()))


def _definitions(item: pytest.Item) -> _Definitions:
    # Not public; without it nobody has a checkpoint, and is told so.
    found: _Definitions = getattr(getattr(item, "_fixtureinfo", None), "name2fixturedefs", {})
    return found


def _walk(
    definitions: _Definitions,
    names: Sequence[str],
    seen: set[int],
    asking: Any | None = None,
) -> Iterator[Any]:
    """The definitions of fixtures, and of those that they ask for.

    One that asks for its own name means the definition that it overrides.
    """
    for name in names:
        known = list(definitions.get(name) or ())
        if asking in known:
            known = known[: known.index(asking)]
        if known and id(known[-1]) not in seen:
            seen.add(id(known[-1]))
            yield known[-1]
            yield from _walk(definitions, known[-1].argnames, seen, known[-1])


def _declared(definition: Any) -> Declared | None:
    # Before it has run, there is only what its function declares.
    known = vars(definition).get(ATTRIBUTE)
    found: Declared | None = known or getattr(definition.func, ATTRIBUTE, None)
    return found


def lend_to_marked(items: list[pytest.Item]) -> None:
    """Have each test with the marker or a checkpoint ask for its clone, ahead of all its own."""
    for item in items:
        names: list[str] | None = getattr(item, "fixturenames", None)
        if names is None:
            continue
        databases = {declared.database for declared in asked_by(item)}
        lent = ["db_clone"] if item.get_closest_marker("db_clone") else []
        lent += [_LENDING if name != _DEFAULT else "db_clone" for name in sorted(databases)]
        if lent:
            lent = list(dict.fromkeys(lent))
            others = [name for name in names if name not in lent]
            place = _first_of_the_test(item, others)
            # Another list: this one may be that of every test of the function.
            item.fixturenames = [*others[:place], *lent, *others[place:]]  # type: ignore[attr-defined]


def _first_of_the_test(item: pytest.Item, names: list[str]) -> int:
    """The index of the first fixture that is the test's own, after those that several share."""
    # Without definitions db_clone comes last.
    known = _definitions(item)
    own = (index for index, name in enumerate(names) if _scope(known.get(name)) == "function")
    return next(own, len(names))


def _scope(definitions: Any) -> str | None:
    return definitions[-1].scope if definitions else None
