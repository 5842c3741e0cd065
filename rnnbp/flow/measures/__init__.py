"""What can be measured of a subject: name -> function. Each module has the pictures that its curves belong to."""

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
)
MEASURES: dict[str, Callable[[Subject], Measured]] = {
    **{module.__name__.rpartition(".")[2]: module.measure for module in MODULES},
    "states": states.measure,
    "training": training.measure,
}
# each thins itself out, so that all of them are quick; the states' numbers, for `train --flow`, are in the others too
DEFAULT: tuple[str, ...] = tuple(name for name in MEASURES if name != "states")
PICTURES: dict[str, Picture] = {
    name: picture for module in (*MODULES, training) for name, picture in module.PICTURES.items()
} | training.recorded(MEASURES)
