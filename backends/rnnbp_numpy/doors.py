"""What both scans of this backend do at their doors: which arguments they take, and the backward that they hand out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import array_api_compat.numpy as xp
import numpy as np

from rnnbp.cellbase import Cell, Params, State
from rnnbp.fastpath import copied, linear
from rnnbp.numerics import HostArray
from rnnbp.truncation import Window
from rnnbp.unrolling import ScanBackward
from rnnbp.validation import check_cotangents, check_window

Gradients: TypeAlias = tuple[dict[str, HostArray], HostArray, State]
Run: TypeAlias = Callable[[HostArray | None, tuple[Any, ...], Window], Gradients]  # dys and dxs forwards in time


def plain(cell: Cell, params: Params, xs: HostArray, s0: State, data: Params) -> bool:
    """Whether all are NumPy's arrays of one dtype, and none holds copies."""
    arrays = [xs, *params.values(), *s0, *data.values()]
    own = all(type(a) is np.ndarray and a.dtype == xs.dtype for a in arrays)
    return own and not copied(cell, params, xs, s0, data)


def backward_of(run: Run, cell: Cell, xs: HostArray, output: HostArray, reverse: bool) -> ScanBackward:
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
