"""Random worlds and changes from a seed, run, and made smaller when one goes wrong."""

from __future__ import annotations

import dataclasses
import random
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import stale_files, stale_sources
from .stale import NAMINGS, Outcome, Probe, World
from .stale_changes import ON_TOP, WITHOUT_EFFECT, Change, another_word
from .stale_readers import LATER, READERS, Reader
from .stale_sources import WORDS, Source

FAMILIES = {
    "files": stale_files.FILES,
    "stats": [*stale_files.STATS, *stale_files.EXISTS, *stale_files.LINKS],
    "listings": stale_files.LISTINGS,
    "variables": stale_sources.VARIABLES,
    "modules": stale_sources.MODULES,
    "settings": stale_sources.SETTINGS,
}
_PLACES = ("p", "data/p", "migrations/p", "migrations/versions/p", ".hidden/p", "a b/p")
_BESIDE = "../common/p"
_FILES = ("data.txt", "data", ".env", "größe.csv", "a b.sql", "README.txt", "data.json")


class WrongBuildError(Exception):
    """A build on an old store did not do what one on an empty store would."""


def fits(source: Source, reader: Reader) -> bool:
    """Whether the reader can run the source's code."""
    return reader.alembic or not source.talks


@dataclass(frozen=True)
class Case:
    """A world, the layers that are built first, and what is changed then, step by step."""

    seed: int
    probes: tuple[Probe, ...]
    words: dict[int, str | None]
    keys: dict[str, str]
    first: tuple[str | None, ...]
    steps: tuple[tuple[Change, ...], ...]
    then: tuple[str | None, ...]

    def __str__(self) -> str:
        """Its parts, a line each."""
        lines = [f"{probe}, says {self.words[probe.number]}" for probe in self.probes]
        lines += [f"{key} = {value}" for key, value in self.keys.items()]
        lines.append(f"built: {', '.join(layer or 'the snapshot' for layer in self.first)}")
        lines += [f"then {' and '.join(map(str, step))}" for step in self.steps]
        lines.append(f"and built each time: {', '.join(x or 'the snapshot' for x in self.then)}")
        return "\n".join(f"  {line}" for line in lines)

    def run(self, folder: Path) -> None:
        """Build, change, build again.

        Raises:
            WrongBuildError: a build gave something else, or was one where nothing had changed.
        """
        world = World(folder, self.probes, dict(self.words), dict(self.keys))
        world.write()
        built = set(self.first)
        for layer in self.first:
            check(world, layer, "nothing", anew=False)
        for step in self.steps:
            for change in step:
                change.do(world)
            world.write(keeps_times=self.seed % 2 == 0)
            if any(change.matters for change in step):
                built.clear()
            what, last = " and ".join(map(str, step)), step is self.steps[-1]
            for layer in self.then:
                check(world, layer, what, is_hit=layer in built, anew=last)
                built.add(layer)

    def smaller(self) -> Iterator[Case]:
        """The case without one of its parts."""
        for index, step in enumerate(self.steps):
            rest = (*self.steps[:index], *self.steps[index + 1 :])
            if rest:
                yield dataclasses.replace(self, steps=rest)
            for one in range(len(step) if len(step) > 1 else 0):
                fewer = (*step[:one], *step[one + 1 :])
                steps = (*self.steps[:index], fewer, *self.steps[index + 1 :])
                yield dataclasses.replace(self, steps=steps)
        for probe in self.probes:
            used = {str(change).partition(" says")[0] for step in self.steps for change in step}
            rest = tuple(other for other in self.probes if other is not probe)
            if f"p{probe.number}" not in used and rest:
                yield dataclasses.replace(self, probes=rest)
            for simple in (
                {"later": None},
                {"place": "p", "file": "data.txt"},
                {"naming": "literal"},
            ):
                other = dataclasses.replace(probe, **simple)
                if other != probe:
                    changed = tuple(other if one is probe else one for one in self.probes)
                    yield dataclasses.replace(self, probes=changed)
        if len(self.first) > 1 or len(self.then) > 1:
            yield dataclasses.replace(self, first=self.first[:1], then=self.then[:1])


