"""Spectra of Jacobians and of their products, against closed forms, finite products and dense decompositions."""

from __future__ import annotations

from dataclasses import replace
from functools import reduce

import numpy as np
import pytest
from cases import make
from helpers import B, H, T, problem, refusal, relative_error, tolerance

import rnnbp
from rnnbp.cells.elman import Elman
from rnnbp.flow import HBlockWithoutCarousel, Trajectory, growth, product_spectra, step_spectra
from rnnbp.flow.bidiagonalisation import largest_singular
from rnnbp.flow.growing import lanczos_norm, slope
from rnnbp.flow.jacobians import products

CELLS = ["lstm:peepholes=true", "gru", "elman", "several recurrent states"]


def trajectory(name, time_steps=T):
    q = problem(make(name), time_steps=time_steps)
    return Trajectory(q.cell, q.params, q.xs, q.s0, q.data or None)


def linear(u, time_steps, batch=1):
    """A network h' = h U: every Jacobian is Uᵀ."""
    cell = Elman(1, len(u), bias=False, activation="identity")
    return Trajectory(cell, {"W": np.zeros((1, len(u))), "U": u}, np.zeros((time_steps, batch, 1)))


def dense(path, t, k):
    """∂s_t/∂s_k without rescaling."""
    return reduce(np.matmul, [path.jacobian(i) for i in reversed(range(k, t))])


@pytest.mark.parametrize("name", CELLS)
def test_spectra_of_steps_and_products(name):
    path = trajectory(name)
    steps, of = step_spectra(path), product_spectra(path, 4, lags=[3, 1])
    assert steps.log_values.shape == (T, B, path.size) and list(of.at) == [1, 3] and list(steps.at) == list(range(T))
    for found, m in [(steps, path.jacobian(2)), (of, dense(path, 4, 1))]:
        at = 2 if found is steps else 1
        sigma = np.linalg.svd(m, compute_uv=False)
        seen = ~np.isnan(found.log_values[at])
        assert relative_error(np.exp(found.log_values[at])[seen], sigma[seen]) < tolerance()
        assert relative_error(np.exp(found.log_norm[at]), np.linalg.norm(m, 2, axis=(1, 2))) < tolerance()
        radius = np.max(np.abs(np.linalg.eigvals(m)), axis=-1)
        assert relative_error(np.exp(found.log_radius[at]), radius) < tolerance()
        wanted = sigma[:, 0] / np.where(seen[:, -1], sigma[:, -1], np.nan)
        assert np.array_equal(np.isinf(found.log_condition[at]), ~seen[:, -1])
        if np.all(seen[:, -1]):
            error = np.abs(np.exp(found.log_condition[at]) / wanted - 1)
            assert np.all(error < 10 * path.size * np.finfo(float).eps * wanted)


def test_a_symmetric_network_has_powers_of_its_eigenvalues():
    rng = np.random.default_rng(1)
    q, values = np.linalg.qr(rng.standard_normal((3, 3)))[0], np.array([1.5, -1.0, 0.5])
    of = product_spectra(linear(q @ np.diag(values) @ q.T, 6))
    wanted = np.arange(1, 7)[:, None] * np.log(np.abs(values))
    assert np.max(np.abs(of.log_values[:, 0] - wanted)) < 3.0**6 * tolerance()  # the smallest lies beside the largest
    assert np.max(np.abs(of.log_radius[:, 0] - wanted[:, 0])) < tolerance()
    assert np.max(np.abs(of.log_condition[:, 0] - (wanted[:, 0] - wanted[:, 2]))) < 3.0**6 * tolerance()


