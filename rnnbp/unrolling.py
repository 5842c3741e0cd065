"""The plain loop over time: the reference that every faster scan must agree with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

import numpy as np
from array_api_compat import device

from rnnbp.blocks import Part, block_steps, blocks
from rnnbp.cellbase import Cell, Params, State
from rnnbp.interruptions import Interruptions
from rnnbp.numerics import Array, Namespace, broadcast, freeze
from rnnbp.recording import Record
from rnnbp.stepping import Kept, StepBack, stepper
from rnnbp.truncation import Window
from rnnbp.validation import check_cotangents, check_window

WHOLE = Part()
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
    if keep:
        steps.prepare()
    trailing = tuple(1 + len(shape) for shape in cell.states.values())
    order = list(reversed(range(time_steps))) if reverse else list(range(time_steps))
    per_block = block_steps(batch, cell.hidden_size)
    lead, dtype = common(xp, cell, params, xs, s0, data)

    def spread(s: State, lead: tuple[int, ...]) -> State:
        """Every state with the leading axes of all that is evaluated, so that copies start together."""
        return tuple(broadcast(xp, z, lead, n) for z, n in zip(s, trailing, strict=True))

    def span(first: int, last: int) -> tuple[int, int]:
        """The steps that are taken as first, …, last−1, in time."""
        return (time_steps - last, time_steps - first) if reverse else (first, last)

    s = spread(tuple(xp.astype(z, dtype, copy=False) for z in s0), lead)
    begun, start_back = cell.start(xp, params, batch, s[0]) if resets is not None else (s, None)
    fresh = spread(tuple(xp.astype(z, dtype, copy=False) for z in begun), lead)
    between = Interruptions(xp, mask, resets, fresh, trailing)
    ys: dict[int, Array] = {}
    backs: dict[int, StepBack] = {}
    for block in blocks(0, time_steps, per_block):
        steps.ahead(*span(*block))
        for t in order[slice(*block)]:
            entered = between.enter(t, s)
            s1, back = steps.forward(t, entered)
            ys[t], s = between.leave(t, entered, s1)
            if history is not None:  # after the step's own names: a cell may call the state it started from h, too
                for name, z, n in zip(cell.states, s, trailing, strict=True):
                    history.note(t, name, z, n)
            if keep:
                backs[t] = back

    def backward(
        dys: Array | None = None, ds_T: State | None = None, window: Window | None = None, part: Part = WHOLE
    ) -> tuple[dict[str, Array], Array, State]:
        whole = Window(0, 0, time_steps)
        start, lo, stop = chosen = check_window(whole if window is None else window, time_steps, reverse)
        check_cotangents(cell, (time_steps, batch), dys, ds_T, s[0])
        zeros = tuple(xp.zeros_like(z) for z in s)
        of_last = zeros if ds_T is None else tuple(z if d is None else d for d, z in zip(ds_T, zeros, strict=True))
        wide = np.broadcast_shapes(lead, *leads(trailing, of_last), *leads((3,), () if dys is None else (dys,)))
        ds = spread(of_last if stop == time_steps else zeros, wide)
        if history is not None:
            history.forget_errors()
        sums: dict[str, Array] = dict(part.onto or {})

        def add(more: Mapping[str, Any]) -> None:
            sums.update({name: sums[name] + d if name in sums else d for name, d in more.items() if d is not None})

        def step_back(t: int, ds: State) -> tuple[Kept, State]:
            if dys is not None and t >= lo:
                ds = (ds[0] + between.output_backward(t, dys[..., t, :, :]), *ds[1:])
            if history is not None:
                for name, d, n in zip(cell.states, ds, trailing, strict=True):
                    history.note_error(t, f"d{name}", d, n)
            through, around = between.leave_backward(t, ds)
            left, dp, ds = backs[t](through)
            add(dp)
            if chosen.decay != 1:
                ds = tuple(chosen.decay * d for d in ds)
            if around is not None:
                ds = tuple(a + b for a, b in zip(ds, around, strict=True))
            if start_back is not None and cell.starting:
                add(start_back(between.stopped(t, ds)))
            return left, between.enter_backward(t, ds)

        found: list[Array] = []
        for block in reversed(blocks(start, stop, per_block)):
            kept: dict[int, Kept] = {}
            for t in reversed(order[slice(*block)]):
                kept[t], ds = step_back(t, ds)
            begin, end = span(*block)
            more, dx = steps.collect(begin, end, [kept[t] for t in range(begin, end)])
            add(more)
            found.append(dx)
        dxs = joined(xp, found if reverse else found[::-1], start, time_steps - stop)
        if not part.last:
            return sums, dxs, ds
        grads = steps.reduced(sums)
        for name, spec in cell.params.items():
            if name not in grads:
                grads[name] = xp.zeros((*wide, *spec.shape), dtype=dtype, device=device(s[0]))
        return {name: grads[name] for name in cell.params}, dxs, ds

    if history is not None:
        backward.record = history  # type: ignore[attr-defined]
    outputs = xp.stack([ys[t] for t in range(time_steps)], axis=-3)
    return freeze(outputs), tuple(freeze(z) for z in s), backward


def leads(trailing: Iterable[int], arrays: Iterable[Array]) -> list[tuple[int, ...]]:
    """The leading axes of arrays with so many trailing ones."""
    return [a.shape[: a.ndim - n] for n, a in zip(trailing, arrays, strict=False)]


def common(
    xp: Namespace, cell: Cell, params: Params, xs: Array, s0: State, data: Params | None
) -> tuple[tuple[int, ...], Any]:
    """The leading axes and the dtype of all arguments: copies may sit on any of them, complex numbers too."""
    given = data or {}
    trailing = [3, *(len(cell.params[n].shape) for n in params), *(1 + len(shape) for shape in cell.states.values())]
    trailing += [2 + len(cell.data[n]) for n in given]
    arrays = [xs, *params.values(), *s0, *given.values()]
    return np.broadcast_shapes(*leads(trailing, arrays)), xp.result_type(*arrays)


def joined(xp: Namespace, parts: list[Array], before: int = 0, after: int = 0) -> Array:
    """Parts (..., k, B, N) one behind the other, and zeros for so many steps before and after them."""
    lead = np.broadcast_shapes(*leads([3] * len(parts), parts))  # a block of steps that send nothing to xs has none
    parts = [broadcast(xp, dx, lead, 3) for dx in parts]
    blank = xp.zeros_like(parts[0][..., :1, :, :])
    parts = [*[blank] * before, *parts, *[blank] * after]
    return parts[0] if len(parts) == 1 else xp.concat(parts, axis=-3)
