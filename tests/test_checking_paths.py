"""Which path a scan takes: both are checked where there are two, each is named, and the numeric side is made once."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from helpers import refusal
from toy_cells import TOYS

import rnnbp
from rnnbp.checking import check_cells
from rnnbp.checking.catalogue import suited
from rnnbp.checking.methods.registry import METHODS
from rnnbp.unrolling import unroll

ONLY = {"properties": False, "diagnosis": False, "lags": False}


@dataclass(frozen=True)
class Fast(type(rnnbp.backend("numpy"))):
    """NumPy with a scan that counts as fast: right, or with a fault; it takes no complex numbers and no plain cells."""

    fault: str = ""

    path = "quick"

    def scan(self, cell, params, xs, s0, **options):
        if not isinstance(cell, rnnbp.PointwiseCell) or any(a.dtype.kind == "c" for a in (xs, *params.values(), *s0)):
            return NotImplemented
        if options["mask"] is not None:
            xs = self.xp.where(options["mask"][..., None], xs, 0.0)
        ys, s_T, back = unroll(self.xp, cell, params, xs, s0, **options)

        def backward(*errors):
            dp, dxs, ds = back(*errors)
            return ({**dp, "U": dp["U"] * 1.001} if self.fault else dp), dxs, ds

        return ys, s_T, backward


def paths(report):
    """(level, path) of the checks, in their order."""
    return list(dict.fromkeys((check.level, check.path) for check in report.checks))


def test_a_backend_without_a_fast_path_is_checked_by_the_portable_one(backend):
    if backend.path != "portable":
        pytest.skip(f"backend {backend.name} has a fast path")
    for path in ("both", "reference"):
        report = rnnbp.gradcheck("rnn", backend=backend, path=path, time_steps=2, batch=2, **ONLY)
        assert report.passed and paths(report) == [("step", ""), ("sequence", "portable")]
        assert "full, portable path, exhaustive" in report.title
    said = refusal(lambda: rnnbp.gradcheck("rnn", backend=backend, path="fast"))
    assert said.startswith(f"path fast is not there: backend {backend.name} scans by the portable path alone")


def test_both_paths_are_checked_and_named():
    report = rnnbp.gradcheck("lstm", backend=Fast())
    assert report.passed and paths(report) == [("step", ""), ("sequence", "portable"), ("sequence", "quick")]
    assert "portable and quick path" in report.title
    assert {check["path"] for check in report.to_json()["checks"]} == {"", "portable", "quick"}
    rows = [row[1] for row in (check.row for check in report.checks)]
    assert rows[:1] == ["W (step)"] and "U" in rows and "U (quick)" in rows
    assert len(report.checks) == 3 * len({check.tensor for check in report.checks})


@pytest.mark.parametrize(("path", "wanted"), [("reference", "portable"), ("fast", "quick")])
def test_one_path_alone(path, wanted):
    for truncation in ("full", "tbptt:2,3"):
        report = rnnbp.gradcheck("gru", backend=Fast(), path=path, truncation=truncation)
        assert report.passed and paths(report) == [("step", ""), ("sequence", wanted)]


@pytest.mark.parametrize("method", ["complex-step", "tangent", "symbolic", "rtrl", "directional", "taylor"])
def test_a_fault_of_the_fast_path_is_found_there_and_nowhere_else(method):
    broken, options = Fast(fault="dU"), {"method": method, "levels": ("sequence",)}
    report = rnnbp.gradcheck("lstm", backend=broken, **options)
    assert {(check.tensor, check.path) for check in report.failures} == {("U", "quick")}
    assert rnnbp.gradcheck("lstm", backend=broken, path="reference", **options).passed
    assert not rnnbp.gradcheck("lstm", backend=broken, path="fast", **options).passed


def test_what_is_said_of_a_failure_is_said_of_the_path_that_failed():
    report = rnnbp.gradcheck("lstm", backend=Fast(fault="dU"))
    assert "U (quick)" in str(report) and "lstm, quick path: error" in report.summary
    (found,) = [finding for finding in report.findings if finding.kind == "diagnosis"]
    assert found.best.bug == "factor" and found.level == "loop"


def test_what_a_method_finds_beside_names_the_path():
    found = rnnbp.gradcheck("rnn", backend=Fast(), method="taylor", levels=("sequence",), **ONLY).findings
    assert [f.cell for f in found if f.kind == "taylor"] == ["rnn", "rnn, quick path"]


def test_a_failure_of_the_portable_path_alone_is_explained_too():
    class Other(type(rnnbp.cell("lstm", 4, 6))):
        """Its own scan, which the portable path takes, forgets a window's first step."""

        def scan(self, xp, p, xs, s0, **options):
            ys, s_T, back = unroll(xp, self, p, xs, s0, **options)
            return ys, s_T, lambda *errors: ({**(d := back(*errors))[0], "U": 2.0 * d[0]["U"]}, *d[1:])

    report = rnnbp.gradcheck(Other(4, 6), backend=Fast())
    assert {(check.tensor, check.path) for check in report.failures} == {("U", "portable")}
    assert [f.best.bug for f in report.findings if f.kind == "diagnosis"] == ["factor"]


