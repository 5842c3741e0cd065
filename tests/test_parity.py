"""Parity: every cell gives the same numbers on every backend; and a backend that does not is found out."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

import numpy as np
import pytest
from conftest import NAMES
from helpers import refusal
from rnnbp_numpy import NumpyBackend
from toy_cells import TOYS

import rnnbp
from rnnbp.checking import all_specs, builtin_specs, parity
from rnnbp.checking.parities.quantities import draw_task, quantities
from rnnbp.checking.parities.report import tolerance
from rnnbp.registry import BACKENDS
from rnnbp.unrolling import unroll

SOME = ("lstm:peepholes=true", "gru")


@dataclass(frozen=True)
class Other(NumpyBackend):
    """NumPy under another name, with a fast scan of its own that may have a fault."""

    fault: str = ""
    name = "other"

    def scan(self, cell, params, xs, s0, **options):
        if self.fault == "takes no mask":
            if options["mask"] is not None:
                return NotImplemented
        elif not self.fault:
            return NotImplemented
        if self.fault == "raises":
            raise TypeError("no such [function]\nhere")
        ys, s_T, back = unroll(self.xp, cell, params, xs, s0, **options)
        if self.fault == "ys":
            ys = ys * (1 + 1e-5)

        def backward(dys, ds_T=None, window=None):
            dp, dxs, ds = back(dys, ds_T, window)
            if self.fault == "nu":
                dp = dp | {"nu": dp["nu"] * 1.001}
            if self.fault in ("U", "takes no mask"):
                dp = dp | {"U": dp["U"] * 1.001}
            if self.fault == "dtype":
                dxs = dxs.astype(np.float64)
            if self.fault == "shape":
                dp = dp | {"b": dp["b"][None]}
            if self.fault == "nan":
                ds = (ds[0] * np.nan, *ds[1:])
            return dp, dxs, ds

        return ys, s_T, backward


# ---- what agrees -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("dtype", "cells"), [("float64", [*all_specs(), "lstm:bias=false"]), ("float32", SOME)])
def test_every_cell_agrees_on_every_backend(backend, dtype, cells):
    report = parity(cells, backends=[Other(), backend], dtypes=[dtype])
    assert report.passed, str(report)
    assert {(c.dtype, c.backend, c.tolerance) for c in report.checks} == {
        (dtype, backend.name, 80 * np.finfo(dtype).eps)
    }
    if backend.name in ("torch", "jax"):
        assert report.worst.error > 0.01 * report.worst.tolerance  # it is that dtype that was computed in


def test_a_fault_in_a_number_whose_terms_cancel_is_seen():
    """FastGRNN's dν is a sum that is 200 times smaller than its terms for that seed."""
    report = parity(["fastgrnn"], backends=["numpy", Other(fault="nu")], dtypes=["float64"])
    assert [c.tensor for c in report.failures] == ["dnu"]


def test_toy_cells_agree(backend):
    report = parity([toy(4, 6) for toy in TOYS.values()], backends=[Other(), backend], dtypes=["float64"])
    assert report.passed, str(report)


def test_everything_is_compared():
    (cell,) = {check.cell for check in parity(["lstm"], backends=["numpy", Other()]).checks}
    assert cell == "lstm"
    found = [check.tensor for check in parity(["lstm"], backends=["numpy", Other()], dtypes=["float64"]).checks]
    forward = ["ys", "h_T", "c_T", "mse", "ce"]
    assert found == [*forward, "dlogits_mse", "dlogits_ce", "dW", "dU", "db", "dX", "dh0", "dc0"]


def test_what_is_compared_is_the_gradient_of_what_it_says():
    """L = mse + ce + Σ s_T∘ds_T by a complex step of W in a random direction."""
    numpy, task = rnnbp.backend("numpy"), draw_task(rnnbp.cell("lstm", 4, 6), 3, "float64")
    found = quantities(task, numpy, "float64")
    direction, h = np.random.default_rng(0).standard_normal(task.problem.params["W"].shape), 1e-30
    params = {**task.problem.params, "W": task.problem.params["W"] + 1j * h * direction}
    ys, s_T = rnnbp.run(task.problem.cell, params, task.problem.xs, task.problem.s0, mask=task.problem.mask)
    loss = rnnbp.losses.MeanSquaredError()(ys, task.target, task.problem.mask)[0]
    loss = loss + rnnbp.losses.CrossEntropy()(ys, task.classes, task.problem.mask)[0]
    loss = loss + sum(np.sum(s * d) for s, d in zip(s_T, task.problem.ds_T, strict=True))
    assert abs(loss.imag / h - np.sum(found["dW"] * direction)) < 1e-13 * abs(loss.imag / h)


def test_the_numbers_are_ones_that_the_dtype_holds_and_differ_by_seed():
    a, b, c = (draw_task(rnnbp.cell("gru", 4, 6), seed, "float32") for seed in (0, 0, 1))
    assert np.array_equal(a.target, b.target) and not np.array_equal(a.target, c.target)
    assert np.array_equal(a.target, a.target.astype(np.float32)) and not np.array_equal(a.classes, c.classes)
    assert not np.array_equal(a.target, a.problem.dys)


def test_by_default_the_built_in_cells_on_all_that_is_here(monkeypatch):
    here = [name for name in BACKENDS if name in NAMES and BACKENDS.load(name).available() is None]
    monkeypatch.setattr("rnnbp.checking.parities.comparison._of_cell", lambda *_: iter(()))
    report = parity()
    assert report.reference == "numpy" and sorted(name for name, _ in report.backends) == sorted(here)
    assert not report.passed  # nothing compared is no agreement
    heard = []
    monkeypatch.undo()
    parity(["elman", "rnn"], backends=["numpy", Other()], progress=lambda *said: heard.append(said))
    assert heard == [(name, k, 2) for name in ("elman", "rnn") for k in (1, 2)]
    assert {c.cell for c in parity(backends=["numpy", Other()]).checks} == set(builtin_specs())


