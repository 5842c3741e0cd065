"""The derivative of the traced forward as an oracle: exact, and blind to nothing inside the pointwise part."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from cases import EVERY, make
from helpers import refusal
from toy_cells import FAULTS, Faulty, Independent, Zoneout
from verdicts_of import failed

import rnnbp
from rnnbp.checking import check_task
from rnnbp.checking.methods.symbolic import derived, disagreements
from rnnbp.lowering import untraceable

TRACEABLE = [name for name in EVERY if untraceable(make(name)) is None]
ONLY = {"method": "symbolic", "properties": False}
RIGHT = 1e-14  # some tens of roundings of float64, of the largest entry


@pytest.mark.parametrize("name", TRACEABLE)
@pytest.mark.parametrize("truncation", ["full", "tbptt:2,3"])
def test_right_cells_pass(name, truncation):
    report = rnnbp.gradcheck(make(name), truncation=truncation, **ONLY)
    assert report.passed and report.worst.error < RIGHT, str(report)
    assert {(check.level, check.padded) for check in report.checks} == {("step", False), ("sequence", True)}


@pytest.mark.parametrize("around", ["zoneout", "recurrent-dropout:rate=0.5", "learned-start"])
def test_what_goes_around_a_cell_is_around_the_derived_one_too(around):
    report = rnnbp.gradcheck(f"lstm/{around}", **ONLY)
    assert report.passed and report.worst.error < RIGHT, str(report)


@pytest.mark.parametrize("name", TRACEABLE)
def test_each_backward_by_hand_is_the_derivative(name):
    found = disagreements(make(name))
    assert found and max(found.values()) < RIGHT


def test_right_cells_pass_on_every_backend(backend):
    for dtype, limit in (("float64", RIGHT), ("float32", 1e-6)):
        report = rnnbp.gradcheck("lstm:peepholes=true", backend=backend, dtype=dtype, time_steps=3, batch=2, **ONLY)
        assert report.passed and report.worst.error < limit


@pytest.mark.parametrize("kind", ["last", "state", "every"])
def test_right_cells_pass_wherever_errors_come_in(kind):
    assert rnnbp.gradcheck("gru", cotangents=kind, **ONLY).passed


def test_directions_take_the_same_gradient():
    assert rnnbp.gradcheck("gru", extent="directional", **ONLY).passed
    assert not rnnbp.gradcheck(Faulty(3, 4, fault="swapped gates"), extent="directional", **ONLY).passed


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_are_found_where_they_are(fault):
    """The first two are faults of the cell's own scan, the others of its pointwise part."""
    cell, of_loop = Faulty(3, 4, fault=fault), fault in FAULTS[:2]
    assert failed(cell, "symbolic") == failed(cell, "complex-step") != set()
    assert bool(failed(cell, "symbolic", "step")) != of_loop
    wrong = {name for name, error in disagreements(cell).items() if error > RIGHT}
    assert bool(wrong) != of_loop
    assert not failed(Faulty(3, 4), "symbolic")


class OffByLittle(Independent):
    """One part in 10⁸ of a parameter's error, and of nothing else."""

    def pointwise(self, xp, a, s, p, e):
        s1, back = super().pointwise(xp, a, s, p, e)

        def backward(ds1):
            da, ds, dp = back(ds1)
            return da, ds, {"u": dp["u"] * (1 + 1e-8)}

        return s1, backward


def test_a_small_fault_is_found():
    assert failed(OffByLittle(3, 4), "symbolic") == {"u"}
    assert {name for name, error in disagreements(OffByLittle(3, 4)).items() if error > RIGHT} == {"du"}


def test_what_is_missing_is_no_zero():
    class Forgets(Independent):
        def pointwise(self, xp, a, s, p, e):
            s1, back = super().pointwise(xp, a, s, p, e)
            return s1, lambda ds1: (back(ds1)[0], (None,), {})

    assert {"du", "dh"} == {name for name, error in disagreements(Forgets(3, 4)).items() if error > RIGHT}


class Scaled(Zoneout):
    """An affine part of its own."""

    def project(self, xp, p, x):
        return 2.0 * super().project(xp, p, x)


@dataclass(frozen=True)
class Summing(rnnbp.PointwiseCell):
    gates = ("h",)

    def pointwise(self, xp, a, s, p, e):
        del s, p, e
        return (a[0] - xp.sum(a[0], axis=-1, keepdims=True),), lambda ds1: (ds1, (None,), {})


def test_what_it_cannot_check_is_refused():
    said = refusal(lambda: rnnbp.gradcheck("gru:reset=before", **ONLY))
    assert said.startswith("method symbolic cannot trace ResetBeforeGRU: it is a plain Cell") and "complex-step" in said
    assert "it uses xp.sum" in refusal(lambda: rnnbp.gradcheck(Summing(3, 4), **ONLY))
    assert "an affine part of its own (project)" in refusal(lambda: rnnbp.gradcheck(Scaled(3, 4), **ONLY))
    said = refusal(lambda: check_task("adding", "lstm", method="symbolic"))
    assert said == "method symbolic traces one cell; got level loss of lstm: use another"
    assert "unknown method 'symbolic'" in refusal(
        lambda: rnnbp.gradcheck(lambda x: (x, lambda d: d), 1.0, **{"method": "symbolic"})
    )


@pytest.mark.parametrize("name", TRACEABLE)
def test_the_cell_in_its_place_has_the_same_contract(name):
    cell, other = make(name), derived(make(name))
    shapes = [{n: spec.shape for n, spec in each.params.items()} for each in (cell, other)]
    assert shapes[0] == shapes[1]
    assert (other.states, other.data, other.blocks) == (cell.states, cell.data, cell.blocks)
