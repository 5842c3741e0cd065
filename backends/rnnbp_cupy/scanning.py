"""The scan of a pointwise cell in generated kernels: per step one matrix product and one kernel, forward and backward.

x W for all steps is one product before the loop, the gradients of the weights are one product each after it. What the
forward leaves is only read by the backward, which writes to arrays of its own: it can be called again.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from rnnbp.cellbase import Params, State
from rnnbp.fastpath import blanked
from rnnbp.numerics import Array, freeze
from rnnbp_cupy.devices import Device
from rnnbp_cupy.gradients import backward_of
from rnnbp_cupy.problems import Left, Problem, problem_of


def scan(device: Device, cell: Any, params: Params, xs: Array, s0: State, **options: Any) -> Any:
    """`Backend.scan`, for arguments that have been checked; NotImplemented where the portable path is to run."""
    return blanked(partial(_scan, device))(cell, params, xs, s0, **options)


def _scan(device: Device, *arguments: Any, **options: Any) -> Any:
    problem = problem_of(device, *arguments, **options)
    if problem is None:
        return NotImplemented
    ys, s_T, left = _forward(problem)
    return freeze(ys), tuple(freeze(z) for z in s_T), backward_of(problem, left, s_T) if problem.keep else None


def _forward(q: Problem) -> tuple[Array, State, Left]:
    """Outputs, last states, and what the backward needs."""
    steps, batch, n_in, n = q.sizes
    xp, plan, dtype = q.xp, q.kernels.layout, q.xs.dtype
    wide = len(plan.gates) * n
    left = _room(q)
    q.device.product(q.xs.reshape(1, steps * batch, n_in), q.params["W"], left.xw.reshape(steps * batch, wide))(0)
    ys = xp.empty((steps, batch, n), dtype=dtype)
    arrays = {**q.given, "xW": left.xw, "extra": left.extra, "ys": ys, "hU": None, "context": None}
    arrays |= {f"states {name}": z for name, z in left.states.items()}
    feed = None
    if left.context is not None:
        arrays["hU"] = xp.empty((batch, wide), dtype=q.real)
        arrays["context"] = None if any(left.context is z for z in left.states.values()) else left.context
        feed = q.device.product(left.context, q.params["U"], arrays["hU"])
    step = q.launcher("forward", arrays)
    for k in range(steps):
        enter, leave = q.slot(k), q.slot(k + 1)
        if feed is not None:
            feed(enter)
        step(q.time(k), enter, leave, q.time(k + 1), int(q.keep))
    return ys, tuple(z[q.slot(steps)].astype(dtype) for z in left.states.values()), left


def _room(q: Problem) -> Left:
    """The arrays that the forward fills, the first state in its place."""
    steps, batch, _, n = q.sizes
    xp, cell, plan, dtype = q.xp, q.cell, q.kernels.layout, q.xs.dtype
    slots, first = steps + 1 if q.keep else 2, q.slot(0)
    states = {name: xp.empty((slots, batch, n), dtype=q.real) for name in cell.states}
    for z, given in zip(states.values(), q.s0, strict=True):
        z[first] = given
    context = None
    if len(cell.recurrent) == 1 and q.resets is None and q.real == dtype.name and not cell.dropped:
        context = states[cell.recurrent[0]]  # as it lies
    elif cell.recurrent:
        context = xp.empty((slots, batch, len(cell.recurrent) * n), dtype=dtype)
        for k, name in enumerate(cell.recurrent):
            entered = states[name][first]
            if q.resets is not None:
                entered = xp.where(q.resets[q.time(0)][:, None], q.start[name], entered)
            drop = q.drop(name, 0)
            context[first, :, k * n : (k + 1) * n] = entered if drop is None else entered * drop
    extra = xp.empty((steps, batch, plan.extra, n), dtype=dtype) if plan.extra and q.keep else None
    return Left(xp.empty((steps, batch, len(plan.gates) * n), dtype=dtype), extra, states, context)
