"""A table of magnitudes as a heat map on a logarithmic scale, in the shades of a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, log10

import numpy as np

from rnnbp.numerics import HostArray

SHADES = "░▒▓█"  # from small to large
ZERO, BROKEN, WRONG = "·", "?", "!"  # exactly zero; not finite; marked
DECADES = 16  # what lies further below the largest value has the lightest shade, as double precision would have it
WIDTH, TALLEST = 80, 44  # columns and rows of a terminal


def thresholds(values: HostArray) -> list[float]:
    """The least value of each shade, evenly in the logarithm over the values' range; none if all are zero."""
    found = np.abs(values[np.isfinite(values) & (values != 0)])
    if not found.size:
        return []
    top = log10(found.max())
    step = min(max(top - log10(found.min()), 1), DECADES) / len(SHADES)
    return [10.0 ** (top - step * (len(SHADES) - k)) for k in range(len(SHADES))]


def shade(value: float, least: Sequence[float]) -> int | None:
    """The number of a value's shade, None for an exact zero."""
    if value == 0:
        return None
    return max([0, *(k for k, bound in enumerate(least) if abs(value) >= bound)])


def text(
    values: HostArray,
    rows: Sequence[str],
    columns: Sequence[str],
    wrong: HostArray | None = None,
    *,
    axes: tuple[str, str] = ("t", "s"),
) -> list[str]:
    """Lines of at most `WIDTH` characters: the columns' labels, the rows, the legend.

    values (R, C); `wrong` marks entries with an exclamation mark; `axes` names rows and columns. A table that is too
    wide or too tall is pooled: a place then shows the largest of its entries, and is marked if any is.
    """
    marks = np.zeros(values.shape, dtype=bool) if wrong is None else wrong
    margin = max(len(corner(axes)), *map(len, rows)) + 2
    pool = max(1, ceil(len(columns) / (WIDTH - margin)), ceil(len(rows) / TALLEST))
    shown, marks = pooled(values, pool), pooled(marks, pool)
    rows, columns = rows[::pool], columns[::pool]
    cell = min(3, (WIDTH - margin) // len(columns))
    least = thresholds(values)
    lines = [_heading(axes, columns, margin, cell)]
    for label, entries, flags in zip(rows, shown, marks, strict=True):
        places = "".join(_place(v, bool(m), least, cell) for v, m in zip(entries, flags, strict=True))
        lines.append(f"{label:>{margin - 1}} {places}".rstrip())
    return [*lines, *_legend(least, wrong is not None, pool).splitlines()]


def pooled(values: HostArray, n: int) -> HostArray:
    """The largest of every n×n entries."""
    starts = [np.arange(0, size, n) for size in values.shape]
    return values if n == 1 else np.maximum.reduceat(np.maximum.reduceat(values, starts[0], 0), starts[1], 1)


def _place(value: float, marked: bool, least: Sequence[float], cell: int) -> str:
    k = shade(value, least) if np.isfinite(value) else None
    sign = BROKEN if not np.isfinite(value) else ZERO if k is None else SHADES[k]
    if cell == 1:
        return WRONG if marked else sign
    return (sign if sign == ZERO else sign * (cell - 1)).ljust(cell - 1) + (WRONG if marked else " ")


def corner(axes: tuple[str, str]) -> str:
    """The names of rows and columns, where the labels of both meet."""
    return "\\".join(filter(None, axes))


def _heading(axes: tuple[str, str], columns: Sequence[str], margin: int, cell: int) -> str:
    """The columns' labels, as many as have room."""
    line = f"{corner(axes):>{margin - 1}} "
    for k, label in enumerate(columns):
        at = margin + k * cell
        if len(line) <= at and at + len(label) <= margin + len(columns) * cell:
            line = f"{line:<{at}}{label} "
    return line.rstrip()


def _legend(least: Sequence[float], marked: bool, pool: int) -> str:
    bounds = [f"{sign} {'≥' if k else '<'} {least[max(k, 1)]:.1e}" for k, sign in enumerate(SHADES) if least]
    parts = [*reversed(bounds), f"{ZERO} zero"] + [f"{WRONG} wrong"] * marked
    return ", ".join(parts) + f"\neach place shows the largest of {pool}×{pool}" * (pool > 1)
