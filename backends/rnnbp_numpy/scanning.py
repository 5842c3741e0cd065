"""The scan of a pointwise cell in a generated kernel: whole sequences without Python, shards of the batch on threads.

Each thread runs all steps for its own rows of the batch and waits for nobody; x W it makes some steps ahead. The
gradients of xs and of the weights are made after the loop, a product each for a block of steps, shared out by rows or
by columns so that no thread waits for another's sum.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Any

import array_api_compat.numpy as xp
import numpy as np

from rnnbp.blocks import block_steps, blocks
from rnnbp.cellbase import Params, State
from rnnbp.fastpath import Layout, blanked, in_order, layout
from rnnbp.numerics import HostArray
from rnnbp.pointwise import PointwiseCell
from rnnbp.truncation import Window
from rnnbp_numpy.caching import kernel
from rnnbp_numpy.doors import Sums, scan_by
from rnnbp_numpy.products import packed
from rnnbp_numpy.spare import room
from rnnbp_numpy.threads import blas_alone, on_each, shards, worth

NONE = np.ones((1, 1), bool)  # no flags


@dataclass(frozen=True, eq=False)
class Forward:
    """A scan's arguments, forwards in time, and what its forward leaves; nothing is written to once it has run."""

    cell: PointwiseCell
    plan: Layout
    kernel: ModuleType
    params: Params
    xs: HostArray  # (T, B, I)
    mask: HostArray | None
    resets: HostArray | None
    data: tuple[HostArray, ...]  # (T, B, H) each
    fresh: tuple[HostArray, ...]  # (B, H) each
    kept: HostArray  # (T, B, KH): what a step back needs, K values a unit
    states: tuple[HostArray, ...]  # (T + 1, B, H) each
    context: HostArray  # (T or more, B, R)

    @property
    def block(self) -> int:
        """The steps of a block of the sums over time."""
        return block_steps(self.xs.shape[1], self.cell.hidden_size)

    @property
    def flags(self) -> tuple[Any, ...]:
        """Mask and resets as kernels take them."""
        mask, resets = self.mask, self.resets
        return (
            NONE if mask is None else mask,
            NONE if resets is None else resets,
            mask is not None,
            resets is not None,
        )

    @property
    def arrays(self) -> tuple[HostArray, ...]:
        """What both kernels read."""
        n = self.cell.hidden_size
        units = [np.ascontiguousarray(np.broadcast_to(self.params[name], (n,))) for name in self.cell.elementwise]
        pairs = [a for pair in zip(self.fresh, self.states, strict=True) for a in pair]
        return (*pairs, *units, *self.data)


@blanked
def scan(*arguments: Any, **options: Any) -> Any:
    """`Backend.scan`, for arguments that have been checked; NotImplemented where the portable loop is to run."""
    return scan_by(kernel, _forward, _run, *arguments, **options)


def _forward(
    code: ModuleType,
    cell: PointwiseCell,
    params: Params,
    xs: HostArray,
    s0: State,
    mask: HostArray | None,
    resets: HostArray | None,
    data: tuple[HostArray, ...],
    keep: bool,
) -> tuple[Forward, HostArray]:
    """Run it: what it leaves, and ys."""
    (steps, batch, n_in), n, dtype, plan = xs.shape, cell.hidden_size, xs.dtype, layout(cell)
    kept = room((steps if keep else 1, batch, len(plan.kept) * n), dtype)
    masked = mask is not None
    output, others = steps + 1 if keep or not masked else 2, steps + 1 if keep else 2
    states = tuple(room((others if k else output, batch, n), dtype) for k in range(len(s0)))
    for z, first in zip(states, s0, strict=True):
        z[0] = first
    starts = cell.initial_state(xp, batch, xs) if resets is not None else tuple(np.empty((1, n), dtype) for _ in s0)
    fresh = tuple(np.array(np.broadcast_to(z, (len(z), n)), dtype) for z in starts)
    apart = cell.recurrent != tuple(cell.states)[:1] or bool(cell.dropped)
    gather = bool(cell.recurrent) and (resets is not None or apart)
    width = len(cell.recurrent) * n
    context = room((steps if keep else 1, batch, width), dtype) if gather else states[0]
    ys = room((steps, batch, n), dtype) if masked else states[0][1:]
    q = Forward(cell, plan, code, params, xs, mask, resets, data, fresh, kept, states, context)
    bias = np.ascontiguousarray(params["b"]) if cell.bias else np.zeros(1, dtype)
    panels = packed(params["U"]) if cell.recurrent else np.zeros((0, 1, 1), dtype)
    inputs = packed(params["W"])
    target = ys if masked else np.empty((1, 1, 1), dtype)
    with blas_alone():
        on_each(
            shards(batch, worth(_of_loop(steps * batch * params["W"].shape[1], n_in + width))),
            lambda part: code.forward(
                *part, xs, inputs, kept, bias, panels, gather, context, *q.flags, target, *q.arrays
            ),
        )
    return q, ys


