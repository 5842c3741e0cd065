"""The cotangents at which a backward is asked: random ones, and the same at one time step alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rnnbp.checking.foreign.calls import Foreign, Pulled
from rnnbp.checking.foreign.structures import Values
from rnnbp.errors import UserError
from rnnbp.numerics import HostArray

SAME = 1e-4  # two calls at the same inputs differ by no more, in float32 with its sums in any order


@dataclass(frozen=True)
class Cotangents:
    """For one function: those that are judged, others for linearity, and the judged ones split over time."""

    whole: Values
    other: Values
    split: tuple[Values, ...]  # for each step, zero at all others; empty without a time axis

    @property
    def each(self) -> tuple[Values, ...]:
        """The judged ones, then those of each step."""
        return (self.whole, *self.split)


def draw(foreign: Foreign, seed: int, time_axis: int | None) -> Cotangents:
    """Random cotangents for a function, which must be repeatable: random numbers in it have no derivative."""
    pulled = foreign.pulled()
    for a, b in zip(pulled.values, foreign.pulled().values, strict=True):
        if a.shape != b.shape or np.max(np.abs(a - b), initial=0.0) > SAME * np.max(np.abs(a), initial=0.0):
            raise UserError(
                "fn must give the same value at the same inputs; two calls differ: fix the seed of its draws"
            )
    rng = np.random.default_rng(seed)
    whole, other = _drawn(pulled.values, rng), _drawn(pulled.values, rng)
    return Cotangents(whole, other, () if time_axis is None else _by_time(pulled, whole, time_axis))


def _drawn(values: Values, rng: np.random.Generator) -> Values:
    """1 for a number that is the only output, random cotangents otherwise, in the dtypes of the values."""
    if len(values) == 1 and values[0].ndim == 0:
        return (np.ones((), dtype=values[0].dtype),)
    return tuple(np.asarray(rng.standard_normal(v.shape), dtype=v.dtype) for v in values)


def _by_time(pulled: Pulled, cotangents: Values, axis: int) -> tuple[Values, ...]:
    """The cotangents of the first output at one step alone, for each step; those of other outputs are zero."""
    first, rest = cotangents[0], tuple(np.zeros_like(c) for c in cotangents[1:])
    if not pulled.takes_cotangent or not isinstance(axis, int) or not -first.ndim <= axis < first.ndim:
        raise UserError(f"time_axis needs a value with that axis and its cotangent; got {axis!r}, value {first.shape}")

    def at(t: int) -> HostArray:
        alone = np.zeros_like(first)
        np.moveaxis(alone, axis, 0)[t] = np.moveaxis(first, axis, 0)[t]
        return alone

    return tuple((at(t), *rest) for t in range(first.shape[axis]))
