"""A cell over a sequence: the one door to the backend's fast path and to the portable one."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, wraps
from typing import Any

from rnnbp.backends import Backend, backend_for
from rnnbp.cellbase import Cell, Params, State
from rnnbp.numerics import Array, Namespace
from rnnbp.truncation import Window
from rnnbp.unrolling import ScanBackward, unroll
from rnnbp.validation import check_scan


def scan(
    cell: Cell,
    params: Params,
    xs: Array,
    s0: State | None = None,
    *,
    mask: Array | None = None,
    resets: Array | None = None,
    data: Params | None = None,
    reverse: bool = False,
    record: bool = False,
    backend: Backend | None = None,
) -> tuple[Array, State, ScanBackward]:
    """Run a cell over xs (..., T, B, I): ys (..., T, B, O), the last state, and the backward.

    backward(dys, ds_T=None, window=None) -> (dparams, dxs, ds_start): the gradients of Σ ys∘dys + Σ s_T∘ds_T, where
    None means zero, taken through one window (default: all steps); ds_start is the error of the state that enters the
    window. ds_T counts in windows that end with the last step. The backward keeps all that it needs, so it can be
    called again with other cotangents.

    s0: one array (..., B, *shape) per state; default `cell.initial_state`.
    mask (T, B), boolean: a masked step (False) leaves the state as it is and outputs zero, whatever xs holds there.
    resets (T, B), boolean: the state starts anew before that step, from `cell.initial_state`.
    data: name -> (..., T, B, *shape), what the cell's steps need besides xs.
    reverse: from the last step to the first; ys stays aligned with xs.
    record: every gate and state and, after a backward, every error by name, in `backward.record`.
    Parameters and inputs with further leading axes are copies, evaluated side by side. The backend's faster path is
    taken where it has one; without `backend` the arrays tell which it is.
    """
    options = {"mask": mask, "resets": resets, "data": data, "reverse": reverse, "record": record}
    return _any_path(cell, params, xs, s0, backend, keep=True, **options)


def run(
    cell: Cell,
    params: Params,
    xs: Array,
    s0: State | None = None,
    *,
    mask: Array | None = None,
    resets: Array | None = None,
    data: Params | None = None,
    reverse: bool = False,
    backend: Backend | None = None,
) -> tuple[Array, State]:
    """The forward of `scan` alone, keeping nothing: ys and the last state."""
    options = {"mask": mask, "resets": resets, "data": data, "reverse": reverse, "record": False}
    return _any_path(cell, params, xs, s0, backend, keep=False, **options)[:2]


def _any_path(
    cell: Cell, params: Params, xs: Array, s0: State | None, backend: Backend | None, **options: Any
) -> tuple[Array, State, ScanBackward]:
    """The backend's fast scan where it takes the call, else the portable path."""
    xp = check_scan(cell, params, xs, s0, options["mask"], options["resets"], options["data"])
    if s0 is None:
        s0 = cell.initial_state(xp, xs.shape[-2], xs)
    chosen = backend_for(xs, backend)
    result: Any = chosen.scan(cell, params, xs, s0, **options) if chosen else NotImplemented
    if result is NotImplemented:
        return reference(xp, cell, params, xs, s0, **options)
    knows = chosen is None or chosen.decays
    found: tuple[Array, State, ScanBackward] = result
    return found if knows else decaying(found, partial(reference, xp, cell, params, xs, s0, **options))


def reference(
    xp: Namespace, cell: Cell, params: Params, xs: Array, s0: State, **options: Any
) -> tuple[Array, State, ScanBackward]:
    """The portable path, for arguments already checked: the cell's own scan if it has one, else the loop."""
    mask = options["mask"]
    if mask is not None:  # what pads a sequence may be anything: a NaN there, times an error of zero, would be NaN
        xs = xp.where(xp.reshape(mask, (*mask.shape, 1)), xs, xp.zeros_like(xs))
    result: Any = cell.scan(xp, params, xs, s0, **options)
    loop = partial(unroll, xp, cell, params, xs, s0, **options)
    return loop() if result is NotImplemented else decaying(result, loop)


def decaying(result: Any, slow: Callable[[], Any]) -> tuple[Array, State, ScanBackward]:
    """A faster scan's result, which need not know of a decay: a window with one goes back through the slow path."""
    ys, s_T, back = result
    if back is None:  # nothing was kept
        return ys, s_T, back

    @wraps(back)
    def backward(dys: Array | None = None, ds_T: State | None = None, window: Window | None = None) -> Any:
        if getattr(window, "decay", 1.0) == 1:
            return back(dys, ds_T, window)
        way_back = slow()[2]
        found = way_back(dys, ds_T, window)
        backward.__dict__.update(way_back.__dict__)  # the record of this backward, where there is one
        return found

    return ys, s_T, backward
