"""What was recorded while a run was trained: the numbers of measurements, and the loss beside them."""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np

from rnnbp.errors import UserError
from rnnbp.flow.measures.found import Axis, Line, Measured, Panel, Picture
from rnnbp.flow.measures.thinning import column, said
from rnnbp.flow.subjects import Subject

STEP = Axis("training step")
MOST = 8  # lines of a panel
# the numbers that go by a scale of their own: how their names look -> what they are counted in
UNITS = {
    r".*half-life.*": "half-life, steps",
    r".*\|.+\|.*": "mean size",
    r"log10 .*": "log10 of the share",
    r".*exponent.*|λ_1": "exponent, e-folds a step",
    r"largest step": "step of gradient descent",
    r".*remaining": "share of the norms",
}
PICTURES = {
    "loss": Picture(
        "The loss over training",
        "the mean loss of the training steps since the last row, and that of the validation data",
        STEP,
        Axis("loss"),
        together=False,
    ),
}


def recorded(measures: Iterable[str]) -> dict[str, Picture]:
    """A picture over training for each measurement."""
    return {
        f"{name} over training": Picture(
            f"Over training: {name}",
            f"the numbers of measurement {name}, with the weights of that step, on sequences of its batch",
            STEP,
            Axis("value"),
            together=False,
            own_scale=True,
        )
        for name in measures
    }


def measure(subject: Subject) -> Measured:
    """The samples of `train --flow`, a picture for each measurement, and the loss."""
    if not subject.samples:
        raise UserError("nothing was recorded over training: train a run with --flow every=100")
    step = np.array([row["step"] for row in subject.samples])
    panels, notes = [_loss(subject)] if subject.rows else [], []
    numbers: dict[str, float] = {"samples": float(len(step))}
    lines: dict[tuple[str, str], list[Line]] = {}  # of a measurement, and counted in that
    for of_measure in (name for name in subject.samples[0] if name != "step"):
        of, _, name = of_measure.partition(".")
        y = column(subject.samples, of_measure)
        if np.any(np.isfinite(y)):
            lines.setdefault((of, unit(name)), []).append(Line(name, step, y))
        if infinite := int(np.sum(np.isinf(y))):
            notes.append(f"{name} of {of} is infinite in {infinite} of {len(y)} samples, which no line shows.")
    for (of, part), found in lines.items():
        if len(found) > MOST:
            notes.append(f"Of {of} the {MOST} of {len(found)} numbers that change most.")
        most = sorted(found, key=_change, reverse=True)[:MOST]
        shown = tuple(line for line in found if line in most)
        panels.append(Panel(f"{of} over training", _seen(most[0]), shown, part=part))
    return Measured("training", numbers, tuple(panels), tuple(notes))


def unit(name: str) -> str:
    """What a number is counted in, if it goes by a scale of its own; "" if by that of the measurement's others."""
    return next((said for form, said in UNITS.items() if re.fullmatch(form, name)), "")


def _seen(line: Line) -> str:
    """Of the line that changes most."""
    there = np.flatnonzero(np.isfinite(line.y))
    first, last, y = there[0], there[-1], line.y
    between = f"between steps {line.x[first]} and {line.x[last]}"
    if first == last:
        return f"At step {line.x[first]}, where alone it is known, {line.label} is {said(y[first])}."
    if not _change(line):
        return f"Nothing changes {between}; {line.label} is {said(y[first])}."
    return f"What changes most, {line.label}, goes from {said(y[first])} to {said(y[last])} {between}."


def _change(line: Line) -> float:
    """The largest value less the smallest."""
    there = line.y[np.isfinite(line.y)]
    return float(np.max(there) - np.min(there))


def _loss(subject: Subject) -> Panel:
    step = np.array([row["step"] for row in subject.rows])
    lines = []
    for name, label in (("train_loss", "training"), ("valid_loss", "validation")):
        y = column(subject.rows, name)
        if np.any(np.isfinite(y)):
            lines.append(Line(label, step, y))
    last = lines[-1].y
    seen = f"The {lines[-1].label} loss goes from {said(last[0])} to {said(last[-1])} in {step[-1]} steps."
    return Panel("loss", seen, tuple(lines))
