"""The sLSTM: the equations without a stabiliser, what m is for, and why no error stops at it."""

from __future__ import annotations

import numpy as np
import pytest
from rnnbp_recent.functions import log_sigmoid
from rnnbp_recent.slstm import SLSTM

import rnnbp

T, B, SIZE_IN, SIZE = 6, 3, 4, 5
CLOSE = 10 * T * B * (SIZE_IN + SIZE) * float(np.finfo(np.float64).eps)  # a rounding per product, and 10 for their sums


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def problem(forget="sigmoid", seed=0, dtype="float64"):
    rng = np.random.default_rng(seed)
    cell = SLSTM(SIZE_IN, SIZE, forget=forget)
    p = {name: rng.standard_normal(value.shape).astype(dtype) for name, value in cell.init(rng).items()}
    s0 = tuple(z.astype(dtype) for z in cell.random_state(rng, B))
    return cell, p, rng.standard_normal((T, B, SIZE_IN)).astype(dtype), s0


def as_written(p, xs, h, c, n, forget):
    """Eq. 8–14 as they stand, without a stabiliser: every h, and the last cell state and normaliser."""
    ys = []
    for x in xs:
        i, f, z, o = np.split(x @ p["W"] + h @ p["U"] + p["b"], 4, axis=-1)
        i, f = np.exp(i), sigmoid(f) if forget == "sigmoid" else np.exp(f)
        c, n = f * c + i * np.tanh(z), f * n + i
        h = sigmoid(o) * c / n
        ys.append(h)
    return np.stack(ys), c, n


@pytest.mark.parametrize("forget", ["sigmoid", "exp"])
def test_forward_is_the_formula(forget):
    """From the start, where the paper has c = n = 0, and from a state with a memory."""
    cell, p, xs, (h0, c0, n0, m0) = problem(forget)
    nothing = np.zeros((B, SIZE))
    for s0, begun in ((None, (nothing, nothing, nothing)), ((h0, c0, n0, m0), (h0, c0 * np.exp(m0), n0 * np.exp(m0)))):
        ys, (h, c, n, m), _ = rnnbp.scan(cell, p, xs, s0)
        wanted, c_wanted, n_wanted = as_written(p, xs, *begun, forget)
        np.testing.assert_allclose(ys, wanted, rtol=CLOSE, atol=CLOSE)
        np.testing.assert_allclose(c * np.exp(m), c_wanted, rtol=CLOSE, atol=CLOSE)
        np.testing.assert_allclose(n * np.exp(m), n_wanted, rtol=CLOSE, atol=CLOSE)
        np.testing.assert_array_equal(h, ys[-1])


def test_the_first_step_forgets_the_start():
    """With f = 0, c, n and m are those of the first input alone, in every precision."""
    for dtype in ("float16", "float32", "float64"):
        cell, p, xs, _ = problem(dtype=dtype)
        x = xs[0]
        (_, c, n, m), _ = cell.step(np, p, x, cell.initial_state(np, B, x), {})
        i, _, z, _ = np.split(x @ p["W"] + p["b"], 4, axis=-1)
        np.testing.assert_array_equal(n, np.ones_like(n))
        np.testing.assert_array_equal((c, m), (np.tanh(z), i))


# ---- the stabiliser --------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("forget", ["sigmoid", "exp"])
@pytest.mark.parametrize("size", [1e2, 1e4, 1e6])
@pytest.mark.parametrize("record", [False, True], ids=["fast", "portable"])
def test_huge_preactivations_stay_finite(size, forget, record):
    """Forward and backward, in float32, from the start and from a state; |h| stays below 1, for |c| below n."""
    cell, p, xs, s0 = problem(forget, dtype="float32")
    xs = np.float32(size) * xs
    s0 = (s0[0], np.tanh(s0[1]) * s0[2], *s0[2:])
    for start in (None, s0):
        ys, s_T, backward = rnnbp.scan(cell, p, xs, start, record=record)
        dp, dxs, ds = backward(np.ones_like(ys), tuple(np.ones_like(z) for z in s_T))
        for a in (ys, *s_T, *dp.values(), dxs, *ds):
            assert np.all(np.isfinite(a))
        assert np.max(np.abs(ys)) <= 1 + 1e-6
        assert np.min(s_T[2]) >= 0.5


