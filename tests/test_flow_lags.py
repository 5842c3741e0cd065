"""The gradient by lag, against windows of the scan's backward, the Jacobians of the states, and closed forms."""

from __future__ import annotations

from functools import cache
from math import log

import numpy as np
import pytest
from cases import EVERY, case, make
from helpers import B, T, forward, problem, refusal, relative_error, tolerance

import rnnbp
from rnnbp.flow import Trajectory, decay, lag_decomposition, mean_by_lag
from rnnbp.truncation import Truncation

CELLS = [*EVERY, "lstm:gate_recurrence=true", "lstm-1997", "fastgrnn", "lstm-projected", "lstm-layernorm", "rhn"]
EXACT = 1e-13  # of sums, relative


def along(q):
    return Trajectory(q.cell, q.params, q.xs, q.s0, q.data or None)


@cache
def parts(name):
    """Of every parameter dL_t/dW_s, (T, T, *shape): G(s) − G(s+1), G(s) being dL_t/dW through Window(s, s, t + 1)."""
    q = case(name)
    back = forward(q)[2]
    found = {n: np.zeros((T, T, *spec.shape)) for n, spec in q.cell.params.items()}
    for t in range(T):
        dys = np.where(np.arange(T)[:, None, None] == t, q.dys, 0.0)
        through = [back(dys, None, rnnbp.Window(s, s, t + 1))[0] for s in range(t + 1)]
        for n, table in found.items():
            g = np.stack([*(grads[n] for grads in through), np.zeros(table.shape[2:])])
            table[t, : t + 1] = g[:-1] - g[1:]
    return found


def by_gate(cell, name, d):
    """Norms over the last axes of the parameter, of the whole and of each gate."""
    axes = tuple(range(d.ndim - len(cell.params[name].shape), d.ndim))
    blocks = cell.blocks.get(name, ())
    blocks = blocks if len(blocks) > 1 else ()
    found = {"": d} | dict(zip(blocks, np.split(d, len(blocks) or 1, axis=-1), strict=False))
    return {gate: np.sqrt(np.sum(part * part, axis=axes)) for gate, part in found.items()}


def scaled(a, wanted, scale):
    """Within the rounding of the numbers that were subtracted for `wanted`."""
    return np.max(np.abs(a - wanted)) <= tolerance() * max(float(np.max(scale)), 1e-300)


@pytest.mark.parametrize("name", CELLS)
def test_it_adds_up_to_the_gradient(name):
    q = case(name)
    found, wanted = lag_decomposition(along(q), q.dys).gradient, forward(q)[2](q.dys)[0]
    assert list(found) == list(wanted)
    assert all(relative_error(found[n], wanted[n]) < EXACT for n in wanted)


@pytest.mark.parametrize("name", CELLS)
def test_parts_are_those_of_windows(name):
    q = case(name)
    found = lag_decomposition(along(q), q.dys)
    for n, d in parts(name).items():
        norms, scale = by_gate(q.cell, n, d), np.linalg.norm(d.reshape(T, T, -1), axis=-1)
        assert list(found.weights[n]) == list(norms) == list(found.sums[n])
        for gate, wanted in norms.items():
            assert scaled(found.weights[n][gate], wanted, scale)
        for u in range(T):
            of_lag = by_gate(q.cell, n, sum(d[t, t - u] for t in range(u, T)))
            assert all(scaled(found.sums[n][gate][u], norm, scale) for gate, norm in of_lag.items())


@pytest.mark.parametrize("name", CELLS)
def test_errors_of_states_go_back_by_the_jacobians(name):
    q = case(name)
    path = along(q)
    found = lag_decomposition(path, q.dys).states
    assert list(found) == ["", *q.cell.states]
    for t in range(T):
        d = path.vector((q.dys[t], *(np.zeros_like(z) for z in path.states[0][1:])))
        for k in reversed(range(t + 2)):
            assert relative_error(found[""][t, k], np.linalg.norm(d)) < tolerance()
            for state in q.cell.states:
                assert relative_error(found[state][t, k], np.linalg.norm(d[:, path.part(state)])) < tolerance()
            if k:
                d = np.einsum("bi,bij->bj", d, path.jacobian(k - 1))
        assert not found[""][t, t + 2 :].any()


@pytest.mark.parametrize("name", ["lstm:peepholes=true", "gru:reset=before", "several recurrent states"])
@pytest.mark.parametrize("lags", [0, 2])
def test_errors_followed_for_some_steps_alone(name, lags):
    """A window for every t: the sum is the gradient of truncated BPTT."""
    q = case(name)
    found, full = (lag_decomposition(along(q), q.dys, some) for some in (lags, None))
    near = np.tri(T) - np.tri(T, T, -1 - lags)
    back = forward(q)[2]
    for n in q.params:
        windows = (rnnbp.Window(max(0, t - lags), t, t + 1) for t in range(T))
        assert relative_error(found.gradient[n], sum(back(q.dys, None, w)[0][n] for w in windows)) < EXACT
        for gate, norms in full.weights[n].items():
            assert relative_error(found.weights[n][gate], near * norms) < tolerance()
            assert relative_error(found.sums[n][gate], full.sums[n][gate][: lags + 1]) < tolerance()
    reached = np.tri(T, T + 1, 1) - np.tri(T, T + 1, -1 - lags)  # one state more, where the last step comes from
    assert relative_error(found.states[""], reached * full.states[""]) < tolerance()


