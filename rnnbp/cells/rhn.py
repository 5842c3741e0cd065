"""The recurrent highway network: several gated layers within one step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rnnbp.cellbase import Cell, Cotangents, Data, Param, Params, State, StepBackward, check_size
from rnnbp.initializers import constant, glorot_uniform
from rnnbp.numerics import Array, Namespace, chunks, matmul, sigmoid


@dataclass(frozen=True)
class RHN(Cell):
    """Recurrent highway network (Zilly et al. 2017, eq. 6–9; s and h there are h and g here).

        h_0 = h;  for layers l = 1 … L ("depth"):
            g = tanh(a_g)                 candidate                 a_k = h_{l−1} U_lk + b_lk, and x W_k where l = 1
            t = σ(a_t)                    transform gate
            c = 1 − t                     carry gate; σ(a_c) if not `coupled`
            h_l = t ∘ g + c ∘ h_{l−1}
        h' = h_L

    Backward, from layer L to layer 1, with dh_L = dh':
        da_g = dh_l t (1−g²)    da_t = dh_l (g − h_{l−1}) t(1−t)    dh_{l−1} = dh_l c + da U_lᵀ
        if not coupled:  da_t = dh_l g t(1−t)    da_c = dh_l h_{l−1} c(1−c)
    It multiplies by a U in each layer, so it is not pointwise.
    Shapes: x (B, I), h (B, H), W (I, GH), U1 … UL (H, GH), b1 … bL (GH), G = 2 blocks g, t, or 3: g, t, c.
    The transform gate's bias starts at `transform_bias`, below zero as in the paper's experiments: at first
    the state is carried.
    That of a carry gate of its own starts at −transform_bias, where c = 1 − t.
    """

    depth: int = 2
    coupled: bool = True
    transform_bias: float = -2.0

    source = "Zilly et al. 2017, arXiv 1607.03474"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_size("depth", self.depth)

    @property
    def gates(self) -> tuple[str, ...]:
        """The blocks of W, U and b: candidate, transform gate and, if it is not 1 − t, carry gate."""
        return ("g", "t") if self.coupled else ("g", "t", "c")

    @property
    def params(self) -> dict[str, Param]:
        n, g = self.hidden_size, len(self.gates)
        bias = constant(*(0.0, self.transform_bias, -self.transform_bias)[:g])
        specs = {"W": Param((self.input_size, g * n), glorot_uniform(g))}
        for layer in range(1, self.depth + 1):
            specs |= {f"U{layer}": Param((n, g * n), glorot_uniform(g)), f"b{layer}": Param((g * n,), bias)}
        return specs

    @property
    def memory_gates(self) -> dict[str, int]:
        return {"t": -1} if self.coupled else {"t": -1, "c": 1}

    @property
    def blocks(self) -> dict[str, tuple[str, ...]]:
        return {name: self.gates for name in self.params}

    def step(self, xp: Namespace, p: Params, x: Array, s: State, e: Data) -> tuple[State, StepBackward]:
        del e
        (h,) = s
        ax = matmul(xp, x, p["W"])  # [1]
        internals = {"h0": h}  # by layer; the record shows them
        layers: list[LayerBackward] = []
        for layer in range(1, self.depth + 1):
            a = matmul(xp, h, p[f"U{layer}"]) + p[f"b{layer}"][..., None, :]  # [2]
            h, back, inner = highway(xp, chunks(a + ax if layer == 1 else a, len(self.gates)), h)  # [3]
            layers.append(back)
            internals |= {f"{name}{layer}": value for name, value in (*inner.items(), ("h", h))}

        def backward(ds1: State) -> tuple[dict[str, Any], Any, Cotangents]:
            (dh,), dp = ds1, {}
            for layer in range(self.depth, 0, -1):
                da, direct = layers[layer - 1](dh)  # [3]
                dp[f"U{layer}"] = xp.matmul(xp.matrix_transpose(internals[f"h{layer - 1}"]), da)  # [2]
                dp[f"b{layer}"] = xp.sum(da, axis=-2)  # [2]
                parts = zip(self.gates, chunks(da, len(self.gates)), strict=True)
                dp |= {f"da_{gate}{layer}": d for gate, d in parts} | {f"dh{layer}": dh}  # for the record
                dh = direct + matmul(xp, da, xp.matrix_transpose(p[f"U{layer}"]))  # [2]
            dp["W"] = xp.matmul(xp.matrix_transpose(x), da)  # [1]
            return dp, matmul(xp, da, xp.matrix_transpose(p["W"])), (dh,)

        return (h,), backward


LayerBackward = Callable[[Array], tuple[Array, Array]]  # dh_l -> da (..., B, GH), and dh_{l−1} but for U


def highway(xp: Namespace, a: list[Array], h: Array) -> tuple[Array, LayerBackward, dict[str, Array]]:
    """One layer: h_l, its backward, its gates. Two pre-activations make the carry gate 1 − t, three give it its own."""
    g, t = xp.tanh(a[0]), sigmoid(xp, a[1])  # [1]
    c = sigmoid(xp, a[2]) if len(a) == 3 else 1 - t  # [2]
    h1 = t * g + c * h  # [3]

    def backward(dh1: Array) -> tuple[Array, Array]:
        dg, dt, dc = dh1 * t, dh1 * g, dh1 * h  # [3]
        da = [dg * (1 - g * g), (dt if len(a) == 3 else dt - dc) * t * (1 - t)]  # [2] [1]
        da += [dc * c * (1 - c)] if len(a) == 3 else []  # [2]
        return xp.concat(da, axis=-1), dh1 * c  # [3]

    return h1, backward, {"g": g, "t": t, "c": c}
