"""Small cells that use each part of the contract once, by name, and one cell with faults to plant.

The registry's own cells need few of the contract's freedoms; whatever a plugin may do is done here.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from toy_plain import Blind, Ladder, Memory
from toy_pointwise import Cut, DetachedPeephole, FullRecurrence, Independent, Leaky, Nothing, Products, Zoneout

import rnnbp
from rnnbp.numerics import sigmoid
from rnnbp.unrolling import unroll

TOYS = {
    "data": Zoneout,
    "scalar": Leaky,
    "several recurrent states": FullRecurrence,
    "no recurrent state": Independent,
    "split": Products,
    "None for zero": Nothing,
    "states of any shape": Memory,
    "no dx": Blind,
    "own scan": Ladder,
    "detach": DetachedPeephole,
    "one gate cut": Cut,
    "all gates cut": partial(Cut, stopped=("i", "f", "g")),
    "gates cut and split": partial(Cut, stopped=("g", "i"), apart=("f", "g")),
}


FAULTS = ("0.1 % in dU", "t = 0 skipped", "swapped gates", "+= dropped")


@dataclass(frozen=True)
class Faulty(rnnbp.PointwiseCell):
    """An LSTM whose backward has a fault: one of FAULTS, or none."""

    fault: str = ""

    gates = ("i", "f", "g", "o")

    @property
    def states(self):
        return {"h": (self.hidden_size,), "c": (self.hidden_size,)}

    def pointwise(self, xp, a, s, p, e):
        del p, e
        (ai, af, ag, ao), (_, c) = a, s
        i, f, g, o = sigmoid(xp, ai), sigmoid(xp, af), xp.tanh(ag), sigmoid(xp, ao)
        c1 = f * c + i * g
        t = xp.tanh(c1)

        def backward(ds1):
            dh1, dc1 = ds1
            through = dh1 * o * (1 - t * t)
            dc1 = through if self.fault == "+= dropped" else dc1 + through
            di, df, dg = dc1 * g * i * (1 - i), dc1 * c * f * (1 - f), dc1 * i * (1 - g * g)
            di, df = (df, di) if self.fault == "swapped gates" else (di, df)
            return (di, df, dg, dh1 * t * o * (1 - o)), (None, dc1 * f), {}

        return (o * t, c1), backward

    def scan(self, xp, p, xs, s0, **options):
        """The faults of the loop: the portable scan, spoiled."""
        if self.fault not in FAULTS[:2]:
            return NotImplemented
        right = Faulty(self.input_size, self.hidden_size)
        ys, s_T, back = unroll(xp, right, p, xs, s0, **options)

        def backward(dys=None, ds_T=None, window=None):
            start, lo, stop = window or (0, 0, xs.shape[-3])
            if self.fault == "t = 0 skipped":
                return back(dys, ds_T, rnnbp.Window(max(start, 1), max(lo, 1), stop))
            dp, dxs, ds = back(dys, ds_T, window)
            return dp | {"U": 1.001 * dp["U"]}, dxs, ds

        return ys, s_T, backward
