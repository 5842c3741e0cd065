"""What does num_steps cut?"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from rnnbp.explaining.answers import Answer, Formula, Table, fixed, num, percent
from rnnbp.explaining.examples import Example, described, example, scanned
from rnnbp.numerics import HostArray
from rnnbp.truncation import Truncation

QUESTION = "What does num_steps cut?"
STEPS = 64
WIDTHS = (1, 2, 4, 8, 16, 32, 64)
SHOWN = 16  # the width that sentences are about


def answer() -> Answer:
    """Which pairs of error and use a window leaves, and how far the gradient is from the full one."""
    given = example("lstm", STEPS)
    n = {key: value for k in WIDTHS for key, value in cut(given, k).items()}
    n |= {"carried": carried(given, SHOWN), "reset": carried(given, SHOWN, reset=True)}
    names = ("steps.ratio", "steps.cosine", "tbptt.ratio", "tbptt.cosine")
    rows = [(str(k), percent(n[f"{k}.pairs"]), *(fixed(n[f"{k}.{name}"]) for name in names)) for k in WIDTHS]
    return Answer(
        "num-steps",
        QUESTION,
        "The backward only, and unevenly: with windows of K steps the error of a window's first step goes back none, "
        "that of its last step K − 1. The state is carried on, so the forward is that of the whole sequence.",
        (
            "A graph unrolled over num_steps = K steps, with the last state fed into the next run, is `steps:K`: "
            "errors stop where the run begins. Over a lag of u steps K − u of K errors get back, over K or more none:",
            Formula(
                (
                    "steps:K    error of t reaches s ≤ t, ⌊s/K⌋ = ⌊t/K⌋   lag u: (K−u)/K of all t",
                    "tbptt:1,K  error of t reaches s = t−K+1 … t          lag u < K: all t",
                )
            ),
            "The second costs K times the work. "
            f"The gradient g of all weights beside the full one f; the example: {described('lstm', STEPS)}. Pairs: of "
            "all errors t and uses s ≤ t, those that steps:K leaves.",
            Table(("K", "pairs", "steps:K ‖g‖/‖f‖", "cosine", "tbptt:1,K ‖g‖/‖f‖", "cosine"), tuple(rows)),
            f"Scanned in windows of {SHOWN} with the state carried on, the outputs differ from those of one long scan "
            f"by {num(n['carried'], 2)}: the forward sees all of the past. Started from zero in every window they "
            f"differ by {num(n['reset'], 2)} of the largest: that is another forward, not a truncation. In training "
            "the weights change between windows, and the state carried on is one of older weights; here they stand.",
            "On noise nothing long is to be learned; on a task with longer dependencies than K the gradient of just "
            "these is missing, whatever the cosine says.",
        ),
        n,
        (
            "rnnbp truncation lstm --kinds steps:4,steps:16,full",
            "rnnbp flow lstm --measure truncation",
            "rnnbp gradcheck lstm --truncation steps:2 --lags",
        ),
        "truncation.md",
    )


def cut(given: Example, k: int) -> dict[str, float]:
    """The share of the pairs (t, s) that windows of k steps leave, and the gradient beside the full one."""
    steps, wide = given.beside_full(f"steps:{k}"), given.beside_full(f"tbptt:1,{k}")
    total = given.path.time_steps
    n = {"pairs": int(np.sum(reached(total, f"steps:{k}"))) / (total * (total + 1) / 2)}
    n |= {"steps.ratio": steps.ratio, "steps.cosine": steps.cosine}
    n |= {"tbptt.ratio": wide.ratio, "tbptt.cosine": wide.cosine}
    return {f"{k}.{name}": value for name, value in n.items()}


def reached(time_steps: int, kind: str) -> HostArray:
    """Whether the error of step t reaches the use at step s, (T, T) [t, s], by the windows of a truncation."""
    found = np.zeros((time_steps, time_steps), dtype=bool)
    for window in Truncation.parse(kind).windows(time_steps):
        for t in range(window.lo, window.stop):
            found[t, window.start : t + 1] = True
    return found


def carried(given: Example, k: int, reset: bool = False) -> float:
    """How far the outputs of windows of k steps are from those of one long scan, relative to the largest."""
    path, s = given.path, given.path.states[0]
    parts = []
    for lo in range(0, path.time_steps, k):
        part = replace(path, xs=path.xs[lo : lo + k], s0=s)
        parts.append(scanned(part)[0])
        s = path.states[0] if reset else part.states[-1]
    whole = scanned(path)[0]
    return float(np.max(np.abs(np.concatenate(parts) - whole)) / np.max(np.abs(whole)))
