"""Complex steps in entries of a matrix that all copies share."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from cases import make
from helpers import relative_error

import rnnbp
from rnnbp.checking.methods import complexsteps
from rnnbp.checking.methods.numeric import Asked
from rnnbp.checking.methods.registry import METHODS
from rnnbp.checking.methods.shared import SharingSpace, shared
from rnnbp.checking.operands.space import bare
from rnnbp.checking.subjects.problems import draw
from rnnbp.checking.subjects.sequences import sequence_subject
from rnnbp.checking.verdicts import setting
from rnnbp.truncation import parse

COMPLEX = METHODS["complex-step"]


def asked(cell, backend, truncation="full", time_steps=3, batch=2):
    how = setting(backend, "float64", "complex-step", truncation)
    problem, windows = draw(cell, time_steps, batch, 0), parse(truncation, time_steps)
    return Asked(sequence_subject("cell", problem, windows, how), backend)


@pytest.mark.parametrize("name", ["lstm:peepholes=true", "gru:reset=before"])
def test_shared_matrices_give_the_slopes_of_copies(name, backend, monkeypatch):
    question = asked(make(name, 3, 4), backend, "tbptt:1,2")
    wanted = {n: COMPLEX.entries(question, n) for n in "WU"}
    made = _count(monkeypatch)
    for n in "WU":
        assert relative_error(COMPLEX.entries(question, n), wanted[n]) < 1e-13
    assert made


def _count(monkeypatch):
    """From here on every matrix is shared; the list gets an entry for each chunk."""
    made, take = [], complexsteps.shared_losses
    monkeypatch.setattr(complexsteps, "SHARED_FROM", 1)
    monkeypatch.setattr(complexsteps, "shared_losses", lambda *args: made.append(1) or take(*args))
    return made


def test_the_copies_are_what_they_say():
    host = rnnbp.backend("numpy")
    space, w = SharingSpace(np), np.random.default_rng(0).standard_normal((3, 4))
    copies = shared(space, host, w, np.array([0, 6, 11]), 0.5)
    wanted = w + np.zeros((3, 1, 1), complex)
    wanted[0, 0, 0] += 0.5j
    wanted[1, 1, 2] += 0.5j
    wanted[2, 2, 3] += 0.5j
    assert np.array_equal(bare(copies), wanted) and copies.shape == wanted.shape
    a = np.random.default_rng(1).standard_normal((2, 3))
    np.testing.assert_allclose(bare(space.matmul(space.constant(a), copies)), a @ wanted)
    np.testing.assert_allclose(bare(copies[..., 1:3]), wanted[..., 1:3])
    np.testing.assert_allclose(bare(space.sin(copies)), np.sin(wanted))
    assert np.array_equal(bare(space.constant(wanted).detach()), w + np.zeros((3, 1, 1)))


def test_memory_has_no_factor_of_copies_times_entries():
    question = asked(make("lstm", 4, 64), rnnbp.backend("numpy"))
    complexsteps.shared_losses(question, "U", np.arange(1))  # what all chunks share
    tracemalloc.start()
    complexsteps.shared_losses(question, "U", np.arange(64))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64 * 64 * 256 * 16 / 2  # half of what 64 copies of U alone would take


class Plain(rnnbp.Cell):
    """It wants arrays: NumPy's own functions know no operands."""

    @property
    def params(self):
        return {"W": rnnbp.Param((self.input_size, self.hidden_size), rnnbp.initializers.normal(1.0))}

    def step(self, xp, p, x, s, e):
        del xp, e
        y = np.sin(np.asarray(x) @ np.asarray(p["W"])) + 0.5 * s[0]
        return (y,), lambda ds: ({"W": ds[0]}, ds[0], ds)  # not needed here


def test_a_forward_that_takes_no_operands_gets_copies(monkeypatch):
    question = asked(Plain(3, 4), rnnbp.backend("numpy"))
    wanted = COMPLEX.entries(question, "W")
    _count(monkeypatch)
    assert np.array_equal(COMPLEX.entries(question, "W"), wanted)
