"""How much of the gradient comes from how far back."""

from __future__ import annotations

from math import isfinite

import numpy as np

from rnnbp.flow.decays import decay
from rnnbp.flow.lags import lag_decomposition, mean_by_lag
from rnnbp.flow.measures.found import Axis, Line, Measured, Panel, Picture
from rnnbp.flow.subjects import Subject

PICTURES = {
    "error": Picture(
        "The error, step by step back",
        "‖dL_t/dh_{t−u}‖ = ‖dL_t/ds_t · ∂s_t/∂s_{t−1} ··· ∂s_{t−u+1}/∂s_{t−u}‖, the mean over t",
        Axis("lag u, steps back"),
        Axis("‖dL_t/ds_{t−u}‖", log=True),
    ),
}


def measure(subject: Subject) -> Measured:
    """The decay of the error of the whole state with the lag."""
    found = lag_decomposition(subject.path, subject.dys)
    by_lag = mean_by_lag(found.states[""])
    fitted = decay(by_lag)
    life = f"{fitted.half_life:.3g} steps" if isfinite(fitted.half_life) else "no number of steps"
    seen = f"The error falls to a half within {life}."
    line = Line(subject.label, np.arange(len(by_lag)), by_lag)
    return Measured("lags", {"half-life": fitted.half_life}, (Panel("error", seen, (line,)),))
