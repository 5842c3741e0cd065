"""Masks and resets: what happens to a state between two steps, forward and backward."""

from __future__ import annotations

from dataclasses import dataclass

from rnnbp.cellbase import State
from rnnbp.numerics import Array, Namespace


@dataclass(frozen=True)
class Interruptions:
    """The flags of a scan, (T, B) each or None.

    A reset step starts from `fresh`; a masked step (False) outputs zero and leaves the state as it entered. Each method
    has its transpose below it; `trailing` counts each state's axes from B on.
    """

    xp: Namespace
    mask: Array | None
    resets: Array | None
    fresh: State
    trailing: tuple[int, ...]

    def enter(self, t: int, s: State) -> State:
        """The state that step t starts from."""
        return s if self.resets is None else self._choose(self.resets[t, :], self.fresh, s)

    def enter_backward(self, t: int, ds: State) -> State:
        """Nothing flows back over a reset."""
        return ds if self.resets is None else self._choose(self.resets[t, :], self._zero(ds), ds)

    def stopped(self, t: int, ds: State) -> State:
        """The error that ends at a reset: that of the state which is started from."""
        zero = self._zero(ds)
        return zero if self.resets is None else self._choose(self.resets[t, :], ds, zero)

    def leave(self, t: int, entered: State, s1: State) -> tuple[Array, State]:
        """The output of step t and the state after it."""
        if self.mask is None:
            return s1[0], s1
        return self.output_backward(t, s1[0]), self._choose(self.mask[t, :], s1, entered)

    def output_backward(self, t: int, dy: Array) -> Array:
        """The error of a step's output, zero where it is masked: the map to the output is its own transpose."""
        if self.mask is None:
            return dy
        return self._choose(self.mask[t, :], (dy,), (self.xp.zeros_like(dy),))[0]

    def leave_backward(self, t: int, ds: State) -> tuple[State, State | None]:
        """The error that goes through step t, and the error that passes it by (None for none)."""
        if self.mask is None:
            return ds, None
        zero = self._zero(ds)
        return self._choose(self.mask[t, :], ds, zero), self._choose(self.mask[t, :], zero, ds)

    def _choose(self, flag: Array, yes: State, no: State) -> State:
        """Per sequence, by flag (B,): the one state or the other."""
        pairs = zip(self.trailing, yes, no, strict=False)
        return tuple(self.xp.where(self.xp.reshape(flag, (-1, *[1] * (n - 1))), a, b) for n, a, b in pairs)

    def _zero(self, s: State) -> State:
        return tuple(self.xp.zeros_like(z) for z in s)