def check(
    world: World, layer: str | None, what: str, *, is_hit: bool = False, anew: bool = True
) -> Outcome:
    """What a build on the old store gives, compared with what is known of the sources.

    With ``anew``, and wherever they differ, it is compared with a build on an empty store.
    ``is_hit`` says that nothing may be built.

    Raises:
        WrongBuildError: it is not the same, or something was built without need.
    """
    name, old, wanted = layer or "the snapshot", world.build(layer), world.expected(layer)
    if anew or any(old.facts.get(row) != word for row, word in wanted.items()):
        new = world.build_anew(layer)
        shown = {row: new.facts.get(row) for row in wanted}
        assert new.error or shown == wanted, f"a wrong generator: {_difference(wanted, shown)}"
        if old.content != new.content or old.error != new.error:
            said = old.error or new.error or _difference(new.facts, old.facts)
            raise WrongBuildError(f"stale: {name}: {said}, after {what}")
    if old.was_hit and old.ran and not any(probe.is_told_by_env_py for probe in world.probes):
        raise WrongBuildError(f"said to be a hit: {name}, which ran {old.ran}, after {what}")
    if is_hit and old.ran:
        raise WrongBuildError(f"built without need: {name}, which ran {old.ran}, after {what}")
    if not old.error and not world.is_hit(layer):
        raise WrongBuildError(f"built, and a miss again: {name}, after {what}")
    return old


def _difference(wanted: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    names = sorted({*wanted, *found})
    different = [name for name in names if wanted.get(name) != found.get(name)]
    said = (f"{name} is {found.get(name)}, not {wanted.get(name)}" for name in different)
    return ", ".join(said) or "differs in something else than its facts"


def random_case(seed: int) -> Case:
    """The case of a seed, the same everywhere."""
    chosen = random.Random(seed)
    readers = [reader for reader in READERS if not reader.migrate]
    if chosen.random() < 0.12:
        readers += [reader for reader in READERS if reader.migrate] * len(readers)
    probes = tuple(_probes(chosen, readers, chosen.randint(3, 7)))
    words = {probe.number: _word(chosen, probe) for probe in probes}
    keys = {"pythonpath": '["../common"]'} if any(p.place == _BESIDE for p in probes) else {}
    layered = any(p.reader.layer or p.later == "a named layer's seed" for p in probes)
    both: list[str | None] = [None, "demo"]
    first: Sequence[str | None] = [None]
    if layered or chosen.random() < 0.2:
        first = chosen.sample(both, chosen.randint(1, 2))
    then = chosen.sample(both, chosen.randint(1, 2)) if layered else list(first)
    sketch = World(Path(), probes, {})
    steps = tuple(_step(chosen, sketch) for _ in range(chosen.randint(1, 3)))
    return Case(seed, probes, words, keys, tuple(first), steps, tuple(then))


def _probes(chosen: random.Random, readers: Sequence[Reader], count: int) -> Iterator[Probe]:
    once: set[str] = set()
    while count:
        source = chosen.choice(FAMILIES[chosen.choice(list(FAMILIES))])
        reader = chosen.choice(readers)
        # One scan of all variables makes all of them count; a key stands once in a table.
        marks = {mark for mark in (source.scans, source.keys[:3]) if mark}
        if not fits(source, reader) or marks & once:
            continue
        once |= marks
        count -= 1
        place = chosen.choice((*_PLACES, _BESIDE))
        later = chosen.choice([None, *LATER])
        file = chosen.choice(_FILES)
        yield Probe(count, source, reader, chosen.choice(NAMINGS), place, file, later)


def _word(chosen: random.Random, probe: Probe) -> str | None:
    return chosen.choice(WORDS if probe.source.static else (*WORDS, None))


def _step(chosen: random.Random, world: World) -> tuple[Change, ...]:
    found = []
    for _ in range(chosen.choice((1, 1, 1, 2))):
        kind = chosen.random()
        if kind < 0.6:
            probe = chosen.choice(world.probes)
            found.append(another_word(probe, _word(chosen, probe)))
        elif kind < 0.67:
            found.append(ON_TOP)
        else:
            found.append(chosen.choice([one for one in WITHOUT_EFFECT if one.fits(world)]))
    return tuple(found)


def verdict(case: Case, folder: Path) -> str | None:
    """What went wrong, and the smallest case that does; None if nothing did."""
    wrong = _wrong(case, folder)
    if wrong is None:
        return None
    number = 0
    smaller: Case | None = case
    while smaller:
        smaller = None
        for candidate in case.smaller():
            number += 1
            said = _wrong(candidate, folder)
            if said and said.partition(":")[0] == wrong.partition(":")[0]:
                case, wrong, smaller = candidate, said, candidate
                break
    return f"{wrong}\n{case}"


def _wrong(case: Case, folder: Path) -> str | None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        case.run(folder)
    except WrongBuildError as error:
        return str(error)
    return None
