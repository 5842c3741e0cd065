"""The procedures by name, and the comparison of what they give with backpropagation through time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from rnnbp.backends import Backend
from rnnbp.backends import backend as find_backend
from rnnbp.checking.methods.differences import COMPLEX_STEP, STEPS
from rnnbp.checking.methods.tolerances import tolerance
from rnnbp.checking.metric import compare
from rnnbp.checking.procedures.table import ProcedureTable, Row
from rnnbp.checking.procedures.unrolled import Unrolled
from rnnbp.checking.subjects.subject import unlike_zero
from rnnbp.checking.verdicts import check_counts
from rnnbp.errors import UserError, unknown
from rnnbp.model import Model
from rnnbp.registry import LOSSES, TASKS
from rnnbp.sources import Source
from rnnbp.stacking import stack

METHODS = (*STEPS, "complex-step")
# procedure -> what is done, and why it gives what it gives
PROCEDURES: dict[str, tuple[str, str]] = {
    "scalar": (
        "one cost over all steps: weight up, full forward, weight down, full forward",
        "This is the derivative, by its definition.",
    ),
    "per-step": (
        "a cost for each step, each from a full forward with the weight changed throughout; the deltas are summed",
        "The derivative of a sum is the sum of the derivatives. A cost that is the mean over steps is 1/T of that sum,"
        " so the deltas of the steps' own costs add up to T times its gradient.",
    ),
    "one-step": (
        "the weight changed at step N alone, the state carried from the unchanged pass, the cost of step N; summed",
        "This is only the diagonal t = s of dL_t/dW_s: what a weight does to later steps through the state is left out,"
        " so it is not the gradient, except of what acts behind the recurrence.",
    ),
}


def compare_procedures(
    task: str = "four-steps",
    cell: str = "lstm",
    *,
    procedure: str = "all",
    backend: Backend | str | None = None,
    seed: int = 0,
    hidden_size: int = 6,
    method: str = "central",
) -> ProcedureTable:
    """The gradient of the model that learns a task, by each procedure, beside backpropagation through time.

    procedure: "scalar", "per-step" or "one-step" (see `PROCEDURES`), or "all".
    method: how a delta is taken: "central" or "five-point" differences, as people do, or "complex-step", which is exact
    to rounding and tells a wrong procedure from an inaccurate one.
    The task must have a target at every step; its first batch of that seed is taken, the parameters are random.
    """
    if procedure not in ("all", *PROCEDURES):
        raise unknown("procedure", procedure, ("all", *PROCEDURES))
    if method not in METHODS:
        raise unknown("method of a procedure", method, METHODS)
    check_counts(hidden_size=hidden_size)
    check_counts(0, seed=seed)
    source: Source = TASKS.make(task)
    loss = LOSSES.make(source.loss)
    if loss.steps != "every":
        raise UserError(
            f"procedures need a cost at every step; the loss of task {task} counts the last step alone: "
            "take a task with a target at every step, such as four-steps"
        )
    symbols = source.input_size if source.inputs == "one-hot" else None
    cells = stack(cell, source.input_size, hidden_size)
    model = Model(cells, source.output_size, replace(loss, reduction="sum"), source.inputs, symbols)
    xs, targets, _ = source.batch(source.start(seed), source.batch_size, source.time_steps)[0]
    rng = np.random.default_rng(seed)
    params = {name: np.asarray(value, dtype=np.float64) for name, value in unlike_zero(model.init(rng), rng).items()}
    unrolled = Unrolled(
        model, params, xs, targets, find_backend(backend) if not isinstance(backend, Backend) else backend
    )
    names = list(PROCEDURES) if procedure == "all" else [procedure]
    rows = [row for tensor in params for row in _rows(unrolled, tensor, names, method)]
    step = STEPS.get(method, COMPLEX_STEP)
    limit = tolerance(method, "float64").value
    reasons = {name: PROCEDURES[name] for name in names}
    return ProcedureTable(task, cell, seed, method, step, limit, len(xs), reasons, tuple(rows))


def _rows(unrolled: Unrolled, tensor: str, names: list[str], method: str) -> list[Row]:
    """One row for each procedure."""
    of_sum, of_mean = (unrolled.gradients[reduction][tensor] for reduction in ("sum", "mean"))
    index = tuple(int(k) for k in np.unravel_index(np.argmax(np.abs(of_sum)), of_sum.shape))

    def row(name: str) -> Row:
        p, of_p_mean = unrolled.differentiate(name, tensor, method).values()
        off = float(np.linalg.norm(p - of_sum) / np.linalg.norm(of_sum))
        ratio = float(np.linalg.norm(of_p_mean) / np.linalg.norm(of_mean))
        values = (float(of_sum[index]), float(p[index]))
        return Row(tensor, name, index, *values, off, compare(p, of_sum).error, ratio)

    return [row(name) for name in names]
