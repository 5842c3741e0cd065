"""What parity compares: everything that a cell with a loss on top computes from one problem, by name."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rnnbp.backends import Backend
from rnnbp.cellbase import Cell
from rnnbp.checking.subjects.problems import Problem, draw
from rnnbp.checking.subjects.subject import free_name, held_by
from rnnbp.losses import CrossEntropy, MeanSquaredError
from rnnbp.numerics import Array, HostArray
from rnnbp.scanning import scan

TIME_STEPS, BATCH = 5, 3


@dataclass(frozen=True)
class Task:
    """A problem of `checking.subjects.problems`, and what the losses want its outputs to be."""

    problem: Problem
    target: HostArray  # (T, B, O)
    classes: HostArray  # (T, B)


def draw_task(cell: Cell, seed: int, dtype: str) -> Task:
    """The task of that seed, its numbers being ones that `dtype` holds."""
    problem = draw(cell, TIME_STEPS, BATCH, seed, dtype)
    rng = np.random.default_rng([seed, 1])  # not the stream that drew the problem
    target = held_by(dtype, rng.standard_normal(problem.dys.shape))
    return Task(problem, target, rng.integers(0, cell.output_size, problem.dys.shape[:-1]))


def quantities(task: Task, backend: Backend, dtype: str) -> dict[str, Array]:
    """Forward, losses and gradients on a backend, by name; the outputs of the cell are the logits of both losses.

        forward     ys, and every last state as h_T
        losses      mse and ce (cross-entropy) of ys
        gradients   of L = mse + ce + Σ s_T∘ds_T: dlogits_mse and dlogits_ce, dW … of every parameter, dX, and every
                    first state's as dh0

    The errors of the losses are those that the cell's backward gets, so a fault of either spreads to the gradients.
    """
    problem = task.problem
    cell, params = problem.cell, tuple(problem.cell.params)
    given = {name: backend.asarray(value, dtype) for name, value in problem.params.items()}
    xs, s0, ds_T = (
        backend.asarray(problem.xs, dtype),
        *(tuple(backend.asarray(z, dtype) for z in states) for states in (problem.s0, problem.ds_T)),
    )
    data = {name: backend.asarray(value, dtype) for name, value in problem.data.items()}
    mask = None if problem.mask is None else backend.asarray(problem.mask)
    ys, s_T, backward = scan(cell, given, xs, s0, mask=mask, data=data, backend=backend)
    mse, mse_backward = MeanSquaredError()(ys, backend.asarray(task.target, dtype), mask)
    ce, ce_backward = CrossEntropy()(ys, backend.asarray(task.classes), mask)
    of_mse, of_ce = mse_backward(), ce_backward()
    dparams, dxs, ds0 = backward(of_mse + of_ce, ds_T)
    found = {"ys": ys} | {f"{state}_T": z for state, z in zip(cell.states, s_T, strict=True)}
    found |= {"mse": mse, "ce": ce, "dlogits_mse": of_mse, "dlogits_ce": of_ce}
    found |= {f"d{name}": d for name, d in dparams.items()} | {f"d{free_name('X', params)}": dxs}
    return found | {f"d{free_name(f'{state}0', params)}": d for state, d in zip(cell.states, ds0, strict=True)}
