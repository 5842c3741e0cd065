"""The scan of a pointwise cell on NumPy alone: the cell's own operations, in its order, each into a buffer.

Pre-activations, errors and what lies between them take the same few buffers at every step. x W is made some steps ahead
of the loop, the gradients of the weights some steps behind it, where these are in the cache still.
"""

from __future__ import annotations

from typing import Any

import array_api_compat.numpy as xp
import numpy as np

from rnnbp.blocks import block_steps, blocks
from rnnbp.cellbase import Params, State
from rnnbp.fastpath import blanked, layout
from rnnbp.numerics import HostArray
from rnnbp.pointwise import PointwiseCell
from rnnbp_numpy.doors import scan_by
from rnnbp_numpy.folding import run
from rnnbp_numpy.programs import Program
from rnnbp_numpy.sequences import Sequence, programs
from rnnbp_numpy.spare import room


@blanked
def scan(*arguments: Any, **options: Any) -> Any:
    """`Backend.scan`, for arguments that have been checked; NotImplemented where the portable loop is to run."""
    return scan_by(lambda cell, _: programs(cell)[0], _forward, run, *arguments, **options)


def _buffers(
    cell: PointwiseCell,
    params: Params,
    xs: HostArray,
    s0: State,
    mask: HostArray | None,
    resets: HostArray | None,
    data: tuple[HostArray, ...],
    keep: bool,
) -> Sequence:
    """Room for what a forward leaves, with the first states in it."""
    (steps, batch, _), n, dtype, plan = xs.shape, cell.hidden_size, xs.dtype, layout(cell)
    mask, resets = (None if f is None else f[:, :, None] for f in (mask, resets))

    def over(*shape: int) -> HostArray:
        """Room for units over the batch."""
        return room((*shape, batch, n), dtype)

    states = tuple(over(2 if k and not keep else steps + 1) for k in range(len(s0)))
    for z, first in zip(states, s0, strict=True):
        z[0] = first
    entered = states if resets is None else tuple(over(steps if keep else 1) for _ in states)
    width = len(cell.recurrent) * n
    alone = cell.recurrent == tuple(cell.states)[:1] and not cell.dropped
    context = entered[0] if alone else room((steps if keep else 1, batch, width), dtype)
    kept = over(steps if keep else 1, len(plan.kept))
    fresh = () if resets is None else cell.initial_state(xp, batch, xs)
    return Sequence(cell, plan, params, xs, mask, resets, data, fresh, states, entered, context, kept)


def _forward(code: Program, cell: PointwiseCell, *arguments: Any) -> tuple[Sequence, HostArray]:
    """Every step: what it leaves, and ys. The arguments are those of `_buffers`."""
    q = _buffers(cell, *arguments)
    (steps, batch, n_in), n, dtype = q.xs.shape, cell.hidden_size, q.xs.dtype
    pieces = blocks(0, steps, block_steps(batch, n))
    longest = max(hi - lo for lo, hi in pieces)
    ax = room((longest, batch, len(cell.gates) * n), dtype)
    ah = np.empty((batch, len(cell.gates) * n), dtype)
    ys = q.states[0][1:] if q.mask is None else np.zeros((steps, batch, n), dtype)
    pre = np.empty((len(cell.gates), batch, n), dtype)
    fixed, rows = code.made((batch, n), dtype), q.rows

    with np.errstate(over="ignore"):
        for lo, hi in pieces:
            out = ax[: hi - lo].reshape((hi - lo) * batch, -1)
            np.matmul(q.xs[lo:hi].reshape(-1, n_in), q.params["W"], out=out)
            if cell.bias:
                np.add(out, q.params["b"], out=out)
            for t in range(lo, hi):
                entered = _enter(q, t)
                new = [z[(t + 1) % len(z)] for z in q.states]
                operands = _preactivations(q, t, ax[t - lo], ah, pre)
                code.run([*operands, *entered, *rows, *(d[t] for d in q.data), *new, *q.kept[t % len(q.kept)], *fixed])
                if q.mask is not None:
                    np.copyto(ys[t], new[0], where=q.mask[t])
                    for z, before in zip(new, entered, strict=True):
                        np.copyto(z, before, where=~q.mask[t])
    return q, ys


def _enter(q: Sequence, t: int) -> list[HostArray]:
    """The states that step t starts from, side by side where U multiplies several."""
    states = [z[t % len(z)] for z in q.states]
    if q.resets is not None:
        entered = [z[t % len(z)] for z in q.entered]
        for z, before, fresh in zip(entered, states, q.fresh, strict=True):
            np.copyto(z, before)
            np.copyto(z, fresh, where=q.resets[t])
        states = entered
    if q.context is not q.entered[0]:
        names, n = list(q.cell.states), q.cell.hidden_size
        for k, name in enumerate(q.cell.recurrent):
            part, z = q.context[t % len(q.context), :, k * n : (k + 1) * n], states[names.index(name)]
            np.copyto(part, z)
            if name in q.drops:
                np.multiply(part, q.drops[name][t], out=part)
    return states


def _preactivations(q: Sequence, t: int, ax: HostArray, ah: HostArray, pre: HostArray) -> list[HostArray]:
    """The sum x W + b + h U of each gate, or its two parts."""
    gates, cell = len(q.cell.gates), q.cell
    of_x = ax.reshape(len(ax), gates, -1).swapaxes(0, 1)
    if not cell.recurrent:
        return list(of_x)
    np.matmul(q.context[t % len(q.context)], q.params["U"], out=ah)
    of_h = ah.reshape(len(ah), gates, -1).swapaxes(0, 1)
    if not cell.split:
        return list(np.add(of_x, of_h, out=pre))
    operands: list[HostArray] = []
    for gate, x_part, h_part, total in zip(cell.gates, of_x, of_h, pre, strict=True):
        operands += [x_part, h_part] if gate in cell.split else [np.add(x_part, h_part, out=total)]
    return operands
