"""Recomputation by segments: keep the states where segments begin, and scan each segment again on the way back.

Segments of k steps leave T/k states and, one at a time, what a backward through k steps needs: least for k about √T
(Chen et al. 2016, arXiv 1604.06174; for recurrent nets Gruslys et al. 2016, arXiv 1606.03401, who place the segments
better at a higher price). Forward and one backward compute every step at most twice.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from math import isqrt
from numbers import Integral
from typing import TypeAlias

import numpy as np
from array_api_compat import array_namespace, device, is_writeable_array

from rnnbp.blocks import Part, block_steps
from rnnbp.cellbase import Cell, Params, State
from rnnbp.errors import UserError
from rnnbp.numerics import Array, Namespace, broadcast, freeze
from rnnbp.truncation import Window
from rnnbp.unrolling import ScanBackward, joined, leads
from rnnbp.validation import check_cotangents, check_window

Remat: TypeAlias = "int | str | None"  # the steps of a segment, "sqrt", or no recomputation
# (xs, s0, mask, resets, data, keep) of one segment -> ys, the last state, a backward that takes a `Part`
Way: TypeAlias = Callable[..., tuple[Array, State, ScanBackward]]


def segment_steps(remat: int | str, time_steps: int) -> int:
    """K steps as they were asked for, where "sqrt" is √T, rounded up."""
    if remat == "sqrt":
        return 1 + isqrt(time_steps - 1)
    if isinstance(remat, bool) or not isinstance(remat, Integral) or remat < 1:
        raise UserError(f'remat must be a number of steps, at least 1, or "sqrt"; got {remat!r}')
    return int(remat)


def segments(time_steps: int, steps: int, block: int) -> list[tuple[int, int]]:
    """The steps in order, cut after so many, rounded up to whole blocks."""
    steps = -(-steps // block) * block
    return list(pairwise([*range(0, time_steps, steps), time_steps]))


def recomputed(
    way: Way,
    cell: Cell,
    xs: Array,
    s0: State,
    remat: int | str,
    *,
    mask: Array | None,
    resets: Array | None,
    data: Params | None,
    reverse: bool,
) -> tuple[Array, State, ScanBackward]:
    """`rnnbp.scan`, for arguments already checked, by a way that scans one segment; to the bits of that way over all.

    So way's sums must be made as `rnnbp.blocks` says.
    """
    xp, (time_steps, batch) = array_namespace(xs), xs.shape[-3:-1]
    cuts = segments(time_steps, segment_steps(remat, time_steps), block_steps(batch, cell.hidden_size))

    def in_time(lo: int, hi: int) -> slice:
        return slice(time_steps - hi, time_steps - lo) if reverse else slice(lo, hi)

    def through(lo: int, hi: int, s: State, keep: bool) -> tuple[Array, State, ScanBackward]:
        """Steps lo … hi−1, in the order in which they are taken, from state s."""
        at, wide = in_time(lo, hi), slice(None)
        flags = {n: None if f is None else f[at, :] for n, f in (("mask", mask), ("resets", resets))}
        own = {n: d[(..., at, wide, *[wide] * len(cell.data[n]))] for n, d in (data or {}).items()}
        return way(xs[..., at, :, :], s, **flags, data=own or None, keep=keep)

    if len(cuts) == 1:
        return through(0, time_steps, s0, keep=True)
    s, entered, outputs = s0, [], InTime(xp, time_steps)
    for lo, hi in cuts:
        entered.append(s)
        of_segment, s, _ = through(lo, hi, s, keep=False)
        outputs.put(in_time(lo, hi), of_segment)

    def backward(
        dys: Array | None = None, ds_T: State | None = None, window: Window | None = None
    ) -> tuple[dict[str, Array], Array, State]:
        found = check_window(Window(0, 0, time_steps) if window is None else window, time_steps, reverse)
        check_cotangents(cell, (time_steps, batch), dys, ds_T, s[0])
        ds = _at_the_end(xp, cell, s, dys, ds_T, found.stop == time_steps)
        dxs, sums = InTime(xp, time_steps), None  # over what lies behind; dparams in the end
        for (lo, end), first in reversed(list(zip(cuts, entered, strict=True))):
            start, hi = max(lo, found.start), min(end, found.stop)  # as far as the window reaches into the segment
            if start < hi:
                inner = Window(start - lo, min(max(start, found.lo), hi - 1) - lo, hi - lo, found.decay)
                dy = None if dys is None or found.lo >= hi else dys[..., in_time(lo, hi), :, :]
                part = Part(sums, start == found.start, found.stop - found.start)
                sums, dx, ds = through(lo, hi, first, keep=True)[2](dy, ds, inner, part)
                dxs.put(in_time(lo, hi), dx)
        return dict(sums or {}), dxs.whole(), ds

    return freeze(outputs.whole()), tuple(map(freeze, s)), backward


def _at_the_end(xp: Namespace, cell: Cell, s: State, dys: Array | None, ds_T: State | None, last: bool) -> State:
    """The error of the state behind the window, with the copies and the dtype that any cotangent has: those of every
    error before it. It is zero in a window that does not end with the last step.
    """
    trailing = [1 + len(shape) for shape in cell.states.values()]
    zeros = [xp.zeros_like(z) for z in s]
    ds = zeros if ds_T is None else [z if d is None else d for d, z in zip(ds_T, zeros, strict=True)]
    ends, met = ds if last else zeros, [] if dys is None else [dys]
    lead = np.broadcast_shapes(*leads([*trailing, *trailing, 3], [*ds, *zeros, *met]))
    dtype = xp.result_type(*ends, *zeros, *met)
    return tuple(broadcast(xp, xp.astype(d, dtype, copy=False), lead, n) for d, n in zip(ends, trailing, strict=True))


class InTime:
    """The arrays (..., k, B, N) of segments in their place in (..., T, B, N), zero where there is none.

    Where the library can write, each goes there at once: never are there two copies of them all.
    """

    def __init__(self, xp: Namespace, time_steps: int) -> None:
        self.xp, self.time_steps = xp, time_steps
        self.parts: dict[int, Array] = {}  # by the first step, of a library that cannot write
        self.out: Array = None

    def put(self, at: slice, part: Array) -> None:
        """A segment's array, for the steps of `at`."""
        shape = (*part.shape[:-3], self.time_steps, *part.shape[-2:])
        if self.out is None and not self.parts:
            out = self.xp.zeros(shape, dtype=part.dtype, device=device(part))
            self.out = out if is_writeable_array(out) else None
        if self.out is None:
            self.parts[at.start] = part
            return
        lead = np.broadcast_shapes(self.out.shape[:-3], part.shape[:-3])
        if self.out.shape[:-3] != lead:  # segments that sent nothing to xs, before one that did
            self.out = self.out + self.xp.zeros(shape, dtype=part.dtype, device=device(part))
        self.out[..., at, :, :] = part

    def whole(self) -> Array:
        """All steps; nothing more is put there."""
        if self.out is not None:
            return self.out
        first = min(self.parts)
        ordered = [self.parts[t] for t in sorted(self.parts)]
        behind = self.time_steps - first - sum(part.shape[-3] for part in ordered)
        return joined(self.xp, ordered, first, behind)
