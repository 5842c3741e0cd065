"""Which values of a panel have a place in its picture, and what a reader is told of the others."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from rnnbp.flow.measures.found import Line, Panel, Picture
from rnnbp.numerics import HostArray

LEAST, MOST = 1e-200, 1e200  # on a logarithmic scale; far enough from the ends of float64 for margins and ticks


def placed(line: Line, picture: Picture) -> HostArray:
    """Which points of a line can be drawn, (n,): of a size that its axes have a place for."""
    fits: HostArray = _fits(line.x, picture.x.log) & _fits(line.y, picture.y.log)
    return fits


def shown(values: HostArray, log: bool) -> HostArray:
    """The values, nan for those that have no place on an axis or a scale of colours."""
    return np.where(_fits(values, log), values, np.nan)


def left_out(panels: Iterable[Panel], picture: Picture) -> str:
    """One sentence on the values that a picture has no place for; empty if it shows all.

    A nan stands for nothing, and is not counted.
    """
    below, above = 0, 0
    for panel in panels:
        places = [(line.x + line.y, placed(line, picture)) for line in panel.lines]  # nan or infinite if either is
        if panel.image is not None:
            places.append((panel.image, _fits(panel.image, picture.colour is not None and picture.colour.log)))
        large = [np.abs(values) > MOST for values, _ in places]
        above += sum(int(np.sum(over)) for over in large)
        below += sum(
            int(np.sum(~fits & ~over & ~np.isnan(values))) for (values, fits), over in zip(places, large, strict=True)
        )
    parts = [f"{below} zero or less than 10⁻²⁰⁰ (the scale is logarithmic)"] * (below > 0)
    parts += [f"{above} infinite or more than 10²⁰⁰"] * (above > 0)
    return f"Values not drawn: {', '.join(parts)}." if parts else ""


def _fits(values: HostArray, log: bool) -> HostArray:
    fits: HostArray = (np.abs(values) <= MOST) & ((values >= LEAST) | (not log))
    return fits
