"""How precisely a function computes: in which dtype it can be evaluated, and how much its losses round."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from rnnbp.checking.foreign.calls import OWN, Foreign
from rnnbp.checking.foreign.slopes import Point, Slopes, said
from rnnbp.checking.foreign.structures import Values
from rnnbp.errors import UserError
from rnnbp.numerics import HostArray

SAME_VALUE = 1e-2  # a value in float32 and in double precision, at the same numbers, are closer


def slopes_of(foreign: Foreign, cotangents: Sequence[Values], seed: int) -> Slopes:
    """The slopes of the losses Σ value∘cotangent, one for each set of cotangents."""

    def losses(point: Point, dtype: str) -> HostArray:
        values = foreign.values(point, dtype)
        if [v.shape for v in values] != [c.shape for c in cotangents[0]]:
            got = ", ".join(str(v.shape) for v in values)
            raise UserError(f"fn must return values of the same shapes every time; at other numbers it gave {got}")
        return np.array([sum(np.sum(v * c) for v, c in zip(values, cs, strict=True)) for cs in cotangents])

    why = _why_not_double(foreign)
    values = foreign.values(foreign.inputs.point, OWN if why else "float64")
    sizes = [sum(float(np.sum((v * c) ** 2)) for v, c in zip(values, cs, strict=True)) for cs in cotangents]
    return measured(losses, foreign.inputs.point, np.sqrt(np.array(sizes)), why, seed)


def measured(
    losses: Callable[[Point, str], HostArray], point: Point, sizes: HostArray, why_own: str, seed: int
) -> Slopes:
    """The slopes of losses at a point, with their noise; `sizes` are the norms of what each loss adds up."""
    dtype, scale = OWN if why_own else "float64", sizes + np.finfo(np.float64).tiny
    noise = np.maximum(_noise(losses, point, dtype, seed), 2.0**-53 * scale)
    return Slopes(losses, point, dtype, noise, float(np.max(noise / scale)), why_own)


def _why_not_double(foreign: Foreign) -> str:
    """Why a function of narrower inputs cannot be evaluated in double precision, or nothing."""
    if set(foreign.inputs.dtypes.values()) == {"float64"}:
        return ""
    point = foreign.inputs.point
    own = foreign.values(point, OWN)
    try:
        double = foreign.values(point, "float64")
    except Exception as error:
        return said(error)
    off = max(float(np.max(np.abs(a - b)) / (np.max(np.abs(b)) + 1e-300)) for a, b in zip(double, own, strict=True))
    return "" if off <= SAME_VALUE else "there its value is another one, as if it read the memory as float32"


def _noise(losses: Callable[[Point, str], HostArray], point: Point, dtype: str, seed: int) -> HostArray:
    """The standard deviation of rounding in each loss, from fourth differences (Moré & Wild 2011, ECnoise).

    Nine points, 1e-6 apart in about a hundred entries: a smooth function's fourth differences are 1e-20 there, so what
    is seen is rounding, of float32 too. The median over three lines, so that a kink on one of them does not count.
    """
    found = []
    moved = min(1.0, 100 / sum(value.size for value in point.values()))
    for k in range(3):
        rng, odds = np.random.default_rng([seed, k]), [moved / 2, 1 - moved, moved / 2]
        direction = {n: rng.choice([-1.0, 0.0, 1.0], size=value.shape, p=odds) for n, value in point.items()}
        rows = [losses({n: point[n] + 1e-6 * t * d for n, d in direction.items()}, dtype) for t in range(-4, 5)]
        fourth = np.diff(np.array(rows), n=4, axis=0)
        found.append(np.sqrt(np.mean(fourth**2, axis=0) / 70))  # 70 = 8! / 4!²: the variance's factor
    noise: HostArray = np.median(found, axis=0)
    return noise
