"""The curvature of a loss: the extreme eigenvalues of its Hessian, and its bend along the gradient."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from rnnbp.checking.products import Gradient, hvp
from rnnbp.errors import UserError
from rnnbp.flow.lanczos import Product, lanczos
from rnnbp.numerics import HostArray

STEPS = 100  # hardly ever needed: the ends of a spectrum settle first


@dataclass(frozen=True, eq=False)
class HessianEigenvalues:
    """The k wanted eigenvalues, the first wanted first; each is that of H to within its residual.

    values (k,); vectors name -> (k, *shape), together of length 1; residuals (k,): ‖H v − λ v‖; products: how many
    Hessian–vector products it took.
    """

    values: HostArray
    vectors: dict[str, HostArray]
    residuals: HostArray
    products: int


def hessian_eigenvalues(
    gradient: Gradient,
    point: Mapping[str, HostArray],
    k: int = 1,
    which: str = "magnitude",
    *,
    steps: int = STEPS,
    tolerance: float = 1e-8,
    seed: int = 0,
) -> HessianEigenvalues:
    """The k first eigenvalues of the Hessian by "magnitude", or the k "largest" or "smallest" ones, by `lanczos`.

    gradient and point as in `rnnbp.hvp`, which makes the products, with host arrays in float64. It ends when every
    residual is at most `tolerance` times the largest eigenvalue that it has seen, or after `steps` products; it keeps a
    vector of the size of the point for each. Of an eigenvalue that is there several times it sees one copy, the others
    only where nothing else is left. A gradient of no function, such as a truncated one, has no symmetric Hessian and is
    refused.
    """
    product, n = _product(gradient, point)
    found = lanczos(product, n, k, which, steps=steps, tolerance=tolerance, seed=seed)
    return HessianEigenvalues(found.values, _named(found.vectors, point), found.residuals, found.products)


def curvature_along(
    gradient: Gradient, point: Mapping[str, HostArray], direction: Mapping[str, HostArray] | None = None
) -> float:
    """dᵀ H d / dᵀ d along a direction, by default the gradient g itself: the second derivative of the loss that way.

    A step −η g lowers a quadratic loss if η < 2 / that and that is positive.
    """
    product, _ = _product(gradient, point)
    d = _flat(gradient(dict(point)) if direction is None else direction, point)
    square = float(d @ d)
    if not 0 < square < np.inf:
        raise UserError(f"curvature needs a direction that is finite and not zero; its square is {square}")
    return float(d @ product(d)) / square


def _product(gradient: Gradient, point: Mapping[str, HostArray]) -> tuple[Product, int]:
    """V -> H v for flat vectors, and their size."""
    for name, value in point.items():
        if not isinstance(value, np.ndarray) or value.dtype != np.float64:
            got = getattr(value, "dtype", type(value).__name__)
            raise UserError(f"curvature is computed on host arrays in float64; {name} is {got}: move the point there")

    def product(v: HostArray) -> HostArray:
        moved = _flat(hvp(gradient, point, _named(v, point)), point)
        if not np.all(np.isfinite(moved)):
            raise UserError("curvature needs second derivatives that are finite; a Hessian–vector product is not")
        return moved

    return product, sum(value.size for value in point.values())


def _flat(named: Mapping[str, HostArray], point: Mapping[str, HostArray]) -> HostArray:
    """Arrays as one vector, in the order of the point."""
    for name, value in point.items():
        got = np.shape(named[name]) if name in named else "none"
        if got != value.shape:
            raise UserError(f"gradient and direction must have an array {value.shape} for {name}; got {got}")
    return np.concatenate([np.ravel(named[name]) for name in point])


def _named(v: HostArray, point: Mapping[str, HostArray]) -> dict[str, HostArray]:
    """The inverse of `_flat`, for v (..., n)."""
    ends = np.cumsum([value.size for value in point.values()])
    parts = np.split(v, ends[:-1], axis=-1)
    return {name: part.reshape(*v.shape[:-1], *point[name].shape) for name, part in zip(point, parts, strict=True)}
