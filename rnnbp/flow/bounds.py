"""What is said of vanishing gradients in Elman networks, beside the truth: norm bounds, and powers of eigenvalues."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import array_api_compat.numpy as xp
import numpy as np

from rnnbp.cells.elman import Elman
from rnnbp.errors import UserError
from rnnbp.flow.growing import carried, growth
from rnnbp.flow.jacobians import log_of, span
from rnnbp.flow.trajectories import Trajectory
from rnnbp.numerics import HostArray

STEEPEST = {"tanh": 1.0, "sigmoid": 0.25, "relu": 1.0, "identity": 1.0, "bipolar": 0.5, "bipolar2": 1.0}  # max |φ'|


@dataclass(frozen=True, eq=False)
class NormBounds:
    """‖∂h_t/∂h_k‖, the largest singular value, and its bounds, for lags t−k, as natural logarithms.

    lags (L,); log_bound (L,): (γ_W γ_φ)^{t−k}; log_sharper (L, B): Π γ_W max_j |φ'(a_j)| over the steps between, with
    the slopes as they are; log_norm (L, B): the truth, never above either. steepest (T, B): max_j |φ'(a_j)| of a step.
    """

    gamma_w: float
    gamma_phi: float
    lags: HostArray
    log_bound: HostArray
    log_sharper: HostArray
    log_norm: HostArray
    steepest: HostArray

    @property
    def must_vanish(self) -> bool:
        """γ_W γ_φ < 1: enough for gradients to vanish. The reverse is not: above 1 they may vanish or explode."""
        return self.gamma_w * self.gamma_phi < 1


def norm_bounds(path: Trajectory, end: int | None = None, lags: Iterable[int] | None = None) -> NormBounds:
    """The bounds of Pascanu, Mikolov & Bengio 2013 (arXiv 1211.5063, section 2.1) on an Elman network, and the truth.

    h_{t+1} = φ(a_t), a_t = x_t W + h_t U + b, so ∂h_{t+1}/∂h_t = diag(φ'(a_t)) Uᵀ and its norm is at most
    γ_W max_j |φ'(a_tj)| ≤ γ_W γ_φ, with γ_W the largest singular value of U and γ_φ the largest slope of φ: 1 for tanh,
    relu and identity, 1/4 for σ. t = `end` (the last state, T, if none is given); lags as in `growth`.
    """
    cell = _elman(path)
    true = growth(path, end, lags)
    last = path.time_steps if end is None else end
    gamma_w, gamma_phi = float(np.linalg.norm(path.params["U"], 2)), STEEPEST[cell.activation]
    steepest = np.stack([np.max(slopes(path, t), axis=-1) for t in range(path.time_steps)])
    sharper = np.cumsum(log_of(gamma_w * steepest[last - 1 :: -1]), axis=0)  # row u − 1: the product over u steps
    return NormBounds(
        gamma_w,
        gamma_phi,
        true.lags,
        true.lags * log_of(np.asarray(gamma_w * gamma_phi)),
        sharper[true.lags - 1],
        true.log_norm,
        steepest,
    )


def slopes(path: Trajectory, t: int) -> HostArray:
    """φ'(a_t), (B, H), of an Elman network: what its backward multiplies errors of h_{t+1} by."""
    cell, (h,) = _elman(path), path.states[t]
    a = cell.preactivations(xp, path.params, cell.project(xp, path.params, path.xs[t]), h)
    _, backward = cell.pointwise(xp, a, (h,), {}, {})
    return np.asarray(backward((np.ones_like(h),))[0][0])


@dataclass(frozen=True, eq=False)
class EigenPrediction:
    """An error of h_t along an eigenvector v of U, carried back: what |λ|^{t−k} predicts, and the truth.

    eigenvalues (H,) of U, the largest |λ| first; `which` is the one followed; lags (L,); log_predicted (L,): the
    natural logarithm of |λ|^{t−k}; log_true (L, B): that of ‖dh_k‖ / ‖dh_t‖.
    """

    eigenvalues: HostArray
    which: int
    lags: HostArray
    log_predicted: HostArray
    log_true: HostArray


def eigen_prediction(path: Trajectory, which: int = 0, end: int | None = None) -> EigenPrediction:
    """The prediction λ^{t−k} along an eigenvector of U, and the truth, for t = `end` (the last state, T, if not given).

    An error goes back by dh_k = (dh_{k+1} ∘ φ') Uᵀ. With U v = λ v and φ' = 1 an error vᵀ becomes λ vᵀ: exact for the
    identity. For any other φ the slopes turn the error away from v, and where they are below 1 they shrink it.
    Eigenvalues say what many steps do (Bengio, Simard & Frasconi 1994), singular values what one can: `shear` has every
    |λ| below 1, and errors that grow first.
    """
    _elman(path)
    last, lags = span(path, end, None)
    values, vectors = np.linalg.eig(path.params["U"])
    if not 0 <= which < len(values):
        raise UserError(f"which is the number of an eigenvalue, from 0 to {len(values) - 1}; got {which}")
    order = np.argsort(-np.abs(values), kind="stable")
    d = np.broadcast_to(vectors[:, order[which]], (path.xs.shape[1], path.size))
    true = np.stack([log for _, log in carried(path, d, last, last)])
    at, size = np.asarray(lags), log_of(np.abs(values[order[which]]))
    return EigenPrediction(values[order], which, at, at * size, true)


def shear(time_steps: int, eigenvalue: float = 0.9, coupling: float = 1.0) -> Trajectory:
    """A network h' = h U that is not normal, U = [[λ, κ], [0, λ]], λ `eigenvalue`, κ `coupling`, at rest.

    U^n = [[λ^n, n κ λ^{n−1}], [0, λ^n]]: both eigenvalues are λ, and yet its norm grows until about
    n = −1/log λ before it decays: transient growth, possible wherever the largest singular value is above 1.
    """
    cell = Elman(1, 2, bias=False, activation="identity")
    u = np.array([[eigenvalue, coupling], [0.0, eigenvalue]])
    return Trajectory(cell, {"W": np.zeros((1, 2)), "U": u}, np.zeros((time_steps, 1, 1)))


def _elman(path: Trajectory) -> Elman:
    cell = path.cell
    if not isinstance(cell, Elman) or cell.activation not in STEEPEST or cell.cut:
        what = f"{type(cell).__name__} with stopped errors" if isinstance(cell, Elman) else type(cell).__name__
        raise UserError(
            f"these bounds are those of h' = φ(x W + h U + b), cell `elman`; got {what}: use `growth`, or --measure "
            "jacobians"
        )
    return cell
