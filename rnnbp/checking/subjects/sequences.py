"""A cell over a sequence as a subject of a check."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from rnnbp.backends import Backend
from rnnbp.cellbase import Cell, State
from rnnbp.checking.operands.arithmetic import Arithmetic, Loss, plain
from rnnbp.checking.subjects.decayed import defining
from rnnbp.checking.subjects.problems import Problem, tensor_names
from rnnbp.checking.subjects.subject import Subject, Tensors, inner, truncated
from rnnbp.checking.verdicts import Setting
from rnnbp.numerics import Array
from rnnbp.scanning import scan
from rnnbp.truncation import Window
from rnnbp.unrolling import unroll


def mask_is_refused(problem: Problem, how: Setting) -> bool:
    """Whether the cell's or the backend's own scan takes the problem without its mask, and not with it."""
    cell, backend = problem.cell, how.backend
    params = {n: backend.asarray(v, how.dtype) for n, v in problem.params.items()}
    xs, s0 = backend.asarray(problem.xs, how.dtype), tuple(backend.asarray(z, how.dtype) for z in problem.s0)
    data = {n: backend.asarray(d, how.dtype) for n, d in problem.data.items()}
    rest: dict[str, Any] = {"resets": None, "data": data, "reverse": False, "record": False, "keep": False}

    def declined(mask: Array | None) -> list[bool]:
        own = cell.scan(backend.xp, params, xs, s0, mask=mask, **rest)
        fast = backend.scan(cell, params, xs, s0, mask=mask, **rest)
        return [result is NotImplemented for result in (own, fast)]

    return problem.mask is not None and declined(backend.asarray(problem.mask)) != declined(None)


def sequence_subject(name: str, problem: Problem, windows: Sequence[Window], how: Setting) -> Subject:
    """A cell over a sequence, with the scalar Σ ys∘dys + Σ s_T∘ds_T and its backward summed over the windows.

    The loss runs the plain loop over time, whatever path `scan` takes: a faster scan, a cell's own or a backend's, is
    held to it. Where the windows decay, it is the loop of the `Decayed` cell.
    """
    cell, backend = problem.cell, how.backend
    claimed = defining(cell, windows)
    params = tuple(cell.params)
    xs_name, s0_names = tensor_names(cell)
    tensors = {**problem.params, xs_name: problem.xs, **dict(zip(s0_names, problem.s0, strict=True))}

    def pick(given: Tensors) -> tuple[dict[str, Array], Array, State]:
        return {n: given[n] for n in params}, given[xs_name], tuple(given[n] for n in s0_names)

    def constants(where: Arithmetic, dtype: str) -> tuple[Array | None, dict[str, Array], Array, State]:
        mask = None if problem.mask is None else where.constant(problem.mask)
        data = {n: where.constant(d, dtype) for n, d in problem.data.items()}
        return mask, data, where.constant(problem.dys, dtype), tuple(where.constant(d, dtype) for d in problem.ds_T)

    def loss(where: Arithmetic) -> Loss:
        xp = where.xp
        mask, data, dys, ds_T = constants(where, "float64")

        def segment(given: Tensors, start: int, stop: int, s: State | None) -> tuple[Array, State]:
            p, xs, s0 = pick(given)
            own: dict[str, Any] = {"mask": None if mask is None else mask[start:stop, :], "resets": None}
            own |= {"data": {n: d[start:stop, ...] for n, d in data.items()}, "reverse": False, "record": False}
            return unroll(xp, claimed, p, xs[..., start:stop, :, :], s or s0, keep=False, **own)[:2]

        forward = truncated(xp, segment, windows, {n: where.constant(v, "float64") for n, v in tensors.items()})

        def of(given: Tensors) -> Array:
            ys, s_T = forward(given)
            return inner(xp, (ys, *s_T), (dys, *ds_T))

        return of

    def gradients(given: Tensors) -> Tensors:
        p, xs, s0 = pick(given)
        mask, data, dys, ds_T = constants(plain(backend), how.dtype)
        _, _, backward = scan(cell, p, xs, s0, mask=mask, data=data, backend=backend)
        total: dict[str, Array] = {}
        for window in windows:
            dp, dxs, ds = backward(dys, ds_T, window)
            found = {**dp, xs_name: dxs} | (dict(zip(s0_names, ds, strict=True)) if window.start == 0 else {})
            total |= {n: total[n] + d if n in total else d for n, d in found.items()}
        return total

    def exchange(other: Cell, where: Backend) -> Subject:
        own = replace(how, backend=where, dtype="float64")
        return sequence_subject(name, replace(problem, cell=other), windows, own)

    return Subject(
        name,
        tensors,
        loss,
        gradients,
        padded=problem.mask is not None,
        blocks=cell.blocks,
        work=problem.xs.shape[0] * problem.xs.shape[1] * problem.work,
        problem=replace(problem, cell=claimed),
        windows=tuple(windows),
        cell=cell,
        exchange=exchange,
    )
