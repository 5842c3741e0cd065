"""dL_t/dv_s by tangents: for a forward through which complex steps do not go, and no stencil leads across its kinks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rnnbp.backends import Backend
from rnnbp.checking.lags.numeric import origins, role, used
from rnnbp.checking.lags.probes import Probes
from rnnbp.checking.methods.numeric import MEMORY, MOST_COPIES
from rnnbp.checking.methods.tangents.dual import Dual
from rnnbp.checking.methods.tangents.method import slopes_of
from rnnbp.checking.methods.tangents.nodes import Input
from rnnbp.checking.methods.tangents.space import DualSpace
from rnnbp.checking.methods.tangents.tape import Tape, tape
from rnnbp.checking.subjects.problems import Problem, tensor_names
from rnnbp.numerics import HostArray
from rnnbp.truncation import Window
from rnnbp.unrolling import unroll


def tangent_blocks(
    problem: Problem, backend: Backend, name: str, *, windows: Sequence[Window], probes: Probes, memory: int = MEMORY
) -> HostArray:
    """What `numeric_blocks` gives, (T + 1, S, *shape) or (T + 1, S, K) along probes.

    The forward is recorded once, with a variable of its own for the tensor at each step that uses it.
    """
    losses, places = _recorded(problem, backend, name)
    count, work = probes.count, problem.xs.shape[1] * max(1, *(int(np.prod(z.shape[1:])) for z in problem.s0))
    copies = max(1, min(MOST_COPIES, count, memory // (16 * (int(np.prod(probes.shape)) + work * len(problem.xs)))))
    found = np.zeros((len(losses), len(places), count))
    start = origins(windows, len(problem.xs))
    for t, loss in enumerate(losses):
        for s, place in enumerate(places):
            own = tape(loss.node, place) if s >= start[t] and loss.terms else Tape(())
            for first in range(0, count if own.nodes else 0, copies):
                numbers = np.arange(first, min(first + copies, count))
                seed = backend.asarray(np.asarray(probes.directions(numbers), dtype=np.float64), "float64")
                found[t, s, numbers] = slopes_of(backend, own, seed, len(numbers))
    return found.reshape(len(losses), len(places), *probes.ending)


def _recorded(problem: Problem, backend: Backend, name: str) -> tuple[list[Dual], list[Input]]:
    """L_t for every t and that of the last state; the tensor's place on the tape for each step that uses it."""
    space, kind, cell = DualSpace(backend.xp), role(problem, name), problem.cell

    def move(value: Any) -> Dual:
        return space.constant(backend.asarray(value, "float64"))

    pairs = [space.variable(backend.asarray(value, "float64")) for value in used(problem, name)]
    params = {n: move(v) for n, v in problem.params.items()}
    mask = None if problem.mask is None else backend.asarray(problem.mask)
    s, losses = [move(z) for z in problem.s0], []
    if kind == "state":
        s[tensor_names(cell)[1].index(name)] = pairs[0][0]
    for t, dy in enumerate(problem.dys):
        own: dict[str, Any] = {"mask": None if mask is None else space.constant(mask[t : t + 1, :]), "resets": None}
        own |= {"data": {n: move(d[t : t + 1]) for n, d in problem.data.items()}, "reverse": False}
        p = {**params, name: pairs[t][0]} if kind == "parameter" else params
        xs = pairs[t][0][None, ...] if kind == "inputs" else move(problem.xs[t : t + 1])
        ys, after, _ = unroll(space, cell, p, xs, tuple(s), **own, record=False, keep=False)
        s = list(after)
        losses.append(space.sum(ys * move(dy[None, ...])))
    ends = [space.sum(z * move(d)) for z, d in zip(s, problem.ds_T, strict=True)]
    return [*losses, sum(ends[1:], start=ends[0])], [place for _, place in pairs]
