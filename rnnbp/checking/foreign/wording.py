"""The words of a report on foreign code: checks, remarks, the table over time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import nan
from typing import Any

from rnnbp.checking.foreign.claims import Claims
from rnnbp.checking.foreign.findings import ByTime
from rnnbp.checking.foreign.inputs import Inputs
from rnnbp.checking.foreign.measures import TINY
from rnnbp.checking.foreign.slopes import TOLD, Slopes
from rnnbp.checking.foreign.verdicts import Judged
from rnnbp.checking.methods.tolerances import tolerance
from rnnbp.checking.report import Check

SHOWN = 4  # entries that a remark names


def checks_of(
    called: str,
    backend: str,
    method: str,
    claims: Claims,
    inputs: Inputs,
    slopes: Slopes,
    judged: Mapping[str, Judged],
) -> tuple[dict[str, Check], list[Check]]:
    """The check of each tensor whose gradient was compared, and of each that could not be: these failed."""

    def check(name: str, **found: Any) -> Check:
        found |= {"cell": called, "backend": backend, "truncation": "", "level": "function"}
        return Check(tensor=name, dtype=inputs.dtypes[name], **found)

    checks, misfits = {}, []
    for name, found in judged.items():
        first, limit = found.verdicts[0], slopes.limit(found.method, inputs.dtypes[name])
        numbers = {"error": first.error, "tolerance": max(limit, min(first.rounding, TOLD))} | first.measured
        words = {"shape": found.shape, "method": found.method, "directions": len(found.seeds), "seeds": found.seeds}
        checks[name] = check(name, **words, **numbers)
    for name, why in claims.misfits.items():
        limit = tolerance(method, inputs.dtypes[name]).value
        numbers = {"error": nan, "norm_error": nan, "max_error": nan, "tolerance": limit}
        misfits.append(check(name, note=why, method=method, **numbers))
    return checks, misfits


def by_time(judged: Mapping[str, Judged], checks: Mapping[str, Check]) -> ByTime:
    """The errors of each tensor for a cotangent at one step alone; rounding above a tolerance is taken off.

    In float32 they are in units of the largest step's gradient: a small one is rounded with what it is made of.
    """

    def errors(name: str) -> list[float]:
        steps, limit = judged[name].verdicts[1:], checks[name].tolerance
        found = [v.error if v.rounding <= limit else max(0.0, v.error - v.rounding) for v in steps]
        if limit < tolerance(checks[name].method, "float32").value:
            return found
        largest = max(max(v.largest for v in steps), TINY)
        return [error * v.largest / largest for error, v in zip(found, steps, strict=True)]

    rows = tuple(zip(*map(errors, judged), strict=True))
    return ByTime(tuple(judged), tuple(checks[name].tolerance for name in judged), rows)


def remarks(
    claims: Claims,
    inputs: Inputs,
    slopes: Slopes,
    judged: Mapping[str, Judged],
    checks: Mapping[str, Check],
    seeds: tuple[int, ...],
) -> Iterator[str]:
    """What the reader should know beside the verdicts."""
    if claims.missing:
        yield f"not checked, for no gradient of it is claimed: {', '.join(claims.missing)}"
    if inputs.constants:
        yield f"not differentiated, for not of a floating dtype: {', '.join(inputs.constants)}"
    for name, what in claims.unlike.items():
        yield f"the gradient of {name} is {what}"
    if slopes.why_own:
        yield f"evaluated in the inputs' own dtype, for fn takes no float64: {slopes.why_own}"
    if not slopes.precise and any(found.method != "complex-step" for found in judged.values()):
        step = slopes.step("five-point")
        yield f"fn rounds to {slopes.relative:.0e} of its value: not double precision, so steps are {step:.0e}"
    if slopes.relative > TOLD and any(found.method != "complex-step" for found in judged.values()):
        yield "that is too much for differences to tell right from wrong: no verdict by them is sure"
    doubts: dict[str, list[str]] = {}
    for name, found in judged.items():
        if found.doubt:
            doubts.setdefault(found.doubt, []).append(name)
    for doubt, names in doubts.items():
        yield f"five-point differences in place of complex steps for {', '.join(names)}: {doubt}"
    if any(found.seeds for found in judged.values()):
        drawn = ", ".join(map(str, seeds))
        yield f"large: of each tensor {len(seeds)} random directions of ±1 (seeds {drawn}) and some entries, not all"
    rounding = {name: judged[name].verdicts[0].rounding for name in checks}
    raised = {name: r for name, r in rounding.items() if checks[name].tolerance == min(r, TOLD)}
    if raised:
        known = ", ".join(f"{n} to {r:.0e}" if r < 1 else f"{n} not at all" for n, r in raised.items())
        yield f"for fn's own rounding the numeric gradients are known only so far: {known}; a smaller fault hides there"
    if unknown := [name for name, r in raised.items() if r > TOLD]:
        yield f"undecided: {', '.join(unknown)}: what is off by more than {TOLD:.0e} fails, be it rounding or a fault"
    for name, found in judged.items():
        if found.kinks:
            yield _on_kinks(name, found.kinks)
        if found.vague:
            yield f"left out for fn's rounding, which is too much for a verdict there: {found.vague} entries of {name}"
        if found.unsettled > TOLD:
            yield (
                f"differences of {name} do not settle: two steps are {found.unsettled:.0e} of the largest gradient "
                "apart; the numeric gradient is not known there, and no verdict on it is sure"
            )


def _on_kinks(name: str, places: tuple[tuple[int, ...], ...]) -> str:
    """Which entries sit on a kink."""
    at = [f"{name}{list(place)}" for place in places if place]
    words = []
    if at:
        more = f" and {len(at) - SHOWN} more" if len(at) > SHOWN else ""
        sit = "sits" if len(at) == 1 else "sit"
        words.append(f"{', '.join(at[:SHOWN])}{more} {sit} on a kink: there any slope between the two sides passes")
    if () in places:
        words.append(f"zeros of {name} sit on kinks: the random directions leave them out")
    return "; ".join(words)
