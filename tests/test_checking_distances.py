"""What truncation throws away, and why a truncated backward fails against the full derivative."""

from __future__ import annotations

import json
from math import isnan

import numpy as np
import pytest
from helpers import refusal

import rnnbp
from rnnbp.cells.elman import Elman
from rnnbp.checking.distances import check_against, held_to, separation, truncation_finding
from rnnbp.checking.lags import numeric_blocks
from rnnbp.checking.subjects.problems import draw
from rnnbp.checking.subjects.sequences import sequence_subject
from rnnbp.checking.verdicts import setting, verify
from rnnbp.errors import UserError
from rnnbp.truncation import full, parse


def subjects(truncation, spec="lstm:peepholes=true", backend="numpy", seed=0, dtype="float64"):
    """The truncated subject, the full one, and the setting."""
    how = setting(backend, dtype, "complex-step", truncation)
    problem = draw(rnnbp.cell(spec, 3, 4), 5, 3, seed, dtype)
    return (
        sequence_subject(spec, problem, parse(truncation, 5), how),
        sequence_subject(spec, problem, full(5), how),
        how,
    )


def test_separation_by_hand():
    found = separation(np.array([3.0, 0.0]), np.array([3.0, 4.0]))
    assert (found.ratio, found.cosine, found.difference) == pytest.approx((0.6, 0.6, 0.8))
    tiny = separation(np.array([3e-200, 0.0]), np.array([3e-200, 4e-200]))
    assert (tiny.ratio, tiny.cosine, tiny.difference) == pytest.approx((0.6, 0.6, 0.8))
    gone = separation(np.zeros(2), np.array([3.0, 4.0]))
    assert (gone.ratio, gone.difference) == (0, 1) and isnan(gone.cosine)
    assert isnan(separation(np.zeros(2), np.zeros(2)).difference)


def test_the_distance_is_that_of_the_two_derivatives(backend):
    """Both made without any backward: by perturbing U at one step after the other."""
    truncated, whole, how = subjects("tbptt:2,3", backend=backend)
    found = truncation_finding(truncated, whole, how)
    assert found.passed and list(found.tensors) == list(truncated.tensors)
    problem, numpy = draw(rnnbp.cell("lstm:peepholes=true", 3, 4), 5, 3, 0), rnnbp.backend("numpy")
    g, f = (
        np.sum(numeric_blocks(problem, numpy, "U", windows=parse(words, 5)), axis=(0, 1))
        for words in ("tbptt:2,3", "full")
    )
    assert found.tensors["U"].difference == pytest.approx(np.linalg.norm(g - f) / np.linalg.norm(f), rel=1e-12)
    assert found.tensors["U"].ratio == pytest.approx(np.linalg.norm(g) / np.linalg.norm(f), rel=1e-12)
    assert 0.01 < found.tensors["U"].difference < 1 and found.tensors["U"].cosine < 1


def test_without_truncation_the_distance_is_zero():
    found = truncation_finding(*subjects("tbptt:5,5"))
    assert all((s.difference, s.ratio) == (0, 1) for s in found.tensors.values())


def test_more_steps_back_are_closer():
    far = [truncation_finding(*subjects(f"tbptt:1,{k}")).tensors["U"].difference for k in (1, 2, 3, 5)]
    assert far[0] > far[1] > far[2] > 0.01 and far[3] < 1e-15


@pytest.mark.parametrize("seed", range(3))
def test_a_truncated_backward_passes_its_claim_and_fails_the_full_derivative(seed):
    truncated, whole, how = subjects("tbptt:2,3", seed=seed)
    assert all(check.passed for check in verify(truncated, how))
    checks = {check.tensor: check for check in verify(held_to("full", truncated, whole), how)}
    assert not any(check.passed for check in checks.values())
    finding = truncation_finding(truncated, whole, how, "full")
    said = finding.reason
    far = finding.farthest
    assert finding.passed and f"the gradient of {far} is off by {finding.tensors[far].difference:.0%}" in said
    assert all(finding.tensors[far].difference >= s.difference for s in finding.tensors.values())


