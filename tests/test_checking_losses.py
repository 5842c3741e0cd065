"""Every registered loss and the readout by themselves, and as levels of a whole model's check."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

import rnnbp.model
from rnnbp.checking import check_task
from rnnbp.checking.losses import SHAPE, all_losses, check_losses, loss_cases, loss_subject
from rnnbp.checking.properties.catalogue import OF_BACKWARDS, WITHOUT_COTANGENT
from rnnbp.checking.subjects.networks import readout_subject
from rnnbp.checking.verdicts import setting, verify
from rnnbp.errors import UserError
from rnnbp.losses import CrossEntropy, Loss, MeanSquaredError
from rnnbp.registry import LOSSES

HOW = setting("numpy", "float64", "complex-step", "full")


def test_every_registered_loss_passes_on_every_backend(backend):
    report = check_losses(backend=backend)
    assert report.passed, str(report)
    assert report.worst.error < 1e-14
    assert {(c.tensor, c.level, c.shape) for c in report.checks} == {("y", "loss", SHAPE)}


@pytest.mark.parametrize(
    ("method", "dtype"), [("tangent", "float64"), ("central", "float64"), ("complex-step", "float32")]
)
def test_every_registered_loss_passes_by_other_methods_and_in_float32(method, dtype):
    assert check_losses(method=method, dtype=dtype).passed


def test_properties_of_losses_are_examined(monkeypatch):
    (found,) = check_losses(["mse"]).findings
    assert found.passed and set(found.missed["loss"]) == set(OF_BACKWARDS)
    monkeypatch.setattr(type(LOSSES), "make", lambda *_: DeafToCotangent())
    (found,) = check_losses(["mse"]).findings
    assert {name for _, name in found.faults} == {"zero at zero cotangent", "linear in the cotangent"}
    assert "mse, floats, mask: dy is as large as" in str(found)


def test_every_option_kind_of_target_and_mask_is_covered():
    assert {spec.partition(":")[0] for spec in all_losses()} == set(LOSSES)
    assert len(all_losses()) == 4 * len(LOSSES)
    names = [c.cell for c in check_losses().checks]
    for words in ("reduction=mean", "reduction=sum", "steps=every", "steps=last", "class numbers", "floats", "mask"):
        assert any(words in name for name in names)
    assert {c.padded for c in check_losses().checks} == {True, False}
    assert [case.name for case in loss_cases("mse", HOW, 0)] == ["mse, floats", "mse, floats, mask"]


class Half(MeanSquaredError):
    def rows(self, xp, y, target):
        each, back = super().rows(xp, y, target)
        return each, lambda d: back(d) / 2


@dataclass(frozen=True)
class Unmasked(CrossEntropy):
    """Its gradient is divided by the number of all steps, masked or not."""

    def __call__(self, y, target, mask=None):
        value, _ = super().__call__(y, target, mask)
        _, backward = super().__call__(y, target, None)
        return value, backward


class DeafToCotangent(MeanSquaredError):
    def __call__(self, y, target, mask=None):
        value, backward = super().__call__(y, target, mask)
        return value, lambda dvalue=None: backward() if dvalue is None else backward(0 * dvalue + 1)


def fails(loss, target, masked=False, weight=None):
    y, mask = np.random.default_rng(0).standard_normal((4, 2, 3)), np.ones((4, 2), dtype=bool)
    mask[-1, -1] = False
    subject = loss_subject("loss", loss, y, target, mask if masked else None, HOW, weight)
    return [c for c in verify(subject, HOW) if not c.passed]


def test_a_fault_of_a_loss_fails():
    floats, classes = np.full((4, 2, 3), 0.3), np.ones((4, 2), dtype=int)
    assert not fails(MeanSquaredError(), floats) and fails(Half(), floats)
    assert not fails(Unmasked(), classes) and fails(Unmasked(), classes, masked=True)
    assert not fails(DeafToCotangent(), floats) and fails(DeafToCotangent(), floats, weight=2.5)
    assert not fails(MeanSquaredError(), floats, weight=2.5)


@dataclass(frozen=True)
class Peculiar(Loss):
    """Takes no target that a check could draw."""

    def check_target(self, *arguments):
        del arguments
        raise UserError("a target must be a permutation")

    def rows(self, xp, y, target):
        raise NotImplementedError


def test_a_loss_that_takes_no_target_known_is_refused(monkeypatch):
    monkeypatch.setattr(type(LOSSES), "make", lambda *_: Peculiar())
    with pytest.raises(UserError, match="takes neither class numbers nor floats"):
        list(loss_cases("peculiar", HOW, 0))


def test_the_readout_passes_on_every_backend(backend):
    how = setting(backend, "float64", "complex-step", "full")
    found = verify(readout_subject("m", (4, 2, 3), 5, how, np.random.default_rng(0)), how)
    assert [c.tensor for c in found] == ["readout.W", "readout.b", "h"]
    assert all(c.passed and c.level == "readout" for c in found)


def test_a_fault_of_the_readout_is_told_from_the_rest(monkeypatch):
    right = rnnbp.model.readout

    def wrong(w, b, ys):
        value, backward = right(w, b, ys)
        return value, lambda d: (backward(d)[0], 2 * backward(d)[1], backward(d)[2])

    monkeypatch.setattr("rnnbp.checking.subjects.networks.readout", wrong)
    monkeypatch.setattr("rnnbp.model.readout", wrong)
    report = check_task("four-steps", "elman")
    assert {(c.level, c.tensor) for c in report.failures} == {("readout", "readout.b"), ("model", "readout.b")}


def test_a_task_is_checked_at_three_levels():
    report = check_task("four-steps", "lstm", dtype="float32")
    assert report.passed
    assert list(dict.fromkeys(c.level for c in report.checks)) == ["loss", "readout", "model"]
    assert {c.level for c in check_task("four-steps", levels=("loss",)).checks} == {"loss"}
    with pytest.raises(UserError, match="unknown level 'step'"):
        check_task("four-steps", levels=("step",))


def test_properties_of_a_model_are_examined_where_every_entry_is_checked():
    (found,) = check_task("four-steps", "gru").findings
    want = {"loss": OF_BACKWARDS, "readout": OF_BACKWARDS, "model": WITHOUT_COTANGENT}
    assert found.passed and {level: set(names) for level, names in found.missed.items()} == {
        level: set(names) for level, names in want.items()
    }
    assert not check_task("four-steps", "gru", method="directional").findings
    assert not check_task("four-steps", "gru", properties=False).findings
    assert check_task("four-steps", "gru", method="directional", properties=True).findings
