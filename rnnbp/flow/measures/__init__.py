"""What can be measured of a subject: name -> function, and `DRAWN`, name -> the pictures that its curves belong to."""

from __future__ import annotations

from collections.abc import Callable

from rnnbp.flow.measures import (
    bounds,
    carousel,
    clipping,
    curvature,
    gradient,
    jacobians,
    lags,
    lyapunov,
    memory,
    saturation,
    states,
    terms,
    training,
    truncation,
)
from rnnbp.flow.measures.found import Measured, Picture
from rnnbp.flow.subjects import Subject

MODULES = (
    lags,
    gradient,
    memory,
    jacobians,
    bounds,
    terms,
    carousel,
    lyapunov,
    truncation,
    saturation,
    clipping,
    curvature,
    states,
    training,
)
MEASURES: dict[str, Callable[[Subject], Measured]] = {
    module.__name__.rpartition(".")[2]: module.measure for module in MODULES
}
OF_RECORDS = ("clipping", "training")  # of what a run recorded, so that a run cannot record them
# each thins itself out, so that all of them are quick; the states' numbers, for `train --flow`, are in the others too
DEFAULT: tuple[str, ...] = tuple(name for name in MEASURES if name != "states")
DRAWN: dict[str, dict[str, Picture]] = dict(zip(MEASURES, (module.PICTURES for module in MODULES), strict=True))
DRAWN["training"] = training.PICTURES | training.recorded(name for name in MEASURES if name not in OF_RECORDS)
PICTURES: dict[str, Picture] = {name: picture for drawn in DRAWN.values() for name, picture in drawn.items()}
