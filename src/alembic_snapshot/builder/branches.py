"""The order in which revisions run: that of one upgrade of an empty database.

Revisions on two branches may touch the same table. Which of them runs first decides the order of
its columns and the numbers of its rows. So a database at some revisions is the same wherever its
build began: one that would come to another order is none to build on, and none to keep.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from alembic.script import Script


class Disordered(Exception):
    """Revisions have run on the database in another order than ``order``, that of an empty one."""

    def __init__(self, order: Sequence[str]):
        super().__init__("branches ran in another order than on an empty database")
        self.order = order


def is_line(revisions: Iterable[Script], heads: Sequence[str]) -> bool:
    """Whether a history has one order only."""
    return len(heads) == 1 and not any(
        revision.is_branch_point or revision.is_merge_point or revision.dependencies
        for revision in revisions
    )


def in_order(script: Any, last: Any = "heads") -> list[str]:
    """The revisions to ``last`` as one upgrade of an empty database runs them."""
    return _names(script._upgrade_revs(last, ()))


def ordered(script: Any, last: Any, target: Any, current: Any) -> list[Any] | None:
    """The steps from the revisions ``current`` to ``target``, on the way to ``last``.

    Returns:
        The steps; None if a database at ``target`` is none to keep on this way.

    Raises:
        Disordered: the database at ``current`` is none to build on.
    """
    whole = in_order(script, last)
    left = set(_names(script._upgrade_revs(last, current)))
    done = [name for name in whole if name not in left]
    if not _is_beginning(script, done, whole):
        raise Disordered(whole)
    steps = script._upgrade_revs(target, current)
    reached = {*done, *_names(steps)}
    if not _is_beginning(script, [name for name in whole if name in reached], whole):
        return None
    # Scripts may be others where they run; the heads that follow are compared then.
    places = {name: place for place, name in enumerate(whole)}
    return sorted(steps, key=lambda step: places.get(step.revision.revision, len(places)))


def _is_beginning(script: Any, some: Sequence[str], whole: Sequence[str]) -> bool:
    """Whether these come first, and in the order that they would have without the others."""
    below = {parent for name in some for parent in script.get_revision(name)._all_down_revisions}
    heads = tuple(name for name in some if name not in below)
    alone = in_order(script, heads) if heads else []
    return list(some) == list(whole[: len(some)]) == alone


def _names(steps: Iterable[Any]) -> list[str]:
    return [step.revision.revision for step in steps]
