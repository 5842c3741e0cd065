"""The temporal order problem."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rnnbp.numerics import HostArray
from rnnbp.sources import Task, need_steps

DISTRACTORS, X, BEGIN, END = 4, 4, 6, 7  # symbols: a b c d, X Y, the first and the last of a sequence


@dataclass(frozen=True)
class TemporalOrder(Task):
    """Temporal order with two symbols (Hochreiter & Schmidhuber 1997, experiment 6a).

    Among distractors stand two symbols, X or Y each: one between T/10 and 2T/10, one between 5T/10 and 6T/10. The
    class after the last step is their order: XX, XY, YX or YY. Guessing costs ln 4 = 1.386 nats.
    """

    inputs = "one-hot"
    input_size = 8
    output_size = 4
    loss = "cross-entropy:steps=last"
    time_steps = 100

    def draw(self, rng: np.random.Generator, batch: int, time_steps: int) -> tuple[HostArray, HostArray]:
        need_steps("temporal-order", time_steps, 10)
        xs = rng.integers(0, DISTRACTORS, (time_steps, batch))
        xs[0], xs[-1] = BEGIN, END
        tenth, kinds = time_steps // 10, rng.integers(0, 2, (2, batch))
        for start, kind in zip((tenth, 5 * tenth), kinds, strict=True):
            xs[rng.integers(start, start + tenth + 1, batch), np.arange(batch)] = X + kind
        return xs, 2 * kinds[0] + kinds[1]
