"""Where training data comes from: the contract that a text corpus and a generated task share.

A cursor says where in the data a run is. It is a plain dict that JSON can hold, so a checkpoint holds it too, and
`batch` is pure: the same cursor gives the same batch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from rnnbp.errors import UserError
from rnnbp.numerics import HostArray

Cursor: TypeAlias = dict[str, Any]


class Batch(NamedTuple):
    """Host arrays: xs (T, B, I) or symbols (T, B), targets for each step or for the last."""

    xs: HostArray
    targets: HostArray
    fresh: bool  # True: start from the initial state; False: go on from the state of the batch before


class Source(ABC):
    """Batches for training and for validation, and what a model needs to know of them."""

    inputs: str = "dense"  # or "one-hot": xs holds class numbers
    input_size: int
    output_size: int
    loss: str  # NAME[:option=value,…]
    time_steps: int  # the default length of a batch
    batch_size: int = 32  # the default number of sequences in a batch

    @abstractmethod
    def start(self, seed: int) -> Cursor:
        """The cursor of the first batch."""

    @abstractmethod
    def batch(self, cursor: Cursor, batch: int, time_steps: int) -> tuple[Batch, Cursor]:
        """The batch at a cursor, and the next cursor."""

    @abstractmethod
    def validation(self, batch: int, time_steps: int) -> Iterator[Batch]:
        """Batches never trained on, the same each time; `batch` and `time_steps` may be less at the edges."""

    @property
    def fingerprint(self) -> str:
        """What must be equal for a run to go on with the same data."""
        return repr(self)

    @property
    def vocabulary(self) -> str | None:
        """The characters behind the class numbers, where there are any."""
        return None


class Task(Source):
    """A generated problem: endless batches drawn from a random generator whose state is the cursor."""

    @abstractmethod
    def draw(self, rng: np.random.Generator, batch: int, time_steps: int) -> tuple[HostArray, HostArray]:
        """One batch: xs and targets."""

    def start(self, seed: int) -> Cursor:
        return {"generator": np.random.default_rng(seed).bit_generator.state}

    def batch(self, cursor: Cursor, batch: int, time_steps: int) -> tuple[Batch, Cursor]:
        rng = np.random.default_rng()
        rng.bit_generator.state = cursor["generator"]
        xs, targets = self.draw(rng, batch, time_steps)
        return Batch(xs, targets, True), {"generator": rng.bit_generator.state}

    def validation(self, batch: int, time_steps: int) -> Iterator[Batch]:
        rng = np.random.default_rng([7, 2016])  # a stream of its own: no seed of a run gives it
        for _ in range(4):
            yield Batch(*self.draw(rng, batch, time_steps), True)


def need_steps(task: str, time_steps: int, least: int) -> None:
    """A sequence too short for the task is a UserError."""
    if time_steps < least:
        raise UserError(f"task {task} needs at least {least} time steps; got {time_steps}: pass a larger --time-steps")
