"""Lyapunov exponents against eigenvalues, determinants, closed forms, and two trajectories side by side."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import problem, refusal, relative_error, tolerance

import rnnbp
from rnnbp.flow import LyapunovSpectrum, Trajectory, lyapunov_spectrum

N = 12  # units of the random networks
DELTA = 1e-8  # how far apart two trajectories start; both δ and ε/δ are then near 1e-8


def network(u, time_steps=40, batch=2, activation="tanh", seed=0, drive=0.3):
    """An Elman network of that recurrent matrix, with random inputs."""
    rng = np.random.default_rng(seed)
    h = len(u)
    cell = rnnbp.cell(f"elman:activation={activation}", 2, h)
    params = {"W": drive * rng.standard_normal((2, h)), "U": u, "b": np.zeros(h)}
    return Trajectory(cell, params, rng.standard_normal((time_steps, batch, 2)), (rng.uniform(-1, 1, (batch, h)),))


def gaussian(gain, seed):
    return gain * np.random.default_rng(seed).standard_normal((N, N)) / np.sqrt(N)


def test_of_a_linear_network_they_are_the_eigenvalues():
    v, w = np.linalg.qr(np.random.default_rng(2).standard_normal((5, 5))).Q, np.array([1.1, -0.8, 0.5, -0.3, 0.15])
    skewed = v @ (np.diag(w) + np.triu(np.ones((5, 5)), 1)) @ v.T  # not normal: its singular values are others
    found = lyapunov_spectrum(network(skewed, time_steps=200, activation="identity"), warmup=150)
    assert relative_error(found.exponents, np.broadcast_to(np.log(abs(w)), (2, 5))) < tolerance()
    assert np.all(found.standard_error < 1e-12)
    assert relative_error(found.running[-1], found.exponents) < tolerance() and found.running.shape == (50, 2, 5)


def test_a_pair_of_complex_eigenvalues_shares_its_modulus():
    turn = 0.9 * np.array([[np.cos(1), -np.sin(1)], [np.sin(1), np.cos(1)]])
    found = lyapunov_spectrum(network(turn, activation="identity"))
    assert relative_error(found.exponents, np.full((2, 2), np.log(0.9))) < tolerance()


@pytest.mark.parametrize("cell", ["rnn", "lstm", "lstm:peepholes=true", "gru"])
def test_they_add_up_to_the_determinant(cell):
    q = problem(rnnbp.cell(cell, 3, 4), time_steps=12)
    path = Trajectory(q.cell, q.params, q.xs, q.s0)
    logs = np.array([np.linalg.slogdet(path.jacobian(t))[1] for t in range(12)])
    found = lyapunov_spectrum(path, warmup=2)
    assert np.allclose(found.growth.sum(axis=2), logs, rtol=0, atol=1e-10)
    assert np.allclose(found.exponents.sum(axis=1), logs[2:].mean(axis=0), rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ("u", "chaotic"), [(gaussian(0.7, 8), False), (gaussian(4.0, 4), True)], ids=["contracting", "chaotic"]
)
def test_the_first_is_how_two_trajectories_part(u, chaotic):
    """Forwards only, written out here: a second trajectory is held at a distance δ (Benettin et al. 1980)."""
    path = network(u, time_steps=500)
    x = path.xs @ path.params["W"]
    h, logs = path.states[0][0], []
    other = h + DELTA * np.ones_like(h) / np.sqrt(N)
    for t in range(500):
        h, other = np.tanh(x[t] + h @ path.params["U"]), np.tanh(x[t] + other @ path.params["U"])
        apart = np.linalg.norm(other - h, axis=1, keepdims=True)
        logs.append(np.log(apart[:, 0] / DELTA))
        other = h + (other - h) * DELTA / apart
    found = lyapunov_spectrum(path, 1, warmup=300)
    assert np.allclose(found.exponents[:, 0], np.mean(logs[300:], axis=0), rtol=0, atol=100 * DELTA)
    assert np.all(found.exponents > 0.1 if chaotic else found.exponents < -0.1)


def test_the_first_few_are_the_first_of_all():
    path = network(gaussian(4.0, 4), time_steps=400)
    few, every = (lyapunov_spectrum(path, k, warmup=300).exponents for k in (2, None))
    assert few.shape == (2, 2) and every.shape == (2, N)
    assert np.allclose(few, every[:, :2], rtol=0, atol=1e-6)
    assert np.all(np.diff(every, axis=1) < 0)
    other = lyapunov_spectrum(path, 2, warmup=300, seed=9)
    assert np.allclose(few, other.exponents, rtol=0, atol=1e-6)
    assert not np.allclose(other.growth[0], lyapunov_spectrum(path, 2).growth[0])  # it starts elsewhere


def test_the_carousel_grows_as_its_forget_gate_and_the_output_of_the_same_step_adds_nothing():
    """One LSTM unit without U: (dh', dc') = (o ψ'(c'), 1) f dc. The first exponent is that of f, the other −∞."""
    cell, rng = rnnbp.cell("lstm", 1, 1), np.random.default_rng(4)
    p = {"W": rng.standard_normal((1, 4)), "U": np.zeros((1, 4)), "b": np.array([0.0, 5.0, 0.0, 0.0])}
    path = Trajectory(cell, p, rng.standard_normal((30, 1, 1)))
    found = lyapunov_spectrum(path, warmup=10)
    a = path.xs[:, 0] @ p["W"] + p["b"]
    c = np.array([s[1][0, 0] for s in path.states[1:]])
    length = np.sqrt(1 + ((1 - np.tanh(c) ** 2) / (1 + np.exp(-a[:, 3]))) ** 2)
    each = np.log(1 / (1 + np.exp(-a[1:, 1])) * length[1:] / length[:-1])  # from step 1: then the direction is that
    assert np.allclose(found.growth[1:, 0, 0], each, rtol=0, atol=1e-14)
    assert -0.02 < found.exponents[0, 0] < 0.02 and found.exponents[0, 1] == -np.inf
    assert np.isnan(found.standard_error[0, 1]) and np.isfinite(found.standard_error[0, 0])


@pytest.mark.parametrize("rank", [0, 2])
def test_what_a_singular_jacobian_forgets_is_minus_infinity(rank):
    rng = np.random.default_rng(5)
    u = rng.standard_normal((4, rank)) @ rng.standard_normal((rank, 4))
    found = lyapunov_spectrum(network(u, activation="identity", time_steps=20)).exponents
    assert np.all(np.isfinite(found[:, :rank])) and np.all(found[:, rank:] == -np.inf)


def test_the_standard_error_is_that_of_numbers_that_hang_together():
    """Of an autoregression x' = φ x + e, with e of variance 1, the mean of n has the variance 1 / ((1−φ)² n)."""
    phi, n = 0.5, 10_000
    x = np.random.default_rng(6).standard_normal((n, 40, 1))
    for t in range(1, n):
        x[t] += phi * x[t - 1]
    found = LyapunovSpectrum(x, 0).standard_error
    assert np.mean(found**2) == pytest.approx(1 / ((1 - phi) ** 2 * n), rel=0.1)
    odd = LyapunovSpectrum(x[:13, :1], 2)  # eleven steps: three batches of three, the first two left out
    means = [np.mean(x[t : t + 3, 0, 0]) for t in (4, 7, 10)]
    assert odd.standard_error[0, 0] == pytest.approx(np.std(means, ddof=1) / np.sqrt(3), rel=1e-12)


def test_refusals():
    path = network(gaussian(1.0, 1), time_steps=10)
    assert "1 to 12" in refusal(lambda: lyapunov_spectrum(path, 13))
    assert "warmup 7" in refusal(lambda: lyapunov_spectrum(path, 2, warmup=7))
    wild = network(1e100 * gaussian(1.0, 1), activation="identity", time_steps=10)
    with np.errstate(all="ignore"):
        assert "stay finite" in refusal(lambda: lyapunov_spectrum(wild, 2))
