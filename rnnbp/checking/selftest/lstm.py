"""Long short-term memory written out by hand, without and with peepholes, with the faults of a step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from rnnbp.cellbase import Cotangents, Data, Param, Params, State
from rnnbp.checking.selftest.planting import LOOP_PLACES, FaultyBackward, FaultyCell
from rnnbp.initializers import normal
from rnnbp.numerics import Array, Namespace, chunks, sigmoid

STATE_BUGS = ("carry-dropped", "initial-state-forgotten", "last-state-forgotten")


@dataclass(frozen=True)
class FaultyLSTM(FaultyCell):
    """The equations of `rnnbp.cells.lstm`, without peepholes, with a backward of its own.

        i, f, o = σ(a_i), σ(a_f), σ(a_o)    g = tanh(a_g)    a = x W + h U + b
        c' = f ∘ c + i ∘ g    h' = o ∘ tanh(c')

    Shapes: x (B, I), h and c (B, H), W (I, 4H), U (H, 4H), b (4H) in the order i, f, g, o.
    """

    gates: ClassVar[tuple[str, ...]] = ("i", "f", "g", "o")
    places = {
        **LOOP_PLACES,
        **{bug: ("h", "c") for bug in STATE_BUGS},
        "sigma-prime-missing": ("i", "f", "o"),
        "sigma-prime-twice": ("i", "f", "o"),
        "sigma-prime-of-activated": ("i", "f", "o"),
        "tanh-prime-missing": ("g", "c"),
        "tanh-prime-twice": ("g", "c"),
        "tanh-prime-of-activated": ("g", "c"),
        "gates-swapped": ("i-f", "f-o"),
        "bias-swapped": ("i-f", "g-o"),
        "bias-copied": ("f-i", "g-o"),
        "path-missing": ("c", "o", "f to h"),
    }

    @property
    def states(self) -> dict[str, tuple[int, ...]]:
        return {"h": (self.hidden_size,), "c": (self.hidden_size,)}

    def step(self, xp: Namespace, p: Params, x: Array, s: State, e: Data) -> tuple[State, FaultyBackward]:
        del e
        h, c = s
        ai, af, ag, ao = chunks(xp.matmul(x, p["W"]) + xp.matmul(h, p["U"]) + p["b"][..., None, :], 4)
        i, f, g, o = sigmoid(xp, ai), sigmoid(xp, af), xp.tanh(ag), sigmoid(xp, ao)
        c1 = f * c + i * g
        t = xp.tanh(c1)  # (..., B, H)

        def backward(ds1: State, seen: Array = h) -> tuple[dict[str, Any], Any, Cotangents]:
            dh1, dc1 = ds1
            do = dh1 * t * self.sigma_slope(xp, "o", o)
            if self.has("path-missing:o"):
                do = xp.zeros_like(do)
            if not self.has("path-missing:c"):
                dc1 = dc1 + dh1 * o * self.tanh_slope(xp, "c", t)
            di = dc1 * g * self.sigma_slope(xp, "i", i)
            df = dc1 * c * self.sigma_slope(xp, "f", f)
            dg = dc1 * i * self.tanh_slope(xp, "g", g)
            da = self.join(xp, (di, df, dg, do))
            dp = {
                "W": xp.matmul(xp.matrix_transpose(x), da),
                "U": xp.matmul(xp.matrix_transpose(seen), da),
                "b": self.bias_gradient(xp, da),
            }
            return dp, xp.matmul(da, xp.matrix_transpose(p["W"])), (self.back_to_h(xp, da, p["U"]), dc1 * f)

        return (o * t, c1), backward


@dataclass(frozen=True)
class FaultyPeepholeLSTM(FaultyCell):
    """The same with diagonal peepholes: i and f see c, o sees c'.

        i, f = σ(a_i + p_i ∘ c), σ(a_f + p_f ∘ c)    o = σ(a_o + p_o ∘ c')

    Shapes as in `FaultyLSTM`; pi, pf, po (H).
    """

    gates: ClassVar[tuple[str, ...]] = FaultyLSTM.gates
    places = {
        **FaultyLSTM.places,
        "peephole-path-missing": ("pi", "pf", "po"),
        "peephole-of-wrong-c": ("pi", "pf", "po"),
    }

    @property
    def states(self) -> dict[str, tuple[int, ...]]:
        return {"h": (self.hidden_size,), "c": (self.hidden_size,)}

    @property
    def params(self) -> dict[str, Param]:
        return super().params | {name: Param((self.hidden_size,), normal(0.5)) for name in ("pi", "pf", "po")}

    def step(self, xp: Namespace, p: Params, x: Array, s: State, e: Data) -> tuple[State, FaultyBackward]:
        del e
        (h, c), pi, pf, po = s, p["pi"][..., None, :], p["pf"][..., None, :], p["po"][..., None, :]
        ai, af, ag, ao = chunks(xp.matmul(x, p["W"]) + xp.matmul(h, p["U"]) + p["b"][..., None, :], 4)
        i, f, g = sigmoid(xp, ai + pi * c), sigmoid(xp, af + pf * c), xp.tanh(ag)
        c1 = f * c + i * g
        o = sigmoid(xp, ao + po * c1)
        t = xp.tanh(c1)  # (..., B, H)

        def backward(ds1: State, seen: Array = h) -> tuple[dict[str, Any], Any, Cotangents]:
            dh1, dc1 = ds1
            do = dh1 * t * self.sigma_slope(xp, "o", o)
            if self.has("path-missing:o"):
                do = xp.zeros_like(do)
            if not self.has("path-missing:c"):
                dc1 = dc1 + dh1 * o * self.tanh_slope(xp, "c", t)
            if not self.has("peephole-path-missing:po"):
                dc1 = dc1 + do * po
            di = dc1 * g * self.sigma_slope(xp, "i", i)
            df = dc1 * c * self.sigma_slope(xp, "f", f)
            dg = dc1 * i * self.tanh_slope(xp, "g", g)
            dc = dc1 * f
            if not self.has("peephole-path-missing:pi"):
                dc = dc + di * pi
            if not self.has("peephole-path-missing:pf"):
                dc = dc + df * pf
            da = self.join(xp, (di, df, dg, do))
            dp = {
                "W": xp.matmul(xp.matrix_transpose(x), da),
                "U": xp.matmul(xp.matrix_transpose(seen), da),
                "b": self.bias_gradient(xp, da),
                "pi": xp.sum(di * (c1 if self.has("peephole-of-wrong-c:pi") else c), axis=-2),
                "pf": xp.sum(df * (c1 if self.has("peephole-of-wrong-c:pf") else c), axis=-2),
                "po": xp.sum(do * (c if self.has("peephole-of-wrong-c:po") else c1), axis=-2),
            }
            return dp, xp.matmul(da, xp.matrix_transpose(p["W"])), (self.back_to_h(xp, da, p["U"]), dc)

        return (o * t, c1), backward
