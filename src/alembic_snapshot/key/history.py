"""The revision scripts as a history, as far as reading tells it: no script is imported."""

from __future__ import annotations

import functools
import graphlib
import os
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from alembic_snapshot.errors import ScriptError
from alembic_snapshot.key.inputs import Files
from alembic_snapshot.project.alembic_settings import look_deeper
from alembic_snapshot.project.config import Project

# The fields that say where a revision is in the history.
_PARENTS = ("revision", "down_revision", "depends_on")


class Script(NamedTuple):
    """One revision script as it is read; only a run tells the values of ``computed`` fields.

    They are empty here.
    """

    path: str
    id: str
    down: tuple[str, ...]
    depends_on: tuple[str, ...]
    labels: tuple[str, ...]
    computed: tuple[tuple[str, int], ...] = ()

    @property
    def dynamic(self) -> bool:
        """Whether only a run tells where it is in the history."""
        return any(field in _PARENTS for field, _ in self.computed)


def find_scripts(project: Project, files: Files) -> list[Script]:
    """The revision scripts in the project's version locations, in the order of their paths.

    Raises:
        ScriptError: one does not parse, or is no revision script.
    """
    scripts = []
    for path in _script_files(project, files):
        parsed = files.facts(path)
        if parsed.error:
            python = "{}.{}".format(*sys.version_info)
            raise ScriptError(
                f"{project.relative(path)} does not parse: {parsed.error}",
                hint=f"correct the file, if it is not for a later Python than {python}",
            )
        fields = parsed.revision
        if fields is None:
            raise ScriptError(
                f"{project.relative(path)} is no revision script: it does not assign revision",
                hint="move it out of the version location, or give it a revision",
            )
        for field, line, value in fields.get("wrong", ()):
            kinds = "a string" if field == "revision" else "a string, a tuple of some, or None"
            raise ScriptError(
                f"{project.relative(path)} line {line}: {field} is {value}, not {kinds}",
                hint="write the revision's id in quotes",
            )
        scripts.append(
            Script(
                path,
                str(fields.get("revision", "")),
                _names(fields.get("down_revision")),
                _names(fields.get("depends_on")),
                _names(fields.get("branch_labels")),
                tuple(map(tuple, fields["computed"])),
            )
        )
    return scripts


def why_opaque(project: Project, scripts: Sequence[Script]) -> tuple[str, ...]:
    """Why only a run tells the revisions: what is computed, and where. Empty if reading does."""
    if project.migrate is not None:
        return (f"migrate makes the database: {project.migrate}",)
    if not scripts:
        places = ", ".join(map(project.relative, map(str, project.alembic.version_locations)))
        return (f"there are no revision scripts in {places}",)
    dynamic = (script for script in scripts if script.computed)
    computed = [reason for script in dynamic for reason in _computed(script, _PARENTS, project)]
    return tuple(computed or _unknown_labels(scripts, project))


def _computed(script: Script, fields: Collection[str], project: Project) -> list[str]:
    """Which of these fields of a script are computed, a line each."""
    where = project.relative(script.path)
    computed = [(field, line) for field, line in script.computed if field in fields]
    return [f"{where} line {line}: {field} is computed" for field, line in computed]


def _unknown_labels(scripts: Sequence[Script], project: Project) -> Iterator[str]:
    """Dependencies on a name that no script is sure to define, where labels are computed."""
    some = (script for script in scripts if script.computed)
    computed = [r for script in some for r in _computed(script, ("branch_labels",), project)]
    if not computed:
        return
    known = {name for script in scripts for name in (script.id, *script.labels)}
    for script in scripts:
        for name in (*script.down, *script.depends_on):
            if name not in known:
                where = project.relative(script.path)
                yield f"{where} stands on {name!r}, and {'; '.join(computed)}"


def _script_files(project: Project, files: Files) -> list[str]:
    """The files in the version locations that Alembic loads, each once."""
    paths: dict[str, str] = {}
    real = functools.cache(os.path.realpath)
    for location in map(str, project.alembic.version_locations):
        if not project.alembic.recursive:
            candidates = [os.path.join(location, name) for name in files.listing(location)]
        else:
            candidates = list(_below(location))
        for path in sorted(candidates):
            folder, name = os.path.split(path)
            if name.endswith(".py") and not name.startswith((".#", "__init__")):
                paths.setdefault(os.path.join(real(folder), name), path)
    return list(paths.values())


def _below(location: str) -> Iterator[str]:
    """The files of which Alembic loads scripts: hidden ones, too, and none through links."""
    for folder, _, names in os.walk(location):
        if not folder.endswith("__pycache__"):
            yield from (os.path.join(folder, name) for name in names)


def _names(value: Any) -> tuple[str, ...]:
    if not value:
        return ()
    return (value,) if isinstance(value, str) else tuple(str(item) for item in value)


def in_order(scripts: Sequence[Script], project: Project) -> list[tuple[Script, tuple[str, ...]]]:
    """The scripts and their parents, parents first, in the same order everywhere.

    Raises:
        ScriptError: a parent is missing, an id is there twice, or there is a cycle.
    """
    by_id: dict[str, Script] = {}
    for script in sorted(scripts, key=lambda script: script.id):
        other = by_id.setdefault(script.id, script)
        if other is not script:
            raise ScriptError(
                f"revision {script.id} is there twice: {project.relative(other.path)} and "
                f"{project.relative(script.path)}",
                hint="give one of them another revision id",
            )
    parents = {
        script.id: tuple(
            dict.fromkeys(
                _resolve(name, script, by_id, project)
                for name in (*script.down, *script.depends_on)
            )
        )
        for script in by_id.values()
    }
    try:
        ordered = list(graphlib.TopologicalSorter(parents).static_order())
    except graphlib.CycleError as error:
        first, second = error.args[1][:2]
        raise ScriptError(
            f"circular dependency between revisions {first} and {second}",
            hint="correct a down_revision or depends_on",
        ) from error
    return [(by_id[name], parents[name]) for name in ordered]


def _resolve(name: str, script: Script, by_id: Mapping[str, Script], project: Project) -> str:
    if name in by_id:
        return name
    matches = [other.id for other in by_id.values() if name in other.labels]
    matches = matches or [revision for revision in by_id if revision.startswith(name)]
    if len(matches) == 1:
        return matches[0]
    raise ScriptError(
        f"{project.relative(script.path)} refers to revision {name!r}, "
        + ("which does not exist" if not matches else f"which {' and '.join(matches)} match"),
        hint=(None if matches else look_deeper(project.alembic))
        or "add the missing file, or correct down_revision or depends_on",
    )
