"""One step by itself: right for every cell on every backend, wrong where the cell is, right where only the loop is."""

from __future__ import annotations

import numpy as np
import pytest
from cases import NAMES
from faulty_cells import LOOP_FAULTS, STEP_FAULTS, LoopedLSTM, ToyLSTM

import rnnbp
from rnnbp.checking.subjects.problems import draw
from rnnbp.checking.subjects.vjps import step_subject
from rnnbp.checking.verdicts import setting, verify
from rnnbp.errors import UserError

SMALL = {"time_steps": 4, "batch": 2}


ROUNDINGS = 2 * (3 + 5) * float(np.finfo("float32").eps)  # one for each of the B (I + H) products of a sum: 1.9e-6


def checks(cell, backend="numpy", dtype="float64", method="complex-step"):
    how = setting(backend, dtype, method, "full")
    return verify(step_subject("one", draw(cell, 1, 2, 0, dtype), how), how)


def failed_by_level(report):
    return {level: {c.tensor for c in report.failures if c.level == level} for level in ("step", "sequence")}


@pytest.mark.parametrize("spec", NAMES)
def test_every_step_passes_on_every_backend(spec, backend):
    cell = rnnbp.cell(spec, 3, 5)
    found = checks(cell, backend)
    assert [c.tensor for c in found] == [*cell.params, "X", *(f"{state}0" for state in cell.states)]
    assert all(c.passed and c.level == "step" and not c.padded for c in found), found
    assert {c.shape for c in found if c.tensor == "X"} == {(2, 3)}


@pytest.mark.parametrize("spec", NAMES)
@pytest.mark.parametrize(
    ("method", "dtype", "limit"),
    [("tangent", "float64", 1e-14), ("five-point", "float64", 1e-9), ("complex-step", "float32", ROUNDINGS)],
)
def test_every_step_passes_by_other_methods_and_in_float32(spec, method, dtype, limit):
    assert max(c.error for c in checks(rnnbp.cell(spec, 3, 5), "numpy", dtype, method)) < limit


@pytest.mark.parametrize("fault", STEP_FAULTS)
def test_a_fault_of_the_step_fails_at_that_level(fault):
    assert {c.tensor for c in checks(ToyLSTM(3, 4, fault)) if not c.passed} == STEP_FAULTS[fault]


@pytest.mark.parametrize("fault", sorted(set(LOOP_FAULTS) - {"dtype widened", "device lost"}))
def test_a_fault_of_the_loop_leaves_the_step_right(fault):
    """So that a report says where to look."""
    found = failed_by_level(rnnbp.gradcheck(LoopedLSTM(3, 4, fault), properties=False))
    assert found == {"step": set(), "sequence": LOOP_FAULTS[fault]}


def test_the_gates_of_a_step_are_told_apart():
    (check,) = [c for c in checks(rnnbp.cell("lstm", 3, 5)) if c.tensor == "b"]
    assert set(check.blocks) == {"i", "f", "g", "o"} and max(check.blocks.values()) <= check.error


class Inert(ToyLSTM):
    """Has a parameter that its step does not use, and leaves its gradient out."""

    @property
    def params(self):
        return super().params | {"spare": rnnbp.Param((3,), rnnbp.initializers.normal(1.0))}


def test_what_a_step_leaves_out_is_zero():
    found = {c.tensor: c for c in checks(Inert(3, 4))}
    assert all(c.passed for c in found.values())
    assert (found["spare"].analytic, found["spare"].numeric) == (0.0, 0.0)
    assert not {c.tensor: c for c in checks(Inert(3, 4, "dx missing"))}["X"].passed


def test_levels_are_chosen_and_unknown_ones_refused():
    both = rnnbp.gradcheck("gru", **SMALL)
    assert [c.level for c in both.checks] == 6 * ["step"] + 12 * ["sequence"]  # on both paths
    assert {c.level for c in rnnbp.gradcheck("gru", levels=("step",), **SMALL).checks} == {"step"}
    assert {c.level for c in rnnbp.gradcheck("gru", levels=("sequence",), **SMALL).checks} == {"sequence"}
    for levels, message in [
        (("steps",), "unknown level 'steps': did you mean step"),
        ("step", "levels must be a tuple of at least one of step, sequence; got 'step'"),
        ((), "levels must be a tuple"),
    ]:
        with pytest.raises(UserError, match=message):
            rnnbp.gradcheck("gru", levels=levels)


class Data(rnnbp.PointwiseCell):
    """A step with data of its own."""

    gates = ("h",)

    @property
    def data(self):
        return {"keep": (self.hidden_size,)}

    def pointwise(self, xp, a, s, p, e):
        del s, p
        t, keep = xp.tanh(a[0]), e["keep"]
        return (t * keep,), lambda ds: ((ds[0] * keep * (1 - t * t),), (None,), {})


def test_a_step_gets_its_data(backend):
    found = checks(Data(3, 5), backend)
    assert all(c.passed for c in found) and all(np.isfinite(c.error) for c in found)
