"""Small cells that use each part of the contract once, and one cell with faults to plant.

The registry's own cells need few of the contract's freedoms; whatever a plugin may do is done here.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from math import prod

import rnnbp
from rnnbp.initializers import glorot_uniform, normal
from rnnbp.numerics import sigmoid
from rnnbp.unrolling import unroll


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


@dataclass(frozen=True)
class Memory(rnnbp.Cell):
    """States of any shape: the output is one wider than H, the memory a matrix, the normaliser positive.

    The input is written to the memory along a key, and read from it along h (a fast weight, normalised).
    """

    @property
    def params(self):
        n = self.hidden_size
        return {
            "key": rnnbp.Param((self.input_size, n), glorot_uniform()),
            "write": rnnbp.Param((self.input_size, 2), glorot_uniform()),
            "spare": rnnbp.Param((3,), normal(1.0)),
        }

    @property
    def states(self):
        n = self.hidden_size
        return {"y": (n + 1,), "M": (n, 2), "n": (n,)}

    def initial_state(self, xp, batch, like):
        y, memory, n = super().initial_state(xp, batch, like)
        return y, memory, n + 1

    def random_state(self, rng, batch):
        y, memory, n = super().random_state(rng, batch)
        return y, memory, n * n + 0.5

    def step(self, xp, p, x, s, e):
        del e
        _, memory, n = s
        k, v = xp.exp(xp.matmul(x, p["key"])), xp.matmul(x, p["write"])  # (..., B, H), (..., B, 2)
        memory1, n1 = memory + k[..., :, None] * v[..., None, :], 0.5 * n + k
        read = (memory1[..., 0] * memory1[..., 1]) / n1  # (..., B, H)
        y1 = xp.concat([read, xp.sum(n1, axis=-1, keepdims=True)], axis=-1)

        def backward(ds1):
            dy, dmemory, dn = ds1
            dread, dsum = dy[..., :-1], dy[..., -1:]
            dmemory = dmemory + xp.flip(memory1, axis=-1) * (dread / n1)[..., None]
            dn = dn + dsum - dread * read / n1
            dk = xp.sum(dmemory * v[..., None, :], axis=-1) + dn
            dv = xp.sum(dmemory * k[..., :, None], axis=-2)
            dk = dk * k
            dx = xp.matmul(dk, xp.matrix_transpose(p["key"])) + xp.matmul(dv, xp.matrix_transpose(p["write"]))
            xt = xp.matrix_transpose(x)
            return {"key": xp.matmul(xt, dk), "write": xp.matmul(xt, dv)}, dx, (None, dmemory, 0.5 * dn)

        return (y1, memory1, n1), backward


@dataclass(frozen=True)
class Blind(rnnbp.Cell):
    """A cell that does not look at its input: its `dx` is None."""

    @property
    def params(self):
        return {"u": rnnbp.Param((self.hidden_size,), normal(0.5))}

    def step(self, xp, p, x, s, e):
        del x, e
        u = p["u"][..., None, :]
        h1 = xp.tanh(u * s[0])

        def backward(ds1):
            da = ds1[0] * (1 - h1 * h1)
            return {"u": xp.sum(da * s[0], axis=-2)}, None, (da * u,)

        return (h1,), backward


@dataclass(frozen=True)
class Ladder(rnnbp.Cell):
    """A `scan` of its own: h' = decay ∘ h + x W has a closed form, one product with a matrix of powers.

    What that form leaves out (masks, resets, records) is NotImplemented, and goes through the loop.
    """

    @property
    def params(self):
        return {
            "W": rnnbp.Param((self.input_size, self.hidden_size), glorot_uniform()),
            "decay": rnnbp.Param((self.hidden_size,), normal(0.5)),
        }

    def step(self, xp, p, x, s, e):
        del e
        (h,), decay = s, p["decay"][..., None, :]

        def backward(ds1):
            (dh1,) = ds1
            dp = {"W": xp.matmul(xp.matrix_transpose(x), dh1), "decay": xp.sum(dh1 * h, axis=-2)}
            return dp, xp.matmul(dh1, xp.matrix_transpose(p["W"])), (dh1 * decay,)

        return (decay * h + xp.matmul(x, p["W"]),), backward

    def scan(self, xp, p, xs, s0, *, mask, resets, data, reverse, record, keep):
        del data, keep
        if mask is not None or resets is not None or record or reverse:
            return NotImplemented
        steps, decay = xs.shape[-3], p["decay"][..., None, :]  # (..., 1, H)
        u = xp.matmul(xs, p["W"][..., None, :, :])  # (..., T, B, H)

        def powers(n):
            return prod([decay] * n, start=xp.ones_like(decay))  # ** would go through polar coordinates where complex

        def at(t):
            past = [powers(t - k) * u[..., k, :, :] for k in range(t + 1)]
            return sum(past, powers(t + 1) * s0[0])

        hs = [s0[0] + 0 * at(0), *(at(t) for t in range(steps))]

        def backward(dys=None, ds_T=None, window=None):
            start, lo, stop = window or (0, 0, steps)
            errors = {t: dys[..., t, :, :] for t in range(lo, stop)} if dys is not None else {}
            if ds_T is not None and stop == steps:
                errors[stop - 1] = errors.get(stop - 1, 0) + ds_T[0]
            zero = xp.zeros_like(hs[0])
            dh = [sum((powers(t - k) * errors[t] for t in errors if t >= k), zero) for k in range(start, stop)]
            dhs = xp.stack([zero] * start + dh + [zero] * (steps - stop), axis=-3)
            before = xp.stack(hs[:-1], axis=-3)
            dW = xp.sum(xp.matmul(xp.matrix_transpose(xs), dhs), axis=-3)
            dp = {"W": dW, "decay": xp.sum(dhs * before, axis=(-3, -2))}
            return dp, xp.matmul(dhs, xp.matrix_transpose(p["W"])[..., None, :, :]), (dh[0] * decay,)

        return xp.stack(hs[1:], axis=-3), (hs[-1],), backward


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
