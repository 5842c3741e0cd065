"""Do gates bring vanishing back?"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from rnnbp.explaining.answers import Answer, Formula, Table, fixed, percent
from rnnbp.explaining.examples import described, example
from rnnbp.flow.carousels import carousel
from rnnbp.flow.growing import growth
from rnnbp.flow.steps import HBlockWithoutCarousel
from rnnbp.flow.trajectories import Trajectory

QUESTION = "Do gates bring vanishing back? And peepholes?"
STEPS = 100
CELLS = {
    "rnn": "rnn: tanh, no gates",
    "lstm-1997": "lstm-1997: f = 1, cut to C alone",
    "lstm:without=f": "lstm:without=f: f = 1",
    "lstm:forget_bias=0": "lstm:forget_bias=0",
    "lstm:forget_bias=1": "lstm:forget_bias=1",
    "lstm:forget_bias=5": "lstm:forget_bias=5",
    "lstm:peepholes=true,forget_bias=1": "forget_bias=1 and peepholes",
    "lstm:peepholes=true,forget_bias=5": "forget_bias=5 and peepholes",
    "gru": "gru",
}


def answer() -> Answer:
    """Exponents of the whole state's derivatives, of the carousel alone, and of the h-block that hides it."""
    n = {key: value for spec in CELLS for key, value in exponents(spec).items()}
    columns = ("whole", "carousel", "h-block")
    rows = [
        (said, *(fixed(n[f"{spec}.{name}"]) if f"{spec}.{name}" in n else "–" for name in columns))
        for spec, said in CELLS.items()
    ]
    zero, one, five = (n[f"lstm:forget_bias={b}.whole"] for b in (0, 1, 5))
    return Answer(
        "vanishing",
        QUESTION,
        f"A forget gate does, as far as it is closed: with forget bias 0 errors fall by {percent(1 - np.exp(zero))} a "
        f"step, with 1 by {percent(1 - np.exp(one))}, with 5 they do not fall. Peepholes need not.",
        (
            "Along the carousel, ∂C_t/∂C_{t−1} with h held, an error is multiplied by f_t: by 1 in the cell of 1997, "
            "by about σ(forget bias) in a fresh one with a forget gate. The ways through h and U come on top.",
            Formula(
                (
                    "exponent = slope of log ‖∂s_t/∂s_k‖ over t − k     s = (h, C), all states",
                    "carousel = mean of log |f + C f(1−f) p_f + g i(1−i) p_i|,  p = 0: of log f",
                )
            ),
            "‖·‖ is the largest singular value. Below 0 errors vanish, above 0 they explode; −0.69 is a half at every "
            "step. The example: "
            f"{described('CELL', STEPS)}; peepholes are drawn anew from N(0, 1), ten times wider than by default.",
            Table(("cell", "whole state", "carousel", "h-block alone"), tuple(rows)),
            f"With forget bias 0 the LSTM ({fixed(zero, 2)}) forgets about as fast as the network without gates "
            f"({fixed(n['rnn.whole'], 2)}). To forget is what the gate is for, and training decides when; where long "
            "memory is needed, let it begin open.",
            "Peepholes add terms of either sign to the carousel. As wide as these they take the exponent from "
            f"{fixed(one, 2)} to {fixed(n['lstm:peepholes=true,forget_bias=1.whole'], 2)} with forget bias 1.",
            "The last column is a common mistake. ∂h_t/∂h_{t−1} with C held leaves out the carousel, and says "
            f"{fixed(n['lstm:forget_bias=5.h-block'], 2)} where the truth is {fixed(five, 3)}. For a cell whose only "
            "state is h both are the same.",
        ),
        n,
        ("rnnbp flow rnn lstm:forget_bias=0 lstm:forget_bias=5 --measure jacobians,carousel",),
        "flow.md",
    )


def exponents(spec: str) -> dict[str, float]:
    """Exponents per step, in nats, means over the sequences."""
    path = with_peepholes(example(spec, STEPS).path)
    n = {"whole": float(np.mean(growth(path).exponent))}
    n["h-block"] = float(np.mean(growth(HBlockWithoutCarousel(path)).exponent))
    if "c" in path.cell.states:
        n["carousel"] = float(np.mean(np.log(np.abs(carousel(path).with_peepholes))))
    return {f"{spec}.{name}": value for name, value in n.items()}


def with_peepholes(path: Trajectory) -> Trajectory:
    """The same with peepholes wide enough to matter, if the cell has any."""
    rng = np.random.default_rng(1)
    wide = {name: rng.standard_normal(w.shape) for name, w in path.params.items() if name in ("pi", "pf", "po")}
    return replace(path, params={**path.params, **wide})
