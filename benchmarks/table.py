"""A table of docs/performance.md, from a result of ``run.py``: between its two comments."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
_START, _END = "<!-- {}results -->\n", "<!-- end of {}results -->\n"
_HEAD = "| | on | ratio | rounds | goal | |\n|---|---|---|---|---|---|\n"
_VERDICTS = {None: "", True: "met", False: "missed"}


def main(result: Path) -> None:
    """Write the table of one result into the page."""
    record = json.loads(result.read_text())
    kind = "postgres " if "postgresql" in record else ""
    start, end = _START.format(kind), _END.format(kind)
    before, _, rest = PAGE.read_text().partition(start)
    _, _, after = rest.partition(end)
    rows = "".join(map(_line, record["rows"]))
    skipped = "".join(f"\nSkipped: {item['what']}: {item['why']}.\n" for item in record["skipped"])
    PAGE.write_text(f"{before}{start}\n{_HEAD}{rows}{skipped}\n{end}{after}")


def _line(row: dict[str, Any]) -> str:
    sign = "≥" if row["at_least"] else "≤"
    goal = "" if row["goal"] is None else f"{sign} {row['goal']:g}"
    spread = f"{row['low']:.2f} to {row['high']:.2f}"
    cells = (row["name"], row["schema"], f"{row['ratio']:.2f}", spread, goal, _VERDICTS[row["met"]])
    return f"| {' | '.join(cells)} |\n"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
