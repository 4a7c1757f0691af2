"""Print the time that the tests of each folder took, from a report that pytest has written.

It counts seconds of the processes that ran tests; what others did beside them makes them longer.
"""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parents[1]


def room_of(name: str) -> str:
    """The folder of a test's file; the name is dotted and goes on in the file."""
    folder = ROOT
    for part in name.split("."):
        if not (folder / part).is_dir():
            break
        folder /= part
    return str(folder.relative_to(ROOT))


def main(report: str) -> int:
    """A line for each room, the longest first."""
    try:
        cases = list(ElementTree.parse(report).iter("testcase"))
    except FileNotFoundError:
        print(f"error: {report} is not there\nhint: run make test before", file=sys.stderr)
        return 2
    except (OSError, ElementTree.ParseError) as error:
        print(f"error: {report} is no report: {error}\nhint: run make test again", file=sys.stderr)
        return 2
    seconds: defaultdict[str, float] = defaultdict(float)
    tests: Counter[str] = Counter()
    for case in cases:
        room = room_of(case.get("classname", ""))
        seconds[room] += float(case.get("time", 0))
        tests[room] += 1
    whole = sum(seconds.values())
    print(f"{len(cases)} tests, {whole:.0f} seconds of work")
    for room, took in sorted(seconds.items(), key=lambda item: -item[1]):
        print(f"{took / whole if whole else 0:6.1%}  {tests[room]:5} tests  {room}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
