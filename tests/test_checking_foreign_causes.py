"""Faults named from numbers, gradients that are refused, and bad input told in one line."""

from __future__ import annotations

import numpy as np
import pytest

from rnnbp.checking.bugs import BUGS
from rnnbp.checking.foreign.causes import clipped, simple_causes
from rnnbp.checking.foreign.check import check_function
from rnnbp.checking.foreign.properties import NAMES
from rnnbp.checking.properties.examination import Properties
from rnnbp.errors import UserError

RIGHT = np.random.default_rng(0).standard_normal((3, 4, 4))


def without(axis, index):
    a = RIGHT.copy()
    a.swapaxes(0, axis)[index] = 0
    return a


# ---- names --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("analytic", "bug", "seen"),
    [
        (0 * RIGHT, "all-zero", BUGS["all-zero"]),
        (-RIGHT, "sign", BUGS["sign"]),
        (RIGHT / 5, "factor", "the gradient is 1/5 of the right one"),
        (3 * RIGHT, "factor", "the gradient is 3 times the right one"),
        (0.37 * RIGHT, "factor", "the gradient is 0.37 times the right one"),
        (RIGHT.swapaxes(1, 2), "transposed", BUGS["transposed"]),
        (without(0, 0), "first-step-skipped", "zero at the first index of axis 0, and right elsewhere"),
        (without(1, -1), "last-step-skipped", "zero at the last index of axis 1, and right elsewhere"),
    ],
)
def test_a_plain_fault_is_named(analytic, bug, seen):
    cause = simple_causes({"W": analytic}, {"W": RIGHT})["W"]
    assert cause.bug == bug in BUGS and cause.seen.endswith(seen)


@pytest.mark.parametrize("analytic", [RIGHT, RIGHT + 1e-3, without(0, 0) * 1.01, RIGHT * np.nan, np.abs(RIGHT)])
def test_nothing_is_named_without_an_explanation_of_all(analytic):
    assert simple_causes({"W": analytic}, {"W": RIGHT}) == {}


# ---- clipping -----------------------------------------------------------------------------------------------------
def normalised(gradients, to=1.0):
    norm = np.sqrt(sum(np.sum(g**2) for g in gradients.values()))
    return {name: g * to / norm for name, g in gradients.items()}


TWO = {"W": RIGHT, "b": RIGHT[0] + 1}


@pytest.mark.parametrize(
    ("analytic", "reason"),
    [
        ({n: np.clip(g, -0.5, 0.5) for n, g in TWO.items()}, "entries are exactly ±0.5"),
        (normalised(TWO), "the norm of all of them together is 1,"),
        (normalised(TWO, 5.0), "the norm of all of them together is 5,"),
        ({n: g / np.linalg.norm(g) for n, g in TWO.items()}, r"each with a round norm (1, 1)"),
    ],
)
def test_clipped_and_normalised_gradients_are_recognised(analytic, reason):
    assert reason in clipped(analytic, TWO)


def test_neither_right_gradients_nor_other_faults_are_called_clipped():
    ones = {"W": np.ones((4, 4))}
    for analytic, numeric in [(TWO, TWO), ({"W": -RIGHT}, {"W": RIGHT}), (ones, {"W": 2 * ones["W"]}), ({}, {})]:
        assert clipped(analytic, numeric) == ""
    assert clipped({"W": 0 * RIGHT}, {"W": RIGHT}) == ""
    assert clipped({"W": np.sign(RIGHT)}, {"W": -RIGHT}) == ""
    assert clipped({"W": RIGHT * np.nan}, {"W": RIGHT}) == ""


def test_gradients_clipped_in_a_backward_are_refused():
    w = np.array([1.0, 2.0, 3.0, -4.0])
    with pytest.raises(UserError, match=r"clipped or normalised.*3 entries are exactly ±5"):
        check_function(lambda w: (np.sum(w**3), lambda: np.clip(3 * w**2 * 1.0, -5, 5)), w)
    with pytest.raises(UserError, match=r"clipped or normalised.*a cotangent 1e\+06 times as large"):
        check_function(lambda w: (w**3, lambda d: np.clip(d * 3 * w**2, -1e3, 1e3)), w)


# ---- properties ---------------------------------------------------------------------------------------------------
def accumulates():
    total = np.zeros(3)

    def fn(v):
        def backward(d):
            total[:] += 2 * v * d
            return total.copy()

        return v**2, backward

    return fn


def writes_input(v):
    y = v**2

    def backward(d):
        v[:] *= 2 * d
        return v.copy()

    return y, backward


def writes_cotangent(v):
    def backward(d):
        d *= 2 * v
        return d.copy()

    return v**2, backward


@pytest.mark.parametrize(
    ("fn", "fault"),
    [
        (lambda v: (v**2, lambda d: 2 * v * d + v), "NOT zero at zero cotangent (function): dv = v itself"),
        (lambda v: (v**2, lambda d: 2 * v * d + 1), "NOT zero at zero cotangent (function): max |dv| = 1"),
        (lambda v: (v**2, lambda d: 2 * v * d**3), "NOT linear in the cotangent (function): dv differs by"),
        (accumulates(), "NOT repeatable (function): dv differs by"),
        (writes_input, "NOT inputs untouched (function): v written to"),
        (writes_cotangent, "NOT inputs untouched (function): the cotangent written to"),
    ],
)
def test_a_missed_property_fails_the_report(fn, fault):
    report = check_function(fn, np.array([1.0, -2.0, 0.5]))
    assert not report.passed and fault in str(report)


