"""Put mistakes into what guards the guarantees, one at a time, and see which tests notice.

    python -m tests.mutants [--all] [--sample N] [--seed N] [--jobs N] [--limit SECONDS]

Without --all: mistakes in lines that differ from origin/main, or from the commit before if none do.
With it: a random sample of all. Exit status 0 if enough are caught, 1 if not, 2 if that can't be
told.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from queue import SimpleQueue

from .changed import changed_lines
from .copies import Copy
from .guards import ROOT, Guard, guards
from .known import FILE, Known
from .mutants import Mutant, mutants
from .run import Broken, Result, confirm, run

ENOUGH = 85


def main() -> int:
    """Choose, run, and tell."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("--all", action="store_true", help="of all lines, and not the changed ones")
    parser.add_argument("--sample", type=_count, help="how many (100 of all; every changed one)")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="of the sample")
    parser.add_argument("--jobs", type=_count, default=2, help="how many at once (2)")
    parser.add_argument("--limit", type=float, default=400, help="seconds for one (400)")
    parser.add_argument("--only", default="", help="a part of the modules' paths")
    options = parser.parse_args()
    try:
        return _main(options)
    except (Broken, LookupError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _count(text: str) -> int:
    if int(text) < 0:
        raise argparse.ArgumentTypeError(f"{text} is below zero")
    return int(text)


def _main(options: argparse.Namespace) -> int:
    known = Known(FILE.read_text(encoding="utf-8"))
    wanted = [guard for guard in guards() if options.only in guard.path]
    every = [(guard, m) for guard in wanted for m in mutants(ROOT, guard.path)]
    if gone := known.gone(ROOT, (mutant for _, mutant in every), options.only):
        raise ValueError(
            f"{FILE.name} names mutants that do not exist:\n  "
            + "\n  ".join(gone)
            + "\nhint: the code has changed: remove these entries, or write what differs now"
        )
    where = "all lines"
    if not options.all:
        base, changed = changed_lines(ROOT)
        where = f"the lines changed since {base}"
        every = [(g, m) for g, m in every if changed[m.path] & set(range(m.line, m.last + 1))]
    count = (100 if options.all else len(every)) if options.sample is None else options.sample
    chosen, left_out = choose(every, count, options.seed, known)
    print(f"{len(every)} mutants of {where}; {len(chosen)} chosen with seed {options.seed}", end="")
    print(f"; {left_out} known as equivalent left out" if left_out else "", flush=True)
    if not chosen:
        print("\nnothing is tried: no mutant is in these lines of what guards a guarantee")
        return 0
    return _report(_run(chosen, options), whole=options.all)


def choose(
    every: list[tuple[Guard, Mutant]], count: int, seed: int, known: Known
) -> tuple[list[tuple[Guard, Mutant]], int]:
    """As many as wanted, at random, that are Python and not known; and how many were known."""
    texts = {path: (ROOT / path).read_text(encoding="utf-8") for path in {m.path for _, m in every}}
    chosen: list[tuple[Guard, Mutant]] = []
    left_out = 0
    for guard, mutant in random.Random(seed).sample(every, len(every)):
        if len(chosen) == count:
            break
        text = texts[mutant.path]
        if not mutant.is_python(text):
            continue
        if known.why(mutant, text):
            left_out += 1
        else:
            chosen.append((guard, mutant))
    return chosen, left_out


def _run(chosen: list[tuple[Guard, Mutant]], options: argparse.Namespace) -> list[Result]:
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        free: SimpleQueue[Copy] = SimpleQueue()
        jobs = max(1, min(options.jobs, len(chosen)))
        for number in range(jobs):
            free.put(Copy(ROOT, Path(folder, str(number))))

        def one(item: tuple[Guard, Mutant]) -> Result:
            copy = free.get()
            try:
                return run(*item, copy, options.limit)
            finally:
                free.put(copy)

        results = []
        with ThreadPoolExecutor(jobs) as pool:
            try:
                for done in as_completed([pool.submit(one, item) for item in chosen]):
                    results.append(result := done.result())
                    print(f"{len(results):4} {result}", flush=True)
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        confirm(results, free.get(), options.limit)
        return results


def _report(results: list[Result], *, whole: bool) -> int:
    survivors = [result for result in results if not result.by]
    for result in survivors:
        print(f"\nsurvived: {result.place} ({result.guard.room})\n{result.diff}")
    caught = len(results) - len(survivors)
    score = 100 * caught / len(results)
    print(f"\n{caught} of {len(results)} caught: {score:.0f} %", flush=True)
    return int(score < ENOUGH if whole else bool(survivors))


if __name__ == "__main__":
    sys.exit(main())
