"""Is BPTT necessary in an LSTM, and where is do_{t−1}?"""

from __future__ import annotations

import numpy as np

from rnnbp.checking.distances import separation
from rnnbp.checking.gradchecks import gradcheck
from rnnbp.explaining.answers import Answer, Formula, Table, fixed, num
from rnnbp.explaining.examples import SEQUENCE_ALONE, Example, Gradients, described, example
from rnnbp.flow.cancelling import term_sizes
from rnnbp.flow.terms import step_terms
from rnnbp.flow.trajectories import Trajectory
from rnnbp.numerics import HostArray
from rnnbp.recording import closure

QUESTION = "Is BPTT necessary in an LSTM, and where is the do_{t−1} term that the usual derivation does not show?"
STEPS = 20
KINDS = {"full": "full: along C and through h", "1997": "1997: along C alone", "tbptt:1,1": "tbptt:1,1: own step alone"}
LAGS = (1, 2, 4, 8)
TERMS = {
    "direct": "direct: diag(f_t)",
    "f": "f: C_{t−1} ∘ f′ U_fᵀ D",
    "i": "i: g_t ∘ i′ U_iᵀ D",
    "g": "g: i_t ∘ g′ U_gᵀ D",
    "total": "their sum",
}


def answer() -> Answer:
    """The gradient with and without the way through h, the four terms, and what a product of them leaves out."""
    given = example("lstm", STEPS)
    n = {**ways(given), **terms(given.path), **products(given.path), "rtrl": by_rtrl()}
    return Answer(
        "bptt",
        QUESTION,
        "For the gradient of the loss errors must go back in time through h as well as along C; BPTT is the cheap "
        "way, and real-time recurrent learning gives the same gradient forward in time. do_{t−1} gets its error from "
        "h_{t−1}: it is no part of ∂C_t/∂C_{t−1}, and products of these leave it out.",
        (*_ways(n), *_terms(n), *_products(n)),
        n,
        ("rnnbp gradcheck lstm --method rtrl", "rnnbp flow lstm --measure terms,carousel"),
        "cells.md",
    )


def ways(given: Example) -> dict[str, float]:
    """Under each truncation: ‖dU_o‖ beside the full one, the share of it from later steps, and all weights."""
    own, whole = output_gate(given.gradients("tbptt:1,1")), float(np.linalg.norm(output_gate(given.full)))
    n: dict[str, float] = {}
    for kind in KINDS:
        d, beside = output_gate(given.gradients(kind)), given.beside_full(kind)
        later = separation(d - own, d).ratio
        n |= {f"{kind}.dU_o": float(np.linalg.norm(d)) / whole, f"{kind}.later": later}
        n |= {f"{kind}.ratio": beside.ratio, f"{kind}.cosine": beside.cosine}
    return n


def output_gate(gradients: Gradients) -> HostArray:
    """dU_o, (H, H): the last of the four blocks i, f, g, o."""
    return np.split(gradients["U"], 4, axis=-1)[3]


def terms(path: Trajectory) -> dict[str, float]:
    """The mean norm of each term over steps and sequences, and the largest |cosine| between two."""
    found = term_sizes(path)
    n = {f"norm.{name}": float(np.mean(norm)) for name, norm in found.frobenius.items()}
    return n | {"largest cosine": max(abs(float(np.mean(c))) for c in found.cosines.values())}


def products(path: Trajectory) -> dict[str, float]:
    """How far Π ∂C_j/∂C_{j−1} is from ∂C_t/∂C_k, t the last step, k = t − lag."""
    n: dict[str, float] = {}
    jacobians, by_terms = np.eye(path.size), np.eye(path.part("c").stop - path.part("c").start)
    for lag in range(1, max(LAGS) + 1):
        t = path.time_steps - lag
        jacobians, by_terms = jacobians @ path.jacobian(t), by_terms @ step_terms(path, t).total
        if lag in LAGS:
            true = whole_derivative(path, jacobians, t)
            n[f"missing.{lag}"] = float(np.linalg.norm(by_terms - true) / np.linalg.norm(true))
    return n


