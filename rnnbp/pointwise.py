"""The contract of a cell whose step is affine, then pointwise; nearly every published cell is one."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from rnnbp.cellbase import Cell, Cotangents, Data, Param, Params, State, StepBackward, joined
from rnnbp.errors import UserError, unknown
from rnnbp.initializers import constant, glorot_uniform
from rnnbp.numerics import Array, Namespace, broadcast, chunks, detach, matmul

PointwiseBackward: TypeAlias = Callable[[State], tuple[Cotangents, Cotangents, dict[str, Any]]]
"""The backward of `pointwise`: the errors of the new states -> da by gate, ds by state, dp by name."""


@dataclass(frozen=True)
class PointwiseCell(Cell):
    """A cell whose step is affine, then pointwise: it names its gates and writes only the pointwise part.

    a_k = x W_k + h U_k + b_k for every gate k, with W (I, GH), U (R, GH) and b (GH) holding the G gates side by side;
    s', backward = pointwise(xp, a, s, p, e)
    """

    bias: bool = True
    stopped: tuple[str, ...] = field(default=(), kw_only=True)  # gates to cut; typed as a word, gate+gate

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "stopped", joined(self.stopped))
        named = {
            "split": (self.split, self.gates),
            "cut": (self.cut, self.gates),
            "recurrent": (self.recurrent, self.states),
            "dropped": (self.dropped, self.recurrent),
        }
        for what, (names, known) in named.items():
            for name in names:
                if name not in known:
                    raise unknown(f"name in {what} of {type(self).__name__}", name, known)
        if not set(self.stopped) <= set(self.cut):
            raise UserError(
                f"{type(self).__name__} cuts {', '.join(self.cut) or 'no gate'} and takes no other `stopped`"
            )

    @property
    @abstractmethod
    def gates(self) -> tuple[str, ...]:
        """The gates in the order of their columns in W, U and b."""

    @property
    def recurrent(self) -> tuple[str, ...]:
        """The states that U multiplies, side by side; none means that there is no U."""
        return (next(iter(self.states)),)

    @property
    def split(self) -> tuple[str, ...]:
        """Gates whose input part x W + b and recurrent part h U reach `pointwise` apart, one after the other."""
        return ()

    @property
    def cut(self) -> tuple[str, ...]:
        """Gates whose error does not flow back through U, by default those in `stopped`; dW and dU are unchanged."""
        return self.stopped

    @property
    def unfed(self) -> dict[str, tuple[str, ...]]:
        """Gate -> recurrent states that do not reach it: their block of U counts as zero, and so does its gradient."""
        return {}

    @property
    def dropped(self) -> dict[str, str]:
        """Recurrent state -> the entry of `data` that multiplies it before U does (recurrent dropout)."""
        return {}

    @property
    def elementwise(self) -> dict[str, Param]:
        """Parameters of `pointwise` (peepholes, inner biases): they act on each unit by itself."""
        return {}

    def gate_bias(self, gate: str) -> float:
        """What the bias of a gate starts at."""
        del gate
        return 0.0

    @abstractmethod
    def pointwise(
        self, xp: Namespace, a: tuple[Array, ...], s: State, p: Params, e: Data
    ) -> tuple[State, PointwiseBackward]:
        """S' and backward(ds') -> da, ds, dp, all elementwise over (..., B, H), where None stands for zero."""

    @property
    def blocks(self) -> dict[str, tuple[str, ...]]:
        return {name: self.gates for name in self.params if name not in self.elementwise}

    @property
    def count(self) -> int:
        return super().count - sum(map(len, self.unfed.values())) * self.hidden_size**2  # blocks that count as zero

    @property
    def params(self) -> dict[str, Param]:
        n_in, n, g = self.input_size, self.hidden_size, len(self.gates)
        width = sum(self.states[name][-1] for name in self.recurrent)
        specs = {"W": Param((n_in, g * n), glorot_uniform(g))}
        if width:
            specs["U"] = Param((width, g * n), glorot_uniform(g))
        if self.bias:
            specs["b"] = Param((g * n,), constant(*(self.gate_bias(gate) for gate in self.gates)))
        return specs | self.elementwise

    # ---- the affine part, shared by `step` and `scan` ------------------------------------------------------------
    def project(self, xp: Namespace, p: Params, x: Array) -> Array:
        """The input part x W + b, rows being the batch of one step or of all: (..., rows, I) -> (..., rows, GH)."""
        ax = matmul(xp, x, p["W"])
        return ax + p["b"][..., None, :] if self.bias else ax

    def context(self, xp: Namespace, s: State, e: Data) -> Array:
        """What U multiplies: the recurrent states side by side, (..., B, R), or None where there is no U."""
        named, masks = dict(zip(self.states, s, strict=True)), self.dropped
        parts = [named[name] * e[masks[name]] if name in masks else named[name] for name in self.recurrent]
        return (parts[0] if len(parts) == 1 else xp.concat(parts, axis=-1)) if parts else None

    def connected(self, xp: Namespace, p: Params) -> dict[str, Array]:
        """Parameters, or their gradients, with zero in the blocks of U that `unfed` names."""
        if not self.unfed:
            return dict(p)
        states = chunks(xp.matrix_transpose(p["U"]), len(self.recurrent))  # (..., GH, H) each
        rows: list[Array] = []
        for name, part in zip(self.recurrent, states, strict=True):
            blocks = zip(self.gates, chunks(xp.matrix_transpose(part), len(self.gates)), strict=True)
            rows.append(
                xp.concat([xp.zeros_like(u) if name in self.unfed.get(gate, ()) else u for gate, u in blocks], axis=-1)
            )
        return {**p, "U": xp.concat(rows, axis=-2)}

    def preactivations(self, xp: Namespace, p: Params, ax: Array, h: Array) -> tuple[Array, ...]:
        """The operands of `pointwise`: one per gate, two for a gate in `split`."""
        n = len(self.gates)
        if h is None:
            return tuple(chunks(ax, n))
        if not self.split and not self.cut:
            return tuple(chunks(ax + matmul(xp, h, p["U"]), n))
        ah = chunks(matmul(xp, h, p["U"]), n)
        fixed = detach(h) if self.cut else h
        if fixed is not h:
            stopped = chunks(matmul(xp, fixed, p["U"]), n)
            ah = [stopped[k] if gate in self.cut else ah[k] for k, gate in enumerate(self.gates)]
        operands: list[Array] = []
        for gate, x_part, h_part in zip(self.gates, chunks(ax, n), ah, strict=True):
            operands += [x_part, h_part] if gate in self.split else [x_part + h_part]
        return tuple(operands)

    def join(self, xp: Namespace, da: Cotangents, like: Array) -> tuple[Array, Array]:
        """The transpose of `preactivations`: the errors of the input part and of the recurrent part, (..., B, GH)."""
        self._require("da, one per pre-activation", da, len(self.gates) + len(self.split))
        parts = iter([xp.zeros_like(like) if d is None else d for d in da])
        of_x: list[Array] = []
        of_h: list[Array] = []
        for gate in self.gates:
            of_x.append(next(parts))
            of_h.append(next(parts) if gate in self.split else of_x[-1])
        dax = xp.concat(of_x, axis=-1)
        return dax, xp.concat(of_h, axis=-1) if self.split else dax

    def feedback(self, xp: Namespace, p: Params) -> Array:
        """What takes the error of h U back to h: Uᵀ less the gates in `cut`, (..., G'H, R), or None for nothing."""
        n, kept = len(self.gates), self._uncut
        if not self.recurrent or not kept:
            return None
        u = p["U"]
        return xp.matrix_transpose(xp.concat([chunks(u, n)[k] for k in kept], axis=-1) if self.cut else u)

    def carry(self, xp: Namespace, ut: Array, dah: Array, ds: Cotangents, like: State, e: Data) -> State:
        """The error of the previous state: what `pointwise` sent there, plus dah times `feedback`."""
        self._require("ds, one per state", ds, len(self.states))
        error = {n: xp.zeros_like(z) if d is None else d for n, d, z in zip(self.states, ds, like, strict=True)}
        if ut is None:
            return tuple(error.values())
        if self.cut:
            dah = xp.concat([chunks(dah, len(self.gates))[k] for k in self._uncut], axis=-1)
        dh, at, masks = matmul(xp, dah, ut), 0, self.dropped
        for name in self.recurrent:
            part = dh[..., at : at + self.states[name][-1]]
            error[name] = error[name] + (part * e[masks[name]] if name in masks else part)
            at += self.states[name][-1]
        return tuple(error.values())

    def _require(self, what: str, errors: Cotangents, count: int) -> None:
        """What `pointwise` returned must have the right length."""
        if not isinstance(errors, (tuple, list)) or len(errors) != count:
            got = f"{len(errors)}" if isinstance(errors, (tuple, list)) else f"a {type(errors).__name__}"
            raise UserError(f"the backward of {type(self).__name__} must return {count} errors in {what}; got {got}")

    @property
    def _uncut(self) -> list[int]:
        return [k for k, gate in enumerate(self.gates) if gate not in self.cut]

    def step(self, xp: Namespace, p: Params, x: Array, s: State, e: Data) -> tuple[State, StepBackward]:
        h, rows, p = self.context(xp, s, e), rowwise(p, self.elementwise), self.connected(xp, p)
        s1, back = self.pointwise(xp, self.preactivations(xp, p, self.project(xp, p, x), h), s, rows, e)

        def backward(ds1: State) -> tuple[dict[str, Any], Any, Cotangents]:
            lead = np.broadcast_shapes(*(z.shape[:-2] for z in (*s1, *ds1)))
            ds1 = tuple(broadcast(xp, d, lead, 2) for d in ds1)
            da, direct, dp = back(ds1)
            dax, dah = self.join(xp, da, ds1[0])
            grads = {"W": xp.matmul(xp.matrix_transpose(x), dax)}
            if self.recurrent:
                grads["U"] = xp.matmul(xp.matrix_transpose(h), dah)
                grads = self.connected(xp, grads)
            if self.bias:
                grads["b"] = xp.sum(dax, axis=-2)
            shapes = self.elementwise
            grads |= {n: sum_rows(xp, d, shapes[n].shape) for n, d in dp.items() if d is not None}
            ds = self.carry(xp, self.feedback(xp, p), dah, direct, ds1, e)
            return grads, matmul(xp, dax, xp.matrix_transpose(p["W"])), ds

        return s1, backward


# the parts of a step besides `pointwise`
_PARTS = ("step", "project", "context", "connected", "preactivations", "join", "feedback", "carry")


def own_part(cell: PointwiseCell) -> str | None:
    """A part of the step besides `pointwise` that the cell brings itself; None where all are `PointwiseCell`'s."""
    return next((name for name in _PARTS if getattr(type(cell), name) is not getattr(PointwiseCell, name)), None)


def rowwise(p: Params, names: Iterable[str]) -> dict[str, Array]:
    """Elementwise parameters (..., H) made to broadcast over the batch: (..., 1, H)."""
    return {name: p[name][..., None, :] for name in names}


def sum_rows(xp: Namespace, d: Array, shape: tuple[int, ...]) -> Array:
    """The gradient of an elementwise parameter of that shape, (H,) or a scalar (1,), from its parts (..., B, H)."""
    total = xp.sum(d, axis=-2)
    return xp.sum(total, axis=-1, keepdims=True) if shape == (1,) else total
