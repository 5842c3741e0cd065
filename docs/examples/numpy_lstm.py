"""An LSTM by hand in NumPy, as a course has one write it, checked as it is; then with the error not carried back.

    python docs/examples/numpy_lstm.py

The first report passes: every entry of every gradient, to 1e-15. In the second, `dh` of the step after is lost. The
table over time tells where: with a cotangent at t = 0 alone nothing has to be carried and all is right; at t = 1 and
later the gradients are wrong. With `step`, one step of the same loop, the second check also perturbs each tensor at one
step s alone: of dX all parts with t = s are right, all with s < t are wrong. The bug is in the loop, not in the step.
"""

from __future__ import annotations

import numpy as np

import rnnbp


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def forward(X, W, U, b):
    """(T, B, I) -> the states h after each step (T, B, H), and what the backward needs. Gates i, f, o, g."""
    state, hs, cache = start(X.shape[1], len(U)), [], []
    for x in X:
        before, (state, gates) = state, cell(x, *state, W, U, b)
        hs.append(state[0])
        cache.append((x, *before, *gates, np.tanh(state[1])))
    return np.stack(hs), (W, U, cache)


def start(batch, hidden):
    """The states h and c before the first step."""
    return np.zeros((batch, hidden)), np.zeros((batch, hidden))


def cell(x, h, c, W, U, b):
    """The next (h, c), and the gates."""
    i, f, o, g = np.split(x @ W + h @ U + b, 4, axis=1)
    i, f, o, g = sigmoid(i), sigmoid(f), sigmoid(o), np.tanh(g)
    c = f * c + i * g
    return (o * np.tanh(c), c), (i, f, o, g)


def step(state, t, X, W, U, b):
    """What a check takes as `step`: the next state, and the value of forward at t."""
    state, _ = cell(X[t], *state, W, U, b)
    return state, state[0]


def backward(dhs, kept, carry=True):
    """The gradients in the order of forward's arguments."""
    W, U, cache = kept
    dX, dW, dU, db = [], np.zeros_like(W), np.zeros_like(U), np.zeros(W.shape[1])
    dh_next = dc_next = 0.0
    for dh_t, (x, h_before, c_before, i, f, o, g, tanh_c) in zip(dhs[::-1], cache[::-1], strict=True):
        dh = dh_t + dh_next if carry else dh_t
        dc = dh * o * (1 - tanh_c**2) + dc_next
        di, df, do, dg = dc * g, dc * c_before, dh * tanh_c, dc * i
        da = np.hstack([di * i * (1 - i), df * f * (1 - f), do * o * (1 - o), dg * (1 - g**2)])
        dW += x.T @ da
        dU += h_before.T @ da
        db += da.sum(0)
        dX.append(da @ W.T)
        dh_next, dc_next = da @ U.T, dc * f
    return np.stack(dX[::-1]), dW, dU, db


def inputs():
    """T = 5, B = 3, I = 4, H = 6: sizes unlike each other, so that an axis taken for another shows."""
    rng = np.random.default_rng(0)
    return [rng.standard_normal(shape) for shape in ((5, 3, 4), (4, 24), (6, 24), (24,))]


def check():
    """The reports: of the backward as it is, and of the one that does not carry dh."""
    right = rnnbp.gradcheck(forward, inputs(), backward=backward)
    lossy = lambda dhs, kept: backward(dhs, kept, carry=False)
    wrong = rnnbp.gradcheck(forward, inputs(), backward=lossy, step=step, s0=start(3, 6))
    return right, wrong


if __name__ == "__main__":
    print(*check(), sep="\n\n")
