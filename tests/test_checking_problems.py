"""Where errors come in: at every output, at the last one, at the last states; each is checked on every backend."""

from __future__ import annotations

import numpy as np
import pytest
from faulty_cells import LoopedLSTM

import rnnbp
from rnnbp.checking import all_specs
from rnnbp.checking.subjects.problems import COTANGENTS, draw, kinds_of, restricted, tensor_names
from rnnbp.checking.subjects.sequences import sequence_subject
from rnnbp.checking.verdicts import setting, verify
from rnnbp.errors import UserError
from rnnbp.truncation import full

KINDS = tuple(COTANGENTS)


@pytest.fixture
def problem():
    return draw(rnnbp.cell("lstm", 3, 5), 6, 3, 0)


def test_all_errors_are_the_problem_itself(problem):
    assert restricted(problem, "all") is problem


def test_an_error_at_the_last_output_is_at_the_last_unmasked_step_of_each_sequence(problem):
    found = restricted(problem, "last")
    met = np.any(found.dys != 0, axis=-1)  # (T, B)
    assert problem.mask[:, 2].tolist() == [True, True, True, True, False, False]
    assert [np.flatnonzero(met[:, k]).tolist() for k in range(3)] == [[5], [5], [3]]
    assert np.array_equal(found.dys[met], problem.dys[met])
    assert not any(d.any() for d in found.ds_T)
    assert problem.dys.all() and all(d.all() for d in problem.ds_T)  # the problem is as it was


def test_without_a_mask_it_is_the_last_step():
    found = restricted(draw(rnnbp.cell("gru", 3, 5), 4, 2, 0, padded=False), "last")
    assert np.any(found.dys != 0, axis=(1, 2)).tolist() == [False, False, False, True]


def test_an_error_at_the_last_states_leaves_the_outputs_out(problem):
    found = restricted(problem, "state")
    assert not found.dys.any() and found.ds_T is problem.ds_T


def wrong(spec, kind, backend):
    how = setting(backend, "float64", "tangent", "full")
    problem = restricted(draw(rnnbp.cell(spec, 3, 5), 4, 2, 0), kind)
    return [check for check in verify(sequence_subject(spec, problem, full(4), how), how) if not check.passed]


@pytest.mark.parametrize("spec", all_specs())
@pytest.mark.parametrize("kind", KINDS)
def test_every_cell_passes_for_each_kind(spec, kind):
    assert not wrong(spec, kind, "numpy")


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_passes_on_every_backend(kind, backend):
    assert not wrong("lstm:peepholes=true", kind, backend)


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_passes_under_truncation(kind):
    assert rnnbp.gradcheck("lstm:peepholes=true", cotangents=kind, truncation="tbptt:2,3").passed


def test_the_gradients_of_the_kinds_differ():
    how = setting("numpy", "float64", "complex-step", "full")
    problem = draw(rnnbp.cell("lstm", 3, 5), 4, 2, 0)
    values = {verify(sequence_subject("", restricted(problem, k), full(4), how), how)[0].numeric for k in KINDS}
    assert len(values) == 3


class Forgets(LoopedLSTM):
    """Its scan does not let in the errors of the states named by the fault."""

    def scan(self, *arguments, **options):
        found = super().scan(*arguments, **options)
        if found is NotImplemented:
            return found
        ys, s_T, back = found

        def backward(dys=None, ds_T=None, window=None):
            if self.fault == "last states":
                return back(dys, None, window)
            if self.fault == "c_T":
                return back(dys, None if ds_T is None else (ds_T[0], None), window)
            return back(None if dys is None else 0 * dys, ds_T, window)

        return ys, s_T, backward


@pytest.mark.parametrize(
    ("fault", "fail"),
    [("last states", {"all", "state"}), ("c_T", {"all", "state"}), ("outputs", {"all", "last"})],
)
def test_what_is_not_let_in_is_told_by_the_kind_that_fails(fault, fail):
    report = rnnbp.gradcheck(Forgets(3, 4, fault), cotangents="every", levels=("sequence",))
    name = f"Forgets(fault={fault!r})"
    titles = {"all": name, "last": f"{name}, last", "state": f"{name}, state"}
    assert {check.cell for check in report.failures} == {titles[kind] for kind in fail}
    assert {check.cell for check in report.checks} == set(titles.values())


def test_words_for_kinds():
    assert kinds_of("last") == ("last",) and kinds_of("every") == KINDS == ("all", "last", "state")
    with pytest.raises(UserError, match="unknown kind of cotangents 'lst': did you mean last"):
        rnnbp.gradcheck("gru", cotangents="lst")


def test_names_of_tensors():
    assert tensor_names(rnnbp.cell("lstm", 3, 5)) == ("X", ("h0", "c0"))


def test_float32_is_right_for_float32_and_no_lower_dtype_is_taken():
    report = rnnbp.gradcheck("gru", dtype="float32")
    assert report.summary.startswith("passed: 18 of 18 tensors within tolerance, right for float32\n")
    assert "float32" not in rnnbp.gradcheck("gru").summary
    for dtype in ("float16", "bfloat16"):
        with pytest.raises(UserError, match=f"unknown dtype of a gradient check '{dtype}'"):
            rnnbp.gradcheck("gru", dtype=dtype)
