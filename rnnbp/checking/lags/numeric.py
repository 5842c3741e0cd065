"""dL_t/dv_s without any backward: the tensor is perturbed at step s alone, and the forward runs on."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from rnnbp.backends import Backend
from rnnbp.cellbase import State
from rnnbp.checking.lags.probes import Probes
from rnnbp.checking.lags.slopes import slopes
from rnnbp.checking.methods.numeric import MEMORY, MOST_COPIES
from rnnbp.checking.methods.steps import stepped
from rnnbp.checking.subjects.problems import Problem, tensor_names
from rnnbp.checking.subjects.subject import inner
from rnnbp.errors import unknown
from rnnbp.numerics import Array, HostArray
from rnnbp.truncation import Window, full
from rnnbp.unrolling import unroll


def tensors(problem: Problem) -> dict[str, HostArray]:
    """All that has a gradient, named as in a gradient check: parameters, inputs X, first states."""
    xs_name, s0_names = tensor_names(problem.cell)
    return {**problem.params, xs_name: problem.xs, **dict(zip(s0_names, problem.s0, strict=True))}


def role(problem: Problem, name: str) -> str:
    """What a tensor is: parameter, inputs or state."""
    if name in problem.params:
        return "parameter"
    known = tensors(problem)
    if name not in known:
        raise unknown(f"tensor of {type(problem.cell).__name__}", name, known)
    return "inputs" if known[name] is problem.xs else "state"


def used(problem: Problem, name: str) -> list[HostArray]:
    """What of a tensor each step uses: a parameter at all T, one x_t at each; a first state at the first alone."""
    kind, value = role(problem, name), tensors(problem)[name]
    return {"parameter": [value] * len(problem.xs), "inputs": list(value), "state": [value]}[kind]


def origins(windows: Sequence[Window], time_steps: int) -> HostArray:
    """Where the errors of each step, and of the last state, end: (T + 1)."""
    start = np.zeros(time_steps + 1, dtype=int)
    for window in windows:
        start[window.lo : window.stop] = window.start
    start[-1] = max(windows, key=lambda window: window.stop).start
    return start


def numeric_blocks(
    problem: Problem,
    backend: Backend,
    name: str,
    *,
    windows: Sequence[Window] | None = None,
    method: str = "complex-step",
    probes: Probes | None = None,
    memory: int = MEMORY,
) -> HostArray:
    """dL_t/dv_s for every t and s, (T + 1, S, *shape): error met at step t, tensor used at step s.

    L_t = Σ ys_t ∘ dys_t; the last row is the last state's error, Σ s_T ∘ ds_T. For a parameter S = T; for X the block s
    is dL_t/dx_s, (B, I); a first state has one column. The forward goes with unperturbed numbers to s, one step with
    the perturbed tensor, and unperturbed to the end. Blocks from before the window of their row (default: full BPTT)
    are zero: there the state is a constant. With `probes`, (T + 1, S, K): the derivative along each of them.

    method: "central", "five-point" or "complex-step".
    """
    kind, forward, time_steps = role(problem, name), _Forward(problem, backend), len(problem.xs)
    values = used(problem, name)
    probed = probes or Probes(values[0].shape)
    copies = max(1, min(MOST_COPIES, probed.count, memory // (16 * forward.work(values[0]))))
    found = np.zeros((time_steps + 1, len(values), probed.count))
    for s, value in enumerate(values):
        for first in range(0, probed.count, copies):
            # the last chunk repeats its last direction: a library that compiles for each shape does so once
            chosen = np.minimum(np.arange(first, first + copies), probed.count - 1)
            part = slopes(partial(forward.losses, kind, name, s), value, probed.directions(chosen), method)
            found[s:, s, first : first + copies] = part[: probed.count - first].T
    found[origins(windows or full(time_steps), time_steps)[:, None] > np.arange(len(values))] = 0.0
    return found.reshape(time_steps + 1, len(values), *probed.ending)


class _Forward:
    """The plain loop over the steps of a problem, in double precision, from any step on."""

    def __init__(self, problem: Problem, backend: Backend) -> None:
        def move(value: Any) -> Array:
            return backend.asarray(value, "float64")

        self.problem, self.backend, self.xp = problem, backend, stepped(backend)
        self.params = {name: move(value) for name, value in problem.params.items()}
        self.xs, self.dys = move(problem.xs), move(problem.dys)
        self.ds_T = tuple(map(move, problem.ds_T))
        self.data = {name: move(value) for name, value in problem.data.items()}
        self.mask = None if problem.mask is None else backend.asarray(problem.mask)
        self.states: list[State] = [tuple(map(move, problem.s0))]  # before each step
        for t in range(len(problem.xs) - 1):
            self.states.append(self.run(t, t + 1, self.states[t])[1])

    def work(self, value: HostArray) -> int:
        """Roughly how many numbers one copy of a tensor holds at once."""
        cell, (time_steps, batch, _) = self.problem.cell, self.problem.xs.shape
        widest = max((spec.shape[-1] for spec in cell.params.values()), default=cell.hidden_size)
        return int(3 * value.size + time_steps * batch * (cell.input_size + 4 * widest))

    def run(self, start: int, stop: int, s: State, *, p: Any = None, xs: Array | None = None) -> tuple[Array, State]:
        """Steps start … stop−1 from state s: their outputs and the state after them."""
        own: dict[str, Any] = {"mask": None if self.mask is None else self.mask[start:stop, :], "resets": None}
        own |= {"data": {name: d[start:stop, ...] for name, d in self.data.items()}, "reverse": False}
        inputs = self.xs[start:stop, :, :] if xs is None else xs
        return unroll(self.xp, self.problem.cell, p or self.params, inputs, s, **own, record=False, keep=False)[:2]

    def losses(self, kind: str, name: str, s: int, copies: HostArray) -> HostArray:
        """L_t for t ≥ s, and that of the last state, (n, T − s + 1), with copies of a tensor at step s."""
        z, before = self.backend.asarray(copies, str(copies.dtype)), self.states[s]
        if kind == "parameter":
            ys, after = self.run(s, s + 1, before, p={**self.params, name: z})
        elif kind == "inputs":
            ys, after = self.run(s, s + 1, before, xs=z[..., None, :, :])
        else:
            k = tensor_names(self.problem.cell)[1].index(name)
            ys, after = self.run(0, 1, (*before[:k], z, *before[k + 1 :]))
        pieces = [self._errors(ys, s)]
        if s + 1 < len(self.problem.xs):
            ys, after = self.run(s + 1, len(self.problem.xs), after)
            pieces.append(self._errors(ys, s + 1))
        pieces.append(self.backend.to_numpy(inner(self.xp, after, self.ds_T))[..., None])
        found = np.concatenate([np.broadcast_to(piece, (len(copies), piece.shape[-1])) for piece in pieces], axis=1)
        # where no piece has copies nothing depends on them, and no imaginary part was dropped
        return found if any(piece.ndim > 1 for piece in pieces) else found.astype(copies.dtype)

    def _errors(self, ys: Array, start: int) -> HostArray:
        """Σ ys_t ∘ dys_t for each step, on the host, (n, steps)."""
        dys = self.dys[start : start + ys.shape[-3], :, :]
        return self.backend.to_numpy(self.xp.sum(ys * dys, axis=(-2, -1)))
