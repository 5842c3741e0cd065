"""Which parts of a sum are left out or scaled, from the sum and the parts: what can be told, and what cannot."""

from __future__ import annotations

import numpy as np
import pytest

from rnnbp.checking.foreign.bystep import ByStep
from rnnbp.checking.foreign.check import check_function
from rnnbp.checking.foreign.fits import pattern_of, patterns, row_of

PARTS = np.random.default_rng(1).standard_normal((3, 20))


def row(a, n):
    return row_of(a, n, np.zeros_like(n), 1e-10)


def test_a_sum_of_scaled_parts_has_its_factors():
    wanted = [0.0, 1.0, -2.5]
    found = row(np.array(wanted) @ PARTS, PARTS)
    np.testing.assert_allclose(found.weights, wanted, atol=1e-13)
    assert found.wrong.tolist() == [True, False, True] and not found.why


def test_a_right_sum_has_ones_and_no_error():
    found = row(PARTS.sum(axis=0), PARTS)
    assert found.error == 0 and (found.weights == 1).all() and not found.wrong.any()


def test_weights_that_cannot_be_told_apart_are_not_told():
    n = PARTS * 1.0
    n[1] = 2 * n[0]
    found = row(n[0] + n[1] + 0.3 * n[2], n)
    assert np.isnan(found.weights[:2]).all() and found.weights[2] == pytest.approx(0.3)
    faint = row(PARTS[0] + 0.3 * PARTS[2], PARTS * np.array([[1], [1e-12], [1]]))
    assert np.isnan(faint.weights[1]) and faint.weights[[0, 2]] == pytest.approx([1, 0.3])


@pytest.mark.parametrize(
    ("a", "n", "why"),
    [
        (PARTS[0], 0 * PARTS, "it should be zero"),
        (PARTS[0] * np.nan, PARTS, "it is not finite"),
        (PARTS[0, :4], PARTS[:, :4], "too few entries"),
        (PARTS[0] ** 2, PARTS, "a part is wrong in itself"),
    ],
)
def test_why_there_are_no_weights(a, n, why):
    found = row(a, n)
    assert found.weights is None and why in found.why and not found.wrong.any()


def test_parts_with_entries_of_their_own_are_judged_each():
    n = np.kron(np.eye(3), np.ones(4)) * PARTS[0, :12]
    a = n.sum(axis=0)
    a[4:8] = a[4:8] ** 2
    assert row(a, n).wrong.tolist() == [False, True, False]


@pytest.mark.parametrize("name", patterns(4))
def test_each_pattern_is_recognised_and_no_other(name):
    n = np.tril(np.ones((4, 4)))[..., None] * np.random.default_rng(2).standard_normal((4, 4, 9))
    a = np.sum(patterns(4)[name][..., None] * n, axis=1)
    assert pattern_of(a, n, 0 * n, 1e-10) == name
    assert pattern_of(a + 1e-6, n, 0 * n, 1e-10) == ""


def of_w(report):
    (table,) = (f for f in report.findings if isinstance(f, ByStep))
    return table


def test_a_single_weight_has_too_few_entries_for_factors_but_not_for_names():
    x = np.ones(4)

    def fn(w, carry):
        y = [w * x[0]]
        for t in range(1, 4):
            y.append(w * (x[t] + y[-1]))
        before = [0.0, *y[:-1]]

        def backward(dy):
            dw = da = 0.0
            for t in range(3, -1, -1):
                da = dy[t] + carry * w * da
                dw += da * (x[t] + before[t])
            return np.asarray(dw)

        return np.stack(y), backward

    def step(y, t, w):
        return (w * (x[t] + y),) * 2

    lost = of_w(check_function(lambda w: fn(w, 0), np.array(0.7), step=step, s0=0.0))
    assert lost.bug == "carry-dropped" and lost.where == "recurrence (s < t)"
    half = of_w(check_function(lambda w: fn(w, 0.5), np.array(0.7), step=step, s0=0.0))
    assert not half.bug and "too few entries" in str(half)