def _of_loop(entries: int, width: int) -> int:
    """About how many operations a loop over time takes: a sum of `width` products for each entry, and a function."""
    return entries * (2 * width + 20)


def _run(
    q: Forward, dys: HostArray | None, ds_T: tuple[Any, ...], window: Window, onto: Sums | None, of_all: int
) -> tuple[Sums, HostArray, State]:
    """The backward through one window, for cotangents without copies."""
    (steps, batch, _), n, dtype = q.xs.shape, q.cell.hidden_size, q.xs.dtype
    start, at, stop = window
    ends = ds_T if stop == steps else (None,) * len(ds_T)
    errors = [np.zeros((batch, n), dtype) if d is None else np.array(d, dtype, order="C") for d in ends]
    sums = {name: np.array(onto[name]) if onto else np.zeros((batch, n), dtype) for name in q.cell.elementwise}
    dz = room((stop - start, batch, len(q.plan.columns) * n), dtype)
    given = np.zeros((1, 1, 1), dtype) if dys is None else dys
    at = stop if dys is None else at
    zero, panels = np.zeros(n, dtype), _feedback(q)
    with blas_alone():
        on_each(
            shards(batch, worth(_of_loop(dz.size, q.context.shape[2]))),
            lambda part: q.kernel.backward(
                *part,
                *(start, at, stop, dtype.type(window.decay)),
                q.kept,
                panels,
                *q.flags,
                given,
                zero,
                dz,
                *q.arrays,
                *errors,
                *sums.values(),
            ),
        )
        more, dxs = _products(q, dz, start, stop, onto, of_all)
    return sums | more, dxs, tuple(errors)


def _feedback(q: Forward) -> HostArray:
    """The panels of Uᵀ, its rows in the order of the last blocks of dz, those of gates in `cut` zero."""
    cell, plan = q.cell, q.plan
    if not cell.recurrent or set(cell.cut) >= set(plan.gates):
        return np.zeros((0, 1, 1), q.xs.dtype)
    u = np.array(in_order(xp, q.params["U"], plan.gates, plan.of_h))
    for k, gate in enumerate(plan.of_h):
        if gate in cell.cut:
            u[:, k * cell.hidden_size : (k + 1) * cell.hidden_size] = 0
    return packed(u.T)


def _products(
    q: Forward, dz: HostArray, start: int, stop: int, onto: Sums | None, of_all: int
) -> tuple[Sums, HostArray]:
    """The sums of W, U and b, added to those in `onto`, and dxs: block by block, from the last one to the first.

    Each thread has its columns of the sums and, in every block, its rows of dxs. How many threads share them is known
    from the whole window, of `of_all` steps: a product of other columns may differ in the last bits.
    """
    cell, plan, (steps, batch, n_in) = q.cell, q.plan, q.xs.shape
    rows, wide = (stop - start) * batch, len(plan.gates) * cell.hidden_size
    flat = dz.reshape(rows, -1)
    of_x, of_h = flat[:, :wide], flat[:, flat.shape[1] - wide :]
    w = np.ascontiguousarray(in_order(xp, q.params["W"], plan.gates, plan.of_x).T)
    dxs = room((steps, batch, n_in), dz.dtype)
    dxs[:start] = dxs[stop:] = 0
    dx = dxs[start:stop].reshape(rows, n_in)
    entered = {"W": (q.xs[start:stop].reshape(rows, n_in), of_x)}
    if cell.recurrent:
        entered["U"] = q.context[start:stop].reshape(rows, -1), of_h
    if cell.bias:
        entered["b"] = np.ones((rows, 1), dz.dtype), of_x
    number = worth(2 * (2 * n_in + q.context.shape[2]) * of_all * batch * wide)
    columns = shards(wide, number)
    pieces = [slice((lo - start) * batch, (hi - start) * batch) for lo, hi in blocks(start, stop, q.block)]
    found: dict[str, list[HostArray]] = {name: [dz[:0]] * len(columns) for name in entered}

    def work(k: int) -> None:
        totals: Sums = {}
        for piece in reversed(pieces):
            parts = shards(piece.stop - piece.start, number)
            if k < len(parts):
                mine = slice(piece.start + parts[k][0], piece.start + parts[k][1])
                np.matmul(of_x[mine], w, out=dx[mine])
            if k < len(columns):
                own = slice(*columns[k])
                for name, (a, errors) in entered.items():
                    before = totals.get(name, None if onto is None else onto[name][:, own])
                    part = a[piece].T @ errors[piece, own]
                    totals[name] = part if before is None else np.add(before, part, out=part)
        for name, total in totals.items():
            found[name][k] = total

    on_each(list(range(number)), work)
    return {name: np.concatenate(parts, axis=1) for name, parts in found.items()}, dxs
