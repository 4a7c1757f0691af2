"""What one run of the builder is to reach, and whether its revisions found what they may need.

A state that is kept on the way may end a run of ``env.py``: what revisions left in its connection,
or in that run, is gone for those after it.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

from alembic_snapshot.build.ancestors import Ancestor, UnfitAncestor
from alembic_snapshot.build.process import Child
from alembic_snapshot.builder.protocol import CONNECTION, RUN, Step
from alembic_snapshot.database.target import Workspace
from alembic_snapshot.key.layers import State
from alembic_snapshot.store.manifest import Entry


class Plan(NamedTuple):
    """The plan of one run of the builder: which states it reaches, from what, and where."""

    workspace: Workspace
    ancestor: Ancestor | None
    handover: str
    states: Sequence[State]
    steps: Sequence[Step]


class Broken(Exception):
    """A state on the way left in its connection what the revisions after it may need.

    ``published`` are the states that were reached. If these revisions run in one go, nothing is to
    be built on them.
    """

    def __init__(self, published: Sequence[Entry] = ()):
        super().__init__()
        self.published = published


def see_that_nothing_is_missed(child: Child, plan: Plan) -> None:
    """See that revisions which ran on a new connection had all that those before them left.

    Raises:
        Broken: they had not.
    """
    for index, (step, after) in enumerate(itertools.pairwise(plan.steps)):
        is_upgrade = step.does == after.does == "upgrade"
        state = child.states.get(index)
        if is_upgrade and state and not state.goes_on and {CONNECTION, RUN} & {*state.left}:
            raise Broken


def see_that_env_runs_once(child: Child, plan: Plan) -> None:
    """See that an ``env.py`` that leaves more each time has run as often as on an empty database.

    Raises:
        UnfitAncestor: it had run for the state that the build began from.
        Broken: it has run again for the revisions after a state on the way.
    """
    if not child.facts.env_writes:
        return
    if plan.ancestor is not None:
        raise UnfitAncestor(())
    upgrades = [index for index, step in enumerate(plan.steps) if step.does == "upgrade"]
    if any(not child.states[index].goes_on for index in upgrades[:-1] if index in child.states):
        raise Broken


def may_miss_something(child: Child, plan: Plan) -> bool:
    """Whether a revision failed in another run of ``env.py`` than those before it, or between."""
    upgrades = [index for index, step in enumerate(plan.steps) if step.does == "upgrade"]
    if not child.failed or len(upgrades) < 2 or upgrades[-1] in child.states:
        return False
    if not child.states:
        return child.failed.current is None and bool(child.facts.applied)
    return any(not state.goes_on for state in child.states.values())
