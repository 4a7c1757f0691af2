"""Tens of thousands of rounds of random work on databases that are put back.

    python tests/reset/soak.py [--rounds 30000] [--seed N]

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

from campaign import Campaign, Difference

_ROUNDS_OF_A_SEED = 500


def main() -> int:
    """Run until the rounds are done or one has failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=30_000)
    parser.add_argument("--seed", type=int, help="repeat one seed only")
    options = parser.parse_args()
    counts: Counter[str] = Counter()
    started = time.monotonic()
    rounds = _ROUNDS_OF_A_SEED if options.seed is not None else options.rounds
    for _ in range(0, rounds, _ROUNDS_OF_A_SEED):
        seed = options.seed if options.seed is not None else random.randrange(10**9)
        with tempfile.TemporaryDirectory(prefix="soak-") as folder:
            campaign = Campaign(Path(folder), seed)
            try:
                campaign.run(_ROUNDS_OF_A_SEED)
            except Difference as difference:
                print(f"DIFFERENT: {difference}\nrepeat it with --seed {seed}", file=sys.stderr)
                return 1
            finally:
                campaign.close()
            counts += campaign.counts
    for name, number in counts.most_common():
        print(f"{number:8}  {name}")
    print(f"{counts.total():8}  rounds in {time.monotonic() - started:.0f} s, no difference")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
