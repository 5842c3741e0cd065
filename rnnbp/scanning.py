"""A cell over a sequence: the one door to the backend's fast path and to the portable one."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, wraps
from typing import Any

from rnnbp.backends import Backend, backend_for
from rnnbp.cellbase import Cell, Params, State
from rnnbp.errors import UserError
from rnnbp.numerics import Array, Namespace, freeze
from rnnbp.recomputing import Remat, recomputed
from rnnbp.truncation import Window
from rnnbp.unrolling import ScanBackward, unroll
from rnnbp.validation import check_cotangents, check_scan, check_window


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
    remat: Remat = None,
    backend: Backend | None = None,
) -> tuple[Array, State, ScanBackward]:
    """Run a cell over xs (..., T, B, I): ys (..., T, B, O), the last state, and the backward.

    backward(dys, ds_T=None, window=None) -> (dparams, dxs, ds_start): the gradients of Σ ys∘dys + Σ s_T∘ds_T, where
    None means zero, taken through one window (default: all steps); ds_start is the error of the state that enters the
    window. ds_T counts in windows that end with the last step. The backward keeps all that it needs, so it can be
    called again with other cotangents.

    s0: one array (..., B, *shape) per state; default `cell.start`, which is `initial_state` unless it is learned.
    mask (T, B), boolean: a masked step (False) leaves the state as it is and outputs zero, whatever xs holds there.
    resets (T, B), boolean: the state starts anew before that step, from `cell.start`.
    data: name -> (..., T, B, *shape), what the cell's steps need besides xs.
    reverse: from the last step to the first; ys stays aligned with xs.
    record: every gate and state and, after a backward, every error by name, in `backward.record`.
    remat: k, or "sqrt" for √T: keep the states at every k-th step only, k rounded up to whole blocks of `rnnbp.blocks`,
    and compute the steps between them again on the way back. The gradients are the bits that they are without it,
    where the same path runs: a backend's scan that cannot do it, and a cell's own, give way to the portable loop.
    Parameters and inputs with further leading axes are copies, evaluated side by side. The backend's faster path is
    taken where it has one; without `backend` the arrays tell which it is.
    """
    options = {"mask": mask, "resets": resets, "data": data, "reverse": reverse, "record": record, "keep": True}
    if remat is not None:
        if record:
            raise UserError("a record holds every step, and remat is for keeping few: leave one of the two out")
        options["remat"] = remat
    return _any_path(cell, params, xs, s0, backend, **options)


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
    if cell.starting:
        return _started(xp, cell, params, xs, s0, backend, **options)
    begun = cell.start(xp, params, xs.shape[-2], xs)[0] if s0 is None else s0
    return _from(begun, xp, cell, params, xs, backend, **options)


def _from(
    s0: State, xp: Namespace, cell: Cell, params: Params, xs: Array, backend: Backend | None, **options: Any
) -> tuple[Array, State, ScanBackward]:
    """The same from a state; a fast scan may leave out the gradients of `cell.starting`."""
    chosen = backend_for(xs, backend)
    learned = bool(cell.starting) and options["resets"] is not None  # resets start from `initial_state` in a fast scan
    looped = learned or (chosen is not None and "remat" in options and not chosen.recomputes)
    result: Any = NotImplemented if chosen is None or looped else chosen.scan(cell, params, xs, s0, **options)
    if result is NotImplemented:
        return reference(xp, cell, params, xs, s0, **options)
    knows = chosen is None or chosen.decays
    found: tuple[Array, State, ScanBackward] = result
    return found if knows else decaying(found, partial(reference, xp, cell, params, xs, s0, **options))


def _started(
    xp: Namespace, cell: Cell, params: Params, xs: Array, s0: State | None, backend: Backend | None, **options: Any
) -> tuple[Array, State, ScanBackward]:
    """The scan of a cell that learns its start: the error of the first state is that of a start where none is given."""
    begun, start_back = cell.start(xp, params, xs.shape[-2], xs)
    ys, s_T, back = _from(begun if s0 is None else s0, xp, cell, params, xs, backend, **options)
    if not options["keep"]:
        return ys, s_T, back

    @wraps(back)
    def backward(dys: Array | None = None, ds_T: State | None = None, window: Window | None = None) -> Any:
        dp, dxs, ds = back(dys, ds_T, window)
        backward.__dict__.update(back.__dict__)  # its record, where there is one
        first = s0 is None and (window is None or window[0] == 0)
        found = start_back(ds if first else tuple(xp.zeros_like(d) for d in ds))
        sums = {**dp, **{name: dp[name] + d if name in dp else d for name, d in found.items()}}
        return {name: sums[name] for name in cell.params}, dxs, ds

    return ys, s_T, backward


def reference(
    xp: Namespace, cell: Cell, params: Params, xs: Array, s0: State, *, remat: Remat = None, **options: Any
) -> tuple[Array, State, ScanBackward]:
    """The portable path, for arguments already checked: the cell's own scan if it has one, else the loop, which alone
    goes back by segments.
    """

    def seen(xs: Array, mask: Array | None) -> Array:
        """What pads a sequence may be anything: a NaN there, times an error of zero, would be NaN."""
        return xs if mask is None else xp.where(xp.reshape(mask, (*mask.shape, 1)), xs, xp.zeros_like(xs))

    if remat is not None:
        given = {name: options[name] for name in ("mask", "resets", "data", "reverse")}
        always = {"reverse": options["reverse"], "record": False}
        return recomputed(
            lambda xs, s0, **part: unroll(xp, cell, params, seen(xs, part["mask"]), s0, **part, **always),
            *(cell, xs, s0, remat),
            **given,
        )
    xs = seen(xs, options["mask"])
    result: Any = cell.scan(xp, params, xs, s0, **options)
    loop = partial(unroll, xp, cell, params, xs, s0, **options)
    return loop() if result is NotImplemented else decaying(_guarded(cell, xs, options["reverse"], *result), loop)


def _guarded(cell: Cell, xs: Array, reverse: bool, ys: Array, s_T: State, back: Any) -> tuple[Array, State, Any]:
    """What a cell's own scan gave, read-only; its backward gets checked arguments, as the scan did, and a window."""
    sizes = steps, _ = xs.shape[-3:-1]

    def backward(
        dys: Array | None = None, ds_T: State | None = None, window: Window | None = None
    ) -> tuple[dict[str, Array], Array, State]:
        chosen = check_window(Window(0, 0, steps) if window is None else window, steps, reverse)
        check_cotangents(cell, sizes, dys, ds_T, s_T[0])
        gave: tuple[dict[str, Array], Array, State] = back(dys, ds_T, chosen)
        return gave

    return freeze(ys), tuple(freeze(z) for z in s_T), back and wraps(back)(backward)


def decaying(result: Any, slow: Callable[[], Any]) -> tuple[Array, State, ScanBackward]:
    """A faster scan's result, which need not know of a decay: a window with one goes back through the slow path."""
    ys, s_T, back = result
    if not back:  # nothing was kept
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
