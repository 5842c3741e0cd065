"""The numbers of a report and of its pictures as tables for a page."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from math import isinf, isnan, nan

import numpy as np

from rnnbp.flow.measures.found import Line, Panel, Picture
from rnnbp.flow.pictures.legends import named
from rnnbp.flow.reports import Report
from rnnbp.numerics import HostArray
from rnnbp.pages import table

ROWS, COLUMNS = 25, 12  # at most, of a table and of the steps across one of a heat map


def written(x: float) -> str:
    """A number to four digits, nothing for a nan."""
    return "" if isnan(x) else ("−∞" if x < 0 else "∞") if isinf(x) else f"{x:.4g}"


def thinned(n: int, most: int) -> list[int]:
    """At most so many of the numbers 0 … n − 1, evenly, the first and the last among them."""
    return sorted({round(k) for k in np.linspace(0, n - 1, min(n, most)).tolist()})


def summary(report: Report) -> str:
    """All numbers: measurements down, subjects across, as far as they have them."""
    subjects = list(report.found.values())
    names = dict.fromkeys((name, number) for one in subjects for name, m in one.items() for number in m.numbers)
    order = list(dict.fromkeys(name for one in subjects for name in one))
    rows = [
        (f"{name}: {number}", *(written(one[name].numbers.get(number, nan)) if name in one else "" for one in subjects))
        for name, number in sorted(names, key=lambda both: order.index(both[0]))
    ]
    return table(("", *report.found), rows, "All numbers") if rows else ""


def lines_table(panels: Mapping[str, Panel], what: Picture) -> str:
    """The curves side by side over all their x, of which at most 25 are shown."""
    lines = [(named(s, line, len(panels) == 1), line) for s, panel in panels.items() for line in panel.lines]
    xs = np.unique(np.concatenate([line.x for _, line in lines]))
    rows = [xs[k] for k in thinned(len(xs), ROWS)]
    body = [(written(float(x)), *(written(_at(line, float(x))) for _, line in lines)) for x in rows]
    said = f"{len(rows)} of {len(xs)} points. " if len(rows) < len(xs) else ""
    return f"<p>{said}</p>" * bool(said) + table((what.x.label, *(label for label, _ in lines)), body, what.title)


def _at(line: Line, x: float) -> float:
    return float(next(iter(line.y[line.x == x]), float("nan")))


def image_table(image: HostArray, what: Picture, subject: str) -> str:
    """Some cells of a heat map, y down from 0."""
    down, across = thinned(image.shape[0], ROWS), thinned(image.shape[1], COLUMNS)
    colour = what.colour.label if what.colour else ""
    said = f"<p>{escape(f'{subject}, {colour}. Down: {what.y.label}; across: {what.x.label}.')}</p>"
    body = [(str(y), *(written(float(image[y, x])) for x in across)) for y in down]
    return said + table(("", *map(str, across)), body, f"{what.title}: {subject}")
