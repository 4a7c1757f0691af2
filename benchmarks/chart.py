"""The chart of the README: what a whole test costs in each way, from a result of ``run.py``.

Writes ``chart.svg`` and ``chart.png`` beside the result, ``chart-postgres`` for one on PostgreSQL.
Needs the dependency group ``bench``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

_WAYS = {
    "reset": ("clones = reset", "#2a6f97"),
    "fresh": ("clones = fresh (default)", "#61a5c2"),
    "hand-written": ("hand-written copying conftest", "#c9ada7"),
    "create_all": ("create_all in memory", "#9a8c98"),
    "upgrade": ("alembic upgrade for each test", "#4a4e69"),
}
_POSTGRES_WAYS = {
    "fresh": ("clones = fresh (default)", "#61a5c2"),
    "truncate": ("TRUNCATE every table", "#c9ada7"),
    "hand-written": ("hand-written: CREATE DATABASE … TEMPLATE", "#9a8c98"),
    "pytest-postgresql": ("pytest-postgresql", "#4a4e69"),
}
_PREFIX, _SUFFIX = "whole test: ", " ÷ savepoint"
_OTHERS = ("async", "MB")


def main(result: Path) -> None:
    """Draw the chart of one result."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    record = json.loads(result.read_text())
    ratios = _ratios(record)
    ways, name = (_WAYS, "chart")
    if "postgresql" in record:
        ways, name = (_POSTGRES_WAYS, "chart-postgres")
    schemas = list(dict.fromkeys(schema for _, schema in ratios))
    figure, axes = pyplot.subplots(figsize=(8, 0.6 + 1.1 * len(schemas)), layout="constrained")
    height = 0.8 / len(ways)
    for index, (way, (label, colour)) in enumerate(ways.items()):
        bars = [(row, ratios[way, s]) for row, s in enumerate(schemas) if (way, s) in ratios]
        places = [row + (index - len(ways) / 2 + 0.5) * height for row, _ in bars]
        drawn = axes.barh(places, [ratio for _, ratio in bars], height, label=label, color=colour)
        axes.bar_label(
            drawn,
            fmt=lambda ratio: f"{ratio:.1f}" if ratio < 20 else f"{ratio:.0f}",
            padding=3,
            fontsize=8,
        )
    axes.axvline(1, color="#222222", linewidth=1)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.margins(x=0.12)
    axes.set(yticks=range(len(schemas)), yticklabels=schemas)
    axes.set_xlabel("a whole test, relative to the SAVEPOINT recipe (= 1, with emulated commits)")
    axes.invert_yaxis()
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3, fontsize=8, frameon=False)
    pyplot.rcParams["svg.hashsalt"] = name
    figure.savefig(result.with_name(f"{name}.svg"), metadata={"Date": None})
    figure.savefig(result.with_name(f"{name}.png"), dpi=160)


def _ratios(record: dict[str, list[dict[str, object]]]) -> dict[tuple[str, str], float]:
    found: dict[tuple[str, str], float] = {}
    for row in record["rows"]:
        name, schema = str(row["name"]), str(row["schema"])
        # The chart compares schemas: asynchronous tests and large data are in the table only.
        if name.startswith(_PREFIX) and name.endswith(_SUFFIX) and not schema.endswith(_OTHERS):
            way = name.removeprefix(_PREFIX).removesuffix(_SUFFIX)
            found[way, schema] = float(str(row["ratio"]))
    return found


if __name__ == "__main__":
    main(Path(sys.argv[1]))
