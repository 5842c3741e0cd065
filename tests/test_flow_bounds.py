"""Norm bounds and powers of eigenvalues of Elman networks, beside what the derivatives are."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import B, H, I, T, problem, refusal, relative_error, tolerance

import rnnbp
from rnnbp.cells.activations import ACTIVATIONS
from rnnbp.flow import Trajectory, eigen_prediction, norm_bounds, product_spectra, shear
from rnnbp.flow.bounds import STEEPEST, slopes


def trajectory(name, gain=1.0):
    q = problem(rnnbp.cell(name, I, H))
    return Trajectory(q.cell, {**q.params, "U": gain * q.params["U"]}, q.xs, q.s0)


def rounding(found):
    """What the logarithms of products and their bounds are exact to."""
    return tolerance() * max(1.0, float(np.max(np.abs(found.log_norm))))


@pytest.mark.parametrize("activation", STEEPEST)
def test_bounds_hold_and_are_their_formulas(activation):
    path = trajectory(f"elman:activation={activation}")
    found = norm_bounds(path, end=T - 1)
    u = path.params["U"]
    gamma_w = np.sqrt(np.max(np.linalg.eigvalsh(u @ u.T)))
    assert abs(found.gamma_w / gamma_w - 1) < tolerance() and found.gamma_phi == STEEPEST[activation]
    assert list(found.lags) == [1, 2, 3, 4]
    assert relative_error(np.exp(found.log_bound), (gamma_w * STEEPEST[activation]) ** found.lags) < tolerance()
    for lag in found.lags:
        between = found.steepest[T - 1 - lag : T - 1]
        assert relative_error(np.exp(found.log_sharper[lag - 1]), np.prod(gamma_w * between, axis=0)) < tolerance()
    assert relative_error(found.log_norm, product_spectra(path, end=T - 1).log_norm) < tolerance()
    assert np.all(found.log_norm <= found.log_sharper + rounding(found))
    assert np.all(found.log_sharper <= found.log_bound[:, None] + rounding(found))


@pytest.mark.parametrize("name", [f"elman:activation={a}" for a in STEEPEST] + ["irnn", "rnn", "elman:clip=0.5"])
def test_slopes_are_those_of_the_jacobian(name):
    """∂h_{t+1}/∂h_t = diag(φ') Uᵀ."""
    path = trajectory(name)
    for t in (0, T - 1):
        j = slopes(path, t)[..., None] * path.params["U"].T
        assert relative_error(path.jacobian(t), j) < tolerance()
    assert np.array_equal(norm_bounds(path).steepest[1], np.max(slopes(path, 1), axis=-1))


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_largest_slope_of_each_activation(activation):
    value, slope = ACTIVATIONS[activation]
    a = np.linspace(-3, 3, 601)
    assert np.max(slope(np, value(np, a))) == pytest.approx(STEEPEST[activation], rel=1e-15)


def test_bounds_are_met_where_nothing_is_lost():
    """An orthogonal U and the identity: the norm is 1, and so is either bound."""
    path = trajectory("elman:activation=identity")
    q = np.linalg.qr(path.params["U"])[0]
    found = norm_bounds(Trajectory(path.cell, {**path.params, "U": q}, path.xs))
    for logs in (found.log_norm, found.log_sharper, found.log_bound):
        assert np.max(np.abs(logs)) < tolerance()


def test_below_one_the_bound_says_that_the_gradient_vanishes():
    """Above 1 it says nothing: sigmoid units at γ_W = 6 lose the error all the same."""
    path = trajectory("elman:activation=sigmoid")
    gamma = np.linalg.norm(path.params["U"], 2)
    small, large = (norm_bounds(trajectory("elman:activation=sigmoid", g / gamma)) for g in (3.9, 6))
    assert small.must_vanish and np.all(np.diff(small.log_bound) < 0) and np.all(np.diff(small.log_norm, axis=0) < 0)
    assert not large.must_vanish and large.log_bound[-1] > 0 and np.all(large.log_norm[-1] < 0)


@pytest.mark.parametrize("which", [0, 2, H - 1])
def test_powers_of_eigenvalues_are_exact_for_the_identity(which):
    path = trajectory("elman:activation=identity")
    found = eigen_prediction(path, which)
    wanted = np.sort(np.abs(np.linalg.eigvals(path.params["U"])))[::-1]
    assert relative_error(np.abs(found.eigenvalues), wanted) < tolerance()
    assert relative_error(np.exp(found.log_predicted), wanted[which] ** np.arange(1, T + 1)) < tolerance()
    error = np.max(np.abs(found.log_true - found.log_predicted[:, None]))
    sensitivity = np.linalg.cond(np.linalg.eig(path.params["U"])[1]) * (wanted[0] / wanted[which]) ** T
    assert found.log_true.shape == (T, B) and error < sensitivity * tolerance()


def test_with_slopes_below_one_less_is_left_than_an_eigenvalue_predicts():
    """A symmetric U, so that λ is γ_W: the tanh's slopes take the rest."""
    path = trajectory("elman")
    u = path.params["U"] + path.params["U"].T
    found = eigen_prediction(Trajectory(path.cell, {**path.params, "U": u}, path.xs, path.s0))
    assert np.all(found.log_true < found.log_predicted[:, None] - 0.01)
    direct = np.linalg.eigh(u)[1][:, np.argmax(np.abs(np.linalg.eigvalsh(u)))]
    d = np.broadcast_to(direct, (B, H))
    for t in reversed(range(T)):
        d = (d * slopes(path_of(path, u), t)) @ u.T
    assert relative_error(np.exp(found.log_true[-1]), np.linalg.norm(d, axis=-1)) < tolerance()


def path_of(path, u):
    return Trajectory(path.cell, {**path.params, "U": u}, path.xs, path.s0)


def test_transient_growth():
    """Every eigenvalue is 0.9, the largest singular value 1.53: the norm rises to 3.9 at lag 9 before it decays."""
    path = shear(200)
    found, predicted = norm_bounds(path), eigen_prediction(path)
    n = found.lags
    powers = np.stack([[0.9**n, n * 0.9 ** (n - 1)], [0 * n, 0.9**n]]).transpose(2, 0, 1)
    assert relative_error(np.exp(found.log_norm[:, 0]), np.linalg.norm(powers, 2, axis=(1, 2))) < tolerance()
    assert found.gamma_w > 1.5 and np.all(np.abs(predicted.eigenvalues) == 0.9)
    peak = int(np.argmax(found.log_norm[:, 0]))
    assert n[peak] == 9 and found.log_norm[peak, 0] > np.log(3.9)
    assert found.log_norm[-1, 0] < -10 and found.log_bound[-1] > 80
    assert np.max(np.abs(predicted.log_true[:, 0] - predicted.log_predicted)) < 200 * tolerance()


@pytest.mark.parametrize("name", ["lstm", "gru", "indrnn", "elman/zoneout:rate=0.1", "elman:stopped=h"])
def test_cells_without_these_bounds_are_refused(name):
    q = problem(rnnbp.cell(name, I, H))
    path = Trajectory(q.cell, q.params, q.xs, q.s0, q.data or None)
    for call in (norm_bounds, eigen_prediction):
        assert "cell `elman`; got" in refusal(lambda call=call: call(path))


def test_an_eigenvalue_that_is_not_there_is_refused():
    assert "from 0 to 5; got 6" in refusal(lambda: eigen_prediction(trajectory("elman"), which=6))
