"""Forwards that end derivatives: methods that notice pass the right cell, those that cannot refuse it."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import refusal
from toy_pointwise import Cut, DetachedPeephole

import rnnbp
from rnnbp.checking import check_model
from rnnbp.checking.methods.registry import METHODS

CELLS = (Cut(3, 4), DetachedPeephole(3, 4))
SMALL = {"time_steps": 3, "batch": 2, "properties": False, "backend": "numpy"}
SEES_THROUGH = ["central", "five-point", "taylor", "hessian"]


def model_of(cell):
    """A model of that cell, and a batch for it."""
    rng = np.random.default_rng(0)
    model = rnnbp.Model(rnnbp.Stack(((cell,),)), 2, rnnbp.losses.MeanSquaredError())
    return model, rng.standard_normal((3, 2, 3)), rng.standard_normal((3, 2, 2))


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("method", ["complex-step", "tangent", "directional"])
def test_what_follows_the_forward_ends_where_it_is_cut(cell, method):
    assert rnnbp.gradcheck(cell, method=method, **SMALL).passed
    assert check_model(*model_of(cell), method=method).passed


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("method", SEES_THROUGH)
def test_what_sees_through_is_refused_at_every_level(cell, method):
    said = f"method {method} sees through cut gates and rnnbp.detach"
    for levels in (None, ("step",), ("sequence",)):
        assert said in refusal(lambda levels=levels: rnnbp.gradcheck(cell, method=method, levels=levels, **SMALL))
    assert said in refusal(lambda: check_model(*model_of(cell), method=method))


@pytest.mark.parametrize("method", ["central", "five-point", "taylor"])
def test_windows_of_a_truncation_are_no_such_cut(method):
    assert rnnbp.gradcheck("lstm", method=method, truncation="tbptt:1,2", lags=False, **SMALL).passed


def test_of_all_methods_these_see_through():
    assert [name for name, method in METHODS.items() if not method.stops] == [
        "five-point",
        "central",
        "taylor",
        "hessian",
    ]
