"""Curves in a log-log plot, as one piece of SVG that needs nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from math import ceil, floor, isfinite, log10
from typing import NamedTuple

WIDTH, HEIGHT, MARGIN, LEGEND = 420, 300, 52, 170  # pixels
ROW = 17  # from one line of the legend to the next
RIGHT = ("#1b7837", "#2166ac", "#762a83", "#5aae61", "#4393c3", "#9970ab", "#01665e", "#35978f", "#8c510a")
WRONG = ("#b2182b", "#d6604d", "#e08214", "#c51b7d")


class Curve(NamedTuple):
    """Points (x, y) with what the legend says; those of `fitted`, first … last−1, are drawn larger."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    fitted: tuple[int, int]
    right: bool


def picture(title: str, curves: Sequence[Curve], x_name: str, y_name: str) -> str:
    """The curves, those that are not right in reds, and a line of slope 1 and one of slope 2 to compare with."""
    points = [(x, y) for curve in curves for x, y in zip(curve.x, curve.y, strict=True) if _drawn(x, y)]
    if not points:
        return f"<p>{escape(title)}: nothing to draw</p>"
    x_range, y_range = (_decades([point[axis] for point in points]) for axis in (0, 1))

    def at(x: float, y: float) -> tuple[float, float]:
        right = (log10(x) - x_range[0]) / (x_range[1] - x_range[0])
        up = (log10(y) - y_range[0]) / (y_range[1] - y_range[0])
        return MARGIN + right * (WIDTH - MARGIN - 8), HEIGHT - MARGIN + up * (24 + MARGIN - HEIGHT)

    parts = [_text(MARGIN, 14, title)]
    parts += [_tick(*at(10.0**k, 10.0 ** y_range[0]), k, 0, 16) for k in _some(*x_range)]
    parts += [_tick(*at(10.0 ** x_range[0], 10.0**k), k, -34, 4) for k in _some(*y_range)]
    parts += [_text(WIDTH - 20, HEIGHT - MARGIN + 34, x_name), _text(4, 14, y_name)]
    for power in (1, 2):  # through the upper right corner
        low = max(float(x_range[0]), x_range[1] - (y_range[1] - y_range[0]) / power)
        ends = (
            at(10.0**low, 10.0 ** (y_range[1] - power * (x_range[1] - low))),
            at(10.0 ** x_range[1], 10.0 ** y_range[1]),
        )
        parts.append(_path(ends, "#bbbbbb", "4 3"))
        parts.append(_text(ends[0][0] + 4, ends[0][1] - 4, f"slope {power}", "#777777"))
    counts = {True: 0, False: 0}
    for row, curve in enumerate(curves):
        colours = RIGHT if curve.right else WRONG
        colour = colours[counts[curve.right] % len(colours)]
        counts[curve.right] += 1
        shown = [(k, at(x, y)) for k, (x, y) in enumerate(zip(curve.x, curve.y, strict=True)) if _drawn(x, y)]
        parts.append(_path([place for _, place in shown], colour))
        sizes = (3.2 if curve.fitted[0] <= k < curve.fitted[1] else 1.2 for k, _ in shown)
        dots = zip(shown, sizes, strict=True)
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{r}" fill="{colour}"/>' for (_, (x, y)), r in dots]
        parts.append(_text(WIDTH + 12, 30 + ROW * row, curve.label, colour))
    height = max(HEIGHT, 40 + ROW * len(curves))
    size = f'width="{WIDTH + LEGEND}" height="{height}" viewBox="0 0 {WIDTH + LEGEND} {height}"'
    style = 'font-family="sans-serif" font-size="12"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" role="img" {size} {style}>{"".join(parts)}</svg>'


def _drawn(x: float, y: float) -> bool:
    """Whether a logarithm has a place for the point."""
    return x > 0 and y > 0 and isfinite(x) and isfinite(y)


def _decades(values: Sequence[float]) -> tuple[int, int]:
    """The powers of ten around the values, at least one apart."""
    low, high = floor(log10(min(values))), ceil(log10(max(values)))
    return low, max(high, low + 1)


def _some(low: int, high: int) -> range:
    """At most eight whole numbers from low to high."""
    return range(low, high + 1, 1 + (high - low) // 8)


def _text(x: float, y: float, text: str, colour: str = "currentColor") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour}">{escape(text)}</text>'


def _tick(x: float, y: float, power: int, right: float, down: float) -> str:
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="1" fill="currentColor"/>' + _text(x + right, y + down, f"1e{power}")


def _path(points: Sequence[tuple[float, float]], colour: str, dashes: str = "") -> str:
    route = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline points="{route}" fill="none" stroke="{colour}" stroke-dasharray="{dashes}"/>'
