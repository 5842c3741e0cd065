"""The update-gate recurrent network: one gate that says how much of the state is kept."""

from __future__ import annotations

from dataclasses import dataclass

from rnnbp.cellbase import Cotangents, Data, Params, State
from rnnbp.errors import UserError
from rnnbp.numerics import Array, Namespace, sigmoid
from rnnbp.pointwise import PointwiseBackward, PointwiseCell


@dataclass(frozen=True)
class UGRNN(PointwiseCell):
    """Update-gate recurrent network (Collins, Sohl-Dickstein & Sussillo 2017, "UGRNN").

        g = σ(a_g)                  update gate: keeps the old state       a_k = x W_k + h U_k + b_k
        c = tanh(a_c)               candidate
        h' = g ∘ h + (1 − g) ∘ c

    Backward:  da_g = dh' (h−c) g(1−g)    da_c = dh' (1−g) (1−c²)    dh = dh' g
    Shapes: x (B, I), h (B, H), W (I, 2H), U (H, 2H), b (2H) in the order g, c.
    The gate's bias starts at `forget_bias`, the paper's b^fg.
    """

    forget_bias: float = 1.0

    source = "Collins, Sohl-Dickstein & Sussillo 2017, arXiv 1611.09913"
    gates = ("g", "c")
    memory_gates = {"g": 1}

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.bias and self.forget_bias != UGRNN.forget_bias:
            raise UserError(
                f"forget_bias is where a bias starts; got {self.forget_bias} with bias=false: leave one out"
            )

    def gate_bias(self, gate: str) -> float:
        return self.forget_bias if gate == "g" else 0.0

    def pointwise(
        self, xp: Namespace, a: tuple[Array, ...], s: State, p: Params, e: Data
    ) -> tuple[State, PointwiseBackward]:
        del p, e
        (ag, ac), (h,) = a, s
        g, c = sigmoid(xp, ag), xp.tanh(ac)  # [1]
        h1 = c + g * (h - c)  # [2]

        def backward(ds1: State) -> tuple[Cotangents, Cotangents, dict[str, Array]]:
            (dh1,) = ds1
            dg = dh1 * (h - c) * g * (1 - g)  # [2] [1]
            dc = dh1 * (1 - g) * (1 - c * c)  # [2] [1]
            return (dg, dc), (dh1 * g,), {}  # [2]

        return (h1,), backward
