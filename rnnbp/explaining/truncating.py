"""Why does a gradient check fail under truncation?"""

from __future__ import annotations

from rnnbp.checking.distances import Distance
from rnnbp.checking.gradchecks import gradcheck
from rnnbp.explaining.answers import Answer, Formula, Table, fixed, num
from rnnbp.explaining.examples import SEQUENCE_ALONE

QUESTION = "Why does my gradient check fail under truncation?"
KINDS = ("full", "tbptt:1,1", "tbptt:2,2", "tbptt:1,4", "1997")


def answer() -> Answer:
    """One backward under several truncations, held to what it claims and to the derivative of the whole loss."""
    n = {key: value for kind in KINDS for key, value in held(kind).items()}
    rows = [
        (kind, num(n[f"{kind}.claim"], 2), num(n[f"{kind}.full"], 2))
        + tuple(fixed(n[f"{kind}.{name}"]) for name in ("ratio", "cosine"))
        for kind in KINDS
    ]
    cut = [kind for kind in KINDS if kind != "full"]
    return Answer(
        "truncation",
        QUESTION,
        "A truncated backward is not the derivative of the loss that the check perturbs. Held to what it does "
        "claim, it is right to rounding.",
        (
            "It is the derivative of a forward in which some values are constants. For windows these are the states "
            "that enter a window; sg(v) is the value v without its derivative:",
            Formula(
                (
                    "g = Σ_windows d/dθ Σ_{lo ≤ t < stop} L_t    with sg(s_start) for s_start",
                    "1997: a_k = x W_k + sg(h) U_k + b_k",
                )
            ),
            "A weight that is perturbed throughout changes these states, too, and the numeric gradient sees it. What "
            "`rnnbp gradcheck lstm` says of the worst of weights, inputs and first states, T = 5, against both:",
            Table(("truncation", "to its definition", "to the full loss", "U: ‖g‖/‖f‖", "U: cosine"), tuple(rows)),
            "Against the full loss the error of the truncated ones is "
            f"{num(min(n[f'{k}.full'] for k in cut), 2)} or more. No step size and no precision mends that, and such a "
            "check cannot tell a right backward from a wrong one; with `rnnbp gradcheck lstm --truncation tbptt:2,2 "
            "--against full` it can be seen to fail.",
            "In a check of your own hold the states that enter a window (for 1997 every h that enters a step) at the "
            "values of the unperturbed pass, or take complex steps and let only the real part of these states in "
            "(`rnnbp.detach`). Then ask for rounding.",
        ),
        n,
        ("rnnbp gradcheck lstm --truncation tbptt:2,2", "rnnbp gradcheck lstm --truncation 1997 --lags"),
        "truncation.md",
    )


def held(kind: str) -> dict[str, float]:
    """The worst error against the claim and against the full derivative; norm ratio and cosine of dU."""
    n = {"ratio": 1.0, "cosine": 1.0}
    for against in ("claim", "full"):
        report = gradcheck("lstm", truncation=kind, against=against, **SEQUENCE_ALONE)
        n[against] = max(check.error for check in report.checks)
        for finding in report.findings:
            if isinstance(finding, Distance):
                n |= {"ratio": finding.tensors["U"].ratio, "cosine": finding.tensors["U"].cosine}
    return {f"{kind}.{name}": value for name, value in n.items()}
