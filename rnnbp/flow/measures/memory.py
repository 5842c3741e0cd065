"""How fast the derivative of a cell's memory by the weights decays with the lag: of the state, not of a loss."""

from __future__ import annotations

import numpy as np

from rnnbp.flow.measures.found import Axis, Measured, Panel, Picture
from rnnbp.flow.measures.layering import by_layer
from rnnbp.flow.measures.thinning import fitted, over_lags, ranked
from rnnbp.flow.memories import DIRECTIONS, state_by_lag
from rnnbp.flow.subjects import Subject
from rnnbp.flow.trajectories import Trajectory

FEW = 16  # random directions of a state of more numbers than are taken one by one
PICTURES = {
    "memory": Picture(
        "How the memory depends on the weights of earlier steps",
        "‖∂C_T/∂W_{T−u}‖: of the state itself, c of an LSTM, h of others, by the weights as step T − u uses them",
        Axis("lag u, steps back"),
        Axis("Frobenius norm", log=True),
        together=False,
    ),
}


def measure(subject: Subject) -> Measured:
    """dC(t)/dW(t−u) of every layer by itself, by tensor."""
    return by_layer(subject, PICTURES, _of_layer)


def _of_layer(path: Trajectory) -> Measured:
    state = "c" if "c" in path.cell.states else next(iter(path.cell.states))
    size = path.xs.shape[1] * path.sizes[state]
    found = state_by_lag(path, state, directions=DIRECTIONS if size <= DIRECTIONS else FEW)
    by_lag = {
        name: of_gate[""]
        for name, of_gate in found.weights.items()
        if len(path.cell.params[name].shape) > 1 and np.any(of_gate[""] > 0)
    }
    rates = {name: fitted(norms) for name, norms in by_lag.items()}
    numbers = {f"half-life {name}": rate.half_life for name, rate in rates.items()}
    note = f"Norms are estimated from {FEW} random directions of the state, to about 1/√{2 * FEW}."
    panels = (Panel("memory", ranked(rates), over_lags(by_lag)),) if by_lag else ()
    return Measured("memory", numbers, panels, () if found.exact else (note,))
