"""Fitted decays against curves whose rate is known, and numpy's polyfit."""

from __future__ import annotations

from math import inf, isnan, log

import numpy as np
import pytest
from helpers import refusal

from rnnbp.flow import decay


@pytest.mark.parametrize("factor", [0.999, 0.9, 0.25, 1e-3])
def test_an_exponential_has_its_rate_and_half_life(factor):
    found = decay(3.0 * factor ** np.arange(40.0))
    assert found.factor == pytest.approx(factor, rel=1e-12, abs=0)
    assert found.half_life == pytest.approx(log(2) / -log(factor), rel=1e-11, abs=0)
    assert (found.first, found.last) == (0, 39)


@pytest.mark.parametrize("factor", [1.0, 1.01, 2.0])
def test_what_does_not_decay_has_no_half_life(factor):
    found = decay(np.pi * factor ** np.arange(40.0))
    assert found.half_life == inf and found.factor == pytest.approx(factor, rel=1e-12, abs=0)
    assert (found.rate == 0) == (factor == 1)


def test_the_fit_is_that_of_least_squares_over_the_range():
    values = np.exp(np.random.default_rng(0).standard_normal(20))
    found = decay(values, 3, 11)
    assert found.rate == pytest.approx(-np.polyfit(np.arange(3, 12), np.log(values[3:12]), 1)[0], rel=1e-12, abs=0)
    assert (found.first, found.last) == (3, 11)


def test_how_far_it_is_from_exponential():
    """What is added to the logarithms here is orthogonal to every straight line: it is what the line leaves."""
    found = decay(np.exp(2 - 0.3 * np.arange(4) + 0.7 * np.array([1, -1, -1, 1])))
    assert found.rate == pytest.approx(0.3, rel=1e-12) and found.deviation == pytest.approx(0.7, rel=1e-12)
    assert decay(np.pi * 0.9 ** np.arange(40.0)).deviation == 0


def test_it_ends_where_nothing_is_left():
    gone = decay(np.array([4.0, 2.0, 1.0, 0.0, 7.0]))
    assert gone.last == 2 and gone.half_life == pytest.approx(1.0)
    assert decay(0.1 ** np.arange(400.0)).factor == pytest.approx(0.1)  # the last are denormal, then zero
    assert decay(0.1 ** np.arange(400.0)).last == 307
    at_once = decay(np.array([4.0, 0.0, 0.0]))
    assert at_once.rate == inf and at_once.half_life == 0 and at_once.factor == 0
    nothing = decay(np.zeros(3))
    assert isnan(nothing.rate) and isnan(nothing.half_life)


def test_refusals():
    assert "0 … 2; got 1 … 1" in refusal(lambda: decay(np.ones(3), 1, 1))
    assert "0 … 2; got 0 … 3" in refusal(lambda: decay(np.ones(3), 0, 3))
    assert "two lags" in refusal(lambda: decay(np.ones(1)))
    assert "finite" in refusal(lambda: decay(np.array([1.0, np.nan])))
    assert "none below zero" in refusal(lambda: decay(np.array([1.0, -1.0])))
