"""The gated recurrent unit, with the reset gate after the recurrent product (fast) or before it (as published)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rnnbp.cellbase import Cell, Cotangents, Data, Param, Params, State, StepBackward
from rnnbp.cells.activations import activation
from rnnbp.errors import unknown
from rnnbp.initializers import constant, glorot_uniform
from rnnbp.numerics import Array, Namespace, chunks, matmul
from rnnbp.pointwise import PointwiseBackward, PointwiseCell


@dataclass(frozen=True)
class GRU(PointwiseCell):
    """Gated recurrent unit, reset after the product (Cho et al. 2014, arXiv 1406.1078v1): cuDNN's, PyTorch's, Keras's.

        r = σ(a_r)    z = σ(a_z)                          a_k = x W_k + h U_k + b_k
        u = h U_n + b_u                                   the recurrent part of n, kept apart from x W_n + b_n = v
        n = tanh(v + r ∘ u)
        h' = (1 − z) ∘ n + z ∘ h                          z keeps the old state

    Backward:  dv = dh' (1−z) (1−n²)    du = dv r    da_r = dv u r(1−r)    da_z = dh' (h−n) z(1−z)    dh = dh' z
    Shapes: x (B, I), h (B, H), W (I, 3H), U (H, 3H), b (3H) in the order r, z, n; bu (H).
    clip: bound of what enters σ and tanh, beyond which their slope is 0, as in ONNX.
    """

    clip: float | None = None

    gates = ("r", "z", "n")
    source = "Cho et al. 2014, arXiv 1406.1078v1"
    split = ("n",)
    memory_gates = {"z": 1}

    @property
    def elementwise(self) -> dict[str, Param]:
        return {"bu": Param((self.hidden_size,), constant(0.0))} if self.bias else {}

    def pointwise(
        self, xp: Namespace, a: tuple[Array, ...], s: State, p: Params, e: Data
    ) -> tuple[State, PointwiseBackward]:
        del e
        sigma, tanh = activation("sigmoid", self.clip), activation("tanh", self.clip)
        (ar, az, v, u), (h,) = a, s
        (r, to_r), (z, to_z) = sigma(xp, ar), sigma(xp, az)  # [1]
        if self.bias:
            u = u + p["bu"]  # [2]
        n, to_n = tanh(xp, v + r * u)  # [3]
        h1 = n + z * (h - n)  # [4]

        def backward(ds1: State) -> tuple[Cotangents, Cotangents, dict[str, Array]]:
            (dh1,) = ds1
            dz, dh = to_z(dh1 * (h - n)), dh1 * z  # [4] [1]
            dv = to_n(dh1 * (1 - z))  # [4] [3]
            dr, du = to_r(dv * u), dv * r  # [3] [1]
            return (dr, dz, dv, du), (dh,), {"bu": du} if self.bias else {}  # [2]

        return (h1,), backward


@dataclass(frozen=True)
class ResetBeforeGRU(Cell):
    """Gated recurrent unit as published, reset before the product (Cho et al. 2014, arXiv 1406.1078v3, eq. 5–8).

        r = σ(x W_r + h U_r + b_r)    z = σ(x W_z + h U_z + b_z)
        q = r ∘ h
        n = tanh(x W_n + q U_n + b_n)
        h' = (1 − z) ∘ n + z ∘ h

    Backward:  da_n = dh' (1−z) (1−n²)    dq = da_n U_nᵀ    da_r = dq h r(1−r)    da_z = dh' (h−n) z(1−z)
               dh = dh' z + dq r + [da_r, da_z] [U_r, U_z]ᵀ
    It multiplies by U twice in one step, so it is not pointwise. Shapes and clip as in `GRU`, without bu.
    """

    bias: bool = True
    clip: float | None = None

    source = "Cho et al. 2014, arXiv 1406.1078v3"
    memory_gates = {"z": 1}

    @property
    def params(self) -> dict[str, Param]:
        n_in, n = self.input_size, self.hidden_size
        specs = {"W": Param((n_in, 3 * n), glorot_uniform(3)), "U": Param((n, 3 * n), glorot_uniform(3))}
        return specs | ({"b": Param((3 * n,), constant(0.0))} if self.bias else {})

    @property
    def blocks(self) -> dict[str, tuple[str, ...]]:
        return {name: ("r", "z", "n") for name in self.params}

    def step(self, xp: Namespace, p: Params, x: Array, s: State, e: Data) -> tuple[State, StepBackward]:
        del e
        sigma, tanh = activation("sigmoid", self.clip), activation("tanh", self.clip)
        (h,), n_h = s, self.hidden_size
        u = {"rz": p["U"][..., : 2 * n_h], "n": p["U"][..., 2 * n_h :]}
        ax = matmul(xp, x, p["W"]) + (p["b"][..., None, :] if self.bias else 0)
        ar, az, v = chunks(ax, 3)
        hr, hz = chunks(matmul(xp, h, u["rz"]), 2)
        (r, to_r), (z, to_z) = sigma(xp, ar + hr), sigma(xp, az + hz)  # [1]
        q = r * h  # [2]
        n, to_n = tanh(xp, v + matmul(xp, q, u["n"]))  # [3]
        h1 = n + z * (h - n)  # [4]

        def backward(ds1: State) -> tuple[dict[str, Any], Any, Cotangents]:
            (dh1,) = ds1
            dn = to_n(dh1 * (1 - z))  # [4] [3]
            dq = matmul(xp, dn, xp.matrix_transpose(u["n"]))  # [3]
            dr, dz = to_r(dq * h), to_z(dh1 * (h - n))  # [2] [4] [1]
            drz = xp.concat([dr, dz], axis=-1)
            dh = dh1 * z + dq * r + matmul(xp, drz, xp.matrix_transpose(u["rz"]))  # [4] [2] [1]
            da = xp.concat([drz, dn], axis=-1)
            of_rz = xp.matmul(xp.matrix_transpose(h), drz)
            of_n = xp.matmul(xp.matrix_transpose(q), dn)
            dp = {"W": xp.matmul(xp.matrix_transpose(x), da), "U": xp.concat([of_rz, of_n], axis=-1)}
            dp |= {"b": xp.sum(da, axis=-2)} if self.bias else {}
            dp |= {"da_r": dr, "da_z": dz, "da_n": dn, "dq": dq}  # for the record
            return dp, matmul(xp, da, xp.matrix_transpose(p["W"])), (dh,)

        return (h1,), backward


def gru(input_size: int, hidden_size: int, reset: str = "after", bias: bool = True, clip: float | None = None) -> Cell:
    """The GRU with its reset gate "after" the recurrent product (pointwise, fast) or "before" it (as published)."""
    kinds: dict[str, Callable[..., Cell]] = {"after": GRU, "before": ResetBeforeGRU}
    activation("tanh", clip)  # or it says what a clip must be
    if reset not in kinds:
        raise unknown("reset", reset, kinds)
    return kinds[reset](input_size, hidden_size, bias, clip=clip)
