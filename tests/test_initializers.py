"""How parameters are drawn: the published ranges, block by block, and the same numbers for the same seed."""

from __future__ import annotations

import numpy as np
import pytest

from rnnbp import UserError
from rnnbp.initializers import chrono, constant, glorot_uniform, identity, normal, orthogonal, torch_uniform


@pytest.mark.parametrize("blocks", [1, 4])
def test_glorot_uniform(blocks):
    """Glorot & Bengio 2010, eq. 16, fan_out being one gate's columns."""
    w = glorot_uniform(blocks)(np.random.default_rng(0), (30, 50 * blocks))
    limit = np.sqrt(6 / (30 + 50))
    assert w.shape == (30, 50 * blocks) and w.dtype == np.float64
    assert 0.99 * limit < np.max(w) < limit and -limit < np.min(w) < -0.99 * limit
    assert abs(np.mean(w)) < 5 * limit / np.sqrt(3 * w.size)  # five standard errors


def test_normal():
    w = normal(0.1)(np.random.default_rng(0), (100, 100))
    assert abs(np.std(w) - 0.1) < 5 * 0.1 / np.sqrt(2 * w.size) and abs(np.mean(w)) < 5 * 0.1 / np.sqrt(w.size)


def test_constant():
    rng = np.random.default_rng(0)
    assert constant(1.5)(rng, (3,)).tolist() == [1.5] * 3
    assert constant(0, 1, 2)(rng, (6,)).tolist() == [0, 0, 1, 1, 2, 2]
    blocks = constant(0, 1)(rng, (2, 4))
    assert blocks.tolist() == [[0, 0, 1, 1]] * 2 and blocks.dtype == np.float64
    blocks[0, 0] = 5.0  # an array of its own
    assert blocks[1, 0] == 0.0 and rng.random() == np.random.default_rng(0).random()


@pytest.mark.parametrize("init", [glorot_uniform(2), normal(1.0), orthogonal(1.0, 2), torch_uniform(2), chrono(9)])
def test_the_seed_fixes_everything(init):
    first, again, other = (init(np.random.default_rng(seed), (4, 6)) for seed in (1, 1, 2))
    assert np.array_equal(first, again) and not np.array_equal(first, other)


@pytest.mark.parametrize(("rows", "width"), [(8, 8), (12, 5), (5, 12)])
@pytest.mark.parametrize("blocks", [1, 3])
def test_orthogonal(rows, width, blocks):
    w = orthogonal(1.5, blocks)(np.random.default_rng(0), (rows, width * blocks))
    for q in np.split(w, blocks, axis=-1):
        gram = q.T @ q if rows >= width else q @ q.T
        assert np.allclose(gram, 1.5**2 * np.eye(min(rows, width)), rtol=0, atol=1e-14)
    assert w.shape == (rows, width * blocks) and w.dtype == np.float64


def test_orthogonal_is_uniform_over_all_rotations():
    """Of Haar's distribution every entry has mean 0 and the trace variance 1; QR alone has a negative diagonal."""
    rng = np.random.default_rng(0)
    drawn = np.stack([orthogonal()(rng, (3, 3)) for _ in range(4000)])
    traces = np.trace(drawn, axis1=-2, axis2=-1)
    assert np.max(np.abs(np.mean(drawn, axis=0))) < 5 * np.sqrt(1 / 3 / 4000)  # five standard errors
    assert abs(np.var(traces) - 1) < 5 * np.sqrt(2 / 4000)


def test_torch_uniform():
    w = torch_uniform(4)(np.random.default_rng(0), (30, 400))
    assert 0.099 < np.max(w) < 0.1 and -0.1 < np.min(w) < -0.099


def test_chrono():
    """1/(1 − σ(b)), the time that a gate keeps a memory, is uniform from 2 to T_max."""
    b = chrono(50)(np.random.default_rng(0), (20000,))
    kept = 1 + np.exp(b)
    assert 2 <= np.min(kept) < 2.1 and 49.9 < np.max(kept) <= 50
    assert abs(np.mean(kept) - 26) < 5 * 48 / np.sqrt(12 * 20000)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda rng: orthogonal()(rng, (3,)), r"orthogonal needs a matrix; got shape \(3,\)"),
        (lambda rng: glorot_uniform()(rng, (3,)), "glorot_uniform needs a matrix"),
        (lambda rng: identity()(rng, (3,)), "identity needs a matrix"),
        (lambda _: chrono(2), "chrono needs T_max above 2, in steps; got 2"),
        (lambda _: chrono(float("nan")), "chrono needs T_max above 2"),
    ],
)
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(UserError, match=message):
        call(np.random.default_rng(0))