def test_a_backward_that_can_be_called_once_is_no_fault():
    def fn(v):
        left = [v]
        return v**2, lambda d: 2 * left.pop() * d

    report = check_function(fn, np.array([1.0, -2.0]))
    assert report.passed and set(examined(report)) == {*NAMES} - {"repeatable"}
    assert set(examined(check_function(lambda v: (v**2, lambda d: 2 * v * d), np.array([1.0, -2.0])))) == {*NAMES}


@pytest.mark.parametrize("wrong", [np.nan, np.array([0.0, np.nan]), np.array([np.inf, np.nan])])
def test_a_gradient_that_is_not_finite_fails_and_is_repeatable(wrong):
    report = check_function(lambda v: (v**2, lambda d: 2 * v * d + wrong), np.array([1.0, -2.0]))
    assert [c.tensor for c in report.failures] == ["v"]
    assert examined(report)["repeatable"] == "" == examined(report)["linear in the cotangent"]


def examined(report):
    """Each property asked for, with how it is missed."""
    (found,) = (f for f in report.findings if isinstance(f, Properties))
    return found.missed["function"]


# ---- bad input ----------------------------------------------------------------------------------------------------
V = np.array([1.0, 2.0])


def right(v):
    return v**2, lambda d: 2 * v * d


@pytest.mark.parametrize(
    ("fn", "inputs", "options", "line"),
    [
        (right, V, {"method": "complexstep"}, "unknown method 'complexstep': did you mean complex-step"),
        (right, V, {"extent": "all"}, "unknown extent 'all'"),
        (right, V, {"seed": -1}, "seed must be an integer of at least 0; got -1"),
        (3, V, {}, "fn must be a function; got 3"),
        (lambda v: v**2, V, {}, r"fn must return \(value, backward\); got one array of shape \(2,\)"),
        (lambda v: (v, v, v), V, {}, r"fn must return \(value, backward\); got a tuple of 3"),
        (lambda v: (v, v), V, {}, "backward a function; got one array of shape .*give a separate backward"),
        (lambda v: (v, lambda: v), V, {}, r"takes no cotangent needs a scalar value; got shape \(2,\)"),
        (lambda v: ("x", right(v)[1]), V, {}, "the value must be a number or an array; got str 'x'"),
        (lambda v: (v * np.nan, right(v)[1]), V, {}, "the value must be finite at the given inputs; got nan"),
        (lambda v: (v.astype(int), right(v)[1]), V, {}, "the value must be of a real floating dtype; got int64"),
        (lambda v: (v, lambda d: "x"), V, {}, "in the order of the inputs v; got str 'x'"),  # noqa: ARG005
        (lambda v: (v, lambda d: (d, d)), V, {}, "backward returned 2 gradients; the inputs are 1: v"),
        (lambda v: (v, lambda d: {"w": d}), V, {}, "returned a gradient of w; the inputs are v"),
        (lambda v: (v, lambda d: None), V, {}, "in the order of the inputs v; got NoneType None"),  # noqa: ARG005
        (lambda v: (v, lambda d: [None]), V, {}, r"no gradient of any input \(v\)"),  # noqa: ARG005
        (lambda v: (v, lambda d: ["x"]), V, {}, "the gradient of v must be a number or an array; got str 'x'"),  # noqa: ARG005
        (right, np.array([1.0, np.inf]), {}, r"inputs must be finite; v\[1\] is inf"),
        (right, V * 1j, {}, "inputs must be real; v is complex128"),
        (right, V.astype("float16"), {}, "unknown dtype of input v 'float16'"),
        (right, np.array([1, 2]), {}, "needs an input of a floating dtype; got v"),
        (right, V, {"names": ["a", "b"]}, "names must be one for each of the 1 inputs"),
        (right, {"v": V}, {"names": ["v"]}, "a mapping has its own: leave names out"),
        (right, [[[1.0], [1.0, 2.0]]], {}, "an input is a list that makes no array"),
        (lambda v: (v + np.random.default_rng().random(2), right(v)[1]), V, {}, "two calls differ"),
    ],
)
def test_bad_input_is_one_clear_line(fn, inputs, options, line):
    with pytest.raises(UserError, match=line) as caught:
        check_function(fn, inputs, **options)
    assert "\n" not in str(caught.value)


def test_a_gradient_of_another_shape_is_a_check_that_failed():
    def fn(x, W):
        return x @ W, lambda d: (d @ W.T, (x.T @ d).T)

    report = check_function(fn, (np.ones((2, 3)), np.ones((3, 4))))
    assert [c.tensor for c in report.failures] == ["W"]
    assert "the gradient of W has shape (4, 3), the input (3, 4): it looks transposed" in str(report)


def test_a_gradient_that_is_not_finite_fails():
    report = check_function(lambda v: (v**2, lambda d: d * np.array([2.0, np.nan])), V)
    assert not report.passed and report.worst.index == (1,)
