"""The lines of a product of Jacobians over the lag, and the exponent that they have."""

from __future__ import annotations

import numpy as np

from rnnbp.flow.growing import carried, growth, slope
from rnnbp.flow.measures.found import Line
from rnnbp.flow.measures.thinning import exp, powers
from rnnbp.flow.steps import Steps
from rnnbp.numerics import HostArray

FARTHEST = 32  # steps of the longest product whose norm is found without a matrix
TOLERANCE = 1e-3  # of those, relative


def product_lines(path: Steps, name: str, made: bool) -> tuple[tuple[Line, ...], dict[str, float]]:
    """The largest singular value of ∂s_T/∂s_{T−u}, and what a random error is multiplied by; and the exponents.

    Where matrices are made "exponent" is that of the singular value, over all lags. Elsewhere that is found for powers
    of two up to 32 alone, by the Lanczos method, and has no exponent. "random exponent", over all lags, is always that
    of the random error: by it networks of any size compare.
    """
    every = np.arange(1, path.time_steps + 1)
    style = "dashed" if name else "line"
    largest, random = (f"{name}, {kind}" if name else kind for kind in ("largest", "random error"))
    if made:
        found = growth(path)
        lines = drawn(every, {largest: exp(found.log_norm[:, 0]), random: exp(found.log_vector[:, 0])}, style)
        return lines, {"exponent": float(found.exponent[0]), "random exponent": float(found.vector_exponent[0])}
    near = growth(path, lags=powers(min(FARTHEST, path.time_steps)), dense=0, tolerance=TOLERANCE)
    d = np.random.default_rng(0).standard_normal((1, path.size))
    logs = np.stack([log for _, log in carried(path, d, path.time_steps, path.time_steps)])
    lines = drawn(near.lags, {largest: exp(near.log_norm[:, 0])}, style)
    return lines + drawn(every, {random: exp(logs[:, 0])}, style), {"random exponent": float(slope(every, logs)[0])}


def drawn(at: HostArray, values: dict[str, HostArray], style: str = "line") -> tuple[Line, ...]:
    """Lines of what is there at all."""
    return tuple(Line(name, at, y, style) for name, y in values.items() if np.any(np.isfinite(y)))
