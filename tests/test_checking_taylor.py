"""The slope of Taylor's remainder: 2 for right gradients, 1 for wrong ones, nothing for an affine loss."""

from __future__ import annotations

import json
import re
from math import isnan

import numpy as np
import pytest
from cases import NAMES
from faulty_cells import LOOP_FAULTS, STEP_FAULTS, LoopedLSTM, ToyLSTM
from helpers import refusal
from verdicts_of import failed, verdict_of

import rnnbp
from rnnbp.checking import check_task
from rnnbp.checking.drawing.loglog import Curve, picture
from rnnbp.checking.methods.numeric import Asked
from rnnbp.checking.methods.taylor import CLEAR, HALVINGS, remainder
from rnnbp.checking.subjects.subject import Subject

ONLY = {"method": "taylor", "properties": False}
SMALL = {"time_steps": 4, "batch": 2, "input_size": 3, "hidden_size": 5, **ONLY}
POINT = np.array([[0.5, -1.0, 2.0], [1.5, 0.25, -0.75]])


def curve(loss, gradient, dtype="float64", seed=0, memory=2**20):
    """The remainder of one tensor's loss on NumPy."""
    subject = Subject("one", {"w": POINT}, loss=loss, gradients=lambda _: {}, work=0)
    return remainder(Asked(subject, rnnbp.backend("numpy"), memory), "w", gradient, dtype, seed)


def cubic(where):
    return lambda p: where.xp.sum(p["w"] * p["w"] * p["w"], axis=(-2, -1))


# ---- one tensor ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("seed", range(5))
def test_the_remainder_of_a_cubic_is_known(seed):
    """R(ε) = |3ε² Σ w d² + ε³ Σ d³|, with d = ±1/√6 and Σ w = 2.5."""
    found = curve(cubic, 3 * POINT**2, seed=seed)
    steps, values = np.array(found.steps), np.array(found.remainders)
    assert np.all(steps[:-1] == 2 * steps[1:]) and steps[0] == 1
    at = slice(*found.fitted)
    np.testing.assert_allclose(values[at], 3 * steps[at] ** 2 * 2.5 / 6, rtol=0.02)
    assert found.slope == pytest.approx(2, abs=0.01) and not found.affine
    assert found.fitted[1] - found.fitted[0] == HALVINGS + 1
    assert np.all(values[at] >= CLEAR * np.array(found.rounding)[at])


@pytest.mark.parametrize(("fault", "turned"), [(1, 0.95), (-1, 0.95), (1e-3, 0.95), (1e-6, 0.05)])
def test_a_wrong_gradient_has_slope_one(fault, turned):
    """A small fault shows at small steps, where the slope begins to turn."""
    off = np.zeros_like(POINT)
    off[1, 2] = fault
    assert turned < curve(cubic, 3 * POINT**2 + off).error < 1.05


def test_an_affine_loss_has_no_slope_and_passes_only_with_the_right_gradient():
    def affine(where):
        return lambda p: 3.0 * where.xp.sum(p["w"], axis=(-2, -1)) + 1.0

    found = curve(affine, np.full((2, 3), 3.0))
    assert found.affine and found.error == 0 and isnan(found.slope) and found.verdict == "affine"
    wrong = curve(affine, np.full((2, 3), 3.0) + 1e-9 * POINT)
    assert not wrong.affine and wrong.slope == pytest.approx(1, abs=0.05)


def test_remainders_that_are_zero_throughout_are_no_slope():
    found = curve(lambda where: lambda p: 0.0 * where.xp.sum(p["w"], axis=(-2, -1)), np.zeros((2, 3)))
    assert not any(found.remainders) and found.affine and found.error == 0


def test_steps_across_a_kink_are_left_out():
    def bent(where):
        xp = where.xp
        return lambda p: xp.sum(xp.where(xp.real(p["w"]) > 0, p["w"], xp.zeros_like(p["w"])), axis=(-2, -1))

    found = curve(bent, (POINT > 0).astype(float))
    assert found.remainders[0] > 0.1 and found.affine  # the first step crosses, those that do not show a straight line


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_gradient_that_is_not_finite_has_no_slope(bad):
    gradient = 3 * POINT**2
    gradient[0, 0] = bad
    found = curve(cubic, gradient)
    assert isnan(found.error) and not found.affine


