"""The tests' own tools: they must see the faults that are planted, and be exact themselves."""

from __future__ import annotations

import numpy as np
import pytest
from cases import MASK, RESETS
from helpers import H, I, agree, complex_step, gradients, numeric, problem, relative_error
from toy_cells import FAULTS, Faulty

import rnnbp


def test_a_right_toy_passes(backend):
    q = problem(Faulty(I, H))
    agree(gradients(q, backend), numeric(q))


@pytest.mark.parametrize("fault", FAULTS)
def test_planted_faults_are_seen(backend, fault):
    q = problem(Faulty(I, H, fault=fault))
    spoiled = gradients(q, backend)
    with pytest.raises(AssertionError, match="above"):
        agree(spoiled, numeric(q))
    assert relative_error(spoiled["U"], numeric(q)["U"]) > 1e-4


def test_agreement_is_asked_of_every_tensor():
    right = {"W": np.ones(3), "b": np.ones(2)}
    agree(right, right)
    for wrong in ({"W": np.ones(3)}, right | {"b": np.ones((1, 2))}, right | {"b": np.array([1, np.nan])}):
        with pytest.raises(AssertionError):
            agree(wrong, right)
    with pytest.raises(AssertionError):
        agree({"b": np.full(2, 1e-300)}, {"b": np.zeros(2)})


def test_complex_steps_are_exact():
    a = np.random.default_rng(0).standard_normal((7, 9))  # more entries than go into one chunk
    found = complex_step(rnnbp.backend("numpy"), lambda z: np.sum(np.sin(z) * z, axis=(-2, -1)), a)
    assert relative_error(found, np.cos(a) * a + np.sin(a)) < 1e-15


def test_flags_differ_in_every_way():
    assert MASK.any() and RESETS.any() and not np.array_equal(~MASK, RESETS) and (RESETS & ~MASK).any()
