"""The state in the store that a build begins from: the deepest that is ours and unchanged."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from alembic_snapshot.build.lookup import suits
from alembic_snapshot.builder.protocol import CONNECTION, DISK, ENV, PROCESS, RUN
from alembic_snapshot.key.layers import Chain, State
from alembic_snapshot.key.observed import Present
from alembic_snapshot.project.config import Project
from alembic_snapshot.store.manifest import Entry, Manifest
from alembic_snapshot.store.store import Store

_WORDS = {CONNECTION: "their connection", RUN: "the run of env.py", PROCESS: "their process"}


class Ancestor(NamedTuple):
    """A stored snapshot, and the state of our chain that it is."""

    entry: Entry
    state: State


class UnfitAncestor(Exception):
    """Nothing can be built on the ancestor.

    It was built with other options of ``env.py`` than there are now, or in another order than
    ``order``, in which the revisions run where nothing is there.
    """

    def __init__(self, order: Sequence[str]):
        super().__init__()
        self.order = order


@dataclass(frozen=True)
class Ancestors:
    """The states in a store that the target of a chain can be built on."""

    project: Project
    chain: Chain
    store: Store
    present: Present

    @property
    def depth(self) -> int:
        """How many layers the deepest one has."""
        own = self.deepest()
        return len(own.state.revisions) + len(own.state.seeds) if own else 0

    def deepest(self, order: Sequence[str] | None = None) -> Ancestor | None:
        """The stored snapshot with the most of our revisions and seeds, and with no others.

        If an ``order`` is given, its revisions are the first of that.
        """
        return _deepest(one for one in self._own(order) if not self._is_missed(one.entry.manifest))

    def passed_over(self) -> str | None:
        """Why the build does not begin from the deepest of our states, if it may not, in words."""
        found = _deepest(self._own(None))
        if found is None or not self._is_missed(found.entry.manifest):
            return None
        left = found.entry.manifest.left
        if ENV in left:
            return "env.py may leave more in the database each time that it runs"
        listed = ", ".join(_WORDS.get(where, where.removeprefix(DISK)) for where in left)
        return f"what runs may need what revisions or seeds before it left in {listed}"

    def _own(self, order: Sequence[str] | None) -> Iterator[Ancestor]:
        """The states before our target that the store has whole and unchanged."""
        ours = {name: layer.digest for name, layer in self.chain.revisions.items()}
        seeds = tuple(layer.digest for layer in self.chain.seeds)
        for entry in self.store.entries():
            manifest = entry.manifest
            state = self._state_of(manifest, ours, seeds)
            if (
                state is None
                or state.digest != manifest.digest
                or not suits(self.project, manifest)
                or (order and {*order[: len(state.revisions)]} != {*state.revisions})
            ):
                continue
            changed = list(self.present.changes(manifest.observed, manifest.digest))
            if not changed and self.store.is_intact(entry):
                yield Ancestor(entry, state)

    def _is_missed(self, manifest: Manifest) -> bool:
        """Whether what is to run may need what was left in the process that built a state."""
        revisions = self.chain.revisions
        new = [layer for name, layer in revisions.items() if name not in manifest.revisions]
        seeds = self.chain.seeds[len(manifest.seeds) :]
        imported = {name for layer in (*new, *seeds) for name in layer.inputs}
        # Whoever has a package may have what is loaded below it, too.
        packages = [name.removesuffix("__init__.py") for name in imported if _is_package(name)]
        imported |= {name for name in manifest.left if name.startswith(tuple(packages))}
        return any(
            bool(new) if where in (CONNECTION, RUN) else _is_anybodys(where) or where in imported
            for where in manifest.left
        )

    def _state_of(
        self, manifest: Manifest, ours: Mapping[str, str], seeds: Sequence[str]
    ) -> State | None:
        """The state of our chain that a manifest describes, if it is one before our target."""
        theirs = manifest.revisions
        if self.chain.opaque and not manifest.seeds:
            state = self.chain.state(())
            return state if self.chain.seeds and state.digest == manifest.digest else None
        if any(ours.get(name) != digest for name, digest in theirs.items()):
            return None
        if list(manifest.seeds) != list(seeds[: len(manifest.seeds)]):
            return None
        if manifest.seeds and set(theirs) != set(ours):
            return None
        if set(theirs) == set(ours) and len(manifest.seeds) == len(seeds):
            return None
        return self.chain.state(theirs, len(manifest.seeds))


def _is_package(name: str) -> bool:
    return name.endswith("/__init__.py")


def _is_anybodys(where: str) -> bool:
    """Whether anything that runs may need what was left there, and nobody knows what does."""
    return where in (PROCESS, ENV) or where.startswith(DISK)


def _deepest(candidates: Iterable[Ancestor]) -> Ancestor | None:
    return max(
        candidates,
        key=lambda one: (len(one.state.revisions), len(one.state.seeds)),
        default=None,
    )
