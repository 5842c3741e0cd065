"""The scan of a cell as `jax.lax.scan`, forward and backward: compiled once, whatever the number of steps.

No backward can leave a `lax.scan` as a closure. The forward keeps the state that each step starts from; the backward
takes each step once more from there, and calls the backward that this step returns.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from rnnbp.cellbase import Cell, Params, StartBackward, State
from rnnbp.interruptions import Interruptions
from rnnbp.numerics import Array, fold
from rnnbp.stepping import Stepper, stepper
from rnnbp.truncation import Window


class Given(NamedTuple):
    """The arguments of a scan, but for its direction."""

    params: Params
    xs: Array  # (T, B, I)
    s0: State | None
    mask: Array | None
    resets: Array | None
    data: Params | None


class Steps(NamedTuple):
    """What all steps share, both ways."""

    stepper: Stepper
    between: Interruptions
    first: State
    start_back: StartBackward


def forward(cell: Cell, reverse: bool, given: Given) -> tuple[Array, State, Any]:
    """Ys (T, B, O), the last state, and what the backward needs besides `given`."""
    found = _own(cell, reverse, given, keep=False)
    if found is not NotImplemented:
        return (*found[:2], None)
    steps, between, first, _ = _prepared(cell, given)

    def step(s: State, t: Array) -> tuple[State, tuple[Array, State]]:
        entered = between.enter(t, s)
        y, s1 = between.leave(t, entered, steps.forward(t, entered)[0])
        return s1, (y, entered)

    last, (ys, entered) = jax.lax.scan(step, first, _times(given), reverse=reverse)
    return ys, last, entered


def backward(
    cell: Cell, reverse: bool, given: Given, entered: Any, dys: Array | None, ds_T: tuple[Array | None, ...]
) -> tuple[dict[str, Array], Array, State]:
    """Dparams, dxs and ds0, from what `forward` kept; None stands for zero."""
    prepared = _prepared(cell, given)
    if entered is None:
        way_back = _own(cell, reverse, given, keep=True)[2]
        dparams, dxs, ds = way_back(dys, ds_T, Window(0, 0, given.xs.shape[0]))
    else:
        dparams, dxs, ds = _back(cell, reverse, given, prepared, entered, dys, ds_T)
    if cell.starting and given.s0 is None:
        dparams = _sum(dparams, prepared.start_back(ds))
    missing = {n: jnp.zeros_like(given.params[n]) for n in cell.params if n not in dparams}
    return {n: (dparams | missing)[n] for n in cell.params}, dxs, ds


def _back(
    cell: Cell,
    reverse: bool,
    given: Given,
    prepared: Steps,
    entered: State,
    dys: Array | None,
    ds_T: tuple[Array | None, ...],
) -> tuple[dict[str, Array], Array, State]:
    """The loop back through all steps, each from the state that it started from."""
    steps, between, first, start_back = prepared
    steps.prepare()

    def step_back(ds: State, now: tuple[Array, State]) -> tuple[State, Any, dict[str, Array]]:
        t, before = now
        if dys is not None:
            ds = (ds[0] + between.output_backward(t, dys[t, :, :]), *ds[1:])
        through, around = between.leave_backward(t, ds)
        kept, dp, ds = steps.forward(t, before)[1](through)
        if around is not None:
            ds = tuple(a + b for a, b in zip(ds, around, strict=True))
        starts = start_back(between.stopped(t, ds)) if cell.starting and given.resets is not None else {}
        return between.enter_backward(t, ds), kept, _sum(_sum({}, dp), starts)

    def body(carry: tuple[State, dict[str, Array]], now: Any) -> Any:
        ds, kept, dp = step_back(carry[0], now)
        return (ds, _sum(carry[1], dp)), kept

    ds = tuple(jnp.zeros_like(z) if d is None else d for d, z in zip(ds_T, first, strict=True))
    every = (_times(given), entered)
    shapes = jax.eval_shape(step_back, ds, jax.tree.map(lambda a: a[0], every))[2]
    zero = {name: jnp.zeros(a.shape, a.dtype) for name, a in shapes.items()}
    (ds, sums), kept = jax.lax.scan(body, (ds, zero), every, reverse=not reverse)
    rows = jax.tree.map(lambda a: fold(jnp, a), kept)  # (TB, N): to `collect` one step of TB sequences
    more, dxs = steps.collect(0, given.xs.shape[0], [rows])
    return steps.reduced(_sum(sums, more)), jnp.reshape(dxs, given.xs.shape), ds


def _prepared(cell: Cell, given: Given) -> Steps:
    """What the loops need: all input products among it, and the state that the first step starts from."""
    params, _, s0, mask, resets, data = given
    xs = _seen(given)
    begun, start_back = cell.start(jnp, params, xs.shape[1], xs)
    trailing = tuple(1 + len(shape) for shape in cell.states.values())
    steps = stepper(jnp, cell, params, xs, data, None)
    steps.ahead(0, xs.shape[0])
    return Steps(steps, Interruptions(jnp, mask, resets, begun, trailing), begun if s0 is None else s0, start_back)


def _own(cell: Cell, reverse: bool, given: Given, keep: bool) -> Any:
    """What the cell's own scan gives, or NotImplemented. Its backward cannot be kept, so it runs anew for that."""
    params, xs, s0, mask, resets, data = given
    begun = cell.start(jnp, params, xs.shape[1], xs)[0] if s0 is None else s0
    options = {"mask": mask, "resets": resets, "data": data, "reverse": reverse, "record": False, "keep": keep}
    return cell.scan(jnp, params, _seen(given), begun, **options)


def _seen(given: Given) -> Array:
    """Xs, with zero where it is masked: what pads a sequence may be anything, NaN too."""
    mask, xs = given.mask, given.xs
    return xs if mask is None else jnp.where(mask[:, :, None], xs, 0)


def _times(given: Given) -> Array:
    return jnp.arange(given.xs.shape[0])


def _sum(one: Mapping[str, Array], two: Mapping[str, Any]) -> dict[str, Array]:
    """Two sets of gradients added; None, and what is missing, stands for zero."""
    return {**one, **{n: one[n] + d if n in one else d for n, d in two.items() if d is not None}}
