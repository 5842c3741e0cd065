"""Gradients that were clipped or normalised are refused, and the report says that they were."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

import rnnbp
from rnnbp.unrolling import unroll


@dataclass(frozen=True)
class Limited(rnnbp.PointwiseCell):
    """A tanh network whose scan puts a limit on the gradients that it returns."""

    way: str = ""
    limit: float = 1.0
    gates = ("h",)

    def pointwise(self, xp, a, s, p, e):
        del s, p, e
        t = xp.tanh(a[0])

        def backward(ds):
            d = xp.clip(ds[0], -self.limit, self.limit) if self.way == "errors" else ds[0]
            return (d * (1 - t * t),), (None,), {}

        return (t,), backward

    def scan(self, xp, p, xs, s0, **options):
        ys, s_T, back = unroll(xp, self, p, xs, s0, **options)

        def backward(dys=None, ds_T=None, window=None):
            dp, dxs, ds = back(dys, ds_T, window)
            return self.limited(xp, dp), dxs, ds

        return ys, s_T, backward

    def limited(self, xp, dp):
        norms = {n: float(xp.sum(d * d)) ** 0.5 for n, d in dp.items()}
        whole = sum(norm * norm for norm in norms.values()) ** 0.5
        if self.way == "entries":
            return {n: xp.clip(d, -self.limit, self.limit) for n, d in dp.items()}
        if self.way == "norm":
            return {n: d * min(1.0, self.limit / max(whole, 1e-300)) for n, d in dp.items()}
        if self.way == "each":
            return {n: d * (self.limit / max(norms[n], 1e-300)) for n, d in dp.items()}
        return {n: 1.1 * d for n, d in dp.items()} if self.way == "wrong" else dp


def gradcheck(way, limit=1.0, **options):
    return rnnbp.gradcheck(Limited(4, 6, way=way, limit=limit), levels=("sequence",), **options)


@pytest.mark.parametrize(
    ("way", "limit", "words"),
    [
        ("entries", 0.5, "entries are exactly ±0.5, where the right ones are larger"),
        ("norm", 5.0, "the norm of all of them together is 5, and of the right ones"),
        ("each", 1.0, "each with a round norm (1, 1, 1)"),
    ],
)
def test_what_was_clipped_or_normalised_is_said(way, limit, words):
    report = gradcheck(way, limit, properties=False)
    assert {check.tensor for check in report.failures} == {"W", "U", "b"}
    for check in report.failures:
        assert check.note.startswith("the gradient was clipped or normalised (") and words in check.note
        assert check.note.endswith("check it before clipping") and check.note in str(report)


@pytest.mark.parametrize("options", [{"dtype": "float32"}, {"method": "tangent"}, {"method": "five-point"}])
@pytest.mark.parametrize(("way", "limit"), [("entries", 0.25), ("norm", 1.0), ("each", 1.0)])
def test_it_is_seen_under_other_settings(way, limit, options):
    report = gradcheck(way, limit, properties=False, **options)
    assert report.failures and all("clipped or normalised" in check.note for check in report.failures)


@pytest.mark.parametrize(("way", "limit"), [("", 1.0), ("entries", 1e3), ("norm", 1e3)])
def test_a_limit_that_is_not_met_passes_the_errors_of_tensors(way, limit):
    assert not gradcheck(way, limit).failures


def test_another_fault_is_not_called_clipping():
    report = gradcheck("wrong")
    assert len(report.failures) == 3 and not any(check.note for check in report.failures)


@pytest.mark.parametrize(("way", "limit"), [("entries", 50.0), ("norm", 50.0), ("errors", 50.0)])
@pytest.mark.parametrize("truncation", ["full", "tbptt:2,3"])
def test_a_limit_that_is_not_met_here_shows_in_the_properties(way, limit, truncation):
    """Cotangents a hundred times as large meet it; so a sum over windows, each of them clipped, is found out, too."""
    report = gradcheck(way, limit, truncation=truncation)
    assert not report.failures and not report.passed
    (properties,) = [finding for finding in report.findings if finding.kind == "properties"]
    assert {name for _, name in properties.faults} == {"linear in the cotangent"}
    assert "clipping or normalising does that" in str(report)


class Absolute(Limited):
    """Complex steps cannot be taken of its forward: another method takes their place, which is noted, too."""

    def pointwise(self, xp, a, s, p, e):
        del s, p, e
        return (abs(a[0]),), lambda ds: ((ds[0] * xp.sign(a[0]),), (None,), {})


def test_clipping_is_seen_where_another_method_took_its_place():
    cell = Absolute(4, 6, way="entries", limit=0.5)
    report = rnnbp.gradcheck(cell, levels=("sequence",), properties=False, lags=False, diagnosis=False)
    assert report.failures
    for check in report.failures:
        assert check.note.startswith("the gradient was clipped") and "method tangent" in check.note