@pytest.mark.parametrize("method", ["complex-step", "tangent", "five-point", "symbolic", "rtrl"])
def test_the_numeric_gradients_are_made_once(method, monkeypatch):
    counted = []
    kind = type(METHODS[method])
    name = "gradients" if METHODS[method].whole else "entries"
    made = getattr(kind, name)
    monkeypatch.setattr(kind, name, lambda self, asked, *rest: counted.append(rest) or made(self, asked, *rest))
    heard = []
    progress = lambda name, done, total: heard.append((done, total))  # noqa: E731, ARG005
    options = {"method": method, "levels": ("sequence",), "progress": progress, **ONLY}
    assert rnnbp.gradcheck("lstm", backend=Fast(), path="fast", **options).passed
    once, before = len(counted), heard[-1]
    assert rnnbp.gradcheck("lstm", backend=Fast(), **options).passed
    assert len(counted) == 2 * once > 0
    assert before[0] == before[1] and heard[-1] == (2 * before[0], 2 * before[1])


def test_directions_are_taken_once(monkeypatch):
    counted = []
    kind = type(METHODS["tangent"])
    made = kind.along_blocks
    monkeypatch.setattr(kind, "along_blocks", lambda self, *rest: counted.append(1) or made(self, *rest))
    assert rnnbp.gradcheck("lstm", backend=Fast(), method="directional", levels=("sequence",), **ONLY).passed
    assert len(counted) == 6  # of each tensor once, for two paths


def test_where_the_fast_path_steps_aside():
    for cell in ("gru:reset=before", TOYS["own scan"](4, 6)):
        assert paths(rnnbp.gradcheck(cell, backend=Fast(), **ONLY)) == [("step", ""), ("sequence", "portable")]
    said = refusal(lambda: rnnbp.gradcheck("gru:reset=before", backend=Fast(), path="fast"))
    assert said.endswith("the quick scan of backend numpy leaves this cell to the portable one; use path reference")
    report = rnnbp.gradcheck("rnn", backend=Fast(), method="hessian", **ONLY)
    assert paths(report) == [("step", ""), ("sequence", "portable")]
    said = refusal(lambda: rnnbp.gradcheck("rnn", backend=Fast(), method="hessian", path="fast"))
    assert "method hessian takes the backward through complex numbers" in said


def test_mistakes_are_one_line():
    assert "unknown path 'quick'" in refusal(lambda: rnnbp.gradcheck("rnn", path="quick"))
    said = refusal(lambda: rnnbp.gradcheck("rnn", levels=("step",), path="reference"))
    assert said == "path is of level sequence; got path reference and levels step: leave one out"
    said = refusal(lambda: check_cells(["lstm"], task="four-steps", path="fast"))
    assert said == "a model runs through the paths that its backend takes; got path fast: leave it out"
    assert "unknown option of gradcheck 'path'" in refusal(
        lambda: rnnbp.gradcheck(lambda x: (x, lambda d: d), [1.0], path="fast")
    )


def test_cells_that_a_method_refuses_are_told_apart():
    fit, why = suited(["lstm", "gru:reset=before", "no such cell"], "symbolic")
    assert fit == ["lstm", "no such cell"] and why[0].startswith("gru:reset=before: method symbolic cannot trace")
    for method in ("complex-step", "directional", "unknown"):
        assert suited(["lstm", "gru:reset=before"], method) == (["lstm", "gru:reset=before"], [])
