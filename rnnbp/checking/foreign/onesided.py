"""Slopes from one side: where the left and the right one differ however small the step is, a point sits on a kink.

There a function has no derivative; what its author chose between the two slopes is a subgradient (Clarke 1983).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from rnnbp.numerics import HostArray

NODES = np.arange(1.0, 6.0)  # a kink nearer than a step lies between the sides, and moves neither
WEIGHTS = np.linalg.solve(np.vander(NODES, increasing=True).T, np.array([0.0, 1.0, 0.0, 0.0, 0.0]))
SPREAD = float(np.linalg.norm(WEIGHTS))
SAME = 1e-6  # two steps give the same slope, of the larger one's size
BEND = 1e-5  # slopes further apart are two
CLEAR = 20.0  # times its rounding is what can be told from it


class Kink(NamedTuple):
    """The slopes at the two sides of a point for each loss, NaN where there is no kink; all (K,)."""

    low: HostArray
    high: HostArray
    slack: HostArray  # how well they are known

    def holds(self, slope: HostArray) -> HostArray:
        """Whether a slope is one of the two, or between them."""
        inside: HostArray = (slope >= self.low - self.slack) & (slope <= self.high + self.slack)
        return inside


def kink_of(at: Callable[[float], HostArray], steps: Sequence[float], noise: HostArray) -> Kink:
    """The kink of losses at(h) in h = 0, if the smallest of the steps at which rounding lets it be seen shows it too.

    `noise` is the most that a loss is off.
    At a kink further away than that step, both slopes are those of the point's own side.
    """
    sides = [_sides(at, steps[0])]
    none = np.full(noise.shape, np.nan)
    if np.all(_jump(sides[0]) <= CLEAR * _rounding(noise, steps[0]) + BEND * _size(sides[0])):
        return Kink(none, none, none)
    sides += [_sides(at, step) for step in steps[1:]]
    low, high, slack, open_ = none, none, none, np.full(noise.shape, True)
    for k, (here, finer) in enumerate(zip(sides, sides[1:], strict=False)):
        off = np.max(np.abs(here - finer), axis=0)
        known = _rounding(noise, steps[k]) + _rounding(noise, steps[k + 1]) + SAME * _size(here)
        found = open_ & (off <= known) & _sharp(sides[k:], steps[k:], noise)
        low, high = np.where(found, here.min(axis=0), low), np.where(found, here.max(axis=0), high)
        slack = np.where(found, np.minimum(known, _jump(here) / CLEAR), slack)
        open_ &= off > known
    return Kink(low, high, slack)


def _sharp(sides: Sequence[HostArray], steps: Sequence[float], noise: HostArray) -> HostArray:
    """Whether the first jump of some is there, and half of it at the last step of those that can tell."""
    jump = _jump(sides[0])
    told = jump > CLEAR * _rounding(noise, steps[0]) + BEND * _size(sides[0])
    last, finer = jump, np.zeros(noise.shape)
    for side, step in zip(sides[1:], steps[1:], strict=True):
        able = jump > CLEAR * _rounding(noise, step)
        last, finer = np.where(able, _jump(side), last), finer + able
    sharp: HostArray = told & (last >= jump / 2) & (finer > 0)
    return sharp


def _sides(at: Callable[[float], HostArray], step: float) -> HostArray:
    """The left and the right slope, (2, K)."""
    rises = [sum(w * at(side * k * step) for w, k in zip(WEIGHTS, NODES, strict=True)) for side in (-1, 1)]
    return np.array([-rises[0], rises[1]]) / step


def _jump(sides: HostArray) -> HostArray:
    jump: HostArray = np.abs(sides[1] - sides[0])
    return jump


def _size(sides: HostArray) -> HostArray:
    size: HostArray = np.max(np.abs(sides), axis=0)
    return size


def _rounding(noise: HostArray, step: float) -> HostArray:
    return SPREAD * noise / step
