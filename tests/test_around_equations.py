"""Zoneout and recurrent dropout as their authors write them, and faults in their backward that must be seen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from helpers import B, H, I, T, forward, gradients, numeric, problem, relative_error, sigma, tolerance

import rnnbp
from rnnbp.around import RecurrentDropout, ZoneoutPointwise, zoneout
from rnnbp.around.zoneout import mixed, of_new


def lstm(p, x, h, c, m=1.0):
    """Gates i, f, g, o, and what comes of them; m multiplies the h that the gates see."""
    i, f, g, o = np.split(x @ p["W"] + (m * h) @ p["U"] + p["b"], 4, axis=-1)
    c1 = sigma(f) * c + sigma(i) * np.tanh(g)
    return sigma(o) * np.tanh(c1), c1


def test_zoneout_is_that_of_krueger():
    """The hidden state is made of the cell state before that is zoned (eq. for LSTMs)."""
    q = problem(rnnbp.cell("lstm/zoneout", I, H))
    h, c = q.s0
    ys, s_T, _ = forward(q)
    for t in range(T):
        dc, dh = q.data["zoneout_c"][t], q.data["zoneout_h"][t]
        new_h, new_c = lstm(q.params, q.xs[t], h, c)
        h, c = dh * h + (1 - dh) * new_h, dc * c + (1 - dc) * new_c
        assert relative_error(ys[t], h) < tolerance()
    assert relative_error(s_T[1], c) < tolerance()


def test_a_unit_that_is_kept_is_kept_to_the_bit_and_sends_its_whole_error_back():
    cell = zoneout(rnnbp.cell("lstm", I, H))
    q = problem(cell)
    q = q._replace(data={n: np.ones_like(d) for n, d in q.data.items()})
    ys, s_T, backward = forward(q)
    assert all(map(np.array_equal, s_T, q.s0)) and all(np.array_equal(y, q.s0[0]) for y in ys)
    dp, dxs, (dh, dc) = backward(q.dys, q.ds_T)
    assert not any(np.any(d) for d in dp.values()) and not np.any(dxs)
    assert np.array_equal(dc, q.ds_T[1]) and relative_error(dh, q.ds_T[0] + q.dys.sum(0)) < tolerance()


def test_recurrent_dropout_is_that_of_gal():
    """One mask for all steps on the h that gates see; the state is carried on without it."""
    q = problem(rnnbp.cell("lstm/recurrent-dropout", I, H))
    m = q.data["dropout_h"][0]
    q = q._replace(data={"dropout_h": np.broadcast_to(m, (T, B, H))})
    (h, c), ys = q.s0, forward(q)[0]
    for t in range(T):
        h, c = lstm(q.params, q.xs[t], h, c, m)
        assert relative_error(ys[t], h) < tolerance()


def test_every_state_that_u_multiplies_has_a_mask():
    cell = rnnbp.cell("lstm-fgr/recurrent-dropout", I, H)
    assert list(cell.data) == [f"dropout_{name}" for name in cell.recurrent] and len(cell.recurrent) > 1
    q = problem(cell)
    found, wanted = gradients(q, rnnbp.backend("numpy")), numeric(q)
    assert all(relative_error(found[n], wanted[n]) < tolerance() for n in wanted)


@dataclass(frozen=True)
class Unkept(ZoneoutPointwise):
    """A planted fault: what was kept sends no error back."""

    def pointwise(self, xp, a, s, p, e):
        k = self._kept(e)
        new, back = self.cell.pointwise(xp, a, s, p, e)

        def backward(ds1):
            da, ds, dp = back(of_new(k, ds1))
            return da, ds, dp

        return mixed(k, s, new), backward


@dataclass(frozen=True)
class Unmixed(ZoneoutPointwise):
    """A planted fault: the mask is not applied to the error of what is new."""

    def pointwise(self, xp, a, s, p, e):
        k = self._kept(e)
        new, back = self.cell.pointwise(xp, a, s, p, e)

        def backward(ds1):
            da, ds, dp = back(ds1)
            kept = [r * d for r, d in zip(k, ds1, strict=True)]
            return da, tuple(b if a is None else a + b for a, b in zip(ds, kept, strict=True)), dp

        return mixed(k, s, new), backward


@dataclass(frozen=True)
class Unmasked(RecurrentDropout):
    """A planted fault: the mask is not applied to the error of h."""

    def carry(self, xp, ut, dah, ds, like, e):
        return super().carry(xp, ut, dah, ds, like, {n: xp.ones_like(d) for n, d in e.items()})


@pytest.mark.parametrize(
    ("fault", "wrong"),
    [(Unkept, {"h0", "c0"}), (Unmixed, {"W", "U", "b"}), (Unmasked, {"h0", "X"})],
    ids=lambda x: getattr(x, "__name__", ""),
)
def test_a_planted_fault_is_seen(fault, wrong):
    report = rnnbp.gradcheck(fault(rnnbp.cell("lstm", I, H)), properties=False, levels=["step", "sequence"])
    failed = {check.tensor for check in report.checks if not check.passed}
    assert not report.passed and wrong <= failed, failed
