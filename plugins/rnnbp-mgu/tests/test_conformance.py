"""The conformance suite of rnnbp over both forms of the cell, and over forms of it with a planted fault."""

from __future__ import annotations

import pytest
import rnnbp_mgu

from rnnbp import sigmoid
from rnnbp.testing import check_cell, parametrize_with_checks

FORMS = ["mgu", "mgu:bias=false", "mgu:reset=before", "mgu:reset=before,bias=false"]


@parametrize_with_checks(FORMS, backend="numpy")
def test_conformance(cell, check):
    check(cell)


def test_on_array_api_strict():
    for form in FORMS:  # the form that resets before the product is a plain Cell, which has nothing to trace
        left_out = [name for name, reason in check_cell(form, backend="strict").left_out]
        assert left_out == ["traceable"] * ("reset=before" in form)


class SlopeForgotten(rnnbp_mgu.MGU):
    """The slope σ' of the gate is missing."""

    def pointwise(self, xp, a, s, p, e):
        s1, back = super().pointwise(xp, a, s, p, e)
        f = sigmoid(xp, a[0])

        def backward(ds1):
            (df, dv, du), ds, dp = back(ds1)
            return (df / (f * (1 - f)), dv, du), ds, dp

        return s1, backward


class CarryDropped(rnnbp_mgu.ResetBeforeMGU):
    """The error of the state is not carried to the step before."""

    def step(self, xp, p, x, s, e):
        s1, back = super().step(xp, p, x, s, e)
        return s1, lambda ds1: (*back(ds1)[:2], (None,))


class Real(rnnbp_mgu.MGU):
    """The derivatives are right, but a complex number loses its imaginary part in the backward."""

    def pointwise(self, xp, a, s, p, e):
        s1, back = super().pointwise(xp, a, s, p, e)

        def backward(ds1):
            da, (dh,), dp = back(ds1)
            return tuple(map(xp.real, da)), (xp.real(dh),), dp

        return s1, backward


@pytest.mark.parametrize(
    ("wrong", "name"),
    [
        (SlopeForgotten, "sigma-prime-missing (σ' of gate f)"),
        (CarryDropped, "carry-dropped (the error of h, by the step itself)"),
    ],
)
def test_a_planted_fault_in_the_gradient_is_named(wrong, name):
    with pytest.raises(AssertionError) as error:
        check_cell(wrong, backend="numpy")
    message = str(error.value)
    assert message.startswith(f"{wrong.__name__} on backend numpy fails ")
    assert "\n  gradients-by-complex-step: " in message and f"diagnosis: {name}: " in message
    assert "zero-at-zero-cotangent" not in message


def test_a_planted_fault_beside_the_gradient_fails_its_check_alone():
    with pytest.raises(AssertionError, match="^Real on backend numpy fails 1 of .*\n  complex-safe: "):
        check_cell(Real, backend="numpy")
