"""A loop over time written out by hand, forward and back, with the faults that loops have had in public projects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rnnbp.cellbase import Params, State
from rnnbp.checking.selftest.returning import clipped, what_is_returned
from rnnbp.numerics import Array, Namespace, broadcast, freeze, zeros
from rnnbp.truncation import Window
from rnnbp.unrolling import common
from rnnbp.validation import check_cotangents, check_window

if TYPE_CHECKING:
    from rnnbp.checking.selftest.planting import FaultyBackward, FaultyCell

ERROR_LIMIT = 0.3  # of the fault "clipped:errors": the errors of random problems are around 1


def scan_with_faults(
    xp: Namespace,
    cell: FaultyCell,
    p: Params,
    xs: Array,
    s0: State,
    *,
    mask: Array | None,
    resets: Array | None,
    data: Params | None,
    reverse: bool,
    record: bool,
    keep: bool,
) -> Any:
    """`rnnbp.scan` of a cell whose states are all (B, H), without resets, reversal and recording."""
    del keep
    if resets is not None or reverse or record:
        return NotImplemented
    lead, dtype = common(xp, cell, p, xs, s0, data)
    states = [tuple(broadcast(xp, xp.astype(z, dtype, copy=False), lead, 2) for z in s0)]
    ys: list[Array] = []
    backs: list[FaultyBackward] = []
    for t in range(xs.shape[-3]):
        e = {name: d[..., t, :, :] for name, d in (data or {}).items()}
        s1, back = cell.step(xp, p, xs[..., t, :, :], states[t], e)
        ys.append(_choose(xp, mask, t, s1[:1])[0])
        states.append(_choose(xp, mask, t, s1, states[t]))
        backs.append(back)
    tape = Tape(xp, cell, xs, tuple(states), tuple(backs), mask)
    return freeze(xp.stack(ys, axis=-3)), tuple(freeze(z) for z in states[-1]), tape.backward


@dataclass(frozen=True)
class Tape:
    """What a forward keeps: the state before each step and after the last, T + 1 in all, and each step's backward."""

    xp: Namespace
    cell: FaultyCell
    xs: Array
    states: tuple[State, ...]
    backs: tuple[FaultyBackward, ...]
    mask: Array | None

    def backward(
        self, dys: Array | None = None, ds_T: State | None = None, window: Window | None = None
    ) -> tuple[dict[str, Array], Array, State]:
        """The contract of `rnnbp.scan`, with the faults of the cell's loop."""
        steps, batch, cell = len(self.backs), self.xs.shape[-2], self.cell
        start, lo, stop = check_window(Window(0, 0, steps) if window is None else window, steps, False)
        check_cotangents(cell, (steps, batch), dys, ds_T, self.states[-1][0])
        first, end = start, stop
        if cell.has("first-step-skipped"):
            first = max(start, 1)
        if cell.has("last-step-skipped"):
            end = stop - 1

        ds = self._error_of_last(ds_T if stop == steps else None)
        like = self.states[0][0]
        total = {name: zeros(self.xp, spec.shape, like) for name, spec in cell.params.items()}
        dxs = [self.xp.zeros_like(self.xs[..., t, :, :]) for t in range(steps)]
        for t in reversed(range(first, end)):
            if dys is not None and t >= lo:
                ds = (ds[0] + _choose(self.xp, self.mask, t, (dys[..., t, :, :],))[0], *ds[1:])
            dp, dxs[t], ds = self._step_back(t, ds)
            total = {name: self._added(name, total[name], dp[name]) for name in total}
            if t > first:
                ds = self._carried(ds)

        stacked = self.xp.stack(self.xp.broadcast_arrays(*dxs), axis=-3)
        return what_is_returned(self.xp, cell, total, stacked, ds, steps, batch)

    def _error_of_last(self, ds_T: State | None) -> State:
        """The error with which the loop back begins."""
        ds = tuple(self.xp.zeros_like(z) for z in self.states[-1])
        if ds_T is not None:
            ds = tuple(z if d is None else d for d, z in zip(ds_T, ds, strict=True))
        return self.cell.zeroed(self.xp, "last-state-forgotten", ds)

    def _step_back(self, t: int, ds: State) -> tuple[dict[str, Array], Array, State]:
        """One step back; the error of a masked sequence passes it by."""
        h = self.states[t][0]
        if self.cell.has("h-of-wrong-step"):
            h = self.states[t + 1][0]
        dp, dx, ds0 = self.backs[t](_choose(self.xp, self.mask, t, ds), h)
        if self.mask is not None:
            ds0 = _choose(self.xp, self.mask, t, ds0, ds)
        return dp, dx, ds0

    def _added(self, name: str, total: Array, d: Array) -> Array:
        """A parameter's gradient with one more step in it."""
        if self.cell.has("missing-accumulation:all") or self.cell.has(f"missing-accumulation:{name}"):
            return d
        return total + d

    def _carried(self, ds: State) -> State:
        """The error that the step before is given."""
        if self.cell.has("clipped:errors"):
            ds = tuple(clipped(self.xp, d, ERROR_LIMIT) for d in ds)
        return self.cell.zeroed(self.xp, "carry-dropped", ds)


def _choose(xp: Namespace, mask: Array | None, t: int, yes: State, no: State | None = None) -> State:
    """Per sequence: `yes` where step t counts, `no` (default zero) where it is masked."""
    if mask is None:
        return yes
    flag = xp.reshape(mask[t, :], (-1, 1))
    return tuple(xp.where(flag, a, b) for a, b in zip(yes, no or map(xp.zeros_like, yes), strict=True))
