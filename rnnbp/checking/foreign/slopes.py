"""The numeric side for a function that takes no copies: slopes along one line after another.

A complex step is exact where the function is analytic all the way; differences work for any function, as far as its
own rounding allows. That rounding is measured, so that it is known how much of a difference means something.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import log2

import numpy as np

from rnnbp.checking.differences import COMPLEX_STEP
from rnnbp.checking.foreign.calls import OWN, Foreign, Values
from rnnbp.errors import UserError
from rnnbp.numerics import HostArray

Point = Mapping[str, HostArray]
Line = Callable[[float], HostArray]  # how far along it -> one loss for each set of cotangents, (K,)

STENCILS = {  # slope = Σ weight · (L(k·step) − L(−k·step)) / step
    "central": ((1, 1 / 2),),
    "five-point": ((1, 2 / 3), (2, -1 / 12)),
}
ORDERS = {"central": 2, "five-point": 4}
STEPS = {"central": 2.0**-17, "five-point": 2.0**-10}  # near 1e-5 and 1e-3, and exact in binary
LARGEST_STEP = 2.0**-4
SHRINK = 32.0  # a step this much smaller misses a kink that a step met
AGREE = 1e-8  # two derivatives of five points agree to this, in double precision
SIGMAS = 10.0  # no difference of a few thousand is off by more standard deviations than this
SAME_VALUE = 1e-2  # a value in float32 and in double precision, at the same numbers, are closer
DOUBLE_NOISE = 1e-11  # a function whose relative noise is above this does not compute in double precision


@dataclass(frozen=True)
class Slopes:
    """How a function's slopes are taken: K losses, in a dtype, with the noise that each was measured to have."""

    losses: Callable[[Point, str], HostArray]  # a point and its dtype -> (K,)
    point: Point
    dtype: str  # "float64", or OWN for a function that takes nothing else
    noise: HostArray  # standard deviations, (K,)
    relative: float  # the largest of them, relative to its loss
    why_own: str = ""  # what a function said that takes no double precision

    @property
    def precise(self) -> bool:
        """Whether the function computes in double precision all the way."""
        return self.relative <= DOUBLE_NOISE

    def line(self, direction: Point, reach: float = 1.0) -> Line:
        """The losses along a direction, `reach` times a number away."""

        def at(t: float) -> HostArray:
            moved = {n: self.point[n] + (t * reach) * d for n, d in direction.items()}
            return self.losses({**self.point, **moved}, self.dtype)

        return at

    def complex_slope(self, direction: Point) -> HostArray:
        """Im L(v + ih d) / h; a forward that warns of the lost imaginary part, or refuses it, raises."""
        moved = {n: self.point[n] + 1j * COMPLEX_STEP * d for n, d in direction.items()}
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message="(?i).*(imaginary part|complex)")
            found = self.losses({**self.point, **moved}, "complex128")
        if not np.iscomplexobj(found):
            raise UserError("the value came back real: abs, a norm or a float buffer drops the imaginary part")
        slope: HostArray = np.imag(found) / COMPLEX_STEP
        return slope

    def difference(self, method: str, direction: Point, shrink: float = 1.0) -> tuple[HostArray, HostArray]:
        """A difference along a direction, and how far rounding may have moved it, both (K,)."""
        length = float(np.sqrt(sum(np.sum(d * d) for d in direction.values())))
        entry = max(float(np.max(np.abs(self.point[n][d != 0]), initial=1.0)) for n, d in direction.items())
        reach = 2.0 ** round(log2(entry if length == 1.0 else 1 / length))  # long directions bend more
        step = self.step(method) / shrink
        line, stencil = self.line(direction, reach), STENCILS[method]
        rise = np.sum([w * (line(k * step) - line(-k * step)) for k, w in stencil], axis=0)
        slope: HostArray = rise / (step * reach)
        spread = float(np.sqrt(2 * sum(w * w for _, w in stencil)))
        return slope, SIGMAS * spread * self.noise / (step * reach)

    def step(self, method: str) -> float:
        """Where truncation, stepⁿ, meets the rounding, noise / step."""
        if self.precise:
            return STEPS[method]
        return float(np.clip(2.0 ** round(log2(self.relative) / (ORDERS[method] + 1)), STEPS[method], LARGEST_STEP))

    def settled(self, method: str, direction: Point) -> tuple[HostArray, HostArray]:
        """A difference that smaller steps confirm: where they do not, one of them, for the first met a kink."""
        several = [self.difference(method, direction, SHRINK**k) for k in range(3)]
        for (a, u), (b, v) in zip(several, several[1:], strict=False):
            if np.all(np.abs(a - b) <= np.maximum(u + v, AGREE * np.maximum(np.abs(a), np.abs(b)))):
                return a, u
        return several[0]

    def doubts(self, direction: Point) -> str:
        """Why the complex step along a direction cannot be believed, or nothing."""
        if self.why_own:
            return "fn takes no wider numbers than its inputs"
        try:
            claimed = self.complex_slope(direction)
        except Exception as error:  # foreign code raises what it likes at the sight of a complex number
            return said(error)
        for k in range(3):
            found, rounding = self.difference("five-point", direction, SHRINK**k)
            if np.all(np.abs(claimed - found) <= np.maximum(rounding, AGREE * np.maximum(abs(claimed), abs(found)))):
                return ""
        worst = int(np.argmax(np.abs(claimed - found)))
        return f"it gives {claimed[worst]:.6g} in one direction where five-point differences give {found[worst]:.6g}"


