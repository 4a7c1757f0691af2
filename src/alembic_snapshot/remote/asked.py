"""The shared store as commands ask it, by hand: what is there, who is believed, what it lets do."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable, Sequence
from typing import Any

from alembic_snapshot.checks import number
from alembic_snapshot.key.layers import Chain, State
from alembic_snapshot.remote.record import Record, doubt
from alembic_snapshot.remote.shared import SMALL, WHOLE, Off, SharedStore
from alembic_snapshot.store.manifest import Entry, Manifest

# Of the reasons why nothing counts.
_SHOWN = 3


class AskedStore(SharedStore):
    """The shared store, for one command on a project. It is closed by whoever opens it."""

    def peek(self, state: State, fits: Callable[[Manifest], bool]) -> Record | None:
        """The record of a snapshot that would be received, if its content is there, too."""
        with contextlib.suppress(Off):
            for record in self._usable(self._look([state]), [state], fits):
                why = self._ask("lacks", self._patience, record=record.to_values())["why"]
                if why is None:
                    return record
                self._reject([record.refused(why)])
            self._look_for_others(state)
        return None

    def pull(self, chain: Chain, fits: Callable[[Manifest], bool]) -> Entry | None:
        """The snapshot itself, if it is there."""
        try:
            entry = self._fetch_first([chain.target], fits)
        except Off:
            return None
        self.report.got = "hit" if entry else "miss"
        if entry is None:
            self._look_for_others(chain.target)
        return entry

    def listed(self) -> list[Record]:
        """Every record of the scopes that are read, the latest first."""
        with contextlib.suppress(Off):
            return self._records(self._ask("listed", WHOLE, scopes=list(self.settings.scopes)))
        return []

    def is_reached(self) -> bool:
        """Whether it answers."""
        with contextlib.suppress(Off):
            self._ask("look", SMALL, digests=["0" * 64], scopes=list(self.settings.scopes))
            return True
        return False

    def is_writable(self) -> bool:
        """Whether it takes, and gives back, what a build writes first: the lease of a snapshot.

        It is that of one that nobody has.
        """
        digest = secrets.token_hex(32)
        with contextlib.suppress(Off):
            if self._take(digest):
                self._leased = None
                self._ask("release", SMALL, digest=digest)
                return True
            if self._leaseless is not None:
                self._switch_off(self._leaseless)
                return False
            self._warn("it says of a lease that nobody can have that another one has it")
        return False

    def mistrusted(self) -> list[str]:
        """What there is to say of scopes that have records, none of which counts."""
        with contextlib.suppress(Off):
            answer = self._ask("signers", WHOLE, scopes=list(self.settings.scopes))
            signers = {
                scope: [s for at, s in answer["found"] if at == scope]
                for scope in self.settings.scopes
            }
            lines = [self._doubts(scope, of_scope) for scope, of_scope in signers.items()]
            lines += [
                f"whether the records in the scope {scope} count is not known, since it can't be "
                f"listed: {why}"
                for scope, why in answer["unlisted"].items()
            ]
            return [line for line in lines if line is not None]
        return self.report.warnings

    def _ask(self, do: str, seconds: float, **arguments: Any) -> dict[str, Any]:
        """An answer of the store; whoever asks by hand hears that it was not asked, too."""
        why = self._why_off()
        if why is not None:
            self._warn(f"not used for the rest of this run: {why}")
        return super()._ask(do, seconds, **arguments)

    def _doubts(self, scope: str, signers: Sequence[str | None]) -> str | None:
        """Why none of the records of these signers counts, if that is so."""
        why = [doubt(scope, signer, self.settings.keys) for signer in signers]
        if not why or None in why:
            return None
        reasons = list(dict.fromkeys(filter(None, why)))
        left = len(reasons) - _SHOWN
        more = f"; and {number(left, 'more reason')}" if left > 0 else ""
        said = "; ".join(reasons[:_SHOWN]) + more
        return f"the scope {scope} has {number(len(why), 'record')}, and none counts: {said}"
