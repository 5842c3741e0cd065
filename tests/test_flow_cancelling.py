"""Norms and cosines of the terms, against other formulas for them and in one dimension, where all is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from helpers import B, H, I, T, problem, refusal, relative_error, tolerance

import rnnbp
from rnnbp.flow import Trajectory, step_terms, term_sizes


def trajectory(name, hidden=H, time_steps=T):
    q = problem(rnnbp.cell(name, I, hidden), time_steps=time_steps)
    return Trajectory(q.cell, q.params, q.xs, q.s0)


@pytest.mark.parametrize(("name", "first"), [("lstm:peepholes=true", 1), ("gru", 0)])
def test_norms_are_those_of_the_terms(name, first):
    path = trajectory(name)
    found = term_sizes(path)
    assert found.steps == tuple(range(first, T)) and found.state == ("c" if first else "h")
    for s, t in enumerate(found.steps):
        terms = step_terms(path, t)
        assert set(found.frobenius) == set(found.spectral) == set(found.unit_norms) == {*terms.parts, "total"}
        for name, a in {**terms.parts, "total": terms.total}.items():
            for b in range(B):
                squares = np.linalg.eigvalsh(a[b].T @ a[b])
                assert relative_error(found.frobenius[name][s, b], np.sqrt(np.trace(a[b].T @ a[b]))) < tolerance()
                assert relative_error(found.spectral[name][s, b], np.sqrt(squares[-1])) < tolerance()
                assert relative_error(found.unit_norms[name][s, b], np.sqrt(np.diag(a[b] @ a[b].T))) < tolerance()


def test_norms_and_cosines_make_up_the_norm_of_the_sum():
    """‖Σ A_k‖² = Σ ‖A_k‖² + 2 Σ_{k<l} ‖A_k‖ ‖A_l‖ cos(A_k, A_l), for the matrix and for every row of it."""
    found = term_sizes(trajectory("lstm"))
    for norms, cosines in ((found.frobenius, found.cosines), (found.unit_norms, found.unit_cosines)):
        assert len(cosines) == 6
        squares = sum(n**2 for name, n in norms.items() if name != "total")
        squares = squares + sum(2 * norms[a] * norms[b] * cos for (a, b), cos in cosines.items())
        assert relative_error(squares, norms["total"] ** 2) < tolerance()
        assert all(np.all(abs(cos) <= 1 + tolerance()) for cos in cosines.values())


def test_of_one_unit_terms_add_or_cancel():
    path = trajectory("gru", hidden=1, time_steps=9)
    found, parts = term_sizes(path), [step_terms(path, t).parts for t in range(9)]
    cos = found.cosines["z", "n"]
    assert relative_error(cos, np.stack([np.sign(p["z"] * p["n"])[:, 0, 0] for p in parts])) < tolerance()
    assert np.any(cos < 0) and np.any(cos > 0)
    wanted = [abs(sum(p.values())) / sum(abs(a) for a in p.values()) for p in parts]
    assert relative_error(found.remaining, np.stack(wanted)[:, :, 0, 0]) < tolerance()


def test_a_term_that_is_zero_has_no_direction():
    found = term_sizes(trajectory("lstm-1997"))
    assert np.all(np.isnan(found.cosines["i", "direct"])) and np.all(found.remaining == 1)
    assert np.all(np.isnan(found.unit_cosines["i", "g"]))
    path = trajectory("gru")
    shut = {"U": np.zeros((H, 3 * H)), "b": np.repeat((0.0, -2000.0, 0.0), H)}
    nothing = term_sizes(replace(path, params={**path.params, **shut}))
    assert not nothing.frobenius["total"].any() and np.all(np.isnan(nothing.remaining))


def test_some_steps():
    path = trajectory("lstm")
    some, every = term_sizes(path, (3, 1)), term_sizes(path)
    assert some.steps == (3, 1)
    assert np.array_equal(some.spectral["total"], every.spectral["total"][[2, 0]])
    without = term_sizes(path, spectral=False)
    assert not without.spectral and np.array_equal(without.remaining, every.remaining)
    assert "at least one step, from 1" in refusal(lambda: term_sizes(trajectory("lstm", time_steps=1)))
