"""What is said of vanishing gradients in Elman networks, beside the truth."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from rnnbp.flow.bounds import eigen_prediction, norm_bounds
from rnnbp.flow.measures.found import Axis, Line, Measured, Panel, Picture
from rnnbp.flow.measures.layering import by_layer
from rnnbp.flow.measures.thinning import exp, first_sequence, powers, said, said_exp
from rnnbp.flow.subjects import Subject
from rnnbp.flow.trajectories import Trajectory
from rnnbp.numerics import HostArray

SMALL = 64  # numbers of a state up to which the norms of all lags are computed
LAG = Axis("lag u, steps back")
PICTURES = {
    "bounds": Picture(
        "The bounds of a product, and the truth",
        "‖∂h_T/∂h_{T−u}‖ ≤ Π γ_W max|φ'(a_t)| ≤ (γ_W γ_φ)^u, with γ_W the largest singular value of U and γ_φ the "
        "largest slope of φ",
        LAG,
        Axis("largest singular value", log=True),
        together=False,
    ),
    "eigenvalue": Picture(
        "An error along an eigenvector of U",
        "|λ|^u, with λ the eigenvalue of U that is largest, beside ‖dh_{T−u}‖ / ‖dh_T‖",
        LAG,
        Axis("factor", log=True),
        together=False,
    ),
}


def measure(subject: Subject) -> Measured:
    """Bound, sharper bound and truth (Pascanu, Mikolov & Bengio 2013), and the prediction of the largest eigenvalue."""
    return by_layer(subject, PICTURES, _of_layer)


def _of_layer(whole: Trajectory) -> Measured:
    path = first_sequence(whole)
    lags = None if path.size <= SMALL else powers(path.time_steps)
    found, along = norm_bounds(path, lags=lags), eigen_prediction(path)
    factor, radius = found.gamma_w * found.gamma_phi, float(np.abs(along.eigenvalues[along.which]))
    verdict = "below 1, so it must vanish" if found.must_vanish else "not below 1, so the bound decides nothing"
    of_bounds = {
        "bound": (found.log_bound, "dashed"),
        "with the slopes": (found.log_sharper[:, 0], "dashed"),
        "truth": (found.log_norm[:, 0], "line"),
    }
    of_value = {"|λ|^u": (along.log_predicted, "dashed"), "truth": (along.log_true[:, 0], "line")}
    predicted, true = said_exp(along.log_predicted[-1]), said_exp(along.log_true[-1, 0])
    panels = (
        Panel("bounds", f"γ_W γ_φ = {said(factor)} is {verdict}.", _lines(found.lags, of_bounds)),
        Panel(
            "eigenvalue",
            f"Over {path.time_steps} steps |λ| = {said(radius)} alone would multiply an error by {predicted}; the "
            f"slopes make it {true}.",
            _lines(along.lags, of_value),
        ),
    )
    notes = [] if lags is None else ["Bounds and truth at lags that are powers of two."]
    if whole.xs.shape[1] > 1:
        notes.append("Bounds are those along the first sequence of the batch.")
    numbers = {"γ_W": found.gamma_w, "γ_W γ_φ": factor, "|λ|": radius}
    return Measured("bounds", numbers, tuple(panel for panel in panels if panel.lines), tuple(notes))


def _lines(lags: HostArray, logs: Mapping[str, tuple[HostArray, str]]) -> tuple[Line, ...]:
    """Those that are not zero throughout."""
    found = (Line(name, lags, exp(log), style) for name, (log, style) in logs.items())
    return tuple(line for line in found if np.any(np.isfinite(line.y)))
