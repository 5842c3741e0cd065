"""What names the lines of a picture: words at their ends where there is room, a legend below where not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil
from textwrap import fill
from typing import Any, NamedTuple

import numpy as np

from rnnbp.colours import INK
from rnnbp.flow.measures.found import Line, Panel, Picture
from rnnbp.flow.pictures.looks import Look, Style
from rnnbp.flow.pictures.points import placed

SAMPLE = 13  # a line's sample and the space around it, in letters


class Entry(NamedTuple):
    """A line of a legend: its text, colour, and the dash and marker that it explains."""

    text: str
    colour: str
    marks: Mapping[str, Any]


def named(subject: str, line: Line, alone: bool) -> str:
    """What a line is called where lines of several subjects, or of one alone, are in a picture."""
    return line.label if alone or line.label == subject else f"{subject}: {line.label}"


def legend_entries(style: Style, panels: Mapping[str, Panel], together: bool) -> list[list[Entry]]:
    """Groups of entries: one for each line, or, where that is shorter, the subjects' colours and the labels' marks.

    Panels that do not stand together have their subjects' names over them, and need the labels' marks alone.
    """
    marks = {line.label: style.marks(line.label, line.style) for panel in panels.values() for line in panel.lines}
    labels = [Entry(label, INK["light"], look) for label, look in marks.items()]
    if not together:
        return [labels] if set(marks) - set(panels) else []
    alone = len(panels) == 1
    each = [
        Entry(named(subject, line, alone), style.colour(subject), marks[line.label])
        for subject, panel in panels.items()
        for line in panel.lines
    ]
    if len(each) <= len(panels) + len(marks):
        return [each]
    return [[Entry(s, style.colour(s), {"linewidth": 4, "solid_capstyle": "butt"}) for s in panels], labels]


class Block(NamedTuple):
    """A legend as it is set: texts that fit the width, columns, and its height in inches."""

    texts: tuple[str, ...]
    columns: int
    height: float


def set_block(entries: Sequence[Entry], look: Look) -> Block:
    """As many columns as the longest text leaves room for."""
    texts = tuple(fill(entry.text, look.letters - SAMPLE) for entry in entries)
    widest = max(len(line) for text in texts for line in text.split("\n"))
    columns = max(1, min(len(texts), look.letters // (widest + SAMPLE)))
    rows = ceil(len(texts) / columns) * (1 + max(text.count("\n") for text in texts))
    return Block(texts, columns, (rows * 1.45 + 0.8) * look.font / 72)


def add_legends(figure: Any, groups: Sequence[Sequence[Entry]], look: Look) -> None:
    """The legends, one under the other, filling a figure of their own."""
    from matplotlib.lines import Line2D

    blocks = [set_block(entries, look) for entries in groups]
    top, whole = 1.0, sum(block.height for block in blocks)
    for entries, block in zip(groups, blocks, strict=True):
        handles = [Line2D([], [], color=entry.colour, **entry.marks) for entry in entries]
        place = {"loc": "upper center", "bbox_to_anchor": (0.5, top), "ncols": block.columns, "borderaxespad": 0}
        made = figure.legend(handles, block.texts, frameon=False, handlelength=3, **place)
        made.set_in_layout(False)  # its room is made already
        top -= block.height / whole


def name_subject(axes: Any, subject: str, style: Style, letters: int) -> None:
    """The subject's name over its panel, beside its colour, in lines of so many letters."""
    from matplotlib.patches import Patch

    place = {"loc": "lower left", "bbox_to_anchor": (0, 1), "borderaxespad": 0.2, "borderpad": 0}
    size = {"handlelength": 1, "handleheight": 0.8, "frameon": False}
    axes.legend([Patch(color=style.colour(subject))], [fill(subject, letters)], **place, **size)


def direct_labels(panels: Mapping[str, Panel], what: Picture, look: Look) -> list[tuple[str, float, float]]:
    """A text for each line and the point where it ends, if all end far apart, at the right, and texts are short."""
    lines = [(subject, line) for subject, panel in panels.items() for line in panel.lines]
    points = [_points(line, what) for _, line in lines]
    texts = [named(subject, line, len(panels) == 1) for subject, line in lines]
    if not lines or any(not len(x) for x, _ in points) or any(line.style in ("bars", "points") for _, line in lines):
        return []
    xs, ys = (np.concatenate(parts) for parts in zip(*points, strict=True))
    across, up = max(np.ptp(xs), 1e-300), max(np.ptp(ys), 1e-300)
    ends = sorted(y[-1] for _, y in points)
    room = 1.3 * look.font / 72 / (0.7 * look.heights(1, 1))  # a line of text as a part of the axes' height
    apart = all(b - a > room * up for a, b in zip(ends, ends[1:], strict=False))
    right = all(xs.max() - x[-1] < 0.02 * across for x, _ in points)
    if not (apart and right and max(map(len, texts)) <= look.letters // 5):
        return []
    return [
        (text, float(line.x[placed(line, what)][-1]), float(line.y[placed(line, what)][-1]))
        for text, (_, line) in zip(texts, lines, strict=True)
    ]


def _points(line: Line, what: Picture) -> tuple[Any, Any]:
    """The points that are drawn, in the scales of the axes."""
    fits = placed(line, what)
    x, y = line.x[fits], line.y[fits]
    return (np.log(x) if what.x.log else x, np.log(y) if what.y.log else y)
