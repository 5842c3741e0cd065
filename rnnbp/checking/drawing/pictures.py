"""Heat maps as SVG pictures, for a page that needs nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from math import ceil, log10

import numpy as np

from rnnbp.checking.drawing.heatmap import corner, pooled, thresholds
from rnnbp.numerics import HostArray

WIDEST = 110  # columns of a picture


def picture(
    values: HostArray,
    rows: Sequence[str],
    columns: Sequence[str],
    wrong: HostArray | None = None,
    *,
    axes: tuple[str, str] = ("t", "s"),
    title: str = "",
    notes: Sequence[Sequence[str]] | None = None,
    scale: HostArray | None = None,
) -> str:
    """A table as `heatmap.text` takes it, as SVG: dark is large, an empty place exactly zero, a red frame wrong.

    `notes` (R, C) are shown where the pointer rests on a place; a table of more than 110 columns is pooled as
    there, without notes. `scale` holds the values that the shades span, where several pictures share them.
    """
    if len(columns) > WIDEST:
        pool = ceil(len(columns) / WIDEST)
        values, wrong, notes = pooled(values, pool), None if wrong is None else pooled(wrong, pool), None
        rows, columns = rows[::pool], columns[::pool]
        title += f", each place the largest of {pool}×{pool}"
    size, left, top = max(6, min(22, 660 // max(len(columns), 1))), 44, 40
    least = thresholds(values if scale is None else scale)
    parts = []
    for r, label in enumerate(rows):
        y = top + r * size
        if r % _every(size) == 0 or r == len(rows) - 1:
            parts.append(f'<text x="{left - 6}" y="{y + size * 0.7:.0f}" text-anchor="end">{escape(label)}</text>')
        for c in range(len(columns)):
            note = escape(notes[r][c]) if notes else f"{values[r, c]:.3g}"
            place = f'x="{left + c * size + 1}" y="{y + 1}" width="{size - 2}" height="{size - 2}"'
            stroke = '#d00000" stroke-width="2' if wrong is not None and wrong[r, c] else "#d8dce2"
            colour = _colour(float(values[r, c]), least)
            parts.append(f'<rect {place} fill="{colour}" stroke="{stroke}"><title>{note}</title></rect>')
    for c in range(0, len(columns), _every(size)):
        parts.append(f'<text x="{left + (c + 0.5) * size:.0f}" y="{top - 6}" text-anchor="middle">{columns[c]}</text>')
    parts.append(f'<text x="0" y="12">{escape(title)}</text><text x="0" y="{top - 6}">{escape(corner(axes))}</text>')
    wide, high = left + len(columns) * size + 8, top + len(rows) * size + 22
    legend = "empty: zero" + ", red frame: wrong" * (wrong is not None)
    if least:
        legend += ", light {:.1e} to dark {:.1e}, logarithmic".format(*_ends(least))
    parts.append(f'<text x="0" y="{high - 6}">{legend}</text>')
    wide = max(wide, 7 * len(title), 6 * len(legend))
    style = "font: 11px sans-serif; fill: currentColor"
    return f'<svg viewBox="0 0 {wide} {high}" width="{wide}" height="{high}" style="{style}">{"".join(parts)}</svg>'


def _ends(least: Sequence[float]) -> tuple[float, float]:
    """The values that the lightest shade begins with and the darkest ends with."""
    return least[0], least[-1] * least[1] / least[0]


def _every(size: int) -> int:
    return ceil(18 / size)


def _colour(value: float, least: Sequence[float]) -> str:
    """From light to dark blue, evenly in the logarithm; none for zero, grey for what is not finite."""
    if not np.isfinite(value):
        return "#888888"
    if value == 0 or not least:
        return "none"
    low, high = map(log10, _ends(least))
    depth = min(1.0, max(0.0, (log10(abs(value)) - low) / (high - low)))
    light, dark = (222, 235, 247), (8, 48, 107)
    return "#" + "".join(f"{round(a + depth * (b - a)):02x}" for a, b in zip(light, dark, strict=True))
