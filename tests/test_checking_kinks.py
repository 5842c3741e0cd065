"""Where forwards bend, how far away that is, and that differences never step across."""

from __future__ import annotations

from math import inf

import numpy as np
import pytest

import rnnbp
from rnnbp.checking import all_specs, check_task
from rnnbp.checking.kinks.bends import Bends
from rnnbp.checking.kinks.crossings import Kinks, crossing, reach, uncrossed
from rnnbp.checking.methods.numeric import MEMORY, Asked
from rnnbp.checking.methods.registry import METHODS
from rnnbp.checking.subjects.problems import draw
from rnnbp.checking.subjects.sequences import sequence_subject
from rnnbp.checking.subjects.subject import Subject
from rnnbp.checking.verdicts import setting
from rnnbp.errors import UserError
from rnnbp.truncation import full

RELU = "elman:activation=relu"


def subject_of(forward, value):
    """Σ forward(xp, v) at a value."""
    loss = lambda where: lambda given: where.xp.sum(forward(where.xp, given["v"]), axis=-1)
    return Subject("f", {"v": np.asarray(value, dtype=float)}, loss, dict, 10)


def bends(forward, value, backend="numpy"):
    """The kinks of that subject."""
    return Bends(subject_of(forward, value), rnnbp.backend(backend) if isinstance(backend, str) else backend)


FORWARDS = {
    "operator": (lambda xp, v: xp.where(v > 0, v, 2 * v), 0.25),
    "function": (lambda xp, v: xp.where(xp.less(v, xp.zeros_like(v)), v, 2 * v), 0.25),
    "shifted": (lambda xp, v: xp.where(3 * v >= 1, v, 2 * v), 0.25),
    "maximum": (lambda xp, v: xp.maximum(v, 1.5 * xp.ones_like(v)), 0.5),
    "minimum of two": (lambda xp, v: xp.minimum(v, 3 * v), 0.5),
    "abs": (lambda xp, v: xp.abs(v), 0.25),
    "operator abs": (lambda _, v: abs(v), 0.25),
    "sign": (lambda xp, v: xp.sign(v) * v, 0.25),
    "clip": (lambda xp, v: xp.clip(v, -0.3, 5.0), 0.45),
    "max over an axis": (lambda xp, v: xp.max(v, axis=-1, keepdims=True), 0.75),
    "min over an axis": (lambda xp, v: xp.min(v, axis=-1, keepdims=True), 1.0),
    "real part": (lambda xp, v: xp.where(xp.real(v) > 0, v, xp.zeros_like(v)), 0.25),
    "relu of relu": (lambda xp, v: rnnbp.numerics.relu(xp, rnnbp.numerics.relu(xp, v)), 0.25),
    "without a rule": (lambda xp, v: xp.abs(xp.cumulative_sum(v)), 0.5),
    "several results": (lambda xp, v: xp.abs(xp.stack(list(xp.unstack(v)))), 0.25),
    "smooth": (lambda xp, v: xp.tanh(v) * xp.exp(v), inf),
    "constants": (lambda xp, v: xp.where(xp.zeros_like(v) > -0.1, v, 2 * v), inf),
    "whole numbers": (lambda xp, v: xp.where(xp.arange(3) == 2, v, 2 * v), inf),
}


@pytest.mark.parametrize("name", FORWARDS)
def test_the_nearest_kink_is_measured_on_every_backend(name, backend):
    forward, distance = FORWARDS[name]
    assert bends(forward, [-0.75, 0.25, 1.0], backend).nearest == pytest.approx(distance, rel=1e-12)


def test_copies_that_turn_a_unit_are_told_apart():
    found = bends(FORWARDS["operator"][0], [-0.75, 0.25])
    copies = np.array([[-0.75, 0.25], [-0.75, -0.25], [0.1, 0.25], [-0.5, 9.0]])
    assert found.turned({"v": copies}, 4).tolist() == [False, True, True, False]


@pytest.mark.parametrize("spec", all_specs())
def test_of_the_cells_only_those_with_a_relu_a_bound_or_a_maximum_bend(spec):
    bent = any(word in spec for word in ("relu", "clip", "slstm")) or spec in ("indrnn", "irnn")
    report = rnnbp.gradcheck(spec, time_steps=2, batch=2, properties=False)
    found = [finding for finding in report.findings if finding.kind == "kinks"]
    assert len(found) == bent
    assert all(0 < finding.distance < 1 and "does not cross it" in str(finding) for finding in found)


