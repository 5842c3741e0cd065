"""`rnnbp.gradcheck`: every gradient of a cell over a sequence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

from rnnbp.backends import Backend
from rnnbp.cellbase import Cell
from rnnbp.checking.cases import Case, blamed, by_path
from rnnbp.checking.diagnosis import explain
from rnnbp.checking.distances import check_against, truncation_finding
from rnnbp.checking.kinks.crossings import uncrossed
from rnnbp.checking.lags import lag_findings
from rnnbp.checking.levels import Make, of_levels, verify_all
from rnnbp.checking.methods.directions import DIRECTIONS
from rnnbp.checking.methods.numeric import MEMORY
from rnnbp.checking.methods.registry import numeric_method
from rnnbp.checking.paths import on_path, ways
from rnnbp.checking.properties.examination import examine
from rnnbp.checking.report import Report
from rnnbp.checking.subjects.problems import kinds_of, restricted
from rnnbp.checking.subjects.starts import start_subject
from rnnbp.checking.subjects.vjps import step_subject
from rnnbp.checking.verdicts import Progress, check_counts, setting
from rnnbp.errors import UserError
from rnnbp.registry import cell as make_cell
from rnnbp.truncation import Truncation, uncut

SIZES = {"input_size": 4, "hidden_size": 6}  # unlike each other, T = 5 and B = 3: an axis taken for another shows


def check_gradients(
    cell: Cell | str,
    *,
    backend: Backend | str | None = None,
    dtype: str = "float64",
    method: str = "complex-step",
    truncation: str = "full",
    extent: str = "auto",
    directions: int = DIRECTIONS,
    levels: Sequence[str] | None = None,
    cotangents: str = "all",
    path: str = "both",
    against: str = "claim",
    lags: bool | None = None,
    properties: bool | None = None,
    time_steps: int = 5,
    batch: int = 3,
    input_size: int | None = None,
    hidden_size: int | None = None,
    seed: int = 0,
    diagnosis: bool = True,
    padded: bool = True,
    memory: int = MEMORY,
    progress: Progress | None = None,
) -> Report:
    """Check the gradient of every parameter, of the inputs X and of the initial states, on a random problem.

    cell: a cell, or NAME[:option=value,…] with input_size (default 4) and hidden_size (default 6).
    dtype: of the backward, float64 or float32, the lowest that the backends hold. The reference is taken in double
    precision at the same numbers, whatever the dtype.
    method: one of `checking.methods.registry.METHODS`; "complex-step" is exact to rounding. A difference method gets
    another problem, of the next seed, where one of its steps would cross a kink.
    truncation: one of `rnnbp.truncation.KINDS`. A truncated backward is checked against what it claims, which is said
    in `checking.subjects.subject.truncated`, for a decay in `checking.subjects.decayed`.
    extent: "exhaustive", every entry; "directional", random directions of 1 and −1, `directions` of them for each gate
    block; "auto", the first up to 2000 scalars.
    levels: "step", the backward of one step, and "sequence", the whole scan; by default both, but for methods made of
    the first. A wrong step is a bug of the cell; a right step in a wrong sequence a bug of the loop. A cell that learns
    its initial state has a third, "start".
    cotangents: where errors come in: "all", at every output and last state; "last", at the last output; "state", at the
    last states; "every", each of the three in turn. One step always has an error at every state.
    path: which code the scan runs through: "reference", the portable one; "fast", the backend's own; "both", the two
    where there is a fast one, held to the same numeric gradients.
    against: "claim", or "full": a truncated backward is held to the full derivative, which it fails, be it the cell
    itself that stops something.
    lags: True, a table of dL_t/dv_s over steps t and s for every tensor v; False, none; None, only for the tensor that
    failed worst, where that takes about a second at most.
    properties: whether those of `checking.properties` are examined, too; by default where every entry is checked.
    diagnosis: whether what failed is matched against every known fault.
    padded: the last sequence is shorter than the others (a mask), so that this path is checked too; not where a cell's
    or a backend's own scan takes no mask, for then that scan would step aside and go unchecked.
    memory: bytes that the perturbed copies may take; it changes the time, not the result.
    progress: is called with the cell's name and how many of how many entries are done.
    """
    how = setting(backend, dtype, method, truncation, extent, directions, seed)
    how = on_path(path, levels, how)
    check_counts(time_steps=time_steps, batch=batch, memory=memory)
    check_against(against)
    kinds = kinds_of(cotangents)
    name, made = named(cell, input_size=input_size, hidden_size=hidden_size)
    if made.inexact:
        raise UserError(f"{name} {made.inexact}")
    whole = uncut(made) if against == "full" else made
    case = Case(name, Truncation.parse(truncation).of(made), how, time_steps, batch, padded, whole)
    taken, kinks = uncrossed(lambda seed: case.subject(case.problem(seed)), seed, how, memory)
    problem = case.problem(taken)
    cases = {way: replace(case, how=own) for way, own in ways(path, problem, how).items()}
    known: dict[str, Make] = {
        "step": lambda: [step_subject(name, problem, how)],
        "sequence": lambda: [s for kind in kinds for s in by_path(cases, against, problem, kind)],
    }
    start = start_subject(name, problem, case.windows, how)
    if start.tensors and not numeric_method(how.method).unsuited(start):
        known["start"] = lambda: [start]
    checks, findings = verify_all(of_levels(known, levels, how), how, memory, progress)
    findings += [kinks] if kinks is not None else []
    if not how.directional(case.subject(problem)) if properties is None else properties:
        findings.append(examine(name, problem, how))
    if case.truncated:
        findings.append(truncation_finding(case.subject(problem), case.subject(problem, whole=True), how, against))
    seen = restricted(problem, kinds[0] if len(kinds) == 1 else "all")
    case = blamed(cases, checks) or case
    words: dict[str, Any] = {"every": lags, "against": against, "memory": memory, "progress": progress}
    findings += lag_findings(name, seen, case.how, checks, uncut=whole, **words)
    if diagnosis and against == "claim":
        findings += explain(case.subject(seen), seen, case.windows, case.how, checks)
    return Report(tuple(checks), seed, findings=tuple(findings))


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
    options = [f for f in fields(cell) if f.name not in SIZES and f.init]
    said = [f"{f.name}={getattr(cell, f.name)!r}" for f in options if getattr(cell, f.name) != f.default]
    return type(cell).__name__ + (f"({', '.join(said)})" if said else "")
