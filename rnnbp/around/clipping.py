"""Errors clipped at every step on their way back (Graves 2013)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from numbers import Real
from typing import Any

from rnnbp.around.base import AroundPointwise, has_affine
from rnnbp.cellbase import Cell, Cotangents, Data, Params, State
from rnnbp.errors import UserError
from rnnbp.numerics import Array, Namespace
from rnnbp.pointwise import PointwiseBackward


@dataclass(frozen=True)
class ErrorClipping(AroundPointwise):
    """The cell within, with the errors of its pre-activations held in [−limit, limit] at every step of the way back.

        da ← min(max(da, −limit), limit)        entry by entry, before it goes to the weights, to x, and through U to h

    (Graves 2013, arXiv 1308.0850, section 2.1: the derivatives with respect to the network inputs of the LSTM layers.)
    What stays inside `pointwise` is not clipped: the cell state's own way back, peepholes and their weights. The
    forward is the cell's; the backward is no longer its derivative, and a gradient check refuses it.
    """

    limit: float = 1.0

    inexact = "clips errors on their way back, so its backward is no derivative: check the cell within"

    def _settle(self) -> None:
        if not isinstance(self.limit, Real) or isinstance(self.limit, bool) or not 0 < self.limit < float("inf"):
            raise UserError(f"the limit of errors must be a number above 0; got {self.limit!r}")

    def pointwise(
        self, xp: Namespace, a: tuple[Array, ...], s: State, p: Params, e: Data
    ) -> tuple[State, PointwiseBackward]:
        new, back = self.cell.pointwise(xp, a, s, p, e)

        def backward(ds1: State) -> tuple[Cotangents, Cotangents, dict[str, Any]]:
            da, ds, dp = back(ds1)
            return tuple(None if d is None else held(xp, d, self.limit) for d in da), ds, dp

        return new, backward


def held(xp: Namespace, d: Array, limit: float) -> Array:
    """Every entry held in [−limit, limit]."""
    top = xp.full_like(d, limit)
    return xp.where(xp.real(d) > limit, top, xp.where(xp.real(d) < -limit, -top, d))


def clipped(cell: Cell, limit: float = 1.0) -> ErrorClipping:
    """A cell with its errors clipped; one that has no pre-activations to clip is a UserError."""
    if not has_affine(cell):
        name = type(cell).__name__
        raise UserError(f"clipping at every step needs a cell that is affine, then pointwise; {name} is none")
    return ErrorClipping(cell, limit)  # type: ignore[arg-type]


def unclipped(cell: Cell) -> Cell:
    """The same cell without clipping, wherever among its wrappers that is."""
    if isinstance(cell, ErrorClipping):
        return unclipped(cell.cell)
    within = getattr(cell, "cell", None)
    return replace(cell, cell=unclipped(within)) if isinstance(within, Cell) else cell  # type: ignore[call-arg]
