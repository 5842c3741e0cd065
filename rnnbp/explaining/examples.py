"""The small examples that answers are computed on: a cell with its weights as drawn, on noise."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import array_api_compat.numpy as xp
import numpy as np

from rnnbp.cellbase import Cell
from rnnbp.cells.elman import Elman
from rnnbp.checking.distances import Separation, separation
from rnnbp.flow.trajectories import Trajectory
from rnnbp.initializers import orthogonal
from rnnbp.numerics import HostArray
from rnnbp.registry import CELLS
from rnnbp.truncation import Truncation
from rnnbp.unrolling import ScanBackward, unroll

BATCH, INPUTS, HIDDEN = 4, 4, 16
# of a gradient check: its numbers, without what is found beside them, by the portable loop
SEQUENCE_ALONE: dict[str, Any] = {
    "levels": ("sequence",),
    "path": "reference",
    **dict.fromkeys(("properties", "lags", "diagnosis"), False),
}
Gradients = dict[str, HostArray]


@dataclass(frozen=True, eq=False)
class Example:
    """A cell along a sequence, and the errors dys (T, B, O) that the losses of its steps leave on its outputs:
    L = Σ ys ∘ dys.
    """

    path: Trajectory
    dys: HostArray

    def gradients(self, kind: str = "full") -> Gradients:
        """Parameter -> its gradient under a truncation, by the portable loop."""
        truncation = Truncation.parse(kind)
        back = scanned(self.path, truncation.of(self.path.cell))[1]
        parts = [back(self.dys, None, window)[0] for window in truncation.windows(self.path.time_steps)]
        return {name: np.asarray(sum(part[name] for part in parts)) for name in self.path.cell.params}

    @cached_property
    def full(self) -> Gradients:
        """Without truncation."""
        return self.gradients()

    def beside_full(self, kind: str) -> Separation:
        """The gradient of all parameters as one vector under a truncation, beside the full one."""
        return separation(flat(self.gradients(kind)), flat(self.full))


def example(spec: str, time_steps: int, seed: int = 0) -> Example:
    """The weights that the seed draws, independent normal inputs, and independent normal errors."""
    cell: Cell = CELLS.make(spec, INPUTS, HIDDEN)
    rng = np.random.default_rng(seed)
    params = cell.init(rng)
    xs = rng.standard_normal((time_steps, BATCH, INPUTS))
    return Example(Trajectory(cell, params, xs), rng.standard_normal((time_steps, BATCH, cell.output_size)))


def orthogonal_rnn(scale: float, inputs: float, time_steps: int, seed: int = 0) -> Trajectory:
    """A tanh network with U `scale` times a random orthogonal matrix, all of whose singular values and |eigenvalues|
    are `scale`; the inputs are normal with that deviation.
    """
    cell = Elman(INPUTS, HIDDEN)
    rng = np.random.default_rng(seed)
    params = {**cell.init(rng), "U": orthogonal(scale)(rng, (HIDDEN, HIDDEN))}
    return Trajectory(cell, params, inputs * rng.standard_normal((time_steps, BATCH, INPUTS)))


def described(spec: str, time_steps: int) -> str:
    """Such an example in words."""
    return (
        f"`{spec}`, T={time_steps}, B={BATCH}, I={INPUTS}, H={HIDDEN}, weights as drawn, independent normal inputs, "
        "and at every output an error drawn at random"
    )


def scanned(path: Trajectory, cell: Cell | None = None) -> tuple[HostArray, ScanBackward]:
    """The outputs (T, B, O) and the backward, of the path's cell or of one with something stopped inside of it."""
    plain: dict[str, Any] = {"mask": None, "resets": None, "reverse": False, "record": False, "keep": True}
    ys, _, back = unroll(xp, cell or path.cell, path.params, path.xs, path.states[0], data=path.data, **plain)
    return np.asarray(ys), back


def flat(gradients: Gradients) -> HostArray:
    """All parameters as one vector."""
    return np.concatenate([d.ravel() for d in gradients.values()])