@pytest.mark.parametrize("forget", ["sigmoid", "exp"])
def test_h_does_not_depend_on_the_stabiliser(forget):
    """Scaling c and n by e^δ and lowering m by δ changes no h, so the errors of h hold dm = c dc + n dn."""
    cell, p, xs, (h, c, n, m) = problem(forget)
    dys = np.random.default_rng(1).standard_normal((T, B, SIZE))
    ys, _, backward = rnnbp.scan(cell, p, xs, (h, c, n, m))
    shifted, *_ = rnnbp.scan(cell, p, xs, (h, c * np.exp(0.7), n * np.exp(0.7), m - 0.7))
    np.testing.assert_allclose(shifted, ys, rtol=CLOSE, atol=CLOSE)
    _, _, (_, dc, dn, dm) = backward(dys)
    assert np.max(np.abs(dm)) > 1e-3
    np.testing.assert_allclose(c * dc + n * dn, dm, rtol=CLOSE, atol=CLOSE)


class Detached(SLSTM):
    """A forward in which no derivative passes m'."""

    def pointwise(self, xp, a, s, p, e):
        del p, e
        (ai, af, az, ao), (_, c, n, m) = a, s
        w = m + log_sigmoid(xp, af)
        m1 = rnnbp.detach(xp.where(xp.real(w) > xp.real(ai), w, ai))
        f, i = xp.exp(w - m1), xp.exp(ai - m1)
        c1, n1 = f * c + i * xp.tanh(az), f * n + i
        return (rnnbp.sigmoid(xp, ao) * c1 / n1, c1, n1, m1), None


def slopes(cell, p, xs, s0, dys, ds_T):
    """The gradient of b of Σ ys∘dys + Σ s_T∘ds_T, by complex steps of a copy for each entry."""
    copies = p["b"] + 1e-30j * np.eye(len(p["b"]))
    ys, s_T, _ = rnnbp.scan(cell, p | {"b": copies}, xs, s0)
    total = np.sum(ys * dys, axis=(-3, -2, -1)) + sum(
        np.sum(z * d, axis=(-2, -1)) for z, d in zip(s_T, ds_T, strict=True)
    )
    return total.imag / 1e-30


def error(found, wanted):
    return np.linalg.norm(found - wanted) / np.linalg.norm(wanted)


@pytest.mark.parametrize("state", [None, "c", "n", "m"])
def test_detaching_the_stabiliser_is_right_for_h_alone(state):
    cell, p, xs, s0 = problem()
    rng = np.random.default_rng(1)
    dys = rng.standard_normal((T, B, SIZE)) * (state is None)
    ds_T = tuple(rng.standard_normal((B, SIZE)) * (name == state) for name in cell.states)
    (db, with_m, detached) = (
        rnnbp.scan(cell, p, xs, s0)[2](dys, ds_T)[0]["b"],
        slopes(cell, p, xs, s0, dys, ds_T),
        slopes(Detached(SIZE_IN, SIZE), p, xs, s0, dys, ds_T),
    )
    assert error(db, with_m) <= CLOSE
    assert error(detached, with_m) <= CLOSE if state is None else error(detached, with_m) > 0.1


def test_the_logarithm_of_sigma():
    a = np.concatenate([-np.logspace(-12, 4, 50)[::-1], [0.0], np.logspace(-12, 4, 50)])
    np.testing.assert_allclose(log_sigmoid(np, a), -np.logaddexp(0, -a), rtol=4e-16, atol=0)
    slope = np.imag(log_sigmoid(np, a + 1e-30j)) / 1e-30
    np.testing.assert_allclose(slope, np.exp(-np.logaddexp(0, a)), rtol=1e-14, atol=1e-300)  # 1 − σ(a) = σ(−a)