def whole_derivative(path: Trajectory, jacobians: HostArray, t: int) -> HostArray:
    """∂C/∂C_{t−1} (B, H, H) from the product of the Jacobians of steps t … T−1, with h_{t−1} = o_{t−1} ∘ tanh C_{t−1}
    moving, too, and o_{t−1} fixed.
    """
    v, h, c = closure(path.step(t - 1)[1]), path.part("h"), path.part("c")
    dh = v["to_c"](v["o"])  # ∂h_{t−1}/∂C_{t−1}, diagonal, (B, H)
    found: HostArray = jacobians[:, c, c] + jacobians[:, c, h] * dh[:, None, :]
    return found


def by_rtrl() -> float:
    """The largest error of BPTT beside real-time recurrent learning."""
    return max(check.error for check in gradcheck("lstm", method="rtrl", **SEQUENCE_ALONE).checks)


def _ways(n: dict[str, float]) -> tuple[str | Formula | Table, ...]:
    columns = ("dU_o", "later", "ratio", "cosine")
    rows = [(said, *(fixed(n[f"{kind}.{name}"]) for name in columns)) for kind, said in KINDS.items()]
    return (
        "C_t, h_t, o_t are c, h, o behind step t on the page of cells. A d before a name is the derivative of the "
        "whole loss by it, the δ of many derivations; vectors are rows.",
        Formula(
            (
                "C_t = f_t ∘ C_{t−1} + i_t ∘ g_t        h_t = o_t ∘ tanh C_t",
                "a_k = x_t W_k + h_{t−1} U_k + b_k      of gate k = i, f, g, o at step t",
                "dh_{t−1} = ∂L_{t−1}/∂h_{t−1} + Σ_k da_k U_kᵀ",
                "dC_{t−1} = dC_t ∘ f_t + dh_{t−1} ∘ o_{t−1} ∘ (1 − tanh² C_{t−1})",
                "do_{t−1} = dh_{t−1} ∘ tanh C_{t−1}",
            )
        ),
        "So do_{t−1} has two parts: the error of its own step's loss, and what all later steps send to h_{t−1} through "
        "U. A derivation along C alone has the first part only. The example: " + described("lstm", STEPS) + ".",
        Table(("errors go back", "‖dU_o‖", "later", "‖g‖/‖f‖", "cosine"), tuple(rows)),
        "‖dU_o‖ is in units of the full one; later: ‖its part from later steps‖ / ‖dU_o‖. g is the gradient of all "
        "weights, f the full one. Hochreiter & Schmidhuber (1997), whose cell had no f yet, let errors go back along "
        "C alone: i, f and g still learn from later steps, o from its own step only. That is not the gradient of the "
        "loss, and yet they learnt long lags with it.",
        "Back through time is not the only way to the full one. Real-time recurrent learning carries derivatives of "
        f"the state forward, at a higher price, and differs from BPTT by {num(n['rtrl'], 2)} at the most: rounding.",
    )


def _terms(n: dict[str, float]) -> tuple[str | Formula | Table, ...]:
    return (
        "The usual derivation is that of ∂C_t/∂C_{t−1}, with h_{t−1} = o_{t−1} ∘ tanh C_{t−1} put in: four terms.",
        Formula(
            (
                "∂C_t/∂C_{t−1} = diag(f_t) + (C_{t−1} ∘ f′ U_fᵀ + g_t ∘ i′ U_iᵀ",
                "                             + i_t ∘ g′ U_gᵀ) D",
                "D = diag(o_{t−1} ∘ (1 − tanh² C_{t−1}))    f′, i′, g′: slopes by a_f, a_i, a_g",
            )
        ),
        Table(("term", "Frobenius norm, mean"), tuple((said, fixed(n[f"norm.{k}"])) for k, said in TERMS.items())),
        f"No two of the four have a mean cosine beyond ±{fixed(n['largest cosine'], 2)} here: at weights as drawn they "
        "neither cancel nor add up. After training they may.",
    )


def _products(n: dict[str, float]) -> tuple[str | Table, ...]:
    rows = [(str(lag), num(n[f"missing.{lag}"], 2)) for lag in LAGS]
    return (
        "o_{t−1} stands still in D, and rightly: C_{t−1} does not move it. But C_{t−2} does, by h_{t−2}, and the way "
        "C_{t−2} → h_{t−2} → o_{t−1} → h_{t−1} → C_t does not pass C_{t−1}. So one factor is exact, and the product "
        "Π ∂C_j/∂C_{j−1} over several steps lacks the do term. Products of the Jacobians of the whole state (h, C) "
        "have it.",
        Table(("steps back", "‖product − true‖ / ‖true‖"), tuple(rows)),
    )
