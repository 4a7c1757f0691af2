"""A project's snapshot: its key, whether the store has it, and why not."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from alembic_snapshot.backend import backend_of
from alembic_snapshot.errors import files_are_readable
from alembic_snapshot.key.inputs import Files
from alembic_snapshot.key.layers import Chain, read_chain
from alembic_snapshot.key.libraries import refuse_old
from alembic_snapshot.key.observed import Change, Present
from alembic_snapshot.project.config import DEFAULT, Project
from alembic_snapshot.project.owner import identity
from alembic_snapshot.project.spelling import beginning
from alembic_snapshot.store.manifest import Entry, Manifest
from alembic_snapshot.store.store import Lookup, Store


@dataclass(frozen=True)
class Status:
    """A project's snapshot: the key's layers, the entry if the store has it, and why not.

    ``cures`` are the lines of configuration that would ignore what changed; ``unkeyed`` are the
    files among it, which a run read and the key does not know.
    """

    project: Project
    chain: Chain
    store: Store
    files: Files
    present: Present
    entry: Entry | None
    reasons: tuple[str, ...]
    cures: tuple[str, ...] = ()
    unkeyed: tuple[str, ...] = ()

    def changed_for_env(self) -> tuple[str, ...]:
        """What changed in the modules of ``env.py``, or in what they read.

        The snapshot holds if ``env.py`` still hands over the same; the next build looks.
        """
        if self.entry is None:
            return ()
        manifest = self.entry.manifest
        return tuple(map(str, self.present.changes(manifest.through_env, manifest.digest)))


def look_up(project: Project, *, layer: str | None = None, revision: str | None = None) -> Status:
    """Compute the key and look for the snapshot; nothing is built, imported or locked.

    Raises:
        ConfigError, ScriptError: the project's configuration or its history is wrong.
    """
    with files_are_readable():
        return _look_up(project, layer, revision)


def _look_up(project: Project, layer: str | None, revision: str | None) -> Status:
    refuse_old()
    backend = backend_of(project)
    store = backend.store()
    files = Files(project.root, project.search_path, store.parse_cache)
    chain = read_chain(project, files, backend.versions(), layer=layer, revision=revision)
    present = Present(project, files)
    lookup = find(store, chain, present, project)
    files.save()
    reasons = tuple(_told(change, chain) for change in lookup.reasons)
    if not (reasons or lookup.entry):
        reasons = tuple(_why(store, project, chain, layer, revision)) or (_unfound(store, chain),)
    cures = tuple(_joined(change.cure for change in lookup.reasons if change.cure))
    unkeyed = tuple(dict.fromkeys(one.file for one in lookup.reasons if one.file))
    return Status(project, chain, store, files, present, lookup.entry, reasons, cures, unkeyed)


def _joined(cures: Iterable[str]) -> Iterator[str]:
    """The lines of configuration, one for each key: a table has each key once."""
    names: dict[str, list[str]] = {}
    for cure in cures:
        key, _, value = cure.partition(" = ")
        names.setdefault(key, []).extend(json.loads(value))
    for key, values in names.items():
        yield f"{key} = {json.dumps(list(dict.fromkeys(values)), ensure_ascii=False)}"


def find(store: Store, chain: Chain, present: Present, project: Project) -> Lookup:
    """The snapshot in the store, if it was built as the project's settings allow."""
    lookup = store.find(chain.target, present)
    why = unsuited(project, lookup.entry.manifest) if lookup.entry else None
    return Lookup(None, [Change(why)]) if why else lookup


def suits(project: Project, manifest: Manifest) -> bool:
    """Whether a state was built, or received, as the project's settings allow."""
    return unsuited(project, manifest) is None


def unsuited(project: Project, manifest: Manifest) -> str | None:
    """Why a state is none that the project's settings allow, if so."""
    if manifest.databases and project.foreign != "redirect":
        return 'it was built with redirects, which foreign = "refuse" does not allow'
    if manifest.origins:
        from alembic_snapshot.remote.settings import mistrust

        return mistrust(project, manifest)
    return None


def _told(change: Change, chain: Chain) -> str:
    """A change in words. For a file that a constant names, they leave out that a run read it."""
    return f"{change.file} changed" if change.file in chain.named_files else change.text


def _why(
    store: Store, project: Project, chain: Chain, layer: str | None, revision: str | None
) -> Iterator[str]:
    """Why the store lacks the snapshot: how it differs from the project's most similar one."""
    # What lies in the project's folder is its own, also if another checkout's cache brought it:
    # then its owner has another name.
    folder, own_name = beginning(project.root), identity(project)
    of_database = own_name.partition(" ")[2]
    own = [
        entry.manifest
        for entry in store.entries()
        if entry.manifest.digest == entry.manifest.family
        and entry.manifest.project.partition(" ")[2] == of_database
        and (entry.manifest.project == own_name or entry.database.name.startswith(folder))
    ]
    if not own:
        if project.name == DEFAULT:
            yield "the store has no snapshot of this project"
        else:
            yield "the store has no snapshot of this database"
        return
    if revision is not None:
        yield f"the store has no snapshot at revision {revision}"
    seeds: set[str] = set() if layer is None else set(project.layers[layer])
    if any(seeds <= manifest.layers.keys() for manifest in own):
        seeds = set()
    else:
        yield f"the store has no snapshot with the layer {layer}"
    yield from min((list(_changes(one, chain, revision, seeds)) for one in own), key=len)


def _unfound(store: Store, chain: Chain) -> str:
    """Why the store lacks a snapshot of which nothing differs."""
    for entry in store.entries():
        if entry.manifest.digest == chain.target.digest:
            return f"it is at {entry.database.name}, where it is not looked for: was that renamed?"
    return "no input differs from those of the stored snapshot that is most like it"


def _changes(
    manifest: Manifest, chain: Chain, revision: str | None, new_seeds: AbstractSet[str]
) -> Iterator[str]:
    """The inputs that differ from a stored snapshot's. Those after ``revision`` don't count.

    Neither do those of ``new_seeds``, which it has not.
    """
    wanted = {layer.name for layer in chain.layers}
    lacking = new_seeds - manifest.layers.keys()
    before = {
        name: digest
        for layer, inputs in manifest.layers.items()
        if revision is None or layer in wanted
        for name, digest in _by_seed(inputs)
    }
    counted = [layer for layer in chain.layers if layer.name not in lacking]
    now = {name: digest for layer in counted for name, digest in layer.named_files.items()}
    now |= {name: digest for layer in counted for name, digest in _by_seed(layer.inputs)}
    for name in sorted(before.keys() | now.keys()):
        if name not in before:
            yield f"{name} is new"
        elif name not in now:
            yield f"{name} is gone"
        elif before[name] != now[name]:
            change = f" ({before[name]} to {now[name]})" if name.startswith("<version") else ""
            yield f"{name} changed{change}"


def _by_seed(inputs: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """The inputs of a layer; what names its seed is another one for each seed."""
    for name, digest in inputs.items():
        yield (f"<seed {digest}>" if name == "<seed>" else name), digest
