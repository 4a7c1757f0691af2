"""The layers of a snapshot: the base, the revisions, the seeds, and a digest for each.

The digests form a Merkle DAG. A layer's covers its own inputs and the digests of its parents, so
two equal digests mean that the same files were run in the same order. All of it comes from reading
files: no revision script is imported.
"""

from __future__ import annotations

import dataclasses
import functools
import glob
import hashlib
import itertools
import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.machinery import PathFinder
from typing import Any, NamedTuple

from alembic_snapshot.errors import ConfigError
from alembic_snapshot.key.history import Script, find_scripts, in_order, why_opaque
from alembic_snapshot.key.inputs import Files, files_below, text_digest
from alembic_snapshot.key.libraries import library_versions
from alembic_snapshot.key.named import revisions_named, with_ancestors
from alembic_snapshot.key.private import refuse_unknown_private
from alembic_snapshot.project.config import Project
from alembic_snapshot.project.spelling import is_librarys

# Raised when the meaning of a digest changes, so that no older snapshot is mistaken for a new one.
FORMAT = 4


class Layer(NamedTuple):
    """One step of what a snapshot is made of.

    ``inputs`` maps each file, relative to the project's root, to its content's digest, and each
    setting, spelled ``<setting>``, to its value. ``named_files`` are the files that string
    constants name. Only a run tells whether they are opened, so they are not in ``digest``.
    """

    kind: str
    name: str
    digest: str
    parents: tuple[str, ...]
    inputs: Mapping[str, str]
    named_files: Mapping[str, str] = {}


class State(NamedTuple):
    """A database that can be reached: these revisions applied, then these seeds run."""

    revisions: Mapping[str, str]
    heads: tuple[str, ...]
    seeds: tuple[str, ...]
    digest: str


@dataclass(frozen=True)
class Chain:
    """All layers of one snapshot, in an order in which they can be applied.

    ``opaque`` says why the revisions are not known before the run (or don't make the database
    alone), a line each: then they are one layer together. ``models`` are the files that ``env.py``
    and ``context`` import as far as reading tells, which the snapshot does not depend on, but the
    checks do. With ``is_below`` some revisions are left out: models are not compared with it.
    """

    base: Layer
    revisions: Mapping[str, Layer]
    seeds: tuple[Layer, ...]
    heads: tuple[str, ...]
    opaque: Sequence[str]
    models: Mapping[str, str]
    is_below: bool = False

    @functools.cached_property
    def target(self) -> State:
        """The snapshot itself: every revision, every seed."""
        return self.state(self.revisions, len(self.seeds))

    @property
    def layers(self) -> Sequence[Layer]:
        """Every layer, parents before children."""
        return (self.base, *self.revisions.values(), *self.seeds)

    @property
    def inputs(self) -> Mapping[str, str]:
        """The inputs of all layers together."""
        return {name: digest for layer in self.layers for name, digest in layer.inputs.items()}

    @property
    def named_files(self) -> Mapping[str, str]:
        """The files that constants in all layers name."""
        return {name: digest for layer in self.layers for name, digest in layer.named_files.items()}

    @property
    def key(self) -> str:
        """The key for a cache: the snapshot's digest, with the files that constants name."""
        named_files = sorted(self.named_files.items())
        return (
            _digest(["key", self.target.digest, named_files]) if named_files else self.target.digest
        )

    @property
    def models_digest(self) -> str:
        """The digest of what the checks depend on beside the snapshot."""
        return _digest(sorted(self.models.items()))

    def state(self, revisions: Iterable[str], seeds: int = 0) -> State:
        """The state with these revisions, a set closed downwards, and the first ``seeds`` seeds."""
        applied = {name: self.revisions[name].digest for name in revisions}
        parents = {parent for name in applied for parent in self.revisions[name].parents}
        heads = tuple(sorted(name for name in applied if name not in parents))
        ran = tuple(layer.digest for layer in self.seeds[:seeds])
        tops = sorted(applied[name] for name in heads) or [self.base.digest]
        return State(applied, heads, ran, _digest(["snapshot", tops, ran[-1:]]))

    def below(self, heads: Iterable[str]) -> frozenset[str]:
        """These revisions and all of their ancestors."""
        parents = {name: layer.parents for name, layer in self.revisions.items()}
        return frozenset(with_ancestors(list(heads), parents))

    def up_to(self, heads: Iterable[str]) -> Chain:
        """The chain without the revisions after these, and without seeds."""
        kept = self.below(heads)
        revisions = {name: layer for name, layer in self.revisions.items() if name in kept}
        return dataclasses.replace(
            self,
            revisions=revisions,
            seeds=(),
            heads=_heads(revisions),
            is_below=self.is_below or len(revisions) < len(self.revisions),
        )

    def published_states(self) -> list[State]:
        """The states that a build keeps, in order: before the heads, at them, after each seed."""
        states = []
        below = set(self.revisions) - set(self.heads)
        if below and not self.opaque:
            states.append(self.state(below))
        states.extend(self.state(self.revisions, count) for count in range(len(self.seeds) + 1))
        return states


