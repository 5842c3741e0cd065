"""Long short-term memory whose output is projected to fewer numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rnnbp.cellbase import Cell, Cotangents, Data, Param, Params, State, StepBackward, check_size
from rnnbp.cells.lstm import LSTM
from rnnbp.initializers import glorot_uniform
from rnnbp.numerics import Array, Namespace, matmul
from rnnbp.pointwise import rowwise, sum_rows


@dataclass(frozen=True)
class ProjectedLSTM(Cell):
    """Long short-term memory with a recurrent projection layer (Sak, Senior & Beaufays 2014, eq. 7–12; PyTorch's
    `proj_size`).

        m, c' = the step of `LSTM`, where a_k = x W_k + h U_k + b_k with an h of P numbers
        h' = m V                        projection, which is the output and what U multiplies

    Backward:  dm = dh' Vᵀ    da, dc = the backward of `LSTM` for dm and dc'    dh = da Uᵀ    dV = mᵀ dh'
    It multiplies twice in one step, so it is not pointwise.
    Shapes: x (B, I), h (B, P), c (B, H), W (I, 4H), U (P, 4H), b (4H) in the order i, f, g, o; V (H, P); pi, pf, po (H)
    with peepholes, which the paper has. P is `projection`, H // 2 by default. The paper's second projection, which U
    does not multiply, is left out, as in PyTorch.
    """

    projection: int | None = None
    bias: bool = True
    peepholes: bool = False
    forget_bias: float = 1.0

    source = "Sak, Senior & Beaufays 2014, arXiv 1402.1128"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_size("projection", self.width)

    @property
    def width(self) -> int:
        """P, how many numbers the output has."""
        return max(1, self.hidden_size // 2) if self.projection is None else self.projection

    @property
    def lstm(self) -> LSTM:
        """The cell within: its parameters and its pointwise part."""
        n_in, n = self.input_size, self.hidden_size
        return LSTM(n_in, n, self.bias, peepholes=self.peepholes, forget_bias=self.forget_bias)

    @property
    def states(self) -> dict[str, tuple[int, ...]]:
        return {"h": (self.width,), "c": (self.hidden_size,)}

    @property
    def params(self) -> dict[str, Param]:
        within, n, p = self.lstm.params, self.hidden_size, self.width
        return within | {"U": Param((p, 4 * n), glorot_uniform(4)), "V": Param((n, p), glorot_uniform())}

    @property
    def memory_gates(self) -> Mapping[str, int]:
        return self.lstm.memory_gates

    @property
    def blocks(self) -> dict[str, tuple[str, ...]]:
        return self.lstm.blocks

    def step(self, xp: Namespace, p: Params, x: Array, s: State, e: Data) -> tuple[State, StepBackward]:
        cell, (h, _) = self.lstm, s
        a = cell.preactivations(xp, p, cell.project(xp, p, x), h)  # [1]
        (m, c1), back = cell.pointwise(xp, a, s, rowwise(p, cell.elementwise), e)  # [2]
        h1 = matmul(xp, m, p["V"])  # [3]

        def backward(ds1: State) -> tuple[dict[str, Any], Any, Cotangents]:
            dh1, dc1 = ds1
            dm = matmul(xp, dh1, xp.matrix_transpose(p["V"]))  # [3]
            of_a, (_, dc), of_peepholes = back((dm, dc1))  # [2]
            da = xp.concat(list(of_a), axis=-1)
            dp = {name: sum_rows(xp, d, (self.hidden_size,)) for name, d in of_peepholes.items()}
            dp |= {"W": xp.matmul(xp.matrix_transpose(x), da), "U": xp.matmul(xp.matrix_transpose(h), da)}  # [1]
            dp |= {"V": xp.matmul(xp.matrix_transpose(m), dh1)}  # [3]
            dp |= {"b": xp.sum(da, axis=-2)} if self.bias else {}  # [1]
            dp |= {f"da_{gate}": d for gate, d in zip(cell.gates, of_a, strict=True)} | {"dm": dm}  # for the record
            dx, dh = (matmul(xp, da, xp.matrix_transpose(p[w])) for w in ("W", "U"))  # [1]
            return dp, dx, (dh, dc)

        return (h1, c1), backward
