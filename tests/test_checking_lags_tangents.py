"""Lag tables of forwards through which complex steps do not go, and of gates that are saturated."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from helpers import refusal, relative_error
from test_checking_lags import tables

import rnnbp


class Absolute(rnnbp.PointwiseCell):
    gates = ("h",)

    def pointwise(self, xp, a, s, p, e):
        del s, p, e
        return (abs(a[0]),), lambda ds: ((ds[0] * xp.sign(a[0]),), (None,), {})


@dataclass(frozen=True)
class Saturated(rnnbp.PointwiseCell):
    """h' = σ(100 a), whose derivative y (1 − y) is small where 1 − y is rounded."""

    gates = ("h",)

    def pointwise(self, xp, a, s, p, e):
        del s, p, e
        y = rnnbp.sigmoid(xp, 100 * a[0])
        return (y,), lambda ds: ((100 * ds[0] * y * (1 - y),), (None,), {})


def test_a_forward_that_is_not_complex_goes_by_tangents(backend):
    found = tables(Absolute(3, 4), backend=backend, method="tangent", truncation="tbptt:2,3")
    assert {table.method for table in found.values()} == {"tangent"} and all(t.passed for t in found.values())
    assert "stays complex" in refusal(lambda: tables(Absolute(3, 4), padded=False))


def test_where_a_check_falls_back_to_another_method_so_do_its_tables():
    report = rnnbp.gradcheck(Absolute(3, 4), lags=True)
    assert report.passed and {table.method for table in [f for f in report.findings if f.kind == "lags"]} == {"tangent"}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_saturated_gate_is_judged_beside_its_largest_block(dtype):
    for table in tables(Saturated(4, 6), dtype=dtype).values():
        norms = table.norms(table.numeric)
        assert table.passed and norms[norms > 0].min() < 1e-6 * norms.max(), table.tensor


@pytest.mark.parametrize("truncation", ["full", "tbptt:2,3"])
def test_tables_by_tangents_are_those_by_complex_steps(truncation):
    """A mask, several states, peepholes; in all entries, and along directions."""
    cell = rnnbp.cell("lstm:peepholes=true", 3, 4)
    for extent in ("exhaustive", "directional"):
        steps, tangents = (
            tables(cell, method=m, truncation=truncation, extent=extent) for m in ("complex-step", "tangent")
        )
        for name, table in tangents.items():
            assert relative_error(table.numeric, steps[name].numeric) < 1e-13, name


def test_the_bar_hears_of_every_row_and_table():
    heard = []
    rnnbp.gradcheck("elman", lags=True, time_steps=3, progress=lambda *said: heard.append(said))
    assert [said for said in heard if said[0] == "elman: lags"] == [("elman: lags", k + 1, 9) for k in range(9)]


def test_without_an_imaginary_part_another_method_takes_its_place_even_where_the_slope_is_zero():
    """Under truncation no error of the last output reaches h0."""
    report = rnnbp.gradcheck(Absolute(3, 4), truncation="tbptt:1,2", cotangents="last", lags=True)
    assert report.passed and {check.method for check in report.checks if check.tensor == "h0"} == {"tangent"}