@pytest.mark.parametrize("name", ["gru", "lstm:gate_recurrence=true", "rhn"])
def test_more_sequences_than_inputs_and_units(name):
    q = problem(make(name, 2, 3), batch=40)
    found, dys = lag_decomposition(along(q), q.dys).weights, np.where(np.arange(T)[:, None, None] == 2, q.dys, 0.0)
    for n, d in forward(q)[2](dys, None, rnnbp.Window(2, 2, 3))[0].items():
        for gate, wanted in by_gate(q.cell, n, d).items():
            assert relative_error(found[n][gate][2, 2], wanted) < tolerance()


@pytest.mark.parametrize("name", ["lstm:peepholes=true", "gru", "gru:reset=before", "several recurrent states"])
@pytest.mark.parametrize("most", [None, 2])
def test_every_truncation_at_once(name, most):
    """Against the sums of the backward's windows, one truncation after the other."""
    q = case(name)
    found, back = lag_decomposition(along(q), q.dys, most).truncated, forward(q)[2]

    def flat(k):
        grads = [back(q.dys, None, window)[0] for window in Truncation.parse(f"tbptt:1,{k}").windows(T)]
        return np.concatenate([np.ravel(sum(g[n] for g in grads)) for n in q.params])

    steps = T if most is None else most + 1
    whole, parts = flat(steps), [flat(k) for k in range(1, steps + 1)]
    size = np.linalg.norm(whole)
    assert found.ratio == pytest.approx([np.linalg.norm(g) / size for g in parts], rel=tolerance())
    assert found.cosine == pytest.approx([g @ whole / size / np.linalg.norm(g) for g in parts], rel=tolerance())
    assert found.ratio[-1] == 1


def test_truncations_are_held_to_the_whole_gradient():
    q = case("lstm:peepholes=true")
    whole = forward(q)[2](q.dys)[0]
    every, some = (lag_decomposition(along(q), q.dys, lags, whole).truncated for lags in (None, 2))
    assert len(some.ratio) == 3
    assert relative_error(some.ratio, every.ratio[:3]) < tolerance() > relative_error(some.cosine, every.cosine[:3])
    assert relative_error(every.ratio, lag_decomposition(along(q), q.dys).truncated.ratio) < tolerance()


def test_a_gradient_of_nothing_has_no_direction():
    q = case("gru")
    found = lag_decomposition(along(q), 0 * q.dys).truncated
    assert np.isnan(found.ratio).all() and np.isnan(found.cosine).all()


@pytest.mark.parametrize("factor", [0.5, 0.9, 1.0, 1.1])
def test_a_linear_network_with_u_a_multiple_of_one(factor):
    """Errors shrink by λ a step: dL_t/dh_k = λ^(t+1−k) dy_t, dL_t/dW_s = λ^(t−s) Σ_b x_s ⊗ dy_t."""
    q = problem(make("elman:activation=identity"), time_steps=12)
    q = q._replace(params={**q.params, "U": factor * np.eye(q.cell.hidden_size)}, dys=np.stack([q.dys[0]] * 12))
    found = lag_decomposition(along(q), q.dys)
    lag = np.subtract.outer(np.arange(12), np.arange(12))
    products = np.linalg.norm(np.einsum("sbi,tbo->tsio", q.xs, q.dys), axis=(2, 3))
    assert relative_error(found.weights["W"][""], np.where(lag >= 0, factor**lag * products, 0)) < tolerance()
    fading = decay(mean_by_lag(found.states["h"]))
    assert fading.last == 12 and fading.factor == pytest.approx(factor, rel=1e-12, abs=0)
    assert fading.half_life == (pytest.approx(log(2) / -log(factor), rel=1e-11, abs=0) if factor < 1 else np.inf)
    bias = found.weights["b"][""]
    assert decay(mean_by_lag(bias)).factor == pytest.approx(factor, rel=1e-12, abs=0)
    assert found.sums["b"][""] == pytest.approx(
        (12 - np.arange(12)) * bias[0, 0] * factor ** np.arange(12), rel=1e-12, abs=0
    )


def test_errors_too_small_to_be_squared():
    q = problem(make("elman:activation=identity"), time_steps=8)
    q = q._replace(params={**q.params, "U": 1e-40 * np.eye(q.cell.hidden_size)})
    found = lag_decomposition(along(q), q.dys)
    assert found.weights["b"][""][7, 0] == pytest.approx(
        1e-280 * np.linalg.norm(np.sum(q.dys[7], axis=0)), rel=1e-12, abs=0
    )
    assert found.states["h"][7, 1] == pytest.approx(1e-280 * np.linalg.norm(q.dys[7]), rel=1e-12, abs=0)


def test_a_mean_is_over_the_steps_that_reach_back():
    table = np.array([[1.0, 0, 0], [2, 3, 0], [4, 5, 9]])
    assert list(mean_by_lag(table)) == [13 / 3, 3.5, 4.0]
    assert mean_by_lag(table, np.array([False, True, False])) == pytest.approx([3.0, 2.0, np.nan], nan_ok=True)
    states = np.array([[7.0, 1, 0], [8, 2, 3]])
    assert list(mean_by_lag(states)) == [2.0, 4.5, 8.0]


def test_refusals():
    q = case("lstm")
    assert f"({T}, {B}, 6); got" in refusal(lambda: lag_decomposition(along(q), q.dys[1:]))
    assert "0 … T − 1, here 4; got 5" in refusal(lambda: lag_decomposition(along(q), q.dys, T))
    assert "got -1" in refusal(lambda: lag_decomposition(along(q), q.dys, -1))
