"""Lyapunov exponents: whether small differences of the state grow or die along the sequence."""

from __future__ import annotations

import numpy as np

from rnnbp.flow.lyapunov import lyapunov_spectrum
from rnnbp.flow.measures.found import Axis, Line, Measured, Panel, Picture
from rnnbp.flow.measures.thinning import said
from rnnbp.flow.subjects import Subject
from rnnbp.numerics import HostArray

SMALL, FEW, SHOWN = 64, 8, 3  # numbers of a state whose whole spectrum is computed; else so many exponents
PICTURES = {
    "settling": Picture(
        "How the leading exponents settle",
        "λ_i ≈ the mean over the steps so far of log |R_ii|, Q_t R_t = J_t Q_{t−1}; the mean over the sequences",
        Axis("step t"),
        Axis("exponent, e-folds a step"),
        together=False,
    ),
    "spectrum": Picture(
        "The Lyapunov spectrum",
        "λ_i: a difference along the i-th direction grows as exp(λ_i t). λ_1 > 0: errors explode, and it is "
        "chaos where the states stay bounded; "
        "λ_1 < 0: the state forgets where it started. Dashed: λ ± one standard error",
        Axis("number i of the exponent"),
        Axis("exponent, e-folds a step"),
    ),
}


def measure(subject: Subject) -> Measured:
    """The leading exponents with standard errors, and how they settle."""
    path = subject.path
    k = path.size if path.size <= SMALL else FEW
    found = lyapunov_spectrum(path, k)
    values, error = np.mean(found.exponents, axis=0), _error(found.standard_error)
    running, number = np.mean(found.running, axis=1), np.arange(1, k + 1)
    at, known = found.warmup + 1 + np.arange(len(running)), np.isfinite(error)
    settling = [Line(f"λ_{i + 1}", at, _finite(running[:, i])) for i in range(min(k, SHOWN))]
    spectrum = [Line("λ", number, _finite(values), "points")]
    for sign, width in (("+", error), ("−", -error)):
        edge = np.where(known, values, np.nan) + np.where(known, width, np.nan)
        spectrum.append(Line(f"λ {sign} error", number, edge, "dashed"))
    settled = f"After {path.time_steps} steps λ_1 is known to within {said(error[0])}{_unordered(values, error)}."
    parts = {"settling": (settled, settling), "spectrum": (_meaning(values[0], error[0]), spectrum)}
    panels = (
        Panel(name, seen, tuple(line for line in lines if np.any(np.isfinite(line.y))))
        for name, (seen, lines) in parts.items()
    )
    notes = (f"The leading {k} exponents of {path.size}.",) if k < path.size else ()
    numbers = {"λ_1": float(values[0]), "error": float(error[0])}
    return Measured("lyapunov", numbers, tuple(panel for panel in panels if panel.lines), notes)


def _meaning(first: float, error: float) -> str:
    if first == -np.inf:
        return "λ_1 is −∞: to rounding, there is a step that leaves nothing of any difference, |R_11| = 0."
    grow = "small differences grow: chaos, where the states stay bounded"
    means = grow if first > 0 else "small differences die: the state forgets its start"
    sure = abs(first) > 2 * error
    return f"λ_1 = {said(first)} ± {said(error)}: {means if sure else 'too near to zero to tell growing from dying'}."


def _unordered(values: HostArray, error: HostArray) -> str:
    """Exponents come out in falling order once the directions have settled: what to do where they have not."""
    there = values[np.isfinite(values)]  # those of −∞ are the last ones
    rises = np.diff(there) > 2 * np.hypot(error[1 : len(there)], error[: len(there)][:-1])
    if not np.any(rises):
        return ""
    i = int(np.argmax(rises)) + 1
    return f", if the directions have settled, which they have not: λ_{i + 1} is above λ_{i}; take more steps"


def _error(of_each: HostArray) -> HostArray:
    """The standard error (k,) of a mean over sequences (B, k) whose errors are independent; inf where one has none."""
    found = np.sqrt(np.sum(of_each**2, axis=0)) / len(of_each)
    return np.where(np.isnan(found), np.inf, found)


def _finite(values: HostArray) -> HostArray:
    return np.where(np.isfinite(values), values, np.nan)
