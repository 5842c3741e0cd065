"""Who takes part: this package on a backend, or a peer, each with the same two calls."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from rnnbp.backends import Backend
from rnnbp.benching.problems import Problem
from rnnbp.numerics import HostArray
from rnnbp.scanning import run, scan

FORWARD, BOTH = PASSES = ("forward", "forward_backward")
PORTABLE = Backend.path


@dataclass(frozen=True)
class Contender:
    """Two calls, timed by the backend's clock unless another is given, and what they compute, in our layout."""

    name: str
    backend: Backend
    calls: dict[str, Callable[[], Any]]  # one for each of PASSES, that gives a tuple with Y in front
    answers: Callable[[], dict[str, HostArray]]  # of BOTH: Y, dX and the gradient of every parameter, as d + its name
    path: str = ""  # which code of our backend ran
    clock: Callable[[Callable[[], Any]], float] | None = None


@cache
def portable(backend: Backend) -> Backend:
    """The same backend without its faster scan: only the portable loop is left."""
    kind = type(backend)
    if backend.path == PORTABLE:
        return backend
    slow: type[Backend] = type(f"Portable{kind.__name__}", (kind,), {"scan": Backend.scan, "path": PORTABLE})
    return slow(backend.device)


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

    path = path_taken(backend, cell, params, xs, data)
    return Contender(backend.name, backend, {FORWARD: forward, BOTH: both}, answers, path)


def path_taken(backend: Backend, cell: Any, params: Any, xs: Any, data: Any) -> str:
    """The backend's path, or the portable one where its faster scan declines: the scan itself is asked.

    Two steps will do: a whole sequence would leave buffers behind, and hide what a measured call needs.
    """
    if backend.path == PORTABLE:
        return PORTABLE
    xs, data = xs[:2, ...], {name: d[:2, ...] for name, d in data.items()}
    s0 = cell.initial_state(backend.xp, xs.shape[-2], xs)
    options = {"mask": None, "resets": None, "data": data, "reverse": False, "record": False, "keep": True}
    declined: bool = backend.scan(cell, params, xs, s0, **options) is NotImplemented
    return PORTABLE if declined else backend.path
