"""dL_t/dv_s from the hand-written backward alone, through the path that `scan` takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from rnnbp.cellbase import State
from rnnbp.checking.lags.numeric import origins, role, tensors, used
from rnnbp.checking.lags.probes import Probes
from rnnbp.checking.subjects.problems import Problem
from rnnbp.checking.verdicts import Setting
from rnnbp.numerics import Array, HostArray
from rnnbp.scanning import scan
from rnnbp.truncation import Window

# (row, window) -> the gradients of that row's loss along the probes, by name; row None: of all rows at once
Gradients: TypeAlias = Callable[[int | None, Window], dict[str, HostArray]]


@dataclass(frozen=True, eq=False)
class Blocks:
    """One tensor's blocks (T + 1, S, K), and all that is needed to judge them."""

    values: HostArray
    scales: dict[str, HostArray]  # group -> (T + 1, S): the largest norm whose rounding a block carries
    gradient: HostArray  # of all errors at once, one backward for each window: (K) of a parameter, else (S, K)


def analytic_blocks(
    problem: Problem,
    windows: Sequence[Window],
    how: Setting,
    probes: Mapping[str, Probes],
    advance: Callable[[], None] = lambda: None,
) -> dict[str, Blocks]:
    """The blocks of every tensor in `probes` whose gradient has the tensor's shape.

    With G(s) the gradient of L_t through Window(s, ·, stop), the errors of all other steps being zero,

        dL_t/dW_s = G(s) − G(s+1)      so that a row adds up to G(start), its part of the gradient
        dL_t/dx_s                      the backward's own dxs at s, from the whole window of t
        dL_t/ds_0                      its ds_start, where the window begins with the sequence

    `advance` is called after each row.
    """
    gradients, time_steps = _gradients(problem, how, probes), problem.xs.shape[0]
    start, last = origins(windows, time_steps), max(windows, key=lambda window: window.stop)
    total: dict[str, HostArray] = {}
    for window in windows:
        for name, g in gradients(None, window).items():
            if window.start == 0 or role(problem, name) != "state":
                total[name] = total[name] + g if name in total else g
    values = {name: np.zeros((time_steps + 1, len(used(problem, name)), probes[name].count)) for name in total}
    scales = {name: {group: np.zeros(v.shape[:2]) for group in probes[name].groups} for name, v in values.items()}
    for t in range(time_steps + 1):
        window = next((w for w in windows if w.lo <= t < w.stop), last)
        span = range(start[t], window.stop)
        through = [gradients(t, Window(s, max(s, window.lo), window.stop, window.decay)) for s in span]
        for name in total:
            groups = probes[name].groups
            if name in problem.params:
                g = np.stack([found[name] for found in through] + [np.zeros_like(total[name])])
                values[name][t, span] = g[:-1] - g[1:]
                for group, of in groups.items():
                    norms = np.linalg.norm(g[:, of], axis=1)
                    scales[name][group][t, span] = np.maximum.accumulate(norms[::-1])[::-1][:-1]
            elif start[t] == 0 or role(problem, name) != "state":
                values[name][t] = through[0][name]
                for group, of in groups.items():
                    scales[name][group][t] = np.linalg.norm(through[0][name][:, of], axis=1)
        advance()
    return {name: Blocks(values[name], scales[name], total[name]) for name in total}


def _gradients(problem: Problem, how: Setting, probes: Mapping[str, Probes]) -> Gradients:
    """One scan, and its backward for the error of one step, of the last state, or of all."""
    backend, cell, time_steps = how.backend, problem.cell, problem.xs.shape[0]

    def move(value: HostArray) -> Array:
        return backend.asarray(value, how.dtype)

    params = {name: move(value) for name, value in problem.params.items()}
    data = {name: move(value) for name, value in problem.data.items()}
    mask = None if problem.mask is None else backend.asarray(problem.mask)
    s0: State = tuple(map(move, problem.s0))
    _, _, backward = scan(cell, params, move(problem.xs), s0, mask=mask, data=data, backend=backend)
    steps, given = np.arange(time_steps)[:, None, None], tensors(problem)

    def along(name: str, d: Array) -> HostArray:
        host = np.asarray(backend.to_numpy(d), dtype=np.float64)
        if role(problem, name) == "parameter":
            return probes[name].of(host)
        return np.stack([probes[name].of(part) for part in (host if role(problem, name) == "inputs" else [host])])

    def of(row: int | None, window: Window) -> dict[str, HostArray]:
        dys = problem.dys if row is None else np.where(steps == row, problem.dys, 0.0)
        ends = [d if row in (None, time_steps) else np.zeros_like(d) for d in problem.ds_T]
        with np.errstate(all="ignore"):  # what is not finite is told as such, and no warning of a wrong backward
            dparams, dxs, ds = backward(move(dys), tuple(map(move, ends)), window)
        named = dict(zip(given, [*(dparams.get(name) for name in params), dxs, *ds], strict=True))
        fitting = {n: d for n, d in named.items() if d is not None and tuple(d.shape) == given[n].shape}
        return {name: along(name, d) for name, d in fitting.items() if name in probes}

    return of