def slopes_of(foreign: Foreign, cotangents: Sequence[Values], seed: int) -> Slopes:
    """The losses Σ value∘cotangent, one for each set of cotangents, with their noise measured."""

    def losses(point: Point, dtype: str) -> HostArray:
        values = foreign.values(point, dtype)
        if [v.shape for v in values] != [c.shape for c in cotangents[0]]:
            got = ", ".join(str(v.shape) for v in values)
            raise UserError(f"fn must return values of the same shapes every time; at other numbers it gave {got}")
        return np.array([sum(np.sum(v * c) for v, c in zip(values, cs, strict=True)) for cs in cotangents])

    point, why = foreign.inputs.point, _why_not_double(foreign)
    dtype = OWN if why else "float64"
    values = foreign.values(point, dtype)
    sizes = [sum(float(np.sum((v * c) ** 2)) for v, c in zip(values, cs, strict=True)) for cs in cotangents]
    scale = np.sqrt(np.array(sizes)) + np.finfo(np.float64).tiny
    noise = np.maximum(_noise(losses, point, dtype, seed), 2.0**-53 * scale)
    return Slopes(losses, point, dtype, noise, float(np.max(noise / scale)), why)


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


def said(error: Exception) -> str:
    """The first line of an error, with its kind unless it is our own."""
    words = str(error).strip().partition("\n")[0][:160]
    return words if isinstance(error, UserError) else f"{type(error).__name__}: {words}"


def signs(point: Point, names: Sequence[str], rng: np.random.Generator) -> dict[str, HostArray]:
    """A random direction of ±1 in the named tensors."""
    return {name: rng.choice([-1.0, 1.0], size=point[name].shape) for name in names}


def _noise(losses: Callable[[Point, str], HostArray], point: Point, dtype: str, seed: int) -> HostArray:
    """The standard deviation of rounding in each loss, from fourth differences (Moré & Wild 2011, ECnoise).

    Nine points, 1e-6 apart in about a hundred entries: a smooth function's fourth differences are 1e-20 there, so what
    is seen is rounding, of float32 too. The median over three lines, so that a kink on one of them does not count.
    """
    found = []
    moved = min(1.0, 100 / sum(value.size for value in point.values()))
    for k in range(3):
        rng = np.random.default_rng([seed, k])
        direction = {n: d * (rng.random(d.shape) < moved) for n, d in signs(point, list(point), rng).items()}
        rows = [losses({n: point[n] + 1e-6 * t * d for n, d in direction.items()}, dtype) for t in range(-4, 5)]
        fourth = np.diff(np.array(rows), n=4, axis=0)
        found.append(np.sqrt(np.mean(fourth**2, axis=0) / 70))  # 70 = 8! / 4!²: the variance's factor
    noise: HostArray = np.median(found, axis=0)
    return noise
