"""The memory of an LSTM: what carries it, and how large it grows."""

from __future__ import annotations

import numpy as np

from rnnbp.errors import UserError
from rnnbp.flow.carousels import carousel, cell_sizes, without_forget_gate
from rnnbp.flow.growing import slope
from rnnbp.flow.jacobians import log_of
from rnnbp.flow.measures.found import Axis, Line, Measured, Panel, Picture
from rnnbp.flow.measures.layering import by_layer
from rnnbp.flow.measures.thinning import exp, said, said_exp
from rnnbp.flow.subjects import Subject
from rnnbp.flow.terms import peepholes
from rnnbp.flow.trajectories import Trajectory
from rnnbp.numerics import HostArray

PICTURES = {
    "memory size": Picture(
        "How large the memory grows",
        "the mean of |c_t| over units and sequences; and with f = 1, the same weights without a forget gate",
        Axis("step t"),
        Axis("mean of |c_t|"),
        together=False,
    ),
    "carousel": Picture(
        "What the constant error carousel alone carries back",
        "Π_{t−u<τ≤t} ∂c_τ/∂c_{τ−1} with h held fixed: f, and f + c f(1−f) p_f + g i(1−i) p_i with peepholes; without a "
        "forget gate, as in 1997, it is 1. The geometric mean over units and sequences, t = T",
        Axis("lag u, steps back"),
        Axis("factor", log=True),
    ),
}


def measure(subject: Subject) -> Measured:
    """|c_t| with and without a forget gate, and the carousel over the lag, layer by layer."""
    return by_layer(subject, PICTURES, _of_layer)


def _of_layer(path: Trajectory) -> Measured:
    found, lags = carousel(path), np.arange(1, path.time_steps + 1)
    logs = {"alone": _back(found.alone)}
    if peepholes(path):
        logs["with peepholes"] = _back(found.with_peepholes)
    exponents = {name: float(slope(lags, log[:, None])[0]) for name, log in logs.items()}
    sizes = {"|c|": _mean_size(path)}
    if "f" not in getattr(path.cell, "without", ()):
        try:
            with np.errstate(over="ignore"):
                sizes["|c| with f = 1"] = _mean_size(without_forget_gate(path))
        except UserError:  # it grows out of range
            sizes["|c| with f = 1"] = np.full(path.time_steps + 1, np.inf)
    numbers = {f"exponent {name}": exponent for name, exponent in exponents.items()}
    numbers |= {name: float(size[-1]) for name, size in sizes.items()}
    seen = f"Behind the last step, on average, {' and '.join(f'{n} = {said(y[-1])}' for n, y in sizes.items())}."
    at = np.arange(path.time_steps + 1)
    lines = (Line(name, at, y, "dashed" if "=" in name else "line") for name, y in sizes.items())
    panels = [Panel("memory size", seen, tuple(lines))]
    if carried := tuple(Line(n, lags, y) for n, y in ((n, exp(z)) for n, z in logs.items()) if np.any(np.isfinite(y))):
        factors = ", ".join(f"by {said_exp(e)} {name}" for name, e in exponents.items())
        seen = f"A step of the carousel multiplies an error, on average, {factors}."
        seen = seen if path.time_steps > 1 else "An exponent needs 2 steps or more."
        panels.append(Panel("carousel", seen, carried))
    return Measured("carousel", numbers, tuple(panels))


def _mean_size(path: Trajectory) -> HostArray:
    """The mean of |c_t|, (T + 1)."""
    return np.asarray(np.mean(cell_sizes(path), axis=(1, 2)))


def _back(factors: HostArray) -> HostArray:
    """The logarithms of |the product over the last u steps|, u = 1 … T, the mean over units and sequences."""
    return np.asarray(np.cumsum(np.mean(log_of(np.abs(factors)), axis=(1, 2))[::-1]))
