"""Whether a cell can start: from its own initial state, which no random state stands for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from rnnbp.cellbase import Cell
from rnnbp.checking.properties.pullbacks import Pullback, scan_pullback, step_pullback
from rnnbp.checking.properties.trials import Trial, owned
from rnnbp.checking.subjects.problems import Problem
from rnnbp.checking.verdicts import Setting

FROM_THE_START = "finite from the initial state"  # the property, of a cell's scan and of its step


def finite(pullback: Pullback, how: Setting) -> str:
    """Outputs and gradients are finite."""
    with np.errstate(all="ignore"):  # what is not finite is told as such
        trial = Trial(pullback, how, owned(how))
        found = {f"d{n}": d for n, d in trial.backward().items()}
        hosts = {n: how.backend.to_numpy(a) for n, a in {**trial.outputs, **found}.items()}
    return ", ".join(f"{n} is not finite" for n, a in hosts.items() if not np.all(np.isfinite(a)))


def from_the_start(problem: Problem, how: Setting) -> Problem:
    """The problem from the cell's own initial state, of which a random state says nothing: a norm of zero divides."""
    backend, (_, batch, _) = how.backend, problem.xs.shape
    s0 = problem.cell.initial_state(backend.xp, batch, backend.asarray(problem.xs[:1], "float64"))
    return replace(problem, s0=tuple(np.asarray(backend.to_numpy(z)) for z in s0))


def finite_scan(cell: Cell, problem: Problem, how: Setting) -> str:
    """From the cell's own initial state, outputs and gradients are finite."""
    return finite(scan_pullback(from_the_start(replace(problem, cell=cell), how)), how)


def finite_step(cell: Cell, problem: Problem, how: Setting) -> str:
    """The same of one step."""
    return finite(step_pullback(from_the_start(replace(problem, cell=cell), how)), how)
