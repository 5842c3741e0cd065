"""The gated recurrent unit written out by hand, reset after and before the product, with the faults of a step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from rnnbp.cellbase import Cotangents, Data, Param, Params, State
from rnnbp.checking.selftest.planting import LOOP_PLACES, FaultyBackward, FaultyCell
from rnnbp.initializers import normal
from rnnbp.numerics import Array, Namespace, chunks, sigmoid

PLACES = {
    **LOOP_PLACES,
    "sigma-prime-missing": ("r", "z"),
    "sigma-prime-twice": ("r", "z"),
    "sigma-prime-of-activated": ("r", "z"),
    "tanh-prime-missing": ("n",),
    "tanh-prime-twice": ("n",),
    "tanh-prime-of-activated": ("n",),
    "gates-swapped": ("r-z", "z-n"),
    "bias-swapped": ("r-z", "z-n"),
    "bias-copied": ("z-r", "n-z"),
}


@dataclass(frozen=True)
class FaultyGRU(FaultyCell):
    """The equations of `rnnbp.cells.gru.GRU` with a backward of its own.

        r, z = σ(x W + h U + b)    v = x W_n + b_n    u = h U_n + bu
        n = tanh(v + r ∘ u)    h' = (1 − z) ∘ n + z ∘ h

    Shapes: x (B, I), h (B, H), W (I, 3H), U (H, 3H), b (3H) in the order r, z, n; bu (H).
    """

    gates: ClassVar[tuple[str, ...]] = ("r", "z", "n")
    places = {**PLACES, "path-missing": ("h", "r", "n to h")}

    @property
    def params(self) -> dict[str, Param]:
        return super().params | {"bu": Param((self.hidden_size,), normal(0.5))}

    def step(self, xp: Namespace, p: Params, x: Array, s: State, e: Data) -> tuple[State, FaultyBackward]:
        del e
        (h,) = s
        xr, xz, v = chunks(xp.matmul(x, p["W"]) + p["b"][..., None, :], 3)
        hr, hz, hn = chunks(xp.matmul(h, p["U"]), 3)
        r, z, u = sigmoid(xp, xr + hr), sigmoid(xp, xz + hz), hn + p["bu"][..., None, :]
        n = xp.tanh(v + r * u)  # (..., B, H)

        def backward(ds1: State, seen: Array = h) -> tuple[dict[str, Any], Any, Cotangents]:
            (dh1,) = ds1
            dz = dh1 * (h - n) * self.sigma_slope(xp, "z", z)
            dv = dh1 * (1 - z) * self.tanh_slope(xp, "n", n)
            dr = dv * u * self.sigma_slope(xp, "r", r)
            if self.has("path-missing:r"):
                dr = xp.zeros_like(dr)
            du = dv * r
            dax, dah = self.join(xp, (dr, dz, dv)), self.join(xp, (dr, dz, du))
            dp = {
                "W": xp.matmul(xp.matrix_transpose(x), dax),
                "U": xp.matmul(xp.matrix_transpose(seen), dah),
                "b": self.bias_gradient(xp, dax),
                "bu": xp.sum(du, axis=-2),
            }
            dh = self.back_to_h(xp, dah, p["U"])
            if not self.has("path-missing:h"):
                dh = dh + dh1 * z
            return dp, xp.matmul(dax, xp.matrix_transpose(p["W"])), (dh,)

        return (n + z * (h - n),), backward


@dataclass(frozen=True)
class FaultyResetBeforeGRU(FaultyCell):
    """The equations of `rnnbp.cells.gru.ResetBeforeGRU` with a backward of its own.

        r, z = σ(x W + h U + b)    n = tanh(x W_n + (r ∘ h) U_n + b_n)    h' = (1 − z) ∘ n + z ∘ h

    Shapes: x (B, I), h (B, H), W (I, 3H), U (H, 3H), b (3H) in the order r, z, n.
    """

    gates: ClassVar[tuple[str, ...]] = ("r", "z", "n")
    places = {**PLACES, "path-missing": ("h", "r", "q to h")}

    def step(self, xp: Namespace, p: Params, x: Array, s: State, e: Data) -> tuple[State, FaultyBackward]:
        del e
        (h,), (ur, uz, un) = s, chunks(p["U"], 3)
        xr, xz, v = chunks(xp.matmul(x, p["W"]) + p["b"][..., None, :], 3)
        r, z = sigmoid(xp, xr + xp.matmul(h, ur)), sigmoid(xp, xz + xp.matmul(h, uz))
        n = xp.tanh(v + xp.matmul(r * h, un))  # (..., B, H)

        def backward(ds1: State, seen: Array = h) -> tuple[dict[str, Any], Any, Cotangents]:
            (dh1,) = ds1
            dz = dh1 * (h - n) * self.sigma_slope(xp, "z", z)
            dn = dh1 * (1 - z) * self.tanh_slope(xp, "n", n)
            dq = xp.matmul(dn, xp.matrix_transpose(un))  # q = r ∘ h
            dr = dq * h * self.sigma_slope(xp, "r", r)
            if self.has("path-missing:r"):
                dr = xp.zeros_like(dr)
            da = self.join(xp, (dr, dz, dn))
            of_r, of_z, of_n = chunks(da, 3)
            seen_t, q_t = xp.matrix_transpose(seen), xp.matrix_transpose(r * seen)
            dp = {
                "W": xp.matmul(xp.matrix_transpose(x), da),
                "U": xp.concat([xp.matmul(seen_t, of_r), xp.matmul(seen_t, of_z), xp.matmul(q_t, of_n)], axis=-1),
                "b": self.bias_gradient(xp, da),
            }
            dh = xp.matmul(of_r, xp.matrix_transpose(ur)) + xp.matmul(of_z, xp.matrix_transpose(uz))
            if not self.has("path-missing:q to h"):
                dh = dh + dq * r
            if not self.has("path-missing:h"):
                dh = dh + dh1 * z
            return dp, xp.matmul(da, xp.matrix_transpose(p["W"])), (dh,)

        return (n + z * (h - n),), backward
