"""Slopes, along directions, of a function that gives several numbers for each copy of a host array."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from rnnbp.checking.methods.differences import CENTRAL_STEP, COMPLEX_STEP, FIVE_POINT_STEP
from rnnbp.errors import UserError
from rnnbp.numerics import HostArray

Outcome: TypeAlias = Callable[[HostArray], HostArray]  # copies (n, *shape), real or complex -> numbers (n, ...)

# difference methods: the step, and the weight of each value in units of 1/step
STENCILS: dict[str, tuple[float, dict[int, float]]] = {
    "central": (CENTRAL_STEP, {1: 1 / 2, -1: -1 / 2}),
    "five-point": (FIVE_POINT_STEP, {2: -1 / 12, 1: 2 / 3, -1: -2 / 3, -2: 1 / 12}),
}


class NotComplexError(UserError):
    """A forward that drops the imaginary part."""


def slopes(outcome: Outcome, value: HostArray, directions: HostArray, method: str) -> HostArray:
    """The derivative of outcome(value + ε direction) by ε at 0, for every direction (n, *shape) -> (n, ...).

    A difference method takes its stencil with ε‖direction‖ as its step, any other a complex step, which is exact to
    rounding (Squire & Trapp 1998).
    """
    if method not in STENCILS:
        found = outcome(value + 1j * COMPLEX_STEP * directions)
        if not np.iscomplexobj(found):
            raise NotComplexError(
                f"a complex step needs a forward that stays complex; the loss came back {found.dtype}: something on "
                "the way (abs, a norm, a float buffer) drops the imaginary part: rewrite it, or use method five-point"
            )
        return np.asarray(np.imag(found) / COMPLEX_STEP)
    step, weights = STENCILS[method]
    lengths = np.linalg.norm(directions.reshape(len(directions), -1), axis=1)
    along = directions / lengths.reshape(-1, *[1] * value.ndim)
    rise = np.asarray(sum(weight * outcome(value + k * step * along) for k, weight in weights.items()))
    return np.asarray(rise / step * lengths.reshape(-1, *[1] * (rise.ndim - 1)))
