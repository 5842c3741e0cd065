"""A learned initial state as a subject of a check: sequences that are given none, one of them started anew half way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rnnbp.cellbase import State
from rnnbp.checking.operands.arithmetic import Arithmetic, Loss, plain
from rnnbp.checking.subjects.decayed import defining
from rnnbp.checking.subjects.problems import Problem
from rnnbp.checking.subjects.subject import Subject, Tensors, inner, truncated
from rnnbp.checking.verdicts import Setting
from rnnbp.numerics import Array
from rnnbp.scanning import scan
from rnnbp.truncation import Window
from rnnbp.unrolling import unroll


def start_subject(name: str, problem: Problem, windows: Sequence[Window], how: Setting) -> Subject:
    """The parameters in `cell.starting`, with the scalar Σ ys∘dys + Σ s_T∘ds_T and the backward of scan.

    In a sequence of its own a given state takes the place of the start, so that its gradient would be zero throughout.
    """
    cell, backend = problem.cell, how.backend
    claimed, (time_steps, batch, _) = defining(cell, windows), problem.xs.shape
    tensors = {n: problem.params[n] for n in cell.starting}
    flags = {"resets": np.zeros((time_steps, batch), dtype=bool)}
    flags["resets"][time_steps // 2, 0] = True
    flags |= {} if problem.mask is None else {"mask": problem.mask}

    def constants(where: Arithmetic, dtype: str) -> tuple[dict[str, Any], dict[str, Any], Array, Array, State]:
        """What is not looked at: flags, data and the other parameters, xs, and the cotangents."""
        p = {n: where.constant(v, dtype) for n, v in problem.params.items() if n not in tensors}
        own: dict[str, Any] = {n: where.constant(f) for n, f in flags.items()}
        own["data"] = {n: where.constant(d, dtype) for n, d in problem.data.items()}
        ds_T = tuple(where.constant(d, dtype) for d in problem.ds_T)
        return own, p, where.constant(problem.xs, dtype), where.constant(problem.dys, dtype), ds_T

    def loss(where: Arithmetic) -> Loss:
        xp, (own, fixed, xs, dys, ds_T) = where.xp, constants(where, "float64")

        def segment(given: Tensors, start: int, stop: int, s: State | None) -> tuple[Array, State]:
            p = {n: given[n] if n in tensors else fixed[n] for n in cell.params}
            part: dict[str, Any] = {n: own[n][start:stop, :] if n in own else None for n in ("mask", "resets")}
            part |= {"data": {n: d[start:stop, ...] for n, d in own["data"].items()}, "reverse": False, "record": False}
            s0 = claimed.start(xp, p, batch, xs)[0] if s is None else s
            return unroll(xp, claimed, p, xs[start:stop, ...], s0, keep=False, **part)[:2]

        forward = truncated(xp, segment, windows, {n: where.constant(v, "float64") for n, v in tensors.items()})

        def of(given: Tensors) -> Array:
            ys, s_T = forward(given)
            return inner(xp, (ys, *s_T), (dys, *ds_T))

        return of

    def gradients(given: Tensors) -> Tensors:
        own, fixed, xs, dys, ds_T = constants(plain(backend), how.dtype)
        p = {n: given[n] if n in tensors else fixed[n] for n in cell.params}
        _, _, backward = scan(cell, p, xs, backend=backend, **own)
        found = [backward(dys, ds_T, window)[0] for window in windows]
        return {n: sum(dp[n] for dp in found) for n in tensors}

    work = time_steps * batch * problem.work
    padded = problem.mask is not None
    return Subject(name, tensors, loss, gradients, work, padded, level="start", windows=tuple(windows))
