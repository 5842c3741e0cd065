"""`rnnbp.gradcheck(fn, inputs)`: the gradient of a function that somebody else wrote."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from typing import Any

import numpy as np

from rnnbp.backends import Backend
from rnnbp.checking.directions import DIRECTIONS, EXHAUSTIVE_UP_TO
from rnnbp.checking.examination import Properties
from rnnbp.checking.foreign.calls import Foreign, Pulled, Values
from rnnbp.checking.foreign.causes import clipped, simple_causes
from rnnbp.checking.foreign.claims import claims_of
from rnnbp.checking.foreign.findings import Named, Remark
from rnnbp.checking.foreign.inputs import take
from rnnbp.checking.foreign.properties import properties
from rnnbp.checking.foreign.slopes import STENCILS, slopes_of
from rnnbp.checking.foreign.verdicts import Judge, Judged
from rnnbp.checking.foreign.wording import by_time, check_of, misfit_of, remarks
from rnnbp.checking.report import Report
from rnnbp.checking.tolerances import tolerance
from rnnbp.checking.verdicts import EXTENTS, Progress, check_counts
from rnnbp.errors import UserError, unknown
from rnnbp.numerics import HostArray

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
    time_axis: of the value (the first, of several): adds the error for a cotangent at each step t alone.
    extent: "exhaustive", every entry; "directional", random directions of 1 and −1, `directions` of them for each
    tensor, and a few entries; "auto", the first up to 2000 scalars.
    name: what the report calls the function.

    A difference is no better than fn's rounding. That is measured, and where it exceeds the tolerance the check
    has the larger one, and says so. Input that does not fit, a structure that backward may not return, numbers that are
    not finite and gradients that were clipped or normalised are a UserError.
    """
    _require(fn, method, extent, directions, seed)
    taken, home = take(fn, inputs, names, backend)
    foreign = Foreign(fn, backward, taken, home)
    pulled = foreign.pulled()
    _check_repeatable(foreign, pulled)
    rng = np.random.default_rng(seed)
    cotangents, other = _drawn(pulled, rng), _drawn(pulled, rng)
    split = [] if time_axis is None else _by_time(pulled, cotangents, time_axis)
    found = [pulled.pull(cotangents), *(foreign.pulled().pull(cs) for cs in split)]
    claims = claims_of(taken, pulled, found)
    slopes = slopes_of(foreign, [cotangents, *split], seed)

    called = name or getattr(fn, "__name__", type(fn).__name__).replace("<lambda>", "fn")
    total, done = sum(g[0].size for g in claims.gradients.values()), 0

    def advance(entries: int) -> None:
        nonlocal done
        done = min(total, done + entries)  # a tensor that changes its method is gone through twice
        if progress is not None:
            progress(called, done, total)

    def limit(how: str, tensor: str) -> float:
        return tolerance(how, taken.dtypes[tensor] if slopes.precise else "float32").value

    seeds = tuple(range(seed, seed + directions))
    judge = Judge(slopes, method, seeds, advance)
    every = extent == "exhaustive" or (extent == "auto" and total <= EXHAUSTIVE_UP_TO)
    judged = {n: judge.judge(n, g, limit(method, n), every) for n, g in claims.gradients.items()}
    words = {"cell": called, "backend": home.name, "truncation": "", "level": "function"}
    checks = {n: check_of(n, j, limit(j.method, n), words | {"dtype": taken.dtypes[n]}) for n, j in judged.items()}
    misfits = [misfit_of(n, why, words | {"dtype": taken.dtypes[n]}, method) for n, why in claims.misfits.items()]

    first = {n: g[0] for n, g in claims.gradients.items()}
    named = _named(first, judged, {n for n, check in checks.items() if not check.passed})
    missed = properties(foreign, cotangents, other, first, {n: limit("complex-step", n) for n in first})
    said = [Remark(text) for text in remarks(claims, taken, slopes, judged, checks, seeds)]
    table = [by_time(judged, {n: c.tolerance for n, c in checks.items()})] if split and judged else []
    findings = (*said, *table, Properties(called, {"function": missed}), *named)
    return Report((*checks.values(), *misfits), seed, findings=findings)


def _require(fn: object, method: str, extent: str, directions: int, seed: int) -> None:
    if not callable(fn):
        raise UserError(f"fn must be a function; got {fn!r}")
    if method not in METHODS:
        raise unknown("method", method, METHODS)
    if extent not in EXTENTS:
        raise unknown("extent", extent, EXTENTS)
    check_counts(0, seed=seed)
    check_counts(DIRECTIONS, directions=directions)


def _named(first: Mapping[str, HostArray], judged: Mapping[str, Judged], failed: Set[str]) -> list[Named]:
    """The faults that have a name, of tensors taken entry by entry; clipped gradients are a UserError."""
    numeric = {n: j.numeric for n, j in judged.items() if j.numeric is not None}
    if not failed:
        return []
    if why := clipped({n: first[n] for n in numeric}, numeric):
        raise UserError(f"clipped or normalised gradients hide faults: {why}: check the backward without that")
    return [
        Named(n, *cause) for n, cause in simple_causes({n: first[n] for n in numeric if n in failed}, numeric).items()
    ]


def _check_repeatable(foreign: Foreign, pulled: Pulled) -> None:
    """A function that draws random numbers has no derivative that could be checked."""
    again = foreign.pulled().values
    for a, b in zip(pulled.values, again, strict=True):
        if a.shape != b.shape or np.max(np.abs(a - b), initial=0.0) > 1e-4 * np.max(np.abs(a), initial=0.0):
            raise UserError(
                "fn must give the same value at the same inputs; two calls differ: fix the seed of its draws"
            )


def _drawn(pulled: Pulled, rng: np.random.Generator) -> Values:
    """1 for a number that is the only output, random cotangents otherwise, in the dtypes of the values."""
    if len(pulled.values) == 1 and pulled.values[0].ndim == 0:
        return (np.ones((), dtype=pulled.values[0].dtype),)
    return tuple(np.asarray(rng.standard_normal(v.shape), dtype=v.dtype) for v in pulled.values)


def _by_time(pulled: Pulled, cotangents: Values, axis: int) -> list[Values]:
    """The cotangents of the first output at one step alone, for each step; those of other outputs are zero."""
    first, rest = cotangents[0], tuple(np.zeros_like(c) for c in cotangents[1:])
    if not pulled.takes_cotangent or not isinstance(axis, int) or not -first.ndim <= axis < first.ndim:
        raise UserError(f"time_axis needs a value with that axis and its cotangent; got {axis!r}, value {first.shape}")

    def at(t: int) -> HostArray:
        alone = np.zeros_like(first)
        np.moveaxis(alone, axis, 0)[t] = np.moveaxis(first, axis, 0)[t]
        return alone

    return [(at(t), *rest) for t in range(first.shape[axis])]
