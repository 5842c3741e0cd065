"""What the loop of `scan` needs of a cell: one step forward, one step back, and what is done for many steps at once.

A pointwise cell's input products are made ahead of the loop and its weight gradients behind it, each for a block of
steps in one GEMM; only h U and its transpose stay in the loop. Any other cell takes its own `step`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from rnnbp.cellbase import Cell, Params, State
from rnnbp.numerics import Array, Namespace, fold, matmul, packed, unfold
from rnnbp.pointwise import PointwiseCell, rowwise, sum_rows
from rnnbp.recording import Record, internals

Kept: TypeAlias = Any  # what one step back leaves for `collect`
StepBack: TypeAlias = Callable[[State], tuple[Kept, Mapping[str, Any], State]]  # ds' -> kept, dp, ds


class Stepper(ABC):
    """One cell on one sequence xs (..., T, B, I)."""

    def __init__(
        self, xp: Namespace, cell: Any, p: Params, xs: Array, data: Params | None, record: Record | None
    ) -> None:
        self.xp, self.cell, self.p, self.xs, self.record = xp, cell, p, xs, record
        self.data = data or {}
        self.trailing = {name: len(shape) for name, shape in cell.data.items()}

    def prepare(self) -> None:
        """Make what all backwards share: were it left to the first, that might run in a trace where the next is not."""
        return None

    def ahead(self, start: int, stop: int) -> None:
        """Make what the steps start … stop−1, which are next, need of xs."""
        del start, stop

    def at(self, t: int) -> dict[str, Array]:
        """The step's own data, (..., B, *shape)."""
        return {n: d[(..., t, slice(None), *[slice(None)] * self.trailing[n])] for n, d in self.data.items()}

    def note(self, t: int, back: Callable[..., Any]) -> None:
        """Record what the step computed on its way."""
        if self.record is None:
            return
        for name, value in internals(back, self.xs.shape[-2]).items():
            self.record.note(t, name, value)

    @abstractmethod
    def forward(self, t: int, s: State) -> tuple[State, StepBack]:
        """Step t from state s."""

    @abstractmethod
    def collect(self, start: int, stop: int, kept: list[Kept]) -> tuple[dict[str, Array], Array]:
        """What steps start … stop−1 left -> their sums beside those of dp, and dxs (..., stop−start, B, I)."""

    @abstractmethod
    def dx(self, kept: Kept) -> Array:
        """The error of x (..., B, I) in what one step back left; None for zero."""

    def reduced(self, sums: Params) -> dict[str, Array]:
        """All sums over time, those of dp among them -> dparams."""
        return dict(sums)


class PlainStepper(Stepper):
    """Any cell: dp is summed step by step, and what else a backward puts there is recorded."""

    def forward(self, t: int, s: State) -> tuple[State, StepBack]:
        s1, back = self.cell.step(self.xp, self.p, self.xs[..., t, :, :], s, self.at(t))
        self.note(t, back)

        def step_back(ds1: State) -> tuple[Kept, Mapping[str, Any], State]:
            found, dx, ds = back(ds1)
            dp = {name: d for name, d in found.items() if name in self.p}
            if self.record is not None:
                for name in [name for name in found if name not in dp]:
                    self.record.note_error(t, name, found[name])
            zero = (self.xp.zeros_like(d) for d in ds1)
            return dx, dp, tuple(z if d is None else d for d, z in zip(ds, zero, strict=True))

        return s1, step_back

    def collect(self, start: int, stop: int, kept: list[Kept]) -> tuple[dict[str, Array], Array]:
        xs = self.xs[..., start:stop, :, :]
        if all(dx is None for dx in kept):
            return {}, self.xp.zeros_like(xs)
        some = next(dx for dx in kept if dx is not None)
        parts = [self.xp.zeros_like(some) if dx is None else dx for dx in kept]
        return {}, self.xp.stack(parts, axis=-3)

    def dx(self, kept: Kept) -> Array:
        return kept


