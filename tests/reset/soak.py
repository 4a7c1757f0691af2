"""Tens of thousands of rounds of random work on databases that are put back.

    python -m tests.reset.soak [--clones reset|rewind|server] [--rounds 30000] [--seed N]

``server`` is what a reset is on PostgreSQL, on the server in use; a tenth of the rounds.

Prints what happened how often; exits with 1, and the seed, at the first difference.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from alembic_snapshot.postgres.server import server_in_use
from alembic_snapshot.sqlite.reset.rewind import Rewindable
from alembic_snapshot.sqlite.reset.rewrite import Reusable

from .campaign import Campaign, Difference
from .server_campaign import ServerCampaign

_ROUNDS_OF_A_SEED = 500
_KINDS = {"reset": Reusable, "rewind": Rewindable}
_SERVER = "server"
_WAYS = (*_KINDS, _SERVER)


def main() -> int:
    """Run until the rounds of each kind are done or one has failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clones", choices=_WAYS, help="one kind (all)")
    parser.add_argument("--rounds", type=int, default=30_000, help="of each kind")
    parser.add_argument("--seed", type=int, help="repeat one seed only")
    options = parser.parse_args()
    rounds = _ROUNDS_OF_A_SEED if options.seed is not None else options.rounds
    for name in [options.clones] if options.clones else _WAYS:
        fewer = 10 if name == _SERVER and not options.clones else 1
        if not _soak(name, rounds // fewer, options.seed):
            return 1
    return 0


def _soak(name: str, rounds: int, seed_to_repeat: int | None) -> bool:
    counts: Counter[str] = Counter()
    started = time.monotonic()
    for _ in range(0, rounds, _ROUNDS_OF_A_SEED):
        seed = seed_to_repeat if seed_to_repeat is not None else random.randrange(10**9)
        with tempfile.TemporaryDirectory(prefix="soak-") as folder:
            campaign = _campaign(name, Path(folder), seed)
            try:
                campaign.run(_ROUNDS_OF_A_SEED)
            except Difference as difference:
                print(f"DIFFERENT: {difference}", file=sys.stderr)
                print(f"repeat it with --clones {name} --seed {seed}", file=sys.stderr)
                return False
            finally:
                campaign.close()
            counts += campaign.counts
    print(f"clones = {name}")
    for what, number in counts.most_common():
        print(f"{number:8}  {what}")
    print(f"{counts.total():8}  rounds in {time.monotonic() - started:.0f} s, no difference")
    return True


def _campaign(name: str, folder: Path, seed: int) -> Campaign | ServerCampaign:
    if name == _SERVER:
        return ServerCampaign(server_in_use(), seed)
    return Campaign(folder, seed, _KINDS[name])


if __name__ == "__main__":
    raise SystemExit(main())
