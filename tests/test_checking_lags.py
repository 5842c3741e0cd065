"""The matrix over time step and lag: right cells give no wrong block, and a planted fault lies where it was planted."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import pytest
from faulty_cells import LoopedLSTM, ToyLSTM
from helpers import refusal, relative_error

import rnnbp
from rnnbp.checking import all_specs
from rnnbp.checking.lags import lag_tables, numeric_blocks
from rnnbp.checking.lags.making import UNASKED_PRODUCTS, products
from rnnbp.checking.lags.patterns import where
from rnnbp.checking.subjects.problems import draw
from rnnbp.checking.subjects.sequences import sequence_subject
from rnnbp.checking.verdicts import setting
from rnnbp.truncation import parse

LOCAL, LATER, FIRST = "everywhere, the local term (t = s) included", "recurrence (s < t)", "edge s = 0 (first step)"


def tables(
    cell, *, seed=0, time_steps=5, batch=3, backend="numpy", truncation="full", padded=True, tensors=None, **how
):
    """The tables by tensor."""
    words = {"dtype": "float64", "method": "complex-step", **how}
    problem = draw(cell, time_steps, batch, seed, words["dtype"], padded and not isinstance(cell, LoopedLSTM))
    found = lag_tables("cell", problem, setting(backend, truncation=truncation, **words), tensors)
    return {table.tensor: table for table in found}


def places(cell, **options):
    """Where each tensor's wrong blocks lie, for those that have any."""
    return {name: table.where for name, table in tables(cell, **options).items() if not table.passed}


@pytest.mark.parametrize("spec", all_specs())
@pytest.mark.parametrize("truncation", ["full", "tbptt:2,3"])
def test_right_cells_have_no_wrong_block(spec, truncation):
    for seed in range(4):
        found = tables(rnnbp.cell(spec, 3, 4), seed=seed, truncation=truncation)
        assert all(table.passed and table.where == "nowhere" for table in found.values()), seed


def test_right_cells_have_no_wrong_block_on_any_backend(backend):
    found = tables(rnnbp.cell("lstm", 2, 3), backend=backend, time_steps=3, batch=2, tensors=["U", "c0"])
    assert list(found) == ["U", "c0"] and all(table.passed for table in found.values())


@pytest.mark.parametrize(
    ("method", "dtype"), [("central", "float64"), ("five-point", "float64"), ("tangent", "float64")]
)
def test_right_cells_have_no_wrong_block_by_other_methods(method, dtype):
    for spec, seed in product(("lstm:peepholes=true", "gru"), range(3)):
        found = tables(rnnbp.cell(spec, 3, 4), seed=seed, method=method, dtype=dtype)
        assert all(table.passed for table in found.values()), (spec, seed)


def test_right_float32_backwards_have_no_wrong_block():
    for spec, seed in product(("lstm:peepholes=true", "gru", "elman"), range(5)):
        found = tables(rnnbp.cell(spec, 3, 4), seed=seed, dtype="float32", time_steps=8)
        assert all(table.passed for table in found.values()), (spec, seed)
    assert places(LoopedLSTM(3, 4, "dU scaled by 1.001"), dtype="float32") == {"U": LOCAL}


@pytest.mark.parametrize("truncation", ["full", "tbptt:1,2", "tbptt:2,4"])
def test_the_blocks_add_up_to_the_gradient(truncation):
    """On both sides, to 1e-13, the gradient being that of a gradient check."""
    cell, how = rnnbp.cell("lstm:peepholes=true", 3, 4), setting("numpy", "float64", "complex-step", truncation)
    problem = draw(cell, 6, 3, 1)
    subject = sequence_subject("lstm", problem, parse(truncation, 6), how)
    whole = subject.gradients({name: np.array(v) for name, v in subject.tensors.items()})
    for table in lag_tables("lstm", problem, how):
        assert table.total.shape == whole[table.tensor].shape
        assert relative_error(table.total, whole[table.tensor]) < 1e-13
        assert relative_error(table.numeric_total, whole[table.tensor]) < 1e-13


def test_blocks_outside_a_window_are_zero_on_both_sides():
    for table in tables(rnnbp.cell("lstm", 3, 4), truncation="tbptt:2,3", time_steps=6).values():
        outside = np.ones(table.errors.shape, dtype=bool)
        for start, lo, stop in parse("tbptt:2,3", 6):
            for t in [*range(lo, stop), *([6] if stop == 6 else [])]:
                outside[t, start : min(t, 5) + 1] = False
        if table.role == "state":
            outside = np.array([[t >= 2] for t in range(7)])  # the window of steps 2 and 3 begins at 1
        for side in (table.numeric, table.analytic):
            assert (table.norms(side)[outside] == 0).all() and (table.norms(side)[~outside] > 0).all(), table.tensor


