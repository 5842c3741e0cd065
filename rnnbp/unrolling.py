"""The plain loop over time: the reference that every faster scan must agree with."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from array_api_compat import device

from rnnbp.cellbase import Cell, Params, State
from rnnbp.numerics import Array, Namespace, broadcast, freeze
from rnnbp.recording import Record
from rnnbp.stepping import Kept, StepBack, stepper
from rnnbp.truncation import Window
from rnnbp.validation import check_cotangents, check_window

ScanBackward: TypeAlias = Callable[..., tuple[dict[str, Array], Array, State]]


def unroll(
    xp: Namespace,
    cell: Cell,
    params: Params,
    xs: Array,
    s0: State,
    *,
    mask: Array | None,
    resets: Array | None,
    data: Params | None,
    reverse: bool,
    record: bool,
    keep: bool,
) -> tuple[Array, State, ScanBackward]:
    """`rnnbp.scan` for arguments already checked; with keep=False nothing is kept and there is no backward."""
    time_steps, batch = xs.shape[-3:-1]
    history = Record(xp, time_steps) if record else None
    steps = stepper(xp, cell, params, xs, data, history)
    trailing = [1 + len(shape) for shape in cell.states.values()]
    order = list(reversed(range(time_steps))) if reverse else list(range(time_steps))

    def spread(s: State, lead: tuple[int, ...]) -> State:
        """Every state with the leading axes of all that is evaluated, so that copies start together."""
        return tuple(broadcast(xp, z, lead, n) for z, n in zip(s, trailing, strict=True))

    def choose(flag: Array, yes: State, no: State) -> State:
        """Per sequence, by flag (B,): the one state or the other."""
        shaped = [xp.reshape(flag, (batch, *[1] * (n - 1))) for n in trailing]
        return tuple(xp.where(f, a, b) for f, a, b in zip(shaped, yes, no, strict=True))

    # copies may sit on any argument, complex numbers too: the state takes the leading axes and the dtype of all
    arrays = [xs, *params.values(), *s0, *(data or {}).values()]
    inner = [3, *(len(spec.shape) for spec in (cell.params[n] for n in params)), *trailing]
    inner += [2 + len(cell.data[n]) for n in data or {}]
    lead = np.broadcast_shapes(*(a.shape[: a.ndim - n] for a, n in zip(arrays, inner, strict=True)))
    dtype = xp.result_type(*arrays)
    s = spread(tuple(xp.astype(z, dtype, copy=False) for z in s0), lead)
    fresh = spread(cell.initial_state(xp, batch, s[0]), lead) if resets is not None else s

    ys: dict[int, Array] = {}
    backs: dict[int, StepBack] = {}
    for t in order:
        if resets is not None:
            s = choose(resets[t, :], fresh, s)
        s1, back = steps.forward(t, s)
        if mask is None:
            ys[t] = s1[0]
        else:
            ys[t] = xp.where(xp.reshape(mask[t, :], (batch, 1)), s1[0], xp.zeros_like(s1[0]))
            s1 = choose(mask[t, :], s1, s)
        s = s1
        if history is not None:  # after the step's own names: a cell may call the state it started from h, too
            for name, z, n in zip(cell.states, s, trailing, strict=True):
                history.note(t, name, z, n)
        if keep:
            backs[t] = back

    def backward(
        dys: Array | None = None, ds_T: State | None = None, window: Window | None = None
    ) -> tuple[dict[str, Array], Array, State]:
        start, lo, stop = window = window or Window(0, 0, time_steps)
        check_window(window, time_steps, reverse)
        check_cotangents(cell, (time_steps, batch), dys, ds_T, s[0])
        leads = [z.shape[: z.ndim - n] for z, n in zip(ds_T or (), trailing, strict=False)]
        wide = np.broadcast_shapes(lead, *leads, *([dys.shape[:-3]] if dys is not None else []))
        if history is not None:
            history.forget_errors()
        zero = spread(tuple(xp.zeros_like(z) for z in s), wide)
        ds = spread(ds_T, wide) if ds_T is not None and stop == time_steps else zero
        kept: dict[int, Kept] = {}
        dp: dict[str, Array] = {}
        for t in reversed(order[start:stop]):
            still = zero
            if dys is not None and t >= lo:
                dy = dys[..., t, :, :]
                dy = dy if mask is None else xp.where(xp.reshape(mask[t, :], (batch, 1)), dy, xp.zeros_like(dy))
                ds = (ds[0] + dy, *ds[1:])
            if history is not None:
                for name, d, n in zip(cell.states, ds, trailing, strict=True):
                    history.note_error(t, f"d{name}", d, n)
            if mask is not None:
                ds, still = choose(mask[t, :], ds, zero), choose(mask[t, :], zero, ds)
            kept[t], dp_t, ds = backs[t](ds)
            if mask is not None:
                ds = tuple(a + b for a, b in zip(ds, still, strict=True))
            if resets is not None:
                ds = choose(resets[t, :], zero, ds)
            for name, d in dp_t.items():
                if d is not None:
                    dp[name] = dp[name] + d if name in dp else d
        grads, dxs = steps.collect(start, stop, [kept[t] for t in range(start, stop)], dp)
        for name, spec in cell.params.items():
            if name not in grads:
                grads[name] = xp.zeros((*wide, *spec.shape), dtype=dtype, device=device(s[0]))
        return {name: grads[name] for name in cell.params}, _padded(xp, dxs, start, time_steps), ds

    if history is not None:
        backward.record = history  # type: ignore[attr-defined]
    outputs = xp.stack([ys[t] for t in range(time_steps)], axis=-3)
    return freeze(outputs), tuple(freeze(z) for z in s), backward


def _padded(xp: Namespace, dxs: Array, start: int, time_steps: int) -> Array:
    """The input errors of a window, zero before and after it."""
    after = time_steps - start - dxs.shape[-3]
    if not start and not after:
        return dxs
    blank = xp.zeros_like(dxs[..., :1, :, :])
    return xp.concat([blank] * start + [dxs] + [blank] * after, axis=-3)
