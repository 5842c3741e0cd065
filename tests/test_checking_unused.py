"""Tensors that a loss does not depend on: their derivative is zero by every method, and a gradient of zero is right."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

import rnnbp
from rnnbp.checking.methods.numeric import Asked
from rnnbp.checking.methods.registry import METHODS
from rnnbp.checking.subjects.subject import Subject
from rnnbp.errors import UserError
from rnnbp.testing import check_cell


@dataclass(frozen=True)
class Forgetful(rnnbp.PointwiseCell):
    """h' = tanh(x W + b), whose state nothing reads."""

    gates = ("h",)
    recurrent = ()
    told: float = 0.0

    def pointwise(self, xp, a, s, p, e):
        del s, p, e
        y = xp.tanh(a[0])
        dh = None if not self.told else self.told * y
        return (y,), lambda ds: ((ds[0] * (1 - y * y),), (dh,), {})


METHODS_OF_LOSSES = ("complex-step", "central", "five-point", "tangent", "taylor")


@pytest.mark.parametrize("truncation", ["full", "tbptt:1,2"])
@pytest.mark.parametrize("method", METHODS_OF_LOSSES)
def test_a_state_that_is_not_used_has_the_gradient_zero(method, truncation, backend):
    if truncation != "full" and method in ("central", "five-point", "taylor"):
        pytest.skip("differences see through truncation")
    report = rnnbp.gradcheck(Forgetful(4, 6), backend=backend, method=method, truncation=truncation)
    assert report.passed, report.summary


@pytest.mark.parametrize("method", METHODS_OF_LOSSES)
def test_another_gradient_of_it_is_wrong(method):
    report = rnnbp.gradcheck(Forgetful(4, 6, told=0.1), method=method, lags=True)
    assert "h0" in {check.tensor for check in report.failures}  # over the sequence all others are wrong, too
    assert {check.tensor for check in report.failures if check.level == "step"} == {"h0"}
    assert [f.passed for f in report.findings if f.kind == "lags" and f.tensor == "h0"] == [False]


def test_it_conforms():
    assert "gradients-by-complex-step" in check_cell(Forgetful(4, 6), backend="numpy").passed


@pytest.mark.parametrize("method", ["complex-step", "five-point"])
def test_a_loss_that_adds_its_copies_up_is_still_refused(method):
    subject = Subject("sum", {"v": np.ones(3)}, lambda where: lambda p: where.xp.sum(p["v"] ** 2), lambda _: {}, work=9)
    with pytest.raises(UserError, match="one number per copy"):
        METHODS[method].entries(Asked(subject, rnnbp.backend("numpy")), "v")
