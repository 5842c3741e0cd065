"""The minimal gated unit: one gate that both forgets and resets. A plugin written with rnnbp's public names only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rnnbp import (
    Array,
    Cell,
    Cotangents,
    Data,
    Namespace,
    Param,
    Params,
    PointwiseBackward,
    PointwiseCell,
    State,
    StepBackward,
    UserError,
    initializers,
    sigmoid,
)


@dataclass(frozen=True)
class MGU(PointwiseCell):
    """Minimal gated unit with the gate after the recurrent product: a variant of Zhou et al. 2016, not the paper's.

        f = σ(a_f)                    forget gate         a_f = x W_f + h U_f + b_f
        u = h U_n                     the recurrent part of n, kept apart from v = x W_n + b_n
        n = tanh(v + f ∘ u)           candidate           the paper has (f ∘ h) U_n where this has f ∘ (h U_n)
        h' = (1 − f) ∘ h + f ∘ n

    Both products with h are one, before the gate is known, as in cuDNN's GRU; so the cell is pointwise and fast.

    Backward:  dv = dh' f (1−n²)    du = dv f    da_f = (dh' (n−h) + dv u) f(1−f)    dh = dh' (1−f)
    Shapes: x (B, I), h (B, H), W (I, 2H), U (H, 2H), b (2H) in the order f, n.
    """

    gates = ("f", "n")
    source = "Zhou et al. 2016, arXiv 1603.09420"
    split = ("n",)
    memory_gates = {"f": -1}

    def pointwise(
        self, xp: Namespace, a: tuple[Array, ...], s: State, p: Params, e: Data
    ) -> tuple[State, PointwiseBackward]:
        del p, e
        (af, v, u), (h,) = a, s
        f = sigmoid(xp, af)  # [1]
        n = xp.tanh(v + f * u)  # [2]
        h1 = h + f * (n - h)  # [3]

        def backward(ds1: State) -> tuple[Cotangents, Cotangents, dict[str, Array]]:
            (dh1,) = ds1
            dv = dh1 * f * (1 - n * n)  # [3] [2]
            df = (dh1 * (n - h) + dv * u) * f * (1 - f)  # [3] [2] [1]
            du, dh = dv * f, dh1 * (1 - f)  # [2] [3]
            return (df, dv, du), (dh,), {}

        return (h1,), backward


@dataclass(frozen=True)
class ResetBeforeMGU(Cell):
    """Minimal gated unit as published: the gate before the product (Zhou et al. 2016, arXiv 1603.09420, table 1).

        f = σ(x W_f + h U_f + b_f)
        q = f ∘ h
        n = tanh(x W_n + q U_n + b_n)
        h' = (1 − f) ∘ h + f ∘ n

    Backward:  da_n = dh' f (1−n²)    dq = da_n U_nᵀ    da_f = (dh' (n−h) + dq h) f(1−f)
               dh = dh' (1−f) + dq f + da_f U_fᵀ
    It multiplies by U twice in one step, so it is not pointwise. Shapes as in `MGU`.
    """

    bias: bool = True

    source = "Zhou et al. 2016, arXiv 1603.09420"

    @property
    def params(self) -> dict[str, Param]:
        n_in, n_h = self.input_size, self.hidden_size
        glorot, zero = initializers.glorot_uniform(2), initializers.constant(0.0)
        specs = {"W": Param((n_in, 2 * n_h), glorot), "U": Param((n_h, 2 * n_h), glorot)}
        return specs | ({"b": Param((2 * n_h,), zero)} if self.bias else {})

    def step(self, xp: Namespace, p: Params, x: Array, s: State, e: Data) -> tuple[State, StepBackward]:
        del e
        (h,), n_h = s, self.hidden_size
        uf, un = p["U"][..., :n_h], p["U"][..., n_h:]
        ax = xp.matmul(x, p["W"]) + (p["b"][..., None, :] if self.bias else 0)
        f = sigmoid(xp, ax[..., :n_h] + xp.matmul(h, uf))  # [1]
        q = f * h  # [2]
        n = xp.tanh(ax[..., n_h:] + xp.matmul(q, un))  # [3]
        h1 = h + f * (n - h)  # [4]

        def backward(ds1: State) -> tuple[dict[str, Any], Any, Cotangents]:
            (dh1,) = ds1
            dn = dh1 * f * (1 - n * n)  # [4] [3]
            dq = xp.matmul(dn, xp.matrix_transpose(un))  # [3]
            df = (dh1 * (n - h) + dq * h) * f * (1 - f)  # [4] [2] [1]
            dh = dh1 * (1 - f) + dq * f + xp.matmul(df, xp.matrix_transpose(uf))  # [4] [2] [1]
            da = xp.concat([df, dn], axis=-1)
            of_f, of_n = xp.matmul(xp.matrix_transpose(h), df), xp.matmul(xp.matrix_transpose(q), dn)
            dp = {"W": xp.matmul(xp.matrix_transpose(x), da), "U": xp.concat([of_f, of_n], axis=-1)}  # [1] [3]
            dp |= {"b": xp.sum(da, axis=-2)} if self.bias else {}
            dp |= {"da_f": df, "da_n": dn, "dq": dq}  # for the record
            return dp, xp.matmul(da, xp.matrix_transpose(p["W"])), (dh,)

        return (h1,), backward


def mgu(input_size: int, hidden_size: int, reset: str = "after", bias: bool = True) -> Cell:
    """The MGU with its gate "after" the recurrent product (pointwise, fast) or "before" it (the paper's)."""
    kinds: dict[str, Callable[..., Cell]] = {"after": MGU, "before": ResetBeforeMGU}
    if reset not in kinds:
        raise UserError(f"reset must be after or before; got {reset!r}")
    return kinds[reset](input_size, hidden_size, bias)
