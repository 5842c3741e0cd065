"""The LSTM of thinc 9.1.1, through its public Ops: none of its gradients is right, and its tests do not notice.

    pip install thinc==9.1.1
    python docs/examples/thinc_lstm.py

thinc has the backward twice, and each time with faults of its own:

- the portable `Ops` in Python, which CuPy's inherit: all gradients are zero. The loop over time computes the gates'
  errors and stores them nowhere; the array that the products read stays zero.
- `NumpyOps` in Cython: the gradient is not zero at a zero cotangent, because the "gradient" is made of slices of the
  parameters and added to; dWx = Wx and dWh = Wh to begin with. The loop ends before t = 0: dX[0] = 0, and dX is right
  at all other steps. (dWh also multiplies the errors with Y of the same step, where that of the step before belongs.)
- in both the second bias has the gradient zero, though the forward adds it to the first one; and the cotangent, an
  argument of the caller's, is written to.

Both forwards compute in float32: one casts, the other reads the memory of any array as float32. The report says how far
differences can be trusted then; the errors found are three orders of magnitude above that.
"""

from __future__ import annotations

import numpy as np
from thinc.api import NumpyOps, Ops

import rnnbp

T, B, I, H = 5, 3, 4, 6


class PortableOps(NumpyOps):
    """NumPy arrays with the LSTM of the base class, the one that CupyOps has."""

    lstm_forward_training = Ops.lstm_forward_training
    backprop_lstm = Ops.backprop_lstm


def lstm(ops):
    """Forward and backward of thinc as one function: one layer, one direction, all sequences of one length."""
    lengths, zero = np.full(T, B, dtype="i"), np.zeros((1, 1, H), dtype="f")

    def fn(X, Wx, bx, Wh, bh):
        parts = (Wx, bx, Wh, bh)
        params = np.concatenate([part.ravel() for part in parts])
        Y, state = ops.lstm_forward_training(params, zero, zero, X.reshape(T * B, I), lengths)

        def backward(dY):
            dX, dparams = ops.backprop_lstm(dY.reshape(T * B, H), lengths, params, state)
            cut = np.split(dparams, np.cumsum([part.size for part in parts[:-1]]))
            return dX.reshape(X.shape), *(d.reshape(part.shape) for d, part in zip(cut, parts, strict=True))

        return Y.reshape(T, B, H), backward

    return fn


def check():
    """The reports on the portable code and on the Cython code."""
    rng = np.random.default_rng(0)
    shapes = {"X": (T, B, I), "Wx": (4 * H, I), "bx": (4 * H,), "Wh": (4 * H, H), "bh": (4 * H,)}
    inputs = {name: 0.5 * rng.standard_normal(shape).astype("f") for name, shape in shapes.items()}
    return [rnnbp.gradcheck(lstm(ops), inputs, name=type(ops).__name__) for ops in (PortableOps(), NumpyOps())]


if __name__ == "__main__":
    print(*check(), sep="\n\n")
