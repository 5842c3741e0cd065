"""What clipping did over a training run: how often, how much, and whether it turned the gradient."""

from __future__ import annotations

import numpy as np

from rnnbp.errors import UserError
from rnnbp.flow.measures.found import Axis, Line, Measured, Panel, Picture
from rnnbp.flow.measures.thinning import column, said
from rnnbp.flow.subjects import Subject
from rnnbp.numerics import HostArray

STEP = Axis("training step")
LIMITS = {"clip_value": "by value", "clip_tensor": "by tensor", "clip_norm": "by norm", "clip_step": "on the way back"}
LEFT = {"norm_ratio": "‖g'‖ / ‖g‖", "cosine": "cosine", "cosine_min": "smallest cosine"}
LEFT |= {"norm_ratio_step": "‖g'‖ / ‖g‖ on the way back", "cosine_step": "cosine on the way back"}
PICTURES = {
    "clipped": Picture(
        "How often gradients were clipped",
        "the share of the steps since the last row of metrics whose gradient was above the limit; on the way back "
        "(--clip-step), 1 or 0 of the last of them",
        STEP,
        Axis("share of steps"),
        together=False,
    ),
    "after clipping": Picture(
        "What clipping left of the gradient",
        "g before, g' after: ‖g'‖ / ‖g‖ and cos = ⟨g, g'⟩ / (‖g‖ ‖g'‖), means over steps. By norm alone the direction "
        "stays, cos = 1. On the way back: clipped at every time step (--clip-step), of the rows' last steps alone",
        STEP,
        Axis("beside the gradient before"),
        together=False,
    ),
    "gradient norm": Picture(
        "The gradient's norm before clipping",
        "‖g‖ over all parameters, the mean of the steps since the last row of metrics",
        STEP,
        Axis("norm of the gradient", log=True),
    ),
}


def measure(subject: Subject) -> Measured:
    """Of a run, from its metrics; what clipping at every step did is known of the rows' last steps alone."""
    rows = [row for row in subject.rows if row.get("step")]
    if not rows:
        raise UserError("clipping is what a training run did; this is no run, or one without a row of metrics")
    fired = {name: values for name in LIMITS if np.any(np.isfinite(values := column(rows, name)))}
    if not fired:
        raise UserError("this run clips nothing: train with --clip-norm, --clip-value, --clip-tensor or --clip-step")
    step = np.array([row["step"] for row in rows])
    counts = np.diff(step, prepend=0)
    left = {name: values for name in LEFT if np.any(np.isfinite(values := column(rows, name)))}
    numbers = {f"clipped {LIMITS[name]}": _mean(values, counts) for name, values in fired.items()}
    means = {name: _mean(left[key], counts) for key, name in LEFT.items() if key in left and key != "cosine_min"}
    numbers |= means
    if "cosine_min" in left:
        numbers["smallest cosine"] = float(np.nanmin(left["cosine_min"]))
    often = ", ".join(f"{_mean(values, counts):.0%} {LIMITS[name]}" for name, values in fired.items())
    panels = [
        Panel(
            "clipped", f"Steps that were clipped: {often}.", tuple(Line(LIMITS[k], step, y) for k, y in fired.items())
        )
    ]
    if means:
        seen = " and ".join(f"{name} is {said(mean)}" for name, mean in means.items())
        panels.append(
            Panel("after clipping", f"On average {seen}.", tuple(Line(LEFT[k], step, y) for k, y in left.items()))
        )
    if np.any(np.isfinite(norm := column(rows, "grad_norm"))):
        lines = [Line("before clipping", step, norm)]
        if limit := subject.config.get("clip_norm"):
            lines.append(Line("limit of the norm", step, np.full(len(step), float(limit)), "dashed"))
        seen = f"The mean norm is {said(_mean(norm, counts))}, the largest of a row {said(np.nanmax(norm))}."
        panels.append(Panel("gradient norm", seen, tuple(lines)))
    last = "What was clipped on the way back is known of the last step of each row alone, which stands for all of them."
    return Measured("clipping", numbers, tuple(panels), (last,) if "clip_step" in fired else ())


def _mean(values: HostArray, counts: HostArray) -> float:
    """Over the steps: a row counts as many as it sums up."""
    there = np.isfinite(values)
    return float(np.sum(values[there] * counts[there]) / np.sum(counts[there]))
