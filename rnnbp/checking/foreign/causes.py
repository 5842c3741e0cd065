"""Plain faults of a gradient, named from its numbers alone: nothing is known of the function."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import numpy as np

from rnnbp.checking.bugs import BUGS
from rnnbp.checking.metric import compare
from rnnbp.numerics import HostArray

CLOSE = 1e-4  # an explanation leaves less than this of the tensor, whatever the method
SLIGHT = 1e-2  # no mean, sum or forgotten 2 is a factor this close to 1
ROUND = 1e-5  # a norm this close to a round number, of a gradient that is wrong, was made so
LIMITS = (0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 4.0, 5.0, 10.0, 15.0, 20.0, 40.0, 50.0, 100.0)  # what people clip to


class Cause(NamedTuple):
    """A key of `BUGS`, and what was seen."""

    bug: str
    seen: str


def simple_causes(analytic: Mapping[str, HostArray], numeric: Mapping[str, HostArray]) -> dict[str, Cause]:
    """The name of each wrong gradient's fault, where it explains the whole of it; other tensors are left out.

    In this order: zero everywhere, the wrong sign, a constant factor, transposed, zero at the first or the last index
    of one axis and right elsewhere.
    """
    found = {}
    for name, a in analytic.items():
        n = numeric[name]
        if a.shape == n.shape and _same(a, n):
            continue
        cause = next((cause for look in _LOOKS for cause in look(a, n)), None)
        if cause is not None:
            found[name] = cause
    return found


def _all_zero(a: HostArray, n: HostArray) -> Iterator[Cause]:
    if not a.any() and n.any():
        yield Cause("all-zero", BUGS["all-zero"])


def _factor(a: HostArray, n: HostArray) -> Iterator[Cause]:
    if a.shape != n.shape or not n.any() or a.size < 2:
        return
    factor = float(np.sum(a * n) / np.sum(n * n))
    if factor and abs(factor - 1) > SLIGHT and _same(a, factor * n):
        if _same(a, -n):
            yield Cause("sign", BUGS["sign"])
        else:
            yield Cause("factor", f"the gradient is {_ratio(factor)} the right one")


def _transposed(a: HostArray, n: HostArray) -> Iterator[Cause]:
    if a.ndim >= 2 and a.shape == n.swapaxes(-1, -2).shape and _same(a, n.swapaxes(-1, -2)):
        yield Cause("transposed", BUGS["transposed"])


def _edge(a: HostArray, n: HostArray) -> Iterator[Cause]:
    if a.shape != n.shape or a.ndim < 2:
        return
    for bug, index, word in (("first-step-skipped", 0, "first"), ("last-step-skipped", -1, "last")):
        for axis in range(a.ndim):
            rest = np.array(n)
            rest.swapaxes(0, axis)[index] = 0.0
            if n.shape[axis] > 1 and _same(a, rest):
                yield Cause(bug, f"the gradient is zero at the {word} index of axis {axis}, and right elsewhere")


_LOOKS: tuple[Callable[[HostArray, HostArray], Iterator[Cause]], ...] = (_all_zero, _factor, _transposed, _edge)


def clipped(analytic: Mapping[str, HostArray], numeric: Mapping[str, HostArray]) -> str:
    """How wrong gradients were clipped or normalised, in words; empty where they were not.

    Clipped entry by entry: some are exactly ±c, the largest there is, where the right ones are larger; the others are
    right. Normalised or clipped by norm: all point the right way, and their norm, together or each, is a round number.
    """
    pairs = [(a, numeric[name]) for name, a in analytic.items() if a.shape == numeric[name].shape]
    if not pairs or all(_same(a, n) for a, n in pairs) or not all(np.isfinite(a).all() for a, _ in pairs):
        return ""
    a, n = (np.concatenate([pair[k].ravel() for pair in pairs]) for k in (0, 1))
    limit = float(np.max(np.abs(a)))
    there = np.abs(a) == limit
    size, right = float(np.linalg.norm(a)), float(np.linalg.norm(n))
    pointing = bool(size and right) and _same(a / size, n / right)
    if size and there.sum() > 1 and not pointing and _same(a, np.clip(n, -limit, limit)):
        return f"{there.sum()} entries are exactly ±{limit:g}, where the right ones are larger"
    if _normalised(a, n):
        return f"the norm of all of them together is {size:g}, and of the right ones {right:g}"
    wrong = [(x, y) for x, y in pairs if not _same(x, y)]
    if all(x.size > 1 and _normalised(x, y) for x, y in wrong):
        norms = ", ".join(f"{np.linalg.norm(x):g}" for x, _ in wrong)
        return f"they point the right way, each with a round norm ({norms})"
    return ""


def _normalised(a: HostArray, n: HostArray) -> bool:
    """Whether a points as n does and has a round norm, which no whole factor explains."""
    size, right = float(np.linalg.norm(a)), float(np.linalg.norm(n))
    if not size or not right or not _is_round(size) or _is_round(right) or _whole(right / size) or _whole(size / right):
        return False
    return _same(a / size, n / right)


def _same(a: HostArray, b: HostArray) -> bool:
    return compare(a, b).error <= CLOSE


def _is_round(norm: float) -> bool:
    return any(abs(norm - limit) <= ROUND * limit for limit in LIMITS)


def _whole(factor: float) -> bool:
    return abs(factor) > 0.5 and abs(factor - round(factor)) <= CLOSE * abs(factor)


def _ratio(factor: float) -> str:
    if _whole(factor):
        return f"{round(factor)} times"
    return f"1/{round(1 / factor)} of" if _whole(1 / factor) else f"{factor:.6g} times"
