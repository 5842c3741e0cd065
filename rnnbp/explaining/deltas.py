"""One delta or T deltas?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rnnbp.checking.distances import separation
from rnnbp.explaining.answers import Answer, Formula, Table, num
from rnnbp.explaining.examples import Example, Gradients, described, example, flat
from rnnbp.flow.lags import lag_decomposition
from rnnbp.numerics import HostArray

QUESTION = "One delta or T deltas: does BPTT carry a delta of its own back for every step's error?"
LENGTHS = (5, 10, 20, 40)


@dataclass(frozen=True, eq=False)
class Work:
    """A gradient, and how many times a step's backward was run for it."""

    gradients: Gradients
    steps: int


def answer() -> Answer:
    """The gradient by one accumulated error and by one error for each step's loss, with the work of both."""
    n = {key: value for length in LENGTHS for key, value in both(example("lstm", length), length).items()}
    rows = [
        (str(T), *(num(n[f"{T}.{name}"], 6) for name in ("one", "many")))
        + tuple(num(n[f"{T}.{name}"], 2) for name in ("difference", "by lag"))
        for T in LENGTHS
    ]
    last = LENGTHS[-1]
    return Answer(
        "deltas",
        QUESTION,
        "One. Errors that meet at a state are added before they go on; T separate deltas give the same gradient for "
        "(T + 1)/2 times the work.",
        (
            "A step's backward is linear in the error δ that it is given: J_t = ∂s_t/∂s_{t−1} does not depend on δ. So "
            "what later steps send and what the step's own loss gives go back together:",
            Formula(
                (
                    "one:   δ_t = dL_t/ds_t + δ_{t+1} J_{t+1}               T steps back",
                    "many:  δ_t^(τ) = δ_{t+1}^(τ) J_{t+1} for every L_τ     T (T+1)/2 steps back",
                    "dL/dW = Σ_t δ_t ∂s_t/∂W = Σ_τ Σ_{t≤τ} δ_t^(τ) ∂s_t/∂W",
                )
            ),
            f"δ_t is (dh, dC) behind step t in an LSTM. Counted and computed: {described('lstm', last)}; and shorter "
            "ones.",
            Table(("T", "steps back, one", "steps back, many", "difference", "sum of lags"), tuple(rows)),
            f"At T = {last} that is {num(n[f'{last}.many'] / n[f'{last}.one'], 3)} times the work, for a difference of "
            f"{num(n[f'{last}.difference'], 2)}: rounding. The last column sets the sum of all parts "
            "of dL/dW, by lag, beside the gradient.",
            "Separate deltas are needed where they are treated apart: to see how much comes from how far back, and for "
            "truncation `tbptt:1,K`, which lets each loss go back K steps of its own and so costs K times as much.",
        ),
        n,
        ("rnnbp flow lstm --measure lags", "rnnbp gradcheck lstm --lags", "rnnbp truncation lstm --k1 1 --k 1,2,4,8"),
        "truncation.md",
    )


def both(given: Example, length: int) -> dict[str, float]:
    """The work of both ways, and how far apart their gradients are, relative to the library's own."""
    one, many = together(given), separately(given)
    parts = lag_decomposition(given.path, given.dys).gradient
    n = {"one": float(one.steps), "many": float(many.steps)}
    n["difference"] = separation(flat(many.gradients), flat(one.gradients)).difference
    n["by lag"] = separation(flat({name: parts[name] for name in given.full}), flat(given.full)).difference
    return {f"{length}.{name}": value for name, value in n.items()}


def together(given: Example) -> Work:
    """Plain BPTT: one error, joined at every step by that of the step's own loss."""
    return _back(given, given.dys)


def separately(given: Example) -> Work:
    """An error for every step's loss, each taken back by itself; the gradients are added at the end."""
    total: Gradients = {name: np.zeros(w.shape) for name, w in given.full.items()}
    steps = 0
    for t in range(given.path.time_steps):
        alone = _back(given, given.dys[: t + 1] * (np.arange(t + 1) == t)[:, None, None])
        total = {name: d + alone.gradients[name] for name, d in total.items()}
        steps += alone.steps
    return Work(total, steps)


def _back(given: Example, dys: HostArray) -> Work:
    """From the last step of dys (t, B, O) to the first by the cell's own step backward, which is counted."""
    path, steps = given.path, 0
    total: Gradients = {name: np.zeros(w.shape) for name, w in path.params.items()}
    ds = tuple(np.zeros_like(z) for z in path.states[-1])
    for t in reversed(range(len(dys))):
        dp, _, ds = path.step(t)[1]((ds[0] + dys[t], *ds[1:]))
        total = {name: d if dp[name] is None else d + dp[name] for name, d in total.items()}
        ds = tuple(np.zeros_like(z) if d is None else d for d, z in zip(ds, path.states[t], strict=True))
        steps += 1
    return Work(total, steps)
