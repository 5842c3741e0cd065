"""The derivatives of each step along a sequence, against complex steps of the step and the scan's own backward."""

from __future__ import annotations

import numpy as np
import pytest
from cases import EVERY, case
from helpers import B, T, forward, refusal, relative_error, tolerance

import rnnbp
from rnnbp.flow import Trajectory


def trajectory(name):
    q = case(name)
    return q, Trajectory(q.cell, q.params, q.xs, q.s0, q.data or None)


@pytest.mark.parametrize("name", EVERY)
def test_the_states_are_those_of_the_scan(name):
    q, path = trajectory(name)
    ys, s_T, _ = forward(q)
    assert relative_error(np.stack([s[0] for s in path.states[1:]]), ys) < tolerance()
    assert all(relative_error(a, b) < tolerance() for a, b in zip(path.states[-1], s_T, strict=True))
    assert len(path.states) == T + 1 and path.vector(path.states[0]).shape == (B, path.size)
    for a, b in zip(path.split(path.vector(path.states[2])), path.states[2], strict=True):
        assert np.array_equal(a, b)


@pytest.mark.parametrize("name", EVERY)
def test_the_jacobian_is_the_derivative_of_the_step(name):
    """Its columns come from complex steps of the forward, its rows from the backward."""
    _, path = trajectory(name)
    for t in (0, T - 1):
        j = path.jacobian(t)
        rows = np.broadcast_to(np.eye(path.size)[:, None, :], (path.size, B, path.size))
        assert relative_error(j, np.swapaxes(path.vjp(t, rows), 0, 1)) < tolerance()
        v = np.random.default_rng(0).standard_normal((B, path.size))
        assert relative_error(path.vjp(t, v), np.einsum("bi,bij->bj", v, j)) < tolerance()


@pytest.mark.parametrize("name", ["lstm", "gru", "several recurrent states"])
def test_jacobians_carry_the_error_of_the_last_state_to_the_first(name):
    q, path = trajectory(name)
    d = path.vector(q.ds_T)
    for t in reversed(range(T)):
        d = path.vjp(t, d)
    assert relative_error(path.split(d)[0], forward(q)[2](None, q.ds_T)[2][0]) < tolerance()


def test_where_a_state_lies():
    _, path = trajectory("lstm")
    assert path.sizes == {"h": 6, "c": 6} and path.part("c") == slice(6, 12)
    assert "(T, B, 4)" in refusal(lambda: Trajectory(path.cell, path.params, path.xs[0]))


def test_states_that_do_not_stay_finite_are_refused():
    cell = rnnbp.cell("elman:activation=relu", input_size=1, hidden_size=1)
    path = Trajectory(cell, {"W": np.ones((1, 1)), "U": np.full((1, 1), 1e200), "b": np.zeros(1)}, np.ones((5, 1, 1)))
    assert "those behind step 3 do not: take fewer steps" in refusal(lambda: path.ys)  # 1, 1e200, 1e400
