"""The states below a snapshot that a store may have instead, and how long a build takes."""

from __future__ import annotations

from collections.abc import Sequence

from alembic_snapshot.key.layers import Chain, State
from alembic_snapshot.store.manifest import Manifest

# Seconds: for a build of which nothing is known; what others tell is not waited for without end.
_UNKNOWN_BUILD = 60.0
_SHORTEST, _START, _LONGEST = 3.0, 2.0, 600.0
# How many states below a snapshot are looked for.
_MOST = 64


def expected_seconds(chain: Chain, known: Sequence[Manifest]) -> float:
    """How long a build from nothing would take, as earlier builds' times tell; else a limit."""
    timings: dict[str, float] = {}
    for manifest in known:
        timings.update(manifest.timings)
    ours = [*chain.revisions, *(layer.name for layer in chain.seeds)]
    told = [timings[name] for name in ours if name in timings]
    if not told:
        return _UNKNOWN_BUILD
    return min(_LONGEST, max(_SHORTEST, _START + sum(told) / len(told) * len(ours)))


def states_below(chain: Chain, have: int) -> list[State]:
    """The states below the snapshot that a build may have published, the deepest first.

    Of those with ``have`` layers or fewer, the machine has one itself.
    """
    states = [*chain.published_states()]
    if not chain.opaque:
        order = list(chain.revisions)
        states += [chain.state(chain.below([name])) for name in reversed(order)]
    deepest: dict[str, State] = {}
    for state in states:
        if len(state.revisions) + len(state.seeds) > have:
            deepest.setdefault(state.digest, state)
    ranked = sorted(deepest.values(), key=lambda s: (len(s.revisions), len(s.seeds)), reverse=True)
    return [one for one in ranked if one.digest != chain.target.digest][:_MOST]


def is_of(manifest: Manifest, state: State) -> bool:
    """Whether a manifest describes a state of ours, layer by layer."""
    return (dict(manifest.revisions), list(manifest.seeds)) == (
        dict(state.revisions),
        list(state.seeds),
    )
