"""The carousel against the Jacobian of the whole state, and the size of c against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import B, H, I, T, problem, refusal, relative_error, tolerance

import rnnbp
from rnnbp.flow import Trajectory, carousel, cell_sizes, step_terms, without_forget_gate


def trajectory(name):
    q = problem(rnnbp.cell(name, I, H))
    return Trajectory(q.cell, q.params, q.xs, q.s0)


@pytest.mark.parametrize(
    "name",
    [
        "lstm",
        "lstm:peepholes=true",
        "lstm:peepholes=true,coupled=true",
        "lstm:peepholes=true,peephole_error=false",
        "lstm:peepholes=true,without=i,clip=0.8",
        "lstm:peepholes=true,gate_recurrence=true",
        "lstm-1997",
    ],
)
def test_with_peepholes_it_is_the_c_block_of_the_jacobian(name):
    path = trajectory(name)
    found, c = carousel(path), path.part("c")
    for t in range(T):
        block = path.jacobian(t)[:, c, c]
        assert relative_error(found.with_peepholes[t][:, :, None] * np.eye(H), block) < tolerance()


def test_alone_it_is_the_direct_term():
    path = trajectory("lstm:peepholes=true")
    found = carousel(path)
    for t in range(1, T):
        assert np.array_equal(found.alone[t][:, :, None] * np.eye(H), step_terms(path, t).parts["direct"])
    assert relative_error(found.alone, found.with_peepholes) > 1e-3


@pytest.mark.parametrize("name", ["lstm-1997", "lstm-1997:truncated=false", "lstm:without=f"])
def test_without_a_forget_gate_it_is_exactly_one(name):
    found = carousel(trajectory(name))
    assert np.all(found.alone == 1) and np.all(found.with_peepholes == 1) and found.alone.shape == (T, B, H)


@pytest.mark.parametrize("coupled", [False, True])
def test_the_size_of_c_with_constant_gates(coupled):
    """Biases alone make i, f, g constant: c_t = i g (1 − f^t)/(1 − f), and t i g where f is 1."""
    cell = rnnbp.cell("lstm", I, H, coupled=coupled)
    rng, ts = np.random.default_rng(0), np.arange(31)[:, None]
    params = {name: np.zeros_like(w) for name, w in cell.init(rng).items()} | {
        "b": rng.standard_normal(H * (4 - coupled))
    }
    path = Trajectory(cell, params, np.zeros((30, 1, I)))
    a = dict(zip(cell.gates, params["b"].reshape(-1, H), strict=True))
    i, g = 1 / (1 + np.exp(-a["i"])), np.tanh(a["g"])
    f = 1 - i if coupled else 1 / (1 + np.exp(-a["f"]))
    assert relative_error(cell_sizes(path)[:, 0], abs(i * g * (1 - f**ts) / (1 - f))) < tolerance()
    assert relative_error(cell_sizes(without_forget_gate(path))[:, 0], abs(ts * i * g)) < tolerance()


@pytest.mark.parametrize("name", ["lstm:forget_bias=3", "lstm:peepholes=true,stopped=f+o", "lstm:bias=false"])
def test_the_other_weights_stay(name):
    """From the same state the first steps differ by (1 − f) c, in c, and h by what o makes of it."""
    path = trajectory(name)
    bare, c = without_forget_gate(path), path.states[0][1]
    lost = (1 - carousel(path).alone[0]) * c
    assert relative_error(bare.states[1][1], path.states[1][1] + lost) < tolerance()
    assert {n: w.shape for n, w in bare.params.items()} == {n: w.shape for n, w in bare.cell.params.items()}
    assert np.all(carousel(bare).alone == 1) and "f" not in bare.cell.stopped
    fresh = Trajectory(path.cell, path.params, path.xs, (path.s0[0], np.zeros_like(c)))
    for a, b in zip(fresh.states[1], without_forget_gate(fresh).states[1], strict=True):
        assert relative_error(a, b) < tolerance()


def test_refusals():
    assert "gate_recurrence" in refusal(lambda: without_forget_gate(trajectory("lstm:gate_recurrence=true")))
    assert "without=f" in refusal(lambda: without_forget_gate(trajectory("lstm-1997")))
    assert "that of an lstm" in refusal(lambda: carousel(trajectory("gru")))
    assert "that of an lstm" in refusal(lambda: cell_sizes(trajectory("lstm/zoneout:rate=0.1")))
