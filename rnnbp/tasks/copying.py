"""The copy task."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rnnbp.errors import UserError
from rnnbp.numerics import HostArray
from rnnbp.sources import Task, need_steps


@dataclass(frozen=True)
class Copying(Task):
    """The copy task (Arjovsky, Shah & Bengio 2016, section 5.1): remember `length` symbols and say them at the end.

    Input: `length` symbols, blanks, a sign to begin at step T − length − 1, blanks. Target: blanks, then the symbols.
    Answering blanks and then guessing costs length · ln(symbols) / T nats per step.
    """

    symbols: int = 8
    length: int = 10

    inputs = "one-hot"
    loss = "cross-entropy"
    time_steps = 40

    def __post_init__(self) -> None:
        for name in ("symbols", "length"):
            if not isinstance(getattr(self, name), int) or getattr(self, name) < 1:
                raise UserError(f"{name} of task copy must be an integer of at least 1; got {getattr(self, name)!r}")

    @property
    def input_size(self) -> int:  # type: ignore[override]
        """The symbols, the blank and the sign."""
        return self.symbols + 2

    @property
    def output_size(self) -> int:  # type: ignore[override]
        """The symbols and the blank."""
        return self.symbols + 1

    def draw(self, rng: np.random.Generator, batch: int, time_steps: int) -> tuple[HostArray, HostArray]:
        need_steps("copy", time_steps, 2 * self.length + 1)
        blank, sign = self.symbols, self.symbols + 1
        message = rng.integers(0, self.symbols, (self.length, batch))
        xs, targets = (np.full((time_steps, batch), blank) for _ in range(2))
        xs[: self.length], xs[time_steps - self.length - 1] = message, sign
        targets[time_steps - self.length :] = message
        return xs, targets
