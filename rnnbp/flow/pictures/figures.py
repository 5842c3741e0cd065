"""A picture of a report as a matplotlib figure: one pair of axes for all subjects, or one for each."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import fill
from typing import Any

import numpy as np

from rnnbp.benching.plotting import label_plainly, require_matplotlib
from rnnbp.colours import FAINT, INK, LIGHT
from rnnbp.flow.measures import PICTURES
from rnnbp.flow.measures.found import Line, Panel, Picture
from rnnbp.flow.pictures.heatmaps import draw_images
from rnnbp.flow.pictures.legends import Entry, add_legends, direct_labels, legend_entries, name_subject, set_block
from rnnbp.flow.pictures.looks import MARKED, Look, Style, style_of
from rnnbp.flow.pictures.points import left_out, placed
from rnnbp.flow.reports import Report
from rnnbp.numerics import HostArray

# text as it is written, for a label may have a $ in it; no date and no random ids, so that a picture has one file
SETTINGS = {"text.parse_math": False, "svg.fonttype": "none", "svg.hashsalt": "rnnbp"}
STEPS = (1, 2, 5, 10)  # between the numbers at an axis: those of 2.5 are long


def settings(look: Look) -> dict[str, Any]:
    """What matplotlib is told before it makes and writes a figure."""
    inks = ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color")
    sizes = {"font.size": look.font, "axes.labelsize": look.font, "axes.titlesize": look.font}
    small = {name: look.font - 0.5 for name in ("xtick.labelsize", "ytick.labelsize", "legend.fontsize")}
    return {**SETTINGS, **dict.fromkeys(inks, INK["light"]), **sizes, **small}


def figure_of(report: Report, picture: str, look: Look) -> Any:
    """The figure; its `settings` must be in force. Subjects are drawn in the order of the report."""
    what, panels = PICTURES[picture], report.panels(picture)
    style = style_of(tuple(report.found), panels)
    together = what.together and what.colour is None and len(report.found) <= len(LIGHT)
    groups = [panels] if together else [{subject: panel} for subject, panel in panels.items()]
    ends = direct_labels(panels, what, look) if together else []
    entries = [] if ends or what.colour is not None else legend_entries(style, panels, together)
    columns = min(len(groups), look.columns)
    figure, upper, lower = _parts(what, look, (-(-len(groups) // columns), columns), entries)
    shared = {"sharex": True, "sharey": not what.own_scale, "squeeze": False}
    grid = upper.subplots(-(-len(groups) // columns), columns, **shared)
    for axes, group in zip(grid.flat, groups, strict=False):
        set_axes(axes, what, [line for panel in panels.values() for line in panel.lines])
        for subject, panel in group.items():
            draw_lines(axes, what, subject, panel, style)
        if not together:
            name_subject(axes, next(iter(group)), style, int(look.letters / columns * (0.65 if what.colour else 0.8)))
    for text, x, y in ends:
        grid[0, 0].annotate(text, (x, y), (5, 0), textcoords="offset points", va="center", annotation_clip=False)
    if what.colour is not None:
        draw_images(upper, list(grid.flat[: len(groups)]), list(panels.values()), what)
    for k, axes in enumerate(grid.flat):
        axes.tick_params(which="both", labelbottom=k + columns >= len(groups))  # the last row may have a gap
        axes.set_visible(k < len(groups))
    said = left_out(panels.values(), what) if look.titled else ""  # a page says so in its text
    upper.supxlabel("\n".join(filter(None, (what.x.label, fill(said, look.letters)))), fontsize="medium")
    if lower is not None:
        add_legends(lower, entries, look)
    return figure


def _parts(
    what: Picture, look: Look, shape: tuple[int, int], entries: Sequence[Sequence[Entry]]
) -> tuple[Any, Any, Any | None]:
    """A figure, its part for rows and columns of panels, and the part for legends below, if there are any."""
    title = fill(what.title, int(0.85 * look.letters)) if look.titled else ""
    above = (title.count("\n") + 1) * look.font * 1.6 / 72 if title else 0.0
    part, below = look.heights(*shape), sum(set_block(group, look).height for group in entries)
    figure = require_matplotlib()(figsize=(look.width, above + part + below), layout="constrained")
    upper, lower = figure.subfigures(2, 1, height_ratios=[above + part, below]) if entries else (figure, None)
    if title:
        upper.suptitle(title, fontsize="medium", fontweight="bold")
    upper.supylabel(fill(what.y.label, max(20, int(look.letters * part / look.width))), fontsize="medium")
    return figure, upper, lower


def set_axes(axes: Any, what: Picture, lines: Sequence[Line]) -> None:
    """Scales, numbers and grid."""
    from matplotlib.ticker import MaxNLocator

    axes.spines[["top", "right"]].set_visible(False)
    if what.colour is None:
        axes.grid(color=FAINT["light"], linewidth=0.6)
        axes.set_axisbelow(True)
    else:
        axes.set_facecolor(FAINT["light"])  # shows where there is nothing
    for axis, scale in ((axes.xaxis, what.x), (axes.yaxis, what.y)):
        if scale.log:
            getattr(axes, f"set_{axis.axis_name}scale")("log")
            label_plainly(axis)
    whole = [axes.xaxis] if not what.x.log and all(np.array_equal(line.x, np.round(line.x)) for line in lines) else []
    for axis in [axes.xaxis, axes.yaxis] if what.colour is not None else whole:
        axis.set_major_locator(MaxNLocator("auto", integer=True, steps=STEPS))
    if what.colour is None and not what.x.log and not whole:
        axes.xaxis.set_major_locator(MaxNLocator("auto", steps=STEPS))


def draw_lines(axes: Any, what: Picture, subject: str, panel: Panel, style: Style) -> None:
    """The lines of one subject."""
    colour = style.colour(subject)
    for k, line in enumerate(panel.lines):
        fits, marks = placed(line, what), style.marks(line.label, line.style)
        y = np.where(fits, line.y, np.nan)
        if line.style == "bars":
            axes.stairs(y, edges(line, what), baseline=None, color=colour, **marks)
            if len(panel.lines) == 1:
                axes.stairs(y, edges(line, what), fill=True, color=colour, alpha=0.15)
            continue
        marked = np.flatnonzero(fits) if line.style == "points" else marked_points(line, what, k)
        axes.plot(np.where(fits, line.x, np.nan), y, color=colour, markevery=marked.tolist(), **marks)


def marked_points(line: Line, what: Picture, k: int) -> HostArray:
    """The numbers of the points that get a marker: evenly along the axis, of each line k at other places."""
    fits = np.flatnonzero(placed(line, what))
    if len(fits) <= MARKED:
        return fits
    x = np.log(line.x[fits]) if what.x.log else line.x[fits]
    step = np.ptp(x) / MARKED
    places = x.min() + step * (np.arange(MARKED) + (k % 4) / 4)
    return np.unique(fits[np.abs(x[:, None] - places).argmin(0)])


def edges(line: Line, what: Picture) -> Any:
    """Where bars over the middles x begin and end, (n + 1,): half-way between them, in the scale of the axis."""
    x = np.log(line.x) if what.x.log else np.asarray(line.x, float)
    width = np.diff(x) if len(x) > 1 else np.ones(1)
    found = np.concatenate([x[:1] - width[:1] / 2, x[:-1] + width / 2 if len(x) > 1 else [], x[-1:] + width[-1:] / 2])
    return np.exp(found) if what.x.log else found
