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
        "λ_i: a difference along the i-th direction grows as exp(λ_i t). λ_1 > 0: chaos, and errors that explode; "
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
    first = float(values[0])
    sure = abs(first) > 2 * error[0]
    means = "small differences grow: chaos" if first > 0 else "small differences die: the state forgets its start"
    seen = (
        f"λ_1 = {said(first)} ± {said(error[0])}: {means if sure else 'too near to zero to tell growing from dying'}."
    )
    at = found.warmup + 1 + np.arange(len(running))
    settling = [Line(f"λ_{i + 1}", at, _finite(running[:, i])) for i in range(min(k, SHOWN))]
    spectrum = [Line("λ", number, _finite(values), "points")]
    spectrum += [
        Line(f"λ {sign} error", number, _finite(values + of * error), "dashed") for sign, of in (("+", 1), ("−", -1))
    ]
    parts = {"settling": settling, "spectrum": spectrum}
    drawn = {name: tuple(line for line in lines if np.any(np.isfinite(line.y))) for name, lines in parts.items()}
    said_of = {"settling": f"After {path.time_steps} steps λ_1 is known to within {said(error[0])}.", "spectrum": seen}
    panels = tuple(Panel(name, said_of[name], lines) for name, lines in drawn.items() if lines)
    notes = (f"The leading {k} exponents of {path.size}.",) if k < path.size else ()
    return Measured("lyapunov", {"λ_1": first, "error": float(error[0])}, panels, notes)


def _error(of_each: HostArray) -> HostArray:
    """The standard error (k,) of a mean over sequences (B, k) whose errors are independent."""
    return np.asarray(np.sqrt(np.sum(of_each**2, axis=0)) / len(of_each))


def _finite(values: HostArray) -> HostArray:
    return np.where(np.isfinite(values), values, np.nan)