@pytest.mark.parametrize("factor", [1e-3, 1e3])
def test_long_products_neither_overflow_nor_underflow(factor):
    """1000 steps, down to 1e-3000 or up to 1e3000: the logarithms are exact, by matrices and without."""
    rotation = np.array([[0.6, 0.8], [-0.8, 0.6]])
    path = linear(factor * rotation, 1000)
    found = growth(path, lags=[1, 500, 1000])
    wanted = found.lags[:, None] * np.log(factor)
    for logs in (found.log_norm, found.log_vector, product_spectra(path, lags=[1, 500, 1000]).log_radius):
        assert relative_error(logs, wanted) < tolerance()
    assert relative_error(lanczos_norm(path, 1000, 1000, np.ones((1, 2)))[0], wanted[-1]) < tolerance()
    assert abs(found.exponent[0] - np.log(factor)) < tolerance() * abs(np.log(factor))
    assert abs(found.vector_exponent[0] - np.log(factor)) < tolerance() * abs(np.log(factor))


def test_rounding_hides_small_singular_values():
    """diag(1, 1e-3) to the sixth has 1e-18 beside 1: not told; a network that cuts has none at all."""
    of = product_spectra(linear(np.diag([1.0, 1e-3]) @ np.ones((2, 2)), 2))
    assert np.isnan(of.log_values[-1, 0, -1]) and np.isinf(of.log_condition[-1, 0])
    of = product_spectra(linear(np.zeros((2, 2)), 2))
    assert np.all(np.isneginf(of.log_values)) and np.all(np.isposinf(of.log_condition))
    found = growth(linear(np.zeros((2, 2)), 3))
    assert np.all(np.isneginf(found.log_norm)) and np.all(np.isneginf(found.exponent))
    assert np.all(np.isneginf(lanczos_norm(linear(np.zeros((2, 2)), 3), 3, 2, np.ones((1, 2)))[0]))


def test_the_h_block_hides_the_carousel():
    """An LSTM with forget bias 5 keeps an error for 40 steps; a product of its h-blocks says that 1e-20 is left."""
    q = problem(rnnbp.cell("lstm:forget_bias=5", 4, 12), time_steps=40)
    path = Trajectory(q.cell, q.cell.init(np.random.default_rng(0)), q.xs)
    block = HBlockWithoutCarousel(path)
    whole, alone = growth(path), growth(block)
    for kept, lost in ((whole.exponent, alone.exponent), (whole.vector_exponent, alone.vector_exponent)):
        assert np.all(np.abs(kept) < 0.15) and np.all(lost < -1.2)
    assert np.all(alone.log_norm[-1] < np.log(1e-20))
    assert np.array_equal(block.jacobian(3), path.jacobian(3)[:, :12, :12]) and block.size == 12
    only_f = np.log(1 / (1 + np.exp(-5.0)))  # the carousel by itself
    assert np.all(whole.log_norm[-1] > 40 * only_f - 0.5)


@pytest.mark.parametrize("name", CELLS)
def test_without_matrices(name):
    """The Lanczos method's norm against the dense one, for the whole state and for the block of h."""
    path = trajectory(name)
    for steps in (path, HBlockWithoutCarousel(path)):
        start = np.random.default_rng(3).standard_normal((B, steps.size))
        for end, lag in [(T, T), (T - 1, 1), (3, 2)]:
            log, residual = lanczos_norm(steps, end, lag, start)
            exact = [log + np.log(np.linalg.norm(p, 2, axis=(1, 2))) for p, log in products(steps, end, lag)][-1]
            assert np.max(np.abs(log - exact)) < tolerance() and np.all(residual <= 1e-8)
        v = np.random.default_rng(4).standard_normal((B, steps.size))
        j = steps.jacobian(1)
        assert relative_error(steps.vjp(1, v), np.einsum("bi,bij->bj", v, j)) < tolerance()
        assert relative_error(steps.jvp(1, v), np.einsum("bij,bj->bi", j, v)) < tolerance()


