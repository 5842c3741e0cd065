"""The smallest example: one sequence of four steps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from rnnbp.errors import UserError
from rnnbp.numerics import HostArray
from rnnbp.sources import Batch, Task


@dataclass(frozen=True)
class FourSteps(Task):
    """Input (1, 1) and target (0, 1) at each of four steps, squared error summed: small enough to follow by hand."""

    input_size = 2
    output_size = 2
    loss = "mse:reduction=sum"
    time_steps = 4
    batch_size = 1

    def draw(self, rng: np.random.Generator, batch: int, time_steps: int) -> tuple[HostArray, HostArray]:
        del rng
        if (time_steps, batch) != (4, 1):
            raise UserError(f"task four-steps is one sequence of 4 steps; got {batch} sequences of {time_steps}")
        return np.ones((4, 1, 2)), np.broadcast_to([0.0, 1.0], (4, 1, 2))

    def validation(self, batch: int, time_steps: int) -> Iterator[Batch]:
        yield Batch(*self.draw(np.random.default_rng(), batch, time_steps), True)
