"""Slopes, along directions, of a function that gives several numbers for each copy of a host array."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from rnnbp.checking.methods.complexsteps import ComplexStep, ImaginaryPartLost
from rnnbp.checking.methods.differences import COMPLEX_STEP, STENCILS, STEPS
from rnnbp.errors import unknown
from rnnbp.numerics import HostArray

Outcome: TypeAlias = Callable[[HostArray], HostArray]  # copies (n, *shape), real or complex -> numbers (n, ...)


def slopes(outcome: Outcome, value: HostArray, directions: HostArray, method: str) -> HostArray:
    """The derivative of outcome(value + ε direction) by ε at 0, for every direction (n, *shape) -> (n, ...).

    A difference method takes its stencil with ε‖direction‖ as its step; "complex-step" is exact to rounding (Squire &
    Trapp 1998).
    """
    if method == ComplexStep.name:
        found = outcome(value + 1j * COMPLEX_STEP * directions)
        if not np.iscomplexobj(found):
            raise ImaginaryPartLost(found.dtype)
        return np.asarray(np.imag(found) / COMPLEX_STEP)
    if method not in STENCILS:
        raise unknown("method", method, [ComplexStep.name, *STENCILS])
    step = STEPS[method]
    lengths = np.linalg.norm(directions.reshape(len(directions), -1), axis=1)
    along = directions / lengths.reshape(-1, *[1] * value.ndim)
    sides = [(weight, k * step * along) for k, weight in STENCILS[method]]
    rise = np.asarray(sum(weight * (outcome(value + d) - outcome(value - d)) for weight, d in sides))
    return np.asarray(rise / step * lengths.reshape(-1, *[1] * (rise.ndim - 1)))
