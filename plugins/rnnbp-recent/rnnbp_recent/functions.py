"""Two functions that the cells share, both written for complex numbers and for symbols."""

from __future__ import annotations

from collections.abc import Callable

from rnnbp import Array, Namespace, sigmoid


def log_sigmoid(xp: Namespace, a: Array) -> Array:
    """The logarithm of σ(a), min(a, 0) − log(1 + exp(−|a|)): nothing overflows. Its derivative is 1 − σ(a)."""
    above = xp.real(a) > 0
    smaller, minus_size = xp.where(above, xp.zeros_like(a), a), xp.where(above, -a, a)
    return smaller - xp.log1p(xp.exp(minus_size))


def positive_candidate(xp: Namespace, a: Array) -> tuple[Array, Callable[[Array], Array]]:
    """g(a) = a + 0.5 above zero, σ(a) below: the positive candidate of Feng et al. 2024, appendix B.

    Backward:  da = dg above zero, dg g (1−g) below; the slope jumps from 1/4 to 1 at zero.
    """
    above = xp.real(a) > 0
    g = xp.where(above, a + 0.5, sigmoid(xp, a))

    def backward(dg: Array) -> Array:
        return xp.where(above, dg, dg * g * (1 - g))

    return g, backward
