"""Kinks, steep functions and small inputs: what is no rounding loosens nothing, and right code passes there."""

from __future__ import annotations

import numpy as np
import pytest

from rnnbp.checking.foreign.check import check_function
from rnnbp.checking.foreign.findings import Named, Remark
from rnnbp.checking.foreign.onesided import kink_of
from rnnbp.checking.foreign.slopes import STEPS
from rnnbp.errors import UserError

X = np.random.default_rng(1).standard_normal((4, 3))
NEAR = [0.0, 1e-12, 1e-9, 4e-9, 1e-8, 5e-8, 1e-6, 4e-6, 1e-4]


def at(value, x=X):
    x = x.copy()
    x[0, 0] = value
    return x


def absolute(x, wrong=1.0):
    return np.sum(np.abs(x)), lambda d: wrong * d * np.sign(x)


def rectified(x, at_zero=0.0):
    return np.maximum(x, 0), lambda d: d * np.where(x == 0, at_zero, x > 0)


def leaky(x):
    slope = np.where(x > 0, 1, 0.01)
    return x * slope, lambda d: d * slope


def steep(by, wrong=1.0):
    return lambda x: (np.sin(by * x), lambda d: d * by * np.cos(by * x) * wrong)


def remarks(report):
    return " | ".join(f.text for f in report.findings if isinstance(f, Remark))


# ---- kinks --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("near", NEAR)
@pytest.mark.parametrize("fn", [absolute, rectified, leaky])
@pytest.mark.parametrize("method", ["complex-step", "five-point"])
def test_right_code_passes_on_and_near_a_kink(fn, near, method):
    report = check_function(fn, at(near), method=method)
    assert report.passed and report.checks[0].tolerance <= 1e-5


@pytest.mark.parametrize("near", NEAR)
def test_a_kink_hides_no_fault_of_other_entries(near):
    spot = np.ones(X.shape)
    spot[1, 1] = 1.02
    for wrong in (1.02, spot):
        report = check_function(lambda x, wrong=wrong: absolute(x, wrong), at(near))
        assert not report.passed and report.checks[0].tolerance <= 1e-5
    assert not check_function(lambda x: (rectified(x)[0], lambda d: rectified(x)[1](d) * spot), at(near)).passed


@pytest.mark.parametrize("method", ["complex-step", "five-point"])
def test_any_slope_between_the_two_sides_passes_and_no_other(method):
    for slope in (0.0, 0.3, 0.9):
        report = check_function(lambda x, slope=slope: rectified(x, slope), at(0.0), method=method)
        assert report.passed and "x[0, 0] sits on a kink" in remarks(report)
    assert check_function(lambda x: rectified(x, 1.0), at(0.0), method=method).passed
    for slope in (-0.1, 1.001):
        report = check_function(lambda x, slope=slope: rectified(x, slope), at(0.0), method=method)
        assert [c.index for c in report.failures] == [(0, 0)]


def test_an_entry_beside_a_kink_has_the_slope_of_its_own_side():
    report = check_function(lambda x: (np.maximum(x, 0), lambda d: d * (x > 1e-5)), at(1e-6), method="five-point")
    assert not report.passed and "kink" not in remarks(report)


def test_ties_and_padding_sit_on_kinks():
    def largest(x):
        there = (x == np.max(x)).astype(float)
        return np.max(x), lambda d: d * there / there.sum()

    tied = at(3.0)
    tied[1, 2] = 3.0
    report = check_function(largest, tied)
    assert report.passed and "x[0, 0], x[1, 2] sit on a kink" in remarks(report)
    padded = X.copy()
    padded[2:] = 0
    assert "and 2 more sit on a kink" in remarks(check_function(leaky, padded))


@pytest.mark.parametrize("method", ["complex-step", "five-point"])
def test_padding_of_a_large_input_is_left_out_of_the_directions(method):
    x = np.random.default_rng(2).standard_normal((60, 50))
    x[30:] = 0
    report = check_function(leaky, x, method=method)
    assert report.passed and "zeros of x sit on kinks: the random directions leave them out" in remarks(report)
    assert not check_function(lambda x: (leaky(x)[0], lambda d: 1.001 * leaky(x)[1](d)), x, method=method).passed


def test_a_function_of_float32_may_have_kinks_too():
    def fn(x):
        y = np.maximum(np.real(x).astype("float32"), 0)
        return y, lambda d: d * (y > 0)

    report = check_function(fn, at(0.0))
    assert report.passed and report.checks[0].tolerance < 1e-3 and "kink" in remarks(report)
    assert not check_function(lambda x: (fn(x)[0], lambda d: 1.01 * fn(x)[1](d)), at(0.0)).passed


def test_the_slopes_of_both_sides_are_measured_and_a_smooth_point_has_one():
    steps = [STEPS["five-point"] / 8**k for k in range(6)]
    kink = kink_of(lambda h: np.array([np.exp(h) + abs(h), np.sin(h)]), steps, np.full(2, 1e-15))
    np.testing.assert_allclose([kink.low[0], kink.high[0]], [0, 2], atol=1e-9)
    assert np.isnan(kink.low[1]) and kink.holds(np.array([1.0, 1.0])).tolist() == [True, False]


