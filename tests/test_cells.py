"""The built-in cells against their equations, written out with the textbook sigmoid and nothing shared."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from cases import case, make
from helpers import H, I, T, follow, forward, problem, refusal, relative_error, sigma, tolerance

import rnnbp
from rnnbp.cells.elman import Elman
from rnnbp.cells.gru import GRU, ResetBeforeGRU
from rnnbp.cells.lstm import LSTM


def gates(a):
    return [a[:, k : k + H] for k in range(0, a.shape[-1], H)]


def lstm(p, x, h, c):
    pi, pf, po = (p.get(name, 0.0) for name in ("pi", "pf", "po"))
    ai, af, ag, ao = gates(x @ p["W"] + h @ p["U"] + p.get("b", 0.0))
    i, f, g = sigma(ai + pi * c), sigma(af + pf * c), np.tanh(ag)
    c = f * c + i * g
    return sigma(ao + po * c) * np.tanh(c), c


def gru(p, x, h):
    xr, xz, xn = gates(x @ p["W"] + p.get("b", 0.0))
    hr, hz, hn = gates(h @ p["U"])
    r, z = sigma(xr + hr), sigma(xz + hz)
    n = np.tanh(xn + r * (hn + p.get("bu", 0.0)))
    return ((1 - z) * n + z * h,)


def gru_before(p, x, h):
    xr, xz, xn = gates(x @ p["W"] + p.get("b", 0.0))
    r, z = sigma(xr + h @ p["U"][:, :H]), sigma(xz + h @ p["U"][:, H : 2 * H])
    n = np.tanh(xn + (r * h) @ p["U"][:, 2 * H :])
    return ((1 - z) * n + z * h,)


def elman(activation):
    return lambda p, x, h: (activation(x @ p["W"] + h @ p["U"] + p.get("b", 0.0)),)


def clipped(a):
    return np.clip(a, -0.6, 0.6)


def clipped_gru(p, x, h, *, reset):
    xr, xz, xn = gates(x @ p["W"] + p["b"])
    hr, hz, hn = gates(h @ p["U"])
    r, z = sigma(clipped(xr + hr)), sigma(clipped(xz + hz))
    inner = r * (hn + p["bu"]) if reset == "after" else (r * h) @ p["U"][:, 2 * H :]
    return ((1 - z) * np.tanh(clipped(xn + inner)) + z * h,)


EQUATIONS = {
    "elman:clip=0.6": elman(lambda a: np.tanh(clipped(a))),
    "gru:clip=0.6": partial(clipped_gru, reset="after"),
    "gru:reset=before,clip=0.6": partial(clipped_gru, reset="before"),
    "lstm": lstm,
    "lstm:peepholes=true": lstm,
    "lstm:bias=false": lstm,
    "lstm:peepholes=true,bias=false": lstm,
    "gru": gru,
    "gru:reset=after": gru,
    "gru:bias=false": gru,
    "gru:reset=before": gru_before,
    "gru:reset=before,bias=false": gru_before,
    "elman": elman(np.tanh),
    "elman:activation=tanh": elman(np.tanh),
    "elman:activation=sigmoid": elman(sigma),
    "elman:activation=relu": elman(lambda a: np.maximum(a, 0)),
    "elman:activation=identity": elman(lambda a: a),
    "elman:bias=false": elman(np.tanh),
    "rnn": elman(np.tanh),
    "rnn:bias=false": elman(np.tanh),
}


@pytest.mark.parametrize("name", EQUATIONS)
def test_equations(name):
    q = case(name)
    (ys, s), (found, s_T, _) = follow(EQUATIONS[name], q), forward(q)
    assert relative_error(found, ys) < tolerance()
    assert all(relative_error(a, b) < tolerance() for a, b in zip(s_T, s, strict=True))


@pytest.mark.parametrize("name", [name for name in EQUATIONS if "clip" in name])
def test_the_gradient_where_some_units_are_clipped(name):
    report = rnnbp.gradcheck(name, path="both" if "before" not in name else "reference")
    assert report.passed and report.worst.error < 1e-13
    assert "clip must be above 0" in refusal(lambda: make(name.replace("0.6", "0")))


@pytest.mark.parametrize(
    ("name", "shapes"),
    [
        ("elman", {"W": (I, H), "U": (H, H), "b": (H,)}),
        ("lstm", {"W": (I, 4 * H), "U": (H, 4 * H), "b": (4 * H,)}),
        (
            "lstm:peepholes=true",
            {"W": (I, 4 * H), "U": (H, 4 * H), "b": (4 * H,), "pi": (H,), "pf": (H,), "po": (H,)},
        ),
        ("gru", {"W": (I, 3 * H), "U": (H, 3 * H), "b": (3 * H,), "bu": (H,)}),
        ("gru:reset=before", {"W": (I, 3 * H), "U": (H, 3 * H), "b": (3 * H,)}),
        ("gru:bias=false", {"W": (I, 3 * H), "U": (H, 3 * H)}),
        ("lstm:bias=false", {"W": (I, 4 * H), "U": (H, 4 * H)}),
    ],
)
def test_shapes_of_the_parameters(name, shapes):
    assert {n: spec.shape for n, spec in make(name).params.items()} == shapes


def test_kinds():
    assert make("rnn") == Elman(I, H) == Elman(I, H, activation="tanh")
    assert make("gru") == make("gru:reset=after") == GRU(I, H)
    assert make("gru:reset=before") == ResetBeforeGRU(I, H) == ResetBeforeGRU(I, H, bias=True)
    assert make("gru:reset=before,bias=false") == ResetBeforeGRU(I, H, bias=False)
    assert make("lstm") == LSTM(I, H, bias=True, peepholes=False, forget_bias=1.0)


def test_biases_start_at_zero_and_that_of_the_forget_gate_where_it_is_told():
    for name, forget in (("lstm", 1.0), ("lstm:forget_bias=2.5", 2.5), ("lstm:peepholes=true,forget_bias=0", 0.0)):
        b = make(name).init(np.random.default_rng(0))["b"]
        assert b.tolist() == [0.0] * H + [forget] * H + [0.0] * 2 * H
    for name in ("elman", "gru", "gru:reset=before"):
        drawn = make(name).init(np.random.default_rng(0))
        assert not any(np.any(drawn[n]) for n in drawn if n in ("b", "bu"))


def test_weights_are_drawn_for_each_gate_by_itself():
    for name, count in (("elman", 1), ("gru", 3), ("gru:reset=before", 3), ("lstm", 4)):
        drawn = rnnbp.cell(name, 40, 60).init(np.random.default_rng(0))
        for weight, fan_in in (("W", 40), ("U", 60)):
            limit = np.sqrt(6 / (fan_in + 60))
            assert drawn[weight].shape == (fan_in, count * 60) and 0.98 * limit < np.max(np.abs(drawn[weight])) < limit


def test_an_lstm_remembers_what_its_gates_tell_it_to():
    """Gates forced open or shut by their biases: the order i, f, g, o, and what each does."""
    q = problem(make("lstm"))
    blank = {"W": 0 * q.params["W"], "U": 0 * q.params["U"]}

    def run(i, f, g, o):
        b = np.repeat(np.array([i, f, g, o]), H)
        return forward(q._replace(params={**blank, "b": b}))

    kept = run(-800.0, 800.0, 0.3, 800.0)
    assert np.array_equal(kept[1][1], q.s0[1]) and np.allclose(kept[0], np.tanh(q.s0[1]), rtol=0, atol=tolerance())
    assert np.allclose(run(800.0, -800.0, 0.3, 800.0)[1][1], np.tanh(0.3), rtol=0, atol=tolerance())
    assert np.allclose(run(800.0, 800.0, 0.3, 800.0)[1][1], q.s0[1] + T * np.tanh(0.3), rtol=0, atol=tolerance())
    assert not np.any(run(800.0, 800.0, 0.3, -800.0)[0])


@pytest.mark.parametrize("name", ["gru", "gru:reset=before"])
def test_a_gru_keeps_its_state_where_z_is_one(name):
    q = problem(make(name))
    b = np.repeat(np.array([0.0, 800.0, 0.3]), H)
    held, shut = (
        forward(q._replace(params={**q.params, "W": 0 * q.params["W"], "U": 0 * q.params["U"], "b": sign * b}))
        for sign in (1, -1)
    )
    assert relative_error(held[1][0], q.s0[0]) < tolerance()
    inner = q.params.get("bu", np.zeros(H))
    assert np.allclose(shut[0], np.tanh(-0.3 + 0.5 * inner), rtol=0, atol=tolerance())


@pytest.mark.parametrize(
    "name", ["elman:activation=relu", "elman:activation=sigmoid", "lstm", "gru", "gru:reset=before"]
)
def test_saturated_units_stay_finite(name):
    q = case(name)
    huge = q._replace(params={n: 1e4 * w for n, w in q.params.items()}, xs=1e3 * q.xs)
    with np.errstate(all="raise", under="ignore"):
        ys, _, backward = forward(huge if "relu" not in name else q)
        dp, dxs, _ = backward(q.dys, q.ds_T)
    assert all(np.all(np.isfinite(a)) for a in (ys, dxs, *dp.values()))
