"""The self-test of the gradient check: what it tries, what it counts, and that it can fail."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from helpers import refusal

import rnnbp
from rnnbp.checking.catalogue import builtin_specs
from rnnbp.checking.report import Report
from rnnbp.checking.selftest import Planted, SelfTest, Trial, candidates, runner, self_test


@pytest.fixture(scope="module")
def whole() -> SelfTest:
    """All single faults, a sample of pairs, and 20 problems for each right cell; not diagnosed, for that takes long."""
    return self_test(problems=20, most_pairs=50, naming=False)


def test_the_check_passes_its_self_test(whole):
    assert whole.passed, str(whole)
    assert "self-test passed" in str(whole) and "names not asked for" in str(whole)


def test_every_single_fault_and_every_sampled_pair_is_detected(whole):
    assert whole.missed == ()
    assert whole.detected == len(whole.singles) >= 230
    assert whole.pairs_detected == len(whole.pairs) and len(whole.pairs) > 45


def test_no_right_cell_is_suspected(whole):
    assert whole.alarms == ()
    assert set(builtin_specs()) < set(whole.right) and whole.problems == 20


def test_what_does_not_apply_is_listed_once_and_not_tried(whole):
    tried = {trial.planted for trial in (*whole.singles, *whole.pairs)}
    assert len(set(whole.not_applicable)) == len(whole.not_applicable)
    assert not tried & set(whole.not_applicable)
    singles = {planted for planted in whole.not_applicable if len(planted.faults) == 1}
    assert len(singles) + len(whole.singles) == len(candidates.catalogue())
    assert "rnn: sigma-prime-missing," in str(whole)


def test_faults_that_cancel_do_not_apply():
    assert not candidates.applies("lstm", "sigma-prime-missing:f", "sigma-prime-twice:f")
    assert candidates.applies("lstm", "sigma-prime-missing:f", "sigma-prime-twice:o")


@pytest.fixture
def small(monkeypatch):
    """One family and one built-in cell."""
    monkeypatch.setattr(candidates, "FAMILIES", {"rnn": candidates.FAMILIES["rnn"]})
    monkeypatch.setattr(runner, "builtin_specs", lambda: ["rnn"])
    return lambda **options: self_test(**{"problems": 1, "most_pairs": 0, "naming": False} | options)


@pytest.mark.parametrize("backend", ["strict", "torch", "cupy"], indirect=True)  # jax would compile for half a minute
def test_a_self_test_runs_on_other_backends(small, backend, monkeypatch):
    few = [("rnn", fault) for fault in ("sign:U", "clipped:norm", "transposed:W", "mask-missing")]
    monkeypatch.setattr(candidates, "catalogue", lambda: few)
    found = small(backend=backend)
    assert (found.backend, len(found.singles), found.missed, found.alarms) == (backend.name, 3, (), ())


def test_single_faults_are_named(monkeypatch):
    """One of eight, for a diagnosis takes its time; `rnnbp gradcheck --self-test` names them all."""
    every = candidates.catalogue()
    monkeypatch.setattr(candidates, "catalogue", lambda: every[::8])
    monkeypatch.setattr(runner, "builtin_specs", lambda: [])
    found = self_test(problems=1, most_pairs=0)
    assert len(found.singles) > 25 and found.passed, str(found)


def test_names_are_read_from_the_reports_and_counted(small):
    def name(report: Report) -> str | None:
        """A diagnosis that knows two bugs."""
        failed = {check.tensor for check in report.failures}
        return {frozenset({"X"}): "input-forgotten", frozenset({"W"}): "sign"}.get(frozenset(failed))

    found = small(name=name, naming=True)
    assert found.confusion["input-forgotten", "input-forgotten"] == 1
    assert found.confusion["transposed", "sign"] == 1
    assert sum(found.confusion.values()) == len(found.singles)
    assert found.named == 1 and not found.missed and not found.passed
    rows = {bug: (count, others) for bug, count, others in found.rows()}
    assert rows["input-forgotten"] == ("1 of 1", "") and rows["transposed"] == ("0 of 2", "no name 1, sign 1")
    misnamed = found.to_json()["misnamed"]
    assert {"cell": "rnn", "faults": ["transposed:W"], "named": "sign"} in misnamed
    assert len(misnamed) == len(found.singles) - 1


def test_nine_of_ten_names_are_enough_and_fewer_are_not(small):
    found = replace(small(), naming=True)
    named = [replace(trial, named=trial.bug) for trial in found.singles]
    wrong = len(named) // 10
    for k, passed in ((0, True), (wrong, True), (wrong + 1, False)):
        trials = (*(replace(trial, named="none such") for trial in named[:k]), *named[k:])
        assert replace(found, singles=trials).passed is passed


def test_a_blind_check_fails_the_self_test(small, monkeypatch):
    right = rnnbp.gradcheck("rnn")
    monkeypatch.setattr(runner, "check_gradients", lambda *_, **__: right)
    found = small(most_pairs=3)
    assert found.detected == found.pairs_detected == 0 and len(found.missed) == len(found.singles) + 3
    assert not found.passed and "MISSED: sign:all in rnn" in str(found)


def test_an_alarmist_check_fails_the_self_test(small, monkeypatch):
    wrong = rnnbp.gradcheck(candidates.specimen("rnn", "sign:U"))
    monkeypatch.setattr(runner, "check_gradients", lambda *_, **__: wrong)
    found = small(problems=2, seed=5)
    assert found.alarms == ("rnn, seed 5", "rnn, seed 6", "hand-written rnn, seed 5", "hand-written rnn, seed 6")
    assert not found.missed and not found.passed and "FALSE ALARM: rnn, seed 6" in str(found)


def test_a_self_test_that_tried_nothing_has_not_passed(small):
    assert not replace(small(), singles=()).passed
    assert not replace(small(), problems=0).passed


def test_a_sample_of_pairs_depends_on_the_seed_alone(small, monkeypatch):
    faults = ("sign:U", "carry-dropped:h", "tanh-prime-missing:h", "tanh-prime-twice:h", "mask-missing")
    monkeypatch.setattr(candidates, "catalogue", lambda: [("rnn", fault) for fault in faults])
    one, again, other = small(most_pairs=2), small(most_pairs=2), small(most_pairs=2, seed=1)
    assert one == again and len(one.pairs) == 2 < one.all_pairs
    assert [trial.planted for trial in one.pairs] != [trial.planted for trial in other.pairs]
    assert "2 drawn from 6" in str(one)
    every = small(most_pairs=None)
    assert len(every.pairs) == 5 and not every.missed
    assert "(all 6, less 1 that" in str(every)  # a slope that is missing and applied twice is right


def test_progress_tells_how_far_it_is(small):
    told = []
    found = small(most_pairs=4, progress=lambda *words: told.append(words))
    assert told[0] == ("single faults", 1, len(found.singles))
    assert ("pairs of faults", 4, 4) in told and told[-1] == ("right cells", 2, 2)


def test_the_result_is_plain_json(whole):
    found = json.loads(json.dumps(whole.to_json()))
    assert (
        found["singles"]["total"] == len(whole.singles)
        and not found["naming"]
        and found["sizes"] == {"T": 5, "B": 3, "I": 2, "H": 4}
    )
    assert found["confusion"] == found["misnamed"] == [] and found["singles"]["named"] is None
    assert found["right"]["total"] == len(whole.right) * 20 and found["passed"] is whole.passed


@pytest.mark.parametrize(("option", "value"), [("problems", 0), ("most_pairs", -1), ("seed", 1.5)])
def test_counts_that_make_no_sense_are_refused(option, value):
    assert f"{option} must be an integer" in refusal(lambda: self_test(**{option: value}))


def test_a_trial_knows_its_bug_without_the_place():
    assert Trial(Planted("lstm", ("sigma-prime-missing:f",)), True).bug == "sigma-prime-missing"
