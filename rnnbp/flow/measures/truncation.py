"""What truncated backpropagation leaves of the gradient."""

from __future__ import annotations

import numpy as np

from rnnbp.flow.measures.found import Axis, Line, Measured, Panel, Picture
from rnnbp.flow.measures.thinning import said
from rnnbp.flow.subjects import Subject

PICTURES = {
    "truncation": Picture(
        "The truncated gradient beside the full one",
        "G_k: every error goes back through k steps (tbptt:1,k). ‖G_k‖ / ‖G‖, cos = ⟨G_k, G⟩ / (‖G_k‖ ‖G‖), and "
        "‖G_k − G‖ / ‖G‖",
        Axis("steps k that an error goes back", log=True),
        Axis("beside the full gradient G"),
        together=False,
    ),
}
NEAR = (0.1, 0.01)  # relative errors


def measure(subject: Subject) -> Measured:
    """The truncated gradient for every k, and how many steps it takes to come near the full one."""
    found = subject.by_lag
    ratio, cosine = found.truncated.ratio, found.truncated.cosine
    steps = np.arange(1, len(ratio) + 1)
    error = np.sqrt(np.maximum(ratio**2 - 2 * ratio * cosine + 1, 0.0))  # of unit vectors' triangle
    error[-1] = 0.0
    near = {share: _first(steps, error <= share) for share in NEAR}
    numbers = {f"steps within {100 * share:g} %": k for share, k in near.items()}
    seen = (
        f"One step alone leaves {said(ratio[0])} of the gradient's norm, at a cosine of {said(cosine[0])}; within 10 % "
        f"of the full gradient it takes {near[0.1]:g} of {len(steps)} steps."
    )
    lines = (
        Line("norm ratio", steps, ratio),
        Line("cosine", steps, cosine, "dashed"),
        Line("relative error", steps, error, "dashed"),
    )
    note = f"The full gradient is that of {len(steps)} steps: errors were not followed further."
    notes = (note,) if len(steps) < subject.path.time_steps else ()
    return Measured("truncation", numbers, (Panel("truncation", seen, lines),), notes)


def _first(steps: np.ndarray[tuple[int], np.dtype[np.int_]], near: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> float:
    """The first k from which on all are near."""
    far = np.flatnonzero(~near)
    return float(steps[far[-1] + 1] if len(far) else steps[0])
