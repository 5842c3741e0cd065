"""minGRU and minLSTM: the equations, written out, and what holds of a state that is an average."""

from __future__ import annotations

import numpy as np
import pytest

import rnnbp

T, B, SIZE_IN, SIZE = 6, 3, 4, 5
CLOSE = 10 * T * SIZE_IN * float(np.finfo(np.float64).eps)  # a rounding per product and step, and 10 for their sums
CELLS = ["mingru", "minlstm"]


def problem(spec, seed=0):
    rng = np.random.default_rng(seed)
    cell = rnnbp.cell(spec, SIZE_IN, SIZE)
    p = {name: rng.standard_normal(value.shape) for name, value in cell.init(rng).items()}
    return cell, p, rng.standard_normal((T, B, SIZE_IN)), tuple(cell.random_state(rng, B))


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def g(a):
    return np.where(a >= 0, a + 0.5, sigmoid(a))


def mingru(gates, h, activation):
    z, n = gates
    return (1 - sigmoid(z)) * h + sigmoid(z) * activation(n)


def minlstm(gates, h, activation):
    f, i, n = sigmoid(gates[0]), sigmoid(gates[1]), activation(gates[2])
    return f / (f + i) * h + i / (f + i) * n


@pytest.mark.parametrize("positive", [False, True])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("parallel", [False, True])
@pytest.mark.parametrize(("name", "equations"), [("mingru", mingru), ("minlstm", minlstm)])
def test_forward_is_the_formula(name, equations, parallel, bias, positive):
    options = f"parallel={parallel},bias={bias},positive={positive}".lower()
    cell, p, xs, (h,) = problem(f"{name}:{options}")
    found, (last,), _ = rnnbp.scan(cell, p, xs, (h,))
    wanted = []
    for x in xs:
        a = x @ p["W"] + p.get("b", 0)
        h = equations(np.split(a, a.shape[-1] // SIZE, axis=-1), h, g if positive else lambda a: a)
        wanted.append(h)
    np.testing.assert_allclose(found, wanted, rtol=CLOSE, atol=CLOSE)
    np.testing.assert_array_equal(last, found[-1])


@pytest.mark.parametrize("name", CELLS)
def test_the_gates_do_not_see_the_state(name):
    assert "U" not in rnnbp.cell(name, SIZE_IN, SIZE).params


@pytest.mark.parametrize("parallel", ["true", "false"])
@pytest.mark.parametrize("name", CELLS)
def test_huge_preactivations_stay_finite(name, parallel):
    """In float32, where σ is 0 from −18 on: f / (f + i) as it is written would be 0 / 0."""
    cell, p, xs, (h,) = problem(f"{name}:parallel={parallel}")
    p, xs, h = {n: w.astype("float32") for n, w in p.items()}, (1e4 * xs).astype("float32"), h.astype("float32")
    ys, s_T, backward = rnnbp.scan(cell, p, xs, (h,))
    dp, dxs, ds = backward(np.ones_like(ys))
    for a in (ys, *s_T, *dp.values(), dxs, *ds):
        assert np.all(np.isfinite(a))


@pytest.mark.parametrize("name", CELLS)
def test_a_positive_candidate_keeps_the_state_positive(name):
    cell, p, xs, _ = problem(f"{name}:positive=true")
    assert np.min(rnnbp.run(cell, p, xs)[0]) > 0
    plain, *_ = problem(name)
    assert np.min(rnnbp.run(plain, p, xs)[0]) < 0