def test_full_bptt_passes_the_full_derivative():
    truncated, whole, how = subjects("tbptt:5,5")
    assert all(check.passed for check in verify(held_to("full", truncated, whole), how))
    assert "cuts nothing" in truncation_finding(truncated, whole, how, "full").reason


def test_the_finding_reads_well_and_is_plain_json():
    finding = truncation_finding(*subjects("tbptt:1,1"))
    assert max(map(len, str(finding).splitlines())) <= 80 and "beside the full one" in str(finding)
    plain = json.loads(json.dumps(finding.to_json()))
    assert plain["tensors"]["h0"]["ratio"] < 1 and plain["against"] == "claim"
    assert finding.reason == "" and "held to" not in str(finding)
    held = truncation_finding(*subjects("tbptt:1,1"), "full")
    assert max(map(len, str(held).splitlines())) <= 80 and "throws away" in str(held)


def test_a_cell_that_always_cuts_has_no_full_derivative():
    class Always(Elman):
        cut = ("h",)

    assert "always cuts gate h" in refusal(lambda: rnnbp.gradcheck(Always(3, 4), against="full"))


@pytest.mark.parametrize(
    "spec", ["lstm-1997", "gru/zoneout", "lstm:stopped=i/zoneout", "lstm-peephole:peephole_error=false"]
)
def test_what_a_cell_stops_itself_fails_against_the_full_derivative(spec):
    report = rnnbp.gradcheck(spec, time_steps=4, against="full", properties=False)
    assert report.passed == (spec == "gru/zoneout") and rnnbp.gradcheck(spec, time_steps=4, properties=False).passed
    assert report.passed or "what the cell stops itself throws away errors" in str(report)
    model = rnnbp.checking.check_task("four-steps", spec, hidden_size=2, against="full")
    assert model.passed == report.passed


def test_against_is_one_of_two():
    with pytest.raises(UserError, match="unknown against 'ful'"):
        check_against("ful")


def distance(report):
    return [finding for finding in report.findings if finding.kind == "truncation"]


def test_gradcheck_reports_the_distance_under_truncation_alone():
    assert distance(rnnbp.gradcheck("gru", time_steps=4)) == []
    report = rnnbp.gradcheck("gru", time_steps=4, truncation="tbptt:2,2")
    (finding,) = distance(report)
    assert report.passed and set(finding.tensors) == {check.tensor for check in report.checks}


def test_gradcheck_against_the_full_derivative_fails_and_says_why():
    report = rnnbp.gradcheck("gru", time_steps=4, truncation="tbptt:2,2", against="full")
    assert not report.passed and {check.level for check in report.failures} == {"sequence"}
    (finding,) = distance(report)
    assert "throws away" in str(report) and finding.against == "full"
    (table,) = [finding for finding in report.findings if finding.kind == "lags"]
    assert table.where.startswith("recurrence (s < t)") and not (table.analytic[2:4, :2] != 0).any()
    assert rnnbp.gradcheck("gru", time_steps=4, truncation="tbptt:9,9", against="full").passed
    with pytest.raises(UserError, match="unknown against"):
        rnnbp.gradcheck("gru", against="ful")


def test_a_task_reports_the_distance_too():
    report = rnnbp.checking.check_task("four-steps", truncation="tbptt:1,2", hidden_size=2)
    (finding,) = distance(report)
    assert report.passed and finding.tensors["readout.W"].difference < 1e-15 < 0.01 < finding.tensors["0.W"].difference
    report = rnnbp.checking.check_task("four-steps", truncation="tbptt:1,2", hidden_size=2, against="full")
    assert {check.tensor for check in report.failures} >= {"0.W", "0.U"} and "throws away" in str(report)
