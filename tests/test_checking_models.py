"""Gradients of whole models on the data of tasks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rnnbp.checking import check_task
from rnnbp.checking.subjects.networks import model_subject
from rnnbp.checking.verdicts import setting, verify
from rnnbp.errors import UserError
from rnnbp.losses import MeanSquaredError
from rnnbp.model import Model
from rnnbp.stacking import stack
from rnnbp.truncation import parse

CELLS = ["elman", "lstm:peepholes=true", "gru", "gru:reset=before"]


@pytest.mark.parametrize("cell", CELLS)
def test_four_steps_passes_on_every_backend(cell, backend):
    report = check_task("four-steps", cell, backend=backend)
    assert report.passed, str(report)
    assert report.task == "four-steps" and "task four-steps" in report.title
    tensors = [check.tensor for check in report.checks]
    assert {"0.W", "0.U", "0.b", "readout.W", "readout.b", "X", "0.h0"} <= set(tensors)
    assert {check.shape for check in report.checks if check.tensor == "X"} == {(4, 1, 2)}


@pytest.mark.parametrize("truncation", ["full", "tbptt:1,2", "tbptt:2,3"])
@pytest.mark.parametrize(("method", "dtype"), [("complex-step", "float32"), ("central", "float64")])
def test_four_steps_passes_under_every_setting(truncation, method, dtype):
    assert check_task("four-steps", "lstm", truncation=truncation, method=method, dtype=dtype).passed


@pytest.mark.parametrize(
    ("task", "time_steps"), [("copy:symbols=3,length=2", 6), ("adding", 5), ("temporal-order", 10)]
)
def test_other_tasks_pass(task, time_steps):
    options = {"time_steps": time_steps, "batch": 2, "hidden_size": 3}
    assert check_task(task, "lstm", **options).passed
    assert check_task(task, "gru", truncation="tbptt:2,4", **options).passed


class HalfLoss(MeanSquaredError):
    """Its backward lacks the factor 2 of the square."""

    def rows(self, xp, y, target):
        each, back = super().rows(xp, y, target)
        return each, lambda d: back(d) / 2


class TurnedBias(Model):
    """Its readout hands each bias the gradient of another unit's."""

    def __call__(self, *arguments, **options):
        value, last, backward = super().__call__(*arguments, **options)

        def wrong(windows=None):
            dparams, dxs, ds0 = backward(windows)
            return dparams | {"readout.b": dparams["readout.b"][::-1]}, dxs, ds0

        return value, last, wrong


def failed(model, truncation):
    how = setting("numpy", "float64", "complex-step", truncation)
    rng = np.random.default_rng(0)
    xs, targets = rng.standard_normal((4, 2, 3)), rng.standard_normal((4, 2, 2))
    subject = model_subject("m", model, xs, targets, parse(truncation, 4), how, rng)
    return {check.tensor for check in verify(subject, how) if not check.passed}


@pytest.mark.parametrize("truncation", ["full", "tbptt:1,2", "tbptt:2,3"])
def test_a_stack_of_two_layers_passes_and_its_faults_fail(truncation):
    model = Model(stack("lstm", 3, 4, layers=2), 2, MeanSquaredError())
    assert failed(model, truncation) == set()
    assert failed(replace(model, loss=HalfLoss()), truncation) >= {"0.W", "1.U", "readout.W", "X", "0.c0"}
    wrong = TurnedBias(model.stack, model.output_size, model.loss)
    assert failed(wrong, truncation) == {"readout.b"}


def test_what_belongs_to_the_task_cannot_be_set():
    with pytest.raises(UserError, match="input_size is the task's own, 2; got 3"):
        check_task("four-steps", input_size=3)
    with pytest.raises(UserError, match="one sequence of 4 steps"):
        check_task("four-steps", time_steps=5)
    with pytest.raises(UserError, match="unknown task"):
        check_task("three-steps")
    with pytest.raises(UserError, match="batch must be"):
        check_task("adding", batch=0)
