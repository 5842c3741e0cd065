"""The derivative of a state by the weights of one step, against windows of the scan's backward and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from cases import case, make
from helpers import B, H, T, forward, problem, refusal, relative_error, tolerance

import rnnbp
from rnnbp.flow import Trajectory, state_by_lag


def along(q):
    return Trajectory(q.cell, q.params, q.xs, q.s0, q.data or None)


def by_windows(q, state, t):
    """‖∂state_t/∂W_s‖ for every parameter, s = t … 0: one unit vector after the other, Window(s) less Window(s + 1)."""
    short = q._replace(xs=q.xs[: t + 1], data={name: d[: t + 1] for name, d in q.data.items()})
    back, at = forward(short)[2], list(q.cell.states).index(state)
    found = {name: np.zeros(t + 1) for name in q.params}
    for e in np.eye(q.s0[at].size).reshape(-1, *q.s0[at].shape):
        ds = tuple(e if k == at else np.zeros_like(z) for k, z in enumerate(q.s0))
        grads = [back(None, ds, rnnbp.Window(s, s, t + 1))[0] for s in range(t + 1)]
        for name, squares in found.items():
            g = np.stack([*(grad[name] for grad in grads), np.zeros(q.params[name].shape)])
            squares += np.sum((g[:-1] - g[1:]) ** 2, axis=tuple(range(1, g.ndim)))[::-1]
    return {name: np.sqrt(squares) for name, squares in found.items()}


@pytest.mark.parametrize("name", ["lstm:peepholes=true", "gru", "gru:reset=before", "several recurrent states"])
def test_it_is_that_of_windows(name):
    q = case(name)
    for state in q.cell.states:
        found = state_by_lag(along(q), state)
        assert found.exact and found.state == state
        for n, wanted in by_windows(q, state, T - 1).items():
            assert np.max(np.abs(found.weights[n][""] - wanted)) < tolerance() * max(1.0, np.max(wanted))


def test_of_an_earlier_state_and_by_gate():
    q = case("lstm")
    found = state_by_lag(along(q), "c", 3)
    wanted = by_windows(q, "c", 2)
    assert all(relative_error(found.weights[n][""], wanted[n]) < tolerance() for n in wanted)
    gates = found.weights["U"]
    assert list(gates) == ["", "i", "f", "g", "o"] and gates["o"][0] == 0 < gates["o"][1]  # o_t does not reach c_t
    assert relative_error(np.sqrt(sum(gates[k] ** 2 for k in "ifgo")), gates[""]) < tolerance()


def test_the_carousel_of_1997_forgets_nothing():
    """With U = 0 and f = 1, c_t = Σ_s i_s g_s, so ∂c_t/∂b_s depends on s alone: the same for every later t."""
    q = problem(make("lstm-1997"), time_steps=12)
    q = q._replace(params={**q.params, "U": 0 * q.params["U"]})
    late, early = (state_by_lag(along(q), "c", end).weights["b"][""] for end in (12, 6))
    assert relative_error(late[6:], early) < tolerance()


@pytest.mark.parametrize("factor", [0.5, 0.9])
def test_a_linear_network_with_u_a_multiple_of_one(factor):
    """∂h_t/∂b_s = λ^(t−s), of B sequences with H units each."""
    q = problem(make("elman:activation=identity"), time_steps=12)
    q = q._replace(params={**q.params, "U": factor * np.eye(H)})
    found = state_by_lag(along(q), "h").weights["b"][""]
    assert relative_error(found, np.sqrt(B * H) * factor ** np.arange(12)) < tolerance()


def test_random_directions_come_near():
    q = case("lstm")
    exact, drawn = state_by_lag(along(q), "c"), state_by_lag(along(q), "c", directions=17, seed=1)
    assert not drawn.exact
    assert drawn.weights["U"][""] == pytest.approx(exact.weights["U"][""], rel=4 / np.sqrt(2 * 17))  # 4 deviations
    assert relative_error(drawn.weights["U"][""], exact.weights["U"][""]) > 1e-4  # so they were drawn
    many = state_by_lag(along(q), "c", directions=17, seed=2).weights["U"][""]
    assert not np.array_equal(many, drawn.weights["U"][""])


def test_refusals():
    path = along(case("gru"))
    assert "unknown state of GRU 'c': known are h" in refusal(lambda: state_by_lag(path, "c"))
    assert "1 … 5" in refusal(lambda: state_by_lag(path, "h", 6))
    assert "1 or more" in refusal(lambda: state_by_lag(path, "h", directions=0))