def test_a_device_is_part_of_the_name():
    pytest.importorskip("array_api_strict")
    report = parity(["lstm"], backends=["strict", "strict:device1"])
    assert report.passed and {check.backend for check in report.checks} == {"strict:device1"}
    assert all(check.error == 0 for check in report.checks)


# ---- what does not agree ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize("fault", ["U", "takes no mask"])
def test_a_wrong_gradient_is_named(fault):
    report = parity(SOME, backends=["numpy", Other(), Other("cpu", fault)])
    assert not report.passed
    assert {(c.cell, c.tensor, c.backend) for c in report.failures} == {(s, "dU", "other:cpu") for s in SOME}
    assert report.worst.norm_error == pytest.approx(5e-4, rel=1e-2)
    assert report.worst.value == pytest.approx(1.001 * report.worst.reference)


def test_the_faults_of_a_forward_and_of_single_results():
    def failed(fault, dtype="float64"):
        report = parity(["lstm"], backends=["numpy", Other("cpu", fault)], dtypes=[dtype])
        return {check.tensor: check for check in report.failures}

    assert {"ys", "mse", "dlogits_mse", "dW"} <= set(failed("ys")) and "h_T" not in failed("ys")
    assert set(failed("nan")) == {"dh0"} and np.isnan(failed("nan")["dh0"].error)
    assert failed("dtype") == {}
    assert failed("dtype", "float32")["dX"].note == "its dtype is float64, not float32"
    assert failed("shape")["db"].note == "its shape is (1, 24), the reference's (24,)"


def test_a_cell_that_does_not_run_on_a_backend_has_failed_there():
    report = parity(["elman"], backends=["numpy", Other("cpu", "raises"), Other()])
    assert {(c.backend, c.passed) for c in report.checks} == {("other:cpu", False), ("other", True)}
    assert {c.note for c in report.failures} == {"TypeError: no such [function] here"}
    assert "elman in float32 on other:cpu: TypeError" in "\n".join(report.notes) and "FAIL" in str(report)
    swapped = parity(["elman"], backends=[Other("cpu", "raises"), "numpy"])
    assert {c.note for c in swapped.checks} == {"on the reference, TypeError: no such [function] here"}


def test_a_cell_that_cannot_be_made():
    assert "did you mean lstm" in refusal(lambda: parity(["lstn"], backends=["numpy", Other()]))
    report = parity(["lstn", "elman"], backends=["numpy", Other()], tolerant=True)
    assert {(c.cell, c.passed) for c in report.checks} == {("lstn", False), ("elman", True)}


# ---- the report ------------------------------------------------------------------------------------------------------
def test_a_row_is_the_worst_tensor_and_json_holds_everything():
    report = parity(["lstm"], backends=["numpy", Other("cpu", "nan"), Other()])
    rows = {row[1:3]: row for row in report.rows}
    assert len(report.rows) == 4 and rows["float64", "other"][-1] == "pass"
    assert rows["float32", "other:cpu"][3:5] == ("dh0", "nan") and rows["float32", "other:cpu"][-1] == "FAIL"
    found = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert found["passed"] is False and found["reference"] == "numpy" and found["seed"] == 0
    assert found["backends"]["numpy"] == np.__version__ and len(found["checks"]) == 4 * 13
    assert found["worst"]["tensor"] == "dh0" and found["worst"]["error"] is None
    assert found["tolerances"]["float64"]["value"] == tolerance("float64").value
    assert "80 eps" in found["tolerances"]["float32"]["reason"]


def test_nothing_within_the_tolerance_is_wrong_by_much():
    """The check above it would see: an error of twice the tolerance fails, and half of it passes."""
    report = parity(["lstm"], backends=["numpy", Other()], dtypes=["float64"])
    (check, *_), limit = report.checks, tolerance("float64").value
    assert replace(check, error=0.5 * limit).passed and not replace(check, error=2 * limit).passed


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backends": ["numpy", "torhc"]}, "did you mean torch"),
        ({"backends": ["numpy"]}, "at least two backends, the first being the reference; got only numpy: add another"),
        ({"backends": []}, "at least two backends"),
        ({"backends": "numpy"}, "backends must be a sequence"),
        ({"backends": ["numpy", "numpy"]}, "backends that differ; got numpy 2 times"),
        ({"backends": ["numpy", ""]}, "a backend is NAME or NAME:DEVICE; got ''"),
        ({"backends": ["numpy", 3]}, "a backend is NAME, NAME:DEVICE or a Backend; got 3"),
        ({"backends": ["numpy", "numpy:cuda:0"]}, "device of backend numpy must be one of cpu; got 'cuda:0'"),
        ({"dtypes": ["float16"]}, "unknown dtype of parity 'float16'"),
        ({"seed": -1}, "seed must be an integer of at least 0"),
    ],
)
def test_what_cannot_be_compared_is_one_line(options, message):
    assert message in refusal(lambda: parity(["elman"], **{"backends": ["numpy", Other()]} | options))


def test_a_backend_that_is_not_available_says_why(monkeypatch):
    monkeypatch.setattr(BACKENDS.load("cupy"), "available", classmethod(lambda _: "CuPy sees no GPU"))
    assert refusal(lambda: parity(backends=["numpy", "cupy"])) == "backend cupy cannot be used: CuPy sees no GPU"
