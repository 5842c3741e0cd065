"""The parts of a gradient beside the gradient itself, as a backend computes it."""

from __future__ import annotations

from math import inf, isnan
from typing import Any

import numpy as np

from rnnbp.backends import backend
from rnnbp.checking.distances import separation
from rnnbp.flow.subjects import Subject
from rnnbp.numerics import HostArray
from rnnbp.truncation import Truncation, Window


def batch_gradient(subject: Subject, windows: list[Window] | None = None) -> dict[str, HostArray]:
    """dL/dW of the subject's batch by `Subject.on` in `Subject.dtype`, as host arrays in float64; default full BPTT."""
    on = subject.on or backend("numpy")
    on.require_dtype(subject.dtype)

    def placed(a: HostArray) -> Any:
        return on.asarray(a, subject.dtype if a.dtype.kind == "f" else None)

    params = {name: placed(w) for name, w in subject.params.items()}
    data = {name: placed(d) for name, d in (subject.data or {}).items()} or None
    s0 = None if subject.s0 is None else tuple(tuple(map(placed, s)) for s in subject.s0)
    _, _, back = subject.model(params, placed(subject.xs), placed(subject.targets), s0, data=data, backend=on)
    return {name: np.asarray(on.to_numpy(d), dtype=np.float64) for name, d in back(windows)[0].items()}


def parts_apart(subject: Subject) -> dict[str, float]:
    """‖Σ_t Σ_s dL_t/dW_s − dL/dW‖ / ‖dL/dW‖ of each parameter of the cells: rounding, and no more.

    The parts are those of `Subject.by_lag`; where that follows errors through some steps alone, dL/dW is truncated so.
    """
    found, steps = subject.by_lag, subject.path.time_steps
    cut = found.lags + 1 < steps
    windows = Truncation.parse(f"tbptt:1,{found.lags + 1}").windows(steps) if cut else None
    whole = subject.of_path(batch_gradient(subject, windows))
    apart = {}
    for name, d in found.gradient.items():
        off = separation(d, whole[name]).difference
        apart[name] = off if not isnan(off) else 0.0 if not np.any(d) else inf
    return apart
