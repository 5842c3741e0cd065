"""Is it the largest singular value or the eigenvalue that decides?"""

from __future__ import annotations

from math import exp, log

import numpy as np

from rnnbp.cells.elman import Elman
from rnnbp.explaining.answers import Answer, Formula, Table, fixed, num
from rnnbp.explaining.examples import orthogonal_rnn
from rnnbp.flow.bounds import norm_bounds, shear
from rnnbp.flow.growing import growth
from rnnbp.flow.trajectories import Trajectory

QUESTION = "Is it the largest singular value of U or its largest eigenvalue that decides?"
STEPS = 100
LAGS = (1, 2, 5, 10, 20, 50, 100)
LAG = 20  # at which bounds are set beside the truth


def answer() -> Answer:
    """Transient growth of a matrix that is not normal, and four common claims, each beside an example."""
    n = {**transient(), **small(), **driven(), **nilpotent()}
    rows = [(str(u), *(num(n[f"{name}.{u}"]) for name in ("true", "eigenvalue", "singular"))) for u in LAGS]
    return Answer(
        "eigenvalues",
        QUESTION,
        "Singular values bound what one step can do, eigenvalues say what many equal steps do. γ_W γ_φ < 1, a "
        "bound, settles that errors vanish; neither settles that they explode, once there are slopes.",
        (
            "‖·‖ is the largest singular value, γ_W that of U, γ_φ the largest slope of φ (tanh 1, σ 1/4), λ the "
            "eigenvalues of U:",
            Formula(
                (
                    "‖∂h_t/∂h_k‖ ≤ (γ_W γ_φ)^{t−k}    always; h' = φ(x W + h U + b)",
                    "‖∂h_t/∂h_k‖^{1/(t−k)} → max |λ|   for t − k → ∞ and φ the identity",
                )
            ),
            "They part where U is not normal. A linear network h' = h U with `U = [[0.9, 1], [0, 0.9]]`: both "
            f"eigenvalues are 0.9, the largest singular value is {num(n['gamma_w'])}.",
            Table(("lag t−k", "‖∂h_t/∂h_k‖", "|λ|^lag", "γ_W^lag"), tuple(rows)),
            f"Errors grow {num(n['peak'], 2)}-fold up to lag {num(n['peak.lag'])}, near −1/log 0.9 = "
            f"{num(-1 / log(0.9), 2)}, before they vanish: transient growth.",
            "What tutorials say, and an example of each, with the exponent (the slope of log ‖∂h_t/∂h_k‖ over t − k):",
            Table(("claim", "holds", "example", "exponent"), _claims(n), words=3),
            f"Q is a random orthogonal matrix; all |λ| of 2 Q are {num(n['driven.radius'])}, and yet errors vanish "
            f"where inputs are large and slopes small. N is `[[2, 2], [−2, −2]]`, all |λ| are "
            f"{num(n['nilpotent.radius'])}, and yet with one unit saturated an error of the other, at an unstable "
            f"fixed point, grows {num(exp(n['nilpotent.exponent']))}-fold a step. "
            "Slopes make another matrix of U at every step; its eigenvalues say little of the product.",
            f"With U = 2 Q, at lag {LAG}, the bound by γ_W is {num(n['driven.bound'], 2)}, "
            f"with the slopes as they are {num(n['driven.sharper'], 2)}, and the truth {num(n['driven.true'], 2)}: a "
            "bound is no estimate.",
        ),
        n,
        ("rnnbp flow rnn --init orthogonal --measure bounds,jacobians",),
        "flow.md",
    )


def _claims(n: dict[str, float]) -> tuple[tuple[str, ...], ...]:
    """A claim, whether it holds, an example, and the exponent seen there."""
    of_two = fixed(n["driven.exponent"], 2)
    return (
        ("γ_W γ_φ < 1: vanishes", "yes", "tanh, U = Q/2", fixed(n["small.exponent"], 2)),
        ("γ_W γ_φ > 1: explodes", "no", "tanh, U = 2 Q", of_two),
        ("some |λ| > 1: explodes", "no", "tanh, U = 2 Q", of_two),
        ("all |λ| < 1: vanishes, linear", "later", "the one above", fixed(n["shear.exponent"], 2)),
        ("all |λ| < 1: vanishes, tanh", "no", "tanh, U = N", fixed(n["nilpotent.exponent"], 2)),
    )


def transient() -> dict[str, float]:
    """The non-normal linear network: the truth, the powers, and the peak."""
    path = shear(STEPS)
    found = norm_bounds(path)
    norms = np.exp(found.log_norm[:, 0])
    radius = float(np.max(np.abs(np.linalg.eigvals(path.params["U"]))))
    n = {
        "gamma_w": found.gamma_w,
        "peak": float(np.max(norms)),
        "shear.exponent": float(growth(path).exponent[0]),
        "peak.lag": float(found.lags[np.argmax(norms)]),
    }
    for u in LAGS:
        n |= {f"true.{u}": float(norms[u - 1]), f"eigenvalue.{u}": radius**u, f"singular.{u}": found.gamma_w**u}
    return n


def small() -> dict[str, float]:
    """A tanh network whose bound is below one."""
    path = orthogonal_rnn(0.5, 1.0, STEPS)
    return {"small.exponent": float(np.mean(growth(path).exponent))}


def driven() -> dict[str, float]:
    """A tanh network whose every singular value and |eigenvalue| is two, with inputs that saturate it."""
    path = orthogonal_rnn(2.0, 4.0, STEPS)
    found = norm_bounds(path)
    at = int(np.flatnonzero(found.lags == LAG)[0])
    n = {"driven.exponent": float(np.mean(growth(path).exponent)), "driven.bound": exp(float(found.log_bound[at]))}
    n |= {"driven.sharper": float(np.mean(np.exp(found.log_sharper[at])))}
    n |= {"driven.true": float(np.mean(np.exp(found.log_norm[at])))}
    sizes = np.abs(np.linalg.eigvals(path.params["U"]))
    return n | {"driven.radius": float(np.max(sizes)), "driven.least": float(np.min(sizes))}


def nilpotent() -> dict[str, float]:
    """U = [[2, 2], [−2, −2]] has U² = 0. With its second unit saturated and the first at rest the step's derivative is
    diag(1, 0) Uᵀ, whose eigenvalue is 2.
    """
    cell = Elman(1, 2)
    u = np.array([[2.0, 2.0], [-2.0, -2.0]])
    params = {"W": np.zeros((1, 2)), "U": u, "b": np.array([2.0, 25.0])}  # a_1 = 2 h_1 − 2 h_2 + 2: 0 where h_2 = 1
    path = Trajectory(cell, params, np.zeros((STEPS, 1, 1)), (np.array([[0.0, 1.0]]),))
    half, determinant = float(np.trace(u)) / 2, float(u[0, 0] * u[1, 1] - u[0, 1] * u[1, 0])
    root = abs(complex(half * half - determinant)) ** 0.5
    return {"nilpotent.radius": abs(half) + root, "nilpotent.exponent": float(growth(path).exponent[0])}
