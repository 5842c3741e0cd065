"""How far one gradient is from the numeric one: over all entries, or along directions and at a few entries."""

from __future__ import annotations

from math import isnan, nan
from typing import Any, NamedTuple

import numpy as np

from rnnbp.checking.foreign.slopes import AGREE
from rnnbp.checking.methods.directions import along_error, entry_error
from rnnbp.checking.metric import compare
from rnnbp.numerics import HostArray

ENTRIES = 16  # of a large tensor, spread over it; a tensor of no more is small
TINY = float(np.finfo(np.float64).tiny)


class Verdict(NamedTuple):
    """How far a gradient is from the numeric one, and how far rounding alone may have taken the numeric one."""

    error: float
    rounding: float
    largest: float  # entry of either
    measured: dict[str, Any]  # words of a `Check`


def disagreement(a: HostArray, n: HostArray, rounding: HostArray) -> HostArray:
    """How far entries are apart beyond rounding and what differences agree to, relative to the largest."""
    largest = max(float(np.max(np.abs(a))), float(np.max(np.abs(n))), TINY)
    apart: HostArray = (np.abs(a - n) - rounding) / largest - AGREE
    return apart


def whole(a: HostArray, n: HostArray, rounding: HostArray) -> Verdict:
    """The verdict where every entry was taken."""
    found = compare(a, n)
    largest = max(float(np.max(np.abs(a))), float(np.max(np.abs(n))), TINY)
    norms = float(np.linalg.norm(a) + np.linalg.norm(n)) + TINY
    off = max(float(np.max(rounding)) / largest, float(np.linalg.norm(rounding)) / norms)
    words = {"norm_error": found.norm, "max_error": found.maximum, "index": found.index}
    words |= {"analytic": found.analytic, "numeric": found.numeric, "elementwise": found.elementwise}
    return Verdict(found.error, off, largest, words)


def sampled(a: HostArray, along: HostArray, n: HostArray, rounding: HostArray, places: list[Any]) -> Verdict:
    """The verdict from slopes n along directions, where the gradient claims `along`, and then at single entries."""
    many, at = len(along), np.array([a[place] for place in places])
    norm, maximum = along_error(a, along, n[:many]), entry_error(a, at, n[many:])
    sizes = np.array([float(np.linalg.norm(a))] * many + [float(np.max(np.abs(a)))] * len(places))
    worst = int(np.argmax(np.nan_to_num(np.abs(at - n[many:]), nan=np.inf)))
    words: dict[str, Any] = {"norm_error": norm, "max_error": maximum, "index": places[worst]}
    words |= {"analytic": float(at[worst]), "numeric": float(n[many + worst])}
    off = float(np.max(rounding / np.maximum(np.maximum(sizes, np.abs(n)), TINY)))
    return Verdict(nan if isnan(norm) else max(norm, maximum), off, float(np.max(np.abs(a))), words)


def spread(gradient: HostArray, count: int, seed: int) -> list[tuple[int, ...]]:
    """One random entry of each of `count` parts of a tensor, and its largest gradient."""
    rng, edges = np.random.default_rng(seed), np.linspace(0, gradient.size, count + 1).astype(int)
    flat = [int(rng.integers(low, high)) for low, high in zip(edges, edges[1:], strict=False)]
    flat.append(int(np.argmax(np.abs(gradient))))
    return [tuple(int(i) for i in np.unravel_index(k, gradient.shape)) for k in dict.fromkeys(flat)]
