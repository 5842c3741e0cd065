"""Optimizers and clipping, pure: init(p) -> m and update(p, dp, m) -> (p, m), all of them dicts by name."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, TypeAlias

from array_api_compat import array_namespace

from rnnbp.cellbase import Params
from rnnbp.errors import UserError
from rnnbp.numerics import Array

Moments: TypeAlias = dict[str, Any]  # "step" -> int; "<moment>/<parameter>" -> an array like the parameter


@dataclass(frozen=True)
class Optimizer(ABC):
    """What every optimizer has: a learning rate, weight decay, and moments beside each parameter.

    weight_decay λ: w ← w − lr λ w before the step, apart from the gradient (Loshchilov & Hutter 2019). It takes
    matrices only (two axes or more: W, U, a readout, an embedding), not biases, peepholes and gains.
    """

    lr: float = 1e-3
    weight_decay: float = field(default=0.0, kw_only=True)

    moments: ClassVar[tuple[str, ...]] = ()  # names of the running averages

    def __post_init__(self) -> None:
        for option in fields(self):
            value, share = getattr(self, option.name), option.name in ("beta1", "beta2", "decay")
            limit = 1.0 if share else float("inf")
            if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 <= value < limit:
                rule = "a number >= 0 and < 1" if share else "a number >= 0"
                raise UserError(f"{option.name} of {type(self).__name__} must be {rule}; got {value!r}")

    def init(self, p: Params) -> Moments:
        """The moments before the first update: zeros."""
        zeros = {f"{m}/{name}": array_namespace(w).zeros_like(w) for m in self.moments for name, w in p.items()}
        return {"step": 0, **zeros}

    def update(self, p: Params, dp: Params, m: Moments) -> tuple[dict[str, Array], Moments]:
        """One step down the gradient: new parameters and new moments."""
        new_p: dict[str, Array] = {}
        new_m: Moments = {"step": m["step"] + 1}
        for name, w in p.items():
            old = {moment: m[f"{moment}/{name}"] for moment in self.moments}
            kept = w * (1 - self.lr * self.weight_decay) if self.weight_decay and w.ndim > 1 else w
            new_p[name], new = self.move(kept, dp[name], old, m["step"] + 1)
            new_m |= {f"{moment}/{name}": value for moment, value in new.items()}
        return new_p, new_m

    @abstractmethod
    def move(self, w: Array, g: Array, m: Mapping[str, Array], step: int) -> tuple[Array, dict[str, Array]]:
        """One parameter's update, with step counted from one."""


@dataclass(frozen=True)
class SGD(Optimizer):
    """v ← μ v + g,  w ← w − lr v  (Polyak 1964); momentum μ = 0 is plain gradient descent."""

    momentum: float = 0.0

    moments = ("v",)

    def move(self, w: Array, g: Array, m: Mapping[str, Array], step: int) -> tuple[Array, dict[str, Array]]:
        del step
        v = self.momentum * m["v"] + g
        return w - self.lr * v, {"v": v}


@dataclass(frozen=True)
class RMSProp(Optimizer):
    """r ← ρ r + (1−ρ) g²,  w ← w − lr g / (√r + ε)  (Hinton 2012, lecture 6e)."""

    decay: float = 0.99
    eps: float = 1e-8

    moments = ("r",)

    def move(self, w: Array, g: Array, m: Mapping[str, Array], step: int) -> tuple[Array, dict[str, Array]]:
        del step
        xp = array_namespace(w)
        r = self.decay * m["r"] + (1 - self.decay) * g * g
        return w - self.lr * g / (xp.sqrt(r) + self.eps), {"r": r}


@dataclass(frozen=True)
class AdamW(Optimizer):
    """Adam (Kingma & Ba 2015, algorithm 1), with `weight_decay` as every optimizer here.

    m ← β₁ m + (1−β₁) g,  v ← β₂ v + (1−β₂) g²,  w ← w − lr m̂ / (√v̂ + ε),  m̂ = m/(1−β₁ᵗ), v̂ = v/(1−β₂ᵗ)
    """

    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8

    moments = ("m", "v")

    def move(self, w: Array, g: Array, m: Mapping[str, Array], step: int) -> tuple[Array, dict[str, Array]]:
        xp = array_namespace(w)
        first = self.beta1 * m["m"] + (1 - self.beta1) * g
        second = self.beta2 * m["v"] + (1 - self.beta2) * g * g
        size = xp.sqrt(second) / (1 - self.beta2**step) ** 0.5 + self.eps
        return w - self.lr / (1 - self.beta1**step) * first / size, {"m": first, "v": second}


def global_norm(dp: Params) -> Array:
    """√ Σ g² over all parameters."""
    total: Any = 0.0
    for g in dp.values():
        total = total + array_namespace(g).sum(g * g)
    return array_namespace(total).sqrt(total)


def clip_by_norm(dp: Params, limit: float) -> tuple[dict[str, Array], bool]:
    """All gradients scaled so that their global norm is at most `limit` (Pascanu et al. 2013), and whether it fired."""
    norm = float(global_norm(dp))
    if not norm > limit:
        return dict(dp), False
    return {name: g * (limit / norm) for name, g in dp.items()}, True


def clip_by_tensor(dp: Params, limit: float) -> tuple[dict[str, Array], bool]:
    """Each gradient scaled so that its own norm is at most `limit`, and whether that fired for any."""
    clipped = {name: clip_by_norm({name: g}, limit) for name, g in dp.items()}
    return {name: one[name] for name, (one, _) in clipped.items()}, any(fired for _, fired in clipped.values())


def clip_by_value(dp: Params, limit: float) -> tuple[dict[str, Array], bool]:
    """Every entry limited to [−limit, limit], and whether any was beyond."""
    clipped, fired = {}, False
    for name, g in dp.items():
        xp = array_namespace(g)
        bound = xp.full_like(g, limit)
        fired = fired or bool(xp.any(xp.abs(g) > limit))
        clipped[name] = xp.minimum(xp.maximum(g, -bound), bound)
    return clipped, fired