# ---- steep functions, small inputs --------------------------------------------------------------------------------
@pytest.mark.parametrize("by", [3e3, 1e6])
def test_a_steep_function_is_held_to_the_tolerance_of_complex_steps(by):
    right, wrong = (check_function(steep(by, f), X) for f in (1.0, 1 + 5e-9))
    assert right.passed and not wrong.passed
    assert {(c.method, c.tolerance) for c in right.checks + wrong.checks} == {("complex-step", 1e-10)}


@pytest.mark.parametrize("method", ["complex-step", "five-point", "central"])
@pytest.mark.parametrize("scale", [1e-6, 1e-3, 1e6])
def test_small_and_large_inputs_have_steps_of_their_size(method, scale):
    for fn in (np.tanh, np.sin):
        slope = (lambda a: 1 - np.tanh(a) ** 2) if fn is np.tanh else np.cos
        right = lambda x, fn=fn, slope=slope: (fn(x / scale), lambda d: d / scale * slope(x / scale))  # noqa: B023
        assert check_function(right, X * scale, method=method).passed
        wrong = lambda x, right=right: (right(x)[0], lambda d: 1.0001 * right(x)[1](d))
        report = check_function(wrong, X * scale, method=method)
        assert not report.passed and not any(isinstance(f, Named) for f in report.findings)


def test_a_steep_function_with_kinks_is_differenced_with_small_steps():
    def fn(x, wrong=1.0):
        a = np.sin(1e3 * x)
        return np.abs(a), lambda d: d * 1e3 * np.cos(1e3 * x) * np.sign(a) * wrong

    report = check_function(lambda x: fn(x), X)
    assert report.passed and {(c.method, c.tolerance) for c in report.checks} == {("five-point", 1e-8)}
    assert not check_function(lambda x: fn(x, 1.00001), X).passed


def test_no_cause_is_named_and_the_report_says_so_where_differences_do_not_settle():
    def fn(x):
        waves = [np.sum(np.abs(np.sin(2.0**k * x))) / 2.0**k for k in range(50)]  # Takagi 1903: no derivative anywhere
        return sum(waves), lambda d: d * np.ones_like(x)

    report = check_function(fn, X)
    assert not report.passed and "differences of x do not settle" in remarks(report)
    assert not any(isinstance(f, Named) for f in report.findings)


def test_a_function_that_is_all_rounding_has_no_sure_verdict():
    report = check_function(lambda x: (np.abs(np.sin(1e12 * x)), lambda d: 3 * d * x), X)
    assert not report.passed and "no verdict by them is sure" in remarks(report)
    assert not any(isinstance(f, Named) for f in report.findings)


# ---- gradients and names of the wrong kind ------------------------------------------------------------------------
def test_a_complex_gradient_of_a_real_input_fails():
    report = check_function(lambda x: (np.sin(x), lambda d: d * np.cos(x) * (1 + 5j)), X)
    assert not report.passed and "the gradient of x is complex128, the input real" in report.failures[0].note


def test_names_that_are_no_strings_are_refused_in_one_line():
    with pytest.raises(UserError, match=r"names must be strings, one for each input; got \[1, 2\]"):
        check_function(lambda x, y: (x * y, lambda d: (d * y, d * x)), [X, X], names=[1, 2])


def test_no_rounding_lets_pass_what_is_off_by_more_than_a_thousandth():
    small = lambda x, wrong=1.0: (1e6 + 1e-8 * np.sum(np.abs(x)), lambda d: wrong * d * 1e-8 * np.sign(x))
    report = check_function(lambda x: small(x, 1.5), X)
    assert not report.passed and report.checks[0].tolerance <= 1e-3 and "undecided: x" in remarks(report)


def test_the_rounding_of_a_backward_is_told_and_not_excused():
    def saturated(x, wrong=1.0):
        s = 1 / (1 + np.exp(-x))
        return s, lambda d: d * s * (1 - s) * wrong

    report = check_function(lambda x: saturated(x), 10 * X + 30)
    assert not report.passed and "the rounding of backward itself explains the error of x" in remarks(report)
    wrong = check_function(lambda x: saturated(x, 1 + 1e-6), 10 * X + 30)
    assert not wrong.passed and "itself explains" not in remarks(wrong)


def test_an_entry_near_a_kink_in_float32_is_left_out_and_the_others_are_judged():
    def fn(x, wrong=1.0):
        y = np.maximum(np.real(x).astype("float32"), 0)
        return y, lambda d: wrong * d * (y > 0)

    report = check_function(lambda x: fn(x), at(1e-5))
    assert report.passed and "too much for a verdict there: 1 entries of x" in remarks(report)
    assert not check_function(lambda x: fn(x, 1.005), at(1e-5)).passed
