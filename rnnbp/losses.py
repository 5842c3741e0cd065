"""Losses over sequences: y (..., T, B, O) against a target gives one number per copy, and its backward."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from array_api_compat import device

from rnnbp.errors import UserError, unknown
from rnnbp.numerics import Array, Namespace, real_dtype
from rnnbp.validation import check_arrays, check_dtypes, check_flags, check_shape

LossBackward: TypeAlias = Callable[..., Array]  # dvalue (...), default one -> dy
Rows: TypeAlias = tuple[Array, Callable[[Array], Array]]  # the loss of each row, and d(rows) -> dy


@dataclass(frozen=True)
class Loss(ABC):
    """loss(y, target, mask=None) -> (value (...), backward), with backward(dvalue=None) -> dy; None stands for one.

    reduction: "mean" divides by the number of unmasked steps of all sequences, "sum" by nothing; features are summed.
    steps: "every" takes each unmasked step (many to many); "last" the last unmasked step of each sequence (many to
    one): then the target has no time axis, and "mean" divides by the number of sequences that have a step.
    What y and the target hold at masked steps does not matter: the loss sees zeros there, and dy is zero there.
    """

    reduction: str = "mean"
    steps: str = "every"

    def __post_init__(self) -> None:
        for option, known in (("reduction", ("mean", "sum")), ("steps", ("every", "last"))):
            if getattr(self, option) not in known:
                raise unknown(option, getattr(self, option), known)

    @abstractmethod
    def rows(self, xp: Namespace, y: Array, target: Array) -> Rows:
        """The loss of every row of y (..., B, O) or (..., T, B, O), and its backward; refuses values out of range."""

    @abstractmethod
    def check_target(self, xp: Namespace, target: Array, axes: tuple[int, ...], letters: str) -> None:
        """The target must fit rows with these axes, (T, B, O) or (B, O), in shape and dtype."""

    def __call__(self, y: Array, target: Array, mask: Array | None = None) -> tuple[Array, LossBackward]:
        arrays = {"y": y, "target": target} | ({} if mask is None else {"mask": mask})
        xp = check_arrays(**arrays)
        check_shape("y", y, (None, None, None), "(..., T, B, O)")
        time_steps, batch, _ = axes = tuple(y.shape[-3:])
        if mask is not None:
            check_flags(xp, "mask", mask, time_steps, batch)
        every = self.steps == "every"
        self.check_target(xp, target, axes if every else axes[1:], "T, B, O" if every else "B, O")
        floating = {"y": y} | ({} if xp.isdtype(target.dtype, "integral") else {"target": target})
        check_dtypes(xp, **floating)
        counted, taken = (mask, y) if every else last_step(xp, y, mask)
        if counted is not None:
            taken, target = cleared(xp, taken, counted), cleared(xp, target, counted)
        each, rows_backward = self.rows(xp, taken, target)  # (..., T, B) or (..., B)
        weights = xp.ones_like(xp.real(each)) if counted is None else xp.astype(counted, getattr(xp, real_dtype(xp, y)))
        if self.reduction == "mean":
            weights = weights / xp.maximum(xp.sum(weights, axis=axes_of(every), keepdims=True), xp.ones_like(weights))
        value = xp.sum(each * weights, axis=axes_of(every))

        def backward(dvalue: Array | None = None) -> Array:
            scale = weights if dvalue is None else weights * dvalue[(..., *[None] * (2 if every else 1))]
            dy = rows_backward(scale)
            if every:
                return dy
            picked = last_flags(xp, y, mask)[..., None]  # (T, B, 1)
            return xp.where(picked, dy[..., None, :, :], xp.zeros_like(dy)[..., None, :, :])

        return value, backward


def cleared(xp: Namespace, a: Array, counted: Array) -> Array:
    """Zero where nothing counts: a NaN there, times a weight of zero, would be NaN. Class numbers have no last axis."""
    flags = counted if a.ndim == counted.ndim else counted[..., None]
    return xp.where(flags, a, xp.zeros_like(a))


def axes_of(every: bool) -> Any:
    """The axes that a loss sums over: time and batch, or the batch alone."""
    return (-2, -1) if every else -1


def last_flags(xp: Namespace, y: Array, mask: Array | None) -> Array:
    """(T, B): true at the last unmasked step of each sequence, nowhere in one that is masked throughout."""
    time_steps, batch, _ = y.shape[-3:]
    t = xp.arange(1, time_steps + 1, device=device(y))[:, None]  # one-based, so that 0 can stand for none
    t = xp.broadcast_to(t, (time_steps, batch)) if mask is None else t * xp.astype(mask, t.dtype)
    return (t == xp.max(t, axis=0, keepdims=True)) & (t > 0)


def last_step(xp: Namespace, y: Array, mask: Array | None) -> tuple[Array | None, Array]:
    """Which sequences have a last unmasked step (B,), and y there (..., B, O)."""
    flags = last_flags(xp, y, mask)
    at = xp.sum(xp.where(flags[..., None], y, xp.zeros_like(y)), axis=-3)
    return None if mask is None else xp.any(flags, axis=0), at


@dataclass(frozen=True)
class MeanSquaredError(Loss):
    """ℓ = Σ_o (y_o − target_o)² for every step, mean or sum over steps and batch; dℓ/dy = 2 (y − target)."""

    def check_target(self, xp: Namespace, target: Array, axes: tuple[int, ...], letters: str) -> None:
        if not xp.isdtype(target.dtype, ("real floating", "complex floating")):
            raise UserError(f"the target of mse must be floating; got {target.dtype}: use cross-entropy for classes")
        check_shape("target", target, axes, f"(..., {letters})")

    def rows(self, xp: Namespace, y: Array, target: Array) -> Rows:
        error = y - target
        return xp.sum(error * error, axis=-1), lambda d: 2 * d[..., None] * error


@dataclass(frozen=True)
class CrossEntropy(Loss):
    """Softmax cross-entropy: ℓ = −Σ_o target_o log softmax(y)_o, in nats; dℓ/dy = softmax(y) Σ target − target.

    The target holds class numbers, integers (T, B), or a weight for each class, floats (T, B, O).
    """

    def check_target(self, xp: Namespace, target: Array, axes: tuple[int, ...], letters: str) -> None:
        if not xp.isdtype(target.dtype, "integral"):
            check_shape("target", target, axes, f"(..., {letters})")
            return
        check_shape("target", target, axes[:-1], f"({letters.removesuffix(', O')})", free=False)

    def rows(self, xp: Namespace, y: Array, target: Array) -> Rows:
        shifted = y - xp.max(xp.real(y), axis=-1, keepdims=True)  # the maximum of the real part: complex steps pass
        exponentials = xp.exp(shifted)
        total = xp.sum(exponentials, axis=-1, keepdims=True)
        log_p, p = shifted - xp.log(total), exponentials / total
        if xp.isdtype(target.dtype, "integral"):
            hot = class_flags(xp, target, y)
            each = -xp.sum(xp.where(hot, log_p, xp.zeros_like(log_p)), axis=-1)
            return each, lambda d: d[..., None] * (p - xp.astype(hot, getattr(xp, real_dtype(xp, y))))
        each = -xp.sum(target * log_p, axis=-1)
        return each, lambda d: d[..., None] * (p * xp.sum(target, axis=-1, keepdims=True) - target)


def class_flags(xp: Namespace, target: Array, y: Array) -> Array:
    """(T, B, O) or (B, O): true at each row's class."""
    classes = xp.arange(y.shape[-1], device=device(y))
    low, high = int(xp.min(target)), int(xp.max(target))
    if low < 0 or high >= y.shape[-1]:
        raise UserError(f"class numbers must lie in 0 … {y.shape[-1] - 1}; got {low if low < 0 else high}")
    return classes == xp.astype(target, classes.dtype)[..., None]
