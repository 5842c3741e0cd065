"""A failed check of a cell, from the outside: the level, the place, the name of the fault."""

from __future__ import annotations

import pytest
from faulty_cells import LoopedLSTM, ToyLSTM

import rnnbp


def finding(report, kind):
    return next((f for f in report.findings if f.kind == kind), None)


def test_a_wrong_step_is_told_from_a_wrong_loop():
    step, loop = rnnbp.gradcheck(ToyLSTM(4, 6, "sigma' twice")), rnnbp.gradcheck(LoopedLSTM(4, 6, "dc carry dropped"))
    assert {c.level for c in step.failures} == {"step", "sequence"} and finding(step, "diagnosis").level == "step"
    assert {c.level for c in loop.failures} == {"sequence"} and finding(loop, "diagnosis").level == "loop"
    assert "sigma-prime-twice" in str(step) and "each step is right, the loop over them is wrong" in str(loop)
    assert not step.passed and not loop.passed


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_the_fault_is_named_on_every_backend(backend, dtype):
    report = rnnbp.gradcheck(ToyLSTM(3, 4, "tanh' of the activated value"), backend=backend, dtype=dtype)
    assert finding(report, "diagnosis").best.bug == "tanh-prime-of-activated"


def test_right_cells_get_no_diagnosis():
    report = rnnbp.gradcheck("lstm:peepholes=true")
    assert finding(report, "diagnosis") is None and report.passed


def test_a_forward_that_the_tape_cannot_follow_says_so():
    class Odd(ToyLSTM):
        def step(self, xp, p, x, s, e):
            (h, c), back = super().step(xp, p, x, s, e)
            return (h + 0 * xp.acosh(2 + xp.tanh(c)), c), back

    report = rnnbp.gradcheck(Odd(3, 4, "sigma' twice"))
    assert not report.passed
    assert "no rule is known for the derivative of acosh" in str(finding(report, "diagnosis"))
