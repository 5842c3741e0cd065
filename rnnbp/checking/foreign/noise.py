"""How precisely a function computes: in which dtype it can be evaluated, and how much its losses round."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from rnnbp.checking.foreign.calls import OWN, Foreign
from rnnbp.checking.foreign.slopes import Point, Slopes, said, typical
from rnnbp.checking.foreign.structures import Values
from rnnbp.errors import UserError
from rnnbp.numerics import HostArray

SAME_VALUE = 1e-2  # a value in float32 and in double precision, at the same numbers, are closer
SPACING = 1e-6  # of the points that show rounding, of an entry's size: there a smooth function's differences are 1e-20
CLOSER = 4  # times, each by 32, until differences are those of rounding alone
FALL = 5.0  # those of a kink fall by more, those of rounding by less


def slopes_of(foreign: Foreign, cotangents: Sequence[Values], seed: int) -> Slopes:
    """The slopes of the losses Σ value∘cotangent, one for each set of cotangents."""

    def losses(point: Point, dtype: str) -> HostArray:
        values = foreign.values(point, dtype)
        if [v.shape for v in values] != [c.shape for c in cotangents[0]]:
            got = ", ".join(str(v.shape) for v in values)
            raise UserError(f"fn must return values of the same shapes every time; at other numbers it gave {got}")
        if any(v.dtype == np.complex64 for v in values):
            raise UserError("the value came back as complex64: single precision")
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
    noise = np.maximum(noise_of(losses, point, dtype, seed), 2.0**-53 * scale)
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


def noise_of(losses: Callable[[Point, str], HostArray], point: Point, dtype: str, seed: int) -> HostArray:
    """The standard deviation of rounding in each loss, from fourth differences (Moré & Wild 2011, ECnoise).

    Rounding leaves differences as large when the points come closer; of a kink they fall with the spacing, of a steep
    function with its fourth power. So the points come closer until they fall no more.
    """
    spacing = SPACING
    found, falls = _fourth(losses, point, dtype, seed, spacing)[0], np.array(True)
    for _ in range(CLOSER):
        spacing /= 32
        finer, moves = _fourth(losses, point, dtype, seed, spacing)
        falls = falls & moves & (finer < found / FALL)
        if not falls.any():
            break
        found = np.where(falls, finer, found)
    return np.where(falls, 0.0, found)  # what falls to the last is no rounding


def _fourth(
    losses: Callable[[Point, str], HostArray], point: Point, dtype: str, seed: int, spacing: float
) -> tuple[HostArray, HostArray]:
    """What fourth differences take for noise, the median over three lines; whether the losses change there at all.

    About a hundred entries move, by `spacing` of their own size: 1e-6 is several roundings of float32.
    """
    found, moves = [], []
    sizes = {n: np.maximum(np.abs(value), typical(value)) for n, value in point.items()}
    moved = min(1.0, 100 / sum(value.size for value in point.values()))
    for k in range(3):
        rng, odds = np.random.default_rng([seed, k]), [moved / 2, 1 - moved, moved / 2]
        direction = {n: sizes[n] * rng.choice([-1.0, 0.0, 1.0], size=value.shape, p=odds) for n, value in point.items()}
        rows = np.array(
            [losses({n: point[n] + spacing * t * d for n, d in direction.items()}, dtype) for t in range(-8, 9)]
        )
        found.append(np.sqrt(np.mean(np.diff(rows, n=4, axis=0) ** 2, axis=0) / 70))  # 70 = 8! / 4!²
        moves.append(np.ptp(rows, axis=0) > 0)
    noise: HostArray = np.median(found, axis=0)
    return noise, np.any(moves, axis=0)
