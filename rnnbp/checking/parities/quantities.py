"""What parity compares: everything that a cell with a loss on top computes from one problem, by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from rnnbp.backends import Backend
from rnnbp.cellbase import Cell, State
from rnnbp.checking.subjects.problems import Problem, draw
from rnnbp.checking.subjects.subject import free_name, held_by
from rnnbp.losses import CrossEntropy, MeanSquaredError
from rnnbp.numerics import Array, HostArray
from rnnbp.scanning import scan
from rnnbp.unrolling import ScanBackward

TIME_STEPS, BATCH = 5, 3
DRAWS = 4  # of signs


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
    found, gradients = _run(task, backend, dtype)
    return found | gradients(lambda d: d)


def _run(task: Task, backend: Backend, dtype: str) -> tuple[dict[str, Array], Callable[..., dict[str, Array]]]:
    """Forward and losses, and the gradients as a function of what is done to each error that comes in."""
    problem = task.problem
    cell = problem.cell
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
    found = {"ys": ys} | {f"{state}_T": z for state, z in zip(cell.states, s_T, strict=True)}
    found |= {"mse": mse, "ce": ce, "dlogits_mse": of_mse, "dlogits_ce": of_ce}
    return found, lambda signs: _gradients(cell, backward, signs(of_mse + of_ce), tuple(map(signs, ds_T)))


def _gradients(cell: Cell, backward: ScanBackward, dys: Array, ds_T: State) -> dict[str, Array]:
    """What a backward gives, by name."""
    (dparams, dxs, ds0), params = backward(dys, ds_T), tuple(cell.params)
    found = {f"d{name}": d for name, d in dparams.items()} | {f"d{free_name('X', params)}": dxs}
    return found | {f"d{free_name(f'{state}0', params)}": d for state, d in zip(cell.states, ds0, strict=True)}


def sizes(task: Task, backend: Backend, dtype: str) -> dict[str, float]:
    """How large each gradient is where the errors come in with random signs: ‖d‖, the largest of some draws.

    A gradient sums terms, one for each error; by chance they may cancel, most easily where it is a single number. It is
    then no more exact than a sum of this size.
    """
    rng, (_, gradients) = np.random.default_rng(0), _run(task, backend, dtype)

    def signs(d: Array) -> Array:
        return d * backend.asarray(rng.choice([-1.0, 1.0], d.shape), dtype)

    draws = [gradients(signs) for _ in range(DRAWS)]
    return {name: max(float(np.linalg.norm(backend.to_numpy(d[name]))) for d in draws) for name in draws[0]}
