"""How parameters are drawn: the published ranges, block by block, and the same numbers for the same seed."""

from __future__ import annotations

import numpy as np
import pytest

from rnnbp.initializers import constant, glorot_uniform, normal


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


@pytest.mark.parametrize("init", [glorot_uniform(2), normal(1.0)])
def test_the_seed_fixes_everything(init):
    first, again, other = (init(np.random.default_rng(seed), (4, 6)) for seed in (1, 1, 2))
    assert np.array_equal(first, again) and not np.array_equal(first, other)
