"""The conformance suite of rnnbp over every form of the cells, and over forms with a planted fault."""

from __future__ import annotations

import pytest
import rnnbp_recent.parallel
from rnnbp_recent.mingru import MinGRU, ParallelMinGRU
from rnnbp_recent.minlstm import MinLSTM
from rnnbp_recent.slstm import SLSTM

from rnnbp.testing import check_cell, parametrize_with_checks

FORMS = [
    "slstm",
    "slstm:forget=exp",
    "mingru",
    "mingru:positive=true,bias=false",
    "mingru:parallel=false",
    "mingru:parallel=false,positive=true",
    "minlstm",
    "minlstm:parallel=false",
]


@parametrize_with_checks(FORMS, backend="numpy")
def test_conformance(cell, check):
    check(cell)


@pytest.mark.parametrize("form", FORMS)
def test_on_array_api_strict(form):
    assert not check_cell(form, backend="strict").left_out


class NormaliserForgotten(SLSTM):
    """No error reaches n' through the quotient c' / n'."""

    def pointwise(self, xp, a, s, p, e):
        s1, back = super().pointwise(xp, a, s, p, e)
        (_, c1, n1, _), o = s1, 1 / (1 + xp.exp(-a[3]))

        def backward(ds1):
            dh1, dc1, dn1, dm1 = ds1
            return back((dh1, dc1, dn1 + dh1 * o * c1 / (n1 * n1), dm1))

        return s1, backward


class StabiliserConstant(SLSTM):
    """No error leaves m' for what it is made of."""

    def pointwise(self, xp, a, s, p, e):
        s1, back = super().pointwise(xp, a, s, p, e)
        return s1, lambda ds1: back((*ds1[:3], xp.zeros_like(ds1[3])))


class SharesNotSummed(MinLSTM):
    """The input gate's error, as if the two gates did not have to add up to one."""

    def pointwise(self, xp, a, s, p, e):
        s1, back = super().pointwise(xp, a, s, p, e)

        def backward(ds1):
            (df, di, dn), ds, dp = back(ds1)
            return (df, 0.5 * di, dn), ds, dp

        return s1, backward


class SlopeForgotten(MinGRU):
    """The slope of σ is missing."""

    def pointwise(self, xp, a, s, p, e):
        s1, back = super().pointwise(xp, a, s, p, e)
        z = 1 / (1 + xp.exp(-a[0]))

        def backward(ds1):
            (dz, dn), ds, dp = back(ds1)
            return (dz / (z * (1 - z)), dn), ds, dp

        return s1, backward


@pytest.mark.parametrize("wrong", [NormaliserForgotten, StabiliserConstant, SharesNotSummed, SlopeForgotten])
def test_a_planted_fault_is_found(wrong):
    with pytest.raises(AssertionError, match=f"^{wrong.__name__} on backend numpy fails "):
        check_cell(wrong, backend="numpy", checks=["gradients-by-complex-step"])


def same_step(xp, a, dhs, dh):
    """The errors of the states with a_t in the place of a_{t+1}."""
    return xp.flip(rnnbp_recent.parallel.recurrence(xp, xp.flip(a, axis=-3), xp.flip(dhs, axis=-3), dh), axis=-3)


def test_a_planted_fault_in_the_parallel_scan_is_found(monkeypatch):
    """By what looks at the scan as a whole, and by what compares it with the loop; a scan of one step has no fault."""
    monkeypatch.setattr(rnnbp_recent.parallel, "recurrence_backward", same_step)
    with pytest.raises(AssertionError) as error:
        check_cell(ParallelMinGRU, backend="numpy")
    for check in ("gradients-by-complex-step", "fast-path-equals-loop", "gradients-under-truncation"):
        assert f"\n  {check}: " in str(error.value)