def read_chain(
    project: Project,
    files: Files,
    versions: Mapping[str, str],
    *,
    layer: str | None = None,
    revision: str | None = None,
) -> Chain:
    """The layers of the project's snapshot, or of one with a named ``layer`` on top, or of one
    that stops at ``revision``. ``versions`` maps the parts of the database to their versions.

    Raises:
        ConfigError: the configuration names something that isn't there.
        ScriptError: the revision scripts are not a history.
    """
    if layer is not None and revision is not None:
        raise ConfigError(
            f"layer {layer!r} and revision {revision!r} are two snapshots",
            hint="ask for one of them: a layer is on top of the newest revision",
        )
    settings = project.alembic
    scripts = find_scripts(project, files)
    opaque = why_opaque(project, scripts)
    refuse_unknown_private(project, files)
    attributed: set[str] = {script.path for script in scripts}
    closures = {script.path: files.closure(script.path) for script in scripts}
    for closure in closures.values():
        attributed |= closure
    tools = {**library_versions(), **versions}
    base = _base_layer(
        project, files, tools, attributed if not opaque else set(), bool(opaque), scripts
    )
    revisions: dict[str, Layer] = {}
    is_below = False
    if not opaque:
        order = in_order(scripts, project)
        for script, parents in order:
            read = _split(closures[script.path], project, files, script.path)
            above = [revisions[name] for name in parents] or [base]
            revisions[script.id] = _layer("revision", script.id, read, above, parents)
        if revision is not None:
            tops = revisions_named(revision, order)
            wanted = with_ancestors(tops, {name: one.parents for name, one in revisions.items()})
            is_below = wanted != revisions.keys()
            revisions = {name: one for name, one in revisions.items() if name in wanted}
    elif revision is not None:
        raise ConfigError(
            f"no snapshot at revision {revision!r}: the revisions are known only when they run",
            hint="leave the revision out, or let `alembic upgrade` alone make the database",
        )
    heads = _heads(revisions)
    seeds = () if revision is not None else _seed_layers(project, files, base, revisions, layer)
    env = str(settings.script_location / "env.py")
    imported = files.closure(env) - {env}
    if project.context:
        imported |= _reached_by(project.context, "context", project, files)
    models, _ = _split(imported, project, files)
    return Chain(base, revisions, seeds, heads, opaque, models, is_below)


def _base_layer(
    project: Project,
    files: Files,
    tools: Mapping[str, str],
    attributed: set[str],
    opaque: bool,
    scripts: Sequence[Script],
) -> Layer:
    """env.py, settings, tool versions, and what no single revision accounts for."""
    settings = project.alembic
    env = str(settings.script_location / "env.py")
    # What counts in the configuration's file is in the settings, wherever it lies.
    attributed = attributed | {str(path) for path in (settings.ini, settings.toml)}
    paths = {path for path in files_below(settings.script_location) if path not in attributed}
    inputs = _digests({*paths, *_globbed(project), env}, project, files, env)
    named_files: dict[str, str] = {}
    if opaque:
        for script in scripts:
            closure = files.closure(script.path)
            code, theirs = _split(closure, project, files, script.path)
            inputs, named_files = inputs | code, named_files | theirs
    # They are shown, stored and sent to caches; values of settings may be somebody's secrets.
    settings_said = {f"<{name}>": value for name, value in settings.effective.items()}
    settings_said |= project.base_inputs()
    settings_said |= {f"<{name}>": value for name, value in _optimized(project).items()}
    inputs |= {name: text_digest(value) for name, value in settings_said.items()}
    inputs |= {f"<version of {name}>": value for name, value in tools.items()}
    if project.migrate:
        code, theirs = _referenced(project.migrate, "migrate", project, files)
        inputs, named_files = inputs | code, named_files | theirs
    return _layer("base", "base", (inputs, named_files), ())


def _optimized(project: Project) -> dict[str, str]:
    """The variable by which Python leaves out ``assert``, which nobody is heard to ask for."""
    name = "PYTHONOPTIMIZE"
    value = os.environ.get(name)
    given = project.inherit_environment
    is_given = given is None or name in given
    is_given = is_given and name not in {*project.ignore_environment, *project.environment}
    return {name: value} if value and is_given else {}


