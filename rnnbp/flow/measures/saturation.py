"""How far the gates are open, and how often they are stuck."""

from __future__ import annotations

import numpy as np

from rnnbp.flow.measures.found import Axis, Line, Measured, Panel, Picture
from rnnbp.flow.measures.layering import by_layer
from rnnbp.flow.measures.thinning import listed
from rnnbp.flow.saturation import Gate, gate_values
from rnnbp.flow.subjects import Subject
from rnnbp.flow.trajectories import Trajectory

BINS, SIDES = 40, ("left", "right")
SHARE = Axis("share of all units, steps and sequences")
PICTURES = {
    "sigmoid gates": Picture(
        "How far the gates are open",
        "σ(a) of every unit at every step; below 0.1 and above 0.9 its slope σ(1 − σ) is under 0.09, of at most 0.25",
        Axis("value of the gate"),
        SHARE,
        together=False,
    ),
    "candidates": Picture(
        "The values of candidates",
        "tanh(a), or what the cell has in its place, of every unit at every step; the slope of tanh is 1 − tanh²(a)",
        Axis("value"),
        SHARE,
        together=False,
    ),
    "saturated": Picture(
        "How often each unit's gate is stuck",
        "of each unit the share of steps with a gate below 0.1 of its range, and the share above 0.9",
        Axis("share of steps at which it is left-saturated"),
        Axis("share at which it is right-saturated"),
        together=False,
    ),
}


def measure(subject: Subject) -> Measured:
    """Gate values, and the share that is saturated, per gate and layer (Karpathy, Johnson & Fei-Fei 2015)."""
    return by_layer(subject, PICTURES, _of_layer)


def _of_layer(path: Trajectory) -> Measured:
    found = gate_values(path)
    shares = {name: (float(np.mean(gate.left)), float(np.mean(gate.right))) for name, gate in found.items()}
    numbers = {f"{name} {side}": x for name, pair in shares.items() for side, x in zip(SIDES, pair, strict=True)}
    panels = []
    for picture, both_signs in (("sigmoid gates", False), ("candidates", True)):
        if chosen := {name: gate for name, gate in found.items() if (gate.low < 0) is both_signs}:
            ends = listed({name: f"{shares[name][0]:.0%} and {shares[name][1]:.0%}" for name in chosen})
            lines = tuple(_histogram(name, gate) for name, gate in chosen.items())
            seen = f"Shares of the values in the lowest and in the highest tenth of the range: {ends}."
            panels.append(Panel(picture, seen, lines))
    stuck = listed({name: f"{np.mean(gate.left + gate.right > 0.9):.0%}" for name, gate in found.items()})
    points = tuple(Line(name, gate.left, gate.right, "points") for name, gate in found.items())
    panels.append(Panel("saturated", f"Units that are saturated at more than 90 % of the steps: {stuck}.", points))
    return Measured("saturation", numbers, tuple(panels))


def _histogram(name: str, gate: Gate) -> Line:
    """The share of all values in each of the bins."""
    counts, edges = np.histogram(gate.values, BINS, (gate.low, gate.high))
    return Line(name, (edges[1:] + edges[:-1]) / 2, counts / gate.values.size, "bars")
