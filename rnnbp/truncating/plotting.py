"""A comparison as a picture: norm ratio and cosine over k, and the other kinds beside them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rnnbp.benching.plotting import require_matplotlib
from rnnbp.colours import LIGHT
from rnnbp.truncating.reports import ALL, Comparison, Row

TENSORS, WHOLE = LIGHT[:-1], LIGHT[-1]
MARKERS = "osD^vPX"
OVER_K = "k, steps that errors flow back (log scale)"
MEASURES = {"ratio": "norm ratio  ‖g‖ / ‖f‖", "cosine": "cosine of g and f"}


def draw(path: Path, found: Comparison) -> None:
    """Write the picture; its format follows the ending of its name. g is the truncated gradient, f the full one."""
    first = {row.k: row for row in reversed(found.rows) if row.k is not None}  # one for each k makes a line
    over_k = [first[k] for k in sorted(first)]
    others = [row for row in found.rows if row not in over_k and row.kind != found.full.kind]
    widths = [part for part, rows in ((3.0, over_k), (0.8 + 0.45 * len(others), others)) if rows] or [3.0]
    figure = require_matplotlib()(figsize=(3.0 + 2.0 * sum(widths), 6.4), layout="constrained")
    figure.suptitle(f"{found.title.partition(';')[0]}: truncated gradient g, full gradient f", fontsize=10)
    grid = figure.subplots(2, len(widths), squeeze=False, sharey="row", width_ratios=widths)
    for axes, (measure, said) in zip(grid, MEASURES.items(), strict=True):
        for part, rows in zip(axes, filter(None, (over_k, others)), strict=False):
            _fill(part, rows, measure, rows is over_k)
            if measure == list(MEASURES)[-1]:
                part.set_xlabel(OVER_K if rows is over_k else "other truncations", fontsize=9)
        for part in axes:
            part.axhline(1.0, color="0.4", linestyle="--", linewidth=1, label="full gradient")
            part.grid(alpha=0.3)
        axes[0].set_ylabel(said, fontsize=9)
    handles, labels = grid[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center", fontsize=8, frameon=False)
    figure.savefig(path, dpi=150)


def _fill(axes: Any, rows: Sequence[Row], measure: str, over_k: bool) -> None:
    """One measure of each tensor: lines over k on a logarithmic axis, or points over kinds."""
    places = [row.k or 0 if over_k else n for n, row in enumerate(rows)]
    names = list(rows[0].tensors)
    for n, name in enumerate(names):
        values = [getattr(row.tensors[name], measure) for row in rows]
        shift = 0.0 if over_k else 0.5 * ((n + 1) / (len(names) + 1) - 0.5)  # points of one kind side by side
        whole = name == ALL
        axes.plot(
            [place + shift for place in places],
            values,
            label=name,
            color=WHOLE if whole else TENSORS[n % 6],
            marker=MARKERS[0 if whole else 1 + n % 6],
            markersize=5,
            linewidth=(2.2 if whole else 1.3) if over_k else 0,
            linestyle="-" if whole else ("-", "--", ":", "-.")[n // 6 % 4],
        )
    if over_k:
        axes.set_xscale("log", base=2)
        axes.set_xticks(places, [str(place) for place in places], fontsize=8)
        axes.minorticks_off()
    else:
        axes.set_xticks(places, [row.kind for row in rows], rotation=35, ha="right", fontsize=8)
        axes.set_xlim(-0.6, len(rows) - 0.4)
