"""Speed over size as a picture: one panel for each cell, one line for each who was timed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rnnbp.benching.contenders import BOTH
from rnnbp.benching.reports import Case, Report
from rnnbp.errors import UserError


@dataclass(frozen=True)
class Panel:
    """Lines over labels; None is a point that was not measured."""

    title: str
    labels: tuple[str, ...]
    lines: Mapping[str, Sequence[float | None]]
    levels: Mapping[str, float]  # horizontal lines
    unit: str
    log: bool = False


def require_matplotlib() -> type[Any]:
    """The class of figures that needs no display and touches nothing global; a UserError where it is missing."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise UserError("a plot needs matplotlib, which is not installed: pip install 'rnnbp[plot]'") from None
    found: type[Any] = Figure
    return found


def panels_of(report: Report) -> list[Panel]:
    """GFLOP/s of forward + backward over sizes, from the least work to the most, and the rate of the GEMM."""
    found = []
    for cell in dict.fromkeys(case.cell for case in report.cases):
        cases = sorted((c for c in report.cases if c.cell == cell), key=lambda c: c.flops)
        sizes = list(dict.fromkeys(case.size for case in cases))
        lines: dict[str, list[float | None]] = {}
        for case in cases:
            for name, rate in rates(case).items():
                lines.setdefault(name, [None] * len(sizes))[sizes.index(case.size)] = rate
        peak = max(case.gemm_gflops for case in cases)
        labels = tuple(map(str, sizes))
        found.append(Panel(cell, labels, lines, {"GEMM": peak}, "GFLOP/s, forward + backward", log=True))
    return found


def title_of(report: Report) -> str:
    """How it was measured, and where."""
    return f"{report.conditions}, best of {report.plan.repeats}; {report.machine['processor']}"


def rates(case: Case) -> dict[str, float]:
    """GFLOP/s by name."""
    mine = {f"{case.backend} ({case.path})": case.gflops(case.ours, BOTH)}
    return mine | ({case.peer.name: case.gflops(case.peer, BOTH)} if case.peer else {})


def draw(path: Path, title: str, panels: Sequence[Panel], columns: int = 3) -> None:
    """Write the picture; its format follows the ending of its name."""
    columns = min(columns, len(panels))
    rows = -(-len(panels) // columns)
    figure = require_matplotlib()(figsize=(max(4.6 * columns, 6), 3.9 * rows), layout="constrained")
    figure.suptitle(title, fontsize=11)
    for k, panel in enumerate(panels):
        fill(figure.add_subplot(rows, columns, k + 1), panel)
    figure.savefig(path, dpi=150)


def fill(axes: Any, panel: Panel) -> None:
    """One panel."""
    places = range(len(panel.labels))
    markers = "osD^vPX"
    for k, (name, values) in enumerate(panel.lines.items()):
        points = [(x, y) for x, y in zip(places, values, strict=True) if y is not None]
        if points:
            axes.plot(*zip(*points, strict=True), marker=markers[k % 7], markersize=4, linewidth=1.4, label=name)
    for name, level in panel.levels.items():
        axes.axhline(level, color="0.45", linestyle="--", linewidth=1, label=name)
    axes.set_title(panel.title, fontsize=10)
    axes.set_ylabel(panel.unit, fontsize=9)
    axes.set_xlabel("T,B,I,H", fontsize=9)
    axes.set_xticks(list(places), panel.labels, rotation=35, ha="right", fontsize=8)
    axes.grid(alpha=0.3)
    if panel.log:
        axes.set_yscale("log")
        label_plainly(axes.yaxis)
    else:
        axes.set_ylim(bottom=0)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=7, framealpha=0.7, edgecolor="none")


def label_plainly(axis: Any) -> None:
    """Numbers at a logarithmic axis: 0.8 and 1.5, not 1.5 × 10⁰; between powers of ten, too, where it shows few."""
    from matplotlib.ticker import LogFormatter

    class Plain(LogFormatter):
        """Which ones are shown is left to matplotlib."""

        def __call__(self, x: float, pos: Any = None) -> str:
            return plainly(x) if super().__call__(x, pos) else ""

    axis.set_major_formatter(Plain())
    axis.set_minor_formatter(Plain(labelOnlyBase=False, minor_thresholds=(2, 0.5)))
    axis.set_tick_params(which="both", labelsize=8)


def plainly(x: float) -> str:
    """0.02, 1500, 3·10⁻⁷: a number of few digits as one writes it by hand."""
    digits, _, power = f"{x:.6e}".partition("e")
    if x == 0 or -4 < int(power) < 5:
        return f"{x:g}"
    ten = "10" + f"{int(power)}".translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return ten if float(digits) == 1 else f"{float(digits):g}·{ten}"