def test_one_block_against_its_definition():
    """dL_3/dU_1, entry by entry with differences, in a loop written out here."""
    cell = rnnbp.cell("elman", 3, 4)
    problem = draw(cell, 5, 3, 0, padded=False)

    def cost(entry, step):
        (h,) = problem.s0
        for t in range(4):
            u = np.array(problem.params["U"])
            u[entry] += step if t == 1 else 0.0
            h = np.tanh(problem.xs[t] @ problem.params["W"] + h @ u + problem.params["b"])
        return np.sum(h * problem.dys[3])

    wanted = np.zeros((4, 4))
    for entry in np.ndindex(4, 4):
        wanted[entry] = (cost(entry, 1e-5) - cost(entry, -1e-5)) / 2e-5
    found = numeric_blocks(problem, rnnbp.backend("numpy"), "U")
    assert found.shape == (6, 5, 4, 4) and relative_error(found[3, 1], wanted) < 1e-8
    (table,) = tables(cell, padded=False, tensors=["U"]).values()
    assert relative_error(table.analytic[3, 1], wanted) < 1e-8


@pytest.mark.parametrize("seed", range(3))
def test_faults_of_the_loop_are_located(seed):
    everything = ("W", "U", "b", "pi", "pf", "po", "X")
    looped = lambda fault: places(LoopedLSTM(3, 4, fault), seed=seed)  # noqa: E731
    assert looped("") == {}
    assert looped("dU = instead of +=") == {"U": LATER}
    assert looped("h_t where h_{t-1} belongs") == {"U": LOCAL}
    assert looped("X turned in time") == {"X": "steps after the error (s > t)"}
    assert looped("dh0 forgotten") == {"h0": "everywhere", "c0": "everywhere"}
    assert looped("t = 0 skipped") == dict.fromkeys(everything, FIRST) | {"h0": "everywhere", "c0": "everywhere"}
    dropped = looped("dc carry dropped")
    assert {name for name, place in dropped.items() if place.startswith(LATER)} == set(everything)
    assert dropped["c0"] == "everywhere" and dropped["h0"] == "recurrence (from t = 1 on)"
    ignored = looped("window ignored")
    assert set(ignored) == {*everything} - {"X"} and all("ignores its window" in place for place in ignored.values())


@pytest.mark.parametrize("seed", range(3))
def test_faults_of_the_step_are_located(seed):
    step = lambda fault: places(ToyLSTM(3, 4, fault), seed=seed)  # noqa: E731
    everything = {"W", "U", "b", "pi", "pf", "po", "X"}
    assert step("") == {}
    assert step("sigma' missing") == dict.fromkeys(everything, LOCAL) | {"h0": "everywhere", "c0": "everywhere"}
    assert step("bias of the wrong gate") == {"b": LOCAL} and step("dx missing") == {"X": LOCAL}
    missing = step("peephole path of i into c missing")
    assert missing["W"] == LATER and missing["c0"] == "everywhere"


def test_a_fault_in_one_gate_names_the_gate():
    @dataclass(frozen=True)
    class WrongForget(rnnbp.cell("lstm", 3, 4).__class__):
        def pointwise(self, xp, a, s, p, e):
            s1, back = super().pointwise(xp, a, s, p, e)

            def wrong(ds1):
                da, ds, dp = back(ds1)
                return (da[0], da[1] * (1 + 1e-7), *da[2:]), ds, dp

            return s1, wrong

    found = tables(WrongForget(3, 4), tensors=["b"])["b"]
    assert not found.passed and found.wrong_gates[:1] != () and "f" in found.wrong_gates
    local = [found.gates["f"][t, t] for t in range(5)]
    others = [found.gates[g][t, t] for g in "igo" for t in range(5)]
    assert min(local) > found.tolerance and max(others) == 0


def test_the_last_rows_and_columns_are_edges():
    alive = np.tril(np.ones((6, 5), dtype=bool), 0)
    only = lambda *places: np.isin(np.arange(30).reshape(6, 5), [5 * t + s for t, s in places])  # noqa: E731
    assert where(only((5, 0), (5, 3)), alive) == "last row (error of the last state)"
    assert where(only((4, 0), (5, 3)), alive) == "edge t = T−1 (last step)"
    assert where(only((4, 4), (5, 4)), alive) == "edge t = T−1 (last step)"
    assert where(only((0, 0), (3, 3)), alive) == "local term (t = s)"
    assert where(only((3, 0), (4, 1), (4, 2)), alive) == "recurrence (s < t), from lag 2 on"
    assert where(only((1, 1), (4, 1)), alive) == "2 of 20 blocks, the local term (t = s) included"


