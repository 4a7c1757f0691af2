"""The charts of the README and of docs/performance.md: what a whole test costs in each way.

From a result of ``run.py`` on SQLite it draws the ways and their growth with the data, from one on
PostgreSQL the ways. Needs the dependency group ``bench``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

_OURS, _THEIRS = "#0b6e99", "#8a8f98"
_WAYS = {
    "reset": ("clones = reset", _OURS),
    "fresh": ("clones = fresh, the default", _OURS),
    "hand-written": ("a conftest that copies a file", _THEIRS),
    "create_all": ("create_all, in memory", _THEIRS),
    "upgrade": ("alembic upgrade for each test", _THEIRS),
}
_POSTGRES_WAYS = {
    "reset": ("clones = reset", _OURS),
    "fresh": ("clones = fresh, the default", _OURS),
    "truncate": ("TRUNCATE of every table", _THEIRS),
    "hand-written": ("CREATE DATABASE … TEMPLATE, by hand", _THEIRS),
    "pytest-postgresql": ("pytest-postgresql", _THEIRS),
}
# What a dot is called, whether it is filled, and where its number stands.
_SCHEMAS = {
    "application": ("the application of this repository", True, True),
    "400 tables": ("400 tables", False, False),
}
_GROWING = {
    "fresh": ("clones = fresh", "#8a5a00", True),
    "rewrite": ("reset = rewrite, insisted on", _THEIRS, False),
    "reset": ("clones = reset", _OURS, False),
}
_SIZES = {
    "10 tables": "none",
    "10 tables, 10 MB": "10 MB",
    "10 tables, 100 MB": "100 MB",
    "10 tables, 1000 MB": "1 GB",
}
_PREFIX, _SUFFIX = "whole test: ", " ÷ savepoint"
_PLAIN = {"facecolor": "white", "edgecolor": "none", "pad": 0.6}
_TIMES = "\N{MULTIPLICATION SIGN}"
_AXIS = f"{_TIMES} the savepoint recipe"

Ratios = dict[tuple[str, str], float]


def main(result: Path) -> None:
    """Draw the charts of one result."""
    import matplotlib

    matplotlib.use("Agg")
    # Text stays text: it can be searched, read aloud, and is in the reader's own font.
    matplotlib.rcParams.update({"svg.fonttype": "none", "font.family": "sans-serif"})
    record = json.loads(result.read_text())
    ratios = _ratios(record)
    if "postgresql" in record:
        _draw_ways(result.with_name("chart-postgres.svg"), ratios, _POSTGRES_WAYS, "PostgreSQL")
        return
    _draw_ways(result.with_name("chart.svg"), ratios, _WAYS, "SQLite")
    _draw_growth(result.with_name("chart-growth.svg"), ratios)


def _ratios(record: dict[str, Any]) -> Ratios:
    return {
        (row["name"].removeprefix(_PREFIX).removesuffix(_SUFFIX), row["schema"]): row["ratio"]
        for row in record["rows"]
        if row["name"].startswith(_PREFIX) and row["name"].endswith(_SUFFIX)
    }


def _draw_ways(path: Path, ratios: Ratios, ways: dict[str, tuple[str, str]], kind: str) -> None:
    """A row for each way, and in it a dot for each of two schemas."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 1.6 + 0.5 * len(ways)), layout="constrained")
    axes.set_title(f"What a whole test costs on {kind}", loc="left", fontsize=12)
    for row, (way, (_, colour)) in enumerate(ways.items()):
        for schema, (_, filling, above) in _SCHEMAS.items():
            if (way, schema) in ratios:
                face = colour if filling else "white"
                axes.plot(
                    ratios[way, schema], row, "o", color=colour, mfc=face, markersize=8, zorder=4
                )
                _label(axes, ratios[way, schema], row, (0, 8 if above else -16))
    for name, filling, _ in _SCHEMAS.values():
        face = "#555555" if filling else "white"
        axes.plot([], [], "o", color="#555555", mfc=face, label=name, markersize=7)
    axes.set(yticks=range(len(ways)), yticklabels=[label for label, _ in ways.values()])
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(f"{{x:g}} {_TIMES}")
    axes.set_xlabel(f"{_AXIS}, logarithmic: left is faster")
    axes.axvline(1, color="#222222", linewidth=1)
    axes.margins(x=0.06, y=0.14)
    axes.invert_yaxis()
    axes.grid(axis="y", color="#dddddd", linewidth=0.8)
    axes.tick_params(axis="y", length=0)
    figure.legend(loc="outside lower center", ncols=2, fontsize=9, frameon=False)
    _save(figure, axes, path)


def _draw_growth(path: Path, ratios: Ratios) -> None:
    """A line for each way, over the size of the database."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 3.4), layout="constrained")
    axes.set_title("What rows cost that a test does not touch, on SQLite", loc="left", fontsize=12)
    for way, (label, colour, above) in _GROWING.items():
        found = [(n, ratios[way, s]) for n, s in enumerate(_SIZES) if (way, s) in ratios]
        places, values = zip(*found, strict=True)
        axes.plot(places, values, "o-", color=colour, markersize=7, zorder=4)
        for place, value in found[1:]:
            _label(axes, place, value, (0, 8 if above else -16), value)
        away = (12, 3 if above else -12)
        axes.annotate(label, (places[-1], values[-1]), away, textcoords="offset points")
    axes.set(xticks=range(len(_SIZES)), xticklabels=list(_SIZES.values()), xlim=(-0.2, 4.4))
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(f"{{x:g}} {_TIMES}")
    axes.set_ylabel(f"{_AXIS},\nlogarithmic: lower is faster")
    axes.set_xlabel("rows in a table beside those of the test")
    axes.axhline(1, color="#222222", linewidth=1)
    axes.margins(y=0.15)
    axes.grid(axis="y", color="#dddddd", linewidth=0.8)
    _save(figure, axes, path)


def _label(
    axes: Any, x: float, y: float, away: tuple[int, int], ratio: float | None = None
) -> None:
    shown = x if ratio is None else ratio
    text = f"{shown:.1f}" if shown < 20 else f"{shown:.0f}"
    axes.annotate(
        text,
        (x, y),
        away,
        textcoords="offset points",
        ha="center",
        fontsize=8,
        zorder=3,
        bbox=_PLAIN,
    )


def _save(figure: Any, axes: Any, path: Path) -> None:
    from matplotlib import pyplot

    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    pyplot.rcParams["svg.hashsalt"] = path.stem
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    main(Path(sys.argv[1]))
