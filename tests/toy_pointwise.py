"""Small pointwise cells, each of which takes one freedom of the contract."""

from __future__ import annotations

from dataclasses import dataclass

import rnnbp
from rnnbp.initializers import normal
from rnnbp.numerics import sigmoid


@dataclass(frozen=True)
class Zoneout(rnnbp.PointwiseCell):
    """`data`: each unit keeps its old state as far as a number in (0, 1) says, drawn for every step."""

    gates = ("h",)

    @property
    def data(self):
        return {"kept": (self.hidden_size,)}

    def pointwise(self, xp, a, s, p, e):
        del p
        kept = e["kept"]
        g = xp.tanh(a[0])

        def backward(ds1):
            (dh1,) = ds1
            return (dh1 * (1 - kept) * (1 - g * g),), (dh1 * kept,), {}

        return (kept * s[0] + (1 - kept) * g,), backward


@dataclass(frozen=True)
class Leaky(rnnbp.PointwiseCell):
    """A scalar in `elementwise`: one leak rate, of shape (1,), for all units."""

    gates = ("h",)

    @property
    def elementwise(self):
        return {"leak": rnnbp.Param((1,), normal(0.5))}

    def pointwise(self, xp, a, s, p, e):
        del e
        (h,), leak = s, p["leak"]
        g = xp.tanh(a[0])

        def backward(ds1):
            (dh1,) = ds1
            return (dh1 * leak * (1 - g * g),), (dh1 * (1 - leak),), {"leak": dh1 * (g - h)}

        return ((1 - leak) * h + leak * g,), backward


@dataclass(frozen=True)
class FullRecurrence(rnnbp.PointwiseCell):
    """Several states in `recurrent`, not in the order of `states`: the gate of the last step is fed back with h."""

    gates = ("f", "g")

    @property
    def states(self):
        return {"h": (self.hidden_size,), "c": (self.hidden_size,), "f": (self.hidden_size,)}

    recurrent = ("f", "h")

    def pointwise(self, xp, a, s, p, e):
        del p, e
        (af, ag), (_, c, _) = a, s
        f, g = sigmoid(xp, af), xp.tanh(ag)
        c1 = f * c + (1 - f) * g
        t = xp.tanh(c1)

        def backward(ds1):
            dh1, dc1, df1 = ds1
            dc1 = dc1 + dh1 * (1 - t * t)
            df = (df1 + dc1 * (c - g)) * f * (1 - f)
            return (df, dc1 * (1 - f) * (1 - g * g)), (None, dc1 * f, None), {}

        return (t, c1, f), backward


@dataclass(frozen=True)
class Independent(rnnbp.PointwiseCell):
    """No `recurrent`: no U, each unit sees its own past only (IndRNN, Li et al. 2018)."""

    gates = ("h",)
    recurrent = ()

    @property
    def elementwise(self):
        return {"u": rnnbp.Param((self.hidden_size,), normal(0.5))}

    def pointwise(self, xp, a, s, p, e):
        del e
        (h,), u = s, p["u"]
        h1 = xp.tanh(a[0] + u * h)

        def backward(ds1):
            da = ds1[0] * (1 - h1 * h1)
            return (da,), (da * u,), {"u": da * h}

        return (h1,), backward


@dataclass(frozen=True)
class Products(rnnbp.PointwiseCell):
    """`split` for several gates of which one is not the last: input and recurrent part are multiplied."""

    gates = ("a", "b", "c")
    split = ("a", "c")

    def pointwise(self, xp, a, s, p, e):
        del s, p, e
        ax, ah, b, cx, ch = a
        g, q, r = xp.tanh(b), xp.tanh(ax), xp.tanh(ch)
        h1 = q * ah + g * r + 0.5 * cx

        def backward(ds1):
            (dh1,) = ds1
            return (
                (
                    dh1 * ah * (1 - q * q),
                    dh1 * q,
                    dh1 * r * (1 - g * g),
                    0.5 * dh1,
                    dh1 * g * (1 - r * r),
                ),
                (None,),
                {},
            )

        return (h1,), backward


@dataclass(frozen=True)
class Cut(rnnbp.PointwiseCell):
    """`cut`: an LSTM without output gate, with some gates whose error does not flow back through U."""

    stopped: tuple[str, ...] = ("f",)
    apart: tuple[str, ...] = ()

    gates = ("i", "f", "g")

    @property
    def cut(self):
        return self.stopped

    @property
    def split(self):
        return self.apart

    @property
    def states(self):
        return {"h": (self.hidden_size,), "c": (self.hidden_size,)}

    def pointwise(self, xp, a, s, p, e):
        del p, e
        parts, (_, c) = iter(a), s
        ai, af, ag = (next(parts) + (next(parts) if gate in self.apart else 0) for gate in self.gates)
        i, f, g = sigmoid(xp, ai), sigmoid(xp, af), xp.tanh(ag)
        c1 = f * c + i * g
        t = xp.tanh(c1)

        def backward(ds1):
            dh1, dc1 = ds1
            dc1 = dc1 + dh1 * (1 - t * t)
            da = dc1 * g * i * (1 - i), dc1 * c * f * (1 - f), dc1 * i * (1 - g * g)
            twice = (d for gate, d in zip(self.gates, da, strict=True) for _ in range(1 + (gate in self.apart)))
            return tuple(twice), (None, dc1 * f), {}

        return (t, c1), backward


@dataclass(frozen=True)
class DetachedPeephole(rnnbp.PointwiseCell):
    """`rnnbp.detach` inside `pointwise`: the peephole's weight learns, no error goes through it to the state."""

    gates = ("f",)

    @property
    def elementwise(self):
        return {"pf": rnnbp.Param((self.hidden_size,), normal(0.5))}

    def pointwise(self, xp, a, s, p, e):
        del e
        (h,) = s
        fixed = rnnbp.detach(h)
        f = sigmoid(xp, a[0] + p["pf"] * fixed)

        def backward(ds1):
            (dh1,) = ds1
            df = dh1 * (h - 1) * f * (1 - f)
            return (df,), (dh1 * f,), {"pf": df * fixed}

        return (f * h + 1 - f,), backward


@dataclass(frozen=True)
class Nothing(rnnbp.PointwiseCell):
    """None wherever zero may be returned: a gate, a state and a parameter that do nothing."""

    gates = ("idle", "g")

    @property
    def states(self):
        return {"h": (self.hidden_size,), "idle": (self.hidden_size,)}

    @property
    def elementwise(self):
        return {"spare": rnnbp.Param((self.hidden_size,), normal(0.5)), "given": rnnbp.Param((1,), normal(0.5))}

    def pointwise(self, xp, a, s, p, e):
        del p, e
        g = xp.tanh(a[1])

        def backward(ds1):
            return (None, ds1[0] * (1 - g * g)), (None, ds1[1]), {"given": None}

        return (g, s[1]), backward
