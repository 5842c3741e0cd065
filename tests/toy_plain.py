"""Small cells that are not pointwise: states of any shape, an input that is not looked at, a scan of its own."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import rnnbp
from rnnbp.initializers import glorot_uniform, normal


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
            if ds_T is not None and ds_T[0] is not None and stop == steps:
                errors[stop - 1] = errors.get(stop - 1, 0) + ds_T[0]
            zero = xp.zeros_like(hs[0])
            dh = [sum((powers(t - k) * errors[t] for t in errors if t >= k), zero) for k in range(start, stop)]
            dhs = xp.stack([zero] * start + dh + [zero] * (steps - stop), axis=-3)
            before = xp.stack(hs[:-1], axis=-3)
            dW = xp.sum(xp.matmul(xp.matrix_transpose(xs), dhs), axis=-3)
            dp = {"W": dW, "decay": xp.sum(dhs * before, axis=(-3, -2))}
            return dp, xp.matmul(dhs, xp.matrix_transpose(p["W"])[..., None, :, :]), (dh[0] * decay,)

        return xp.stack(hs[1:], axis=-3), (hs[-1],), backward
