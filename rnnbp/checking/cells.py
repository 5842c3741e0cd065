"""`rnnbp.gradcheck`: every gradient of a cell over a sequence."""

from __future__ import annotations

from dataclasses import fields, replace

from rnnbp.backends import Backend
from rnnbp.cellbase import Cell, PointwiseCell
from rnnbp.checking.methods import numeric_method
from rnnbp.checking.numeric import MEMORY
from rnnbp.checking.problems import draw
from rnnbp.checking.report import Report
from rnnbp.checking.sequences import mask_is_refused, sequence_subject
from rnnbp.checking.verdicts import Progress, check_counts, setting, verify
from rnnbp.errors import UserError
from rnnbp.registry import cell as make_cell
from rnnbp.truncation import parse

SIZES = {"input_size": 4, "hidden_size": 6}  # unlike each other, T = 5 and B = 3: an axis taken for another shows


def gradcheck(
    cell: Cell | str,
    *,
    backend: Backend | str | None = None,
    dtype: str = "float64",
    method: str = "complex-step",
    truncation: str = "full",
    time_steps: int = 5,
    batch: int = 3,
    input_size: int | None = None,
    hidden_size: int | None = None,
    seed: int = 0,
    padded: bool = True,
    memory: int = MEMORY,
    progress: Progress | None = None,
) -> Report:
    """Check the gradient of every parameter, of the inputs X and of the initial states, on a random problem.

    cell: a cell, or NAME[:option=value,…] with input_size (default 4) and hidden_size (default 6).
    dtype: of the backward. The reference is taken in double precision at the same numbers, whatever the dtype.
    method: "complex-step", exact to rounding, or "central" differences.
    truncation: "full" or "tbptt:K1,K2". A truncated backward is checked against what it claims, which is said in
    `checking.subjects.truncated`.
    padded: the last sequence is shorter than the others (a mask), so that this path is checked too; not where a cell's
    or a backend's own scan takes no mask, for then that scan would step aside and go unchecked.
    memory: bytes that the perturbed copies may take; it changes the time, not the result.
    progress: is called with the cell's name and how many of how many entries are done.
    """
    how = setting(backend, dtype, method, truncation)
    check_counts(time_steps=time_steps, batch=batch, memory=memory)
    check_counts(0, seed=seed)
    windows = parse(truncation, time_steps)
    name, made = named(cell, input_size=input_size, hidden_size=hidden_size)
    if not numeric_method(method).stops and isinstance(made, PointwiseCell) and made.cut:
        raise UserError(f"differences see through the cut gates {', '.join(made.cut)}: use method complex-step")
    problem = draw(made, time_steps, batch, seed, dtype, padded)
    problem = replace(problem, mask=None) if mask_is_refused(problem, how) else problem
    subject = sequence_subject(name, problem, windows, how)
    return Report(tuple(verify(subject, how, memory, progress)), seed)


def named(cell: Cell | str, **sizes: int | None) -> tuple[str, Cell]:
    """A cell, or what makes one, with the name that the report gives it."""
    if isinstance(cell, str):
        return cell, make_cell(cell, **{what: SIZES[what] if size is None else size for what, size in sizes.items()})
    if not isinstance(cell, Cell):
        raise UserError(f"a gradient check takes a cell, or NAME[:option=value,…]; got {cell!r}")
    for what, size in sizes.items():
        if size not in (None, getattr(cell, what)):
            raise UserError(f"{what} is the cell's own, {getattr(cell, what)}; got {size}: leave it out")
    return label(cell), cell


def label(cell: Cell) -> str:
    """A cell's class with the options that differ from their defaults: LSTM(peepholes=True)."""
    options = [f for f in fields(cell) if f.name not in SIZES]
    said = [f"{f.name}={getattr(cell, f.name)!r}" for f in options if getattr(cell, f.name) != f.default]
    return type(cell).__name__ + (f"({', '.join(said)})" if said else "")
