"""Cells whose forward takes arrays and no operands: right ones pass, wrong ones fail, and neither stops a check."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from helpers import refusal

import rnnbp

SMALL = {"time_steps": 3, "batch": 2, "input_size": None, "hidden_size": None, "backend": "numpy", "diagnosis": False}


@dataclass(frozen=True)
class Ufuncs(rnnbp.PointwiseCell):
    """An Elman cell with NumPy's own tanh, whose gradient is `factor` times the right one."""

    factor: float = 1.0

    gates = ("h",)

    def pointwise(self, xp, a, s, p, e):
        del xp, s, p, e
        h = np.tanh(a[0])
        return (h,), lambda ds: ((self.factor * ds[0] * (1 - h * h),), (None,), {})


@pytest.mark.parametrize("method", ["complex-step", "five-point", "central", "taylor", "hessian"])
@pytest.mark.parametrize("factor", [1.0, 1.001])
def test_a_forward_of_arrays_alone_is_judged(method, factor):
    report = rnnbp.gradcheck(Ufuncs(3, 4, factor=factor), method=method, properties=False, **SMALL)
    assert report.passed == (factor == 1.0)
    assert all(np.isfinite(check.error) for check in report.checks)
    assert any("kinks were not looked for" in str(f) for f in report.findings)


def test_tangents_say_what_they_need():
    said = refusal(lambda: rnnbp.gradcheck(Ufuncs(3, 4), method="tangent", **SMALL))
    assert "array functions" in said and "TypeError" in said and "method five-point" in said
