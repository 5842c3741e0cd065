"""What measurements share: which steps and sequences are looked at where all would take too long, and how numbers are
said.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import isinf, log, nan
from typing import Any

import numpy as np

from rnnbp.flow.decays import Decay, decay
from rnnbp.flow.measures.found import Line
from rnnbp.flow.trajectories import Trajectory
from rnnbp.numerics import HostArray

LARGEST = 700.0  # about the largest logarithm whose exponential is a number in float64
SEVERAL = 4  # parts that one sentence names
UNEVEN, SMALL_PART = log(2.0), 0.1  # deviation of logarithms, and of the whole fall, from which on a decay is uneven


def first_sequence(path: Trajectory) -> Trajectory:
    """The first of the B sequences alone: (T, 1, I)."""
    s0 = None if path.s0 is None else tuple(z[:1] for z in path.s0)
    data = None if path.data is None else {name: d[:, :1] for name, d in path.data.items()}
    return replace(path, xs=path.xs[:, :1], s0=s0, data=data)


def spread(first: int, stop: int, count: int) -> list[int]:
    """`count` of the numbers first … stop − 1, about evenly apart, with the last one; all, if there are fewer."""
    return sorted({int(t) for t in np.linspace(stop - 1, first, min(max(count, 1), stop - first)).round()})


def powers(longest: int) -> list[int]:
    """1, 2, 4, … as far as they go, and the longest."""
    return sorted({*(2**k for k in range(longest.bit_length())), longest})


def exp(logs: HostArray) -> HostArray:
    """The numbers of natural logarithms; nan for those that are too small or too large for float64, and for zero."""
    fits = np.abs(logs) < LARGEST
    return np.where(fits, np.exp(np.where(fits, logs, 0.0)), np.nan)


def fitted(by_lag: HostArray) -> Decay:
    """The decay over the lags that are there, from the first that is not zero; nan where there are fewer than two."""
    there = np.flatnonzero(by_lag > 0)
    first = int(there[0]) if len(there) else 0
    gone = np.flatnonzero(~np.isfinite(by_lag[first:]))
    last = first + int(gone[0]) - 1 if len(gone) else len(by_lag) - 1
    return decay(by_lag, first, last) if len(there) and last > first else Decay(nan, first, first)


def falls(rate: Decay) -> str:
    """What a decay means, as the rest of a sentence: "halves every 5 steps"; and whether it is a poor description."""
    if np.isnan(rate.rate):
        return "is there at one lag at the most"
    if np.isinf(rate.rate):
        return "is gone after one step"
    uneven = rate.deviation > max(UNEVEN, SMALL_PART * abs(rate.rate) * (rate.last - rate.first))
    off = f" (unevenly: off that by a factor of {said(np.exp(rate.deviation))})" if uneven else ""
    if rate.rate < 0:
        return f"doubles {every(-log(2) / rate.rate)}{off}"
    return f"halves {every(rate.half_life)}{off}" if rate.rate > 0 else f"neither falls nor grows{off}"


def every(steps: float) -> str:
    """How often, in steps."""
    return "every step" if said(steps) == "1" else f"every {said(steps)} steps"


def ranked(rates: Mapping[str, Decay]) -> str:
    """How several parts fall, as a sentence: each by name, or the slowest and the fastest of many."""
    order = sorted((name for name in rates if not np.isnan(rates[name].rate)), key=lambda name: rates[name].rate)
    if len(rates) <= SEVERAL or not order:
        return f"With the lag, the part of {listed({name: falls(rate) for name, rate in rates.items()})}."
    slow, fast = (f"that of {name} {falls(rates[name])}" for name in (order[0], order[-1]))
    return f"With the lag, of {len(rates)} parts {slow}, the longest, and {fast}."


def column(rows: Sequence[Mapping[str, Any]], name: str) -> HostArray:
    """The numbers of a column of a run's table, nan where a row has none."""
    return np.array([nan if row.get(name) is None else row[name] for row in rows], dtype=np.float64)


def over_lags(by_lag: Mapping[str, HostArray]) -> tuple[Line, ...]:
    """Lines over the lags 0, 1, …"""
    return tuple(Line(name, np.arange(len(y)), positive(y)) for name, y in by_lag.items())


def positive(values: HostArray) -> HostArray:
    """Nan in place of zero, which has no place on a logarithmic axis."""
    return np.where(values > 0, values, np.nan)


def said(x: float) -> str:
    """A number to three digits."""
    return f"{float(x):.3g}"


def said_exp(size: float) -> str:
    """The number of a natural logarithm, also where float64 has none."""
    return said(np.exp(size)) if abs(size) < LARGEST or isinf(size) else f"exp({size:.3g})"


def listed(parts: Mapping[str, str]) -> str:
    """Parts of a sentence, each behind its name."""
    return ", ".join(f"{name} {value}" if name else value for name, value in parts.items())
