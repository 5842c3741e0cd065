"""What every right backward has, whatever the derivatives: each property as a function that says how it is missed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import TypeAlias

import numpy as np
from array_api_compat import device

from rnnbp.cellbase import Cell
from rnnbp.checking.metric import compare
from rnnbp.checking.properties.pullbacks import Pullback, scan_pullback
from rnnbp.checking.properties.starts import FROM_THE_START, finite_scan
from rnnbp.checking.properties.trials import Trial, owned, read_only, strided
from rnnbp.checking.subjects.problems import Problem
from rnnbp.checking.verdicts import Setting
from rnnbp.numerics import HostArray

Ask: TypeAlias = Callable[[Pullback, Setting], str]  # how a function's backward misses a property, in words, or ""
Property: TypeAlias = Callable[[Cell, Problem, Setting], str]  # the same of the scan of a problem by that cell
Gradients: TypeAlias = Mapping[str, HostArray]

SCALES = (1e6, -3e5)  # of two cotangents in the test of linearity: a limit on the size of a gradient shows


def zero_at_zero(pullback: Pullback, how: Setting) -> str:
    """Zero cotangents give gradients that are exactly zero."""
    trial = Trial(pullback, how, owned(how))
    found = trial.of({n: np.zeros_like(d) for n, d in pullback.cotangents.items()})

    def fault(n: str, d: HostArray) -> str:
        if not d.any():
            return ""
        itself = d.shape == trial.hosts[n].shape and compare(d, trial.hosts[n]).error < trial.rounding
        return f"d{n} is {n} itself" if itself else f"d{n} is as large as {np.max(np.abs(d)):.1e}"

    return _listed(fault(n, d) for n, d in found.items())


def none_is_zero(pullback: Pullback, how: Setting) -> str:
    """A cotangent of None, for the outputs of a scan, for all last states or for each of them, means zero."""
    trial, (ys, *last) = Trial(pullback, how, owned(how)), pullback.cotangents
    given = pullback.cotangents
    no_ys, no_last = {**given, ys: np.zeros_like(given[ys])}, {**given, **{n: np.zeros_like(given[n]) for n in last}}
    of_outputs, of_states = trial.of(no_last), trial.of(no_ys)
    cases = {
        "ds_T=None": _differ(trial, trial.of({ys: given[ys]}), of_outputs),
        "None for each state": _differ(trial, trial.of({**given, **dict.fromkeys(last)}), of_outputs),
        "dys=None": _differ(trial, trial.of({**given, ys: None}), of_states),
    }
    return _listed(f"{case}: {fault}" for case, fault in cases.items() if fault)


def repeatable(pullback: Pullback, how: Setting) -> str:
    """A backward gives the same bits when it is called again, with other cotangents in between."""
    trial, given = Trial(pullback, how, owned(how)), pullback.cotangents
    once = trial.of(given)
    trial.of({n: -d for n, d in given.items()})
    again = trial.of(given)
    return _listed(f"d{n} changes when backward is called again" for n in once if not _same_bits(once[n], again[n]))


def linear(pullback: Pullback, how: Setting) -> str:
    """The gradients of a weighted sum of cotangents are the weighted sum of their gradients, at any size."""
    trial, (a, b), given = Trial(pullback, how, owned(how)), SCALES, pullback.cotangents
    other = {n: np.flip(d) for n, d in given.items()}
    one, two = trial.of(given), trial.of(other)
    whole = trial.of({n: np.asarray(a * d + b * other[n]) for n, d in given.items()})

    def fault(n: str) -> str:
        size = abs(a) * np.linalg.norm(one[n]) + abs(b) * np.linalg.norm(two[n])
        off = float(np.linalg.norm(whole[n] - a * one[n] - b * two[n]))
        return "" if off <= trial.rounding * size else f"d{n} by {off / size if size else off:.1e}"

    said = _listed(map(fault, whole))
    return f"{said} off; clipping or normalising does that" if said else ""


def untouched(pullback: Pullback, how: Setting) -> str:
    """Neither forward nor backward writes to what it was given."""
    trial = Trial(pullback, how, owned(how))
    trial.backward()
    fresh = {n: how.backend.to_numpy(owned(how)(v)) for n, v in trial.hosts.items()}
    now = {n: how.backend.to_numpy(a) for n, a in trial.given.items()}
    return _listed(f"{n} was written to" for n in fresh if not _same_bits(fresh[n], now[n]))


def accepts_read_only(pullback: Pullback, how: Setting) -> str:
    """Inputs and cotangents that cannot be written to are taken, and give the same bits."""
    wanted = Trial(pullback, how, owned(how)).of(pullback.cotangents)
    found = Trial(pullback, how, read_only(how)).of(pullback.cotangents)
    return _listed(f"d{n} is another one" for n in wanted if not _same_bits(found[n], wanted[n]))


def accepts_views(pullback: Pullback, how: Setting) -> str:
    """Inputs and cotangents that are transposed and strided views give the same, to rounding."""
    trial, viewed = Trial(pullback, how, owned(how)), Trial(pullback, how, strided(how))
    return _differ(trial, viewed.of(pullback.cotangents), trial.of(pullback.cotangents))


def well_formed(pullback: Pullback, how: Setting) -> str:
    """Outputs and gradients have the names, shapes, dtype and device that they should have."""
    trial, faults = Trial(pullback, how, owned(how)), []
    found = trial.backward()
    if set(found) != set(pullback.tensors):
        return f"gradients are named {', '.join(found)}, the tensors {', '.join(pullback.tensors)}"
    pairs = {f"d{n}": (d, trial.given[n]) for n, d in found.items()}
    pairs |= {n: (trial.outputs[n], trial.given[f"d{n}"]) for n in pullback.cotangents}
    for n, (a, like) in pairs.items():
        if (shape := tuple(a.shape)) != tuple(like.shape):
            faults.append(f"{n} has shape {shape}, not {tuple(like.shape)}")
        elif a.dtype != like.dtype:
            faults.append(f"{n} is {a.dtype}, not {like.dtype}")
        elif device(a) != device(like):
            faults.append(f"{n} is on {device(a)}, not {device(like)}")
    return _listed(faults)


def _of_scan(ask: Ask) -> Property:
    def asked(cell: Cell, problem: Problem, how: Setting) -> str:
        return ask(scan_pullback(replace(problem, cell=cell)), how)

    asked.__doc__ = ask.__doc__  # the conformance suite says what a property is
    return asked


# of any function with a backward that takes cotangents
OF_BACKWARDS: dict[str, Ask] = {
    "zero at zero cotangent": zero_at_zero,
    "repeatable": repeatable,
    "linear in the cotangent": linear,
    "inputs untouched": untouched,
    "read-only inputs": accepts_read_only,
    "non-contiguous inputs": accepts_views,
    "shapes, dtypes, devices": well_formed,
}
# of one that starts from a cotangent of its own
WITHOUT_COTANGENT = {n: ask for n, ask in OF_BACKWARDS.items() if ask not in (zero_at_zero, linear)}
# of the scan of a cell, which takes None, too
PROPERTIES: dict[str, Property] = {
    name: _of_scan(ask) for name, ask in {"None means zero": none_is_zero, **OF_BACKWARDS}.items()
}
PROPERTIES[FROM_THE_START] = finite_scan


def _differ(trial: Trial, found: Gradients, wanted: Gradients) -> str:
    errors = {n: compare(found[n], wanted[n]).norm for n in wanted}
    return _listed(f"d{n} is another one, by {e:.1e}" for n, e in errors.items() if not e <= trial.rounding)


def _same_bits(a: HostArray, b: HostArray) -> bool:
    return a.shape == b.shape and a.dtype == b.dtype and np.array_equal(a, b, equal_nan=a.dtype.kind == "f")


def _listed(faults: Iterable[str]) -> str:
    return ", ".join(filter(None, faults))
