"""Cells and models checked along random directions: the right ones pass, every fault shows."""

from __future__ import annotations

import numpy as np
import pytest
from cases import NAMES
from faulty_cells import ENTRY, LOOP_FAULTS, STEP_FAULTS, LoopedLSTM, ToyLSTM

import rnnbp
from rnnbp.checking import check_model, check_task
from rnnbp.checking.methods.directions import DIRECTIONS
from rnnbp.checking.methods.registry import METHODS
from rnnbp.checking.methods.tolerances import TOLERANCES
from rnnbp.losses import MeanSquaredError
from rnnbp.model import Model
from rnnbp.stacking import stack

JUDGED = sorted(name for name in METHODS if (name, "float64") in TOLERANCES and not METHODS[name].whole)
ONLY = {"levels": ("sequence",), "properties": False, "extent": "directional"}


@pytest.mark.parametrize("method", JUDGED)
@pytest.mark.parametrize("spec", NAMES)
def test_right_cells_pass_by_every_method(spec, method):
    report = rnnbp.gradcheck(spec, method=method, **ONLY)
    assert report.passed, str(report)
    assert all(check.directions == DIRECTIONS for check in report.checks)


@pytest.mark.parametrize(
    ("truncation", "dtype", "options"),
    [
        ("full", "float64", {"method": "complex-step"}),
        ("tbptt:2,3", "float64", {"method": "tangent"}),
        ("full", "float32", {"method": "tangent", "memory": 1}),
    ],
)
def test_right_cells_pass_on_every_backend(backend, truncation, dtype, options):
    spec = "lstm:peepholes=true"
    report = rnnbp.gradcheck(spec, backend=backend, truncation=truncation, dtype=dtype, **options, **ONLY)
    assert report.passed, str(report)


@pytest.mark.parametrize("seed", [0, 100])
@pytest.mark.parametrize("fault", [*STEP_FAULTS, *sorted(set(LOOP_FAULTS) - {"dtype widened", "device lost"})])
def test_every_fault_that_the_exhaustive_check_finds_is_found(fault, seed):
    cell = (ToyLSTM if fault in STEP_FAULTS else LoopedLSTM)(3, 4, fault)
    exhaustive = rnnbp.gradcheck(cell, seed=seed, **ONLY | {"extent": "exhaustive"})
    directional = rnnbp.gradcheck(cell, seed=seed, **ONLY)
    assert {c.tensor for c in directional.failures} == {c.tensor for c in exhaustive.failures} != set()


def test_a_model_of_three_layers_passes_along_directions():
    model = Model(stack("lstm", 5, 12, layers=3), 2, MeanSquaredError())
    rng = np.random.default_rng(0)
    xs, targets = rng.standard_normal((4, 2, 5)), rng.standard_normal((4, 2, 2))
    report = check_model(model, xs, targets, name="three", method="directional", levels=("model",), seed=5)
    assert report.passed, str(report)
    assert {"0.W", "1.U", "2.b", "readout.W", "X", "2.c0"} <= {check.tensor for check in report.checks}
    for check in report.checks:
        assert (check.cell, check.method, check.directions, check.seeds) == ("three", "tangent", 3, (5, 6, 7))
    assert set(report.checks[0].blocks) == {"i", "f", "g", "o"}


def test_progress_reaches_its_end():
    heard = []
    options = {"layers": 2, "hidden_size": 20, "time_steps": 5, "batch": 2, "levels": ("model",)}
    report = check_task("adding", "gru", method="tangent", progress=lambda *said: heard.append(said), **options)
    size = sum(int(np.prod(check.shape)) for check in report.checks)
    assert report.passed and report.checks[0].directions and heard[-1] == ("gru", size, size)


@pytest.mark.parametrize("memory", [1, 10**8])
@pytest.mark.parametrize("method", JUDGED)
@pytest.mark.parametrize("cell", ["lstm:peepholes=true", "gru:reset=before"])
def test_blocks_apart_and_blocks_together_give_the_same(cell, method, memory):
    """Where memory is short, the directions of each block are made without the zeros beside them."""
    report = rnnbp.gradcheck(cell, method=method, memory=memory, **ONLY)
    assert report.passed, str(report)


@pytest.mark.parametrize("memory", [1, 10**8])
@pytest.mark.parametrize("method", ["complex-step", "tangent"])
def test_one_wrong_entry_of_a_cell_is_found_whatever_the_memory(method, memory):
    report = rnnbp.gradcheck(LoopedLSTM(3, 16, "one entry of dU"), method=method, memory=memory, **ONLY)
    (check,) = report.failures
    assert (check.tensor, check.index) == ("U", ENTRY) and 1e-9 < check.error < 1e-6
