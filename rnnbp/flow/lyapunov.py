"""Lyapunov exponents: how fast small differences of the state grow or die along a sequence, direction by direction."""

from __future__ import annotations

from dataclasses import dataclass
from math import isqrt

import numpy as np

from rnnbp.errors import UserError
from rnnbp.flow.trajectories import Trajectory
from rnnbp.numerics import HostArray

FEWEST = 4  # steps behind the warm-up: two batches of two


@dataclass(frozen=True, eq=False)
class LyapunovSpectrum:
    """The k leading exponents of each sequence, per step and in nats, in the order of the QR steps.

    growth (T, B, k): log |R_ii| of every step, those of the warm-up too. The i-th direction of a step is orthogonal to
    those before it, so the sum of the first i is how fast a volume of i dimensions grows; the order is a falling one
    once the directions have settled. Where R_ii is zero to rounding (a singular Jacobian) it is −inf.
    """

    growth: HostArray
    warmup: int

    @property
    def running(self) -> HostArray:
        """The estimate after each step behind the warm-up, (T − warmup, B, k): it shows how far it has settled."""
        kept = self.growth[self.warmup :]
        return np.asarray(np.cumsum(kept, axis=0) / np.arange(1, len(kept) + 1)[:, None, None])

    @property
    def exponents(self) -> HostArray:
        """λ_i, the mean of log |R_ii| over the steps behind the warm-up, (B, k)."""
        return np.asarray(np.mean(self.growth[self.warmup :], axis=0))

    @property
    def standard_error(self) -> HostArray:
        """Of each exponent, (B, k), by means of batches: the deviation of m means over √m; NaN where λ is −inf.

        The steps are not independent, long batches nearly are: m = ⌊√n⌋ batches of ⌊n/m⌋ steps, n = T − warmup, the
        first few steps left out where m does not divide n (Flegal & Jones 2010, arXiv 0811.1729).
        """
        kept = self.growth[self.warmup :]
        m = isqrt(len(kept))
        finite = np.isfinite(self.exponents)
        batches = np.where(finite, kept, 0.0)[len(kept) % m :].reshape(m, -1, *kept.shape[1:])  # (m, n/m, B, k)
        error = np.std(np.mean(batches, axis=1), axis=0, ddof=1) / np.sqrt(m)
        return np.where(finite, error, np.nan)


def lyapunov_spectrum(
    path: Trajectory, k: int | None = None, *, warmup: int | None = None, seed: int = 0
) -> LyapunovSpectrum:
    """The k leading Lyapunov exponents (default all N) of the driven system along a trajectory, for each sequence.

        Q_{t+1} R_{t+1} = J_t Q_t,    λ_i = mean over t of log |(R_t)_ii|

    with J_t = ∂s_{t+1}/∂s_t of the whole state (h, c, …), exact, applied to k directions by complex steps of the
    forward; Q_0 is random, from the seed. QR comes after every step (Benettin et al. 1980; for recurrent networks
    Engelken, Wolf & Abbott 2020, arXiv 2006.02427; Vogt et al. 2022). λ_1 > 0: chaos, and gradients that explode.
    With k = N the exponents add up to the mean of log |det J_t|.

    warmup: steps in which the directions settle, which the mean leaves out; default a tenth of them.
    R_ii counts as zero at N ε ‖R‖ or less, all that a Jacobian in float64 can tell.
    """
    n, steps = path.size, path.time_steps
    k = n if k is None else k
    warmup = steps // 10 if warmup is None else warmup
    if not 1 <= k <= n:
        raise UserError(f"the number of exponents must be 1 to {n}, the size of the state; got {k}")
    if not 0 <= warmup <= steps - FEWEST:
        raise UserError(f"exponents need {FEWEST} steps behind the warm-up; got {steps} steps and warmup {warmup}")
    drawn = np.random.default_rng(seed).standard_normal((path.xs.shape[1], n, k))
    q = np.linalg.qr(drawn).Q  # (B, N, k)
    growth = np.empty((steps, len(q), k))
    for t in range(steps):
        moved = np.moveaxis(path.jvp(t, np.moveaxis(q, 2, 0)), 0, 2)  # J_t Q_t
        if not np.all(np.isfinite(moved)):
            raise UserError(f"exponents need states that stay finite; those behind step {t} do not")
        q, r = np.linalg.qr(moved)
        growth[t] = _logs(r, n)
    return LyapunovSpectrum(growth, warmup)


def _logs(r: HostArray, n: int) -> HostArray:
    """Log |R_ii| of R (B, k, k), −inf where it is lost in the rounding of R."""
    size = np.abs(np.diagonal(r, axis1=1, axis2=2))
    floor = n * np.finfo(r.dtype).eps * np.linalg.norm(r, axis=(1, 2))
    seen = size > floor[:, None]
    return np.where(seen, np.log(np.where(seen, size, 1.0)), -np.inf)