class PointwiseStepper(Stepper):
    """A pointwise cell: only what must be is done step by step."""

    cell: PointwiseCell

    def __init__(
        self, xp: Namespace, cell: Any, p: Params, xs: Array, data: Params | None, record: Record | None
    ) -> None:
        p = cell.connected(xp, p)
        super().__init__(xp, cell, p, xs, data, record)
        self.rows = rowwise(p, cell.elementwise)
        self.first, self.ax = 0, xs[..., :0, :, :]  # of the block ahead: its first step, and x W + b
        self.operands = [n for g in cell.gates for n in ((f"{g}_x", f"{g}_h") if g in cell.split else (g,))]

    def prepare(self) -> None:
        """Uᵀ, laid out once for all backwards: BLAS would pack the view anew at every step, up to 1.2 times slower."""
        ut = self.cell.feedback(self.xp, self.p)
        self.feedback = None if ut is None else packed(self.xp, ut)

    def ahead(self, start: int, stop: int) -> None:
        rows = fold(self.xp, self.xs[..., start:stop, :, :])
        self.first, self.ax = start, unfold(self.xp, self.cell.project(self.xp, self.p, rows), stop - start)

    def forward(self, t: int, s: State) -> tuple[State, StepBack]:
        xp, cell, e = self.xp, self.cell, self.at(t)
        h = cell.context(xp, s, e)
        a = cell.preactivations(xp, self.p, self.ax[..., t - self.first, :, :], h)
        s1, back = cell.pointwise(xp, a, s, self.rows, e)
        self.note(t, back)
        if self.record is not None:
            for name, value in zip(self.operands, a, strict=True):
                self.record.note(t, f"a_{name}", value)

        def step_back(ds1: State) -> tuple[Kept, Mapping[str, Any], State]:
            da, direct, dp = back(ds1)
            dax, dah = cell.join(xp, da, ds1[0])
            if self.record is not None:
                for name, d in zip(self.operands, da, strict=True):
                    self.record.note_error(t, f"da_{name}", xp.zeros_like(ds1[0]) if d is None else d)
            return (h, dax, dah), dp, cell.carry(xp, self.feedback, dah, direct, ds1, e)

        return s1, step_back

    def collect(self, start: int, stop: int, kept: list[Kept]) -> tuple[dict[str, Array], Array]:
        xp, cell = self.xp, self.cell
        h, dax, dah = ([step[k] for step in kept] for k in range(3))
        rows = fold(xp, xp.stack(dax, axis=-3))  # (..., CB, GH) for a block of C steps
        sums = {"W": xp.matmul(xp.matrix_transpose(fold(xp, self.xs[..., start:stop, :, :])), rows)}
        if cell.recurrent:
            of_h = fold(xp, xp.stack(dah, axis=-3)) if cell.split else rows
            sums["U"] = xp.matmul(xp.matrix_transpose(fold(xp, xp.stack(h, axis=-3))), of_h)
        if cell.bias:
            sums["b"] = xp.sum(rows, axis=-2)
        return sums, unfold(xp, matmul(xp, rows, xp.matrix_transpose(self.p["W"])), stop - start)

    def dx(self, kept: Kept) -> Array:
        return matmul(self.xp, kept[1], self.xp.matrix_transpose(self.p["W"]))

    def reduced(self, sums: Params) -> dict[str, Array]:
        xp, shapes = self.xp, self.cell.elementwise
        grads = {n: sum_rows(xp, d, shapes[n].shape) if n in shapes else d for n, d in sums.items()}
        return self.cell.connected(xp, grads)


def stepper(xp: Namespace, cell: Cell, p: Params, xs: Array, data: Params | None, record: Record | None) -> Stepper:
    """The stepper that suits the cell."""
    kind = PointwiseStepper if isinstance(cell, PointwiseCell) else PlainStepper
    return kind(xp, cell, p, xs, data, record)
