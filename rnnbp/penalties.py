"""Penalties beside a loss: on the outputs of the top layer, and on weights. Each gives its value and its backward."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import isfinite
from numbers import Real
from typing import Any

from array_api_compat import array_namespace

from rnnbp.cellbase import Param, Params
from rnnbp.errors import UserError
from rnnbp.numerics import Array, Namespace, real_dtype


@dataclass(frozen=True)
class ActivationPenalty:
    """Activation regularisation α ‖h_t‖² (AR) and temporal activation regularisation β ‖h_t − h_{t−1}‖² (TAR).

        AR  = α mean over t, b, j of h_tbj²                     dh_t = 2α h_t / n
        TAR = β mean over t ≥ 1, b, j of (h_t − h_{t−1})_bj²    dh_t = 2β (h_t − h_{t−1}) / m − 2β (h_{t+1} − h_t) / m

    n and m are how many numbers a mean is over. So α and β have the scale of Merity, McCann & Socher 2017 (arXiv
    1708.01009) and of Merity, Keskar & Socher 2017 (arXiv 1708.02182: α = 2, β = 1), whose code takes means where their
    formulas have norms. Masked steps count in neither mean; a pair counts where both its steps do, and where no reset
    lies between them.
    """

    alpha: float = 0.0
    beta: float = 0.0

    def __post_init__(self) -> None:
        for name in ("alpha", "beta"):
            check_strength(f"{name} of the activation penalty", getattr(self, name))

    def __call__(
        self, ys: Array, mask: Array | None = None, resets: Array | None = None
    ) -> tuple[Array, Callable[..., Array]]:
        """Of ys (..., T, B, H), with mask and resets (T, B): the penalty (...), and backward(dvalue=None) -> dys."""
        xp = array_namespace(ys)
        width = ys.shape[-1]
        mean = _counted(xp, ys, mask)  # (T, B, 1)
        if mask is not None:
            ys = xp.where(mask[..., None], ys, xp.zeros_like(ys))
        steps = ys[..., 1:, :, :] - ys[..., :-1, :, :]  # (..., T-1, B, H) [1]
        pairs = _pairs(xp, mask, resets)
        of_step, of_pair = mean * (self.alpha / width), _counted(xp, steps, pairs) * (self.beta / width)
        value = xp.sum(of_step * ys * ys, axis=(-3, -2, -1)) + xp.sum(of_pair * steps * steps, axis=(-3, -2, -1))  # [2]

        def backward(dvalue: Array | None = None) -> Array:
            dsteps, blank = 2 * of_pair * steps, xp.zeros_like(ys[..., :1, :, :])  # [2]
            dys = 2 * of_step * ys  # [2]
            dys = dys + xp.concat([blank, dsteps], axis=-3) - xp.concat([dsteps, blank], axis=-3)  # [1]
            return dys if dvalue is None else dys * dvalue[..., None, None, None]

        return value, backward


def _pairs(xp: Namespace, mask: Array | None, resets: Array | None) -> Array | None:
    """(T-1, B): which steps follow the one before them, or None for all."""
    flags = [] if mask is None else [mask[1:, :], mask[:-1, :]]
    flags += [] if resets is None else [xp.logical_not(resets[1:, :])]
    together = flags[0] if flags else None
    for flag in flags[1:]:
        together = xp.logical_and(together, flag)
    return together


def _counted(xp: Namespace, like: Array, flags: Array | None) -> Any:
    """1/n at the n steps that count, else 0, (T, B, 1); one number where all count."""
    if flags is None:
        return 1 / max(1, like.shape[-3] * like.shape[-2])
    weights = xp.astype(flags, getattr(xp, real_dtype(xp, like)))[..., None]
    return weights / xp.maximum(xp.sum(weights), xp.ones_like(xp.sum(weights)))


def l2(specs: Mapping[str, Param], params: Params, strength: float) -> tuple[Any, Callable[[], dict[str, Array]]]:
    """λ/2 Σ w² over all matrices, and backward() -> λ w by name: biases, peepholes and gains go free.

    specs say which are matrices (two axes or more), for parameters may have leading axes, copies, beside their own.
    """
    check_strength("the strength of L2", strength)
    matrices = {name: params[name] for name, spec in specs.items() if len(spec.shape) > 1}
    squares = [array_namespace(w).sum(w * w, axis=(-2, -1)) for w in matrices.values()]
    return 0.5 * strength * sum(squares), lambda: {name: strength * w for name, w in matrices.items()}


def check_strength(what: str, value: Any) -> None:
    """A strength is a finite number, not below zero."""
    if not isinstance(value, Real) or isinstance(value, bool) or not isfinite(value) or value < 0:
        raise UserError(f"{what} must be a number >= 0; got {value!r}")
