"""The error of one loss, the last, on its way back: what one pass over a sequence gives, at little cost."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from rnnbp.errors import UserError
from rnnbp.flow.sums import norms
from rnnbp.flow.trajectories import Trajectory
from rnnbp.numerics import HostArray


def last_error(path: Trajectory, dy: HostArray) -> Mapping[str, HostArray]:
    """‖dL_t/ds_{t−u}‖ for u = 0 … T, t the last step and dy (B, O) the error of what it gives: state -> (T + 1).

    "" is the whole state. They are the last row of `LagDecomposition.states`, the nearest state first, Euclidean and of
    all B sequences; no gradient of a weight is made.
    """
    wanted = (path.xs.shape[1], path.cell.output_size)
    if dy.shape != wanted:
        raise UserError(f"dy must have shape (B, O), here {wanted}; got {dy.shape}")
    last = path.time_steps
    ds = tuple(d[None] for d in path.entered(dy))
    found = {name: np.zeros(last + 1) for name in ("", *path.cell.states)}
    for k in range(last, -1, -1):
        whole = path.vector(ds)
        for name, table in found.items():
            table[last - k] = norms(whole if name == "" else whole[..., path.part(name)], (1, 2))[0]
        if k:
            ds = path.back(k - 1, ds).ds
    return found
