"""In which order each library lays the gates of a cell side by side."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rnnbp.numerics import HostArray


@dataclass(frozen=True)
class Layout:
    """One letter for each gate, in our letters: a candidate that others call c or h is g in an LSTM, n in a GRU."""

    lstm: str
    gru: str
    rnn: str = "h"

    def order(self, kind: str) -> str:
        """The gates of that kind of cell, as they lie."""
        return {"lstm": self.lstm, "lstm-projected": self.lstm, "gru": self.gru, "rnn": self.rnn}[kind]


OURS = Layout(lstm="ifgo", gru="rzn")
"""The order of the gates in rnnbp."""
TORCH = Layout(lstm="ifgo", gru="rzn")
"""In PyTorch, and in cuDNN."""
KERAS = Layout(lstm="ifgo", gru="zrn")
"""In Keras, which writes i, f, c, o and z, r, h."""
ONNX = Layout(lstm="iofg", gru="zrn")
"""In ONNX, which writes i, o, f, c and z, r, h."""
ONNX_PEEPHOLES = "iof"


def arranged(a: HostArray, source: str, target: str) -> HostArray:
    """Gates side by side on the last axis, taken from one order to another.

    A gate that the target lacks is left out; one that only the target has is zero.
    """
    parts = dict(zip(source, np.split(a, len(source), axis=-1), strict=True))
    zero = np.zeros_like(parts[source[0]])
    return np.concatenate([parts.get(gate, zero) for gate in target], axis=-1)


def added(first: HostArray, second: HostArray) -> HostArray:
    """The sum of two biases; where the second is zero the very bits of the first, be it −0."""
    return np.where(second == 0, first, first + second)


def turned(a: HostArray) -> HostArray:
    """The transpose of a matrix, in C order: safetensors 0.8 writes the memory of a view as it lies."""
    return np.ascontiguousarray(a.T)
