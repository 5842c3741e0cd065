"""What was found of the gradient's flow, in a terminal: a table of numbers, sentences, and curves as sparklines."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from math import isfinite, log, nan
from textwrap import wrap
from typing import TYPE_CHECKING, NamedTuple

from rnnbp_cli.tables import show_sections

if TYPE_CHECKING:
    from rnnbp.flow.measures.found import Line, Measured, Picture
    from rnnbp.flow.reports import Report

BARS = "▁▂▃▄▅▆▇█"
WIDTH = 40  # characters of a sparkline
EDGE = 100  # where sentences break, if not before


class Said(NamedTuple):
    """A line, or a sentence that may be broken into several."""

    text: str
    indent: int = 0
    style: str = ""
    breaks: bool = True


def show(report: Report) -> None:
    """All of it: the numbers of the subjects side by side, then picture by picture, then what was left out and why."""
    from rich.console import Console
    from rich.markup import escape

    console = Console(emoji=False)
    width = min(console.width, EDGE) if console.is_terminal else EDGE

    def say(line: Said) -> None:
        first, more = " " * line.indent, " " * (line.indent + 2)
        texts = wrap(line.text, width, initial_indent=first, subsequent_indent=more) if line.breaks else [line.text]
        for text in texts or [""]:
            console.print(escape(text), style=line.style, highlight=False, soft_wrap=True)

    for label, about in report.about.items():
        say(Said(f"{label}: {about}", style="bold"))
    show_sections("", ["measure", "number", *report.found], _numbers(report), (), names=2)
    for line in (*_pictures(report), *_notes(report), *_left_out(report)):
        say(line)


def _numbers(report: Report) -> Iterator[list[list[str]]]:
    """A section for each measure, a row for each number, a column for each subject."""
    for measure in next(iter(report.found.values())):
        of_subjects = [one[measure].numbers for one in report.found.values()]
        names = dict.fromkeys(name for numbers in of_subjects for name in numbers)
        rows = [[name, *(short(n[name]) if name in n else "" for n in of_subjects)] for name in names]
        if rows:
            yield [[measure if k == 0 else "", *row] for k, row in enumerate(rows)]


def _pictures(report: Report) -> Iterator[Said]:
    """Every picture: its title, and for each subject what is seen and the curves."""
    from rnnbp.flow.measures import PICTURES

    for name in report.pictures:
        picture = PICTURES[name]
        yield Said("")
        yield Said(picture.title, style="bold")
        panels = report.panels(name)
        for label, panel in panels.items():
            yield Said(f"{label}: {panel.seen}" if len(report.found) > 1 or len(panels) > 1 else panel.seen, 2)
            curves = {line.label: curve(line, picture) for line in panel.lines if ordered(line)}
            wide = max(map(len, curves), default=0)
            for text, drawn in curves.items():
                yield Said(f"    {text:<{wide}}  {drawn}", breaks=False)
            if curves:
                yield Said(f"    {'':<{wide}}  {axes(picture, panel.lines)}", style="dim", breaks=False)


def _notes(report: Report) -> Iterator[Said]:
    """What a reader must know, said once where it is the same for several subjects."""
    yield from _of_each(report, "notes", lambda found: found.notes)


def _left_out(report: Report) -> Iterator[Said]:
    """What was refused, and why."""
    yield from _of_each(report, "left out", lambda found: (found.refused,) if found.refused else ())


def _of_each(report: Report, title: str, of: Callable[[Measured], Sequence[str]]) -> Iterator[Said]:
    said: dict[tuple[str, str], list[str]] = {}
    for label, one in report.found.items():
        for measure, found in one.items():
            for text in of(found):
                said.setdefault((measure, text), []).append(label)
    if said:
        yield Said("")
        yield Said(title, style="bold")
    for (measure, text), labels in said.items():
        whose = "" if len(labels) == len(report.found) else f" of {', '.join(labels)}"
        yield Said(f"{measure}{whose}: {text}", 2)


def ordered(line: Line) -> bool:
    """Whether it is a curve: a cloud of points is not."""
    return all(a < b for a, b in pairwise(float(x) for x in line.x))


def curve(line: Line, picture: Picture) -> str:
    """A sparkline, and the smallest and the largest value."""
    y = [float(v) if v > 0 or not picture.y.log else nan for v in line.y]
    there = [v for v in y if isfinite(v)]
    if not there:
        return "nothing to show"
    return f"{sparkline(y, picture.y.log)}  {short(min(there))} … {short(max(there))}"


def axes(picture: Picture, lines: Sequence[Line]) -> str:
    """What the curves show, and over what."""
    xs = [float(x) for line in lines for x in line.x]
    scale = ", log scale" if picture.y.log else ""
    return f"{picture.y.label}{scale}; over {picture.x.label}, {short(min(xs))} … {short(max(xs))}"


def sparkline(values: Sequence[float], logarithmic: bool, width: int = WIDTH) -> str:
    """One character for each value, or for the mean of several where there are more than `width`: ▁ the smallest, █ the
    largest, a space where nothing is there. Logarithmic: of the logarithms, and what is not positive is not there.
    """
    y = [_height(v, logarithmic) for v in values]
    count = min(len(y), width)
    parts = [y[k * len(y) // count : (k + 1) * len(y) // count] for k in range(count)]
    means = [_mean([v for v in part if isfinite(v)]) for part in parts]
    there = [m for m in means if isfinite(m)]
    low, span = min(there, default=0.0), max(there, default=0.0) - min(there, default=0.0)
    top = len(BARS) - 1
    return "".join(" " if not isfinite(m) else BARS[round(top * (m - low) / span) if span > 0 else 0] for m in means)


def _height(v: float, logarithmic: bool) -> float:
    """What is drawn of a value; nan for nothing."""
    if not isfinite(v) or (logarithmic and v <= 0):
        return nan
    return log(v) if logarithmic else v


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else nan


def short(x: float) -> str:
    """A number to three digits."""
    return f"{x:.3g}" if isfinite(x) else "–" if x != x else "∞" if x > 0 else "−∞"
