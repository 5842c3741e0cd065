"""Jacobians of the whole state along a sequence, and their products: singular values, spectral radius, condition."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from rnnbp.errors import UserError
from rnnbp.flow.steps import Steps
from rnnbp.numerics import HostArray

DENSE = 512  # the largest N whose matrices are made


@dataclass(frozen=True, eq=False)
class Spectra:
    """Singular values and eigenvalues of matrices, as natural logarithms.

    at (S,): the step t of each ∂s_{t+1}/∂s_t, or the lag t−k of each product ∂s_t/∂s_k.
    log_values (S, B, N): singular values, the largest first; −inf for a zero matrix, nan for one that rounding hides
    (below N · lag · ε times the largest). log_radius (S, B): the spectral radius, the largest |eigenvalue|; of matrices
    far from normal it is rounding where it is far below the norm.
    """

    at: HostArray
    log_values: HostArray
    log_radius: HostArray

    @property
    def log_norm(self) -> HostArray:
        """(S, B): the spectral norm, the largest singular value."""
        return self.log_values[..., 0]

    @property
    def log_condition(self) -> HostArray:
        """(S, B): the largest singular value over the smallest; inf where that is zero or hidden by rounding."""
        last = self.log_values[..., -1]
        singular = np.isnan(last) | np.isneginf(last)
        return np.where(singular, np.inf, self.log_norm - np.where(singular, 0.0, last))


def step_spectra(path: Steps, steps: Iterable[int] | None = None) -> Spectra:
    """The spectra of ∂s_{t+1}/∂s_t at every step t, or at those given."""
    wanted = list(range(path.time_steps) if steps is None else steps)
    if not wanted or not 0 <= min(wanted) <= max(wanted) < path.time_steps:
        raise UserError(f"steps are from 0 to T − 1 = {path.time_steps - 1}; got {wanted or 'none'}")
    made = (rescaled(j, 2) for j in map(_dense(path).jacobian, wanted))
    return _spectra(wanted, made, np.ones(len(wanted)))


def product_spectra(path: Steps, end: int | None = None, lags: Iterable[int] | None = None) -> Spectra:
    """The spectra of ∂s_t/∂s_k, t = `end` (the last state, T, if none is given), for all lags t−k, or those given."""
    end, wanted = span(path, end, lags)
    made = (p for lag, p in enumerate(products(path, end, max(wanted)), 1) if lag in wanted)
    return _spectra(wanted, made, np.asarray(wanted, dtype=np.float64))


def products(path: Steps, end: int, longest: int) -> Iterator[tuple[HostArray, HostArray]]:
    """∂s_t/∂s_k = J_{t−1} … J_k for t = `end` and the lags t−k = 1, 2, …, longest, each as (P, log ρ), meaning ρ P with
    P (B, N, N) of Frobenius norm 1 and ρ (B,): so the longest neither overflows nor underflows.
    """
    p, log = rescaled(_dense(path).jacobian(end - 1), 2)
    yield p, log
    for k in range(end - 2, end - longest - 1, -1):
        p, more = rescaled(p @ path.jacobian(k), 2)
        log = log + more
        yield p, log


def span(path: Steps, end: int | None, lags: Iterable[int] | None) -> tuple[int, list[int]]:
    """The number of the last state and the lags in order, all if none are given; what does not fit is a UserError."""
    last = path.time_steps if end is None else end
    if not 1 <= last <= path.time_steps:
        raise UserError(f"end is the number of a state, from 1 to T = {path.time_steps}; got {last}")
    wanted = list(range(1, last + 1)) if lags is None else sorted(set(lags))
    if not wanted or not 1 <= wanted[0] <= wanted[-1] <= last:
        raise UserError(f"lags behind state {last} are from 1 to {last}; got {wanted or 'none'}")
    _exact(path)
    return last, wanted


def rescaled(z: HostArray, axes: int) -> tuple[HostArray, HostArray]:
    """Z divided by its 2-norm over the last axes, and the natural logarithm of that norm; −inf where z is zero."""
    over = tuple(range(-axes, 0))
    top = np.max(np.abs(z), axis=over, keepdims=True)  # divided out first, so that no square over- or underflows
    if not np.all(np.isfinite(top)):
        raise UserError("derivatives along the sequence must be finite; got inf or nan: the states grow out of range")
    z = z / np.where(top > 0, top, 1.0)
    norm = np.sqrt(np.sum(np.abs(z) ** 2, axis=over, keepdims=True))
    return z / np.where(norm > 0, norm, 1.0), log_of(norm * top).reshape(top.shape[:-axes])


def log_of(z: HostArray) -> HostArray:
    """The natural logarithm, −inf at zero."""
    with np.errstate(divide="ignore"):
        return np.log(z)


def _spectra(at: Iterable[int], made: Iterable[tuple[HostArray, HostArray]], factors: HostArray) -> Spectra:
    values, radii, eps = [], [], np.finfo(np.float64).eps
    for (p, log), count in zip(made, factors, strict=True):
        sigma = np.linalg.svd(p, compute_uv=False)  # (B, N)
        hidden = sigma < sigma.shape[-1] * count * eps * sigma[..., :1]
        values.append(log[..., None] + log_of(np.where(hidden, np.nan, sigma)))
        radii.append(log + log_of(np.max(np.abs(np.linalg.eigvals(p)), axis=-1)))
    return Spectra(np.asarray(list(at)), np.asarray(values), np.asarray(radii))


def _exact(path: Steps) -> None:
    if path.cell.inexact:
        raise UserError(
            f"Jacobians are for cells whose backward is the derivative of the step; this {path.cell.inexact}"
        )


def _dense(path: Steps) -> Steps:
    _exact(path)
    if path.size > DENSE:
        raise UserError(
            f"matrices are made for states of at most {DENSE} numbers; got {path.size}: `growth` needs none"
        )
    return path
