"""What both scans of this backend do at their doors: which calls they take, time and its direction, the way back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import array_api_compat.numpy as xp
import numpy as np

from rnnbp.blocks import Part
from rnnbp.cellbase import Cell, Params, State
from rnnbp.fastpath import Layout, copied, in_order, linear
from rnnbp.lowering import Untraceable
from rnnbp.numerics import HostArray, freeze
from rnnbp.pointwise import sum_rows
from rnnbp.recomputing import Remat, recomputed
from rnnbp.truncation import Window
from rnnbp.unrolling import WHOLE, ScanBackward
from rnnbp.validation import check_cotangents, check_window

Gradients: TypeAlias = tuple[dict[str, HostArray], HostArray, State]
Sums: TypeAlias = dict[str, HostArray]  # over time: of W, U and b, and of each elementwise parameter row by row


def scan_by(
    code_of: Callable[[Any, str], Any],
    forward: Callable[..., tuple[Any, HostArray]],
    back: Callable[..., tuple[Sums, HostArray, State]],
    cell: Any,
    params: Params,
    xs: HostArray,
    s0: State,
    *,
    mask: HostArray | None,
    resets: HostArray | None,
    data: Params | None,
    reverse: bool,
    record: bool,
    keep: bool,
    remat: Remat = None,
) -> Any:
    """`Backend.scan`, for arguments that have been checked; NotImplemented where the portable loop is to run.

    code_of(cell, dtype) is the code, or `Untraceable`. forward(code, cell, params, xs, s0, mask, resets, data, keep),
    for arrays row by row and forwards in time, gives what it leaves, with `plan`, `xs` and `states` among it, and ys;
    back(left, dys, ds_T, window, onto, of_all) goes back through it, to sums that are added to those in `onto`, unless
    that is None; of_all counts the steps of the whole window of which this one is a part.
    """
    given = data or {}
    if record or xs.dtype not in (np.float32, np.float64) or not _plain(cell, params, xs, s0, given):
        return NotImplemented
    try:
        code = code_of(cell, xs.dtype.name)
    except Untraceable:
        return NotImplemented

    def way(
        xs: HostArray, s0: State, *, mask: HostArray | None, resets: HostArray | None, data: Params | None, keep: bool
    ) -> tuple[HostArray, State, Any]:
        order = slice(None, None, -1 if reverse else 1)
        mask, resets = (None if f is None else np.ascontiguousarray(f[order]) for f in (mask, resets))
        xs = np.ascontiguousarray(xs[order])
        if mask is not None:  # what pads a sequence may be anything: a NaN there, times an error of zero, would be NaN
            xs = np.where(mask[:, :, None], xs, np.zeros((), xs.dtype))
        rows = tuple(np.ascontiguousarray((data or {})[name][order]) for name in cell.data)
        left, ys = forward(code, cell, params, xs, s0, mask, resets, rows, keep)
        last = tuple(freeze(np.array(z[len(xs) % len(z)])) for z in left.states)
        way_back = _backward_of(back, left, cell, reverse) if keep else None
        return freeze(np.ascontiguousarray(ys[order])), last, way_back

    if remat is not None:
        return recomputed(way, cell, xs, s0, remat, mask=mask, resets=resets, data=data, reverse=reverse)
    return way(xs, s0, mask=mask, resets=resets, data=data, keep=keep)


def _plain(cell: Cell, params: Params, xs: HostArray, s0: State, data: Params) -> bool:
    """Whether all are NumPy's arrays of one dtype, and none holds copies."""
    arrays = [xs, *params.values(), *s0, *data.values()]
    own = all(type(a) is np.ndarray and a.dtype == xs.dtype for a in arrays)
    return own and not copied(cell, params, xs, s0, data)


def _backward_of(
    back: Callable[..., tuple[Sums, HostArray, State]],
    left: Any,
    cell: Cell,
    reverse: bool,
) -> ScanBackward:
    """backward(dys, ds_T, window, part), by a `back` for cotangents without copies."""
    steps, batch, _ = left.xs.shape
    order = slice(None, None, -1 if reverse else 1)

    def backward(
        dys: HostArray | None = None, ds_T: State | None = None, window: Window | None = None, part: Part = WHOLE
    ) -> tuple[Any, HostArray, State]:
        found = check_window(Window(0, 0, steps) if window is None else window, steps, reverse)
        check_cotangents(cell, (steps, batch), dys, ds_T, left.states[0][0])
        onto, totals = iter(part.onto or ()), []  # one for each call of `one`, which are as many for every part

        def one(dys: HostArray | None, ds_T: tuple[Any, ...]) -> Gradients:
            dys = None if dys is None else np.ascontiguousarray(dys[order])
            of_all = part.steps or found.stop - found.start
            sums, dxs, ds = back(left, dys, ds_T, found, next(onto, None), of_all)
            totals.append(sums)
            return _finished(cell, left.plan, sums) if part.last else {}, np.ascontiguousarray(dxs[order]), ds

        dparams, dxs, ds = linear(xp, one, dys, ds_T or (None,) * len(cell.states))
        return dparams if part.last else totals, dxs, ds

    return backward


def _finished(cell: Any, plan: Layout, sums: Sums) -> dict[str, HostArray]:
    """The gradients: of W, U and b in the order of the cell's gates, of elementwise parameters summed up."""
    orders = {"W": plan.of_x, "U": plan.of_h, "b": plan.of_x}
    grads = {}
    for name, total in sums.items():
        if name in cell.elementwise:
            grads[name] = sum_rows(xp, total, cell.elementwise[name].shape)
        else:
            found = in_order(xp, total, orders[name], plan.gates)
            grads[name] = found[0] if name == "b" else found
    return {name: grads[name] for name in cell.params if name in grads}
