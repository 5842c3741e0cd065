"""Whether the parts of the gradient add up to the gradient, as any backend computes it."""

from __future__ import annotations

from rnnbp.flow.agreement import parts_apart
from rnnbp.flow.measures.found import Measured, Picture
from rnnbp.flow.subjects import Subject

PICTURES: dict[str, Picture] = {}


def measure(subject: Subject) -> Measured:
    """For each tensor how far the sum of its parts by lag is from dL/dW of the same batch, relative to that."""
    where = "numpy" if subject.on is None else subject.on.name
    lags, steps = subject.by_lag.lags, subject.path.time_steps
    some = f", each error through {lags + 1} of {steps} steps" if lags + 1 < steps else ""
    note = f"The sum of all dL_t/dW_s beside dL/dW by {where} in {subject.dtype}{some}: ‖difference‖ / ‖dL/dW‖."
    return Measured("gradient", parts_apart(subject), notes=(note,))
