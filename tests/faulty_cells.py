"""Cells written out by hand, right or with one fault planted: what the gradient checker must pass, or catch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

import rnnbp
from rnnbp.initializers import glorot_uniform, normal
from rnnbp.numerics import chunks, sigmoid

EVERYTHING = {"W", "U", "b", "pi", "pf", "po", "X", "h0", "c0"}

# fault of one step -> the tensors that it spoils where T = 1 (over several steps errors spread)
STEP_FAULTS = {
    "swapped gates i and f": {"W", "U", "b", "X", "h0"},
    "bias of the wrong gate": {"b"},
    "dW scaled by 1.001": {"W"},
    "peephole path of i into c missing": {"c0"},
    "output gate's peephole sees c of before": {"po"},
    "peephole gradient missing": {"pf"},
    "sigma' missing": EVERYTHING,
    "sigma' twice": EVERYTHING,
    "tanh' of the activated value": EVERYTHING - {"po"},
    "dx missing": {"X"},
    "nan": {"b"},
}
# fault of the loop -> the tensors that it spoils
LOOP_FAULTS = {
    "dU scaled by 1.001": {"U"},
    "dU = instead of +=": {"U"},
    "h_t where h_{t-1} belongs": {"U"},
    "t = 0 skipped": EVERYTHING,
    "dc carry dropped": EVERYTHING,
    "dh carry dropped": EVERYTHING,
    "dh0 forgotten": {"h0", "c0"},
    "X turned in time": {"X"},
    "one entry of dU": {"U"},
    "dtype widened": {"U"},
    "device lost": {"U"},
    "shape lost": {"b"},
}
ENTRY = (1, 7)


@dataclass(frozen=True)
class ToyLSTM(rnnbp.Cell):
    """An LSTM with peepholes, written without any of the package's machinery; `fault` names what is wrong with it."""

    fault: str = ""

    @property
    def states(self):
        return {"h": (self.hidden_size,), "c": (self.hidden_size,)}

    @property
    def params(self):
        n_in, n = self.input_size, self.hidden_size
        specs = {"W": (n_in, 4 * n), "U": (n, 4 * n)}
        found = {name: rnnbp.Param(shape, glorot_uniform(4)) for name, shape in specs.items()}
        found["b"] = rnnbp.Param((4 * n,), normal(0.5))
        return found | {name: rnnbp.Param((n,), normal(0.5)) for name in ("pi", "pf", "po")}

    def step(self, xp, p, x, s, e):
        del e
        (h, c), pi, pf, po = s, *(p[name][..., None, :] for name in ("pi", "pf", "po"))
        ai, af, ag, ao = chunks(xp.matmul(x, p["W"]) + xp.matmul(h, p["U"]) + p["b"][..., None, :], 4)
        i, f, g = sigmoid(xp, ai + pi * c), sigmoid(xp, af + pf * c), xp.tanh(ag)
        c1 = f * c + i * g
        o = sigmoid(xp, ao + po * c1)
        t = xp.tanh(c1)

        def backward(ds1):
            dh1, dc1 = ds1
            slope = {"sigma' missing": 1, "sigma' twice": (o * (1 - o)) ** 2}.get(self.fault, o * (1 - o))
            do = dh1 * t * slope
            u = xp.tanh(t) if self.fault == "tanh' of the activated value" else t
            dc1 = dc1 + dh1 * o * (1 - u * u) + do * po
            di, df, dg = dc1 * g * i * (1 - i), dc1 * c * f * (1 - f), dc1 * i * (1 - g * g)
            dc = dc1 * f + df * pf + (0 if self.fault == "peephole path of i into c missing" else di * pi)
            dpo = do * (c if self.fault == "output gate's peephole sees c of before" else c1)
            gates = [df, di, dg, do] if self.fault == "swapped gates i and f" else [di, df, dg, do]
            da = xp.concat(gates, axis=-1)
            db = xp.concat([di, df, di, do], axis=-1) if self.fault == "bias of the wrong gate" else da
            dp = {"W": xp.matmul(xp.matrix_transpose(x), da), "U": xp.matmul(xp.matrix_transpose(h), da)}
            dp["b"] = xp.sum(db, axis=-2) * (float("nan") if self.fault == "nan" else 1.0)
            dp["W"] = dp["W"] * (1.001 if self.fault == "dW scaled by 1.001" else 1)
            dp |= {"pi": xp.sum(di * c, axis=-2), "pf": xp.sum(df * c, axis=-2), "po": xp.sum(dpo, axis=-2)}
            if self.fault == "peephole gradient missing":
                dp["pf"] = None
            dx = None if self.fault == "dx missing" else xp.matmul(da, xp.matrix_transpose(p["W"]))
            return dp, dx, (xp.matmul(da, xp.matrix_transpose(p["U"])), dc)

        return (o * t, c1), backward


@dataclass(frozen=True)
class LoopedLSTM(ToyLSTM):
    """The same with a loop of its own, for the faults of loops. It takes no mask: then the portable loop runs."""

    def scan(self, xp, p, xs, s0, *, mask, keep=True, **options):
        del keep, options
        if mask is not None:
            return NotImplemented
        states, backs, fault = [s0], [], self.fault
        for t in range(xs.shape[0]):
            s, back = self.step(xp, p, xs[t, :, :], states[-1], {})
            states.append(s)
            backs.append(back)
        ys = xp.stack([s[0] for s in states[1:]], axis=0)

        def backward(dys=None, ds_T=None, window=None):
            start, lo, stop = window or (0, 0, len(backs))
            if fault == "window ignored":
                start, lo = 0, 0
            zero = tuple(xp.zeros_like(z) for z in s0)
            last = zero if ds_T is None or stop < len(backs) else ds_T
            ds = tuple(z if d is None else d for d, z in zip(last, zero, strict=True))
            total = {name: xp.zeros_like(value) for name, value in p.items()}
            dxs = [xp.zeros_like(xs[0, :, :])] * len(backs)
            for t in reversed(range(start, stop)):
                if t == 0 and fault == "t = 0 skipped":
                    break
                ds = ds if dys is None or t < lo else (ds[0] + dys[t, :, :], ds[1])
                if fault == "h_t where h_{t-1} belongs":
                    dU = backs[t](ds)[0]["b"]  # any error will do: the product below is what is wrong
                    wrong = xp.sum(states[t + 1][0], axis=-2)[:, None] * dU
                dp, dxs[t], ds = backs[t](ds)
                if fault == "h_t where h_{t-1} belongs":
                    dp["U"] = wrong
                if fault == "dU = instead of +=":
                    total["U"] = xp.zeros_like(total["U"])
                total = {name: d if dp[name] is None else d + dp[name] for name, d in total.items()}
                if fault == "dc carry dropped":
                    ds = (ds[0], zero[1])
                if fault == "dh carry dropped":
                    ds = (zero[0], ds[1])
            if fault == "dU scaled by 1.001":
                total["U"] = total["U"] * 1.001
            if fault == "one entry of dU":
                host = np.array(total["U"])
                host[ENTRY] += 1e-7 * np.max(np.abs(host))
                total["U"] = xp.asarray(host)
            if fault == "dtype widened":
                total["U"] = xp.astype(total["U"], xp.float64)
            if fault == "device lost":
                total["U"] = total["U"].to_device(xp.Device("CPU_DEVICE"))
            if fault == "shape lost":
                total["b"] = xp.sum(total["b"])
            if fault == "X turned in time":
                dxs = dxs[::-1]
            return total, xp.stack(dxs, axis=0), zero if fault == "dh0 forgotten" else ds

        return ys, states[-1], backward
