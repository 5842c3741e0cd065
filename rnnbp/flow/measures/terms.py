"""The terms that make up the derivative of a gated cell's memory, and how far they cancel."""

from __future__ import annotations

import numpy as np

from rnnbp.errors import UserError
from rnnbp.flow.cancelling import term_sizes
from rnnbp.flow.measures.found import Axis, Line, Measured, Panel, Picture
from rnnbp.flow.measures.layering import by_layer
from rnnbp.flow.measures.thinning import said, spread
from rnnbp.flow.subjects import Subject
from rnnbp.flow.terms import first_step
from rnnbp.flow.trajectories import Trajectory
from rnnbp.numerics import HostArray

WORK = 1e8  # H³ times the steps and sequences whose terms are computed
BINS = 20
STEP = Axis("step t")
PICTURES = {
    "terms": Picture(
        "The terms of the memory's derivative by the one before",
        "LSTM, the total derivative, with h_{t−1} = o_{t−1} tanh C_{t−1}: C_{t−1} ∂f/∂C_{t−1} + g ∂i/∂C_{t−1} + "
        "i ∂g/∂C_{t−1} + diag(f), named f, i, g, direct. GRU, ∂h_t/∂h_{t−1}: through z, r and n, which 1 − z lets in, "
        "and diag(z), direct",
        STEP,
        Axis("Frobenius norm / √H"),
        together=False,
    ),
    "cosines": Picture(
        "Whether the terms add up or cancel",
        "⟨A, B⟩ / (‖A‖ ‖B‖) of two terms, ⟨A, B⟩ = Σ A ∘ B: 1 adds up, 0 apart, −1 cancels",
        STEP,
        Axis("cosine"),
        together=False,
    ),
    "remaining": Picture(
        "What is left when the terms are added, unit by unit",
        "of row j: ‖Σ terms‖ / Σ ‖terms‖, 1 where all point the same way, 0 where they cancel; n of one size at right "
        "angles leave 1/√n",
        Axis("share that remains"),
        Axis("share of units, steps and sequences"),
    ),
}


def measure(subject: Subject) -> Measured:
    """Norms and cosines of the terms, layer by layer, and what remains of them."""
    return by_layer(subject, PICTURES, _of_layer)


def _of_layer(path: Trajectory) -> Measured:
    first, wide = first_step(path.cell), path.cell.hidden_size
    if first >= path.time_steps:
        raise UserError(f"terms need a step with one before it, {first + 1} steps or more; got {path.time_steps}")
    steps = spread(first, path.time_steps, max(8, int(WORK / (wide**3 * path.xs.shape[1]))))
    found, at = term_sizes(path, steps, spectral=False), np.asarray(steps) + 1  # steps are counted from 1 on
    sizes = {name: np.mean(norm, axis=1) / np.sqrt(wide) for name, norm in found.frobenius.items()}
    cosines = {f"{a}, {b}": _mean(cosine) for (a, b), cosine in found.cosines.items()}
    numbers = {name: float(np.mean(size)) for name, size in sizes.items()}
    numbers |= {"remaining": float(_mean(found.remaining.reshape(1, -1))[0])}
    total, direct = said(numbers["total"]), said(numbers["direct"])
    seen = f"On average the sum of the terms has the size {total}, and direct alone {direct}."
    panels = [Panel("terms", seen, tuple(Line(name, at, y, _style(name)) for name, y in sizes.items()))]
    if there := {name: y for name, y in cosines.items() if np.any(np.isfinite(y))}:
        means = {name: float(np.nanmean(y)) for name, y in there.items()}
        low, high = min(means, key=lambda name: means[name]), max(means, key=lambda name: means[name])
        seen = f"Mean cosines lie between {said(means[low])} ({low}) and {said(means[high])} ({high})."
        panels.append(Panel("cosines", seen, tuple(Line(name, at, y) for name, y in there.items())))
    if np.isfinite(numbers["remaining"]):
        seen = f"On average the sum of the whole matrices has {numbers['remaining']:.0%} of their norms."
        label = f"∂{found.state}_t/∂{found.state}_{{t−1}}"
        panels.append(Panel("remaining", seen, (_histogram(label, found.unit_remaining),)))
    notes = [f"Terms at {len(at)} of {path.time_steps - first} steps."] if len(at) < path.time_steps - first else []
    return Measured("terms", numbers, tuple(panels), tuple(notes))


def _style(term: str) -> str:
    return "dashed" if term == "total" else "line"


def _mean(values: HostArray) -> HostArray:
    """The mean over sequences (S, B) -> (S,), of those that have one."""
    there = np.isfinite(values)
    count = np.sum(there, axis=1)
    return np.where(count > 0, np.sum(np.where(there, values, 0.0), axis=1) / np.maximum(count, 1), np.nan)


def _histogram(label: str, shares: HostArray) -> Line:
    counts, edges = np.histogram(shares[np.isfinite(shares)], BINS, (0.0, 1.0 + 1e-9))  # 1 and a rounding is within
    return Line(label, (edges[1:] + edges[:-1]) / 2, counts / shares.size, "bars")
