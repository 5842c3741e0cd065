"""Real-time recurrent learning: exact, and blind to just those faults that lie inside a step."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from faulty_cells import LOOP_FAULTS, STEP_FAULTS, LoopedLSTM, ToyLSTM
from helpers import refusal
from verdicts_of import failed

import rnnbp
from rnnbp.checking import builtin_specs, check_task
from rnnbp.checking.methods.numeric import MEMORY
from rnnbp.checking.methods.rtrl import rtrl
from rnnbp.checking.selftest.candidates import applies, catalogue, specimen
from rnnbp.checking.subjects.problems import draw
from rnnbp.truncation import parse

ONLY = {"method": "rtrl", "properties": False}
SMALL = {"time_steps": 4, "batch": 2, "input_size": 3, "hidden_size": 5, **ONLY}
# faults inside a step by what comes before the colon; all others of the catalogue are faults of the loop
OF_STEPS = {"gates-swapped", "bias-swapped", "bias-copied", "mask-missing", "path-missing"}
OF_STEPS |= {f"{slope}-prime-{how}" for slope in ("sigma", "tanh") for how in ("missing", "twice", "of-activated")}
OF_STEPS |= {"peephole-path-missing", "peephole-of-wrong-c"}


@pytest.mark.parametrize("spec", builtin_specs())
@pytest.mark.parametrize("truncation", ["full", "tbptt:1,1", "tbptt:2,3", "tbptt:1,9"])
def test_right_cells_pass(spec, truncation):
    report = rnnbp.gradcheck(spec, truncation=truncation, **SMALL)
    assert report.passed and report.worst.error < 1e-14, str(report)
    assert {check.level for check in report.checks} == {"sequence"} and report.checks[0].padded


def test_right_cells_pass_on_every_backend(backend):
    for dtype in ("float64", "float32"):
        assert rnnbp.gradcheck("lstm", backend=backend, dtype=dtype, **SMALL).passed


@pytest.mark.parametrize("kind", ["all", "last", "state", "every"])
def test_right_cells_pass_wherever_errors_come_in(kind):
    assert rnnbp.gradcheck("lstm", cotangents=kind, **SMALL).passed


class Dropout(rnnbp.PointwiseCell):
    """Needs data, and its recurrent gate is cut."""

    gates = ("h",)
    cut = ("h",)

    @property
    def data(self):
        return {"keep": (self.hidden_size,)}

    def pointwise(self, xp, a, s, p, e):
        del s, p
        t, keep = xp.tanh(a[0]), e["keep"]
        return (t * keep,), lambda ds: ((ds[0] * keep * (1 - t * t),), (None,), {})


def test_cells_with_data_and_cut_gates_pass():
    assert rnnbp.gradcheck(Dropout(3, 4), **ONLY).passed


def test_what_pads_a_sequence_does_not_matter():
    problem = draw(rnnbp.cell("lstm", 3, 4), 5, 3, 0)
    xs = np.where(problem.mask[..., None], problem.xs, np.nan)
    windows, host = parse("tbptt:2,3", 5), rnnbp.backend("numpy")
    found, wanted = (rtrl(replace(problem, xs=x), windows, host, MEMORY) for x in (xs, problem.xs))
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("fault", sorted(set(LOOP_FAULTS) - {"dtype widened", "device lost"}))
def test_every_fault_of_the_loop_is_found(fault):
    assert failed(LoopedLSTM(3, 4, fault), "rtrl") == LOOP_FAULTS[fault]


@pytest.mark.parametrize("fault", sorted(set(STEP_FAULTS) - {"nan"}))
def test_no_fault_inside_the_step_is_seen(fault):
    """It shares the step with what it checks: with complex steps, which see both, the two are told apart."""
    cell = ToyLSTM(3, 4, fault)
    assert not failed(cell, "rtrl") and failed(cell, "complex-step") >= STEP_FAULTS[fault]


@pytest.mark.parametrize("family", ["rnn, dropout", "lstm, peepholes", "gru, reset before"])
def test_of_the_catalogue_it_sees_the_faults_of_loops(family):
    faults = [fault for name, fault in catalogue() if name == family and applies(family, fault)]
    unseen = {fault for fault in faults if not failed(specimen(family, fault), "rtrl")}
    assert unseen == {fault for fault in faults if fault.partition(":")[0] in OF_STEPS} and unseen < set(faults)


def test_what_it_cannot_check_is_refused():
    said = refusal(lambda: rnnbp.gradcheck("lstm", memory=10_000, **ONLY))
    assert "for this problem and may take 0.00954: make the sizes smaller" in said
    said = refusal(lambda: check_task("adding", "lstm", method="rtrl", levels=("model",)))
    assert said == "method rtrl runs one cell over a sequence; got level model of lstm: use another"
    assert "would compare level step with itself" in refusal(lambda: rnnbp.gradcheck("lstm", levels=("step",), **ONLY))
