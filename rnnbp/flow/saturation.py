"""How open the gates of a cell are along a sequence, and how often they are stuck at an end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from rnnbp.errors import UserError
from rnnbp.flow.trajectories import Trajectory
from rnnbp.numerics import HostArray
from rnnbp.scanning import scan

EDGE = 0.1  # of the range of a gate: nearer to an end it is saturated


@dataclass(frozen=True, eq=False)
class Gate:
    """A gate's values (T, B, H), and the ends of its range: 0 and 1, or −1 and 1 where some values are below zero."""

    values: HostArray
    low: float

    @property
    def left(self) -> HostArray:
        """The share of steps and sequences at which each unit is left-saturated, (H,): for σ, below 0.1."""
        return np.asarray(np.mean(self.values < self.low + EDGE * (1 - self.low), axis=(0, 1)))

    @property
    def right(self) -> HostArray:
        """The share at which each unit is right-saturated, (H,): for σ, above 0.9."""
        return np.asarray(np.mean(self.values > 1 - EDGE * (1 - self.low), axis=(0, 1)))


def gate_values(path: Trajectory) -> Mapping[str, Gate]:
    """The gates of a cell, as a scan with `record` has them by the names of `Cell.blocks`.

    Left- and right-saturated: below 0.1 and above 0.9 (Karpathy, Johnson & Fei-Fei 2015, arXiv 1506.02078, sec. 4.2); a
    gate on [−1, 1], such as the tanh of a candidate, is measured by the same tenths of its range. What leaves these
    ranges is no gate, and left out; a cell that has none is refused.
    """
    names = dict.fromkeys(gate for gates in path.cell.blocks.values() for gate in gates)
    back = scan(path.cell, path.params, path.xs, path.s0, data=path.data or None, record=True)[2]
    found = {}
    for name in names:
        if name in back.record:  # type: ignore[attr-defined]
            values = np.asarray(back.record[name])  # type: ignore[attr-defined]
            if np.max(np.abs(values)) <= 1:
                found[name] = Gate(values, -1.0 if np.min(values) < 0 else 0.0)
    if not found:
        raise UserError(
            f"gates are what a cell names in `blocks` and keeps for its backward, on [0, 1] or [−1, 1]; "
            f"{type(path.cell).__name__} has none"
        )
    return found
