"""FastGRNN: one pair of weight matrices for the gate and the candidate."""

from __future__ import annotations

from dataclasses import dataclass, field

from rnnbp.cellbase import Cotangents, Data, Param, Params, State
from rnnbp.initializers import constant
from rnnbp.numerics import Array, Namespace, sigmoid
from rnnbp.pointwise import PointwiseBackward, PointwiseCell


@dataclass(frozen=True)
class FastGRNN(PointwiseCell):
    """Fast gated recurrent network, full rank (Kusupati et al. 2018, "FastGRNN").

        a = x W + h U               what gate and candidate share
        z = σ(a + b_z)              gate: keeps the old state
        n = tanh(a + b_h)           candidate
        k = σ(ζ) (1 − z) + σ(ν)     what the candidate counts: two scalars, held in (0, 1) by σ
        h' = k ∘ n + z ∘ h

    Backward:  dn = dh' k (1−n²)    dz = dh' (h − σ(ζ) n) z(1−z)    da = dz + dn    dh = dh' z
               db_z = dz    db_h = dn    dζ = dh' n (1−z) σ(ζ)(1−σ(ζ))    dν = dh' n σ(ν)(1−σ(ν))
    Shapes: x (B, I), h (B, H), W (I, H), U (H, H), bz and bh (H), zeta and nu (1).
    They start as in the authors' code: b_z = b_h = 1, ζ = 1, ν = −4.
    """

    bias: bool = field(default=False, init=False)  # the two biases are within: they are not the same for z and n

    source = "Kusupati et al. 2018, arXiv 1901.02358"
    gates = ("shared",)

    @property
    def elementwise(self) -> dict[str, Param]:
        wide, one = (self.hidden_size,), (1,)
        starts = {"bz": (wide, 1.0), "bh": (wide, 1.0), "zeta": (one, 1.0), "nu": (one, -4.0)}
        return {name: Param(shape, constant(start)) for name, (shape, start) in starts.items()}

    def pointwise(
        self, xp: Namespace, a: tuple[Array, ...], s: State, p: Params, e: Data
    ) -> tuple[State, PointwiseBackward]:
        del e
        (a_shared,), (h,) = a, s
        z, n = sigmoid(xp, a_shared + p["bz"]), xp.tanh(a_shared + p["bh"])  # [1]
        zeta, nu = sigmoid(xp, p["zeta"]), sigmoid(xp, p["nu"])  # [2]
        k = zeta * (1 - z) + nu  # [3]
        h1 = k * n + z * h  # [4]

        def backward(ds1: State) -> tuple[Cotangents, Cotangents, dict[str, Array]]:
            (dh1,) = ds1
            dk, dh = dh1 * n, dh1 * z  # [4]
            dn = dh1 * k * (1 - n * n)  # [4] [1]
            dz = (dh1 * h - dk * zeta) * z * (1 - z)  # [4] [3] [1]
            dzeta, dnu = dk * (1 - z) * zeta * (1 - zeta), dk * nu * (1 - nu)  # [3] [2]
            return (dz + dn,), (dh,), {"bz": dz, "bh": dn, "zeta": dzeta, "nu": dnu}

        return (h1,), backward
