"""The adding problem."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rnnbp.numerics import HostArray
from rnnbp.sources import Task, need_steps


@dataclass(frozen=True)
class Adding(Task):
    """The adding problem (Hochreiter & Schmidhuber 1997, experiment 4; in the form of Le et al. 2015).

    Each step brings a number from U(0, 1) and a marker; one step in each half is marked; the target after the last
    step is the sum of the two marked numbers. Always answering 1 gives a squared error of 1/6.
    """

    input_size = 2
    output_size = 1
    loss = "mse:steps=last"
    time_steps = 100

    def draw(self, rng: np.random.Generator, batch: int, time_steps: int) -> tuple[HostArray, HostArray]:
        need_steps("adding", time_steps, 2)
        half = time_steps // 2
        numbers, marks = rng.random((time_steps, batch)), np.zeros((time_steps, batch))
        sequences = np.arange(batch)
        for where in (rng.integers(0, half, batch), rng.integers(half, time_steps, batch)):
            marks[where, sequences] = 1
        return np.stack([numbers, marks], axis=-1), np.sum(numbers * marks, axis=0)[:, None]
