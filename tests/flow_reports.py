"""Reports made by hand, with all that a picture may meet: decays, zeros, gaps, heat maps, histograms, odd names."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from rnnbp.flow.measures.found import Axis, Line, Measured, Panel, Picture
from rnnbp.flow.reports import Report

T = 24
LAG, NORM = Axis("lag u, steps back"), Axis("norm of the error", log=True)
PICTURES = {
    "made decay": Picture("The error, step by step back", "‖dL_t/ds_{t−u}‖ < ε & more", LAG, NORM),
    "made gates": Picture("Each gate, in a title too long for one line of a page that is as wide as a printed one is",
                          "‖dL/dW‖", LAG._replace(log=True), NORM),
    "made map": Picture("From which error to which use", "‖dL_t/dU_s‖", Axis("step s"), Axis("step t"),
                        Axis("norm of dL_t/dU_s", log=True), together=False),
    "made bars": Picture("How far gates are open", "f_t", Axis("value"), Axis("share of all"), together=False),
    "made bound": Picture("Bound and truth", "γ^u", LAG, NORM),
}  # fmt: skip
NAMES = (
    "lstm",
    "_odd, <b>&</b> and $x_1$",
    "rnn",
    "a name:that=goes on,and=on,as=specs,may=do,and=is,wider=than a page is",
)
RATES = (0.95, 0.7, 0.5, 0.9)


def panels(label: str, rate: float) -> tuple[Panel, ...]:
    """One panel of each picture; a zero in a gate's curve, a gap in the points, a triangle in the map."""
    u = np.arange(T)
    decay = rate**u
    t, s = u[:, None], u[None]
    image = np.where(s <= t, rate ** np.maximum(t - s, 0.0), np.nan)
    image[20, 3] = 0.0
    gates = tuple(
        Line(f"{w} {g}", u, (k + 1) * decay * (u != 5)) for k, (w, g) in enumerate((w, g) for w in "WU" for g in "ifog")
    )
    middles = np.array([0.125, 0.375, 0.625, 0.875])
    bars = tuple(Line(g, middles, np.roll([0.1, 0.2, 0.3, 0.4], k), "bars") for k, g in enumerate("ifo"))
    bound = (
        Line("truth", u, decay),
        Line("bound", u, 2.0 * 1.1**u, "dashed"),
        Line("odd", u, np.where(u % 2, decay / 9, np.nan), "points"),
    )
    return (
        Panel("made decay", f"What <{label}> keeps is {rate} a step.", (Line(label, u, decay),)),
        Panel("made gates", "Gates.", gates),
        Panel("made map", "A triangle.", image=image),
        Panel("made bars", "Bars.", bars),
        Panel("made bound", "Above.", bound),
    )  # fmt: skip


def report(subjects: int) -> Report:
    """A report of the first few of `NAMES`: two measurements that are made, and one that is refused."""
    found = {
        label: {
            "made": Measured("made", {"kept": rate, "half-life": np.inf}, panels(label, rate), ("Every second step.",)),
            "none": Measured("none", refused=f"this is not for <{label}>"),
        }
        for label, rate in zip(NAMES[:subjects], RATES, strict=False)
    }
    return Report("Made by <hand>", found, {NAMES[0]: "a batch <of> noise"})


def layered() -> Report:
    """A report whose first subject has a panel of bars for each of two layers."""
    whole = report(2)
    made = whole.found[NAMES[0]]["made"]
    bars = [panel for panel in made.panels if panel.picture == "made bars"]
    parts = tuple(replace(panel, part=f"layer {k}", seen=f"Bars of {k}.") for panel in bars for k in range(2))
    return Report("", {NAMES[0]: {"made": replace(made, panels=parts)}, NAMES[1]: whole.found[NAMES[1]]})
