"""Whether each name in ``remote_private`` is one of something that can be kept back."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from itertools import chain

from alembic_snapshot.errors import ConfigError
from alembic_snapshot.key.history import find_scripts, why_opaque
from alembic_snapshot.key.inputs import Files
from alembic_snapshot.project.config import Project


def refuse_unknown_private(project: Project, files: Files) -> None:
    """Refuse a name in ``remote_private`` that keeps nothing back.

    The first database's key is that of the others, too: one of them has to have the name.

    Raises:
        ConfigError: none has a layer, a seed or a revision that is called so, as far as reading
            tells.
    """
    for name in sorted(set(project.remote_private) - _layers_and_seeds(project)):
        meant = [project, *(one for one in project.others if name in one.remote_private)]
        known = set(chain.from_iterable(map(_layers_and_seeds, meant)))
        opaque: list[str] = []
        for one in meant:
            revisions, why = _revisions(one, files)
            known |= revisions
            opaque += why
        if name not in known:
            untold = f" that is known before it runs ({opaque[0]})" if opaque else ""
            raise ConfigError(
                f"remote_private names {name!r}, which is no layer, seed or revision{untold}",
                hint=_nearest(name, sorted(known)),
            )


def _layers_and_seeds(project: Project) -> set[str]:
    return {*project.layers, *project.seeds, *chain.from_iterable(project.layers.values())}


def _revisions(project: Project, files: Files) -> tuple[set[str], Sequence[str]]:
    """The ids of a database's revisions, and why they are not known, if they aren't."""
    scripts = find_scripts(project, files)
    opaque = why_opaque(project, scripts)
    return (set() if opaque else {script.id for script in scripts}), opaque


def _nearest(name: str, known: Sequence[str]) -> str:
    lowered = {one.lower(): one for one in known}
    longer = [one for one in known if one.startswith(name)]
    close = difflib.get_close_matches(name.lower(), lowered, n=1, cutoff=0.5)
    if longer or close:
        return f"did you mean {(longer or [lowered[close[0]]])[0]!r}?"
    return "write a layer's name, a seed's module:function, or the whole id of a revision"
