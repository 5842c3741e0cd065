"""Small subjects whose flow is measured in several test files."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
from rnnbp_mgu import MGU

import rnnbp
from rnnbp.flow.measures import MEASURES
from rnnbp.flow.subjects import Subject
from rnnbp.losses import MeanSquaredError
from rnnbp.model import Model
from rnnbp.stacking import Stack

T, B, I, H = 12, 2, 3, 4
CELLS = ["rnn", "lstm", "lstm:peepholes=true", "gru", "gru:reset=before", "mgu", "rhn"]


@cache
def subject(cell: str, layers: int = 1, steps: int = T, hidden: int = H, seed: int = 0) -> Subject:
    """A model with weights that the seed draws, on noise."""
    cells = [MGU(I, hidden) if cell == "mgu" else rnnbp.cell(cell, I, hidden)]
    cells += [replace(cells[0], input_size=hidden) for _ in range(layers - 1)]
    return of(Model(Stack(tuple((one,) for one in cells)), 2, MeanSquaredError()), cell, steps, seed)


def of(model: Model, label: str, steps: int = T, seed: int = 0) -> Subject:
    """That model with weights that the seed draws, on noise."""
    rng = np.random.default_rng(seed)
    xs, targets = rng.standard_normal((steps, B, I)), rng.standard_normal((steps, B, 2))
    return Subject(label, model, model.init(rng), xs, targets, "noise")


def with_params(what: Subject, **changed: np.ndarray) -> Subject:
    """The same with other weights of its only layer."""
    return replace(what, params={**what.params, **{f"0.{name}": w for name, w in changed.items()}})


def linear(u: np.ndarray, steps: int = T) -> Subject:
    """The network h' = x W + b + h U."""
    return with_params(subject("elman:activation=identity", steps=steps, hidden=len(u)), U=u)


def numbers(name: str, what: Subject) -> dict[str, float]:
    """What a measurement says in numbers."""
    return dict(MEASURES[name](what).numbers)


def line(name: str, what: Subject, picture: str, label: str, part: str = "") -> tuple[np.ndarray, np.ndarray]:
    """X and y of a line of one of its pictures."""
    (panel,) = [one for one in MEASURES[name](what).panels if (one.picture, one.part) == (picture, part)]
    (found,) = [one for one in panel.lines if one.label == label]
    return found.x, found.y
