"""All methods agree with complex steps, each within its stated tolerance, on every cell."""

from __future__ import annotations

import numpy as np
import pytest
from cases import NAMES
from conftest import backend_or_skip

import rnnbp
from rnnbp.checking.methods.agreement import COLUMNS, agreement, limit_of
from rnnbp.checking.methods.registry import METHODS

SMALL = {"time_steps": 3, "batch": 2}
# what a method measures on right cells, well inside its tolerance: exact ones to rounding
MEASURED = {"five-point": 1e-9, "central": 1e-7, "taylor": 0.01}
EXACT = 1e-13


@pytest.mark.parametrize("spec", NAMES)
def test_all_methods_agree_on_every_cell(spec):
    cell = rnnbp.cell(spec, 3, 4)
    found = agreement(spec, cell, rnnbp.backend("numpy"), jax=False, **SMALL)
    refused = set() if isinstance(cell, rnnbp.PointwiseCell) else {"symbolic"}
    assert set(COLUMNS) - set(found) - {"autodiff-torch", "autodiff-jax"} == refused
    wrong = {column: value for column, value in found.items() if not value <= MEASURED.get(column, EXACT)}
    assert not wrong and all(MEASURED.get(column, EXACT) <= limit_of(column) for column in COLUMNS)


@pytest.mark.parametrize("spec", ["lstm:peepholes=true", "gru:reset=before"])
def test_jax_agrees(spec):
    backend_or_skip("jax")
    found = agreement(spec, rnnbp.cell(spec, 3, 4), rnnbp.backend("numpy"), **SMALL)
    assert found["autodiff-jax"] <= EXACT


def test_every_method_has_its_column():
    assert set(METHODS) - set(COLUMNS) == {"complex-step", "autodiff"}  # the reference, and a choice of two others


def test_a_backward_that_is_wrong_stands_alone():
    """The methods do not look at the backward, but for rtrl at its step and hessian at all of it."""

    class Wrong(type(rnnbp.cell("rnn", 3, 4))):
        def pointwise(self, xp, a, s, p, e):
            s1, back = super().pointwise(xp, a, s, p, e)
            return s1, lambda ds1: ((back(ds1)[0][0] * (1 + xp.tanh(s1[0])),), (None,), {})

    found = agreement("wrong", Wrong(3, 4), rnnbp.backend("numpy"), jax=False, **SMALL)
    beyond = {column for column, value in found.items() if not value <= limit_of(column)}
    assert beyond == {"backward", "rtrl", "hessian"}


def test_a_disagreement_shows(monkeypatch):
    """A method that were off by its tolerance would be seen."""
    central = METHODS["central"]

    def off(self, asked):
        return {n: d * (1 + 4e-6) for n, d in type(central).__mro__[1].gradients(self, asked).items()}

    monkeypatch.setattr(type(central), "gradients", off)
    found = agreement("rnn", rnnbp.cell("rnn", 3, 4), rnnbp.backend("numpy"), jax=False, **SMALL)
    assert found["central"] > limit_of("central") and np.isfinite(list(found.values())).all()
