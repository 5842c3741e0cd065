"""How large the states are, and how far the error of the last loss goes back: the least that one pass tells."""

from __future__ import annotations

import numpy as np

from rnnbp.flow.decays import decay
from rnnbp.flow.last_errors import last_error
from rnnbp.flow.measures.found import Measured, Picture
from rnnbp.flow.subjects import Subject

PICTURES: dict[str, Picture] = {}


def measure(subject: Subject) -> Measured:
    """The mean of |s| for every state, and of the error dL_T/ds_k that the loss of the last step leaves on the state
    before step k: within how many steps back it falls to a half, and log10 of what is left of it at the beginning,
    ‖dL_T/ds_0‖ / ‖dL_T/ds_T‖. It has no pictures: it is what a training run can afford to record.
    """
    path = subject.path
    by_lag = last_error(path, subject.dys[-1])[""]
    with np.errstate(divide="ignore", invalid="ignore"):  # −inf where nothing is left, nan where nothing was
        left = float(np.log10(by_lag[-1]) - np.log10(by_lag[0]))
    numbers = {"half-life": decay(by_lag).half_life, "log10 error left": left}
    for j, name in enumerate(path.cell.states):
        numbers[f"|{name}|"] = float(np.mean([np.mean(np.abs(s[j])) for s in path.states[1:]]))
    return Measured("states", numbers)
