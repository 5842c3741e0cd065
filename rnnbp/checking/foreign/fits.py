"""Which steps' parts of a gradient are missing or scaled, by least squares: the sum is known, the parts are known."""

from __future__ import annotations

from math import isnan
from typing import NamedTuple

import numpy as np

from rnnbp.checking.metric import compare
from rnnbp.numerics import HostArray

EXPLAINED = 1e-4  # of what is missing; a fit that leaves more explains nothing
DETERMINED = 0.999  # of a weight is its own; the others are mixed with those of other steps
OFF = 1e-3  # a weight further from 1 than this is wrong
SPARE = 2  # equations more than weights, so that a fit can fail
FAINT = 100.0  # parts below so many tolerances of the largest have no weight that could be known


def patterns(steps: int) -> dict[str, HostArray]:
    """Name in `BUGS` -> whether the part of step s is in the gradient of the loss at t, (T, S)."""
    t, s = np.indices((steps, steps))
    return {
        "carry-dropped": s == t,
        "first-step-skipped": s > 0,
        "last-step-skipped": t < steps - 1,
        "missing-accumulation": s == 0,
    }


class Row(NamedTuple):
    """The gradient a of the loss at one t beside its numeric parts n (S, P): is a their sum?"""

    error: float  # of a against the sum of the parts
    wrong: HostArray  # the parts known to be wrong, (S,)
    weights: HostArray | None = None  # w with a = Σ w_s n_s, NaN where not determined
    why: str = ""  # there are no weights


def row_of(a: HostArray, n: HostArray, rounding: HostArray, limit: float, slack: float = 0.0) -> Row:
    """The verdict on one row; where no weights explain it, on the parts that have entries of their own.

    A difference whose norm is within that of the rounding, or within `slack`, is none.
    """
    steps = len(n)
    error = _error(a, n.sum(axis=0), rounding.sum(axis=0), slack)
    if error <= limit:
        return Row(error, np.zeros(steps, dtype=bool), np.ones(steps))
    found = "it is not finite" if isnan(error) else _weights(a, n, limit)
    if not isinstance(found, str):
        return Row(error, np.asarray(np.abs(found - 1) > OFF), found)
    owned = (n != 0) & (np.sum(n != 0, axis=0) == 1)
    off = [
        not _error(a[own], part[own], r[own], slack) <= limit for own, part, r in zip(owned, n, rounding, strict=True)
    ]
    return Row(error, np.asarray(off, dtype=bool), why=found)


def pattern_of(analytic: HostArray, numeric: HostArray, rounding: HostArray, limit: float, slack: float = 0.0) -> str:
    """The first of `patterns` by which gradients (T, P) follow from their parts (T, S, P), or nothing."""
    for name, keeps in patterns(len(numeric)).items():
        kept, off = (np.sum(keeps[..., None] * side, axis=1) for side in (numeric, rounding))
        if all(_error(a, n, r, slack) <= limit for a, n, r in zip(analytic, kept, off, strict=True)):
            return name
    return ""


def _error(a: HostArray, n: HostArray, rounding: HostArray, slack: float) -> float:
    if not a.size or np.linalg.norm(a - n) <= max(float(np.linalg.norm(rounding)), slack):
        return 0.0
    return compare(a, n).error


def _weights(a: HostArray, n: HostArray, limit: float) -> HostArray | str:
    """Those closest to 1 that explain a, or why there are none."""
    sizes = np.linalg.norm(n, axis=1)
    live = sizes > FAINT * limit * np.max(sizes)
    if not live.any():
        return "it should be zero"
    if np.count_nonzero(n.any(axis=0)) < live.sum() + SPARE:
        return "it has too few entries to tell which parts are left out or scaled"
    parts = n[live] / sizes[live, None]
    missing = n.sum(axis=0) - a
    inverse = np.linalg.pinv(parts.T, rcond=np.sqrt(limit))
    lost = inverse @ missing  # of each part, in units of its norm
    if np.linalg.norm(missing - lost @ parts) > EXPLAINED * np.linalg.norm(missing):
        return "no parts left out or scaled explain it: a part is wrong in itself"
    weights = np.full(len(n), np.nan)
    known = np.diagonal(inverse @ parts.T) > DETERMINED
    weights[live] = np.where(known, 1 - lost / sizes[live], np.nan)
    return weights
