"""Who takes part: this package on a backend, or a peer, each with the same two calls."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rnnbp.backends import Backend
from rnnbp.benching.problems import Problem
from rnnbp.numerics import HostArray
from rnnbp.scanning import run, scan

FORWARD, BOTH = PASSES = ("forward", "forward_backward")


@dataclass(frozen=True)
class Contender:
    """Two calls, timed by the clock of a backend, and what they compute, as host arrays in this package's layout."""

    name: str
    backend: Backend
    calls: dict[str, Callable[[], Any]]  # one for each of PASSES
    answers: Callable[[], dict[str, HostArray]]  # Y, dX and the gradient of every parameter, as d + its name


def ours(problem: Problem, backend: Backend) -> Contender:
    """Our part: `run`, and `scan` with its backward, through whatever path the backend takes."""
    cell, dtype = problem.cell, problem.xs.dtype.name
    params = {name: backend.asarray(p, dtype) for name, p in problem.params.items()}
    data = {name: backend.asarray(d, dtype) for name, d in problem.data.items()}
    xs, dys = backend.asarray(problem.xs, dtype), backend.asarray(problem.dys, dtype)

    def forward() -> Any:
        return run(cell, params, xs, data=data, backend=backend)

    def both() -> Any:
        ys, _, backward = scan(cell, params, xs, data=data, backend=backend)
        return ys, backward(dys)

    def answers() -> dict[str, HostArray]:
        ys, (dparams, dxs, _) = both()
        named = {"Y": ys, "dX": dxs} | {f"d{name}": d for name, d in dparams.items()}
        return {name: backend.to_numpy(a) for name, a in named.items()}

    return Contender(backend.name, backend, {FORWARD: forward, BOTH: both}, answers)