def test_growth_takes_the_lanczos_method_above_a_size(monkeypatch):
    path = trajectory("lstm", time_steps=9)
    made = growth(path, lags=[1, 2, 4, 8, 9])
    monkeypatch.setattr("rnnbp.flow.growing.DENSE", 11)
    monkeypatch.setattr("rnnbp.flow.jacobians.DENSE", 11)  # the state has 12 numbers: no matrix can be made
    found = growth(path)
    assert list(found.lags) == [1, 2, 4, 8, 9] and np.all(made.residual == 0) and np.max(found.residual) > 0
    assert relative_error(found.log_norm, made.log_norm) < tolerance()
    assert np.array_equal(found.log_vector, made.log_vector)
    clipped = replace(path, cell=rnnbp.cell("lstm/clip-errors:limit=1", 4, H))
    assert "whose backward is the derivative" in refusal(lambda: growth(clipped))
    assert "`growth` needs none" in refusal(lambda: step_spectra(path)) + refusal(lambda: product_spectra(path))


def test_growth_to_a_tolerance_and_without_matrices_that_could_be_made():
    path = trajectory("lstm", time_steps=9)
    made = growth(path, lags=[1, 5])
    rough = growth(path, lags=[1, 5], dense=0, tolerance=1e-2)
    assert np.max(rough.residual) > 1e-6 and np.all(rough.residual <= 1e-2)
    error = np.abs(np.exp(rough.log_norm - made.log_norm) - 1)
    assert 1e-12 < np.max(error) and np.all(error <= rough.residual)


def test_spectra_of_some_steps():
    path = trajectory("lstm")
    every, some = step_spectra(path), step_spectra(path, [3, 0])
    assert list(some.at) == [3, 0] and np.array_equal(some.log_values, every.log_values[[3, 0]])
    assert "from 0 to T − 1 = 4; got [2, 5]" in refusal(lambda: step_spectra(path, [2, 5]))
    assert "got none" in refusal(lambda: step_spectra(path, []))


def test_golub_and_kahan():
    """Against LAPACK: many sizes of gap, a matrix of rank 1, of rank 0, and equal singular values."""
    rng, n = np.random.default_rng(5), 40
    q, r = (np.linalg.qr(rng.standard_normal((n, n)))[0] for _ in range(2))
    spectra = [np.linspace(1, 2, n), 0.5 ** np.arange(n), np.eye(n)[0], np.zeros(n), np.ones(n)]
    a = np.stack([q @ np.diag(s) @ r for s in spectra])
    start = rng.standard_normal((len(a), n))
    asked = []

    def forward(v):
        asked.append(v)
        return np.einsum("bij,bj->bi", a, v)

    top = largest_singular(forward, lambda u: np.einsum("bij,bi->bj", a, u), start)
    assert np.max(np.abs(top.value - [2, 1, 1, 0, 1])) < tolerance()
    assert np.all(top.residual <= 1e-8 * top.value) and len(asked) <= n


def test_a_slope_is_that_of_the_nearest_line():
    x, y = np.array([1, 2, 5, 9]), np.random.default_rng(6).standard_normal((4, 2))
    assert relative_error(slope(x, y), np.polyfit(x, y, 1)[0]) < tolerance()
    assert np.all(np.isnan(slope(x[:1], y[:1])))
    level = 3.0 + 2.0**-51 * np.arange(20)[:, None]  # one rounding a step
    assert slope(np.arange(4), level[:4])[0] == 0 < slope(np.arange(20), level)[0]
    assert slope(np.arange(4), np.array([[0.0], [-np.inf], [1.0], [1.0]]))[0] == -np.inf


def test_what_is_refused():
    path = trajectory("lstm")
    assert "1 to T = 5; got 6" in refusal(lambda: growth(path, end=6))
    assert "from 1 to 3; got [0, 2]" in refusal(lambda: product_spectra(path, end=3, lags=[2, 0]))
    assert "got none" in refusal(lambda: product_spectra(path, lags=[]))
    clipped = rnnbp.cell("lstm/clip-errors:limit=1", 4, H)
    assert "whose backward is the derivative" in refusal(lambda: growth(replace(path, cell=clipped)))
    assert "whose backward is the derivative" in refusal(lambda: step_spectra(replace(path, cell=clipped)))
    broken = replace(path, params={**path.params, "U": np.full_like(path.params["U"], np.nan)})
    assert "stay finite" in refusal(lambda: growth(broken))
