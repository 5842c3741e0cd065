"""The checker, checked: every planted fault fails, at the right tensor, and the same cells without it pass."""

from __future__ import annotations

import pytest
from faulty_cells import ENTRY, EVERYTHING, LOOP_FAULTS, STEP_FAULTS, LoopedLSTM, ToyLSTM

import rnnbp
from rnnbp.cells.lstm import LSTM


def failed(report):
    return {check.tensor for check in report.failures}


@pytest.mark.parametrize("kind", [ToyLSTM, LoopedLSTM])
@pytest.mark.parametrize("truncation", ["full", "tbptt:2,3"])
def test_the_toy_cells_without_a_fault_pass(kind, truncation):
    report = rnnbp.gradcheck(kind(3, 4), truncation=truncation)
    assert report.passed and {check.tensor for check in report.checks} == EVERYTHING
    assert report.worst.error < 1e-13


@pytest.mark.parametrize("fault", STEP_FAULTS)
def test_a_fault_of_the_step_is_named(fault):
    """One step keeps the error where it is made."""
    assert failed(rnnbp.gradcheck(ToyLSTM(3, 4, fault), time_steps=1)) == STEP_FAULTS[fault]


@pytest.mark.parametrize("fault", STEP_FAULTS)
@pytest.mark.parametrize("method", ["complex-step", "central"])
def test_a_fault_of_the_step_fails_over_a_sequence(fault, method):
    found = failed(rnnbp.gradcheck(ToyLSTM(3, 4, fault), method=method))
    assert found >= STEP_FAULTS[fault]


@pytest.mark.parametrize("fault", sorted(set(LOOP_FAULTS) - {"dtype widened", "device lost"}))
def test_a_fault_of_the_loop_is_named(fault):
    report = rnnbp.gradcheck(LoopedLSTM(3, 4, fault))
    assert failed(report) == LOOP_FAULTS[fault]
    assert report.worst.tensor in LOOP_FAULTS[fault]


def test_a_float32_backward_with_a_fault_fails():
    assert rnnbp.gradcheck(LoopedLSTM(3, 4), dtype="float32").passed
    faulty = rnnbp.gradcheck(LoopedLSTM(3, 4, "dU scaled by 1.001"), dtype="float32")
    assert failed(faulty) == {"U"}


def test_a_gradient_in_another_dtype_fails_and_says_so():
    cell = LoopedLSTM(3, 4, "dtype widened")
    assert rnnbp.gradcheck(cell).passed  # float64 to float64: nothing is widened
    report = rnnbp.gradcheck(cell, dtype="float32")
    assert failed(report) == {"U"} and "is float64, the tensor float32" in report.failures[0].note


def test_a_gradient_of_another_shape_fails_and_says_so():
    report = rnnbp.gradcheck(LoopedLSTM(3, 4, "shape lost"))
    assert report.failures[0].tensor == "b" and "has shape ()" in report.failures[0].note


def test_a_gradient_on_another_device_fails_and_says_so():
    pytest.importorskip("array_api_strict")
    backend = rnnbp.backend("strict", "device1")
    assert rnnbp.gradcheck(LoopedLSTM(3, 4), backend=backend).passed
    report = rnnbp.gradcheck(LoopedLSTM(3, 4, "device lost"), backend=backend)
    assert failed(report) == {"U"} and "is on" in report.failures[0].note


class Spare(ToyLSTM):
    """Has a parameter that it does not use."""

    @property
    def params(self):
        return super().params | {"spare": rnnbp.Param((3,), rnnbp.initializers.normal(1.0))}


def test_a_parameter_without_a_gradient_is_zero_where_it_belongs():
    pytest.importorskip("array_api_strict")
    report = rnnbp.gradcheck(Spare(3, 4), backend=rnnbp.backend("strict", "device1"))
    assert report.passed, str(report)
    assert {c.tensor: (c.analytic, c.numeric) for c in report.checks}["spare"] == (0.0, 0.0)


def test_one_wrong_entry_of_a_large_tensor_is_found_and_named():
    """1 of 1024 entries, off by 1e-7 of the largest: the norm hardly moves."""
    report = rnnbp.gradcheck(LoopedLSTM(3, 16, "one entry of dU"), time_steps=3, batch=2)
    (check,) = report.failures
    assert (check.tensor, check.index, check.shape) == ("U", ENTRY, (16, 64))
    assert check.max_error == pytest.approx(1e-7, rel=1e-3) and check.norm_error < 1e-7
    assert check.analytic != check.numeric


def test_a_backward_that_ignores_windows_passes_in_full_and_fails_when_truncated():
    cell = LoopedLSTM(3, 4, "window ignored")
    assert rnnbp.gradcheck(cell).passed
    assert not rnnbp.gradcheck(cell, truncation="tbptt:2,3").passed


def test_a_scan_that_takes_no_mask_is_checked_without_one():
    """With a mask this cell's own loop would step aside, and its fault would go unseen."""
    report = rnnbp.gradcheck(LoopedLSTM(3, 4, "t = 0 skipped"))
    assert not report.passed and not any(check.padded for check in report.checks)
    assert all(check.padded for check in rnnbp.gradcheck(ToyLSTM(3, 4), levels=("sequence",)).checks)


class _Wrapped(LSTM):
    """The built-in LSTM, with what its backward returns changed: through the hoisted products of `scan`."""

    def change(self, da, ds, dp):
        raise NotImplementedError

    def pointwise(self, xp, a, s, p, e):
        s1, back = super().pointwise(xp, a, s, p, e)
        return s1, lambda ds1: self.change(*back(ds1))


class SwappedGates(_Wrapped):
    def change(self, da, ds, dp):
        return (da[1], da[0], *da[2:]), ds, dp


class DroppedCarry(_Wrapped):
    def change(self, da, ds, dp):
        return da, (None,) * len(ds), dp


class NoPeephole(_Wrapped):
    def change(self, da, ds, dp):
        return da, ds, dp | {"pi": None}


@pytest.mark.parametrize(
    ("kind", "spoiled"),
    [(SwappedGates, {"W", "U", "b", "X", "h0"}), (DroppedCarry, {"c0"}), (NoPeephole, {"pi"})],
)
def test_a_fault_in_a_pointwise_cell_is_named(kind, spoiled):
    assert failed(rnnbp.gradcheck(kind(3, 4, peepholes=True), time_steps=1)) == spoiled
    assert failed(rnnbp.gradcheck(kind(3, 4, peepholes=True))) >= spoiled
