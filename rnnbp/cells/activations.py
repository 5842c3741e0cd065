"""Activations by name, each with its slope written with its own value."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

from rnnbp.errors import UserError, unknown
from rnnbp.numerics import Array, Namespace, relu, sigmoid

Function = Callable[[Namespace, Array], Array]
Pullback = Callable[[Array], Array]  # dy -> da


class Activation(NamedTuple):
    """y = φ(a), and φ'(a) as a function of y."""

    value: Function
    slope: Function


ACTIVATIONS = {
    "tanh": Activation(lambda xp, a: xp.tanh(a), lambda _, y: 1 - y * y),
    "sigmoid": Activation(sigmoid, lambda _, y: y * (1 - y)),
    "relu": Activation(relu, lambda xp, y: xp.where(xp.real(y) > 0, xp.ones_like(y), xp.zeros_like(y))),
    "identity": Activation(lambda _, a: a, lambda xp, y: xp.ones_like(y)),
    "bipolar": Activation(lambda xp, a: xp.tanh(0.5 * a), lambda _, y: 0.5 * (1 - y * y)),  # 2σ(a) − 1
    "bipolar2": Activation(lambda xp, a: 2 * xp.tanh(0.5 * a), lambda _, y: 1 - 0.25 * y * y),  # 4σ(a) − 2
}


@lru_cache
def activation(name: str, clip: float | None = None) -> Callable[[Namespace, Array], tuple[Array, Pullback]]:
    """The activation of that name as a -> (y, backward); with `clip` a is held within ±clip, where the slope is 0."""
    if name not in ACTIVATIONS:
        raise unknown("activation", name, ACTIVATIONS)
    if clip is not None and not clip > 0:
        raise UserError(f"clip must be above 0, or none; got {clip}")
    phi, slope = ACTIVATIONS[name]

    def free(xp: Namespace, a: Array) -> tuple[Array, Pullback]:
        y = phi(xp, a)
        return y, lambda dy: dy * slope(xp, y)

    if clip is None:
        return free
    top = clip

    def bounded(xp: Namespace, a: Array) -> tuple[Array, Pullback]:
        low, high = xp.real(a) < -top, xp.real(a) > top
        y, back = free(xp, xp.where(low, xp.full_like(a, -top), xp.where(high, xp.full_like(a, top), a)))
        return y, lambda dy: xp.where(low | high, xp.zeros_like(y), back(dy))

    return bounded
