"""How far an analytic gradient is from a numeric one, per tensor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import isnan, nan

import numpy as np

from rnnbp.numerics import HostArray


@dataclass(frozen=True)
class Discrepancy:
    """How two tensors differ. `error` is judged; the elementwise relative error is for the reader only.

    norm = ‖a−n‖ / (‖a‖+‖n‖) sees a tensor that is wrong all over, maximum = max|a−n| / max(|a|,|n|)∞ a single wrong
    entry among many; `blocks` holds the larger of both for each gate's part of the tensor, so that a small gate cannot
    hide behind a large one. None has an absolute part: two exact zeros agree, zero against anything else does not.
    """

    norm: float
    maximum: float
    index: tuple[int, ...]  # the entry with the largest |a−n|, or the first that is not finite
    analytic: float  # its two values
    numeric: float
    blocks: Mapping[str, float] = field(default_factory=dict)

    @property
    def error(self) -> float:
        """The largest of all measures; NaN where an entry is not finite."""
        return nan if isnan(self.norm) else max(self.norm, self.maximum, *self.blocks.values())

    @property
    def elementwise(self) -> float:
        """|a−n| / max(|a|,|n|) at the worst entry."""
        largest = max(abs(self.analytic), abs(self.numeric))
        return abs(self.analytic - self.numeric) / largest if largest else 0.0


def compare(analytic: HostArray, numeric: HostArray, blocks: Sequence[str] = ()) -> Discrepancy:
    """The discrepancy of two tensors of one shape, whose last axis may hold named blocks side by side."""
    whole = _compare(np.asarray(analytic), np.asarray(numeric))
    if len(blocks) < 2:
        return whole
    pairs = zip(*(np.split(np.asarray(side), len(blocks), axis=-1) for side in (analytic, numeric)), strict=True)
    return replace(whole, blocks={name: _compare(*pair).error for name, pair in zip(blocks, pairs, strict=True)})


def _compare(analytic: HostArray, numeric: HostArray) -> Discrepancy:
    """Both are scaled first, so that tiny gradients do not underflow."""
    a, n = np.asarray(analytic, dtype=np.float64), np.asarray(numeric, dtype=np.float64)
    if a.shape != n.shape:
        raise ValueError(f"only tensors of one shape can be compared; got {a.shape} and {n.shape}")
    broken = ~(np.isfinite(a) & np.isfinite(n))
    if broken.any():
        return _at(broken, a, n, nan, nan)
    scale = max(np.max(np.abs(a)), np.max(np.abs(n)))
    if scale == 0:
        return _at(broken, a, n, 0.0, 0.0)
    difference = np.abs(a / scale - n / scale)
    norm = np.linalg.norm(difference) / (np.linalg.norm(a / scale) + np.linalg.norm(n / scale))
    return _at(difference, a, n, float(norm), float(np.max(difference)))


def _at(badness: HostArray, a: HostArray, n: HostArray, norm: float, maximum: float) -> Discrepancy:
    index = tuple(int(k) for k in np.unravel_index(np.argmax(badness), a.shape))
    return Discrepancy(norm, maximum, index, float(a[index]), float(n[index]))
