"""The slope of Taylor's remainder: a check that needs no step size and hardly a tolerance.

    R(ε) = |L(w + εd) − L(w) − ε<g, d>|

falls with ε² if g is the gradient of L, and with ε if it is not: in a log-log plot a line of slope 2, or of slope 1
(Farrell, Ham, Funke & Rognes 2013 test adjoints by it). Each tensor is moved along a direction d whose entries are 1 or
−1 at random, ‖d‖ = 1; ε is halved from 1 until rounding takes over.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import nan
from zlib import crc32

import numpy as np

from rnnbp.checking.kinks.bends import Bends
from rnnbp.checking.methods.differences import losses
from rnnbp.checking.methods.numeric import Asked, Witness, in_chunks
from rnnbp.checking.methods.remainders import Remainder, TaylorSlopes
from rnnbp.checking.metric import Discrepancy
from rnnbp.checking.report import Finding
from rnnbp.numerics import HostArray

STEPS = 0.5 ** np.arange(31)
TINY = 0.5 ** np.arange(41, 49)  # so small that what is left of R is rounding
HALVINGS = 5  # over which the slope is taken
CLEAR = 100  # times the rounding: a remainder is then known to 1 %
CURVED = 2.0**-10  # the step of the second differences by which a direction is chosen
DRAWS = 4  # directions among which it is


class Taylor(Witness):
    """The slope of Taylor's remainder, which must be 2."""

    name = "taylor"
    stops = False
    draws = 1

    def judged(self, asked: Asked, tensor: str, analytic: HostArray, blocks: Sequence[str]) -> Discrepancy:
        del blocks  # one direction stands for the whole tensor
        found = remainder(asked, tensor, analytic, asked.dtype, asked.seed)
        asked.memo.setdefault("curves", []).append(found)
        asked.advance(analytic.size)
        return Discrepancy(found.error, found.error, (), nan, nan)

    def findings(self, asked: Asked, tolerance: float) -> tuple[Finding, ...]:
        curves = tuple(asked.memo.get("curves", ()))
        return (TaylorSlopes(asked.subject.name, asked.subject.level, curves, tolerance, asked.seed),)


def remainder(asked: Asked, tensor: str, gradient: HostArray, dtype: str, seed: int) -> Remainder:
    """R(ε) along a direction, and its slope over the smallest steps that are clear of rounding."""
    value = asked.subject.tensors[tensor]
    d = direction(asked, tensor, seed)
    steps = np.concatenate([[0.0], STEPS, TINY]).reshape(-1, *[1] * value.ndim) * d
    moved = value + steps
    axes = tuple(range(1, moved.ndim))
    loss = _losses(asked, tensor, moved)
    shift = moved - value  # what rounding made of the steps
    with np.errstate(invalid="ignore"):  # a gradient that is not finite gives remainders that are not
        found = np.abs(loss[1:] - loss[0] - np.sum(gradient * shift, axis=axes)[1:])
    noise = max(float(np.max(found[len(STEPS) :])), float(np.finfo(np.float64).eps * np.max(np.abs(loss))))
    lost = np.finfo(dtype).eps * float(np.sum(np.abs(gradient * d)))  # the gradient is rounded to its own dtype
    rounding = noise + lost * STEPS
    found = found[: len(STEPS)]
    clear = (found > CLEAR * rounding) & ~_crosses(asked, tensor, moved[1 : 1 + len(STEPS)])
    fitted, slope = (0, 0), nan
    for first in reversed(range(len(STEPS) - HALVINGS)):
        if clear[first : first + HALVINGS + 1].all():
            fitted = (first, first + HALVINGS + 1)
            slope = float(np.polyfit(np.log2(STEPS[slice(*fitted)]), np.log2(found[slice(*fitted)]), 1)[0])
            break
    return Remainder(
        tensor, tuple(map(float, STEPS)), tuple(map(float, found)), tuple(map(float, rounding)), fitted, slope
    )


def direction(asked: Asked, tensor: str, seed: int) -> HostArray:
    """Entries ±1/√n: of a few draws the one along which the loss is curved most, the gradient having no say in it.

    By chance the second derivative along a single one may be close to zero; then the next term of the series rules.
    """
    value = asked.subject.tensors[tensor]
    rng = np.random.default_rng([seed, crc32(tensor.encode())])
    drawn = (2.0 * rng.integers(0, 2, (DRAWS, *value.shape)) - 1) / np.sqrt(value.size)
    loss = _losses(asked, tensor, value + CURVED * np.concatenate([drawn, -drawn, np.zeros_like(drawn[:1])]))
    curved = np.abs(loss[:DRAWS] + loss[DRAWS:-1] - 2 * loss[-1])
    best: HostArray = drawn[int(np.argmax(curved))]
    return best


def _losses(asked: Asked, tensor: str, moved: HostArray) -> HostArray:
    """The loss of each copy, as many at a time as fit."""
    to_host = asked.backend.to_numpy
    return in_chunks(asked, tensor, moved, lambda some: to_host(losses(asked, tensor, some, "float64")))


def _crosses(asked: Asked, tensor: str, moved: HostArray) -> HostArray:
    """Whether a copy has a unit on the other side of a kink, where no Taylor series leads."""
    if "bends" not in asked.memo:
        asked.memo["bends"] = _bends(asked)
    bends: Bends | None = asked.memo["bends"]
    if bends is None or not np.isfinite(bends.nearest):
        return np.zeros(len(moved), dtype=bool)

    def flips(some: HostArray) -> HostArray:
        found: HostArray = bends.turned({tensor: asked.backend.asarray(some, "float64")}, len(some))
        return found

    return in_chunks(asked, tensor, moved, flips)


def _bends(asked: Asked) -> Bends | None:
    """The kinks; None where the forward cannot be watched."""
    try:
        return Bends(asked.subject, asked.backend)
    except Exception:  # whatever a plugin does that arrays can and operands cannot; `Kinks` says so
        return None
