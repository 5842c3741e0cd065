"""`rnnbp.gradcheck`: every gradient of a cell over a sequence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from rnnbp.backends import Backend
from rnnbp.cellbase import Cell, PointwiseCell, State
from rnnbp.checking.differences import MEMORY
from rnnbp.checking.problems import Problem, draw
from rnnbp.checking.report import Report
from rnnbp.checking.subjects import Subject, Tensors, free_name, truncated
from rnnbp.checking.verdicts import Progress, Setting, check_counts, setting, verify
from rnnbp.errors import UserError
from rnnbp.numerics import Array
from rnnbp.registry import cell as make_cell
from rnnbp.scanning import scan
from rnnbp.truncation import Window, parse
from rnnbp.unrolling import unroll

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
    padded: the last sequence is shorter than the others (a mask), so that this path is checked too.
    memory: bytes that the perturbed copies may take; it changes the time, not the result.
    progress: is called with the cell's name and how many of how many entries are done.
    """
    how = setting(backend, dtype, method, truncation)
    check_counts(time_steps=time_steps, batch=batch, memory=memory)
    check_counts(0, seed=seed)
    windows = parse(truncation, time_steps)
    given = {"input_size": input_size, "hidden_size": hidden_size}
    if isinstance(cell, str):
        name = cell
        made: Cell = make_cell(cell, **{what: SIZES[what] if size is None else size for what, size in given.items()})
    elif isinstance(cell, Cell):
        name, made = label(cell), cell
        for what, size in given.items():
            if size not in (None, getattr(cell, what)):
                raise UserError(f"{what} is the cell's own, {getattr(cell, what)}; got {size}: leave it out")
    else:
        raise UserError(f"a gradient check takes a cell, or NAME[:option=value,…]; got {cell!r}")
    if method == "central" and isinstance(made, PointwiseCell) and made.cut:
        raise UserError(f"differences see through the cut gates {', '.join(made.cut)}: use method complex-step")
    subject = sequence_subject(name, draw(made, time_steps, batch, seed, dtype, padded), windows, how)
    return Report(tuple(verify(subject, how, memory, progress)), seed)


def sequence_subject(name: str, problem: Problem, windows: Sequence[Window], how: Setting) -> Subject:
    """A cell over a sequence, with the scalar Σ ys∘dys + Σ s_T∘ds_T and its backward summed over the windows.

    The loss runs the plain loop over time, whatever path `scan` takes: a faster scan, a cell's own or a backend's, is
    held to it.
    """
    cell, backend, xp = problem.cell, how.backend, how.backend.xp
    params = tuple(cell.params)
    xs_name = free_name("X", params)
    s0_names = tuple(free_name(f"{state}0", params) for state in cell.states)
    tensors = {**problem.params, xs_name: problem.xs, **dict(zip(s0_names, problem.s0, strict=True))}
    mask = None if problem.mask is None else backend.asarray(problem.mask)

    def pick(given: Tensors) -> tuple[dict[str, Array], Array, State]:
        return {n: given[n] for n in params}, given[xs_name], tuple(given[n] for n in s0_names)

    def constants(dtype: str) -> tuple[dict[str, Array], Array, State]:
        data = {n: backend.asarray(d, dtype) for n, d in problem.data.items()}
        return data, backend.asarray(problem.dys, dtype), tuple(backend.asarray(d, dtype) for d in problem.ds_T)

    data64, dys64, ds_T64 = constants("float64")

    def segment(given: Tensors, start: int, stop: int, s: State | None) -> tuple[Array, State]:
        p, xs, s0 = pick(given)
        flags = None if mask is None else mask[start:stop, :]
        data = {n: d[start:stop, ...] for n, d in data64.items()}
        own: dict[str, Any] = {"mask": flags, "resets": None, "data": data, "reverse": False, "record": False}
        return unroll(xp, cell, p, xs[..., start:stop, :, :], s or s0, keep=False, **own)[:2]

    forward = truncated(xp, segment, windows, {n: backend.asarray(v, "float64") for n, v in tensors.items()})

    def loss(given: Tensors) -> Array:
        ys, s_T = forward(given)
        pairs = zip((ys, *s_T), (dys64, *ds_T64), strict=True)
        return sum(xp.sum(a * d, axis=tuple(range(-d.ndim, 0))) for a, d in pairs)  # one number per copy

    def gradients(given: Tensors) -> Tensors:
        p, xs, s0 = pick(given)
        data, dys, ds_T = constants(how.dtype)
        _, _, backward = scan(cell, p, xs, s0, mask=mask, data=data, backend=backend)
        total: dict[str, Array] = {}
        for window in windows:
            dp, dxs, ds = backward(dys, ds_T, window)
            found = {**dp, xs_name: dxs} | (dict(zip(s0_names, ds, strict=True)) if window.start == 0 else {})
            total |= {n: total[n] + d if n in total else d for n, d in found.items()}
        return total

    widest = max((spec.shape[-1] for spec in cell.params.values()), default=cell.hidden_size)
    rows = problem.xs.shape[0] * problem.xs.shape[1]
    return Subject(name, tensors, loss, gradients, work=rows * (cell.input_size + 4 * (widest + len(s0_names))))


def label(cell: Cell) -> str:
    """A cell's class with the options that differ from their defaults: LSTM(peepholes=True)."""
    options = [f for f in fields(cell) if f.name not in SIZES]
    said = [f"{f.name}={getattr(cell, f.name)!r}" for f in options if getattr(cell, f.name) != f.default]
    return type(cell).__name__ + (f"({', '.join(said)})" if said else "")
