"""One step of a cell, by itself: what the loop over time is built of.

A wrong step is a bug of the cell; a right step in a wrong sequence a bug of the loop.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from rnnbp.backends import Backend
from rnnbp.cellbase import Cell, State
from rnnbp.checking.operands.arithmetic import Arithmetic, Loss, plain
from rnnbp.checking.subjects.problems import Problem, tensor_names
from rnnbp.checking.subjects.subject import Subject, Tensors, inner
from rnnbp.checking.verdicts import Setting
from rnnbp.numerics import Array, broadcast


def step_subject(name: str, problem: Problem, how: Setting) -> Subject:
    """The first step of a problem through `cell.step`, with the scalar Σ s'∘ds' and the step's own backward.

    The cotangents of its states are those of the last states. What a backward gives as None, or leaves out, is zero.
    """
    cell, backend = problem.cell, how.backend
    params = tuple(cell.params)
    x_name, s_names = tensor_names(cell)
    x, data = problem.xs[0], {n: d[0] for n, d in problem.data.items()}
    tensors = {**problem.params, x_name: x, **dict(zip(s_names, problem.s0, strict=True))}

    def pick(given: Tensors) -> tuple[dict[str, Array], Array, State]:
        return {n: given[n] for n in params}, given[x_name], tuple(given[n] for n in s_names)

    def loss(where: Arithmetic) -> Loss:
        xp, e = where.xp, {n: where.constant(d, "float64") for n, d in data.items()}
        weights = tuple(where.constant(d, "float64") for d in problem.ds_T)

        def of(given: Tensors) -> Array:
            p, x, s = pick(given)
            lead = np.broadcast_shapes(*(a.shape[: a.ndim - tensors[n].ndim] for n, a in given.items()))
            dtype = xp.result_type(*given.values())
            s = tuple(broadcast(xp, xp.astype(z, dtype), lead, z0.ndim) for z, z0 in zip(s, problem.s0, strict=True))
            s1, _ = cell.step(xp, p, x, s, e)
            return inner(xp, s1, weights)

        return of

    def gradients(given: Tensors) -> Tensors:
        (p, x, s), here = pick(given), plain(backend)
        e = {n: here.constant(d, how.dtype) for n, d in data.items()}
        _, backward = cell.step(backend.xp, p, x, s, e)
        dp, dx, ds = backward(tuple(here.constant(d, how.dtype) for d in problem.ds_T))
        found: dict[str, Any] = {**dp, x_name: dx, **dict(zip(s_names, ds, strict=True))}
        return {n: backend.xp.zeros_like(given[n]) if found.get(n) is None else found[n] for n in tensors}

    def exchange(other: Cell, where: Backend) -> Subject:
        return step_subject(name, replace(problem, cell=other), replace(how, backend=where, dtype="float64"))

    work = x.shape[0] * problem.work
    return Subject(name, tensors, loss, gradients, work, level="step", blocks=cell.blocks, cell=cell, exchange=exchange)
