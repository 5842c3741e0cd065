"""What every right backward has, whatever the derivatives: each property as a function that says how it is missed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import TypeAlias

import numpy as np
from array_api_compat import device

from rnnbp.cellbase import Cell
from rnnbp.checking.metric import compare
from rnnbp.checking.problems import Problem
from rnnbp.checking.trials import Trial, owned, read_only, strided
from rnnbp.checking.verdicts import Setting
from rnnbp.numerics import HostArray

# (cell, problem, how) -> how the property is missed, in words; empty if it holds
Property: TypeAlias = Callable[[Cell, Problem, Setting], str]
Gradients: TypeAlias = Mapping[str, HostArray]

SCALES = (100.0, -30.0)  # of two cotangents in the test of linearity: a limit on the size of a gradient shows


def zero_at_zero(cell: Cell, problem: Problem, how: Setting) -> str:
    """Zero cotangents give gradients that are exactly zero."""
    trial = _trial(cell, problem, how)
    found = trial.of(np.zeros_like(problem.dys), tuple(map(np.zeros_like, problem.ds_T)))

    def fault(n: str, d: HostArray) -> str:
        if not d.any():
            return ""
        itself = d.shape == trial.hosts[n].shape and compare(d, trial.hosts[n]).error < trial.rounding
        return f"d{n} is {n} itself" if itself else f"d{n} is as large as {np.max(np.abs(d)):.1e}"

    return _listed(fault(n, d) for n, d in found.items())


def none_is_zero(cell: Cell, problem: Problem, how: Setting) -> str:
    """A cotangent of None, for the outputs, for all last states or for each of them, means zero."""
    trial, dys, ds_T = _trial(cell, problem, how), problem.dys, problem.ds_T
    no_dys, no_ds = np.zeros_like(dys), tuple(map(np.zeros_like, ds_T))
    of_outputs, of_states = trial.of(dys, no_ds), trial.of(no_dys, ds_T)
    cases = {
        "ds_T=None": _differ(trial, trial.of(dys, None), of_outputs),
        "None for each state": _differ(trial, trial.of(dys, (None,) * len(ds_T)), of_outputs),
        "dys=None": _differ(trial, trial.of(None, ds_T), of_states),
    }
    return _listed(f"{case}: {fault}" for case, fault in cases.items() if fault)


def repeatable(cell: Cell, problem: Problem, how: Setting) -> str:
    """A backward gives the same bits when it is called again, with other cotangents in between."""
    trial = _trial(cell, problem, how)
    once = trial.of(problem.dys, problem.ds_T)
    trial.of(-problem.dys, problem.ds_T)
    again = trial.of(problem.dys, problem.ds_T)
    return _listed(f"d{n} changes when backward is called again" for n in once if not _same_bits(once[n], again[n]))


def linear(cell: Cell, problem: Problem, how: Setting) -> str:
    """The gradients of a weighted sum of cotangents are the weighted sum of their gradients, at any size."""
    trial, (a, b), ds_T = _trial(cell, problem, how), SCALES, problem.ds_T
    other = (np.flip(problem.dys), tuple(map(np.flip, ds_T)))
    one, two = trial.of(problem.dys, ds_T), trial.of(*other)
    sums = tuple(a * d + b * e for d, e in zip(ds_T, other[1], strict=True))
    whole = trial.of(a * problem.dys + b * other[0], sums)

    def fault(n: str) -> str:
        size = abs(a) * np.linalg.norm(one[n]) + abs(b) * np.linalg.norm(two[n])
        off = float(np.linalg.norm(whole[n] - a * one[n] - b * two[n]))
        return "" if off <= trial.rounding * size else f"d{n} by {off / size if size else off:.1e}"

    said = _listed(map(fault, whole))
    return f"{said} off; clipping or normalising does that" if said else ""


def untouched(cell: Cell, problem: Problem, how: Setting) -> str:
    """Neither forward nor backward writes to what it was given."""
    trial = _trial(cell, problem, how)
    trial.backward(trial.dys, trial.ds_T)
    fresh = {n: how.backend.to_numpy(owned(how)(v)) for n, v in trial.hosts.items()}
    now = {n: how.backend.to_numpy(a) for n, a in trial.given.items()}
    return _listed(f"{n} was written to" for n in fresh if not _same_bits(fresh[n], now[n]))


def accepts_read_only(cell: Cell, problem: Problem, how: Setting) -> str:
    """Inputs and cotangents that cannot be written to are taken, and give the same bits."""
    trial = _trial(cell, problem, how)
    wanted = trial.of(problem.dys, problem.ds_T)
    found = Trial(trial.problem, how, read_only(how)).of(problem.dys, problem.ds_T)
    return _listed(f"d{n} is another one" for n in wanted if not _same_bits(found[n], wanted[n]))


def accepts_views(cell: Cell, problem: Problem, how: Setting) -> str:
    """Inputs and cotangents that are transposed and strided views give the same, to rounding."""
    trial = _trial(cell, problem, how)
    viewed = Trial(trial.problem, how, strided(how))
    return _differ(trial, viewed.of(problem.dys, problem.ds_T), trial.of(problem.dys, problem.ds_T))


def well_formed(cell: Cell, problem: Problem, how: Setting) -> str:
    """Outputs, states and gradients have the names, shapes, dtype and device that they should have."""
    trial, given = _trial(cell, problem, how), {}
    found = trial.backward(trial.dys, trial.ds_T)
    if tuple(found) != trial.tensors:
        return f"gradients are named {', '.join(found)}, the tensors {', '.join(trial.tensors)}"
    pairs = {f"d{n}": (d, trial.given[n]) for n, d in found.items()} | {"ys": (trial.ys, trial.dys)}
    pairs |= {f"last {n}": pair for n, pair in zip(cell.states, zip(trial.s_T, trial.ds_T, strict=True), strict=True)}
    for n, (a, like) in pairs.items():
        if (shape := tuple(a.shape)) != tuple(like.shape):
            given[n] = f"{n} has shape {shape}, not {tuple(like.shape)}"
        elif a.dtype != like.dtype:
            given[n] = f"{n} is {a.dtype}, not {like.dtype}"
        elif device(a) != device(like):
            given[n] = f"{n} is on {device(a)}, not {device(like)}"
    return _listed(given.values())


PROPERTIES: dict[str, Property] = {
    "zero at zero cotangent": zero_at_zero,
    "None means zero": none_is_zero,
    "repeatable": repeatable,
    "linear in the cotangent": linear,
    "inputs untouched": untouched,
    "read-only inputs": accepts_read_only,
    "non-contiguous inputs": accepts_views,
    "shapes, dtypes, devices": well_formed,
}


def _trial(cell: Cell, problem: Problem, how: Setting) -> Trial:
    return Trial(replace(problem, cell=cell), how, owned(how))


def _differ(trial: Trial, found: Gradients, wanted: Gradients) -> str:
    errors = {n: compare(found[n], wanted[n]).norm for n in wanted}
    return _listed(f"d{n} is another one, by {e:.1e}" for n, e in errors.items() if not e <= trial.rounding)


def _same_bits(a: HostArray, b: HostArray) -> bool:
    return a.shape == b.shape and a.dtype == b.dtype and np.array_equal(a, b, equal_nan=a.dtype != bool)


def _listed(faults: Iterable[str]) -> str:
    return ", ".join(filter(None, faults))
