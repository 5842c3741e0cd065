"""The gradient by lag: how much of it comes from the error of step t and the use of a weight, or a state, at step s."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import array_api_compat.numpy as xp
import numpy as np

from rnnbp.cellbase import State
from rnnbp.errors import UserError
from rnnbp.flow.contributions import Contributions, Parts, contributions
from rnnbp.flow.sums import Norms, Truncated, by_gate, gates, norms, sums_by_lag
from rnnbp.flow.trajectories import Trajectory
from rnnbp.numerics import HostArray


@dataclass(frozen=True, eq=False)
class LagDecomposition:
    """Norms of the parts of dL/dW, L = Σ_t L_t with L_t = Σ ys_t ∘ dys_t, by error met at t and use at s = t − u.

    They are Euclidean, and of all B sequences: dL_t/dW_s is summed over them, dL_t/ds_k has their errors side by side.
    A parameter with `Cell.blocks` has them by gate, too; "" is the whole parameter, and the whole state. Entries with
    s > t are zero, and so are those with u > `lags`, which were not followed: a state has one lag more.
    """

    lags: int
    states: Norms  # state -> ‖dL_t/ds_k‖, (T, T + 1) [t, k]; k as in `Trajectory.states`: before step k
    weights: Mapping[str, Norms]  # parameter -> gate -> ‖dL_t/dW_s‖, (T, T) [t, s]
    sums: Mapping[str, Norms]  # parameter -> gate -> ‖Σ_t dL_t/dW_{t−u}‖, (lags + 1) [u]
    gradient: Mapping[str, HostArray]  # parameter -> Σ_t Σ_s dL_t/dW_s: dL/dW where all lags were followed
    truncated: Truncated


def lag_decomposition(
    path: Trajectory, dys: HostArray, lags: int | None = None, whole: Parts | None = None
) -> LagDecomposition:
    """The parts of the gradient for errors dys (T, B, O), from one way back with the errors of every t side by side.

    With `lags` each error goes through the steps t … t − lags alone: truncated BPTT with a window for every t.
    Default T − 1: all. A pointwise cell's errors of all pre-activations are kept, up to T (lags + 1) B GH numbers, and
    twice as many with `split`; any other cell forms dW_s for all lags of one step at once. Parameters that only the
    start of a sequence reads (`Cell.starting`) have their part in `gradient` alone, and none where s0 is given.
    whole: dL/dW by parameter, to hold truncations to; without it, the sum over the lags that were followed.
    """
    cell, time_steps = path.cell, path.time_steps
    wanted = (*path.xs.shape[:2], cell.output_size)
    if dys.shape != wanted:
        raise UserError(f"dys must have shape (T, B, O), here {wanted}; got {dys.shape}")
    most = time_steps - 1 if lags is None else lags
    if not 0 <= most < time_steps:
        raise UserError(f"lags must lie in 0 … T − 1, here {time_steps - 1}; got {lags}")
    parts = contributions(path, most)
    states = {name: np.zeros((time_steps, time_steps + 1)) for name in ("", *cell.states)}
    weights = {name: {k: np.zeros((time_steps, time_steps)) for k in gates(cell, name)} for name in cell.params}
    for k, ds, found in _back(path, dys, most, parts):
        first = max(k - 1, 0)  # the t of the first error
        d = path.vector(ds)
        for name, table in states.items():
            table[first : first + len(d), k] = norms(d if name == "" else d[..., path.part(name)], (1, 2))
        for name, d in found.items():
            for gate, of_gate in by_gate(cell, name, d).items():
                weights[name][gate][k : k + len(d), k] = of_gate
    sums, gradient, truncated = sums_by_lag(cell, most, parts, whole)
    return LagDecomposition(most, states, weights, sums, gradient | _of_start(path, ds), truncated)


def mean_by_lag(table: HostArray, met: HostArray | None = None) -> HostArray:
    """Norms (T, T) [t, s], or (T, T + 1) [t, k] of states, by lag: the mean over all t that reach so far back.

    Lag 0 is the use at step t and, of the states, the one that step t gave. met (T,), boolean: only those t count, such
    as the ones that have an error; where none of them reaches so far back it is nan.
    """
    time_steps, columns = table.shape
    counted = np.ones(time_steps, dtype=bool) if met is None else met
    found = np.full(columns, np.nan)
    for u in range(columns):
        diagonal = np.diagonal(table, columns - time_steps - u)
        of_t = counted[time_steps - len(diagonal) :]
        if np.any(of_t):
            found[u] = np.mean(diagonal[of_t])
    return found


def _back(path: Trajectory, dys: HostArray, lags: int, parts: Contributions) -> Iterator[tuple[int, State, Parts]]:
    """For k = T … 0 the errors of the state before step k, (n, B, *shape), first that of the smallest t, and what they
    do to the parameters used at step k.
    """
    last = path.time_steps
    ds = tuple(np.zeros((0, *z.shape)) for z in path.states[last])
    found: Parts = {}
    for s in reversed(range(last)):
        met = zip(path.entered(dys[s]), ds, strict=True)
        yield s + 1, (ds := tuple(np.concatenate([d[None], z]) for d, z in met)), found
        ds = tuple(d[: lags + 1] for d in ds)
        left, dp, ds = path.back(s, ds)
        found = parts.add(s, left, dp)
    yield 0, ds, found


def _of_start(path: Trajectory, ds: State) -> dict[str, HostArray]:
    """What errors (n, B, *shape) of the first state do to the parameters that it is learned by."""
    if path.s0 is not None or not path.cell.starting:
        return {}
    back = path.cell.start(xp, path.params, path.xs.shape[1], path.xs)[1]
    return back(tuple(np.sum(d, axis=0) for d in ds))
