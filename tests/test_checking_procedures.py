"""The procedures that people ask about: two give the gradient, the third the diagonal t = s alone."""

from __future__ import annotations

import json

import numpy as np
import pytest
from helpers import refusal, relative_error

import rnnbp
from rnnbp.checking.lags import lag_tables
from rnnbp.checking.procedures import PROCEDURES, compare_procedures, comparing
from rnnbp.checking.procedures.unrolled import Unrolled
from rnnbp.checking.subjects.problems import Problem
from rnnbp.checking.verdicts import setting
from rnnbp.model import Model, readout
from rnnbp.registry import LOSSES, TASKS
from rnnbp.stacking import stack

RECURRENT = ("0.W", "0.U", "0.b")


def off(table):
    return {(row.tensor, row.procedure): row.off for row in table.rows}


def four_steps(seed, hidden_size=6, backend="numpy"):
    """The model on the 4-step example, taken apart."""
    source, rng = TASKS.make("four-steps"), np.random.default_rng(seed)
    model = Model(stack("lstm", 2, hidden_size), 2, LOSSES.make(source.loss))
    params = {name: value + 0.2 * rng.standard_normal(value.shape) for name, value in model.init(rng).items()}
    xs, targets, _ = source.batch(source.start(seed), 1, 4)[0]
    return Unrolled(model, params, xs, np.array(targets), rnnbp.backend(backend))


def test_two_procedures_are_right_and_one_is_not(backend):
    table = compare_procedures(backend=backend, hidden_size=2, method="complex-step")
    found = off(table)
    assert table.passed and table.tolerance == 1e-10 and tuple(table.reasons) == tuple(PROCEDURES)
    for tensor in (*RECURRENT, "readout.W", "readout.b"):
        assert max(found[tensor, "scalar"], found[tensor, "per-step"]) < 1e-13
        assert (found[tensor, "one-step"] > 0.05) == (tensor in RECURRENT)


@pytest.mark.parametrize("seed", range(4))
def test_the_one_step_procedure_is_far_off_on_the_four_steps(seed):
    """A quarter to a half; W and b alike, for the input is 1 at every step."""
    found = off(compare_procedures(seed=seed))
    assert 0.15 < found["0.U", "one-step"] < found["0.W", "one-step"] < 0.8
    assert found["0.W", "one-step"] == pytest.approx(found["0.b", "one-step"])


@pytest.mark.parametrize("procedure", PROCEDURES)
def test_a_mean_cost_makes_a_factor_of_steps(procedure):
    """Steps' own costs add up to T times the mean."""
    table = compare_procedures(procedure=procedure, method="complex-step")
    for row in table.rows:
        if procedure == "one-step":
            assert row.tensor in RECURRENT or row.of_mean == pytest.approx(4)
        else:
            assert row.of_mean == pytest.approx({"scalar": 1, "per-step": 4}[procedure])


@pytest.mark.parametrize("seed", range(3))
def test_one_step_is_the_diagonal_of_the_lag_matrix(seed):
    """Numerically and by the backward's windows, the cotangents being those of the loss."""
    unrolled = four_steps(seed)
    own = {name.partition(".")[2]: value for name, value in unrolled.params.items() if name.startswith("0.")}
    cell = unrolled.model.stack.layers[0][0]
    xs, s0 = np.array(unrolled.xs), unrolled.states[0][0]
    ys = rnnbp.scan(cell, own, xs, s0)[0]
    logits, readout_backward = readout(unrolled.given["readout.W"], unrolled.given["readout.b"], ys)
    dys = readout_backward(unrolled.loss("sum")(logits, unrolled.targets)[1]())[2]
    problem = Problem(cell, own, xs, s0, {}, None, dys, tuple(np.zeros_like(z) for z in s0))
    for table in lag_tables("lstm", problem, setting("numpy", "float64", "complex-step", "full"), ["W", "U", "b"]):
        assert table.passed
        found = unrolled.differentiate("one-step", f"0.{table.tensor}", "complex-step")["sum"]
        for side in (table.numeric, table.analytic):
            assert relative_error(sum(side[t, t] for t in range(4)), found) < 1e-13
        whole = unrolled.gradients["sum"][f"0.{table.tensor}"]
        assert relative_error(table.total, whole) < 1e-13
        assert relative_error(found, whole) > 0.05


def test_one_step_by_hand():
    """One entry of U changed at step t alone, central differences written out."""
    unrolled = four_steps(0, hidden_size=3)
    cell, params = unrolled.model.stack.layers[0][0], unrolled.params
    total = 0.0
    for t in range(4):
        costs = []
        for step in (1e-5, -1e-5):
            u = np.array(params["0.U"])
            u[1, 2] += step
            s = unrolled.states[t][0]
            (h, _), _ = cell.step(np, {"W": params["0.W"], "U": u, "b": params["0.b"]}, unrolled.xs[t], s, {})
            costs.append(np.sum((h @ params["readout.W"] + params["readout.b"] - unrolled.targets[t]) ** 2))
        total += (costs[0] - costs[1]) / 2e-5
    found = unrolled.differentiate("one-step", "0.U", "complex-step")["sum"]
    assert found[1, 2] == pytest.approx(total, rel=1e-7)


def test_differences_are_as_accurate_as_they_say():
    worst = {}
    for method in ("central", "five-point", "complex-step"):
        table = compare_procedures(method=method, procedure="scalar")
        assert table.passed
        worst[method] = max(row.error for row in table.rows)
    assert worst["complex-step"] < 1e-14 < worst["five-point"] and worst["five-point"] < worst["central"] < 1e-8


def test_a_wrong_backward_fails_and_a_wrong_procedure_does_not():
    class Doubled(Unrolled):
        def _gradients(self, reduction):
            return {name: 2 * d for name, d in super()._gradients(reduction).items()}

    right = compare_procedures(procedure="one-step")
    assert right.passed and "nothing to hold the backward to" in str(right)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(comparing, "Unrolled", Doubled)
        table = compare_procedures()
    assert not table.passed and "do NOT agree" in str(table)


def test_any_task_with_a_target_at_every_step_will_do():
    table = compare_procedures("copy:symbols=2,length=1", "elman", hidden_size=2, method="complex-step")
    assert table.passed and table.time_steps > 4


def test_the_table_says_all_three_and_why():
    table = compare_procedures(hidden_size=2)
    text = str(table)
    assert max(map(len, text.splitlines())) <= 80
    assert "step 1e-05" in text and "4 times the gradient" in text and "the diagonal t = s" in text.replace("\n  ", " ")
    plain = json.loads(json.dumps(table.to_json()))
    assert (
        plain["passed"]
        and len(plain["rows"]) == 15
        and plain["step"] == 1e-5
        and set(plain["reasons"]) == {*PROCEDURES}
    )
    assert table.to_html().count("<tr>") == 11 and "one-step: the weight changed" in table.to_html()


def test_what_cannot_be_compared_is_refused_in_one_line():
    assert "unknown procedure 'onestep'" in refusal(lambda: compare_procedures(procedure="onestep"))
    assert "unknown method" in refusal(lambda: compare_procedures(method="tangent"))
    assert "counts the last step alone" in refusal(lambda: compare_procedures("adding"))
    assert "hidden_size must be" in refusal(lambda: compare_procedures(hidden_size=0))
    assert "unknown task" in refusal(lambda: compare_procedures("five-steps"))
