"""Names that a cell gives and the generated code has a use for: told apart, or left to the portable path."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from helpers import H, I, agree, portable, problem
from numba_scans import fused, raw, results

import rnnbp
from rnnbp.initializers import normal


@dataclass(frozen=True)
class Clash(rnnbp.PointwiseCell):
    """Its closure calls a gate h, as its state is called."""

    gates = ("h",)

    def pointwise(self, xp, a, s, p, e):
        del p, e
        (before,) = s
        h = xp.tanh(a[0])
        y = xp.tanh(h + 0.5 * before)

        def backward(ds1):
            d = ds1[0] * (1 - y * y)
            return (d * (1 - h * h),), (0.5 * d,), {}

        return (y,), backward


@dataclass(frozen=True)
class Called(rnnbp.PointwiseCell):
    """A cell whose parameter bears any name."""

    name: str = "k"

    gates = ("g",)

    @property
    def elementwise(self):
        return {self.name: rnnbp.Param((self.hidden_size,), normal(0.5))}

    def pointwise(self, xp, a, s, p, e):
        del e
        (h,), k = s, p[self.name]
        y = xp.tanh(a[0] + k * h)

        def backward(ds1):
            d = ds1[0] * (1 - y * y)
            return (d,), (d * k,), {self.name: d * h}

        return (y,), backward


def test_a_closure_may_call_a_gate_as_a_state_is_called():
    q = problem(Clash(I, H))
    agree(results(q, fused), results(q, portable))


@pytest.mark.parametrize("name", "lambda|a b|forward|product_of|input_of|h_row|h_next|h_all|dh|x_sum".split("|"))
def test_a_name_that_the_generated_code_needs_takes_the_portable_path(name):
    q = problem(Called(I, H, name=name))
    assert raw(q.cell, q.params, q.xs, q.s0) is NotImplemented
    agree(results(q, rnnbp.scan), results(q, portable))
