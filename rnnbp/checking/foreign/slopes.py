"""The numeric side for a function that takes no copies: slopes along one line after another.

A complex step is exact where the function is analytic all the way; differences work for any function, as far as its
own rounding allows. That rounding is measured, so that it is known how much of a difference means something.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import log2

import numpy as np

from rnnbp.checking.methods.differences import COMPLEX_STEP
from rnnbp.checking.methods.tolerances import tolerance
from rnnbp.errors import UserError
from rnnbp.numerics import HostArray

Point = Mapping[str, HostArray]

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

    def limit(self, method: str, dtype: str) -> float:
        """The tolerance for a gradient of that dtype; a function that is less precise is held to that of float32."""
        return tolerance(method, dtype if self.precise else "float32").value

    def slope(self, method: str, direction: Point, settle: bool = False) -> tuple[HostArray, HostArray]:
        """The slope along a direction, and how far rounding may have moved it, both (K,)."""
        if method == "complex-step":
            return self.complex_slope(direction), 0.0 * self.noise
        slope, rounding = (self.settled if settle else self.difference)(method, direction)
        if self.precise:
            return slope, rounding
        finer, rounding = self.difference(method, direction, shrink=2.0)  # the step is so large: measure it too
        return finer, rounding + np.abs(finer - slope)

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
        stencil = STENCILS[method]

        def at(k: float) -> HostArray:
            moved = {n: self.point[n] + (k * step * reach) * d for n, d in direction.items()}
            return self.losses({**self.point, **moved}, self.dtype)

        rise = np.sum([w * (at(k) - at(-k)) for k, w in stencil], axis=0)
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


def said(error: Exception) -> str:
    """The first line of an error, with its kind unless it is our own."""
    words = str(error).strip().partition("\n")[0][:160]
    return words if isinstance(error, UserError) else f"{type(error).__name__}: {words}"
