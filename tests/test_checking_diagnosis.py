"""Naming what is wrong: a fault that has a name gets it, and nothing else does."""

from __future__ import annotations

import json

import numpy as np
import pytest
from faulty_cells import LoopedLSTM, ToyLSTM

import rnnbp
from rnnbp.checking.bugs import BUGS
from rnnbp.checking.catalogue import builtin_specs
from rnnbp.checking.diagnosis import Diagnosis, Explanation, diagnose
from rnnbp.checking.diagnosis.finding import ENOUGH
from rnnbp.checking.subjects.problems import draw
from rnnbp.checking.subjects.sequences import sequence_subject
from rnnbp.checking.verdicts import setting
from rnnbp.truncation import parse

# fault of tests/faulty_cells.py -> its name, and a word of the detail
STEP_NAMES = {
    "swapped gates i and f": ("gates-swapped", "0 and 1"),
    "bias of the wrong gate": ("bias-copied", "gate 2 is that of gate 0"),
    "dW scaled by 1.001": ("factor", "dW × 1.001"),
    "peephole path of i into c missing": ("peephole-path-missing", "c → gate 0"),
    "output gate's peephole sees c of before": ("peephole-of-wrong-c", "dpo"),
    "peephole gradient missing": ("all-zero", "dpf"),
    "sigma' missing": ("sigma-prime-missing", "σ' of gate 3"),
    "sigma' twice": ("sigma-prime-twice", "σ' of gate 3"),
    "tanh' of the activated value": ("tanh-prime-of-activated", "tanh' of c"),
    "dx missing": ("input-forgotten", "dX"),
}
LOOP_NAMES = {
    "dU scaled by 1.001": ("factor", "dU × 1.001"),
    "dU = instead of +=": ("missing-accumulation", "dU of t = 0 alone"),
    "t = 0 skipped": ("first-step-skipped", ""),
    "dc carry dropped": ("carry-dropped", "the error of c"),
    "dh carry dropped": ("carry-dropped", "the error of h"),
    "dh0 forgotten": ("initial-state-forgotten", "dh0, dc0"),
}
NAMELESS = ["X turned in time", "one entry of dU"]


def diagnosed(cell, seed=0, truncation="full", padded=True):
    problem, windows = draw(cell, 5, 3, seed, padded=padded), parse(truncation, 5)
    subject = sequence_subject("c", problem, windows, setting("numpy", "float64", "complex-step", truncation))
    return diagnose("c", problem, windows, subject.gradients(dict(subject.tensors)))


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("fault", STEP_NAMES)
def test_a_fault_of_the_step_is_named(fault, seed):
    best = diagnosed(ToyLSTM(4, 6, fault), seed).best
    assert best is not None and best.bug == STEP_NAMES[fault][0] and STEP_NAMES[fault][1] in best.detail
    assert best.explained > 1 - 1e-12


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("fault", LOOP_NAMES)
def test_a_fault_of_the_loop_is_named(fault, seed):
    best = diagnosed(LoopedLSTM(4, 6, fault), seed, padded=False).best
    assert best is not None and best.bug == LOOP_NAMES[fault][0] and LOOP_NAMES[fault][1] in best.detail


@pytest.mark.parametrize("fault", ["sigma' twice", "swapped gates i and f"])
def test_a_fault_is_named_under_truncation(fault):
    best = diagnosed(ToyLSTM(4, 6, fault), truncation="tbptt:2,3").best
    assert best is not None and best.bug == STEP_NAMES[fault][0]


@pytest.mark.parametrize("fault", NAMELESS)
def test_what_has_no_name_gets_none(fault):
    found = diagnosed(LoopedLSTM(4, 6, fault), padded=False)
    assert found.best is None
    assert "no known bug explains this" in str(found) and "closest" not in str(found)


@pytest.mark.parametrize("spec", builtin_specs())
def test_noise_is_no_bug(spec):
    cell = rnnbp.cell(spec, 4, 6)
    problem, windows, rng = draw(cell, 5, 3, 0), parse("full", 5), np.random.default_rng(0)
    subject = sequence_subject(spec, problem, windows, setting("numpy", "float64", "complex-step", "full"))
    right = subject.gradients(dict(subject.tensors))
    noisy = {name: g + 0.1 * rng.standard_normal(g.shape) for name, g in right.items()}
    found = diagnose(spec, problem, windows, noisy)
    assert found.best is None and found.candidates[0].explained < ENOUGH


def test_a_transposed_matrix_of_another_shape_is_seen():
    cell = rnnbp.cell("rnn", 4, 6)
    problem, windows = draw(cell, 5, 3, 0), parse("full", 5)
    subject = sequence_subject("rnn", problem, windows, setting("numpy", "float64", "complex-step", "full"))
    gradients = subject.gradients(dict(subject.tensors))
    best = diagnose("rnn", problem, windows, gradients | {"W": gradients["W"].T}).best
    assert best is not None and (best.bug, best.detail) == ("transposed", "dW")


def test_every_name_is_in_the_catalogue_and_json_holds_it_all():
    found = diagnosed(ToyLSTM(4, 6, "sigma' twice"))
    assert all(explanation.bug in BUGS for explanation in found.candidates)
    plain = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert plain["best"]["bug"] == "sigma-prime-twice" and len(plain["candidates"]) == 5
    assert "explains 100 % of the residual" in str(found)


def test_a_near_miss_is_mentioned_and_a_far_one_is_not():
    def say(share):
        return str(Diagnosis("c", (Explanation("sign", "dU", "", share),), ("U",)))

    assert "closest: sign (dU)" in say(0.9) and "closest" not in say(0.5) and "diagnosis: sign" in say(0.999)


def test_one_number_is_no_multiple_and_nan_is_no_bug():
    cell = rnnbp.cell("rnn", 1, 1)
    problem, windows = draw(cell, 1, 1, 0), parse("full", 1)
    subject = sequence_subject("rnn", problem, windows, setting("numpy", "float64", "complex-step", "full"))
    right = subject.gradients(dict(subject.tensors))
    best = diagnose("rnn", problem, windows, right | {"U": right["U"] * -7.9}).best
    assert best is None or best.bug != "factor"
    report = rnnbp.gradcheck(ToyLSTM(4, 6, "nan"))
    assert "diagnosis: none (not finite: db)" in str(report)