def test_little_memory_changes_nothing():
    assert curve(cubic, 3 * POINT**2, memory=1).slope == curve(cubic, 3 * POINT**2).slope


# ---- cells --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("spec", NAMES)
@pytest.mark.parametrize("truncation", ["full", "tbptt:2,3"])
def test_right_cells_have_slope_two(spec, truncation):
    for seed in range(3):
        report = rnnbp.gradcheck(spec, truncation=truncation, seed=seed, **SMALL)
        assert report.passed and report.worst.error < 0.01, str(report)
        assert {(check.tolerance, check.directions, check.seeds) for check in report.checks} == {(0.05, 1, (seed,))}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_right_cells_have_slope_two_on_every_backend(dtype, backend):
    report = rnnbp.gradcheck("rnn", backend=backend, dtype=dtype, **SMALL | {"time_steps": 2})
    assert report.passed, str(report)


def test_a_linear_network_is_affine_in_all_but_its_recurrent_weights():
    report = rnnbp.gradcheck("elman:activation=identity", path="reference", **SMALL)
    step, sequence = (f for f in report.findings if f.kind == "taylor")
    assert all(found.affine for found in step.curves)
    assert {found.tensor for found in sequence.curves if not found.affine} == {"U"}
    assert "affine" in str(sequence) and sequence.passed


def test_a_model_is_checked():
    assert check_task("adding", "gru", method="taylor", batch=2, time_steps=5, hidden_size=3).passed


@pytest.mark.parametrize("fault", sorted(set(STEP_FAULTS) - {"nan"}))
def test_a_fault_of_the_step_turns_the_slope(fault):
    checks, _ = verdict_of(ToyLSTM(3, 4, fault), "taylor", "step")
    assert {check.tensor for check in checks if not check.passed} == STEP_FAULTS[fault]
    assert all(abs(check.error - 1) < 0.05 for check in checks if not check.passed)


@pytest.mark.parametrize("fault", sorted(set(LOOP_FAULTS) - {"dtype widened", "device lost", "shape lost"}))
def test_a_fault_of_the_loop_turns_the_slope_unless_it_hides_in_one_entry(fault):
    """An error of 1e-7 of the largest entry is less than R(ε) at all steps that are clear of rounding."""
    unseen = fault == "one entry of dU"
    assert failed(LoopedLSTM(3, 4, fault), "taylor") == (set() if unseen else LOOP_FAULTS[fault])


# ---- how it is shown ----------------------------------------------------------------------------------------------
def test_the_finding_says_slopes_in_lines_json_and_a_picture():
    report = rnnbp.gradcheck(LoopedLSTM(3, 4, "dU = instead of +="), levels=("sequence",), **ONLY)
    (found,) = (finding for finding in report.findings if finding.kind == "taylor")
    assert not found.passed and not report.passed and found.kind == "taylor"
    (line,) = [line for line in str(found).splitlines() if line.endswith("FAIL")]
    assert re.match(r"  U +1\.0\d\d  ", line) and all(len(line) <= 80 for line in str(found).splitlines()[1:])
    plain = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert plain["tolerance"] == 0.05 and [c["tensor"] for c in plain["curves"]] == [c.tensor for c in report.checks]
    assert len(plain["curves"][0]["steps"]) == len(plain["curves"][0]["remainders"])
    html = found.to_html()
    assert html.startswith("<svg") and html.count("<polyline") == 2 + len(found.curves)
    assert "U: 1.0" in html and "dU = instead of +=" in html.replace("&#x27;", "'")
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", html) and "<script" not in html
    assert html in report._repr_html_()


def test_a_picture_leaves_out_what_a_logarithm_has_no_place_for():
    rows = [Curve("a<b", (1.0, 0.5, 0.25), (0.0, np.nan, 1e-3), (0, 0), True)]
    assert picture("t", rows, "x", "y").count("<circle") > 1 and "a&lt;b" in picture("t", rows, "x", "y")
    assert picture("t<", [Curve("a", (1.0,), (0.0,), (0, 0), True)], "x", "y") == "<p>t&lt;: nothing to draw</p>"


def test_it_takes_no_extent():
    said = refusal(lambda: rnnbp.gradcheck("lstm", extent="exhaustive", **ONLY))
    assert said == "method taylor has an extent of its own; got exhaustive: leave it out"
