"""Subjects with freshly drawn weights: cells and schemes of initialisation side by side, on the same batch."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

from rnnbp.around.masks import in_evaluation
from rnnbp.backends import backend
from rnnbp.flow.subjects import Subject
from rnnbp.registry import TASKS
from rnnbp.sources import Source
from rnnbp.truncating.problems import problem_of

BATCH = 2  # sequences, where none are asked for: the cost of nearly all that is measured grows with them


def fresh_subjects(
    cells: Sequence[str], inits: Sequence[str | None] = (None,), *, batch: int | None = None, **problem: Any
) -> list[Subject]:
    """Every cell with every scheme of `rnnbp.schemes`; None is as the cell draws.

    problem: task, files, time_steps, input_size, hidden_size, layers and seed, as in `truncating.problems.problem_of`;
    without a task or a text, independent normal inputs and targets. The seed is the same for all, and so is the batch.
    Nothing is dropped, and zoneout is at its mean.
    """
    found, host = [], backend("numpy")
    rows = batch
    if rows is None:
        rows = BATCH if problem.get("task") is None else few(TASKS.make(problem["task"]))
    for cell, init in product(cells, inits):
        q = problem_of(cell, host, "float64", init=init, batch=rows, **problem)
        label = cell if len(inits) == 1 else f"{cell}, {init or 'as it draws'}"
        data = q.data | in_evaluation(q.model.stack, q.time_steps, q.batch)
        found.append(Subject(label, q.model, q.params, q.xs, q.targets, q.source, data or None))
    return found


def few(source: Source) -> int:
    """How many sequences of a source are taken where none are asked for: `BATCH`, or one if it has no more."""
    return min(BATCH, source.batch_size)
