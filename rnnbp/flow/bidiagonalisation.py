"""The largest singular value of a matrix that is known by its products with vectors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from rnnbp.numerics import HostArray

Product = Callable[[HostArray], HostArray]  # (B, N) -> (B, N')


@dataclass(frozen=True, eq=False)
class Largest:
    """Values (B,), and residuals (B,): a singular value lies within `residual` of each."""

    value: HostArray
    residual: HostArray


def largest_singular(forward: Product, adjoint: Product, start: HostArray, tol: float = 1e-8) -> Largest:
    """The largest singular value of A, of B matrices at once, by the bidiagonalisation of Golub & Kahan (1965).

    From v_1 = start / ‖start‖ (B, N):   α_j u_j = A v_j − β_{j−1} u_{j−1}    β_j v_{j+1} = Aᵀ u_j − α_j v_j
    so that A V = U M with M bidiagonal, α on its diagonal and β above. The largest singular value of M grows to that of
    A. With p its left singular vector, ‖Aᵀ U p − σ V q‖ = β_j |p_j| is the residual r; it ends at `tol` σ, where σ
    is right to about r² over the gap to the next. Every vector is made orthogonal to all before it.
    """
    v = _unit(start)[0]
    vs = [v]
    us: list[HostArray] = []
    alpha: list[HostArray] = []
    beta: list[HostArray] = []
    for _ in range(start.shape[-1]):
        u, a = _unit(_orthogonal(forward(vs[-1]), us))
        us.append(u)
        alpha.append(a)
        v, b = _unit(_orthogonal(adjoint(u), vs))
        p, sigma, _ = np.linalg.svd(_bidiagonal(alpha, beta))
        found = Largest(sigma[:, 0], b * np.abs(p[:, -1, 0]))
        if np.all(found.residual <= tol * found.value):
            break
        vs.append(v)
        beta.append(b)
    return found


def _orthogonal(z: HostArray, basis: list[HostArray]) -> HostArray:
    """Z (B, N) less its parts along a basis; twice, for what rounding leaves the first time."""
    for _ in range(2):
        for q in basis:
            z = z - np.sum(z * q, axis=-1, keepdims=True) * q
    return z


def _unit(z: HostArray) -> tuple[HostArray, HostArray]:
    """Z (B, N) over its norm, and the norm (B,); zero stays zero."""
    norm = np.linalg.norm(z, axis=-1)
    return z / np.where(norm > 0, norm, 1.0)[:, None], norm


def _bidiagonal(alpha: list[HostArray], beta: list[HostArray]) -> HostArray:
    """M (B, j, j) of α (j) and β (j − 1)."""
    n = len(alpha)
    m = np.zeros((len(alpha[0]), n, n))
    m[:, range(n), range(n)] = np.stack(alpha, axis=-1)
    if beta:
        m[:, range(n - 1), range(1, n)] = np.stack(beta, axis=-1)
    return m
