"""An Elman network by hand, as a black box, with faults to choose from; one step of it; the tables of a report."""

from __future__ import annotations

import numpy as np

from rnnbp.checking.foreign.bystep import ByStep

SHAPES = {"X": (4, 2, 3), "h0": (2, 5), "W": (3, 5), "U": (5, 5)}


def drawn(backend=None, dtype="float64"):
    rng = np.random.default_rng(0)
    host = {name: rng.standard_normal(shape).astype(dtype) for name, shape in SHAPES.items()}
    return host if backend is None else {name: backend.asarray(v, dtype) for name, v in host.items()}


def rnn(xp=np, fault="", form=lambda a: a):
    """An Elman network, (X, h0, W, U) -> all states, with one fault in its backward."""

    def fn(X, h0, W, U):
        hs = [h0]
        for t in range(X.shape[0]):
            hs.append(form(xp.tanh(X[t, ...] @ W + hs[-1] @ U)))

        def backward(dhs):
            last, dX, dW, dU, dh = X.shape[0] - 1, [], 0 * W, 0 * U, 0 * h0
            for t in range(last, -1, -1):
                da = (dhs[t, ...] + dh) * (1 - hs[t + 1] ** 2)
                if (fault, t) in {("first-step-skipped", 0), ("last-step-skipped", last)}:
                    da = 0 * da
                if fault == "missing-accumulation":
                    dW, dU = 0 * W, 0 * U
                dW = dW + xp.matrix_transpose(X[t, ...]) @ da
                dU = dU + xp.matrix_transpose(hs[t]) @ da
                dX.insert(0, da @ xp.matrix_transpose(W))
                dh = da @ xp.matrix_transpose(U) * {"carry-dropped": 0.0, "halved": 0.5}.get(fault, 1.0)
                if fault == "sheared":
                    dh = dh * xp.asarray(np.linspace(1, 2, 5))
            return xp.stack(dX), dh, dW, dU

        return xp.stack(hs[1:]), backward

    return fn


def step_of(xp=np, form=lambda a: a):
    def step(h, t, X, h0, W, U):  # noqa: ARG001
        h = form(xp.tanh(X[t, ...] @ W + h @ U))
        return h, h

    return step


def first(X, h0, W, U):  # noqa: ARG001
    return h0


def tables(report):
    return {f.tensor: f for f in report.findings if isinstance(f, ByStep)}
