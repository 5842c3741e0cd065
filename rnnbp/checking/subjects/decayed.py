"""What a decaying cut claims, as a forward: each step starts from its state with a part of it held constant."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rnnbp.around.base import Around
from rnnbp.cellbase import Cell, Cotangents, Data, Params, State, StepBackward
from rnnbp.numerics import Array, Namespace, detach
from rnnbp.truncation import Window, decay_of


@dataclass(frozen=True)
class Decayed(Around):
    """The cell, started from L s + (1 − L) detach(s): the values are those of the cell, the error of s is L times its.

    A step that is masked is no step: the loop passes its state by, and so the whole of its error.
    """

    decay: float

    def step(self, xp: Namespace, p: Params, x: Array, s: State, e: Data) -> tuple[State, StepBackward]:
        s1, back = self.cell.step(xp, p, x, tuple(fade(z, self.decay) for z in s), e)

        def backward(ds1: State) -> tuple[dict[str, Array], Array, Cotangents]:
            dp, dx, ds = back(ds1)
            return dp, dx, tuple(None if d is None else self.decay * d for d in ds)

        return s1, backward


def fade(s: Array, decay: float) -> Array:
    """L s + (1 − L) detach(s), so written that the value is s to the bit."""
    fixed = detach(s)
    return fixed + decay * (s - fixed)


def defining(cell: Cell, windows: Sequence[Window]) -> Cell:
    """The cell whose forward has the derivative that a backward through these windows claims, but for their starts."""
    decay = decay_of(windows)
    return cell if decay == 1 else Decayed(cell, decay)
