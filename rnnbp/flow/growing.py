"""How the derivative of a state by an earlier one grows or decays with the lag, and with which exponent."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from rnnbp.flow.bidiagonalisation import largest_singular
from rnnbp.flow.decays import log_rounding
from rnnbp.flow.jacobians import DENSE, log_of, products, rescaled, span
from rnnbp.flow.steps import Steps
from rnnbp.numerics import HostArray


@dataclass(frozen=True, eq=False)
class Growth:
    """The size of ∂s_t/∂s_k for lags t−k, as natural logarithms, and the exponents: e-folds a step.

    lags (L,); log_norm (L, B): the largest singular value, what the worst error is multiplied by; log_vector (L, B):
    what a random error of s_t is multiplied by on its way back to s_k. −inf: it is zero.
    residual (L, B): relative, what the Lanczos method left of log_norm's error; 0 where the matrix was made.
    """

    lags: HostArray
    log_norm: HostArray
    log_vector: HostArray
    residual: HostArray

    @property
    def exponent(self) -> HostArray:
        """(B,): the slope of log_norm over the lags; below 0 it vanishes, above 0 it explodes."""
        return slope(self.lags, self.log_norm)

    @property
    def vector_exponent(self) -> HostArray:
        """(B,): the slope of log_vector over the lags."""
        return slope(self.lags, self.log_vector)


def growth(
    path: Steps,
    end: int | None = None,
    lags: Iterable[int] | None = None,
    seed: int = 0,
    *,
    dense: int = DENSE,
    tolerance: float = 1e-8,
) -> Growth:
    """How ∂s_t/∂s_k grows with the lag t−k, for t = `end` (the last state, T, if none is given).

    Lags: all, if none are given; for states of more than `dense` numbers, whose matrices are not made, the powers of
    two and the longest. `seed` draws the random error and what the Lanczos method starts with; `tolerance`: where its
    residual may end, relative.
    """
    rng, made = np.random.default_rng(seed), path.size <= min(dense, DENSE)
    end, wanted = span(path, end, lags)
    if lags is None and not made:
        wanted = sorted({*(2**k for k in range(end.bit_length())), end})
    d = rng.standard_normal((path.xs.shape[1], path.size))
    logs = {lag: log for lag, (_, log) in enumerate(carried(path, d, end, wanted[-1]), 1)}
    if made:
        norm = {
            lag: log + log_of(np.linalg.norm(p, 2, axis=(-2, -1)))
            for lag, (p, log) in enumerate(products(path, end, wanted[-1]), 1)
            if lag in wanted
        }
        norms, residual = np.stack(list(norm.values())), np.zeros((len(wanted), len(d)))
    else:
        start = rng.standard_normal(d.shape)
        found = (lanczos_norm(path, end, lag, start, tolerance) for lag in wanted)
        norms, residual = map(np.stack, zip(*found, strict=True))
    return Growth(np.asarray(wanted), norms, np.stack([logs[lag] for lag in wanted]), residual)


def carried(path: Steps, d: HostArray, end: int, longest: int) -> Iterator[tuple[HostArray, HostArray]]:
    """An error d (B, N) of the state s_t, t = `end`, carried back to s_{t−1}, s_{t−2}, …: each as a vector of norm 1
    and the logarithm (B,) of what it was multiplied by.
    """
    d, _ = rescaled(d, 1)
    total = np.zeros(d.shape[:-1])
    for k in range(end - 1, end - longest - 1, -1):
        d, log = rescaled(path.vjp(k, d), 1)
        total = total + log
        yield d, total


def lanczos_norm(
    path: Steps, end: int, lag: int, start: HostArray, tolerance: float = 1e-8
) -> tuple[HostArray, HostArray]:
    """The logarithm (B,) of the largest singular value of ∂s_t/∂s_k, t = `end`, k = t − lag, and its residual.

    Without a matrix: vectors go back by the steps' backward and forward by their derivative. All are measured in units
    of what `start` (B, N) is multiplied by on its first way back, so that a long product does not under- or overflow.
    """
    steps = range(end - lag, end)

    def there(v: HostArray, move: str) -> tuple[HostArray, HostArray]:
        """A vector of norm 1, or zero, from one end of the product to the other, and what it is multiplied by."""
        total = np.zeros(len(v))
        for k in steps if move == "jvp" else reversed(steps):
            v, log = rescaled(getattr(path, move)(k, v), 1)
            total = total + log
        return v, total

    unit = there(rescaled(start, 1)[0], "vjp")[1]
    unit = np.where(np.isneginf(unit), 0.0, unit)  # a product that is zero

    def product(v: HostArray, move: str) -> HostArray:
        moved, log = there(v, move)
        return np.asarray(moved * np.exp(log - unit)[:, None])

    top = largest_singular(lambda d: product(d, "vjp"), lambda v: product(v, "jvp"), start, tolerance)
    return unit + log_of(top.value), top.residual / np.where(top.value > 0, top.value, 1.0)


def slope(x: HostArray, logs: HostArray) -> HostArray:
    """The slope (B,) of the straight line nearest to logs (L, B) over x (L,), by least squares: nan for a single lag,
    −inf where a logarithm is, and zero within the rounding of the logarithms.
    """
    if len(x) < 2:
        return np.full(logs.shape[1:], np.nan)
    zero = np.any(np.isneginf(logs), axis=0)
    centred, finite = x - np.mean(x), np.where(zero, 0.0, logs)
    found = centred @ finite / (centred @ centred)
    seen = np.abs(found) * np.ptp(x) > log_rounding(finite)
    return np.where(zero, -np.inf, np.where(seen, found, 0.0))
