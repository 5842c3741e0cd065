"""How fast something decays with the lag."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, isnan, log, nan

import numpy as np

from rnnbp.errors import UserError
from rnnbp.numerics import HostArray

ROUNDINGS = 8  # of each logarithm


@dataclass(frozen=True)
class Decay:
    """v_u ≈ C exp(−rate u), fitted over the lags first … last.

    The rate is one per step: negative where v grows, infinite where nothing is left behind the first lag, and nan
    where nothing is there. deviation: the root mean square of log v_u less the line: 0 where the fall is exponential.
    """

    rate: float
    first: int
    last: int
    deviation: float = 0.0

    @property
    def factor(self) -> float:
        """exp(−rate): what one step leaves."""
        return float(np.exp(-self.rate))

    @property
    def half_life(self) -> float:
        """In how many steps it falls to a half, log 2 / rate: infinite where it does not decay."""
        if isnan(self.rate):
            return nan
        return log(2) / self.rate if self.rate > 0 else inf


def decay(values: HostArray, first: int = 0, last: int | None = None) -> Decay:
    """The line of least squares through log v_u over first ≤ u ≤ last, by default all lags of v (U).

    It ends before the first v_u that is zero or so small that it has lost digits (below the smallest normal number);
    `Decay.last` says where. A slope within the rounding of the logarithms is none.
    """
    end = len(values) - 1 if last is None else last
    if not 0 <= first < end < len(values):
        raise UserError(f"a decay needs two lags or more in 0 … {len(values) - 1}; got {first} … {end}")
    chosen = np.asarray(values[first : end + 1], dtype=np.float64)
    if not np.all(np.isfinite(chosen) & (chosen >= 0)):
        raise UserError(f"a decay is one of finite norms, none below zero; got {float(chosen.min())} … {chosen.max()}")
    small = np.flatnonzero(chosen < np.finfo(np.float64).tiny)
    count = int(small[0]) if len(small) else len(chosen)
    if count < 2:
        return Decay(inf if count else nan, first, first)
    logs, lags = np.log(chosen[:count]), np.arange(count) - (count - 1) / 2
    slope = float(np.sum(lags * (logs - np.mean(logs))) / np.sum(lags * lags))
    left = float(np.sqrt(np.mean((logs - np.mean(logs) - slope * lags) ** 2)))
    rounding = float(log_rounding(logs))
    rate = 0.0 if abs(slope) * (count - 1) <= rounding else -slope
    return Decay(rate, first, first + count - 1, left if left > rounding else 0.0)


def log_rounding(logs: HostArray) -> HostArray:
    """By how much logarithms (L, …) are rounded, of each column: what rises or falls by no more is level."""
    return np.asarray(ROUNDINGS * np.finfo(np.float64).eps * np.maximum(1.0, np.max(np.abs(logs), axis=0)))
