"""How open the gates of a cell are along a sequence, and how often they are stuck at an end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from rnnbp.around.base import expected
from rnnbp.cellbase import Cell, Params, State
from rnnbp.errors import UserError
from rnnbp.flow.trajectories import Trajectory
from rnnbp.numerics import HostArray
from rnnbp.scanning import scan

EDGE = 0.1  # of the range of a gate: nearer to an end it is saturated
FAR, SEQUENCES = 1e4, 64  # weights with which σ(a) is 0 or 1 to rounding, and how often ends are looked for


@dataclass(frozen=True, eq=False)
class Gate:
    """A gate's values (T, B, H), and the ends of its range: 0 and 1 for σ, −1 and 1 for tanh."""

    values: HostArray
    low: float
    high: float

    @property
    def left(self) -> HostArray:
        """The share of steps and sequences at which each unit is left-saturated, (H,): for σ, below 0.1."""
        return np.asarray(np.mean(self.values < self.low + EDGE * (self.high - self.low), axis=(0, 1)))

    @property
    def right(self) -> HostArray:
        """The share at which each unit is right-saturated, (H,): for σ, above 0.9."""
        return np.asarray(np.mean(self.values > self.high - EDGE * (self.high - self.low), axis=(0, 1)))


def gate_values(path: Trajectory) -> Mapping[str, Gate]:
    """The gates of a cell, as a scan with `record` has them by the names of `Cell.blocks`.

    Left- and right-saturated: below 0.1 and above 0.9 (Karpathy, Johnson & Fei-Fei 2015, arXiv 1506.02078, sec. 4.2); a
    gate of another range, such as the tanh of a candidate, is measured by the same tenths of it. What has no two ends,
    such as a ReLU, is never saturated, and left out; a cell that has no more is refused.
    """
    ends = _ends(path.cell)
    values = _recorded(path.cell, path.params, path.xs, path.s0, path.data or None)
    found = {name: Gate(a, *ends[name]) for name, a in values.items() if name in ends and np.all(np.isfinite(a))}
    if not found:
        raise UserError(
            "gates are what a cell names in `blocks` and keeps for its backward, finite, within two ends; "
            f"{type(path.cell).__name__} has none"
        )
    return found


@lru_cache(maxsize=256)  # a training run asks again and again
def _ends(cell: Cell) -> Mapping[str, tuple[float, float]]:
    """The ends of what has ends: with weights so large that every pre-activation is far out all values are at one of
    them, and weights that are a thousand times larger reach no further.
    """
    rng = np.random.default_rng(0)
    drawn = {name: rng.uniform(-FAR, FAR, spec.shape) for name, spec in cell.params.items()}
    xs, s0 = rng.standard_normal((1, SEQUENCES, cell.input_size)), cell.random_state(rng, SEQUENCES)
    data = expected(cell, 1, SEQUENCES) or None
    reached = []
    for scale in (1.0, 1e3):
        found = _recorded(cell, {name: scale * w for name, w in drawn.items()}, xs, s0, data)
        reached.append({name: (float(np.min(a)), float(np.max(a))) for name, a in found.items()})
    near, far = reached
    return {name: ends for name, ends in near.items() if ends == far[name] and ends[0] < ends[1]}


def _recorded(
    cell: Cell, params: Params, xs: HostArray, s0: State | None, data: Mapping[str, HostArray] | None
) -> dict[str, HostArray]:
    """The values of its gates, (T, B, H) each."""
    names = dict.fromkeys(gate for gates in cell.blocks.values() for gate in gates)
    record = scan(cell, params, xs, s0, data=data, record=True)[2].record  # type: ignore[attr-defined]
    return {name: np.asarray(record[name]) for name in names if name in record}