def test_vanishing_blocks_do_not_alarm_and_are_judged():
    """dL_t/dx_s fades to 1e-10 of its largest; the gate is still held to its own size."""
    cell = rnnbp.cell("elman", 3, 4)
    problem = draw(cell, 12, 2, 0)
    small = {name: 0.05 * value for name, value in problem.params.items()}
    how = setting("numpy", "float64", "complex-step", "full")
    for table in lag_tables("elman", replace(problem, params=small), how):
        norms = table.norms(table.numeric)
        assert table.passed and norms[norms > 0].min() < 1e-9 * norms.max()
        if table.role != "parameter":  # no difference of windows: every block to its own rounding
            a, n = table.norms(table.analytic - table.numeric), norms
            assert (a[n > 0] / n[n > 0]).max() < 1e-13


def test_large_tensors_are_measured_along_directions():
    found = tables(rnnbp.cell("lstm", 3, 24), time_steps=3, batch=2)
    assert (found["U"].directions, found["W"].directions) == (12, 0) and found["U"].numeric.shape == (4, 3, 12)
    assert all(table.passed for table in found.values()) and "12 directions" in str(found["U"])
    forced = tables(LoopedLSTM(3, 4, "dU = instead of +="), extent="directional")
    assert {name: table.where for name, table in forced.items() if not table.passed} == {"U": LATER}


def test_what_is_no_gradient_has_no_table_and_what_is_not_finite_is_wrong():
    assert "b" not in tables(LoopedLSTM(3, 4, "shape lost"))
    assert places(ToyLSTM(3, 4, "nan")) == {"b": "everywhere"}
    assert "unknown tensor of LSTM 'V'" in refusal(lambda: tables(rnnbp.cell("lstm", 3, 4), tensors=["V"]))
    problem = draw(rnnbp.cell("lstm", 3, 4), 2, 2, 0, "float64")
    said = refusal(lambda: numeric_blocks(problem, rnnbp.backend("numpy"), "U", method="nonsense"))
    assert "unknown method 'nonsense'" in said


def test_a_table_reads_well_and_is_plain_json():
    (table,) = tables(LoopedLSTM(3, 4, "dc carry dropped"), tensors=["U"]).values()
    text = str(table)
    assert max(map(len, text.splitlines())) <= 80
    lines = text.splitlines()
    assert lines[1].split() == ["t\\s", "0", "1", "2", "3", "4"] and lines[7].split()[0] == "end"
    assert sum(line.count("!") for line in lines[2:8]) == table.wrong.sum() and "wrong: recurrence (s < t)" in text
    plain = json.loads(json.dumps(table.to_json()))
    assert plain["where"] == LATER and not plain["passed"] and plain["rows"][-1] == "end"
    assert np.array(plain["errors"]).shape == (6, 5) and plain["worst"]["numeric"] != plain["worst"]["analytic"]
    page = table.to_html()
    assert page.count("<svg") == 2 and page.count("#d00000") == 2 * table.wrong.sum() and "http" not in page


def found_lags(report):
    return [finding for finding in report.findings if finding.kind == "lags"]


def test_gradcheck_shows_every_table_or_that_of_the_worst_failure():
    right = found_lags(rnnbp.gradcheck("lstm", lags=True))
    assert [table.tensor for table in right] == ["W", "U", "b", "X", "h0", "c0"] and all(t.passed for t in right)
    assert found_lags(rnnbp.gradcheck("lstm")) == []
    cell = LoopedLSTM(3, 4, "dc carry dropped")
    report = rnnbp.gradcheck(cell)
    (table,) = found_lags(report)
    failed = [check for check in report.failures if check.level == "sequence"]
    assert table.tensor == max(failed, key=lambda check: check.error).tensor and table.where.startswith(LATER)
    assert json.loads(json.dumps(report.to_json()))["findings"]["lags"][0]["where"] == table.where
    assert found_lags(rnnbp.gradcheck(cell, lags=False)) == []
    assert len(found_lags(rnnbp.gradcheck(cell, lags=True, cotangents="last"))) == 9


def test_a_large_table_is_only_made_where_it_is_asked_for():
    problem = draw(rnnbp.cell("lstm", 8, 16), 20, 4, 0)
    assert products(problem, "U", setting("numpy", "float64", "complex-step", "full")) > UNASKED_PRODUCTS
    assert found_lags(rnnbp.gradcheck(LoopedLSTM(3, 4, "dU = instead of +="), time_steps=40, batch=2)) == []


def test_a_backward_that_refuses_windows_fails_without_a_table():
    @dataclass(frozen=True)
    class NoWindows(LoopedLSTM):
        def scan(self, *args, **options):
            found = super().scan(*args, **options)
            if found is NotImplemented:
                return found

            def backward(dys, ds_T=None, window=None):
                if window is not None and window.start:
                    raise RuntimeError("no windows")
                return found[2](dys, ds_T, window)

            return *found[:2], backward

    assert rnnbp.gradcheck(NoWindows(3, 4)).passed
    report = rnnbp.gradcheck(NoWindows(3, 4, "dU = instead of +="))
    assert not report.passed and found_lags(report) == []
