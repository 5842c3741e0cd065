"""Every cell that can be named passes on every backend; and what a check may be asked."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import pytest
from cases import NAMES
from faulty_cells import ToyLSTM

import rnnbp
from rnnbp.checking import all_specs, builtin_specs, check_cells
from rnnbp.checking.cells import label
from rnnbp.checking.methods.registry import METHODS
from rnnbp.checking.methods.tolerances import TOLERANCES
from rnnbp.checking.subjects.problems import draw
from rnnbp.errors import UserError
from rnnbp.registry import CELLS

PLUGINS = [spec for spec in all_specs() if spec not in builtin_specs()]
SPECS = (*NAMES, *PLUGINS)  # all others: test_conformance
SMALL = {"time_steps": 4, "batch": 2, "input_size": 3, "hidden_size": 5}
SHORT = {"time_steps": 4, "batch": 2}


@pytest.mark.parametrize("spec", SPECS)
def test_every_cell_passes_on_every_backend(spec, backend):
    report = rnnbp.gradcheck(spec, backend=backend, properties=False, **SMALL)  # they have tests of their own
    assert report.passed, str(report)
    assert {check.tolerance for check in report.checks} == {1e-10}
    cell = rnnbp.cell(spec, 3, 5)
    tensors = [*cell.params, "X", *(f"{state}0" for state in cell.states)]
    levels = [(level, tensor) for level in ("step", "sequence") for tensor in tensors]
    assert list(dict.fromkeys((check.level, check.tensor) for check in report.checks)) == levels  # on every path
    assert {(check.backend, check.dtype) for check in report.checks} == {(backend.name, "float64")}


@pytest.mark.parametrize("spec", ["lstm:peepholes=true", "gru:reset=before"])
@pytest.mark.parametrize("truncation", ["tbptt:1,2", "tbptt:2,3"])
def test_truncated_backwards_pass_on_every_backend(spec, truncation, backend):
    assert rnnbp.gradcheck(
        spec, backend=backend, truncation=truncation, levels=("sequence",), properties=False, **SMALL
    ).passed


@pytest.mark.parametrize("spec", ["lstm:peepholes=true", "gru:reset=before"])
def test_float32_backwards_pass_on_every_backend(spec, backend):
    report = rnnbp.gradcheck(spec, backend=backend, dtype="float32", properties=False, **SMALL)
    assert report.passed and {check.tolerance for check in report.checks} == {1e-5}
    assert report.worst.error > 1e-9  # it is float32 that was checked


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("truncation", ["full", "tbptt:1,3", "tbptt:2,4", "tbptt:9,9"])
@pytest.mark.parametrize(("method", "dtype"), [key for key in TOLERANCES if not METHODS[key[0]].whole])
def test_every_cell_passes_under_every_setting(spec, truncation, method, dtype):
    report = rnnbp.gradcheck(spec, truncation=truncation, method=method, dtype=dtype)
    assert report.passed, str(report)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("sizes", [(1, 1, 1, 1), (1, 3, 2, 4), (7, 1, 2, 3)])
def test_any_size_and_seed_passes(sizes, seed):
    time_steps, batch, input_size, hidden_size = sizes
    for spec in ("lstm:peepholes=true", "gru"):
        report = rnnbp.gradcheck(
            spec, time_steps=time_steps, batch=batch, input_size=input_size, hidden_size=hidden_size, seed=seed
        )
        assert report.passed and report.seed == seed, str(report)


def test_truncated_gradients_are_not_the_full_ones():
    """Else the checks under truncation would say nothing."""
    values = {
        truncation: {c.tensor: c.numeric for c in rnnbp.gradcheck("lstm", truncation=truncation).checks}
        for truncation in ("full", "tbptt:1,2")
    }
    assert all(values["full"][tensor] != values["tbptt:1,2"][tensor] for tensor in ("W", "U", "b"))


def test_little_memory_changes_nothing_but_the_time():
    one, other = rnnbp.gradcheck("lstm"), rnnbp.gradcheck("lstm", memory=1)
    assert other.passed and [c.tensor for c in one.checks] == [c.tensor for c in other.checks]
    for a, b in zip(one.checks, other.checks, strict=True):
        assert abs(a.error - b.error) < 1e-14


def test_progress_counts_every_entry():
    heard = []
    options = {"path": "reference", "memory": 100_000}
    rnnbp.gradcheck("elman", progress=lambda name, done, total: heard.append((name, done, total)), **options)
    total = 2 * (4 * 6 + 6 * 6 + 6 + 3 * 6) + (1 + 5) * 3 * 4  # of one step, and of five
    assert len(heard) > 5 and heard[-1] == ("elman", total, total)
    assert [done for _, done, _ in heard] == sorted(done for _, done, _ in heard)


def test_the_problem_has_nothing_that_hides_a_fault():
    problem = draw(rnnbp.cell("lstm", 4, 6), 5, 3, seed=0)
    arrays = [*problem.params.values(), problem.xs, *problem.s0, problem.dys, *problem.ds_T]
    assert all(np.all(a != 0) and len(np.unique(a)) == a.size for a in arrays)
    assert all(not a.flags.writeable for a in arrays)
    assert problem.mask.sum(axis=0).tolist() == [5, 5, 4]


@dataclass(frozen=True)
class DropoutRNN(rnnbp.PointwiseCell):
    """Needs a random mask at every step; `fault` forgets it in the backward."""

    fault: bool = False
    gates = ("h",)

    @property
    def data(self):
        return {"keep": (self.hidden_size,)}

    def pointwise(self, xp, a, s, p, e):
        del s, p
        t, keep = xp.tanh(a[0]), e["keep"]
        return (t * keep,), lambda ds: ((ds[0] * (1 if self.fault else keep) * (1 - t * t),), (None,), {})


@pytest.mark.parametrize("truncation", ["full", "tbptt:2,3"])
def test_cells_with_data_are_checked(truncation):
    assert rnnbp.gradcheck(DropoutRNN(3, 4), truncation=truncation).passed
    assert not rnnbp.gradcheck(DropoutRNN(3, 4, fault=True), truncation=truncation).passed


def test_cells_with_data_pass_on_every_backend(backend):
    options = {"truncation": "tbptt:2,3", "properties": False}
    assert rnnbp.gradcheck(DropoutRNN(3, 4), backend=backend, **options, **SHORT).passed


class Truncated1997(rnnbp.PointwiseCell):
    """No error through U at all: the derivative is that of a forward in which h is detached."""

    gates = ("h",)
    cut = ("h",)

    def pointwise(self, xp, a, s, p, e):
        del s, p, e
        t = xp.tanh(a[0])
        return (t,), lambda ds: ((ds[0] * (1 - t * t),), (None,), {})


def test_cut_gates_pass_by_complex_steps_and_are_refused_by_differences(backend):
    assert rnnbp.gradcheck(Truncated1997(3, 4), backend=backend, properties=False).passed
    with pytest.raises(UserError, match="sees through cut gates"):
        rnnbp.gradcheck(Truncated1997(3, 4), method="central")


class OddNames(Truncated1997):
    """Its elementwise parameter has the name of the inputs."""

    cut = ()

    @property
    def elementwise(self):
        return {"X": rnnbp.Param((self.hidden_size,), rnnbp.initializers.normal(1.0))}

    def pointwise(self, xp, a, s, p, e):
        del s, e
        t = xp.tanh(a[0] * p["X"])
        back = lambda d: ((d * p["X"],), (None,), {"X": d * a[0]})
        return (t,), lambda ds: back(ds[0] * (1 - t * t))


def test_a_parameter_may_be_named_like_the_inputs():
    report = rnnbp.gradcheck(OddNames(3, 4), path="reference")
    assert report.passed and [c.tensor for c in report.checks] == 2 * ["W", "U", "b", "X", "X'", "h0"]


class Absolute(Truncated1997):
    cut = ()

    def pointwise(self, xp, a, s, p, e):
        del s, p, e
        return (abs(a[0]),), lambda ds: ((ds[0] * xp.sign(a[0]),), (None,), {})


@pytest.mark.parametrize("padded", [False, True])
def test_a_forward_that_drops_the_imaginary_part_is_checked_by_tangents(padded):
    """Padded, a masked step keeps the old, complex state: the loss stays complex, and its imaginary part is wrong."""
    report = rnnbp.gradcheck(Absolute(3, 4), padded=padded)
    assert report.passed, str(report)
    for w in [c for c in report.checks if (c.tensor, c.level) == ("W", "sequence")]:  # on every path
        assert w.method == "tangent" and "drops the imaginary part" in w.note and w.note in str(report)
    assert all(" passes; complex steps give" in note for note in report.notes) and ", exhaustive" in report.title
    assert rnnbp.gradcheck(Absolute(3, 4), method="central").passed


class WrongAbsolute(Absolute):
    def pointwise(self, xp, a, s, p, e):
        return super().pointwise(xp, a, s, p, e)[0], lambda ds: ((ds[0],), (None,), {})


def test_what_drops_the_imaginary_part_still_fails_where_it_is_wrong():
    report = rnnbp.gradcheck(WrongAbsolute(3, 4), levels=("sequence",))
    assert not report.passed and report.worst.method == "tangent" and report.worst.error > 0.01


def test_names_of_cells():
    assert label(rnnbp.cell("lstm", 3, 4)) == "LSTM"
    assert label(rnnbp.cell("lstm:peepholes=true", 3, 4)) == "LSTM(peepholes=True)"


def test_what_cannot_be_checked_is_a_user_error():
    bad = [
        ({"method": "centrl"}, "did you mean central"),
        ({"dtype": "float16"}, "unknown dtype"),
        ({"time_steps": 0}, "time_steps must be an integer of at least 1; got 0"),
        ({"batch": 0}, "batch must be"),
        ({"hidden_size": 0}, "hidden_size must be"),
        ({"memory": 0}, "memory must be"),
        ({"seed": -1}, "seed must be an integer of at least 0"),
        ({"truncation": "tbptt:3,2"}, "K2 >= K1"),
        ({"backend": "numpi"}, "did you mean numpy"),
    ]
    for options, message in bad:
        with pytest.raises(UserError, match=message):
            rnnbp.gradcheck("lstm", **options)
    with pytest.raises(UserError, match="unknown cell 'lstn'"):
        rnnbp.gradcheck("lstn")
    with pytest.raises(UserError, match="takes a cell"):
        rnnbp.gradcheck(ToyLSTM)
    with pytest.raises(UserError, match="hidden_size is the cell's own, 4; got 5"):
        rnnbp.gradcheck(ToyLSTM(3, 4), hidden_size=5)


def test_every_built_in_cell_is_in_the_catalogue():
    assert {spec.partition(":")[0] for spec in all_specs()} == set(CELLS)
    assert {"lstm-peephole", "gru:reset=before"} <= set(builtin_specs()) <= set(all_specs())


def test_many_cells_in_one_report():
    report = check_cells(["lstm", "gru"], time_steps=3, seed=4)
    assert report.passed and report.seed == 4 and {check.cell for check in report.checks} == {"lstm", "gru"}
    with pytest.raises(UserError, match="unknown cell"):
        check_cells(["lstm", "nope"])
    with pytest.raises(UserError, match="takes the names of cells; got none"):
        check_cells(iter(()))


def test_integers_of_any_kind_are_counts():
    report = rnnbp.gradcheck("rnn", time_steps=np.int64(4), batch=np.int32(2), seed=np.uint8(3), properties=False)
    assert report.passed and json.loads(json.dumps(report.to_json()))["seed"] == 3
