"""Eigenvalues of a Hessian and curvature along a line, against known matrices, dense Hessians and differences."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import refusal, relative_error

import rnnbp
from rnnbp.flow import curvature_along, hessian_eigenvalues
from rnnbp.losses import CrossEntropy
from rnnbp.model import Model
from rnnbp.stacking import stack
from rnnbp.truncation import Window

SHAPES = {"W": (4, 10), "b": (60,)}
N = 100
SPECTRUM = np.concatenate([[9.0, 7.5, -8.0, 6.0, -5.0, 4.0], np.linspace(-2, 2, N - 6)])
WANTED = {"magnitude": [9.0, -8.0, 7.5], "largest": [9.0, 7.5, 6.0], "smallest": [-8.0, -5.0, -2.0]}
POINT = {name: np.ones(shape) for name, shape in SHAPES.items()}


def flat(named):
    return np.concatenate([named[name].reshape(-1) for name in named])


def unflat(v, like):
    """The arrays that `flat` laid side by side."""
    found, start = {}, 0
    for name, value in like.items():
        found[name] = v[start : start + value.size].reshape(value.shape)
        start += value.size
    return found


def quadratic(spectrum):
    """θᵀ A θ / 2 with those eigenvalues: A, and the gradient A θ."""
    q = np.linalg.qr(np.random.default_rng(1).standard_normal((len(spectrum), len(spectrum)))).Q
    a = q @ np.diag(spectrum) @ q.T
    return a, lambda p: unflat(a @ flat(p), p)


@pytest.fixture(scope="module")
def network():
    """The loss of a small model, its gradient, a point, and the Hessian there by central differences."""
    rng = np.random.default_rng(2)
    model = Model(stack("lstm", 2, 3), 2, CrossEntropy())
    point = {name: w + 0.3 * rng.standard_normal(w.shape) for name, w in model.init(rng).items()}
    xs, targets = rng.standard_normal((5, 4, 2)), rng.integers(0, 2, (5, 4))

    def loss(p):
        return model(p, xs, targets)[0]

    def gradient(p, windows=None):
        return model(p, xs, targets)[2](windows)[0]

    theta, step = flat(point), 1e-5
    moved = [[flat(gradient(unflat(theta + s * e, point))) for s in (step, -step)] for e in np.eye(theta.size)]
    dense = np.array([(up - down) / (2 * step) for up, down in moved])
    return loss, gradient, point, (dense + dense.T) / 2


@pytest.mark.parametrize("which", WANTED)
def test_the_ends_of_a_known_spectrum(which):
    a, gradient = quadratic(SPECTRUM)
    found = hessian_eigenvalues(gradient, POINT, 3, which)
    assert relative_error(found.values, WANTED[which]) < 1e-13
    vectors = np.array([flat({name: v[i] for name, v in found.vectors.items()}) for i in range(3)])
    assert relative_error(vectors @ vectors.T, np.eye(3)) < 1e-13
    assert {name: v.shape for name, v in found.vectors.items()} == {n: (3, *shape) for n, shape in SHAPES.items()}
    true = np.linalg.norm(a @ vectors.T - vectors.T * found.values, axis=0)
    assert np.allclose(found.residuals, true, rtol=0, atol=1e-12) and np.all(true <= 1e-8 * 9)


def test_it_needs_few_products_where_the_ends_stand_out():
    _, gradient = quadratic(SPECTRUM)
    assert hessian_eigenvalues(gradient, POINT).products < 40
    assert hessian_eigenvalues(gradient, POINT, tolerance=1e-3).products < hessian_eigenvalues(gradient, POINT).products


def test_stopped_early_it_says_how_far_off_it_may_be():
    a, gradient = quadratic(SPECTRUM)
    found = hessian_eigenvalues(gradient, POINT, 2, steps=8)
    assert found.products == 8 and np.all(found.residuals > 1e-3)
    vectors = np.array([flat({name: v[i] for name, v in found.vectors.items()}) for i in range(2)])
    assert np.allclose(found.residuals, np.linalg.norm(a @ vectors.T - vectors.T * found.values, axis=0), rtol=1e-12)
    for value, residual in zip(found.values, found.residuals, strict=True):
        assert np.min(np.abs(SPECTRUM - value)) <= residual


def test_vectors_stay_orthogonal_where_little_is_left_of_a_product():
    _, gradient = quadratic(np.geomspace(1, 1e-12, 40))
    found = hessian_eigenvalues(gradient, {"w": np.ones(40)}, 40, tolerance=0.0)
    assert np.abs(found.vectors["w"] @ found.vectors["w"].T - np.eye(40)).max() < 1e-14 * 40
    assert np.allclose(found.values, np.geomspace(1, 1e-12, 40), rtol=0, atol=1e-14)


@pytest.mark.parametrize(
    ("spectrum", "k", "wanted"),
    [
        ([2.0] * 5, 3, [2, 2, 2]),
        ([0.0] * 5, 2, [0, 0]),
        ([5.0, 5.0, 1.0], 2, [5, 1]),  # one copy, as it says
        ([5.0, 5.0, 1.0], 3, [5, 5, 1]),
        ([3.0] + [0.0] * 40, 4, [3, 0, 0, 0]),
        ([-4.0], 1, [-4]),
    ],
)
def test_an_eigenvalue_that_is_there_several_times(spectrum, k, wanted):
    a, gradient = quadratic(spectrum)
    found = hessian_eigenvalues(gradient, {"w": np.ones(len(a))}, k)
    assert np.allclose(found.values, wanted, rtol=0, atol=1e-12)
    assert np.allclose(a @ found.vectors["w"].T, found.vectors["w"].T * found.values, rtol=0, atol=1e-7)


@pytest.mark.parametrize("which", WANTED)
def test_of_a_model_they_are_those_of_its_dense_hessian(which, network):
    _, gradient, point, dense = network
    every = np.linalg.eigvalsh(dense)
    key = {"magnitude": -abs(every), "largest": -every, "smallest": every}[which]
    found = hessian_eigenvalues(gradient, point, 4, which)
    assert np.allclose(found.values, every[np.argsort(key)[:4]], rtol=0, atol=1e-8)  # what differences are good for
    other = hessian_eigenvalues(gradient, point, 4, which, seed=5)
    assert relative_error(found.values, other.values) < 1e-12 and list(found.vectors) == list(point)


def test_curvature_along_the_gradient_and_other_directions(network):
    loss, gradient, point, dense = network
    g = flat(gradient(point))
    along = curvature_along(gradient, point)
    assert along == pytest.approx(g @ dense @ g / (g @ g), abs=1e-8)
    lines = [float(loss(unflat(flat(point) + s * g / np.linalg.norm(g), point))) for s in (1e-4, 0.0, -1e-4)]
    assert along == pytest.approx((lines[0] - 2 * lines[1] + lines[2]) / 1e-8, abs=1e-6)
    found = hessian_eigenvalues(gradient, point, 1, "smallest")
    first = {name: 7 * v[0] for name, v in found.vectors.items()}
    assert curvature_along(gradient, point, first) == pytest.approx(found.values[0], rel=1e-12)


def test_a_gradient_of_no_function_is_refused(network):
    _, gradient, point, _ = network
    windows = [Window(0, 0, 2), Window(2, 2, 5)]
    assert "symmetric" in refusal(lambda: hessian_eigenvalues(lambda p: gradient(p, windows), point, 2))


def test_refusals(network):
    _, gradient, point, _ = network
    assert "did you mean largest?" in refusal(lambda: hessian_eigenvalues(gradient, point, 1, "largst"))
    assert "k must be 1 to 5" in refusal(lambda: hessian_eigenvalues(gradient, point, 6, steps=5))
    low = {name: w.astype("float32") for name, w in point.items()}
    assert "float64" in refusal(lambda: hessian_eigenvalues(gradient, low))
    assert "(60,) for b; got none" in refusal(lambda: hessian_eigenvalues(lambda p: {"W": p["W"]}, POINT))
    assert "got (2,)" in refusal(lambda: curvature_along(gradient, point, {n: np.ones(2) for n in point}))
    assert "not zero" in refusal(lambda: curvature_along(lambda p: {"w": 0 * p["w"]}, {"w": np.ones(3)}))
    wild = {"w": np.zeros(3)}
    with np.errstate(all="ignore"):
        assert "finite" in refusal(lambda: hessian_eigenvalues(lambda p: {"w": np.inf * p["w"]}, wild))
    assert "stays complex" in refusal(lambda: hessian_eigenvalues(lambda p: {"w": abs(p["w"])}, wild))


def test_nothing_of_the_point_is_written_to(network):
    _, gradient, point, _ = network
    fixed = {name: w.copy() for name, w in point.items()}
    for w in fixed.values():
        w.flags.writeable = False
    assert np.isfinite(hessian_eigenvalues(gradient, fixed).values).all() and rnnbp.hvp(gradient, fixed, point)
