"""How the loss bends: the largest eigenvalues of its Hessian, and along the gradient."""

from __future__ import annotations

from math import inf

import numpy as np

from rnnbp.cellbase import Params
from rnnbp.errors import UserError
from rnnbp.flow.curvature import curvature_along, hessian_eigenvalues
from rnnbp.flow.measures.found import Axis, Line, Measured, Panel, Picture
from rnnbp.flow.measures.thinning import said
from rnnbp.flow.subjects import Subject

FEW, TOLERANCE = 3, 1e-2
WORK = 4e9  # products of numbers in Hessian–vector products, times the products
PICTURES = {
    "curvature": Picture(
        "The curvature of the loss",
        "the eigenvalues of the Hessian H of the loss in all parameters, largest |λ| first, and gᵀHg / gᵀg along the "
        "gradient g. Plain gradient descent is stable along v, H v = λ v, for steps η < 2/λ",
        Axis("number of the eigenvalue; 0: along the gradient"),
        Axis("curvature"),
    ),
}


def measure(subject: Subject) -> Measured:
    """The largest eigenvalues by the Lanczos method on exact Hessian–vector products, of the loss on this batch."""
    for path in subject.layers.values():
        if path.cell.inexact:
            raise UserError(f"curvature is that of a function whose gradient is known; this {path.cell.inexact}")

    def gradient(params: Params) -> Params:
        found: Params = subject.model(params, subject.xs, subject.targets, subject.s0, data=subject.data)[2]()[0]
        return found

    along = curvature_along(gradient, subject.params)
    work = subject.xs.shape[0] * subject.xs.shape[1] * sum(w.size for w in subject.params.values())
    steps = int(min(WORK / work, 60))
    numbers, lines = (
        {"along the gradient": along},
        [Line("along the gradient", np.zeros(1), np.array([along]), "points")],
    )
    seen = f"Along the gradient the loss bends by {said(along)}"
    if steps < FEW + 2:
        note = "The largest eigenvalues take too long for a network of this size: curvature along the gradient alone."
        return Measured("curvature", numbers, (Panel("curvature", f"{seen}.", tuple(lines)),), (note,))
    found = hessian_eigenvalues(gradient, subject.params, FEW, steps=steps, tolerance=TOLERANCE)
    top, steepest = float(found.values[0]), float(np.max(found.values))
    if steepest <= 0:  # smaller ones may be positive
        last = hessian_eigenvalues(gradient, subject.params, 1, "largest", steps=steps, tolerance=TOLERANCE)
        steepest = float(last.values[0])
    numbers |= {"largest": top, "error": float(found.residuals[0])}
    numbers["largest step"] = 2 / steepest if steepest > 0 else inf
    lines.append(Line("eigenvalues", np.arange(1, FEW + 1), found.values, "points"))
    seen += f"; the eigenvalue of largest size is {said(top)} ± {said(found.residuals[0])}"
    if steepest > 0:
        seen += f", and plain gradient descent is stable for steps below {said(2 / steepest)}"
    note = f"Eigenvalues from {found.products} Hessian–vector products, within their residuals."
    if found.residuals[0] > TOLERANCE * abs(top):
        note = f"{note[:-1]}, which have not settled: the largest is at least that, and stable steps may be shorter."
    return Measured("curvature", numbers, (Panel("curvature", f"{seen}.", tuple(lines)),), (note,))
