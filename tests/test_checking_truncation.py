"""Gradient checks under every kind of truncation: right cells pass, a cut that is forgotten somewhere is seen."""

from __future__ import annotations

import json

import pytest
from helpers import refusal
from rnnbp_cli import main
from rnnbp_numpy import NumpyBackend
from toy_cells import Faulty
from toy_plain import Ladder

import rnnbp
from rnnbp import Window
from rnnbp.checking import check_task
from rnnbp.checking.catalogue import suited
from rnnbp.checking.methods.registry import METHODS

SMALL = {"input_size": 3, "hidden_size": 4, "properties": False}
SEQUENCE = {**SMALL, "levels": ("sequence",)}
KINDS = ["steps:2", "decay:0.7", "1997", "gates:n+z", "gates:i+f", "gates:h", "peepholes"]
CELLS = ["lstm:peepholes=true", "gru", "elman", "gru:reset=before", "indrnn"]
SUITS = [(spec, kind) for kind in KINDS for spec in suited(CELLS, truncation=kind)[0]]


def distance(report):
    """What the report says of the full gradient."""
    (found,) = [finding for finding in report.findings if finding.kind == "truncation"]
    return found


def test_each_kind_suits_some_cells():
    assert {kind for _, kind in SUITS} >= {"steps:2", "decay:0.7", "1997", "peepholes"} and len(SUITS) > 12
    assert {spec for spec, kind in SUITS if kind == "decay:0.7"} == set(CELLS)


def cells_with_gates():
    return [
        (s, k) for s, k in SUITS if not k.startswith("gates") or set(k[6:].split("+")) <= set(rnnbp.cell(s, 3, 4).gates)
    ]


@pytest.mark.parametrize(("spec", "kind"), cells_with_gates())
def test_right_cells_pass(backend, spec, kind):
    report = rnnbp.gradcheck(spec, truncation=kind, backend=backend, **SEQUENCE)
    assert report.passed and all(check.tolerance == 1e-10 for check in report.checks)
    found = distance(report)
    assert found.truncation == kind and found.tensors[found.farthest].difference > 0.005


@pytest.mark.parametrize("method", ["tangent", "directional", "autodiff-torch", "symbolic", "rtrl"])
@pytest.mark.parametrize("kind", ["decay:0.7", "1997", "peepholes"])
def test_every_method_that_follows_a_stop_agrees(kind, method):
    if method.startswith("autodiff"):
        pytest.importorskip("torch")
    assert rnnbp.gradcheck("lstm:peepholes=true", truncation=kind, method=method, **SEQUENCE).passed


@pytest.mark.parametrize("method", [name for name, method in METHODS.items() if not method.stops])
@pytest.mark.parametrize("kind", ["decay:0.7", "1997"])
def test_methods_that_see_through_a_stop_are_refused(kind, method):
    said = refusal(lambda: rnnbp.gradcheck("lstm", truncation=kind, method=method, **SEQUENCE))
    assert "sees through" in said or "needs full BPTT" in said


@pytest.mark.parametrize("kind", ["decay:0.6", "1997", "peepholes", "steps:2"])
def test_models_of_two_layers(kind):
    report = check_task("four-steps", "lstm:peepholes=true", truncation=kind, layers=2, hidden_size=3)
    assert report.passed and distance(report).tensors["0.W"].difference > 1e-3
    assert distance(report).tensors["readout.W"].difference < 1e-15


# ---- planted faults --------------------------------------------------------------------------------------------------
def forgetful(back):
    """A backward that goes through windows as if they had no decay."""
    return lambda dys=None, ds_T=None, window=None: back(dys, ds_T, window and Window(*window))


class Forgetful(NumpyBackend):
    """Says that its scan knows decays, and forgets them."""

    def scan(self, *arguments, **options):
        found = super().scan(*arguments, **options)
        return found if found is NotImplemented or found[2] is None else (*found[:2], forgetful(found[2]))


class Ignorant(Forgetful):
    """The same, and says so."""

    decays = False


def test_a_fast_path_that_forgets_a_decay_fails_and_one_that_says_so_is_stood_in_for():
    report = rnnbp.gradcheck("lstm", truncation="decay:0.7", backend=Forgetful(), **SEQUENCE)
    paths = {check.path: check.passed for check in report.checks if check.tensor == "U"}
    assert paths == {"portable": True, Forgetful.path: False}
    assert rnnbp.gradcheck("lstm", truncation="decay:0.7", backend=Ignorant(), **SEQUENCE).passed


def test_a_scan_of_the_cells_own_is_stood_in_for(monkeypatch):
    assert rnnbp.gradcheck(Ladder(3, 4), truncation="decay:0.7", padded=False, properties=False).passed
    monkeypatch.setattr("rnnbp.scanning.decaying", lambda result, _: result)
    assert not rnnbp.gradcheck(Ladder(3, 4), truncation="decay:0.7", padded=False, properties=False).passed


def test_a_layer_that_forgets_the_decay_fails(monkeypatch):
    monkeypatch.setattr("rnnbp.stacking.Window", lambda start, lo, stop, _: Window(start, lo, stop))
    report = check_task("four-steps", truncation="decay:0.6", layers=2, hidden_size=3, levels=("model",))
    assert {check.tensor.partition(".")[0] for check in report.failures} == {"0", "X"}


def test_a_faulty_cell_is_diagnosed_under_a_decay():
    report = rnnbp.gradcheck(Faulty(3, 4, fault="swapped gates"), truncation="decay:0.7", properties=False)
    (diagnosis,) = [finding for finding in report.findings if finding.kind == "diagnosis"]
    assert not report.passed and diagnosis.best.bug == "gates-swapped", diagnosis


# ---- beside the full gradient ----------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", ["decay:0.7", "1997"])
def test_held_to_the_full_gradient_it_fails_where_errors_flow_back(kind):
    report = rnnbp.gradcheck("lstm", truncation=kind, against="full", lags=True, **SEQUENCE)
    assert not report.passed and f"{kind} throws away errors" in str(report)
    (table,) = [finding for finding in report.findings if finding.kind == "lags" and finding.tensor == "U"]
    assert table.where.startswith("recurrence (s < t)")


def test_lag_tables_under_a_decay_are_right():
    report = rnnbp.gradcheck("gru", truncation="decay:0.7", lags=True, **SEQUENCE)
    assert report.passed and len([finding for finding in report.findings if finding.kind == "lags"]) == 6


# ---- the command line ------------------------------------------------------------------------------------------------
def call(capsys, words):
    with pytest.raises(SystemExit) as left:
        main(words.split())
    out, err = capsys.readouterr()
    return left.value.code or 0, out, err


def test_the_command_takes_every_kind(capsys):
    code, out, err = call(capsys, "gradcheck lstm:peepholes=true --truncation peepholes --json")
    assert code == 0 and err == "" and json.loads(out)["checks"][0]["truncation"] == "peepholes"
    code, out, err = call(capsys, "gradcheck lstm --truncation gates:x")
    assert (code, out) == (2, "") and err.startswith("rnnbp: unknown gate of LSTM 'x'") and err.count("\n") == 1


def test_cells_that_cannot_be_cut_are_left_out_with_the_reason():
    there, left_out = suited(["lstm", "gru:reset=before"], truncation="1997")
    assert there == ["lstm"] and left_out[0].startswith(
        "gru:reset=before: truncation 1997 stops gates of a pointwise cell"
    )
