"""`rnnbp.gradcheck(fn, inputs)`: the gradient of a function that somebody else wrote."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rnnbp.backends import Backend
from rnnbp.checking.foreign.calls import Foreign
from rnnbp.checking.foreign.causes import clipped, simple_causes
from rnnbp.checking.foreign.claims import Claims, claims_of
from rnnbp.checking.foreign.conditioning import rounded
from rnnbp.checking.foreign.cotangents import draw
from rnnbp.checking.foreign.findings import Named, Remark
from rnnbp.checking.foreign.inputs import take
from rnnbp.checking.foreign.loops import Loop
from rnnbp.checking.foreign.noise import slopes_of
from rnnbp.checking.foreign.properties import properties
from rnnbp.checking.foreign.stepping import by_steps, work_of
from rnnbp.checking.foreign.verdicts import Judge, Judged
from rnnbp.checking.foreign.wording import by_time, checks_of, remarks
from rnnbp.checking.methods.differences import STENCILS
from rnnbp.checking.methods.directions import DIRECTIONS, every_entry
from rnnbp.checking.properties.examination import Properties
from rnnbp.checking.report import Check, Finding, Report
from rnnbp.checking.verdicts import Progress, check_extent
from rnnbp.errors import UserError, unknown

METHODS = ("complex-step", *STENCILS)


def check_function(
    fn: Callable[..., Any],
    inputs: Any,
    *,
    backward: Callable[..., Any] | None = None,
    method: str = "complex-step",
    backend: Backend | str | None = None,
    names: Sequence[str] | None = None,
    time_axis: int | None = None,
    step: Callable[..., Any] | None = None,
    s0: Any = None,
    seed: int = 0,
    extent: str = "auto",
    directions: int = DIRECTIONS,
    name: str | None = None,
    progress: Progress | None = None,
) -> Report:
    """Check a backward that was written by hand, on NumPy, CuPy, torch or JAX arrays: no cell is needed.

    fn returns (value, backward), and backward(cotangent) the gradients; or, with `backward` given, fn returns
    (value, cache) and backward(cotangent, cache) the gradients. The value is a number, an array or a tuple of arrays; a
    cotangent has its structure. The scalar that is differentiated is Σ value∘cotangent: the cotangent is 1 for a
    number, random for arrays. A backward of a number may take no cotangent.

    inputs: a sequence, passed as fn(*inputs), or a mapping, passed as fn(**inputs). Integers, and what is no array, are
    passed on and not differentiated; float32 inputs are evaluated in double precision at the same numbers.
    Gradients come as a mapping by input name, as a sequence in the order of the inputs, or as one array for one
    input. None, or a name left out, claims no gradient: that input is not checked, and the report says so.

    method: "complex-step", "five-point" or "central". Complex steps are first compared with five-point differences in
    one direction; where they disagree, or the code refuses or drops the imaginary part, five-point is used for that
    tensor, and the report says why.
    backend: where host arrays are to be taken; the inputs' own otherwise.
    names: of a sequence of inputs; otherwise fn's own parameter names.
    time_axis: of the value (the first, of several): adds the error for a cotangent at each step t alone. 0 with `step`.
    step: one step of fn's loop, step(state, t, *inputs) or step(state, t, **inputs) -> (next state, value at t): adds
    for each tensor v the matrix of dL_t/dv_s, v perturbed at step s alone, and which of its parts backward leaves out.
    That takes T² calls of step for each entry; above 20 000 in all a tensor is perturbed at some of its entries.
    s0: the first state, arrays in any structure, or a function of the inputs that gives it. A loop of steps that does
    not give fn's value is a UserError.
    extent: "exhaustive", every entry; "directional", random directions of 1 and −1, `directions` of them for each
    tensor, and a few entries; "auto", the first up to 2000 scalars.
    name: what the report calls the function.

    A difference is no better than fn's rounding. That is measured, and where it exceeds the tolerance the check
    has the larger one, 1e-3 at most, and says so. On a kink a function has two slopes: they and what is between them
    pass, and the report names the entry. A gradient that is not finite fails. Inputs and a value that are not finite,
    input that does not fit, a structure that backward may not return and gradients that were clipped or normalised are
    a UserError.
    """
    _require(fn, method, extent, directions, seed, step, s0)
    taken, home = take(fn, inputs, names, backend)
    foreign, axis = Foreign(fn, backward, taken, home), time_axis or 0
    cotangents = draw(foreign, seed, time_axis if step is None else axis)
    claims = claims_of(taken, [foreign.pulled().pull(cs) for cs in cotangents.each])
    slopes = slopes_of(foreign, cotangents.each, seed)
    loop = None if step is None else Loop(foreign, step, s0, axis).slopes(cotangents.whole[0], slopes, seed)

    called = name or getattr(fn, "__name__", type(fn).__name__).replace("<lambda>", "fn")
    work = claims.scalars + (0 if loop is None else work_of(claims.gradients, seed))
    judge = Judge(slopes, method, tuple(range(seed, seed + directions)), _counter(called, work, progress))
    limits = {n: slopes.limit(method, taken.dtypes[n]) for n in claims.gradients}
    judged = {n: judge.judge(n, g, limits[n], every_entry(extent, claims.scalars)) for n, g in claims.gradients.items()}

    checks, misfits = checks_of(called, home.name, method, claims, taken, slopes, judged)
    named = _named(claims, judged, checks)  # refuses gradients that were clipped
    found: list[Finding] = [Remark(text) for text in remarks(claims, taken, slopes, judged, checks, judge.seeds)]
    found += [Remark(text) for text in rounded(foreign, cotangents.whole, claims, checks, seed)]
    found += [by_time(judged, checks)] if cotangents.split and judged else []
    found += [] if loop is None else by_steps(claims.gradients, judged, loop, taken.dtypes, seed, judge.advance)
    found += [Properties(called, {"function": properties(foreign, cotangents, claims.first, slopes)}), *named]
    return Report((*checks.values(), *misfits), seed, findings=tuple(found))


def _require(fn: object, method: str, extent: str, directions: int, seed: int, step: object, s0: object) -> None:
    if not callable(fn):
        raise UserError(f"fn must be a function; got {fn!r}")
    if method not in METHODS:
        raise unknown("method", method, METHODS)
    check_extent(extent, directions, seed)
    if step is None and s0 is not None:
        raise UserError("s0 is the first state of a loop of steps; got no step: give step=, or leave s0 out")
    if step is not None and not callable(step):
        raise UserError(f"step must be a function; got {step!r}")


def _named(claims: Claims, judged: Mapping[str, Judged], checks: Mapping[str, Check]) -> list[Named]:
    """The faults that have a name, of tensors taken entry by entry; clipped gradients are a UserError."""
    numeric = {n: j.numeric for n, j in judged.items() if j.numeric is not None}
    failed = {n for n, check in checks.items() if not check.passed}
    if not failed:
        return []
    if why := clipped({n: claims.first[n] for n in numeric}, numeric):
        raise UserError(f"clipped or normalised gradients hide faults: {why}: check the backward without that")
    causes = simple_causes({n: claims.first[n] for n in numeric if n in failed}, numeric)
    return [Named(n, *cause) for n, cause in causes.items()]


def _counter(name: str, total: int, progress: Progress | None) -> Callable[[int], None]:
    """What counts entries that are done, and says so."""
    done = 0

    def advance(entries: int) -> None:
        nonlocal done
        done = min(total, done + entries)  # a tensor that changes its method is gone through twice
        if progress is not None:
            progress(name, done, total)

    return advance