def _seed_layers(
    project: Project,
    files: Files,
    base: Layer,
    revisions: Mapping[str, Layer],
    layer: str | None,
) -> tuple[Layer, ...]:
    references = list(project.seeds)
    if layer is not None:
        if layer not in project.layers:
            known = ", ".join(project.layers) or "none"
            raise ConfigError(f"no layer {layer!r} in layers", hint=f"the configured ones: {known}")
        references += project.layers[layer]
    above = [revisions[name] for name in _heads(revisions)] or [base]
    layers: list[Layer] = []
    for reference in references:
        code, named_files = _referenced(reference, "seed", project, files)
        layers.append(_layer("seed", reference, (code | {"<seed>": reference}, named_files), above))
        above = [layers[-1]]
    return tuple(layers)


def _layer(
    kind: str,
    name: str,
    read: tuple[Mapping[str, str], Mapping[str, str]],
    above: Sequence[Layer],
    parents: tuple[str, ...] = (),
) -> Layer:
    inputs, named_files = read
    parts = [kind, name, sorted(inputs.items()), sorted(layer.digest for layer in above)]
    kept = {name: digest for name, digest in named_files.items() if name not in inputs}
    return Layer(kind, name, _digest([FORMAT, *parts]), parents, dict(inputs), kept)


def _referenced(
    reference: str, what: str, project: Project, files: Files
) -> tuple[dict[str, str], dict[str, str]]:
    """The digests of a ``module:function``'s module and its imports, and of the files they name."""
    return _split(_reached_by(reference, what, project, files), project, files)


def _reached_by(reference: str, what: str, project: Project, files: Files) -> set[str]:
    """The files of a reference's module, and those that it imports and names.

    An installed package has none, which may do for a context.

    Raises:
        ConfigError: there is no such module.
    """
    module = reference.partition(":")[0]
    path = files.find_module(module)
    if path is None:
        if what == "context" and _is_installed(module):
            return set()
        searched = ", ".join(files.search_path)
        raise ConfigError(
            f"no module {module!r} for {what} {reference!r} in {searched}",
            hint="correct the name, or add its folder to pythonpath",
        )
    packages = module.split(".")
    paths = set(files.closure(path))
    for count in range(1, len(packages)):
        package = files.find_module(".".join(packages[:count]))
        if package:
            paths |= files.closure(package)
    return paths


def _is_installed(module: str) -> bool:
    """Whether there is such a package beside the project; nothing is imported."""
    # The caller's own folders are not the builder's.
    installed = [folder for folder in sys.path if is_librarys(folder)]
    return PathFinder.find_spec(module.partition(".")[0], installed) is not None


def _globbed(project: Project) -> set[str]:
    """The files that ``inputs`` names; a folder stands for all that is in it."""
    matched: set[str] = set()
    for pattern in project.inputs:
        matches = glob.glob(pattern, root_dir=project.root, recursive=True)
        if not matches:
            raise ConfigError(
                f"inputs pattern {pattern!r} matches no file below {project.root}",
                hint="correct the pattern or remove it",
            )
        paths = {str(project.root / match) for match in matches}
        folders = {path for path in paths if os.path.isdir(path)}
        matched |= paths - folders
        if os.path.basename(pattern) != "**":
            below = (_below(folder) for folder in folders)
            matched.update(itertools.chain.from_iterable(below))
    return {path for path in matched if "__pycache__" not in path.split(os.sep)}


def _below(folder: str) -> list[str]:
    """The files in a folder, as the pattern ``folder/**`` finds them."""
    inside = glob.glob(os.path.join(glob.escape(folder), "**"), recursive=True)
    return [path for path in inside if not os.path.isdir(path)]


def _split(
    paths: Iterable[str], project: Project, files: Files, script: str = ""
) -> tuple[dict[str, str], dict[str, str]]:
    """The digests of the Python files, and those of all other files."""
    code: list[str] = []
    other_files: list[str] = []
    for path in paths:
        (code if path.endswith(".py") else other_files).append(path)
    return _digests(code, project, files, script), _digests(other_files, project, files)


def _digests(
    paths: Iterable[str], project: Project, files: Files, script: str = ""
) -> dict[str, str]:
    """The digests of files by their names. Ignored files are left out, a ``script`` never."""
    named_paths = ((project.relative(path), path) for path in sorted(paths))
    return {
        name: files.digest(path)
        for name, path in named_paths
        if path == script or not project.ignores(name)
    }


def _heads(revisions: Mapping[str, Layer]) -> tuple[str, ...]:
    parents = {parent for layer in revisions.values() for parent in layer.parents}
    return tuple(sorted(name for name in revisions if name not in parents))


_as_text = json.JSONEncoder(separators=(",", ":")).encode


def _digest(value: Any) -> str:
    return hashlib.sha256(_as_text(value).encode()).hexdigest()
