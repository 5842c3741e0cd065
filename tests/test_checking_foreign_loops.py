"""The loop made of a step: its states, its inputs, its time axis, its numbers, and what is refused."""

from __future__ import annotations

from collections import namedtuple

import numpy as np
import pytest
from foreign_loops import drawn, first, rnn, step_of, tables

from rnnbp.checking.foreign.check import check_function
from rnnbp.errors import UserError


def test_a_state_may_have_any_structure_and_may_be_written_to():
    Pair = namedtuple("Pair", "h count")

    def step(state, t, X, W, U):
        (pair,) = state["pairs"]
        assert state["none"] is None and pair.count[0] == t
        pair.count[0] += 1
        h = np.tanh(X[t] @ W + pair.h @ U)
        return state | {"pairs": [Pair(h, pair.count)]}, h

    inputs = drawn()
    h0 = inputs.pop("h0")

    def fn(X, W, U):
        hs, backward = rnn()(X, h0, W, U)
        return hs, lambda d: [g for k, g in enumerate(backward(d)) if k != 1]

    report = check_function(fn, inputs, step=step, s0={"pairs": [Pair(h0, np.zeros(1, int))], "none": None})
    assert report.passed and len(tables(report)) == 3


def test_inputs_come_in_order_or_by_name_and_time_may_be_another_axis():
    def fn(X, W):
        h, hs = np.zeros((2, 5)), []
        for t in range(4):
            h = np.tanh(X[:, t] @ W + 0.5 * h)
            hs.append(h)

        def backward(d):
            dX, dh = np.zeros_like(X), 0.0
            das = []
            for t in range(3, -1, -1):
                da = (d[:, t] + dh) * (1 - hs[t] ** 2)
                dX[:, t], dh = da @ W.T, 0.5 * da
                das.append(X[:, t].T @ da)
            return dX, sum(das)

        return np.stack(hs, axis=1), backward

    def step(h, t, X, W):
        h = np.tanh(X[:, t] @ W + 0.5 * h)
        return h, h

    inputs = {"X": drawn()["X"].swapaxes(0, 1), "W": drawn()["W"]}
    for given in (inputs, list(inputs.values())):
        report = check_function(fn, given, step=step, s0=np.zeros((2, 5)), time_axis=1)
        assert report.passed and len(tables(report)["X"].rows) == 4


def test_a_step_that_drops_the_imaginary_part_is_differenced():
    step = step_of(form=lambda h: np.where(h.real > 0, np.abs(h), -np.abs(h)))
    for name in ("", "carry-dropped"):
        report = check_function(rnn(fault=name), drawn(), step=step, s0=first)
        found = tables(report)
        assert report.passed == (not name) and {c.method for c in report.checks} == {"complex-step"}
        assert {t.method for t in found.values()} == {"five-point"} and found["W"].bug == name


def twice(h, t, X, h0, W, U):  # noqa: ARG001
    h = np.tanh(X[t] @ W + 2 * h @ U)
    return h, h


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"step": twice, "s0": first}, "step does not give fn's value: at t = 0 they differ by"),
        ({"step": step_of(), "s0": np.zeros((2, 5))}, "step does not give fn's value: at t = 0 .* check step, and s0"),
        ({"step": lambda h, _, **__: (h, h[0]), "s0": first}, r"at t = 0 its shape is \(5,\), of fn \(2, 5\)"),
        (
            {"step": lambda h, _, **__: h, "s0": first},
            r"must return \(next state, output at t\); got one array of shape",
        ),
        (
            {"step": lambda h, _, **__: (h, "h"), "s0": first},
            "the output of step must be a number or an array; got str 'h'",
        ),
        ({"step": 3}, "step must be a function; got 3"),
        ({"s0": first}, "s0 is the first state of a loop of steps; got no step"),
        ({"step": step_of(), "s0": first, "time_axis": 3}, "time_axis needs a value with that axis"),
    ],
)
def test_a_step_that_does_not_fit_is_refused_in_one_line(options, line):
    with pytest.raises(UserError, match=line) as caught:
        check_function(rnn(), drawn(), **options)
    assert "\n" not in str(caught.value)


def test_a_step_that_goes_wrong_later_is_refused_at_its_time():
    def late(h, t, *inputs):
        return step_of()(h, t, *inputs) if t < 2 else twice(h, t, *inputs)

    with pytest.raises(UserError, match="at t = 2 they differ"):
        check_function(rnn(), [*drawn().values()], step=late, s0=first)


def test_a_small_row_in_float32_is_judged_beside_the_largest():
    rng = np.random.default_rng(4)
    inputs = {"X": (7, 3, 4), "h0": (3, 3), "W": (4, 3), "U": (3, 3)}
    inputs = {n: ((2 if n == "U" else 1) * rng.standard_normal(s)).astype("float32") for n, s in inputs.items()}
    assert check_function(rnn(), inputs, step=step_of(), s0=first).passed
    assert not check_function(rnn(fault="halved"), inputs, step=step_of(), s0=first).passed
