"""What both scans of this backend do at their doors: which calls they take, time and its direction, the way back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import array_api_compat.numpy as xp
import numpy as np

from rnnbp.cellbase import Cell, Params, State
from rnnbp.fastpath import copied, linear
from rnnbp.lowering import Untraceable
from rnnbp.numerics import HostArray, freeze
from rnnbp.truncation import Window
from rnnbp.unrolling import ScanBackward
from rnnbp.validation import check_cotangents, check_window

Gradients: TypeAlias = tuple[dict[str, HostArray], HostArray, State]
Run: TypeAlias = Callable[[HostArray | None, tuple[Any, ...], Window], Gradients]  # dys and dxs forwards in time


def scan_by(
    code_of: Callable[[Any, str], Any],
    forward: Callable[..., tuple[Any, HostArray]],
    back: Callable[..., Gradients],
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
) -> Any:
    """`Backend.scan`, for arguments that have been checked; NotImplemented where the portable loop is to run.

    code_of(cell, dtype) is the code, or `Untraceable`. forward(code, cell, params, xs, s0, mask, resets, data, keep),
    for arrays row by row and forwards in time, gives what it leaves, with `xs` and `states` among it, and ys;
    back(left, dys, ds_T, window) goes back through it.
    """
    given = data or {}
    if record or xs.dtype not in (np.float32, np.float64) or not _plain(cell, params, xs, s0, given):
        return NotImplemented
    try:
        code = code_of(cell, xs.dtype.name)
    except Untraceable:
        return NotImplemented
    order = slice(None, None, -1 if reverse else 1)
    mask, resets = (None if f is None else np.ascontiguousarray(f[order]) for f in (mask, resets))
    xs = np.ascontiguousarray(xs[order])
    if mask is not None:  # what pads a sequence may be anything: a NaN there, times an error of zero, would be NaN
        xs = np.where(mask[:, :, None], xs, np.zeros((), xs.dtype))
    rows = tuple(np.ascontiguousarray(given[name][order]) for name in cell.data)
    left, ys = forward(code, cell, params, xs, s0, mask, resets, rows, keep)
    last = tuple(freeze(np.array(z[len(xs) % len(z)])) for z in left.states)
    way_back = _backward_of(lambda *given: back(left, *given), cell, left.xs, left.states[0][0], reverse)
    return freeze(np.ascontiguousarray(ys[order])), last, way_back if keep else None


def _plain(cell: Cell, params: Params, xs: HostArray, s0: State, data: Params) -> bool:
    """Whether all are NumPy's arrays of one dtype, and none holds copies."""
    arrays = [xs, *params.values(), *s0, *data.values()]
    own = all(type(a) is np.ndarray and a.dtype == xs.dtype for a in arrays)
    return own and not copied(cell, params, xs, s0, data)


def _backward_of(run: Run, cell: Cell, xs: HostArray, output: HostArray, reverse: bool) -> ScanBackward:
    """backward(dys, ds_T, window) -> dparams, dxs, ds_start, by a `run` for cotangents without copies."""
    steps, batch, _ = xs.shape
    order = slice(None, None, -1 if reverse else 1)

    def backward(dys: HostArray | None = None, ds_T: State | None = None, window: Window | None = None) -> Gradients:
        found = check_window(Window(0, 0, steps) if window is None else window, steps, reverse)
        check_cotangents(cell, (steps, batch), dys, ds_T, output)

        def one(dys: HostArray | None, ds_T: tuple[Any, ...]) -> Gradients:
            dp, dxs, ds = run(None if dys is None else np.ascontiguousarray(dys[order]), ds_T, found)
            return dp, np.ascontiguousarray(dxs[order]), ds

        return linear(xp, one, dys, ds_T or (None,) * len(cell.states))

    return backward
