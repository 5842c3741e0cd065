"""The error of the last loss on its way back, and the least that a training run records of it."""

import numpy as np
import pytest
from helpers import refusal, relative_error

from rnnbp.cells.elman import Elman
from rnnbp.cells.lstm import LSTM
from rnnbp.flow.lags import lag_decomposition
from rnnbp.flow.last_errors import last_error
from rnnbp.flow.measures.states import measure
from rnnbp.flow.stacked import Stacked
from rnnbp.flow.subjects import Subject
from rnnbp.flow.trajectories import Trajectory
from rnnbp.losses import MeanSquaredError
from rnnbp.model import Model
from rnnbp.stacking import Stack, stack

EPS = float(np.finfo(np.float64).eps)


def identity(time_steps, u, batch=2):
    """The network h' = h U + x, whose error of the last state goes back by Uᵀ at every step, and its xs."""
    xs = np.random.default_rng(1).standard_normal((time_steps, batch, 2))
    return {"W": np.eye(2), "U": np.asarray(u)}, xs, Elman(2, 2, bias=False, activation="identity")


def test_of_a_linear_network_it_is_a_power_of_u():
    u = np.array([[0.5, 1.0], [0.0, 0.8]])
    params, xs, cell = identity(7, u)
    dy = np.array([[1.0, -2.0], [0.5, 3.0]])
    found = last_error(Trajectory(cell, params, xs), dy)
    wanted = [np.linalg.norm(dy @ np.linalg.matrix_power(u.T, k)) for k in range(8)]
    assert list(found) == ["", "h"]
    assert np.allclose(found[""], wanted, rtol=50 * EPS) and np.array_equal(found["h"], found[""])


@pytest.mark.parametrize("spec", ["lstm", "gru", "gru:reset=before", "lstm/zoneout:rate=0.2", "rhn"])
@pytest.mark.parametrize("layers", [1, 2])
def test_it_is_the_last_row_of_the_decomposition_by_lag(spec, layers):
    made, rng = stack(spec, 3, 4, layers, residual=layers > 1), np.random.default_rng(0)
    cell = Stacked(made)
    data = {n: rng.uniform(size=(6, 2, *shape)) for n, shape in cell.data.items()}
    path = Trajectory(cell, made.init(rng), rng.standard_normal((6, 2, 3)), data=data)
    dys = rng.standard_normal((6, 2, 4))
    rows = lag_decomposition(path, dys).states
    found = last_error(path, dys[-1])
    assert list(found) == list(rows)
    for name, table in rows.items():
        assert relative_error(found[name], table[-1, ::-1]) <= 100 * EPS, name


def test_what_does_not_fit_is_refused():
    params, xs, cell = identity(4, np.eye(2))
    assert "dy must have shape (B, O), here (2, 2); got (4, 2, 2)" in refusal(
        lambda: last_error(Trajectory(cell, params, xs), np.zeros((4, 2, 2)))
    )


def linear(u, time_steps, targets=None):
    """A linear network with a readout that is the identity, on mean squared error summed, as a subject."""
    params, xs, cell = identity(time_steps, u)
    model = Model(Stack(((cell,),)), 2, MeanSquaredError("sum"))
    weights = {"0.W": params["W"], "0.U": params["U"], "readout.W": np.eye(2), "readout.b": np.zeros(2)}
    return Subject("linear", model, weights, xs, np.zeros_like(xs) if targets is None else targets, "noise")


@pytest.mark.parametrize("factor", [0.5, 1.0, 1.25])
def test_its_numbers_on_a_linear_network_are_known(factor):
    """U = factor · 1: each step back multiplies an error by it, and the states are sums of powers."""
    one = linear(factor * np.eye(2), 9)
    found = measure(one).numbers
    assert np.isclose(found["half-life"], np.log(2) / -np.log(factor) if factor < 1 else np.inf, rtol=1e-12)
    assert np.isclose(found["log10 error left"], 9 * np.log10(factor), rtol=1e-12, atol=1e-14)
    h, sizes = np.zeros((2, 2)), []
    for x in one.xs:
        h = factor * h + x
        sizes.append(np.mean(np.abs(h)))
    assert np.isclose(found["|h|"], np.mean(sizes), rtol=1e-13) and set(found) == {
        "half-life",
        "log10 error left",
        "|h|",
    }


def test_an_error_that_ends_and_one_that_was_none():
    """U = 0 leaves nothing behind one step; a loss that is met leaves no error at all."""
    found = measure(linear(np.zeros((2, 2)), 5)).numbers
    assert found["half-life"] == 0.0 and found["log10 error left"] == -np.inf
    one = linear(0.5 * np.eye(2), 5)
    met = linear(0.5 * np.eye(2), 5, targets=one.ys)
    assert all(np.isnan(measure(met).numbers[name]) for name in ("half-life", "log10 error left"))


def test_only_the_last_loss_counts_and_states_start_where_they_are_told():
    """Other targets at earlier steps change nothing; a start elsewhere changes the sizes of the states."""
    rng = np.random.default_rng(2)
    model = Model(Stack(((LSTM(3, 4),), (LSTM(4, 4),))), 2, MeanSquaredError())
    params, xs, targets = model.init(rng), rng.standard_normal((6, 2, 3)), rng.standard_normal((6, 2, 2))
    one = measure(Subject("a", model, params, xs, targets, "noise")).numbers
    other = np.concatenate([targets[:-1] + 5, targets[-1:]])
    assert measure(Subject("a", model, params, xs, other, "noise")).numbers == one
    assert list(one) == ["half-life", "log10 error left", "|1.h|", "|1.c|", "|0.h|", "|0.c|"]
    _, s0 = model.stack.run({n: params[n] for n in model.stack.params}, rng.standard_normal((9, 2, 3)))
    moved = Subject("a", model, params, xs, targets, "noise", s0=s0)
    ys, last = model.stack.run({n: params[n] for n in model.stack.params}, xs, s0)
    assert np.allclose(moved.ys, ys, rtol=0, atol=100 * EPS)
    bottom, top = last
    assert np.allclose(moved.path.states[-1], np.stack([*top, *bottom]), rtol=0, atol=100 * EPS)
    assert measure(moved).numbers["|0.c|"] != one["|0.c|"]
