"""Heat maps with one scale of colours, so that those of several subjects compare."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rnnbp.benching.plotting import label_plainly
from rnnbp.flow.measures.found import Panel, Picture
from rnnbp.flow.pictures.points import shown

COLOURS = "cividis"  # evenly lighter, and the same with and without red or green cones (Nuñez, Anderton & Renslow 2018)


def draw_images(figure: Any, grid: Sequence[Any], panels: Sequence[Panel], what: Picture) -> None:
    """The cells of each panel on its axes, and the bar of colours; a value that has no place is left blank."""
    from matplotlib.colors import LogNorm, Normalize

    log = what.colour is not None and what.colour.log
    cells = [shown(panel.image, log) for panel in panels if panel.image is not None]
    found = np.concatenate([image[np.isfinite(image)] for image in cells]) if cells else np.empty(0)
    if not found.size:
        return
    low, high = float(found.min()), float(found.max())
    if low == high:
        low, high = (low / 10, high) if log else (low - 0.5, high + 0.5)
    norm = LogNorm(low, high) if log else Normalize(low, high)
    for axes, image in zip(grid, cells, strict=True):
        ends = (0.5, image.shape[1] + 0.5, 0.5, image.shape[0] + 0.5)  # of the axes, whose steps count from 1
        drawn = axes.imshow(
            np.ma.masked_invalid(image),
            cmap=COLOURS,
            norm=norm,
            origin="lower",
            extent=ends,
            aspect="auto",
            interpolation="none",
        )
    shape = 20 * len({axes.get_subplotspec().rowspan.start for axes in grid})  # as wide, however tall
    bar = figure.colorbar(drawn, ax=list(grid), label=what.colour.label if what.colour else "", pad=0.02, aspect=shape)
    bar.outline.set_visible(False)
    if log:
        label_plainly(bar.ax.yaxis)
