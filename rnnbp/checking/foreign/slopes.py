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

from rnnbp.checking.foreign.onesided import Kink, kink_of
from rnnbp.checking.methods.differences import COMPLEX_STEP, STENCILS
from rnnbp.checking.methods.tolerances import tolerance
from rnnbp.errors import UserError
from rnnbp.numerics import HostArray

Point = Mapping[str, HostArray]

ORDERS = {"central": 2, "five-point": 4}
STEPS = {"central": 2.0**-17, "five-point": 2.0**-10}  # near 1e-5 and 1e-3, and exact in binary
LARGEST_STEP = 2.0**-4
SHRINK = 8.0  # from one step of a table to the next smaller one
FINEST = 2.0**-31  # the smallest, in units of the entries' size where that is below 1
AGREE = 1e-8  # two derivatives of five points agree to this, in double precision
SIGMAS = 10.0  # no difference of a few thousand is off by more standard deviations than this
TOLD = 1e-3  # what is less sure than this contradicts nothing
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
        """The tolerance for a gradient of that dtype; differences that are less precise have that of float32."""
        return tolerance(method, dtype if self.precise or method == "complex-step" else "float32").value

    def slope(self, method: str, direction: Point, settle: bool = False) -> tuple[HostArray, HostArray]:
        """The slope along a direction, and how far rounding may have moved it, both (K,)."""
        if method == "complex-step":
            return self.complex_slope(direction), 0.0 * self.noise
        if settle or not self.precise:  # a step for what is not precise is so large that a smaller one has to confirm
            return self.settled(method, direction)[:2]
        return self.difference(method, direction)

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
        reach, step = self.reach(direction), self.step(method) / shrink
        stencil = STENCILS[method]
        rise = np.sum(
            [w * (self._at(k * step * reach, direction) - self._at(-k * step * reach, direction)) for k, w in stencil],
            axis=0,
        )
        slope: HostArray = rise / (step * reach)
        spread = float(np.sqrt(2 * sum(w * w for _, w in stencil)))
        return slope, SIGMAS * spread * self.noise / (step * reach)

    def step(self, method: str) -> float:
        """Where truncation, stepⁿ, meets the rounding, noise / step."""
        if self.precise:
            return STEPS[method]
        return float(np.clip(2.0 ** round(log2(self.relative) / (ORDERS[method] + 1)), STEPS[method], LARGEST_STEP))

    def reach(self, direction: Point) -> float:
        """The unit of steps along a direction: a large entry's size; less where many entries move."""
        length = float(np.sqrt(sum(np.sum(d * d) for d in direction.values())))
        entry = max(float(np.max(np.abs(self.point[n][d != 0]), initial=1.0)) for n, d in direction.items())
        return float(2.0 ** round(log2(entry if length == 1.0 else 1 / length)))  # long directions bend more

    def shrinks(self, method: str, direction: Point) -> list[float]:
        """By how much a step may be made smaller, in a table of them: small entries may need small steps."""
        size = min([1.0, *(typical(self.point[n]) for n in direction)])
        count = int(log2(self.step(method) / (FINEST * size)) / log2(SHRINK)) + 1
        return [SHRINK**k for k in range(max(count, 3))]

    def settled(self, method: str, direction: Point) -> tuple[HostArray, HostArray, HostArray]:
        """A difference that the next smaller step confirms, how far rounding may have moved it, and what is open.

        The first such step, for each loss; where none is confirmed, the one that is closest to it, and how far the two
        are apart beyond rounding: then nothing is known.
        """
        shrinks = self.shrinks(method, direction)
        found = self._table(method, direction, shrinks, not self.precise)
        weak = found[1] > TOLD * np.abs(found[0])  # little is seen with such a step
        if not self.precise or not weak.any():
            return found
        larger = int(log2(LARGEST_STEP / STEPS[method]) / log2(SHRINK))
        again = self._table(method, direction, [SHRINK**-k for k in range(larger, 0, -1)] + shrinks, True)
        slope, rounding, apart = (np.where(weak, new, old) for new, old in zip(again, found, strict=True))
        return slope, rounding, apart

    def _table(
        self, method: str, direction: Point, shrinks: Sequence[float], coarse: bool
    ) -> tuple[HostArray, HostArray, HostArray]:
        """`settled` by these steps; with coarse ones, truncation of the size of rounding is added to it."""
        a, u = self.difference(method, direction, shrinks[0])
        slope, rounding, apart = a, u, np.full(a.shape, np.inf)
        for shrink in shrinks[1:]:
            b, v = self.difference(method, direction, shrink)
            off = np.abs(a - b)
            score = np.where(off <= np.maximum(u + v, AGREE * np.maximum(np.abs(a), np.abs(b))), 0.0, off)
            better = score < apart
            near = np.minimum(off, SHRINK * u) if coarse else 0.0
            slope, rounding = np.where(better, a, slope), np.where(better, u + near, rounding)
            apart = np.where(better, score, apart)
            if not apart.any():
                break
            a, u = b, v
        return slope, rounding, apart

    def kink(self, direction: Point) -> Kink:
        """The slopes at both sides of the point, where they differ."""
        unit = self.step("five-point") * self.reach(direction)
        steps = [unit / shrink for shrink in self.shrinks("five-point", direction)[:-1]]  # nearer ones `settled` sees
        return kink_of(lambda h: self._at(h, direction), steps, SIGMAS * self.noise)

    def _at(self, h: float, direction: Point) -> HostArray:
        moved = {n: self.point[n] + h * d for n, d in direction.items()}
        return self.losses({**self.point, **moved}, self.dtype)

    def doubts(self, direction: Point) -> str:
        """Why the complex step along a direction cannot be believed, or nothing."""
        if self.why_own:
            return "fn takes no wider numbers than its inputs"
        try:
            claimed = self.complex_slope(direction)
        except Exception as error:  # foreign code raises what it likes at the sight of a complex number
            return said(error)
        for shrink in self.shrinks("five-point", direction):
            found, rounding = self.difference("five-point", direction, shrink)
            size = np.maximum(np.abs(claimed), np.abs(found))
            rounding = np.where((shrink == 1) | (rounding <= TOLD * size), rounding, 0.0)
            if np.all(np.abs(claimed - found) <= np.maximum(rounding, AGREE * size)):
                return ""
        kink = self.kink(direction)
        if np.all(kink.holds(claimed)):
            return ""
        found = self.settled("five-point", direction)[0]
        worst = int(np.argmax(np.abs(claimed - found)))
        return f"it gives {claimed[worst]:.6g} in one direction where five-point differences give {found[worst]:.6g}"


def typical(value: HostArray) -> float:
    """The size of a tensor's entries that are not zero: their median, 1 if there are none."""
    sizes = np.abs(value[value != 0])
    return float(np.median(sizes)) if sizes.size else 1.0


def said(error: Exception) -> str:
    """The first line of an error, with its kind unless it is our own."""
    words = str(error).strip().partition("\n")[0][:160]
    return words if isinstance(error, UserError) else f"{type(error).__name__}: {words}"
