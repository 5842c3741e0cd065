"""A backend of one's own: NumPy's arrays, and a scan written by hand for the one cell that it was made for.

    python docs/examples/elman_backend.py

Seen: the simple recurrent network by both paths, the portable loop and the scan below, each to 1e-15; an LSTM, which
this scan does not know, by the portable loop; then the conformance suite: windows, masks, copies and more.
"""

from __future__ import annotations

from typing import Any

import array_api_compat.numpy as xp
import numpy as np

import rnnbp
from rnnbp.cells.elman import Elman
from rnnbp.fastpath import copied, linear
from rnnbp.numerics import freeze
from rnnbp.testing import check_cell
from rnnbp.validation import check_cotangents, check_window


class ElmanBackend(rnnbp.Backend):
    """NumPy with a scan of its own for h' = tanh(x W + h U + b)."""

    name = "elman-numpy"
    path = "by hand"

    @classmethod
    def available(cls) -> str | None:
        return None  # or, in one line, what is missing and how to get it

    @classmethod
    def version(cls) -> str | None:
        return np.__version__

    @classmethod
    def devices(cls) -> tuple[str, ...]:
        return ("cpu",)

    def _namespace(self) -> Any:
        return xp

    def asarray(self, x: Any, dtype: str | None = None) -> np.ndarray:
        self.require_dtype(dtype)
        return np.asarray(x, dtype=dtype)

    def to_numpy(self, x: Any) -> np.ndarray:
        return np.asarray(x)

    def scan(self, cell: Any, params: Any, xs: Any, s0: Any, **options: Any) -> Any:
        """The scan by hand for what it takes; for all else NotImplemented, and the portable loop runs."""
        known = type(cell) is Elman and cell == Elman(cell.input_size, cell.hidden_size)  # no option is set
        asked = options["resets"] is not None or options["data"] or options["reverse"] or options["record"]
        if not known or asked or xs.dtype.kind == "c" or copied(cell, params, xs, s0, {}):
            return NotImplemented
        return scan(cell, params, xs, s0[0], options["mask"])


def scan(cell: Elman, params: Any, xs: np.ndarray, h0: np.ndarray, mask: np.ndarray | None) -> Any:
    """Outputs (T, B, H), the last state, and the backward; the arguments have been checked."""
    steps, batch, _ = xs.shape
    W, U, b = params["W"], params["U"], params["b"]
    on = np.ones((steps, batch, 1), bool) if mask is None else mask[:, :, None]  # (T, B, 1)
    xs = np.where(on, xs, 0)  # what pads a sequence may be anything
    hs = np.empty((steps + 1, *h0.shape), xs.dtype)  # (T + 1, B, H)
    hs[0] = h0
    ax = xs @ W + b  # one product for all steps
    for t in range(steps):
        hs[t + 1] = np.where(on[t], np.tanh(ax[t] + hs[t] @ U), hs[t])  # [1]
    ys = np.where(on, hs[1:], 0)  # [2]

    def backward(dys: Any = None, ds_T: Any = None, window: Any = None) -> Any:
        start, lo, stop = check_window(window or rnnbp.Window(0, 0, steps), steps, reverse=False)
        check_cotangents(cell, (steps, batch), dys, ds_T, ys)

        def one(dys: np.ndarray | None, ds_T: tuple[Any, ...]) -> Any:
            da, dh = np.zeros_like(ax), np.zeros_like(h0)
            if ds_T[0] is not None and stop == steps:
                dh = dh + ds_T[0]
            for t in reversed(range(start, stop)):
                if dys is not None and t >= lo:
                    dh = dh + np.where(on[t], dys[t], 0)  # [2]
                da[t] = np.where(on[t], dh * (1 - hs[t + 1] ** 2), 0)  # [1]
                dh = np.where(on[t], da[t] @ U.T, dh)  # [1]
            return weights(xs, hs, da), da @ W.T, (dh,)

        return linear(xp, one, dys, ds_T or (None,))  # copies one by one, complex cotangents in two parts

    return freeze(ys), (freeze(hs[-1]),), backward


def weights(xs: np.ndarray, hs: np.ndarray, da: np.ndarray) -> dict[str, np.ndarray]:
    """Over steps and batch dW = Σ xᵀ da, dU = Σ hᵀ da with the h before each step, db = Σ da."""
    x, h, d = (a.reshape(-1, a.shape[-1]) for a in (xs, hs[:-1], da))
    return {"W": x.T @ d, "U": h.T @ d, "b": d.sum(0)}


def check():
    """The reports on a cell that the scan takes and on one that it leaves to the portable loop, and the suite's."""
    here = ElmanBackend()
    return [*(rnnbp.gradcheck(cell, backend=here) for cell in ("rnn", "lstm")), check_cell("rnn", backend=here)]


if __name__ == "__main__":
    print(*check(), sep="\n\n")
