"""How fast the derivative of a state by the weights decays with the lag: of the state itself, not of a loss."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from rnnbp.errors import UserError, unknown
from rnnbp.flow.contributions import contributions
from rnnbp.flow.sums import Norms, by_gate, gates
from rnnbp.flow.trajectories import Trajectory
from rnnbp.numerics import HostArray

DIRECTIONS = 64  # a state of so many numbers, of all sequences, is differentiated number by number


@dataclass(frozen=True, eq=False)
class StateByLag:
    """‖∂c_t/∂W_{t−u}‖, Frobenius norms for u = 0, 1, …: c_t is a state behind step t, of all B sequences, and W_s the
    weights as step s uses them. `exact`, or estimated from random directions.
    """

    state: str
    weights: Mapping[str, Norms]  # parameter -> gate -> (t + 1) [u]; "" is the whole parameter
    exact: bool


def state_by_lag(
    path: Trajectory, state: str, end: int | None = None, directions: int = DIRECTIONS, seed: int = 0
) -> StateByLag:
    """The derivative of a state by the weights of one step, for t = `end` − 1 (the last step, if none is given).

    Σ_v ‖∂⟨v, c_t⟩/∂W_s‖² over the unit vectors v is ‖∂c_t/∂W_s‖². Where there are more than `directions` of them, v is
    drawn from ±1, so many times: then the mean is right on average (Hutchinson 1990), and the norm that it gives is
    off by 1/√(2 `directions`) or less, as one standard deviation.
    """
    cell, last = path.cell, path.time_steps if end is None else end
    if state not in cell.states:
        raise unknown(f"state of {type(cell).__name__}", state, cell.states)
    if not 1 <= last <= path.time_steps or directions < 1:
        known = f"end is the number of a state, 1 … {path.time_steps}, and directions are 1 or more"
        raise UserError(f"{known}; got {last} and {directions}")
    at = list(cell.states).index(state)
    v, exact = _drawn(path.states[last][at].shape, directions, seed)
    ds = tuple(v if k == at else np.zeros((len(v), *z.shape)) for k, z in enumerate(path.states[last]))
    parts = contributions(path, len(v) - 1)
    found = {name: {gate: np.zeros(last) for gate in gates(cell, name)} for name in cell.params}
    scale = 1.0 if exact else len(v)
    for u, s in enumerate(reversed(range(last))):
        left, dp, ds = path.back(s, ds)
        for name, d in parts.add(s, left, dp).items():
            for gate, norms in by_gate(cell, name, d).items() if name in found else ():
                found[name][gate][u] = np.sqrt(np.sum(norms**2) / scale)
    return StateByLag(state, found, exact)


def _drawn(shape: tuple[int, ...], directions: int, seed: int) -> tuple[HostArray, bool]:
    """Directions (n, *shape) of a state, and whether they are all unit vectors."""
    size = int(np.prod(shape))
    if size <= directions:
        return np.eye(size).reshape(size, *shape), True
    return np.random.default_rng(seed).choice([-1.0, 1.0], (directions, *shape)), False
