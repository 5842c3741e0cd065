"""Long short-term memory with forget gate."""

from __future__ import annotations

from dataclasses import dataclass

from rnnbp.cellbase import Cotangents, Data, Param, Params, State
from rnnbp.initializers import normal
from rnnbp.numerics import Array, Namespace, sigmoid
from rnnbp.pointwise import PointwiseBackward, PointwiseCell


@dataclass(frozen=True)
class LSTM(PointwiseCell):
    """Long short-term memory with forget gate (Gers, Schmidhuber & Cummins 2000) and, as an option, diagonal
    peepholes (Gers & Schmidhuber 2000; Graves 2013, eq. 7–11).

        i = σ(a_i + p_i ∘ c)      input gate              a_k = x W_k + h U_k + b_k
        f = σ(a_f + p_f ∘ c)      forget gate             p_k = 0 without peepholes
        g = tanh(a_g)             candidate
        c' = f ∘ c + i ∘ g        cell state
        o = σ(a_o + p_o ∘ c')     output gate: sees the new cell state
        h' = o ∘ tanh(c')

    Backward, with dh', dc' the errors that reach h' and c' from outside, and t = tanh(c'):

        da_o = dh' t o(1−o)                               through the output gate
        dc' += dh' o (1−t²) + da_o p_o                    c' is also seen by the output and by o's peephole
        da_i = dc' g i(1−i)   da_f = dc' c f(1−f)   da_g = dc' i (1−g²)
        dc   = dc' f + da_i p_i + da_f p_f                the carousel, and the peepholes of i and f

    Shapes: x (B, I), h and c (B, H), W (I, 4H), U (H, 4H), b (4H) in the order i, f, g, o; pi, pf, po (H).
    The forget gate's bias starts at `forget_bias` (Gers et al. 2000; Józefowicz, Zaremba & Sutskever 2015).
    """

    peepholes: bool = False
    forget_bias: float = 1.0

    gates = ("i", "f", "g", "o")

    @property
    def states(self) -> dict[str, tuple[int, ...]]:
        return {"h": (self.hidden_size,), "c": (self.hidden_size,)}

    @property
    def elementwise(self) -> dict[str, Param]:
        names = ("pi", "pf", "po") if self.peepholes else ()
        return {name: Param((self.hidden_size,), normal(0.1)) for name in names}

    def gate_bias(self, gate: str) -> float:
        return self.forget_bias if gate == "f" else 0.0

    def pointwise(
        self, xp: Namespace, a: tuple[Array, ...], s: State, p: Params, e: Data
    ) -> tuple[State, PointwiseBackward]:
        del e
        (ai, af, ag, ao), (_, c) = a, s
        if self.peepholes:
            ai, af = ai + p["pi"] * c, af + p["pf"] * c  # [1]
        i, f, g = sigmoid(xp, ai), sigmoid(xp, af), xp.tanh(ag)  # [2]
        c1 = f * c + i * g  # [3]
        if self.peepholes:
            ao = ao + p["po"] * c1  # [4]
        o = sigmoid(xp, ao)  # [5]
        t = xp.tanh(c1)  # [6]
        h1 = o * t  # [7]

        def backward(ds1: State) -> tuple[Cotangents, Cotangents, dict[str, Array]]:
            dh1, dc1 = ds1
            do = dh1 * t * o * (1 - o)  # [7] [5]
            dc1 = dc1 + dh1 * o * (1 - t * t)  # [7] [6]
            if self.peepholes:
                dc1 = dc1 + do * p["po"]  # [4]
            di, df, dg = dc1 * g * i * (1 - i), dc1 * c * f * (1 - f), dc1 * i * (1 - g * g)  # [3] [2]
            dc = dc1 * f  # [3]
            if not self.peepholes:
                return (di, df, dg, do), (None, dc), {}
            dc = dc + di * p["pi"] + df * p["pf"]  # [1]
            return (di, df, dg, do), (None, dc), {"pi": di * c, "pf": df * c, "po": do * c1}  # [1] [4]

        return (h1, c1), backward
