"""Method `tangent`: its rules against complex steps, on functions and on every cell; what it makes no array of."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from cases import EVERY, make
from faulty_cells import STEP_FAULTS, ToyLSTM
from helpers import relative_error

import rnnbp
from rnnbp.checking.methods.numeric import Asked
from rnnbp.checking.methods.registry import METHODS
from rnnbp.checking.methods.tangents.method import recorded
from rnnbp.checking.methods.tangents.sparse import Columns, Units
from rnnbp.checking.subjects.networks import model_subject
from rnnbp.checking.subjects.problems import draw
from rnnbp.checking.subjects.sequences import sequence_subject
from rnnbp.checking.verdicts import setting
from rnnbp.losses import CrossEntropy
from rnnbp.model import Model
from rnnbp.stacking import stack
from rnnbp.truncation import parse

SAME = 1e-13  # norm-relative; both methods round, at 1e-16 for each of some hundred operations
TANGENT, COMPLEX = METHODS["tangent"], METHODS["complex-step"]
HOST = rnnbp.backend("numpy")


def agree(asked):
    """Every entry, and directions, of every tensor."""
    rng = np.random.default_rng(1)
    for name in asked.subject.tensors:
        mine, theirs = TANGENT.entries(asked, name), COMPLEX.entries(asked, name)
        assert relative_error(mine, theirs) < SAME, name
        directions = rng.choice([-1.0, 1.0], (2, *mine.shape))
        along, wanted = TANGENT.along(asked, name, directions), np.tensordot(directions, mine, mine.ndim)
        np.testing.assert_allclose(along, wanted, atol=1e-13 * np.sum(abs(mine)))


# ---- cells and models ---------------------------------------------------------------------------------------------
def sequence(cell, truncation="full", time_steps=5, batch=3, how=None, padded=True):
    how = how or setting(None, "float64", "tangent", truncation)
    return sequence_subject("cell", draw(cell, time_steps, batch, 0, padded=padded), parse(truncation, time_steps), how)


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("truncation", ["full", "tbptt:2,3"])
def test_tangents_agree_with_complex_steps(name, truncation):
    agree(Asked(sequence(make(name, 3, 4), truncation), HOST))


@pytest.mark.parametrize("name", ["lstm:peepholes=true", "gru:reset=before"])
def test_tangents_agree_on_every_backend(name, backend):
    asked = Asked(
        sequence(make(name, 3, 4), time_steps=2, batch=2, how=setting(backend, "float64", "tangent", "full")), backend
    )
    for tensor, wanted in _by_complex_steps(name).items():
        assert relative_error(TANGENT.entries(asked, tensor), wanted) < SAME


@cache
def _by_complex_steps(name, time_steps=2, batch=2):
    return COMPLEX.gradients(Asked(sequence(make(name, 3, 4), time_steps=time_steps, batch=batch), HOST))


@pytest.mark.parametrize("cell", ["gru", "lstm"])
@pytest.mark.parametrize("truncation", ["full", "tbptt:2,2"])
def test_tangents_go_through_whole_models(cell, truncation):
    both = truncation == "full"
    model = Model(stack(cell, 3, 4, layers=2, bidirectional=both), 5, CrossEntropy(), "embedding", symbols=6)
    rng = np.random.default_rng(0)
    xs, targets = rng.integers(0, 6, (4, 2)), rng.integers(0, 5, (4, 2))
    how = setting(None, "float64", "tangent", truncation)
    agree(Asked(model_subject("model", model, xs, targets, parse(truncation, 4), how, rng), HOST))


class Cut(rnnbp.PointwiseCell):
    """The error does not flow back through U."""

    gates = ("h",)
    cut = ("h",)

    def pointwise(self, xp, a, s, p, e):
        del s, p, e
        t = xp.tanh(a[0])
        return (t,), lambda ds: ((ds[0] * (1 - t * t),), (None,), {})


def test_detach_ends_a_tangent():
    agree(Asked(sequence(Cut(3, 4)), HOST))
    assert rnnbp.gradcheck(Cut(3, 4), method="tangent").passed


@pytest.mark.parametrize("fault", [f for f in STEP_FAULTS if "sigma'" in f or "tanh'" in f])
def test_tangents_alone_find_every_wrong_slope(fault):
    report = rnnbp.gradcheck(ToyLSTM(3, 4, fault=fault), method="tangent", levels=("sequence",))
    assert {check.tensor for check in report.failures} >= STEP_FAULTS[fault]
    assert rnnbp.gradcheck(ToyLSTM(3, 4), method="tangent").passed


def test_kinks_and_float32_pass_by_tangents():
    assert rnnbp.gradcheck("elman:activation=relu", method="tangent").worst.error < 1e-14
    assert rnnbp.gradcheck("lstm", method="tangent", dtype="float32").passed


# ---- what is not made ---------------------------------------------------------------------------------------------
def test_no_matrix_of_units_is_made(monkeypatch):
    asked = Asked(sequence(make("lstm", 3, 4)), HOST)
    wanted = {name: COMPLEX.entries(asked, name) for name in "WU"}
    monkeypatch.setattr(Units, "dense", property(lambda _: pytest.fail("a unit was made into an array")))
    for name in "WU":
        assert relative_error(TANGENT.entries(asked, name), wanted[name]) < SAME


@pytest.mark.parametrize("memory", [1, 10**4, 10**6, 10**9])
def test_memory_does_not_change_the_slopes(memory):
    few = Asked(sequence(make("lstm:peepholes=true", 3, 4), time_steps=2, batch=2), HOST, memory=memory)
    for name, wanted in _by_complex_steps("lstm:peepholes=true").items():
        assert relative_error(TANGENT.entries(few, name), wanted) < SAME


class Meeting(Cut):
    """The rows of the batch meet: each sees the mean of all."""

    cut = ()

    def pointwise(self, xp, a, s, p, e):
        del s, p, e
        t = xp.tanh(a[0] + xp.mean(a[0], axis=-2, keepdims=True))
        return (t,), lambda ds: ((ds[0],), (None,), {})  # not needed here


def test_rows_go_beside_each_other_only_where_they_never_meet():
    for cell, rows in ((make("lstm", 3, 4), 3), (Meeting(3, 4), 1)):
        asked = Asked(sequence(cell), HOST)
        assert {recorded(asked, "entries", 0)[name].rows for name in ("X", "h0")} == {rows}
        assert recorded(asked, "entries", 0)["U"].rows == 1
        agree(asked)


def test_units_and_columns_are_what_they_say():
    a = np.random.default_rng(0).standard_normal((2, 4))
    units = Units(HOST, np.array([0, 5, 11, -1]), (3, 4))
    wanted = np.zeros((4, 3, 4))
    wanted[0, 0, 0] = wanted[1, 1, 1] = wanted[2, 2, 3] = 1
    assert np.array_equal(units.dense, wanted)
    assert np.array_equal(units.reshape((4, 3)).dense, wanted.reshape(4, 4, 3))
    assert np.array_equal(units.getitem((slice(1, None), slice(0, 2))).dense, wanted[:, 1:, :2])
    assert units.getitem((0, slice(1, None))) is None
    product = units.after(a[:, :3])
    assert isinstance(product, Columns) and np.allclose(product.dense, a[:, :3] @ wanted)
    assert np.allclose(product.within(1, 3).dense, product.dense[..., 1:3])
    assert Columns(np, np.ones((2, 3, 1)), 1, 4).within(2, 4) is None
    assert np.allclose(product.times(a).dense, product.dense * a)
