"""A few eigenvalues of a symmetric matrix that is known by its products alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt
from typing import TypeAlias

import numpy as np

from rnnbp.errors import UserError, unknown
from rnnbp.numerics import HostArray

Product: TypeAlias = Callable[[HostArray], HostArray]  # v -> A v

# what comes first -> the key that it sorts by
ORDERS: dict[str, Callable[[HostArray], HostArray]] = {
    "magnitude": lambda values: -np.abs(values),
    "largest": lambda values: -values,
    "smallest": lambda values: values,
}
EPSILON = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, eq=False)
class Eigenvalues:
    """values (k,), the first wanted first; vectors (k, n); residuals (k,), ‖A v − λ v‖; how many products it took.

    Within a residual of its value lies an eigenvalue of A.
    """

    values: HostArray
    vectors: HostArray
    residuals: HostArray
    products: int


def lanczos(
    product: Product, n: int, k: int, which: str = "magnitude", *, steps: int, tolerance: float, seed: int = 0
) -> Eigenvalues:
    """The k first eigenvalues, by "magnitude", or the "largest" or "smallest", of A (n, n), given v -> A v.

        A v_j = β_{j−1} v_{j−1} + α_j v_j + β_j v_{j+1}

    from a random v_1; the eigenvalues are those of the tridiagonal matrix of the α and β (Lanczos 1950). Every new
    vector is made orthogonal to all before it, twice (Parlett 1998, ch. 13). Where A takes the vectors to themselves,
    β_j = 0, it goes on from another random one, if it still lacks some.
    It ends when every residual, β_m |y_m| with y the vector of the tridiagonal matrix, is at most `tolerance` times the
    largest eigenvalue that it has seen, or after `steps` products.
    """
    steps = min(n, steps)
    _check_wanted(k, which, steps)
    rng, basis, t = np.random.default_rng(seed), np.empty((steps, n)), np.zeros((steps + 1, steps + 1))
    left = rng.standard_normal(n)
    for m in range(1, steps + 1):
        seen, v = basis[:m], left / np.linalg.norm(left)
        basis[m - 1] = v
        moved = product(v)
        row, size = seen @ moved, max(float(np.abs(t).max()), float(np.linalg.norm(moved)))
        _check_symmetric(row[:-1] - t[m - 1, : m - 1], size)
        t[m - 1, m - 1] = row[-1]
        left = _apart(moved, seen)
        beta = float(np.linalg.norm(left))
        values, y, largest = _first(t[:m, :m], k, which)
        residuals = beta * np.abs(y[-1])
        if m >= k and np.all(residuals <= tolerance * largest):
            break
        if beta <= n * EPSILON * size:
            beta, left = 0.0, _apart(rng.standard_normal(n), seen)
        t[m - 1, m] = t[m, m - 1] = beta
    return Eigenvalues(values, y.T @ seen, residuals, m)


def _first(t: HostArray, k: int, which: str) -> tuple[HostArray, HostArray, float]:
    """The k first eigenvalues of a small matrix (m, m), their vectors (m, k), and the largest magnitude of all."""
    values, y = np.linalg.eigh(t)
    first = np.argsort(ORDERS[which](values), kind="stable")[:k]
    return values[first], y[:, first], float(np.abs(values).max())


def _check_wanted(k: int, which: str, steps: int) -> None:
    if which not in ORDERS:
        raise unknown("order of eigenvalues", which, ORDERS)
    if not 1 <= k <= steps:
        raise UserError(f"k must be 1 to {steps}, the steps or the size of the point; got {k}")


def _check_symmetric(extra: HostArray, size: float) -> None:
    """What a product has along earlier vectors beside what theirs had along it; of a symmetric matrix, rounding."""
    if np.any(np.abs(extra) > sqrt(EPSILON) * size):
        raise UserError(
            "a Hessian is symmetric, and the one of this gradient is not: "
            "give the gradient of a function, with every term and not truncated"
        )


def _apart(v: HostArray, basis: HostArray) -> HostArray:
    """V less what lies along the basis, taken off twice: once leaves rounding that grows."""
    v = v - (basis @ v) @ basis
    return np.asarray(v - (basis @ v) @ basis)
