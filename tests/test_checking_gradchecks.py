"""The one door: cells and functions, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest

import rnnbp


def test_a_cell_a_name_and_a_function():
    assert rnnbp.gradcheck("rnn").passed
    assert rnnbp.gradcheck(rnnbp.cell("rnn", 3, 5), dtype="float32").passed
    report = rnnbp.gradcheck(lambda x: (np.sin(x), lambda dy: dy * np.cos(x)), [np.linspace(0, 1, 4)])
    assert report.passed and report.checks[0].level == "function"
    assert not rnnbp.gradcheck(lambda x: (np.sin(x), lambda dy: dy * np.sin(x)), [np.linspace(0, 1, 4)]).passed


def test_what_cannot_be_checked_is_one_line():
    with pytest.raises(rnnbp.UserError, match="needs the inputs at which to check it"):
        rnnbp.gradcheck(np.sin)
    with pytest.raises(rnnbp.UserError, match="draws its own inputs"):
        rnnbp.gradcheck("rnn", [np.ones(3)])
    with pytest.raises(rnnbp.UserError, match="a gradient check takes a cell"):
        rnnbp.gradcheck(rnnbp.PointwiseCell)
    with pytest.raises(rnnbp.UserError, match="a gradient check takes a cell"):
        rnnbp.gradcheck(3)
    with pytest.raises(rnnbp.UserError, match="unknown option of gradcheck 'tol'"):
        rnnbp.gradcheck(lambda x: (x, lambda dy: dy), [np.ones(2)], tol=1e-5)
    with pytest.raises(rnnbp.UserError, match="unknown option of gradcheck 'eps'"):
        rnnbp.gradcheck("lstm", eps=1e-5)


def test_sizes_of_any_integer_type_are_taken():
    assert rnnbp.gradcheck("rnn", time_steps=np.int64(3), batch=np.uint8(2)).passed
    with pytest.raises(rnnbp.UserError, match="time_steps must be at most"):
        rnnbp.gradcheck("rnn", time_steps=10**30)
