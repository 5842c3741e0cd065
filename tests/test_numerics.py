"""The array helpers: right values at the edges, and derivatives that pass or stop where they should."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from array_api_compat import device as device_of
from helpers import STEP, complex_step, frozen, relative_error

import rnnbp
from rnnbp import UserError, detach, numerics

EPS = float(np.finfo("float64").eps)
POINTS = frozen([-800.0, -30.0, -1.5, -1e-9, 0.0, 1e-9, 0.5, 3.0, 40.0, 800.0])


# ---- functions -------------------------------------------------------------------------------------------------------
def test_sigmoid(backend):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = backend.to_numpy(numerics.sigmoid(backend.xp, backend.asarray(POINTS)))
    with np.errstate(over="ignore"):
        wanted = 1 / (1 + np.exp(-POINTS))
    assert np.max(np.abs(found - wanted)) <= EPS and found[0] == 0.0 and found[-1] == 1.0
    slope = complex_step(backend, lambda z: backend.xp.sum(numerics.sigmoid(backend.xp, z), axis=-1), POINTS)
    assert np.max(np.abs(slope - wanted * (1 - wanted))) <= EPS


def test_relu(backend):
    points = frozen([-2.0, -0.0, 0.0, 1e-300, 3.0])
    found = backend.to_numpy(numerics.relu(backend.xp, backend.asarray(points)))
    assert np.array_equal(found, np.maximum(points, 0))
    slope = complex_step(backend, lambda z: backend.xp.sum(numerics.relu(backend.xp, z), axis=-1), points)
    assert np.array_equal(slope, [0, 0, 0, 1, 1])


@pytest.mark.parametrize("dtype", ["float32", "complex64"])
def test_functions_keep_the_dtype(backend, dtype):
    a = backend.asarray(POINTS[2:7], dtype)
    for f in (numerics.sigmoid, numerics.relu):
        assert f(backend.xp, a).dtype == a.dtype


# ---- detach ----------------------------------------------------------------------------------------------------------
def test_detach_drops_the_tangent_of_a_complex_step(backend):
    xp, points = backend.xp, frozen([0.5, -2.0])
    a = backend.asarray(points + 1j * STEP)
    assert detach(a).dtype == a.dtype and np.array_equal(backend.to_numpy(detach(a)), points)
    slope = complex_step(backend, lambda z: xp.sum(z * detach(z) * detach(z), axis=-1), points)
    assert relative_error(slope, points**2) < EPS


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_detach_leaves_real_numbers_as_they_are(backend, dtype):
    a = backend.asarray([0.5, -2.0], dtype)
    assert detach(a).dtype == a.dtype and np.array_equal(backend.to_numpy(detach(a)), backend.to_numpy(a))


def test_detach_stops_torch():
    torch = pytest.importorskip("torch")
    a = torch.tensor([3.0], dtype=torch.float64, requires_grad=True)
    (a * detach(a)).sum().backward()
    assert a.grad.item() == 3.0


def test_detach_stops_jax():
    jax = pytest.importorskip("jax")
    rnnbp.backend("jax")
    for way in (jax.grad, lambda f: jax.jit(jax.grad(f))):
        assert float(way(lambda a: a * detach(a))(3.0)) == 3.0


def test_detach_asks_operands_that_carry_their_own_derivative():
    class Dual:
        def __init__(self, value, tangent):
            self.value, self.tangent = value, tangent

        def detach(self):
            return Dual(self.value, 0.0)

    cut = detach(Dual(2.0, 5.0))
    assert (cut.value, cut.tangent) == (2.0, 0.0)
    assert detach(3.0) == 3.0


# ---- shapes ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("left", [(3, 4), (2, 3, 4), (5, 2, 3, 4)], ids=str)
@pytest.mark.parametrize("right", [(4, 6), (2, 4, 6)], ids=str)
def test_matmul(backend, left, right):
    rng = np.random.default_rng(0)
    a, w = rng.standard_normal(left), rng.standard_normal(right)
    found = backend.to_numpy(numerics.matmul(backend.xp, backend.asarray(a), backend.asarray(w)))
    assert relative_error(found, a @ w) < 4 * EPS


def test_fold_and_unfold(backend):
    a = np.arange(2 * 5 * 3 * 4.0).reshape(2, 5, 3, 4)
    rows = numerics.fold(backend.xp, backend.asarray(a))
    assert tuple(rows.shape) == (2, 15, 4) and np.array_equal(backend.to_numpy(rows)[1, 4], a[1, 1, 1])
    assert np.array_equal(backend.to_numpy(numerics.unfold(backend.xp, rows, 5)), a)


def test_packed_changes_the_layout_and_nothing_else(backend):
    a = np.arange(24.0).reshape(2, 3, 4)
    turned = numerics.packed(backend.xp, backend.xp.matrix_transpose(backend.asarray(a)))
    assert np.array_equal(backend.to_numpy(turned), np.swapaxes(a, -1, -2))
    if backend.name == "numpy":
        assert turned.flags.c_contiguous


def test_chunks(backend):
    a = np.arange(12.0).reshape(2, 6)
    parts = numerics.chunks(backend.asarray(a), 3)
    assert [backend.to_numpy(part).tolist() for part in parts] == [a[:, k : k + 2].tolist() for k in (0, 2, 4)]


def test_zeros_and_broadcast(device1):
    like = device1.asarray([1.0], "float32")
    found = numerics.zeros(device1.xp, (2, 3), like)
    assert (found.shape, found.dtype, str(device_of(found))) == ((2, 3), like.dtype, str(device_of(like)))
    spread = numerics.broadcast(device1.xp, found, (4, 1), 2)
    assert spread.shape == (4, 1, 2, 3)
    assert numerics.broadcast(device1.xp, found, (), 2) is found
    assert numerics.broadcast(device1.xp, found, (5, 2), 1).shape == (5, 2, 3)


# ---- what arrays are -------------------------------------------------------------------------------------------------
def test_freeze_gives_a_read_only_view_and_leaves_the_array_alone():
    a = np.zeros(3)
    view = numerics.freeze(a)
    with pytest.raises(ValueError, match="read-only"):
        view[0] = 1
    assert view.base is a and a.flags.writeable
    assert numerics.freeze("no array") == "no array"


def test_one_namespace(backend):
    a = backend.asarray([1.0])
    assert numerics.one_namespace(a=a, b=a) is backend.xp
    if backend.name != "numpy":
        with pytest.raises(UserError) as error:
            numerics.one_namespace(a=a, b=np.ones(1))
        kind = f"{type(a).__module__}.{type(a).__name__}"
        rule = "arrays must all come from one backend"
        assert str(error.value) == f"{rule}; a is {kind}, b is numpy.ndarray: convert with backend.asarray"


def test_real_dtype(backend):
    pairs = {"float32": "float32", "complex64": "float32", "float64": "float64", "complex128": "float64"}
    assert {d: numerics.real_dtype(backend.xp, backend.asarray([1.0], d)) for d in pairs} == pairs
    assert numerics.real_dtype(backend.xp, backend.asarray(np.array([1]))) == "int64"
    assert numerics.real_dtype(backend.xp, backend.asarray(np.array([True]))) == "bool"
