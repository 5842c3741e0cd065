"""The backward of the buffered scan: a step back into buffers, and the sums over time that are folded up behind it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import array_api_compat.numpy as xp
import numpy as np

from rnnbp.blocks import block_steps, blocks
from rnnbp.fastpath import in_order
from rnnbp.numerics import HostArray
from rnnbp.truncation import Window
from rnnbp_numpy.doors import Sums
from rnnbp_numpy.sequences import Sequence, programs
from rnnbp_numpy.spare import room

Errors: TypeAlias = list[HostArray]  # of the states, (B, H) each
Step: TypeAlias = Callable[[int, Errors, HostArray], Errors]  # t, errors after it, where dz goes -> errors before it


def run(
    q: Sequence, dys: HostArray | None, ds_T: tuple[Any, ...], window: Window, onto: Sums | None, of_all: int
) -> tuple[Sums, HostArray, tuple[HostArray, ...]]:
    """The backward through one window, for cotangents without copies."""
    del of_all  # BLAS shares a block out by what it is
    (steps, batch, _), n, dtype = q.xs.shape, q.cell.hidden_size, q.xs.dtype
    ends = ds_T if window.stop == steps else (None,) * len(ds_T)
    errors = [np.zeros((batch, n), dtype) if d is None else np.array(d, dtype, order="C") for d in ends]
    sums = {name: np.array(onto[name]) if onto else np.zeros((batch, n), dtype) for name in q.cell.elementwise}
    pieces = blocks(window.start, window.stop, block_steps(batch, n))
    folding = Folding.made(q, max(hi - lo for lo, hi in pieces), onto)
    back = _stepper(q, dys, window, [sums[name] for name, d in q.plan.trace.dp.items() if d is not None])
    with np.errstate(over="ignore"):
        for lo, hi in reversed(pieces):
            for t in reversed(range(lo, hi)):
                errors = back(t, errors, folding.dz[t - lo])
            folding.add(lo, hi)
    return sums | folding.sums, folding.dxs, tuple(errors)


def _stepper(q: Sequence, dys: HostArray | None, window: Window, sums: list[HostArray]) -> Step:
    """One step back, with the buffers that all share: the errors before it lie in one of two sets in turn."""
    (_, batch, _), n, dtype, cell, found = q.xs.shape, q.cell.hidden_size, q.xs.dtype, q.cell, q.plan.trace
    code, ut = programs(cell)[1], _feedback(q)

    def room(count: int) -> Errors:
        return [np.zeros((batch, n), dtype) for _ in range(count)]

    sets, parts, through = [room(len(q.states)), room(len(q.states))], room(len(found.dp)), room(len(q.states))
    fixed, rows, wide = code.made((batch, n), dtype), q.rows, len(cell.gates) * n
    names, direct = list(cell.states), list(found.ds.values())
    fed_to = [names.index(name) for name in cell.recurrent] if ut is not None else []
    single = len(fed_to) == 1 and direct[fed_to[0]] is None and not q.drops
    alone = fed_to[0] if single else None  # what flows back is all that it gets
    back = np.empty((batch, len(fed_to) * n), dtype)
    fed = [] if alone is not None else [(k, back[:, j * n : (j + 1) * n]) for j, k in enumerate(fed_to)]
    blank = [k for k, root in enumerate(direct) if root is None and k != alone]
    used = [part for part, d in zip(parts, found.dp.values(), strict=True) if d is not None]
    blocks = len(q.plan.columns)

    def step(t: int, errors: Errors, dz: HostArray) -> Errors:
        if dys is not None and t >= window.lo:
            np.add(errors[0], dys[t], out=errors[0], where=True if q.mask is None else q.mask[t])
        into = errors
        if q.mask is not None:
            for d, all_of_it in zip(through, errors, strict=True):
                np.multiply(all_of_it, q.mask[t], out=d)
            into = through
        before = sets[t % 2]
        entered, new = ([z[t + k] for z in s] for k, s in enumerate((q.entered, q.states)))
        columns = dz.reshape(batch, blocks, n).swapaxes(0, 1)
        known = [*q.kept[t], *entered, *new, *rows, *(d[t] for d in q.data)]
        code.run([*known, *into, *columns, *before, *parts, *fixed])
        for k in blank:
            before[k][...] = 0
        if ut is not None:
            np.matmul(dz[:, dz.shape[1] - wide :], ut, out=before[alone] if alone is not None else back)
        for k, part in fed:
            if names[k] in q.drops:
                np.multiply(part, q.drops[names[k]][t], out=part)
            np.add(before[k], part, out=before[k])
        for d in before if window.decay != 1 else ():
            np.multiply(d, window.decay, out=d)
        if q.mask is not None:
            for d, all_of_it in zip(before, errors, strict=True):
                np.copyto(d, all_of_it, where=~q.mask[t])
        if q.resets is not None:
            for d in before:
                np.copyto(d, 0, where=q.resets[t])
        for total, d in zip(sums, used, strict=True):
            np.add(total, d, out=total)
        return before

    return step


def _feedback(q: Sequence) -> HostArray | None:
    """Uᵀ row by row, its rows in the order of the last blocks of dz, those of gates in `cut` zero; None for nothing."""
    cell, plan = q.cell, q.plan
    if not cell.recurrent or set(cell.cut) >= set(plan.gates):
        return None
    u = np.array(in_order(xp, q.params["U"], plan.gates, plan.of_h).T, order="C")
    for k, gate in enumerate(plan.of_h):
        if gate in cell.cut:
            u[k * cell.hidden_size : (k + 1) * cell.hidden_size] = 0
    return u


@dataclass(frozen=True, eq=False)
class Folding:
    """What is summed over all steps, and dxs, piece by piece of dz."""

    q: Sequence
    dz: HostArray  # (steps, B, CH)
    w: HostArray  # (GH, I), its rows in the order of dz
    dxs: HostArray
    sums: dict[str, HostArray]
    parts: dict[str, HostArray]  # of one piece
    ones: HostArray  # (T, B, 1)

    @classmethod
    def made(cls, q: Sequence, longest: int, onto: Sums | None) -> Folding:
        """With the sums `onto`, or of zero."""
        (_, batch, n_in), cell, dtype = q.xs.shape, q.cell, q.xs.dtype
        wide = len(cell.gates) * cell.hidden_size
        dz = room((longest, batch, len(q.plan.columns) * cell.hidden_size), dtype)
        dxs = room(q.xs.shape, dtype)
        for a in (dz, dxs):  # gates without an error, steps outside of the window
            a.fill(0)
        w = np.ascontiguousarray(in_order(xp, q.params["W"], q.plan.gates, q.plan.of_x).T)
        shapes = {"W": (n_in, wide)} | ({"U": (q.context.shape[2], wide)} if cell.recurrent else {})
        shapes |= {"b": (1, wide)} if cell.bias else {}
        sums = {name: np.array(onto[name]) if onto else np.zeros(shape, dtype) for name, shape in shapes.items()}
        parts = {name: np.empty(shape, dtype) for name, shape in shapes.items()}
        return cls(q, dz, w, dxs, sums, parts, np.ones((*q.xs.shape[:2], 1), dtype))

    def add(self, lo: int, hi: int) -> None:
        """Fold up steps lo … hi − 1, whose errors lie in dz."""
        q, rows = self.q, (hi - lo) * self.q.xs.shape[1]
        flat, wide = self.dz[: hi - lo].reshape(rows, -1), self.w.shape[0]
        of_x, of_h = flat[:, :wide], flat[:, flat.shape[1] - wide :]
        np.matmul(of_x, self.w, out=self.dxs[lo:hi].reshape(rows, -1))
        given = {"W": (q.xs, of_x), "U": (q.context, of_h), "b": (self.ones, of_x)}
        for name, total in self.sums.items():
            a, errors = given[name]
            np.matmul(a[lo:hi].reshape(rows, -1).T, errors, out=self.parts[name])
            np.add(total, self.parts[name], out=total)