def test_the_distance_is_that_of_the_smallest_preactivation(backend):
    """By hand: the plain loop over time."""
    problem = draw(rnnbp.cell(RELU, 4, 6), 5, 3, 0)
    h, smallest = problem.s0[0], inf
    for t in range(5):
        a = problem.xs[t] @ problem.params["W"] + h @ problem.params["U"] + problem.params["b"]
        smallest = min(smallest, float(np.min(np.abs(a))))
        h = np.where(problem.mask[t][:, None], np.maximum(a, 0), h)
    subject = sequence_subject("relu", problem, full(5), setting(backend, "float64", "complex-step", "full"))
    found = Bends(subject, backend)
    assert found.nearest == pytest.approx(smallest, rel=1e-9)


def test_how_far_methods_move_an_entry():
    assert {name: reach(name) for name in METHODS if reach(name)} == {"central": 1e-5, "five-point": 2e-3}


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("method", ["central", "five-point"])
def test_differences_are_redrawn_until_no_unit_flips(method, seed):
    report = rnnbp.gradcheck(RELU, method=method, seed=seed, properties=False)
    (kinks,) = report.findings
    assert report.passed and report.seed == seed and report.worst.error < report.worst.tolerance / 10
    assert [tried for tried, _ in kinks.left] == list(range(seed, kinks.seed))
    assert ("redrawn with seed" in str(kinks)) == (kinks.seed != seed)


def test_some_seeds_do_flip_a_unit_and_would_have_failed_right_code():
    """Else the redraw would be for nothing."""
    how = setting("numpy", "float64", "five-point", "full")
    flipped = []
    for seed in range(8):
        subject = sequence_subject("relu", draw(rnnbp.cell(RELU, 4, 6), 5, 3, seed), full(5), how)
        found = crossing(Bends(subject, how.backend), Asked(subject, how.backend), 2e-3)
        flipped += [(seed, found)] if found else []
    assert 0 < len(flipped) < 8
    assert all(any(name in found for name in ("W[", "U[", "b[", "X[", "h0[")) for _, found in flipped)


def sawtooth(xp, v):
    """Bends at every hundredth."""
    for k in range(-100, 100):
        v = xp.where(v > 0.01 * k, 1.001 * v, v)
    return v


def test_where_every_problem_has_a_unit_that_flips_it_is_said():
    how = setting("numpy", "float64", "five-point", "full")
    make = lambda seed: subject_of(sawtooth, np.random.default_rng(seed).uniform(-1, 1, 20))
    with pytest.raises(
        UserError, match="steps across a kink in each of 50 problems from seed 3 on: use method complex"
    ):
        uncrossed(make, 3, how, MEMORY)


def test_where_directions_stand_for_entries_it_is_their_steps_that_must_not_flip_a_unit():
    how = setting("numpy", "float64", "five-point", "full", extent="directional")
    make = lambda seed: sequence_subject("relu", draw(rnnbp.cell(RELU, 4, 6), 5, 3, seed), full(5), how)
    given_up = set()
    for seed in range(8):
        taken, kinks = uncrossed(make, seed, how, MEMORY)
        assert kinks is not None and taken == kinks.seed
        assert all(said.startswith("a direction of ") for _, said in kinks.left)
        subject, steps = make(taken), 2e-3
        assert not crossing(Bends(subject, how.backend), Asked(subject, how.backend), steps, how.seeds)
        given_up |= {tried for tried, _ in kinks.left}
    assert given_up


@pytest.mark.parametrize("method", ["complex-step", "five-point"])
def test_a_model_with_a_relu_has_kinks_and_one_with_a_softmax_none(method):
    options = {"method": method, "levels": ("model",), "properties": False}
    (kinks,) = check_task("four-steps", RELU, **options).findings
    assert isinstance(kinks, Kinks) and kinks.reach == reach(method)
    softmax = check_task("copy:symbols=3,length=2", "gru", time_steps=5, batch=2, hidden_size=3, **options)
    assert softmax.passed and not softmax.findings


class OnArraysAlone(rnnbp.PointwiseCell):
    """Uses what arrays of NumPy have, and operands have not."""

    gates = ("h",)

    def pointwise(self, xp, a, s, p, e):
        del s, p, e
        h = xp.tanh(a[0].copy())
        return (h,), lambda ds: ((ds[0] * (1 - h * h),), (None,), {})


def test_a_forward_that_cannot_be_watched_is_checked_all_the_same():
    report = rnnbp.gradcheck(OnArraysAlone(2, 3), backend="numpy", properties=False)
    (kinks,) = report.findings
    assert report.passed and "kinks were not looked for" in str(kinks) and "copy" in str(kinks)
    assert kinks.to_json()["distance"] is None and kinks.to_json()["unseen"] == kinks.unseen


def test_a_finding_is_plain_in_json():
    found = Kinks("relu", 0.5, "central", 1e-5, ((0, "U[1, 2]"),), 1)
    assert found.to_json()["left"] == [{"seed": 0, "entry": "U[1, 2]"}] and found.passed
    assert "nearest kink at distance 5.0e-01, 5e+04 steps of 1e-05" in str(found) and "seed 0: U[1, 2]" in str(found)
