"""Gradients under kinds of truncation beside the full one: norm ratio, cosine, time and memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from rnnbp.backends import Backend
from rnnbp.backends import backend as find_backend
from rnnbp.benching.timing import alternate
from rnnbp.checking.distances import Separation, separation
from rnnbp.checking.verdicts import check_counts
from rnnbp.numerics import HostArray
from rnnbp.truncating.keeping import kept_bytes
from rnnbp.truncating.kinds import FULL, kinds_of
from rnnbp.truncating.problems import Problem, problem_of
from rnnbp.truncating.reports import ALL, Comparison, Row
from rnnbp.truncation import Truncation


def compare_truncations(
    cell: str = "lstm",
    kinds: Sequence[str] = kinds_of((1, 2, 4, 8, 16, FULL)),
    *,
    backend: Backend | str | None = None,
    dtype: str = "float32",
    repeats: int = 5,
    progress: Callable[[str, int, int], None] = lambda *_: None,
    **problem: Any,
) -> Comparison:
    """The gradient under each kind beside the full one, for every parameter of the cells, at freshly drawn weights.

    kinds: of `rnnbp.truncation.KINDS`. problem: task, files, time_steps, batch, input_size, hidden_size, layers, init
    and seed, as in `truncating.problems.problem_of`; without a task or a text, independent normal inputs and targets.
    Times are taken in turn, `repeats` rounds of forward and backward; memory is counted, not measured: the arrays that
    a backward holds. The readout is left out, no truncation changes its gradient. A kind that the cell cannot have is
    a UserError.
    """
    check_counts(repeats=repeats)
    named = kinds_of(others=kinds)
    chosen = backend if isinstance(backend, Backend) else find_backend(backend)
    seed = problem.get("seed", 0)
    given = problem_of(cell, chosen, dtype, **problem)
    parsed = {kind: Truncation.parse(kind) for kind in dict.fromkeys((*named, FULL))}
    gradients = {kind: given.gradients(one) for kind, one in parsed.items()}
    clock, done = chosen.seconds, iter(range(1, repeats + 1))
    timings = alternate(
        {kind: (clock, partial(_step, given.under(one), one)) for kind, one in parsed.items()},
        repeats,
        lambda: progress(cell, next(done), repeats),
    )
    rows = {
        kind: Row(kind, _separations(gradients[kind], gradients[FULL]), timings[kind], _kept(given, one))
        for kind, one in parsed.items()
    }
    stack = given.model.stack
    sizes = {"T": given.time_steps, "B": given.batch, "I": stack.input_size, "H": stack.layers[0][0].hidden_size}
    words = (len(stack.layers), given.source, chosen.name, dtype, seed, repeats)
    stopped = dict.fromkeys(gate for _, one in stack.cells for gate in getattr(one, "cut", ()))
    return Comparison(cell, sizes, *words, tuple(rows[kind] for kind in named), rows[FULL], tuple(stopped))


def _step(problem: Problem, kind: Truncation) -> Any:
    return problem.backward()(kind.windows(problem.time_steps))


def _kept(problem: Problem, kind: Truncation) -> int:
    """What the forward of the longest window leaves for its backward, beyond weights and data."""
    longest = max(window.stop - window.start for window in kind.windows(problem.time_steps))
    part = problem.under(kind).until(longest)
    return kept_bytes(part.backward(), part.given)


def _separations(g: Mapping[str, HostArray], f: Mapping[str, HostArray]) -> dict[str, Separation]:
    """Each tensor, and all of them as one vector where there are several."""
    found = {name: separation(g[name], f[name]) for name in f}
    whole = [np.concatenate([side[name].ravel() for name in f]) for side in (g, f)]
    return found | ({ALL: separation(*whole)} if len(f) > 1 else {})
