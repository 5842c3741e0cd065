"""What truncated backpropagation leaves of the gradient."""

from __future__ import annotations

from math import inf

import numpy as np

from rnnbp.flow.measures.found import Axis, Line, Measured, Panel, Picture
from rnnbp.flow.measures.thinning import said
from rnnbp.flow.subjects import Subject
from rnnbp.numerics import HostArray

PICTURES = {
    "truncation": Picture(
        "The truncated gradient beside the full one",
        "G_k, of all weights of the cells: every error goes back through k steps (tbptt:1,k). ‖G_k‖ / ‖G‖, cos = "
        "⟨G_k, G⟩ / (‖G_k‖ ‖G‖), and ‖G_k − G‖ / ‖G‖",
        Axis("steps k that an error goes back", log=True),
        Axis("beside the full gradient G"),
        together=False,
    ),
}
NEAR = (0.1, 0.01)  # relative errors


def measure(subject: Subject) -> Measured:
    """The truncated gradient for every k, and how many steps it takes to come near the full one."""
    found, every = subject.by_lag, subject.path.time_steps
    ratio, cosine = found.truncated.ratio, found.truncated.cosine
    steps = np.arange(1, len(ratio) + 1)
    error = np.sqrt(np.maximum(ratio**2 - 2 * ratio * cosine + 1, 0.0))  # the third side of the triangle
    if len(steps) == every:
        error[-1] = 0.0
    near = {share: _near(steps, error, share) for share in NEAR}
    numbers = {f"steps within {100 * share:g} %": k for share, k in near.items()}
    takes = f"{near[0.1]:g} of {every}" if near[0.1] <= every else f"more than the {len(steps)} that were followed"
    at = f", at a cosine of {said(cosine[0])}" if ratio[0] > 0 else ""
    seen = (
        f"One step alone leaves {said(ratio[0])} of the gradient's norm{at}; within 10 % of the full gradient it takes "
        f"{takes} steps."
    )
    if np.isnan(ratio[-1]):
        seen = "The full gradient is zero."
    lines = (
        Line("norm ratio", steps, ratio),
        Line("cosine", steps, cosine, "dashed"),
        Line("relative error", steps, error, "dashed"),
    )
    notes = (f"Errors were followed through {len(steps)} of {every} steps.",) if len(steps) < every else ()
    return Measured("truncation", numbers, (Panel("truncation", seen, lines),), notes)


def _near(steps: HostArray, error: HostArray, share: float) -> float:
    """The first k from which on the relative error is at most that; inf if there is none."""
    far = np.flatnonzero(~(error <= share))
    if not len(far):
        return float(steps[0])
    return float(steps[far[-1] + 1]) if far[-1] + 1 < len(steps) else inf
